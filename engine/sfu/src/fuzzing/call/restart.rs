//! A peer that begins its DTLS association anew, and strangers who would.

use super::*;
use crate::event::TransportState;

const PACKET: &[u8] = b"\0\0opus and more";

/// Sends a packet of each peer's Opus; how many have reached each.
fn media(call: &mut FuzzCall) -> [u64; 2] {
    let before = call.heard();
    for peer in 0..2 {
        call.rtp(peer, &mut Input(PACKET));
    }
    call.rest();
    let after = call.heard();
    [after[0] - before[0], after[1] - before[1]]
}

/// The first datagram of a client with a certificate of its own, and the client.
fn stranger(call: &FuzzCall) -> (Dtls, Vec<u8>) {
    let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
    let mut dtls = client(certificate, call.now);
    dtls.handle_timeout(call.now).unwrap();
    let mut buffer = vec![0; 4096];
    let Output::Packet(hello) = dtls.poll_output(&mut buffer) else {
        panic!("a client that says nothing");
    };
    let hello = hello.to_vec();
    (dtls, hello)
}

fn states(call: &mut FuzzCall) -> Vec<TransportState> {
    let mut events = Vec::new();
    call.port.mailbox.drain(4096, &mut events);
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::TransportState { state, .. } => Some(state),
            _ => None,
        })
        .collect()
}

#[test]
fn media_goes_on_under_the_new_keys_whether_or_not_the_peer_parts_from_the_old() {
    for parts in [false, true] {
        let mut call = FuzzCall::default();
        assert_eq!(media(&mut call), [1, 1]);

        call.announce(0);
        call.begin_anew(0, parts);

        assert_eq!(media(&mut call), [1, 1], "parts: {parts}");
        assert_eq!(call.count("transports"), 2);
    }
}

#[test]
fn what_is_announced_twice_may_begin_between() {
    let mut call = FuzzCall::default();
    call.announce(0);
    let certificate = CERTIFICATES.with(|(_, theirs)| theirs.clone());
    call.peers[0].dtls = client(certificate, call.now);
    call.peers[0].dtls.handle_timeout(call.now).unwrap();
    call.flush_dtls(0);

    call.announce(0);
    call.shake_hands(0);

    assert_eq!(media(&mut call), [1, 1]);
}

#[test]
fn a_channel_goes_on_where_it_was() {
    let mut call = FuzzCall::default();
    call.step(0, 8, Input(b"\0\0\x03\0\x01\0\0\0\0\0\0\x04\0\0chat"));
    call.rest();
    let [channel] = call.channels.as_slice() else {
        panic!("no channel");
    };
    let channel = channel.clone();

    call.announce(0);
    call.begin_anew(0, true);

    assert_eq!(call.count("channels"), 1);
    assert!(
        channel
            .send(Bytes::from_static(b"still there"), true)
            .unwrap()
    );
    while let Some(command) = call.port.next_command() {
        call.command(command);
    }
    assert_eq!(channel.buffered(), 0);
}

#[test]
fn the_old_keys_are_good_until_the_new_ones_are_there() {
    let mut call = FuzzCall::default();
    call.announce(0);

    let (_, hello) = stranger(&call);
    call.datagram(call.peers[0].addr, &hello);

    assert_eq!(media(&mut call), [1, 1]);
}

#[test]
fn a_hello_that_was_not_announced_changes_nothing() {
    let mut call = FuzzCall::default();

    for _ in 0..20 {
        let (_, hello) = stranger(&call);
        call.datagram(call.peers[0].addr, &hello);
        call.rest();
    }

    assert_eq!(media(&mut call), [1, 1]);
    call.step(0, 8, Input(b"\0\0\x03\0\x01\0\0\0\0\0\0\x04\0\0chat"));
    call.rest();
    assert_eq!(call.channels.len(), 1);
}

#[test]
fn a_stranger_finishes_its_handshake_and_is_not_let_in() {
    let mut call = FuzzCall::default();
    call.announce(0);
    let (dtls, hello) = stranger(&call);
    let own = std::mem::replace(&mut call.peers[0].dtls, dtls);
    let keys = (call.peers[0].sealer.take(), call.peers[0].opener.take());

    call.datagram(call.peers[0].addr, &hello);
    call.shake_hands(0);
    assert!(call.peers[0].sealer.is_some(), "the stranger has no keys");
    assert_eq!(media(&mut call), [0, 0]);

    call.peers[0].dtls = own;
    (call.peers[0].sealer, call.peers[0].opener) = keys;
    call.peers[0].seqs[0] += 1;
    assert_eq!(media(&mut call), [1, 1]);
    call.begin_anew(0, true);
    assert_eq!(media(&mut call), [1, 1]);
}

#[test]
fn strangers_are_heard_out_only_so_often() {
    let mut call = FuzzCall::default();
    call.announce(0);

    let mut answers = Vec::new();
    for _ in 0..12 {
        let (_, hello) = stranger(&call);
        let before = call.count("datagrams_out");
        call.datagram(call.peers[0].addr, &hello);
        call.shard.finish(call.now);
        answers.push(call.count("datagrams_out") > before);
    }

    assert_eq!(answers, [[true; 8].as_slice(), &[false; 4]].concat());
    assert_eq!(media(&mut call), [1, 1]);
}

#[test]
fn a_peer_that_parts_without_a_word_has_ended_and_one_that_announced_it_has_failed_in_time() {
    let mut call = FuzzCall::default();
    states(&mut call);

    call.announce(0);
    for peer in 0..2 {
        call.peers[peer].dtls.close().unwrap();
        call.flush_dtls(peer);
    }
    assert_eq!(
        states(&mut call),
        [TransportState::Checking, TransportState::Closed]
    );
    call.now += Duration::from_secs(11);
    call.shard.do_timers(call.now);

    assert_eq!(states(&mut call), [TransportState::Failed]);
}
