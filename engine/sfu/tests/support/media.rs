//! Tracks that `str0m` peers publish and are sent: numbers, payloads, and what has arrived.
#![allow(dead_code)] // Each test binary uses its own part.

use std::time::Instant;

use parley_sfu::command::Change;
use parley_sfu::media::MediaCommand;
use parley_sfu::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, MediaKind, Mid, ProducerId, RecvSpec, SendSpec,
};
use str0m::rtp::{RtpPacket, RtpWrite};

use super::Stage;

/// One kind of media with the numbers both peers use for it.
#[derive(Clone, Copy)]
pub struct Track {
    pub kind: MediaKind,
    pub mid: &'static str,
    pub pt: u8,
    pub rtx_pt: Option<u8>,
    pub clock_hz: u32,
    pub codec: &'static str,
    pub ssrc: u32,
    pub rtx: Option<u32>,
}

pub const AUDIO: Track = Track {
    kind: MediaKind::Audio,
    mid: "0",
    pt: 111,
    rtx_pt: None,
    clock_hz: 48_000,
    codec: "opus",
    ssrc: 1_000,
    rtx: None,
};

pub const VIDEO: Track = Track {
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
    pub fn codec(&self) -> CodecSpec {
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

    pub fn recv(&self) -> RecvSpec {
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
    pub fn send(&self) -> SendSpec {
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

    pub fn kind(&self) -> str0m::media::MediaKind {
        match self.kind {
            MediaKind::Audio => str0m::media::MediaKind::Audio,
            MediaKind::Video => str0m::media::MediaKind::Video,
        }
    }
}

/// str0m's standard numbers.
pub fn extensions() -> ExtensionIds {
    ExtensionIds {
        audio_level: Some(1),
        abs_send_time: Some(2),
        transport_cc: Some(3),
        mid: Some(4),
        ..ExtensionIds::default()
    }
}

/// A peer that publishes the tracks. Returns its index and a producer per track.
pub fn publish(stage: &mut Stage, tracks: &[Track]) -> (usize, Vec<ProducerId>) {
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
pub fn subscribe(
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
        let source = MediaCommand::ConsumerSource(*consumer, Some(*producer), None);
        stage.engine.media(source).unwrap();
    }
    (index, consumers)
}

/// Sends one packet of a track. Video is VP8: every thirtieth packet is a keyframe of its own.
pub fn write(stage: &mut Stage, peer: usize, track: &Track, n: u64) {
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
pub fn vp8(n: u64) -> Vec<u8> {
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
pub fn received(stage: &mut Stage, peer: usize, track: &Track, into: &mut Vec<RtpPacket>) {
    while let Some(index) = stage.peers[peer].events.iter().position(|event| {
        matches!(event, str0m::Event::RtpPacket(packet) if *packet.header.ssrc == track.ssrc + 100)
    }) {
        if let Some(str0m::Event::RtpPacket(packet)) = stage.peers[peer].events.remove(index) {
            into.push(packet);
        }
    }
}

pub fn number(packet: &RtpPacket) -> u64 {
    let tail = packet.payload.last_chunk::<8>().unwrap();
    u64::from_be_bytes(*tail)
}
