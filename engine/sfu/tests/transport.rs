//! A transport against an independent peer: it connects, carries data both ways, notices silence.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use parley_sfu::command::{ChannelOptions, Hear, OnFull};
use parley_sfu::event::{ChannelEnd, Event, Reason, TransportState};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use support::{Peer, Stage, config};

/// A channel that the peer opens, on both sides.
fn peer_channel(
    stage: &mut Stage,
    peer: usize,
    config: ChannelConfig,
) -> (parley_sfu::Channel, ChannelId) {
    let id = stage.peers[peer]
        .rtc
        .direct_api()
        .create_data_channel(config);
    let channel = stage.channel_open();
    stage.until("channel at the peer", |stage| {
        stage.peers[peer].take(|event| match event {
            str0m::Event::ChannelOpen(open, _) if *open == id => Some(()),
            _ => None,
        })
    });
    (channel, id)
}

fn labelled(label: &str) -> ChannelConfig {
    ChannelConfig {
        label: label.into(),
        ..ChannelConfig::default()
    }
}

/// The next message the peer receives.
fn peer_message(stage: &mut Stage, peer: usize) -> (ChannelId, Vec<u8>, bool) {
    stage.until("message at the peer", |stage| {
        stage.peers[peer].take(|event| match event {
            str0m::Event::ChannelData(data) => Some((data.id, data.data.clone(), data.binary)),
            _ => None,
        })
    })
}

#[test]
fn a_peer_connects_and_the_events_come_in_order() {
    let mut stage = Stage::new();

    let (transport, peer) = stage.join();
    stage.until("connection at the peer", |stage| {
        stage.peers[peer].take(|event| matches!(event, str0m::Event::Connected).then_some(()))
    });
    stage.until("all states", |stage| {
        stage
            .events
            .iter()
            .any(|event| {
                matches!(
                    event,
                    Event::TransportState {
                        state: TransportState::Connected,
                        ..
                    }
                )
            })
            .then_some(())
    });

    let story: Vec<String> = stage
        .events
        .iter()
        .map(|event| match event {
            Event::TransportState { state, .. } => state.as_str().to_owned(),
            Event::IceSelected { remote, .. } => {
                assert_eq!(*remote, stage.peers[peer].addr);
                "selected".to_owned()
            }
            Event::DtlsConnected { srtp_profile, .. } => srtp_profile.unwrap().to_owned(),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    // str0m nominates with its first check or after it, so those two may change places.
    assert!(story.contains(&"checking".to_owned()));
    assert!(story.contains(&"selected".to_owned()));
    assert_eq!(story[2..], ["SRTP_AEAD_AES_256_GCM", "connected"]);
    assert!(!transport.candidates.is_empty());
}

#[test]
fn messages_of_every_kind_echo_on_a_channel_the_peer_opened() {
    let mut stage = Stage::new();
    let (_, peer) = stage.connect();
    let (channel, id) = peer_channel(&mut stage, peer, labelled("chat"));
    channel.listen(Hear::Each);

    for (data, binary) in [
        (b"text".to_vec(), false),
        (b"\x00\xff".to_vec(), true),
        (vec![7; 60_000], true),
    ] {
        stage.peers[peer]
            .rtc
            .channel(id)
            .unwrap()
            .write(binary, &data)
            .unwrap()
            .then_some(())
            .unwrap();
        let (received, text) = stage.message(&channel);
        assert!(channel.send(Bytes::from(received), text).unwrap());
        let (_, echoed, echoed_binary) = peer_message(&mut stage, peer);
        assert_eq!(echoed, data);
        assert_eq!(echoed_binary, binary);
        assert_eq!(text, !binary);
    }
    // str0m cannot send an empty message (RFC 8831 §6.6), but it knows one when it sees it.
    for text in [true, false] {
        assert!(channel.send(Bytes::new(), text).unwrap());
        let (_, data, binary) = peer_message(&mut stage, peer);
        assert_eq!((data, binary), (vec![], !text));
    }
}

#[test]
fn a_channel_we_open_has_the_delivery_that_was_asked_for() {
    let mut stage = Stage::new();
    let (transport, peer) = stage.connect();

    let channel = stage
        .engine
        .open_channel(
            transport.id,
            ChannelOptions {
                label: "_lossy".into(),
                protocol: "p".into(),
                ordered: false,
                max_retransmits: Some(0),
                ..ChannelOptions::default()
            },
        )
        .unwrap();
    channel.send(Bytes::from_static(b"early"), true).unwrap();
    let (id, data, _) = peer_message(&mut stage, peer);
    let opened = stage.channel_open();

    assert_eq!(opened.id(), channel.id());
    assert_eq!(data, b"early");
    let rtc_channel = stage.peers[peer].rtc.channel(id).unwrap();
    let seen = rtc_channel.config().unwrap();
    assert_eq!(seen.label, "_lossy");
    assert_eq!(seen.protocol, "p");
    assert!(!seen.ordered);
    assert_eq!(
        seen.reliability,
        Reliability::MaxRetransmits { retransmits: 0 }
    );
}

#[test]
fn a_channel_opened_before_the_peer_is_there_opens_when_it_comes() {
    let mut stage = Stage::new();
    let (transport, peer) = stage.join();

    let channel = stage
        .engine
        .open_channel(
            transport.id,
            ChannelOptions {
                label: "early".into(),
                ..ChannelOptions::default()
            },
        )
        .unwrap();
    channel.send(Bytes::from_static(b"hello"), true).unwrap();

    assert_eq!(peer_message(&mut stage, peer).1, b"hello");
    assert_eq!(stage.channel_open().id(), channel.id());
    assert_eq!(channel.buffered(), 0);
}

#[test]
fn a_negotiated_channel_needs_no_opening() {
    let mut stage = Stage::new();
    let (transport, peer) = stage.connect();

    let ours = stage
        .engine
        .open_channel(
            transport.id,
            ChannelOptions {
                stream: Some(9),
                negotiated: true,
                ..ChannelOptions::default()
            },
        )
        .unwrap();
    let theirs = stage.peers[peer]
        .rtc
        .direct_api()
        .create_data_channel(ChannelConfig {
            negotiated: Some(9),
            ..ChannelConfig::default()
        });
    ours.listen(Hear::Each);
    stage.channel_open();
    ours.send(Bytes::from_static(b"down"), false).unwrap();
    let (id, data, _) = peer_message(&mut stage, peer);
    stage.peers[peer]
        .rtc
        .channel(theirs)
        .unwrap()
        .write(true, b"up")
        .unwrap()
        .then_some(())
        .unwrap();

    assert_eq!((id, data), (theirs, b"down".to_vec()));
    assert_eq!(stage.message(&ours), (b"up".to_vec(), false));
}

#[test]
fn a_thousand_messages_arrive_complete_and_in_order_both_ways() {
    let mut stage = Stage::new();
    let (_, peer) = stage.connect();
    let (channel, id) = peer_channel(&mut stage, peer, labelled("_reliable"));
    channel.listen(Hear::Each);
    let message = |n: u32| {
        let mut data = vec![b'x'; 1024];
        data[..4].copy_from_slice(&n.to_be_bytes());
        data
    };

    for n in 0..1000 {
        stage.until("room", |stage| {
            stage.turn();
            stage.peers[peer]
                .rtc
                .channel(id)
                .unwrap()
                .write(true, &message(n))
                .unwrap()
                .then_some(())
        });
    }
    for n in 0..1000 {
        assert_eq!(stage.message(&channel).0, message(n));
    }
    for n in 0..1000 {
        assert!(channel.send(Bytes::from(message(n)), false).unwrap());
    }
    for n in 0..1000 {
        assert_eq!(peer_message(&mut stage, peer).1, message(n));
    }
}

#[test]
fn a_broadcast_reaches_every_channel_that_takes_it() {
    let mut stage = Stage::new();
    let mut channels = Vec::new();
    for _ in 0..3 {
        let (_, peer) = stage.connect();
        channels.push(peer_channel(&mut stage, peer, labelled("all")).0);
    }
    channels[1].set_limit(4, OnFull::DropNew);

    let taken = stage
        .engine
        .broadcast(&channels, Bytes::from_static(b"hello"), true)
        .unwrap();

    assert_eq!(taken, 2);
    assert_eq!(peer_message(&mut stage, 0).1, b"hello");
    assert_eq!(peer_message(&mut stage, 2).1, b"hello");
}

#[test]
fn messages_wait_for_a_listener_and_a_reliable_channel_loses_none() {
    let mut stage = Stage::with(parley_sfu::config::EngineConfig {
        channel_limit_bytes: 20_000,
        sctp_window_bytes: 65_536,
        max_message_bytes: 65_536,
        ..config()
    });
    let (_, peer) = stage.connect();
    let (channel, id) = peer_channel(&mut stage, peer, labelled("held"));

    let mut written = 0u32;
    // Until the engine has closed its window and the peer's own buffer is full as well.
    for _ in 0..1000 {
        let data = [&written.to_be_bytes()[..], &[0; 996]].concat();
        let mut rtc = stage.peers[peer].rtc.channel(id).unwrap();
        if rtc.write(true, &data).unwrap() {
            written += 1;
        }
        stage.turn();
    }
    stage.idle(Duration::from_millis(300));
    let held: Vec<&Event> = stage
        .events
        .iter()
        .filter(|event| matches!(event, Event::ChannelMessage { .. }))
        .collect();
    assert!(held.is_empty());
    assert!(written < 1000, "nothing was ever full");
    channel.listen(Hear::Each);

    for n in 0..written {
        assert_eq!(stage.message(&channel).0[..4], n.to_be_bytes());
    }
}

#[test]
fn an_unreliable_channel_keeps_the_newest_when_nobody_listens() {
    let mut stage = Stage::with(parley_sfu::config::EngineConfig {
        channel_limit_bytes: 5 * 1064,
        ..config()
    });
    let (_, peer) = stage.connect();
    let (channel, id) = peer_channel(
        &mut stage,
        peer,
        ChannelConfig {
            label: "lossy".into(),
            ordered: true,
            reliability: Reliability::MaxRetransmits { retransmits: 3 },
            ..ChannelConfig::default()
        },
    );

    for n in 0..20u32 {
        let data = [&n.to_be_bytes()[..], &[0; 996]].concat();
        let mut rtc = stage.peers[peer].rtc.channel(id).unwrap();
        assert!(rtc.write(true, &data).unwrap());
    }
    stage.counted("drop_message", 15);
    channel.listen(Hear::Each);

    for n in 15..20u32 {
        assert_eq!(stage.message(&channel).0[..4], n.to_be_bytes());
    }
}

#[test]
fn a_full_channel_answers_as_it_was_told() {
    let mut stage = Stage::new();
    let (_, peer) = stage.connect();
    let (refusing, _) = peer_channel(&mut stage, peer, labelled("refuses"));
    let (closing, _) = peer_channel(&mut stage, peer, labelled("closes"));
    refusing.set_limit(100_000, OnFull::DropNew);
    closing.set_limit(100_000, OnFull::Close);
    // Nothing is acknowledged from here on, so SCTP takes no more than its share.
    stage.peers[peer].unplugged = true;
    let block = Bytes::from(vec![0; 50_000]);

    let mut refused = false;
    for _ in 0..100 {
        refused |= !refusing.send(block.clone(), false).unwrap();
        closing.send(block.clone(), false).unwrap();
        stage.turn();
    }

    assert!(refused);
    let ended = stage.until("end of the full channel", |stage| {
        stage.take(|event| match event {
            Event::ChannelClosed {
                channel,
                reason: ChannelEnd::Full,
                ..
            } => Some(*channel),
            _ => None,
        })
    });
    assert_eq!(ended, closing.id());
    assert!(!closing.send(block.clone(), false).unwrap());
    stage.peers[peer].unplugged = false;
    let low = stage.until("room again", |stage| {
        stage.take(|event| match event {
            Event::ChannelLow { channel, .. } => Some(*channel),
            _ => None,
        })
    });
    assert_eq!(low, refusing.id());
    assert!(refusing.send(block, false).unwrap());
}

/// One reader has stopped altogether: what it does not read is dropped or ends its channel, as each
/// channel says, and the other reader has everything at once.
#[test]
fn a_reader_that_stops_costs_its_limits_and_delays_nobody() {
    let mut stage = Stage::new();
    let (_, stalled) = stage.connect();
    let (lossy, _) = peer_channel(
        &mut stage,
        stalled,
        ChannelConfig {
            label: "lossy".into(),
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..ChannelConfig::default()
        },
    );
    let (reliable, _) = peer_channel(&mut stage, stalled, labelled("reliable"));
    let (_, reader) = stage.connect();
    let (well, _) = peer_channel(&mut stage, reader, labelled("well"));
    stage.peers[stalled].unplugged = true;
    for channel in [&lossy, &reliable] {
        channel.set_limit(100_000, channel_answer(channel.id() == lossy.id()));
    }
    let before = stage.counters()["drop_message"];

    let mut slowest = Duration::ZERO;
    for n in 0..100u32 {
        let data = Bytes::from([&n.to_be_bytes()[..], &[0; 9996]].concat());
        let channels = [lossy.clone(), reliable.clone(), well.clone()];
        let sent = Instant::now();
        stage.engine.broadcast(&channels, data, false).unwrap();
        let (_, got, _) = peer_message(&mut stage, reader);
        slowest = slowest.max(sent.elapsed());
        assert_eq!(got[..4], n.to_be_bytes());
        assert!(lossy.buffered() <= 100_000 + 10_000 && reliable.buffered() <= 110_000);
    }

    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    stage.counted("drop_message", before + 50);
    let ended = stage.until("end of the reliable channel", |stage| {
        stage.take(|event| match event {
            Event::ChannelClosed {
                channel,
                reason: ChannelEnd::Full,
                ..
            } => Some(*channel),
            _ => None,
        })
    });
    assert_eq!(ended, reliable.id());
    assert!(
        lossy
            .send(Bytes::from_static(b"still open"), false)
            .unwrap()
    );
}

fn channel_answer(is_lossy: bool) -> OnFull {
    if is_lossy {
        OnFull::DropOld
    } else {
        OnFull::Close
    }
}

#[test]
fn either_side_closes_a_channel_and_both_hear_of_it() {
    let mut stage = Stage::new();
    let (_, peer) = stage.connect();
    let (ours, ours_id) = peer_channel(&mut stage, peer, labelled("ours to close"));
    let (theirs, theirs_id) = peer_channel(&mut stage, peer, labelled("theirs to close"));

    ours.send(Bytes::from_static(b"last words"), true).unwrap();
    ours.close().unwrap();
    stage.peers[peer]
        .rtc
        .direct_api()
        .close_data_channel(theirs_id);

    assert_eq!(peer_message(&mut stage, peer).1, b"last words");
    stage.until("close at the peer", |stage| {
        stage.peers[peer].take(|event| match event {
            str0m::Event::ChannelClose(id) if *id == ours_id => Some(()),
            _ => None,
        })
    });
    let mut ends = Vec::new();
    stage.until("both ends", |stage| {
        ends.extend(stage.take(|event| match event {
            Event::ChannelClosed {
                channel, reason, ..
            } => Some((*channel, *reason)),
            _ => None,
        }));
        (ends.len() == 2).then_some(())
    });
    assert!(ends.contains(&(ours.id(), ChannelEnd::Local)));
    assert!(ends.contains(&(theirs.id(), ChannelEnd::Peer)));
    // The numbers are free again.
    let (again, _) = peer_channel(&mut stage, peer, labelled("again"));
    assert_ne!(again.id(), ours.id());
}

#[test]
fn silence_is_told_and_forgiven() {
    let mut stage = Stage::with(parley_sfu::config::EngineConfig {
        disconnected: Duration::from_millis(1500),
        failed: Duration::from_millis(6000),
        ..config()
    });
    let (transport, peer) = stage.connect();

    stage.peers[peer].unplugged = true;
    stage.state(transport.id, TransportState::Disconnected);
    stage.peers[peer].unplugged = false;
    stage.state(transport.id, TransportState::Connected);
    stage.peers[peer].unplugged = true;
    stage.state(transport.id, TransportState::Failed);
}

#[test]
fn a_peer_that_never_comes_has_failed_in_time() {
    let mut stage = Stage::with(parley_sfu::config::EngineConfig {
        disconnected: Duration::from_millis(100),
        failed: Duration::from_millis(300),
        ..config()
    });

    let (transport, peer) = stage.join_as(Peer::new(), true);
    stage.peers[peer].unplugged = true;

    stage.state(transport.id, TransportState::Failed);
}

#[test]
fn closing_is_heard_by_the_peer_and_leaves_nothing_behind() {
    let mut stage = Stage::new();
    let (transport, peer) = stage.connect();
    let (channel, _) = peer_channel(&mut stage, peer, labelled("chat"));

    stage.engine.close_transport(transport.id).unwrap();

    let reason = stage.until("end", |stage| {
        stage.take(|event| match event {
            Event::TransportState {
                state: TransportState::Closed,
                reason,
                ..
            } => *reason,
            _ => None,
        })
    });
    assert_eq!(reason, Reason::Local);
    stage.until("end at the peer", |stage| {
        (!stage.peers[peer].rtc.is_alive()).then_some(())
    });
    stage.until("empty engine", |stage| {
        (stage.counters().get("transports") == Some(&0)).then_some(())
    });
    assert!(!channel.send(Bytes::from_static(b"x"), true).unwrap());
}

#[test]
fn an_engine_closes_within_its_time_and_refuses_what_comes_after() {
    let mut stage = Stage::new();
    let (transport, _) = stage.connect();

    assert!(stage.engine.close(Duration::from_secs(5)));

    assert!(matches!(
        stage.engine.stats(transport.id),
        Err(parley_sfu::Error::Closed)
    ));
    stage.state(transport.id, TransportState::Closed);
}
