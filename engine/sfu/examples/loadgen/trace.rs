//! The recorded packets of one track: when each came, how long it was, how its payload began.
//!
//! A file is `PTRC`, version 1, the kind (0 audio, 1 video), a note on how it was captured with its
//! length in two bytes, the number of packets in four; then each packet: a byte with the marker in
//! its lowest bit and the length of the head above, three variable-length numbers (microseconds and
//! RTP ticks since the packet before, bytes of payload), and the head. What the first packet is
//! behind is the last one, when the trace begins again. Numbers are big-endian or LEB128.

use std::sync::Arc;

use crate::sdp::Kind;
use parley_sfu::codec::Codec;

/// Bytes kept of the beginning of a payload: the VP8 descriptor and frame header fit twice.
pub const HEAD: usize = 24;

const MAGIC: &[u8; 5] = b"PTRC\x01";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracePacket {
    /// Microseconds since the packet before.
    pub after_us: u32,
    /// RTP ticks since the packet before.
    pub ticks: u32,
    pub marker: bool,
    /// Bytes of payload.
    pub len: u16,
    head: [u8; HEAD],
    head_len: u8,
}

impl TracePacket {
    /// `keep`: how much of the payload's beginning is kept, at most [`HEAD`] bytes.
    pub fn new(after_us: u32, ticks: u32, marker: bool, payload: &[u8], keep: usize) -> Self {
        let head_len = payload.len().min(keep).min(HEAD);
        let mut head = [0; HEAD];
        head[..head_len].copy_from_slice(&payload[..head_len]);
        TracePacket {
            after_us,
            ticks,
            marker,
            len: payload.len().min(usize::from(u16::MAX)) as u16,
            head,
            head_len: head_len as u8,
        }
    }

    /// How the payload begins.
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }
}

/// What one track sends: its simulcast layers, the best first, or one alone.
pub type Layers = Vec<Arc<Trace>>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    pub kind: Kind,
    /// How it was captured.
    pub note: String,
    /// At least one; of a video, the first begins a keyframe.
    pub packets: Vec<TracePacket>,
    /// Where keyframes begin, ascending.
    keyframes: Vec<usize>,
}

impl Trace {
    /// The error says why these packets cannot be replayed.
    pub fn new(kind: Kind, note: String, packets: Vec<TracePacket>) -> Result<Trace, String> {
        if packets.is_empty() {
            return Err("the trace has no packets".into());
        }
        let is_video = kind == Kind::Video;
        let keyframes: Vec<usize> = packets
            .iter()
            .enumerate()
            .filter(|(_, packet)| is_video && Codec::Vp8.read(packet.head()).starts_keyframe)
            .map(|(index, _)| index)
            .collect();
        if is_video && keyframes.first() != Some(&0) {
            return Err("the trace does not begin with a VP8 keyframe".into());
        }
        Ok(Trace {
            kind,
            note,
            packets,
            keyframes,
        })
    }

    /// Where the next keyframe after `at` begins, from the beginning again if need be.
    pub fn keyframe_after(&self, at: usize) -> usize {
        let next = self.keyframes.partition_point(|start| *start < at);
        self.keyframes.get(next).copied().unwrap_or(0)
    }

    /// Whether a keyframe begins at `at`.
    pub fn is_keyframe(&self, at: usize) -> bool {
        self.keyframes.binary_search(&at).is_ok()
    }

    pub fn read(bytes: &[u8]) -> Result<Trace, String> {
        let mut reader = Reader { rest: bytes };
        reader.trace().ok_or("the trace is cut short, or is none")?
    }

    /// The same with other times between packets: as many as there were, times `pace`.
    pub fn paced(mut self, pace: f64) -> Trace {
        for packet in &mut self.packets {
            packet.after_us = (f64::from(packet.after_us) * pace) as u32;
        }
        self
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(u8::from(self.kind == Kind::Video));
        let note = &self.note.as_bytes()[..self.note.len().min(usize::from(u16::MAX))];
        out.extend_from_slice(&(note.len() as u16).to_be_bytes());
        out.extend_from_slice(note);
        out.extend_from_slice(&(self.packets.len() as u32).to_be_bytes());
        for packet in &self.packets {
            out.push(u8::from(packet.marker) | packet.head_len << 1);
            for number in [packet.after_us, packet.ticks, u32::from(packet.len)] {
                write_number(&mut out, number);
            }
            out.extend_from_slice(packet.head());
        }
        out
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds: f64 = self
            .packets
            .iter()
            .map(|p| f64::from(p.after_us))
            .sum::<f64>()
            / 1e6;
        let bytes: f64 = self.packets.iter().map(|p| f64::from(p.len)).sum();
        let packets = self.packets.len() as f64;
        write!(
            f,
            "{seconds:.1} s, {:.0} packets/s, {:.2} Mbit/s, {} keyframes",
            packets / seconds,
            bytes * 8.0 / 1e6 / seconds,
            self.keyframes.len()
        )
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// `None`: cut short, or not a trace.
    fn trace(&mut self) -> Option<Result<Trace, String>> {
        if self.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let kind = match self.take(1)? {
            [0] => Kind::Audio,
            [1] => Kind::Video,
            _ => return None,
        };
        let note_len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let note = String::from_utf8_lossy(self.take(usize::from(note_len))?).into_owned();
        let count = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let mut packets = Vec::new();
        for _ in 0..count {
            packets.push(self.packet()?);
        }
        Some(Trace::new(kind, note, packets))
    }

    fn packet(&mut self) -> Option<TracePacket> {
        let flags = *self.take(1)?.first()?;
        let (after_us, ticks, len) = (self.number()?, self.number()?, self.number()?);
        let head_len = flags >> 1;
        let mut head = [0; HEAD];
        let kept = self.take(usize::from(head_len))?;
        head.get_mut(..kept.len())?.copy_from_slice(kept);
        Some(TracePacket {
            after_us,
            ticks,
            marker: flags & 1 != 0,
            len: u16::try_from(len).ok()?,
            head,
            head_len,
        })
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.take(1)?.first()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VP8 payload: descriptor without extension, then the first byte of a frame.
    fn vp8(first: bool, keyframe: bool, len: usize) -> Vec<u8> {
        let mut payload = vec![7; len];
        payload[0] = if first { 0x10 } else { 0 };
        payload[1] = u8::from(!keyframe);
        payload
    }

    fn video() -> Trace {
        let packets = [
            (true, true, 1100),
            (false, true, 900),
            (true, false, 30),
            (true, true, 1000),
        ];
        let packets = packets
            .iter()
            .enumerate()
            .map(|(at, (first, keyframe, len))| {
                let payload = vp8(*first, *keyframe, *len);
                TracePacket::new(33_000 + at as u32, 3_000, at != 0, &payload, HEAD)
            })
            .collect();
        Trace::new(Kind::Video, "made by hand".into(), packets).unwrap()
    }

    #[test]
    fn a_trace_reads_as_it_was_written() {
        let trace = video();

        assert_eq!(Trace::read(&trace.write()), Ok(trace));
    }

    #[test]
    fn anything_short_is_no_trace() {
        let whole = video().write();
        for len in 0..whole.len() {
            assert!(Trace::read(&whole[..len]).is_err());
        }
    }

    #[test]
    fn the_next_keyframe_is_found_across_the_end() {
        let trace = video();

        let found: Vec<usize> = (0..4).map(|at| trace.keyframe_after(at)).collect();

        assert_eq!(found, [0, 3, 3, 3]);
        assert_eq!(trace.keyframe_after(4), 0);
    }

    #[test]
    fn a_video_that_begins_in_the_middle_is_refused() {
        let packet = TracePacket::new(1, 1, true, &vp8(true, false, 50), HEAD);

        let refused = Trace::new(Kind::Video, String::new(), vec![packet]);

        assert!(refused.unwrap_err().contains("keyframe"));
    }
}
