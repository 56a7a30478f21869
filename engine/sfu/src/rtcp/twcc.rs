//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): arrivals
//! registered, reports built from them, reports read.
//!
//! Times are ticks of 250 µs on one clock of the transport's choosing.

use super::build::Writer;
use super::{RTPFB, TWCC};
use crate::wire::{be16, be24};

/// Numbers between the oldest unreported and the newest; older ones are forgotten.
const WINDOW: u64 = 2048;
/// A report states no more packets than this, so that it fits any buffer of 1200 bytes.
const MAX_STATUSES: usize = 400;
/// Nor more bytes of deltas than this.
const MAX_DELTA_BYTES: usize = 700;
/// 64 ms, the unit of the reference time.
const REFERENCE_TICKS: i64 = 256;
const NOT_SEEN: i64 = i64::MIN;

/// When each packet of a transport arrived, until it has been reported.
pub struct Arrivals {
    /// By number modulo the window.
    ticks: Box<[i64]>,
    /// First number to report.
    start: u64,
    /// One above the highest number seen; `start == end`: nothing waits.
    end: u64,
    has_begun: bool,
    /// Counts reports, wrapping.
    reports: u8,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals {
            ticks: Box::new([NOT_SEEN; WINDOW as usize]),
            start: 0,
            end: 0,
            has_begun: false,
            reports: 0,
        }
    }
}

impl Arrivals {
    /// Remembers that the packet numbered `seq` came at `ticks`. A second arrival counts for nothing.
    pub fn register(&mut self, seq: u16, ticks: i64) {
        if !self.has_begun {
            self.has_begun = true;
            // Room below, for packets overtaken by the first one.
            self.start = 0x1_0000 + u64::from(seq);
            self.end = self.start;
        }
        let number = self.extend(seq);
        if number >= self.end {
            if number - self.end >= WINDOW {
                self.ticks.fill(NOT_SEEN);
                self.start = number;
            } else {
                for skipped in self.end..number {
                    self.put(skipped, NOT_SEEN);
                }
            }
            self.end = number + 1;
            self.start = self.start.max(self.end.saturating_sub(WINDOW));
        } else if self.end - number > WINDOW || self.get(number) != NOT_SEEN {
            return;
        }
        self.put(number, ticks);
        // A straggler is reported although its neighbours already were.
        self.start = self.start.min(number);
    }

    /// Whether a report would say anything.
    pub fn is_due(&self) -> bool {
        self.start < self.end
    }

    /// Appends one report; true if there was something to report and it fitted. Call again while
    /// [`is_due`](Self::is_due): one report holds 400 packets.
    pub fn write(&mut self, writer: &mut Writer<'_>, sender: u32, media: u32) -> bool {
        // Numbers before the first arrival are not stated: the sender learns of them by the gap.
        let mut first = self.start;
        while first < self.end && self.get(first) == NOT_SEEN {
            first += 1;
        }
        if first == self.end {
            self.start = self.end;
            return false;
        }

        let reference = self.get(first).div_euclid(REFERENCE_TICKS);
        let mut symbols = [0u8; MAX_STATUSES];
        let mut deltas = [0u8; MAX_DELTA_BYTES + 2];
        let (mut count, mut delta_len) = (0, 0);
        let mut last = reference * REFERENCE_TICKS;
        let mut next = first;
        for symbol in symbols.iter_mut() {
            if next == self.end || delta_len >= MAX_DELTA_BYTES {
                break;
            }
            let ticks = self.get(next);
            if ticks != NOT_SEEN {
                let delta = ticks - last;
                let Ok(wide) = i16::try_from(delta) else {
                    // Too far apart for one report; the next one starts here.
                    break;
                };
                last = ticks;
                let bytes = wide.to_be_bytes();
                let (size, value) = match u8::try_from(delta) {
                    Ok(_) => (1, bytes.get(1..)),
                    Err(_) => (2, bytes.get(..)),
                };
                let slot = deltas.get_mut(delta_len..delta_len + size);
                if let (Some(slot), Some(value)) = (slot, value) {
                    slot.copy_from_slice(value);
                }
                delta_len += size;
                *symbol = size as u8;
            }
            count += 1;
            next += 1;
        }

        let symbols = symbols.get(..count).unwrap_or(&[]);
        let deltas = deltas.get(..delta_len).unwrap_or(&[]);
        let reports = self.reports;
        let is_written = writer.packet(RTPFB, TWCC, |body| {
            body.u32(sender)?;
            body.u32(media)?;
            body.bytes(&(first as u16).to_be_bytes())?;
            body.bytes(&(count as u16).to_be_bytes())?;
            body.u32((reference as u32) << 8 | u32::from(reports))?;
            let mut rest = symbols;
            while !rest.is_empty() {
                let (chunk, taken) = chunk(rest);
                body.bytes(&chunk.to_be_bytes())?;
                rest = rest.get(taken..).unwrap_or(&[]);
            }
            body.bytes(deltas)?;
            body.pad()
        });
        if is_written {
            self.reports = self.reports.wrapping_add(1);
            self.start = next;
        }
        is_written
    }

    fn extend(&self, seq: u16) -> u64 {
        let top = self.end.saturating_sub(1);
        let step = i64::from(seq.wrapping_sub(top as u16) as i16);
        top.saturating_add_signed(step)
    }

    fn get(&self, number: u64) -> i64 {
        let slot = self.ticks.get((number % WINDOW) as usize);
        slot.copied().unwrap_or(NOT_SEEN)
    }

    fn put(&mut self, number: u64, ticks: i64) {
        if let Some(slot) = self.ticks.get_mut((number % WINDOW) as usize) {
            *slot = ticks;
        }
    }
}

/// The chunk that states the most of `symbols`, and how many it states (§3.1.3, §3.1.4).
fn chunk(symbols: &[u8]) -> (u16, usize) {
    let first = symbols.first().copied().unwrap_or(0);
    let run = symbols.iter().take_while(|s| **s == first).count();
    // A vector of one-bit symbols states 14 packets, one of two-bit symbols 7.
    let is_narrow = symbols.iter().take(14).all(|s| *s < 2);
    let (places, bits, kind) = if is_narrow {
        (14, 1, 0x8000)
    } else {
        (7, 2, 0xc000)
    };
    let vector = places.min(symbols.len());
    if run >= vector {
        let run = run.min(0x1fff);
        return (u16::from(first) << 13 | run as u16, run);
    }
    let mut word = kind;
    for (place, symbol) in symbols.iter().take(vector).enumerate() {
        word |= u16::from(*symbol) << (bits * (places - 1 - place));
    }
    (word, vector)
}

/// A report as received.
#[derive(Clone, Debug)]
pub struct TwccFeedback<'a> {
    pub base_seq: u16,
    /// Packets the report states, received or not.
    pub count: u16,
    /// In units of 64 ms, 24 bits with sign.
    pub reference: i32,
    pub report: u8,
    chunks: &'a [u8],
}

/// One packet of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TwccStatus {
    pub seq: u16,
    /// Ticks of 250 µs on the receiver's clock; `None`: not received.
    pub ticks: Option<i64>,
}

impl<'a> TwccFeedback<'a> {
    /// `fci`: what follows the two SSRCs.
    pub(super) fn parse(fci: &'a [u8]) -> Option<Self> {
        Some(TwccFeedback {
            base_seq: be16(fci, 0)?,
            count: be16(fci, 2)?,
            reference: ((be24(fci, 4)? << 8) as i32) >> 8,
            report: *fci.get(7)?,
            chunks: fci.get(8..)?,
        })
    }

    /// Each packet in order; ends early where the report is cut short.
    pub fn statuses(&self) -> impl Iterator<Item = TwccStatus> + 'a {
        // The deltas begin behind the last chunk: the chunks are walked once to find them.
        let mut at = 0;
        let mut left = usize::from(self.count);
        while left > 0 {
            let Some(word) = be16(self.chunks, at) else {
                break;
            };
            left = left.saturating_sub(Symbols::stated_by(word));
            at += 2;
        }
        let mut deltas = self.chunks.get(at..).unwrap_or(&[]);
        let mut symbols = Symbols {
            chunks: self.chunks.get(..at).unwrap_or(&[]),
            word: 0,
            place: 0,
            left_in_word: 0,
        };
        let mut ticks = i64::from(self.reference) * REFERENCE_TICKS;
        let base = self.base_seq;
        (0..self.count).map_while(move |offset| {
            let seq = base.wrapping_add(offset);
            let delta = match symbols.next()? {
                1 => {
                    let (delta, rest) = deltas.split_first()?;
                    deltas = rest;
                    i64::from(*delta)
                }
                2 => {
                    let delta = be16(deltas, 0)? as i16;
                    deltas = deltas.get(2..)?;
                    i64::from(delta)
                }
                _ => return Some(TwccStatus { seq, ticks: None }),
            };
            ticks += delta;
            Some(TwccStatus {
                seq,
                ticks: Some(ticks),
            })
        })
    }
}

/// Iterates over the symbols of the chunks.
struct Symbols<'a> {
    chunks: &'a [u8],
    word: u16,
    place: usize,
    left_in_word: usize,
}

impl Symbols<'_> {
    fn stated_by(word: u16) -> usize {
        match word >> 14 {
            0 | 1 => usize::from(word & 0x1fff),
            2 => 14,
            _ => 7,
        }
    }

    fn next(&mut self) -> Option<u8> {
        while self.left_in_word == 0 {
            self.word = be16(self.chunks, 0)?;
            self.chunks = self.chunks.get(2..)?;
            self.left_in_word = Self::stated_by(self.word);
            self.place = 0;
        }
        self.left_in_word -= 1;
        let place = self.place;
        self.place += 1;
        Some(match self.word >> 14 {
            0 | 1 => (self.word >> 13) as u8 & 3,
            2 => (self.word >> (13 - place)) as u8 & 1,
            _ => (self.word >> (12 - 2 * place)) as u8 & 3,
        })
    }
}
