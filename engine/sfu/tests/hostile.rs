//! Datagrams that mean harm: counted, never answered with harm, without effect on anyone else.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use is::stun::{StunMessage, TransId};
use parley_sfu::Transport;
use parley_sfu::command::{Change, Hear};
use parley_sfu::config::EngineConfig;
use parley_sfu::event::{Event, Failure, Reason, TransportState};
use parley_sfu::spec::GroupId;
use ring::hmac;
use str0m::IceCreds;
use str0m::channel::ChannelConfig;
use support::{Peer, Stage, config};

/// A socket that nobody has admitted.
struct Stranger {
    socket: UdpSocket,
    engine: SocketAddr,
}

impl Stranger {
    fn new(stage: &Stage) -> Stranger {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Stranger {
            socket,
            engine: stage.engine.local_addr(),
        }
    }

    fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.engine).unwrap();
    }

    /// Whether anything comes back before a tenth of a second is over.
    fn hears(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2000];
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    }
}

fn check(ufrag: &str, pwd: &str, nominate: bool) -> Vec<u8> {
    let username = format!("{ufrag}:peer");
    let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 9, nominate);
    let mut buffer = vec![0; 512];
    let len = message
        .to_bytes(Some(pwd.as_bytes()), &mut buffer, sha1)
        .unwrap();
    buffer.truncate(len);
    buffer
}

fn sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().unwrap()
}

/// A connected peer with an open channel, to see whether it is left in peace.
struct Bystander {
    transport: Transport,
    peer: usize,
    channel: parley_sfu::Channel,
    id: str0m::channel::ChannelId,
}

impl Bystander {
    fn new(stage: &mut Stage) -> Bystander {
        let (transport, peer) = stage.connect();
        let id = stage.peers[peer]
            .rtc
            .direct_api()
            .create_data_channel(ChannelConfig {
                label: "bystander".into(),
                ..ChannelConfig::default()
            });
        let channel = stage.channel_open();
        channel.listen(Hear::Each);
        stage.until("channel at the peer", |stage| {
            stage.peers[peer].take(|event| {
                matches!(event, str0m::Event::ChannelOpen(open, _) if *open == id).then_some(())
            })
        });
        // What it took to get here is of no interest.
        stage.events.clear();
        Bystander {
            transport,
            peer,
            channel,
            id,
        }
    }

    /// A message goes each way, and no state has been left.
    fn is_well(&self, stage: &mut Stage) {
        self.channel
            .send(Bytes::from_static(b"down"), true)
            .unwrap();
        stage.until("message at the bystander", |stage| {
            stage.peers[self.peer]
                .take(|event| matches!(event, str0m::Event::ChannelData(_)).then_some(()))
        });
        let mut up = stage.peers[self.peer].rtc.channel(self.id).unwrap();
        assert!(up.write(true, b"up").unwrap());
        assert_eq!(stage.message(&self.channel).0, b"up");
        let left = stage.take(|event| match event {
            Event::TransportState {
                transport, state, ..
            } if *transport == self.transport.id => Some(*state),
            _ => None,
        });
        assert_eq!(left, None);
    }
}

#[test]
fn garbage_is_counted_by_what_it_pretends_to_be_and_never_answered() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let stranger = Stranger::new(&stage);

    stranger.send(&[]);
    stranger.send(&[64; 100]);
    stranger.send(&[255; 1400]);
    stage.counted("drop_unknown_protocol", 3);
    stranger.send(&[0]);
    stranger.send(&[0; 20]);
    stranger.send(&[1; 500]);
    stage.counted("drop_stun_malformed", 3);
    stranger.send(&[22; 300]);
    stage.counted("drop_dtls_unknown_sender", 1);
    stranger.send(&[0x80; 200]);
    stranger.send(&[0x80, 200, 0, 6]);
    stage.counted("drop_media_unknown_sender", 2);
    stranger.send(&[0x80; 1600]);
    stage.counted("drop_truncated", 1);

    assert_eq!(stranger.hears(), None);
    assert_eq!(stage.counters()["panics"], 0);
    bystander.is_well(&mut stage);
}

#[test]
fn every_truncation_of_a_check_is_refused() {
    let mut stage = Stage::with(EngineConfig {
        stun_rate: 10_000,
        ..config()
    });
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let whole = check(&transport.ufrag, &transport.pwd, true);
    let stranger = Stranger::new(&stage);

    for len in 1..whole.len() {
        stranger.send(&whole[..len]);
    }
    stage.counted("datagrams_in", whole.len() as u64 - 1);

    assert_eq!(stage.counters()["checks_in"], 0);
    assert_eq!(stage.counters()["panics"], 0);
    assert_eq!(stranger.hears(), None);
}

#[test]
fn a_check_with_a_wrong_password_or_for_nobody_is_not_answered() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let stranger = Stranger::new(&stage);

    stranger.send(&check(
        &bystander.transport.ufrag,
        "not the password of this one",
        true,
    ));
    stage.counted("drop_stun_integrity", 1);
    stranger.send(&check("0nobody", &bystander.transport.pwd, true));
    stage.counted("drop_stun_unknown_user", 1);

    assert_eq!(stranger.hears(), None);
    // Nothing is sent there either: the destination has not moved.
    bystander.is_well(&mut stage);
    assert_eq!(stranger.hears(), None);
}

#[test]
fn a_flood_of_checks_is_cut_off_and_an_admitted_peer_is_not() {
    let mut stage = Stage::with(EngineConfig {
        stun_rate: 20,
        ..config()
    });
    let bystander = Bystander::new(&mut stage);
    let stranger = Stranger::new(&stage);
    let forged = check(&bystander.transport.ufrag, "wrong", true);

    for _ in 0..200 {
        stranger.send(&forged);
    }
    stage.counted("drop_stun_rate", 100);

    bystander.is_well(&mut stage);
}

/// A whole ClientHello, as a client would send it.
fn hello() -> Vec<Vec<u8>> {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    let now = std::time::Instant::now();
    let config = std::sync::Arc::new(dimpl::Config::builder().build().unwrap());
    let mut client = dimpl::Dtls::new_12(config, certificate, now);
    client.set_active(true);
    client.handle_timeout(now).unwrap();
    let mut buffer = vec![0; 2048];
    let mut hello = Vec::new();
    while let dimpl::Output::Packet(record) = client.poll_output(&mut buffer) {
        hello.push(record.to_vec());
    }
    hello
}

#[test]
fn a_hello_from_an_address_ice_never_validated_starts_no_handshake() {
    let mut stage = Stage::new();
    let mut peer = Peer::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let change = Change {
        remote: Some(peer.remote()),
        ..Change::default()
    };
    stage.apply(transport.id, change);
    let hello = hello();
    let stranger = Stranger::new(&stage);

    for record in &hello {
        stranger.send(record);
    }

    stage.counted("drop_dtls_unknown_sender", hello.len() as u64);
    assert_eq!(stranger.hears(), None);
}

#[test]
fn a_handshake_that_is_begun_and_never_finished_ends_in_time_and_frees_its_place() {
    let mut stage = Stage::with(impatient());
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let change = Change {
        remote: Some(Peer::new().remote()),
        ..Change::default()
    };
    stage.apply(transport.id, change);
    let stranger = Stranger::new(&stage);

    stranger.send(&check(&transport.ufrag, &transport.pwd, true));
    assert!(stranger.hears().is_some(), "no answer to the check");
    for record in hello() {
        stranger.send(&record);
    }
    assert!(stranger.hears().is_some(), "no answer to the hello");
    // Nothing more is said. Then it says too much: pieces of messages that never become whole.
    stage.state(transport.id, TransportState::Failed);
    stage.until("its place", |stage| {
        (stage.counters()["transports_pending"] == 0).then_some(())
    });
    for seq in 0..2000u16 {
        let mut piece = vec![22, 254, 253, 0, 0, 0, 0, 0, 1];
        piece.extend_from_slice(&seq.to_be_bytes());
        piece.extend_from_slice(&[0, 24, 16, 0, 64, 0]);
        piece.extend_from_slice(&(seq % 200 + 1).to_be_bytes());
        piece.extend_from_slice(&[0, 0, 9, 0, 0, 12]);
        piece.resize(13 + 24, 7);
        stranger.send(&piece);
    }
    // It is read to the end, and kept only as far as a handshake may be; then the transport is over.
    stage.state(transport.id, TransportState::Closed);
    stage.counted("dtls_failures", 1);
    assert_eq!(stage.counters()["panics"], 0);
}

#[test]
fn media_before_the_keys_goes_nowhere() {
    let mut stage = Stage::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let stranger = Stranger::new(&stage);
    stranger.send(&check(&transport.ufrag, &transport.pwd, true));
    assert!(stranger.hears().is_some());

    let mut packet = [0u8; 100];
    packet[..12].copy_from_slice(&[0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9]);
    stranger.send(&packet);
    packet[1] = 200;
    stranger.send(&packet);
    stage.counted("drop_no_keys", 2);

    assert_eq!(stranger.hears(), None);
    assert_eq!(stage.counters()["rtp_in"], 0);
}

#[test]
fn an_association_forged_beside_dtls_is_not_heard() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let peer = &stage.peers[bystander.peer];
    // An SCTP INIT: ports 5000, tag 0, no checksum; then the same inside a plaintext DTLS record of
    // epoch 0 and of epoch 1, all from the peer's own address.
    let mut init = vec![0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0, 0, 0, 0, 0];
    init.extend_from_slice(&[1, 0, 0, 20, 0, 0, 0, 7, 0, 16, 0, 0, 0, 9, 0, 9, 0, 0, 0, 1]);
    let record = |epoch: u8| {
        let mut record = vec![
            23,
            254,
            253,
            0,
            epoch,
            0,
            0,
            0,
            0,
            9,
            9,
            0,
            init.len() as u8,
        ];
        record.extend_from_slice(&init);
        record
    };
    for datagram in [init.clone(), record(0), record(1)] {
        peer.socket
            .send_to(&datagram, stage.engine.local_addr())
            .unwrap();
    }

    bystander.is_well(&mut stage);
    assert_eq!(stage.counters()["panics"], 0);
}

#[test]
fn noise_and_replays_from_the_peers_own_address_do_no_harm() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let engine = stage.engine.local_addr();
    let socket = stage.peers[bystander.peer].socket.try_clone().unwrap();

    let mut state = 0x2545_f491_4f6c_dd1du64;
    for round in 0..2000usize {
        // xorshift: the same noise in every run.
        let mut bytes = vec![0; round % 300 + 1];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        bytes[0] = match round % 4 {
            0 => state as u8,
            1 => 20 + (state % 44) as u8,
            2 => 128 + (state % 64) as u8,
            _ => (state % 4) as u8,
        };
        // A full buffer loses datagrams, as networks do.
        let _ = socket.send_to(&bytes, engine);
        if round % 64 == 0 {
            stage.turn();
        }
    }
    let replayed = check(&bystander.transport.ufrag, &bystander.transport.pwd, false);
    for _ in 0..10 {
        socket.send_to(&replayed, engine).unwrap();
    }

    bystander.is_well(&mut stage);
    assert_eq!(stage.counters()["panics"], 0);
}

#[test]
fn another_certificate_than_the_one_named_ends_the_transport() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let mut peer = Peer::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let mut remote = peer.remote();
    let last = remote.fingerprint.pop().unwrap();
    remote.fingerprint.push(if last == '0' { '1' } else { '0' });
    let change = Change {
        remote: Some(remote),
        ..Change::default()
    };
    stage.apply(transport.id, change);
    peer.start(&transport, false);
    stage.peers.push(peer);

    let reason = stage.until("end", |stage| {
        stage.take(|event| match event {
            Event::TransportState {
                transport: t,
                state: TransportState::Closed,
                reason,
            } if *t == transport.id => *reason,
            _ => None,
        })
    });

    assert_eq!(reason, Reason::Fingerprint);
    bystander.is_well(&mut stage);
}

#[test]
fn a_description_that_cannot_be_used_is_refused_with_the_reason() {
    let mut stage = Stage::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let mut remote = Peer::new().remote();
    remote.fingerprint = "sha-1 00:11".into();
    let change = Change {
        remote: Some(remote),
        ..Change::default()
    };

    let applied = stage.engine.apply(transport.id, change).unwrap();
    let refused = stage.done(applied.request);

    assert_eq!(
        refused,
        Err(Failure::Refused(
            "the fingerprint is not a sha-256 one of 32 bytes".into()
        ))
    );
    stage.engine.close_transport(transport.id).unwrap();
    let late = stage.engine.apply(transport.id, Change::default()).unwrap();
    assert_eq!(stage.done(late.request), Err(Failure::Gone));
}

#[test]
fn a_nomination_from_another_address_moves_the_destination() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let engine = stage.engine.local_addr();
    let moved = Stranger::new(&stage);
    let old = stage.peers[bystander.peer].addr;

    // The peer has roamed: the same credentials, another address.
    moved.send(&check(
        &bystander.transport.ufrag,
        &bystander.transport.pwd,
        true,
    ));
    let selected = stage.until("selection", |stage| {
        stage.take(|event| match event {
            Event::IceSelected { remote, .. } if *remote != old => Some(*remote),
            _ => None,
        })
    });
    assert_eq!(selected, moved.socket.local_addr().unwrap());
    assert!(moved.hears().is_some(), "no answer to the check");
    bystander
        .channel
        .send(Bytes::from_static(b"follow"), true)
        .unwrap();

    let record = moved.hears().expect("the message did not follow");
    assert_eq!(record[0], 23, "not DTLS application data");
    assert_eq!(engine, stage.engine.local_addr());
}

#[test]
fn an_ice_restart_keeps_the_session_and_the_old_credentials_until_the_new_are_used() {
    let mut stage = Stage::new();
    let bystander = Bystander::new(&mut stage);
    let old = bystander.transport.clone();

    let (ufrag, pwd) = stage.engine.restart_ice(old.id).unwrap();
    bystander.is_well(&mut stage);
    let stranger = Stranger::new(&stage);
    stranger.send(&check(&old.ufrag, &old.pwd, false));
    assert!(
        stranger.hears().is_some(),
        "the old password is over too early"
    );

    let peer = &mut stage.peers[bystander.peer];
    let candidate = str0m::Candidate::from_sdp_string(&old.candidates[0]).unwrap();
    let fresh = IceCreds::new();
    let restarted = peer.rtc.direct_api().local_ice_credentials();
    peer.rtc
        .direct_api()
        .set_local_ice_credentials(fresh.clone());
    peer.rtc.direct_api().set_remote_ice_credentials(IceCreds {
        ufrag: ufrag.clone(),
        pass: pwd.clone(),
    });
    peer.rtc.add_remote_candidate(candidate);
    let remote = peer.remote();
    assert_ne!(remote.ufrag, restarted.ufrag);
    let change = Change {
        remote: Some(remote),
        ..Change::default()
    };
    stage.apply(old.id, change);
    stranger.send(&check(&ufrag, &pwd, false));
    assert!(stranger.hears().is_some(), "the new password is not known");

    stranger.send(&check(&old.ufrag, &old.pwd, false));
    stage.counted("drop_stun_unknown_user", 1);
    assert_eq!(stranger.hears(), None);
    bystander.is_well(&mut stage);
}

#[test]
fn more_transports_than_allowed_are_refused_by_name() {
    let mut stage = Stage::with(EngineConfig {
        max_transports: 2,
        ..config()
    });
    let first = stage.engine.create_transport(GroupId(1)).unwrap();
    stage.engine.create_transport(GroupId(1)).unwrap();

    let third = stage.engine.create_transport(GroupId(1)).unwrap_err();
    assert_eq!(third.to_string(), "no more transports: 2 of 2 exist");

    stage.engine.close_transport(first.id).unwrap();
    stage.state(first.id, TransportState::Closed);
    stage.engine.create_transport(GroupId(1)).unwrap();
}

#[test]
fn one_group_cannot_take_what_belongs_to_all() {
    let mut stage = Stage::with(EngineConfig {
        max_transports_per_group: 2,
        ..config()
    });
    let first = stage.engine.create_transport(GroupId(1)).unwrap();
    stage.engine.create_transport(GroupId(1)).unwrap();

    let third = stage.engine.create_transport(GroupId(1)).unwrap_err();
    assert_eq!(
        third.to_string(),
        "no more transports in this group: 2 of 2 exist"
    );

    stage.engine.create_transport(GroupId(2)).unwrap();
    stage.engine.close_transport(first.id).unwrap();
    stage.state(first.id, TransportState::Closed);
    stage.engine.create_transport(GroupId(1)).unwrap();
}

/// Transports are awaited for a third of a second, two at a time.
fn impatient() -> EngineConfig {
    EngineConfig {
        disconnected: Duration::from_millis(100),
        failed: Duration::from_millis(300),
        max_pending: 2,
        ..config()
    }
}

#[test]
fn peers_that_never_come_take_no_place_for_ever() {
    let mut stage = Stage::with(impatient());
    let announced = stage.engine.create_transport(GroupId(1)).unwrap();
    let change = Change {
        remote: Some(Peer::new().remote()),
        ..Change::default()
    };
    stage.apply(announced.id, change);
    let silent = stage.engine.create_transport(GroupId(1)).unwrap();

    let third = stage.engine.create_transport(GroupId(1)).unwrap_err();
    assert_eq!(
        third.to_string(),
        "no more handshakes: 2 of 2 are in progress"
    );
    stage.state(announced.id, TransportState::Failed);
    stage.until("both places", |stage| {
        (stage.counters()["transports_pending"] == 0).then_some(())
    });

    stage.engine.create_transport(GroupId(1)).unwrap();
    stage.engine.create_transport(GroupId(1)).unwrap();
    stage.engine.create_transport(GroupId(1)).unwrap_err();
    // One that nobody was announced for is not held against it: its peer may be long in coming.
    let mut peer = Peer::new();
    let change = Change {
        remote: Some(peer.remote()),
        ..Change::default()
    };
    stage.apply(silent.id, change);
    peer.start(&silent, false);
    stage.peers.push(peer);
    stage.state(silent.id, TransportState::Connected);
}

#[test]
fn a_peer_whose_description_never_comes_is_given_up() {
    let mut stage = Stage::with(impatient());
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let mut peer = Peer::new();

    // It connects as far as it can: the engine does not know whose certificate to expect.
    peer.start(&transport, false);
    stage.peers.push(peer);

    stage.state(transport.id, TransportState::Checking);
    stage.state(transport.id, TransportState::Failed);
    stage.until("its place", |stage| {
        (stage.counters()["transports_pending"] == 0).then_some(())
    });
}
