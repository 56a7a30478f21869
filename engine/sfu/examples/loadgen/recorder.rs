//! Recording a participant's tracks as traces: what arrived when, and how each payload began.

use std::time::{Duration, Instant};

use parley_sfu::rtp::Header;

use crate::sdp::{Incoming, Kind};
use crate::trace::{HEAD, Trace, TracePacket};

/// A recording of one stream holds no more packets.
const MAX_PACKETS: usize = 50_000;
/// Of packets that do not begin a frame less is kept: their payload descriptor.
const HEAD_OF_REST: usize = 6;

/// One packet as it arrived.
struct Arrived {
    number: u64,
    ticks: u32,
    marker: bool,
    len: usize,
    head: [u8; HEAD],
    at: Instant,
}

struct Track {
    kind: Kind,
    ssrc: u32,
    packets: Vec<Arrived>,
}

/// Collects the packets of some streams.
pub struct Recorder {
    tracks: Vec<Track>,
}

impl Recorder {
    pub fn new(streams: &[Incoming]) -> Recorder {
        let track = |stream: &Incoming| Track {
            kind: stream.kind,
            ssrc: stream.ssrc,
            packets: Vec::new(),
        };
        Recorder {
            tracks: streams.iter().map(track).collect(),
        }
    }

    pub fn wants(&self, ssrc: u32) -> bool {
        self.tracks.iter().any(|track| track.ssrc == ssrc)
    }

    /// Takes an opened packet. number: its sequence number, counted on.
    pub fn on_packet(&mut self, header: &Header, payload: &[u8], number: u64, now: Instant) {
        let Some(track) = self.tracks.iter_mut().find(|t| t.ssrc == header.ssrc) else {
            return;
        };
        if track.packets.len() >= MAX_PACKETS || payload.is_empty() {
            return;
        }
        let mut head = [0; HEAD];
        let kept = payload.len().min(HEAD);
        head[..kept].copy_from_slice(&payload[..kept]);
        track.packets.push(Arrived {
            number,
            ticks: header.timestamp,
            marker: header.marker,
            len: payload.len(),
            head,
            at: now,
        });
    }

    /// The traces; note: how they were captured. The error names the track that is no good.
    pub fn finish(self, note: &str) -> Result<Vec<Trace>, String> {
        let traces = self.tracks.into_iter().map(|track| track.finish(note));
        traces.collect()
    }
}

impl Track {
    fn finish(mut self, note: &str) -> Result<Trace, String> {
        let is_video = self.kind == Kind::Video;
        let packets = &mut self.packets;
        packets.sort_by_key(|packet| packet.number);
        packets.dedup_by_key(|packet| packet.number);
        let (first, rest) = whole(packets, is_video).ok_or("a track has no keyframe, or no end")?;
        let mut trace = vec![packet(first, closing_gap(first, rest), is_video)];
        let mut before = first;
        for arrived in rest {
            let after = arrived.at.saturating_duration_since(before.at);
            let ticks = arrived.ticks.wrapping_sub(before.ticks);
            trace.push(packet(arrived, (after, ticks), is_video));
            before = arrived;
        }
        Trace::new(self.kind, note.to_owned(), trace)
    }
}

/// From the first keyframe to the last packet that ends a frame.
fn whole(packets: &[Arrived], is_video: bool) -> Option<(&Arrived, &[Arrived])> {
    use parley_sfu::codec::Codec;
    if !is_video {
        return packets.split_first();
    }
    let begins = |packet: &Arrived| Codec::Vp8.read(&packet.head).starts_keyframe;
    let begin = packets.iter().position(begins)?;
    let end = packets.iter().rposition(|packet| packet.marker)?;
    packets.get(begin..=end)?.split_first()
}

/// What the first packet is behind the last one when the trace begins again: as much as a frame is
/// behind the one before, on average.
fn closing_gap(first: &Arrived, rest: &[Arrived]) -> (Duration, u32) {
    let Some(last) = rest.last() else {
        return (Duration::from_millis(20), 960);
    };
    let mut frames = 0;
    let mut ticks = first.ticks;
    for packet in rest {
        frames += u32::from(packet.ticks != ticks);
        ticks = packet.ticks;
    }
    let frames = frames.max(1);
    let took = last.at.saturating_duration_since(first.at);
    (took / frames, last.ticks.wrapping_sub(first.ticks) / frames)
}

fn packet(arrived: &Arrived, (after, ticks): (Duration, u32), is_video: bool) -> TracePacket {
    let is_rest = is_video && arrived.head[0] & 0x10 == 0;
    let keep = if is_rest { HEAD_OF_REST } else { HEAD };
    // Only the length counts of what lies behind the head.
    let mut payload = vec![0; arrived.len];
    let kept = arrived.len.min(HEAD);
    payload[..kept].copy_from_slice(&arrived.head[..kept]);
    let after_us = after.as_micros().min(u128::from(u32::MAX)) as u32;
    // Audio is opaque: its head is not needed to replay it, but for its first bytes.
    let keep = if is_video { keep } else { 4 };
    TracePacket::new(after_us, ticks, arrived.marker, &payload, keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(packets: &[(u16, u32, bool, &[u8])]) -> Result<Trace, String> {
        let stream = Incoming {
            kind: Kind::Video,
            ssrc: 7,
            rtx: None,
            stream: String::new(),
            layer: None,
        };
        let mut recorder = Recorder::new(&[stream]);
        let start = Instant::now();
        for (at, (seq, timestamp, marker, payload)) in packets.iter().enumerate() {
            let mut bytes = vec![0x80, 96 | u8::from(*marker) << 7];
            bytes.extend_from_slice(&seq.to_be_bytes());
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&7u32.to_be_bytes());
            let header = Header::parse(&bytes).unwrap();
            let now = start + Duration::from_millis(10 * at as u64);
            recorder.on_packet(&header, payload, u64::from(*seq), now);
        }
        recorder
            .finish("by hand")
            .map(|mut traces| traces.remove(0))
    }

    #[test]
    fn a_recording_begins_with_a_keyframe_and_ends_with_a_frame() {
        let trace = record(&[
            (1, 0, true, &[0x10, 1, 0]),
            (2, 3_000, false, &[0x10, 0, 0, 9]),
            (4, 6_000, true, &[0x10, 1, 0]),
            (3, 3_000, true, &[0, 9]),
            (5, 9_000, false, &[0x10, 1, 0]),
        ])
        .unwrap();

        let seen: Vec<(u32, u16, bool)> = trace
            .packets
            .iter()
            .map(|packet| (packet.ticks, packet.len, packet.marker))
            .collect();
        assert_eq!(seen, [(3_000, 4, false), (0, 2, true), (3_000, 3, true)]);
        assert_eq!(trace.packets[1].after_us, 20_000);
    }

    #[test]
    fn without_a_keyframe_there_is_no_trace() {
        assert!(record(&[(1, 0, true, &[0x10, 1, 0])]).is_err());
    }
}
