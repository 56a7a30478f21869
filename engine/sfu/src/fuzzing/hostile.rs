//! The worst a peer can do with the right keys costs no more than its bounds.

use bytes::Bytes;

use super::association::FuzzAssociation;
use super::call::FuzzCall;
use super::input::Input;
use crate::event::Event;

/// A DATA chunk with a whole message (RFC 9260 §3.3.1).
fn data(tsn: u32, stream: u16, ppid: u32, message: &[u8]) -> Vec<u8> {
    let mut chunk = vec![0, 3];
    chunk.extend_from_slice(&(16 + message.len() as u16).to_be_bytes());
    chunk.extend_from_slice(&tsn.to_be_bytes());
    chunk.extend_from_slice(&stream.to_be_bytes());
    chunk.extend_from_slice(&[0, 0]);
    chunk.extend_from_slice(&ppid.to_be_bytes());
    chunk.extend_from_slice(message);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

fn open(label: &str) -> Vec<u8> {
    let mut open = vec![3, 0, 1, 0, 0, 0, 0, 0];
    open.extend_from_slice(&(label.len() as u16).to_be_bytes());
    open.extend_from_slice(&[0, 0]);
    open.extend_from_slice(label.as_bytes());
    open
}

/// The number of the first DATA the client would send, from an association it has made.
fn first_tsn(peer: &mut FuzzAssociation) -> u32 {
    peer.client.write(&mut Input(&[0, 3, 0]));
    let packets = peer.client.poll(peer.now());
    let tsn = packets.iter().find(|packet| packet.get(12) == Some(&0));
    let at = tsn.and_then(|packet| packet.get(16..20)).expect("DATA");
    u32::from_be_bytes(at.try_into().expect("four bytes"))
}

#[test]
fn a_peer_that_sends_on_every_stream_loses_its_association() {
    let mut peer = FuzzAssociation::default();
    let first = first_tsn(&mut peer);

    for n in 0..10_000u32 {
        let chunk = data(first + n, n as u16, 53, &[1]);
        let packet = peer.client.forge(&chunk);
        peer.hear(&packet);
        if !peer.sctp.is_established() {
            assert!(n < 2100, "{n} streams were made");
            return;
        }
    }
    panic!("every stream was made");
}

#[test]
fn channels_with_long_names_are_refused_before_they_fill_memory() {
    let mut peer = FuzzAssociation::default();
    let long = "x".repeat(2000);

    for stream in 0..500u16 {
        peer.client.write_on(stream, &Bytes::from(open(&long)));
        peer.talk();
    }

    let mut told = Vec::new();
    peer.port.mailbox.drain(4096, &mut told);
    let names: usize = told
        .iter()
        .map(|event| match event {
            Event::ChannelOpen { options, .. } => options.label.len(),
            _ => 0,
        })
        .sum();
    // The limit of a channel is 4096 bytes there.
    assert!(peer.channels.len() <= 2);
    assert!(names > 0 && names <= 4096, "{names}");
}

#[test]
fn strange_initiations_neither_end_nor_multiply_an_association() {
    let mut peer = FuzzAssociation::default();

    for tag in 1..1000u32 {
        let mut init = vec![1, 0, 0, 20];
        init.extend_from_slice(&tag.to_be_bytes());
        init.extend_from_slice(&[0, 16, 0, 0, 0, 9, 0, 9, 0, 0, 0, 1]);
        let packet = peer.client.forge(&init);
        peer.hear(&packet);
    }

    assert!(peer.sctp.is_established());
    peer.client.write_on(0, &Bytes::from(open("chat")));
    peer.talk();
    assert_eq!(peer.channels.len(), 1);
}

// ── media ───────────────────────────────────────────────────────────────────────────────────────

/// A call in which peer 0 has sent peer 1 a keyframe and some more.
fn call() -> FuzzCall {
    let mut call = FuzzCall::default();
    call.rtp(
        0,
        &mut Input(b"\x01\0\0\x10\x10\0\0\x9d\x01\x2a\x80\x02\xe0\x01"),
    );
    for _ in 0..50 {
        call.rtp(0, &mut Input(b"\x01\0\0\x10\x11\0\0picture"));
    }
    call.rest();
    assert_eq!(call.heard()[1], 51);
    call
}

/// RTCP with a sender of its own, and these words.
fn rtcp(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut packet = vec![0x80 | count, kind];
    packet.extend_from_slice(&(words.len() as u16).to_be_bytes());
    packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    packet
}

const VIDEO_OUT: u32 = 30;

#[test]
fn absurd_nacks_are_answered_within_a_budget() {
    let mut call = call();
    let every: Vec<u32> = (0..=u32::from(u16::MAX)).step_by(17).collect();
    let sent = call.count("rtp_out");

    for _ in 0..20 {
        for some in every.chunks(300) {
            let mut words = vec![1, VIDEO_OUT];
            words.extend(some.iter().map(|seq| seq << 16 | 0xffff));
            call.sealed_rtcp(1, &rtcp(1, 205, &words));
        }
    }

    // No packet goes out more than once in a round trip, whatever was asked and how often.
    assert!(call.count("nacks_in") > 10_000);
    assert!(call.count("rtp_out") - sent <= 51);
    assert_eq!(call.count("panics"), 0);
}

#[test]
fn storms_of_keyframe_requests_become_one_request_at_a_time() {
    let mut call = call();
    let asked = call.count("keyframe_requests_out");

    for number in 0..250u32 {
        call.sealed_rtcp(1, &rtcp(1, 206, &[1, VIDEO_OUT]));
        call.sealed_rtcp(1, &rtcp(4, 206, &[1, 0, VIDEO_OUT, number << 24]));
    }

    assert_eq!(call.count("keyframe_requests_in"), 500);
    assert!(call.count("keyframe_requests_out") - asked <= 1);
}

#[test]
fn streams_nobody_announced_are_dropped_and_those_announced_go_on() {
    let mut call = call();

    for ssrc in 1000..5000u32 {
        let mut packet = vec![0x80, 77, 0, 1, 0, 0, 0, 1];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&[0; 100]);
        call.sealed_rtp(0, &packet);
    }
    call.rtp(0, &mut Input(b"\x01\0\0\x10\x11\0\0picture"));
    call.rest();

    assert!(call.count("drop_unbound") >= 4000 - 8);
    assert_eq!(call.heard()[1], 52);
}

#[test]
fn reports_on_everything_are_read_and_forgotten() {
    let mut call = call();
    let block = [
        VIDEO_OUT,
        0xffff_ffff,
        u32::MAX,
        u32::MAX,
        u32::MAX,
        u32::MAX,
    ];
    let mut compound = Vec::new();
    while compound.len() < 1200 {
        let mut words = vec![1];
        words.extend(std::iter::repeat_n(block, 5).flatten());
        compound.extend(rtcp(5, 201, &words));
    }

    for _ in 0..1000 {
        call.sealed_rtcp(1, &compound);
    }
    call.rest();
    call.rtp(0, &mut Input(b"\x01\0\0\x10\x11\0\0picture"));
    call.rest();

    assert_eq!(call.count("panics"), 0);
    assert_eq!(call.heard()[1], 52);
}

/// Authentic checks that lack what RFC 8445 §7.1 asks for, one attribute at a time; the agent of full
/// ICE is not ours.
#[test]
fn checks_that_lack_an_attribute_harm_no_agent() {
    let attributes: [&[u8]; 4] = [
        b"\0\x06\0\x0a0fuzz:peer\0\0" as &[u8],
        b"\0\x24\0\x04\x6e\0\x01\xff",
        b"\x80\x2a\0\x08\0\0\0\0\0\0\0\x09",
        b"\0\x25\0\0",
    ];
    for missing in 0..16u8 {
        let mut bytes = Vec::new();
        for (index, attribute) in attributes.iter().enumerate() {
            if missing & (1 << index) == 0 {
                bytes.extend_from_slice(attribute);
            }
        }
        super::stun(&bytes);
    }
}
