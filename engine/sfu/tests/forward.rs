//! Audio and video from one independent peer to others, through a real socket and real keys.

mod support;

use std::time::{Duration, Instant};

use parley_sfu::command::Change;
use parley_sfu::event::Event;
use parley_sfu::media::{MediaCommand, MediaEvent};
use parley_sfu::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, Flow, MediaKind, Mid, ProducerId, RecvSpec,
    SendSpec,
};
use str0m::media::KeyframeRequestKind;
use str0m::rtp::{RtpPacket, RtpWrite};
use support::Stage;

/// One kind of media with the numbers both peers use for it.
#[derive(Clone, Copy)]
struct Track {
    kind: MediaKind,
    mid: &'static str,
    pt: u8,
    rtx_pt: Option<u8>,
    clock_hz: u32,
    codec: &'static str,
    ssrc: u32,
    rtx: Option<u32>,
}

const AUDIO: Track = Track {
    kind: MediaKind::Audio,
    mid: "0",
    pt: 111,
    rtx_pt: None,
    clock_hz: 48_000,
    codec: "opus",
    ssrc: 1_000,
    rtx: None,
};

const VIDEO: Track = Track {
    kind: MediaKind::Video,
    mid: "1",
    pt: 96,
    rtx_pt: Some(97),
    clock_hz: 90_000,
    codec: "VP8",
    ssrc: 2_000,
    rtx: Some(2_001),
};

impl Track {
    fn codec(&self) -> CodecSpec {
        CodecSpec {
            pt: self.pt,
            name: self.codec.into(),
            clock_hz: self.clock_hz,
            channels: if self.kind == MediaKind::Audio { 2 } else { 0 },
            fmtp: String::new(),
            rtx_pt: self.rtx_pt,
            red_pt: None,
        }
    }

    fn recv(&self) -> RecvSpec {
        RecvSpec {
            mid: Mid::from(self.mid),
            kind: self.kind,
            codecs: vec![self.codec()],
            extensions: extensions(),
            ssrcs: vec![self.ssrc],
            groups: vec![],
            rids: vec![],
            nack: true,
            twcc: true,
            remb: false,
        }
    }

    /// As a subscriber is sent it: the numbers are the receiver's own.
    fn send(&self) -> SendSpec {
        SendSpec {
            mid: Mid::from(self.mid),
            kind: self.kind,
            ssrc: self.ssrc + 100,
            rtx_ssrc: self.rtx.map(|ssrc| ssrc + 100),
            codecs: vec![self.codec()],
            extensions: extensions(),
            cname: "stage".into(),
            nack: true,
            feedback: Feedback::None,
        }
    }

    fn kind(&self) -> str0m::media::MediaKind {
        match self.kind {
            MediaKind::Audio => str0m::media::MediaKind::Audio,
            MediaKind::Video => str0m::media::MediaKind::Video,
        }
    }
}

/// str0m's standard numbers.
fn extensions() -> ExtensionIds {
    ExtensionIds {
        audio_level: Some(1),
        abs_send_time: Some(2),
        transport_cc: Some(3),
        mid: Some(4),
        ..ExtensionIds::default()
    }
}

/// A peer that publishes the tracks. Returns its index and a producer per track.
fn publish(stage: &mut Stage, tracks: &[Track]) -> (usize, Vec<ProducerId>) {
    let (transport, index) = stage.connect();
    let mut api = stage.peers[index].rtc.direct_api();
    for track in tracks {
        api.declare_media(track.mid.into(), track.kind());
        api.declare_stream_tx(
            track.ssrc.into(),
            track.rtx.map(Into::into),
            track.mid.into(),
            None,
        );
    }
    let change = Change {
        recv: tracks.iter().map(Track::recv).collect(),
        ..Change::default()
    };
    let applied = stage.apply(transport.id, change);
    let producers = applied.producers.into_iter().map(|(_, id)| id).collect();
    (index, producers)
}

/// A peer that is sent the tracks of these producers. Returns its index and a consumer per track.
fn subscribe(
    stage: &mut Stage,
    tracks: &[Track],
    producers: &[ProducerId],
) -> (usize, Vec<ConsumerId>) {
    let (transport, index) = stage.connect();
    let mut api = stage.peers[index].rtc.direct_api();
    for track in tracks {
        api.declare_media(track.mid.into(), track.kind());
        api.expect_stream_rx(
            (track.ssrc + 100).into(),
            track.rtx.map(|ssrc| (ssrc + 100).into()),
            track.mid.into(),
            None,
        );
    }
    let change = Change {
        send: tracks.iter().map(Track::send).collect(),
        ..Change::default()
    };
    let applied = stage.apply(transport.id, change);
    let consumers: Vec<ConsumerId> = applied.consumers.into_iter().map(|(_, id)| id).collect();
    for (consumer, producer) in consumers.iter().zip(producers) {
        let source = MediaCommand::ConsumerSource(*consumer, Some(*producer));
        stage.engine.media(source).unwrap();
    }
    (index, consumers)
}

/// Sends one packet of a track. Video is VP8: every thirtieth packet is a keyframe of its own.
fn write(stage: &mut Stage, peer: usize, track: &Track, n: u64) {
    let payload = match track.kind {
        MediaKind::Audio => format!("audio {n}").into_bytes(),
        MediaKind::Video => vp8(n),
    };
    let step = u64::from(track.clock_hz) / 50;
    let write = RtpWrite::new(
        track.pt.into(),
        (5_000 + n).into(),
        (n * step) as u32,
        Instant::now(),
        payload,
    )
    .marker(track.kind == MediaKind::Video)
    .nackable(true);
    let peer = &mut stage.peers[peer];
    let mut api = peer.rtc.direct_api();
    api.stream_tx(&track.ssrc.into()).unwrap().write_rtp(write);
    peer.drain();
}

/// A whole frame in one packet: descriptor (RFC 7741 §4.2), the frame's header, and the number.
fn vp8(n: u64) -> Vec<u8> {
    let key = n.is_multiple_of(30);
    let mut payload = vec![0x10];
    if key {
        // Frame tag of a shown keyframe, start code, 640 × 480.
        payload.extend_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
    } else {
        payload.extend_from_slice(&[0x11, 0, 0]);
    }
    payload.extend_from_slice(&n.to_be_bytes());
    payload
}

/// Takes everything a peer has received of a track so far.
fn received(stage: &mut Stage, peer: usize, track: &Track, into: &mut Vec<RtpPacket>) {
    while let Some(index) = stage.peers[peer].events.iter().position(|event| {
        matches!(event, str0m::Event::RtpPacket(packet) if *packet.header.ssrc == track.ssrc + 100)
    }) {
        if let Some(str0m::Event::RtpPacket(packet)) = stage.peers[peer].events.remove(index) {
            into.push(packet);
        }
    }
}

fn number(packet: &RtpPacket) -> u64 {
    let tail = packet.payload.last_chunk::<8>().unwrap();
    u64::from_be_bytes(*tail)
}

#[test]
fn audio_and_video_reach_two_subscribers_whole_and_in_order() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[AUDIO, VIDEO]);
    let (first, _) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
    let (second, _) = subscribe(&mut stage, &[AUDIO, VIDEO], &producers);
    let mut heard = [Vec::new(), Vec::new()];
    let mut seen = [Vec::new(), Vec::new()];

    for n in 0..120 {
        write(&mut stage, publisher, &AUDIO, n);
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(4));
    }
    stage.until("the rest", |stage| {
        for (index, peer) in [first, second].into_iter().enumerate() {
            received(stage, peer, &AUDIO, &mut heard[index]);
            received(stage, peer, &VIDEO, &mut seen[index]);
        }
        let whole = heard.iter().all(|h| h.len() >= 120) && seen.iter().all(|s| s.len() >= 120);
        whole.then_some(())
    });

    for heard in &heard {
        let last = heard.last().unwrap();
        assert_eq!(*last.payload, *b"audio 119");
        assert_eq!(*last.header.payload_type, AUDIO.pt);
        let steps: Vec<u64> = heard
            .windows(2)
            .map(|pair| *pair[1].seq_no - *pair[0].seq_no)
            .collect();
        assert_eq!(steps, vec![1; 119]);
    }
    for seen in &seen {
        assert!(seen.iter().map(number).eq(0..120));
        assert!(seen.iter().all(|packet| packet.header.marker));
    }
    let first_packets = stage
        .events
        .iter()
        .filter(|event| matches!(event, Event::Media(MediaEvent::FirstPacket { .. })))
        .count();
    assert_eq!(first_packets, 2);
}

#[test]
fn what_a_subscriber_loses_it_gets_again() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();

    for n in 0..200 {
        // A tenth of the packets toward the subscriber is thrown away.
        let lost = n > 10 && n % 10 == 0;
        if lost {
            stage.peers[subscriber].unplugged = true;
        }
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
        stage.peers[subscriber].unplugged = false;
        stage.idle(Duration::from_millis(2));
        received(&mut stage, subscriber, &VIDEO, &mut seen);
    }

    stage.until("repair", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        let mut numbers: Vec<u64> = seen.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() == 200).then_some(())
    });
}

#[test]
fn what_the_engine_loses_it_asks_for() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();

    for n in 0..200 {
        let lost = n > 10 && n % 10 == 0;
        stage.peers[publisher].unplugged = lost;
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
        stage.peers[publisher].unplugged = false;
        stage.idle(Duration::from_millis(2));
    }

    stage.until("repair", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        let mut numbers: Vec<u64> = seen.iter().map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (numbers.len() == 200).then_some(())
    });
}

#[test]
fn a_subscriber_that_comes_late_has_a_keyframe_asked_for() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    for n in 0..10 {
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
    }
    stage.peers[publisher].events.clear();

    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let asked = stage.until("request", |stage| {
        stage.peers[publisher].take(|event| match event {
            str0m::Event::KeyframeRequest(request) => Some(request.kind),
            _ => None,
        })
    });
    write(&mut stage, publisher, &VIDEO, 10);
    for n in 30..40 {
        write(&mut stage, publisher, &VIDEO, n);
    }
    let mut seen = Vec::new();
    stage.until("video", |stage| {
        received(stage, subscriber, &VIDEO, &mut seen);
        (seen.len() >= 10).then_some(())
    });

    assert_eq!(asked, KeyframeRequestKind::Pli);
    // Nothing that could not be decoded was sent before it.
    assert_eq!(number(&seen[0]), 30);
}

#[test]
fn a_request_of_the_subscriber_reaches_the_publisher() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[VIDEO]);
    let (subscriber, _) = subscribe(&mut stage, &[VIDEO], &producers);
    let mut seen = Vec::new();
    for n in 0..20 {
        write(&mut stage, publisher, &VIDEO, n);
        stage.idle(Duration::from_millis(3));
    }
    received(&mut stage, subscriber, &VIDEO, &mut seen);
    assert!(!seen.is_empty());
    // The request that the subscription itself caused is throttled away from this one.
    stage.idle(Duration::from_millis(1100));
    stage.peers[publisher].events.clear();

    stage.peers[subscriber]
        .rtc
        .direct_api()
        .stream_rx(&(VIDEO.ssrc + 100).into())
        .unwrap()
        .request_keyframe(KeyframeRequestKind::Pli);

    stage.until("request", |stage| {
        stage.peers[publisher]
            .take(|event| matches!(event, str0m::Event::KeyframeRequest(_)).then_some(()))
    });
}

#[test]
fn pausing_and_ending_stop_the_flow() {
    let mut stage = Stage::new();
    let (publisher, producers) = publish(&mut stage, &[AUDIO]);
    let (subscriber, consumers) = subscribe(&mut stage, &[AUDIO], &producers);
    let mut heard = Vec::new();
    let mut count = |stage: &mut Stage, from: u64| {
        for n in from..from + 20 {
            write(stage, publisher, &AUDIO, n);
            stage.idle(Duration::from_millis(2));
        }
        stage.idle(Duration::from_millis(50));
        heard.clear();
        received(stage, subscriber, &AUDIO, &mut heard);
        heard.len()
    };

    assert_eq!(count(&mut stage, 0), 20);
    let pause = MediaCommand::ConsumerPause(consumers[0]);
    stage.engine.media(pause).unwrap();
    assert_eq!(count(&mut stage, 20), 0);
    let resume = MediaCommand::ConsumerResume(consumers[0]);
    stage.engine.media(resume).unwrap();
    assert_eq!(count(&mut stage, 40), 20);

    let transport = stage.events.iter().find_map(|event| match event {
        Event::IceSelected {
            transport, remote, ..
        } if *remote == stage.peers[publisher].addr => Some(*transport),
        _ => None,
    });
    let change = Change {
        end: vec![(Mid::from(AUDIO.mid), Flow::Recv)],
        ..Change::default()
    };
    stage.apply(transport.unwrap(), change);
    assert_eq!(count(&mut stage, 60), 0);
}
