//! What linked channels do, with a shard that is never run and peers in virtual time.

use std::time::Duration;

use sctp_proto::PayloadProtocolIdentifier::{self, Binary, BinaryEmpty, String, StringEmpty};

use super::call::FuzzCall;
use crate::command::{ChannelOptions, Command, Hear, OnFull, RequestId};
use crate::data::Channel;
use crate::event::{ChannelEnd, Event};

type Heard = Vec<(PayloadProtocolIdentifier, Vec<u8>)>;

fn on(stream: u16) -> ChannelOptions {
    ChannelOptions {
        stream: Some(stream),
        ..ChannelOptions::default()
    }
}

fn lossy_on(stream: u16) -> ChannelOptions {
    ChannelOptions {
        max_retransmits: Some(3),
        ..on(stream)
    }
}

/// A call of so many peers, each with a channel on stream 1.
fn party(peers: u64) -> (FuzzCall, Vec<Channel>) {
    let mut call = FuzzCall::default();
    (2..peers).for_each(|index| call.join(index));
    let channels = (0..peers as usize)
        .map(|peer| call.negotiate(peer, on(1)))
        .collect();
    (call, channels)
}

fn link(call: &mut FuzzCall, from: &Channel, to: &Channel) {
    from.link(to).unwrap();
    call.obey();
}

/// A peer says something on its stream 1, and gets its acknowledgement.
fn say(call: &mut FuzzCall, peer: usize, protocol: PayloadProtocolIdentifier, data: &[u8]) {
    call.peers[peer].sctp.say(1, protocol, data);
    call.talk(peer);
}

/// What a peer has received on a stream, at this very moment.
fn heard(call: &mut FuzzCall, peer: usize, stream: u16) -> Heard {
    call.rest();
    call.talk(peer);
    call.peers[peer].sctp.read(stream)
}

/// Lets two seconds pass, with these peers taking part.
fn pass_time(call: &mut FuzzCall, peers: &[usize]) {
    for _ in 0..200 {
        call.now += Duration::from_millis(10);
        call.rest();
        peers.iter().for_each(|peer| call.talk(*peer));
    }
}

#[test]
fn a_message_goes_to_every_link_in_order_and_as_what_it_was() {
    let (mut call, channels) = party(3);
    link(&mut call, &channels[0], &channels[1]);
    link(&mut call, &channels[0], &channels[2]);

    // RFC 8831 §6.6: an empty message is one byte under a name of its own.
    let said = [
        (String, b"text".to_vec()),
        (Binary, vec![0, 255]),
        (StringEmpty, vec![0]),
        (BinaryEmpty, vec![0]),
        (Binary, vec![7; 50_000]),
    ];
    for (protocol, data) in &said {
        say(&mut call, 0, *protocol, data);
    }
    pass_time(&mut call, &[0, 1, 2]);

    assert_eq!(heard(&mut call, 1, 1), said);
    assert_eq!(heard(&mut call, 2, 1), said);
    assert!(heard(&mut call, 0, 1).is_empty());
}

#[test]
fn small_messages_share_their_packets() {
    let (mut call, channels) = party(2);
    link(&mut call, &channels[0], &channels[1]);
    let before = call.count("datagrams_out");

    for n in 0..200u8 {
        call.peers[0].sctp.say(1, Binary, &[n]);
    }
    pass_time(&mut call, &[0, 1]);

    let expected: Heard = (0..200).map(|n| (Binary, vec![n])).collect();
    assert_eq!(heard(&mut call, 1, 1), expected);
    assert!(call.count("datagrams_out") < before + 50);
}

#[test]
fn two_channels_that_are_linked_to_each_other_do_not_echo() {
    let (mut call, channels) = party(2);
    link(&mut call, &channels[0], &channels[1]);
    link(&mut call, &channels[1], &channels[0]);

    say(&mut call, 0, String, b"ping");
    say(&mut call, 1, String, b"pong");
    pass_time(&mut call, &[0, 1]);

    assert_eq!(heard(&mut call, 1, 1), [(String, b"ping".to_vec())]);
    assert_eq!(heard(&mut call, 0, 1), [(String, b"pong".to_vec())]);
}

#[test]
fn what_was_held_goes_to_the_first_link_in_order_and_to_no_other() {
    let (mut call, channels) = party(3);
    // More than is held: the rest waits with the peer.
    for n in 0..300u16 {
        let data = [&n.to_be_bytes()[..], &[0; 998]].concat();
        call.peers[0].sctp.say(1, Binary, &data);
    }
    pass_time(&mut call, &[0]);

    link(&mut call, &channels[0], &channels[1]);
    pass_time(&mut call, &[0, 1, 2]);
    link(&mut call, &channels[0], &channels[2]);
    say(&mut call, 0, String, b"last");
    pass_time(&mut call, &[0, 1, 2]);

    let first = heard(&mut call, 1, 1);
    for (n, (_, data)) in first.iter().take(300).enumerate() {
        assert_eq!(data[..2], (n as u16).to_be_bytes());
    }
    assert_eq!(first.len(), 301);
    assert_eq!(heard(&mut call, 2, 1), [(String, b"last".to_vec())]);
}

#[test]
fn a_subscriber_that_is_stuck_delays_nobody_and_gets_what_its_channels_say() {
    const COUNT: u32 = 500;
    let (mut call, channels) = party(3);
    let closing = channels[2].clone();
    let newest_refused = call.negotiate(2, lossy_on(2));
    let oldest_dropped = call.negotiate(2, lossy_on(3));
    let stuck = [
        (&closing, OnFull::Close),
        (&newest_refused, OnFull::DropNew),
        (&oldest_dropped, OnFull::DropOld),
    ];
    for (channel, on_full) in stuck {
        channel.set_limit(50_000, on_full);
        link(&mut call, &channels[0], channel);
    }
    link(&mut call, &channels[0], &channels[1]);
    call.told.clear();

    // The third peer says nothing from here on, not even that it has received anything.
    let message = |n: u32| [&n.to_be_bytes()[..], &[0; 996]].concat();
    for n in 0..COUNT {
        say(&mut call, 0, Binary, &message(n));
        assert_eq!(heard(&mut call, 1, 1), [(Binary, message(n))]);
        for (channel, _) in stuck {
            assert!(channel.buffered() <= 50_000);
        }
    }

    let closed = call.told.iter().any(|event| {
        matches!(event, Event::ChannelClosed { channel, reason: ChannelEnd::Full, .. } if *channel == closing.id())
    });
    assert!(closed);
    assert!(call.count("drop_message") > 300);
    assert_eq!(call.count("links"), 3);
    assert!(newest_refused.buffered() > 40_000 && oldest_dropped.buffered() > 40_000);
    assert_eq!(call.count("panics"), 0);
}

#[test]
fn empty_messages_for_a_subscriber_that_is_stuck_have_a_bound_too() {
    let (mut call, channels) = party(2);
    channels[1].set_limit(6400, OnFull::DropOld);
    link(&mut call, &channels[0], &channels[1]);
    // The second peer acknowledges nothing: SCTP takes its share, and the rest waits before it.
    for _ in 0..270 {
        say(&mut call, 0, Binary, &[0; 1000]);
    }
    let before = call.count("drop_message");

    for _ in 0..200 {
        say(&mut call, 0, StringEmpty, &[0]);
    }

    assert!(call.count("drop_message") >= before + 100);
}

#[test]
fn links_end_with_either_of_their_channels() {
    let (mut call, channels) = party(3);
    let ring = |call: &mut FuzzCall| {
        link(call, &channels[0], &channels[1]);
        link(call, &channels[1], &channels[0]);
        link(call, &channels[0], &channels[2]);
    };
    ring(&mut call);
    ring(&mut call);
    assert_eq!(call.count("links"), 3);

    channels[0].unlink(&channels[2]).unwrap();
    channels[0].unlink(&channels[2]).unwrap();
    call.obey();
    assert_eq!(call.count("links"), 2);
    let transport = call.peers[1].id;
    call.command(Command::Close { transport });
    assert_eq!(call.count("links"), 0);
    link(&mut call, &channels[0], &channels[1]);
    link(&mut call, &channels[0], &channels[2]);
    assert_eq!(call.count("links"), 1);
    channels[0].close().unwrap();
    call.obey();
    assert_eq!(call.count("links"), 0);
}

#[test]
fn a_peer_that_resets_its_stream_leaves_the_links() {
    let (mut call, channels) = party(2);
    link(&mut call, &channels[0], &channels[1]);
    link(&mut call, &channels[1], &channels[0]);
    say(&mut call, 1, String, b"here");
    call.told.clear();

    call.peers[1].sctp.reset(1);
    call.talk(1);
    pass_time(&mut call, &[0, 1]);

    assert_eq!(call.count("links"), 0);
    assert!(call.told.iter().any(|event| {
        matches!(event, Event::ChannelClosed { channel, reason: ChannelEnd::Peer, .. } if *channel == channels[1].id())
    }));
    say(&mut call, 0, String, b"nobody hears");
    assert_eq!(heard(&mut call, 1, 1), []);
}

#[test]
fn a_caller_that_does_not_look_delays_no_link() {
    let (mut call, channels) = party(2);
    link(&mut call, &channels[0], &channels[1]);
    // More than half of what may wait for the caller: nothing is read for it any more.
    let transport = call.peers[0].id;
    for _ in 0..2100 {
        let request = RequestId(1);
        call.command(Command::Stats { transport, request });
    }

    say(&mut call, 0, String, b"passed on");

    assert_eq!(heard(&mut call, 1, 1), [(String, b"passed on".to_vec())]);
}

#[test]
fn a_caller_that_listens_has_every_message_beside_the_links() {
    let (mut call, channels) = party(2);
    channels[0].listen(Hear::One);
    say(&mut call, 0, String, b"for the caller");
    say(&mut call, 0, String, b"held");
    link(&mut call, &channels[0], &channels[1]);
    let messages = |call: &mut FuzzCall| -> Vec<Vec<u8>> {
        call.rest();
        let told = std::mem::take(&mut call.told);
        told.iter()
            .filter_map(|event| match event {
                Event::ChannelMessage { data, .. } => Some(data.to_vec()),
                _ => None,
            })
            .collect()
    };
    assert_eq!(messages(&mut call), [b"for the caller".to_vec()]);

    channels[0].listen(Hear::Each);
    call.peers[0].sctp.say(1, String, b"both");
    call.peers[0].sctp.say(1, String, b"both again");
    for packet in call.peers[0].sctp.poll(call.now) {
        call.encrypt(0, &packet);
    }

    assert_eq!(
        messages(&mut call),
        [b"both".to_vec(), b"both again".to_vec()]
    );
    let passed = [&b"held"[..], b"both", b"both again"].map(|data| (String, data.to_vec()));
    assert_eq!(heard(&mut call, 1, 1), passed);
}
