//! A consumer's own numbers: sequence numbers without gaps of our making, timestamps that only move
//! forward, whatever the source does.
//!
//! The output is a pure function of this state and the input number; the clock counts at a start only.

use std::time::{Duration, Instant};

use super::unwrap::near16;

/// Timestamps are counted from here, so that a packet older than the first has a number as well.
pub(super) const EPOCH: u64 = 1 << 40;
/// Skips remembered; a packet older than these is not placed any more.
const MAX_RANGES: usize = 32;

/// From `start` on, `out = in + shift`; the `skipped` numbers before it were not forwarded.
#[derive(Clone, Copy, Default, Debug)]
struct Range {
    start: u64,
    skipped: u64,
    shift: u64,
}

/// How the numbers of a source become those of one consumer.
pub(super) struct Munger {
    /// Oldest first. Empty: not started.
    ranges: Vec<Range>,
    /// Highest input number seen since the start.
    top_in: u64,
    next_out: u64,
    /// Added to input timestamps.
    ts_shift: u64,
    last_ts: u64,
    last_at: Option<Instant>,
}

impl Munger {
    /// first_seq, first_ts: what the first packet will bear; random (RFC 3550 §5.1).
    pub fn new(first_seq: u64, first_ts: u32) -> Self {
        Munger {
            ranges: Vec::with_capacity(MAX_RANGES),
            top_in: 0,
            next_out: first_seq,
            ts_shift: 0,
            last_ts: EPOCH + u64::from(first_ts),
            last_at: None,
        }
    }

    /// The next number out is that of input `seq`; what came before it is not forwarded.
    ///
    /// is_same: the source is the one of the last start, so its timestamps go on as they were.
    /// Otherwise time since the last packet is added in units of `clock_hz`.
    pub fn start(&mut self, seq: u64, timestamp: u64, now: Instant, clock_hz: u32, is_same: bool) {
        self.ranges.clear();
        self.ranges.push(Range {
            start: seq,
            skipped: 0,
            shift: self.next_out.wrapping_sub(seq),
        });
        self.top_in = seq;
        let Some(last_at) = self.last_at else {
            self.ts_shift = self.last_ts.wrapping_sub(timestamp);
            return;
        };
        let goes_on = timestamp.wrapping_add(self.ts_shift) > self.last_ts;
        if is_same && goes_on {
            return;
        }
        let silence = now.saturating_duration_since(last_at);
        let target = self.last_ts + ticks(silence, clock_hz).max(1);
        self.ts_shift = target.wrapping_sub(timestamp);
    }

    /// Inputs `from..to` are not forwarded, and their numbers are given to the next. False: a later
    /// one has been forwarded already, so they keep their numbers.
    pub fn skip(&mut self, from: u64, to: u64) -> bool {
        let Some(last) = self.ranges.last_mut() else {
            return true;
        };
        if from < self.top_in || from < last.start {
            return false;
        }
        let range = Range {
            start: to,
            skipped: to - from,
            shift: last.shift.wrapping_sub(to - from),
        };
        if last.start == from && last.skipped > 0 {
            *last = Range {
                skipped: last.skipped + range.skipped,
                ..range
            };
        } else {
            if self.ranges.len() == MAX_RANGES {
                self.ranges.remove(0);
            }
            self.ranges.push(range);
        }
        self.top_in = to;
        true
    }

    /// The output number of input `seq`; `None`: it is not to be forwarded.
    pub fn seq(&mut self, seq: u64) -> Option<u64> {
        let out = self.look_up(seq)?;
        self.top_in = self.top_in.max(seq + 1);
        self.next_out = self.next_out.max(out + 1);
        Some(out)
    }

    /// The input whose number is, or would be, `out`; `None`: it was not given out since the start.
    pub fn input(&self, out: u16) -> Option<u64> {
        let out = near16(self.next_out, out);
        let first = self.ranges.iter().rev().find_map(|range| {
            let first = range.start.wrapping_add(range.shift);
            (out >= first).then_some(range.shift)
        });
        first
            .filter(|_| out < self.next_out)
            .map(|shift| out.wrapping_sub(shift))
    }

    /// The output timestamp of an input timestamp.
    pub fn timestamp(&mut self, timestamp: u64, now: Instant) -> u64 {
        let out = timestamp.wrapping_add(self.ts_shift);
        if self.last_at.is_none() || out > self.last_ts {
            self.last_ts = out;
            self.last_at = Some(now);
        }
        out
    }

    /// As [`timestamp`](Self::timestamp), for what is not a packet being forwarded.
    pub fn map_timestamp(&self, timestamp: u64) -> u64 {
        timestamp.wrapping_add(self.ts_shift)
    }

    fn look_up(&self, seq: u64) -> Option<u64> {
        for range in self.ranges.iter().rev() {
            if seq >= range.start {
                return Some(seq.wrapping_add(range.shift));
            }
            if seq >= range.start - range.skipped {
                return None;
            }
        }
        None
    }
}

fn ticks(time: Duration, clock_hz: u32) -> u64 {
    (time.as_nanos() * u128::from(clock_hz) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    fn started(seq: u64) -> Munger {
        let mut munger = Munger::new(500, 1000);
        munger.start(seq, 90_000, Instant::now(), 90_000, false);
        munger
    }

    #[test]
    fn a_skipped_packet_leaves_no_gap() {
        let mut munger = started(10);

        assert_eq!(munger.seq(10), Some(500));
        munger.skip(11, 12);
        munger.skip(12, 13);
        assert_eq!(munger.seq(13), Some(501));
        assert_eq!(munger.seq(12), None);
        assert_eq!(munger.seq(14), Some(502));
    }

    #[test]
    fn a_gap_in_the_input_is_kept_for_the_packet_that_is_late() {
        let mut munger = started(10);

        assert_eq!(munger.seq(10), Some(500));
        munger.skip(13, 14);
        assert_eq!(munger.seq(14), Some(503));
        assert_eq!(munger.seq(12), Some(502));
        assert_eq!(munger.seq(11), Some(501));
    }

    #[test]
    fn what_is_skipped_too_late_keeps_its_number() {
        let mut munger = started(10);
        munger.seq(10);
        munger.seq(13);

        assert!(!munger.skip(11, 12));
        assert_eq!(munger.seq(11), Some(501));
        assert!(munger.skip(14, 17));
        assert_eq!(munger.seq(17), Some(504));
    }

    #[test]
    fn what_came_before_the_start_is_not_forwarded() {
        let mut munger = started(10);

        assert_eq!(munger.seq(9), None);
        assert_eq!(munger.seq(10), Some(500));
    }

    #[test]
    fn another_source_goes_on_where_the_last_one_ended() {
        let now = Instant::now();
        let mut munger = started(10);
        munger.seq(10);
        munger.timestamp(90_000, now);

        let later = now + Duration::from_millis(100);
        munger.start(40_000, 5, later, 90_000, false);

        assert_eq!(munger.seq(40_000), Some(501));
        assert_eq!(munger.timestamp(5, later) - EPOCH, 1000 + 9000);
        assert_eq!(munger.timestamp(3005, later) - EPOCH, 1000 + 12_000);
    }

    #[test]
    fn the_same_source_keeps_its_timeline_through_a_pause() {
        let now = Instant::now();
        let mut munger = started(10);
        munger.seq(10);
        munger.timestamp(90_000, now);

        let later = now + Duration::from_millis(1030);
        munger.start(50, 180_000, later, 90_000, true);

        assert_eq!(munger.seq(50), Some(501));
        assert_eq!(munger.timestamp(180_000, later) - EPOCH, 91_000);
    }

    #[test]
    fn time_never_stands_still_at_a_start() {
        let now = Instant::now();
        let mut munger = started(10);
        munger.timestamp(90_000, now);

        munger.start(11, 7, now, 90_000, false);

        assert_eq!(munger.timestamp(7, now) - EPOCH, 1001);
    }

    proptest! {
        /// Packets come late, get lost and are skipped: the output has a gap exactly where the input
        /// lacks a packet, no number is used twice, and each leads back to its input.
        #[test]
        fn the_output_has_no_gap_that_the_input_lacks(
            packets in prop::collection::vec((0u8..10, 0u8..10, 0u64..4), 1..300),
        ) {
            let start = 65_000u64;
            let mut munger = started(start);
            // (arrival order, number, is padding); lost ones are left out.
            let mut input: Vec<(u64, u64, bool)> = packets
                .iter()
                .enumerate()
                .filter(|(n, (loss, _, _))| *n == 0 || *loss > 0)
                .map(|(n, (_, padding, delay))| {
                    let n = n as u64;
                    (if n == 0 { 0 } else { n + delay }, start + n, n > 0 && *padding == 0)
                })
                .collect();
            input.sort();
            let arrived: std::collections::BTreeSet<u64> =
                input.iter().map(|(_, seq, _)| *seq).collect();

            let mut out = BTreeMap::new();
            let mut top = 0;
            for (_, seq, is_padding) in input {
                if is_padding && munger.skip(seq, seq + 1) {
                    prop_assert!(seq >= top);
                } else if let Some(number) = munger.seq(seq) {
                    prop_assert!(out.insert(number, seq).is_none(), "{number} twice");
                    prop_assert_eq!(munger.input(number as u16), Some(seq));
                } else {
                    // Only something older than the ranges remembered may be dropped.
                    prop_assert!(top - seq > 4);
                }
                top = top.max(seq + 1);
            }

            // In order, and gaps only for what never came.
            let numbers: Vec<_> = out.into_iter().collect();
            for pair in numbers.windows(2) {
                prop_assert!(pair[0].1 < pair[1].1);
            }
            if let (Some((low, first)), Some((high, last))) = (numbers.first(), numbers.last()) {
                let gaps = high - low + 1 - numbers.len() as u64;
                let lacking = (*first..=*last).filter(|n| !arrived.contains(n)).count() as u64;
                prop_assert!(gaps <= lacking, "{gaps} gaps, {lacking} lacking");
            }
        }
    }
}
