//! Numbers of one stretch of a source as a consumer's own: without gaps of our making, whatever is left
//! out. Sequence numbers are counted so, and the pictures of VP8.
//!
//! The output is a pure function of this state and the input number.

/// Skips remembered; a number older than these is not placed any more.
const MAX_RANGES: usize = 32;

/// From `start` on, `out = in + shift`; the `skipped` numbers before it were not forwarded.
#[derive(Clone, Copy, Default, Debug)]
struct Range {
    start: u64,
    skipped: u64,
    shift: u64,
}

/// How the numbers of a source become those of one consumer.
#[derive(Default)]
pub(super) struct Munger {
    /// Oldest first. Empty: not started.
    ranges: Vec<Range>,
    /// One above the highest input number seen since the start.
    top_in: u64,
    first_out: u64,
    next_out: u64,
}

impl Munger {
    /// Input `first` becomes `out`; what came before it is not forwarded.
    pub fn start(&mut self, first: u64, out: u64) {
        self.ranges.clear();
        self.ranges.push(Range {
            start: first,
            skipped: 0,
            shift: out.wrapping_sub(first),
        });
        self.top_in = first;
        self.first_out = out;
        self.next_out = out;
    }

    /// As before any start.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    pub fn is_started(&self) -> bool {
        !self.ranges.is_empty()
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

    /// The output number of an input that is forwarded; `None`: it is not to be.
    pub fn take(&mut self, input: u64) -> Option<u64> {
        let out = self.map(input)?;
        self.top_in = self.top_in.max(input + 1);
        self.next_out = self.next_out.max(out + 1);
        Some(out)
    }

    /// The output number that an input has, if it is or was forwarded.
    pub fn map(&self, input: u64) -> Option<u64> {
        for range in self.ranges.iter().rev() {
            if input >= range.start {
                return Some(input.wrapping_add(range.shift));
            }
            if input >= range.start - range.skipped {
                return None;
            }
        }
        None
    }

    /// The input whose number is, or would be, `out`; `None`: it was not given out since the start.
    pub fn input(&self, out: u64) -> Option<u64> {
        if out < self.first_out || out >= self.next_out {
            return None;
        }
        let shift = self.ranges.iter().rev().find_map(|range| {
            let first = range.start.wrapping_add(range.shift);
            (out >= first).then_some(range.shift)
        });
        shift.map(|shift| out.wrapping_sub(shift))
    }

    /// The first number that has not been given out.
    pub fn next_out(&self) -> u64 {
        self.next_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    fn started(seq: u64) -> Munger {
        let mut munger = Munger::default();
        munger.start(seq, 500);
        munger
    }

    #[test]
    fn a_skipped_number_leaves_no_gap() {
        let mut munger = started(10);

        assert_eq!(munger.take(10), Some(500));
        munger.skip(11, 12);
        munger.skip(12, 13);
        assert_eq!(munger.take(13), Some(501));
        assert_eq!(munger.take(12), None);
        assert_eq!(munger.take(14), Some(502));
    }

    #[test]
    fn a_gap_in_the_input_is_kept_for_the_packet_that_is_late() {
        let mut munger = started(10);

        assert_eq!(munger.take(10), Some(500));
        munger.skip(13, 14);
        assert_eq!(munger.take(14), Some(503));
        assert_eq!(munger.take(12), Some(502));
        assert_eq!(munger.take(11), Some(501));
    }

    #[test]
    fn what_is_skipped_too_late_keeps_its_number() {
        let mut munger = started(10);
        munger.take(10);
        munger.take(13);

        assert!(!munger.skip(11, 12));
        assert_eq!(munger.take(11), Some(501));
        assert!(munger.skip(14, 17));
        assert_eq!(munger.take(17), Some(504));
    }

    #[test]
    fn what_came_before_the_start_is_not_forwarded() {
        let mut munger = started(10);

        assert_eq!(munger.take(9), None);
        assert_eq!(munger.take(10), Some(500));
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
                } else if let Some(number) = munger.take(seq) {
                    prop_assert!(out.insert(number, seq).is_none(), "{number} twice");
                    prop_assert_eq!(munger.input(number), Some(seq));
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
