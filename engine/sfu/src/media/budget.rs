//! How much a sender may send again: a share of what it sends, and a little whatever it sends.
//!
//! It is counted in bytes, because they are what fills the path. Whoever loses more than this is not
//! helped by more packets, and whoever asks for everything again does not double our traffic.

/// One byte again for so many sent.
const SENT_PER_BYTE: u64 = 2;
/// Besides, so that a stream that sends little, or has just stopped, can be repaired at all.
const FLOOR_BYTES_PER_S: u64 = 8_000;
/// Unused budget is kept up to this: about half a second of good video, lost in one piece.
const MOST: u64 = 256 << 10;
const FIRST: u64 = 64 << 10;

pub(super) struct Budget {
    bytes: u64,
    /// Of media sent, not yet worth a byte.
    rest: u64,
    /// When the floor was last added.
    filled_ms: Option<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            bytes: FIRST,
            rest: 0,
            filled_ms: None,
        }
    }
}

impl Budget {
    /// A packet of media was sent.
    pub fn on_sent(&mut self, len: usize) {
        self.rest += len as u64;
        self.bytes = (self.bytes + self.rest / SENT_PER_BYTE).min(MOST);
        self.rest %= SENT_PER_BYTE;
    }

    /// Whether so many bytes may be sent again now. They are taken by [`spend`](Self::spend).
    ///
    /// now_ms: on a clock that wraps.
    pub fn allows(&mut self, len: usize, now_ms: u32) -> bool {
        let filled_ms = *self.filled_ms.get_or_insert(now_ms);
        let earned = u64::from(now_ms.wrapping_sub(filled_ms)) * FLOOR_BYTES_PER_S / 1000;
        if earned > 0 {
            self.filled_ms = Some(now_ms);
            self.bytes = (self.bytes + earned).min(MOST);
        }
        len as u64 <= self.bytes
    }

    pub fn spend(&mut self, len: usize) {
        self.bytes = self.bytes.saturating_sub(len as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// How many packets of 1000 bytes may be sent again from now on.
    fn packets(budget: &mut Budget, now_ms: u32) -> u64 {
        let mut count = 0;
        while budget.allows(1000, now_ms) {
            budget.spend(1000);
            count += 1;
        }
        count
    }

    #[test]
    fn half_of_what_is_sent_may_be_sent_again() {
        let mut budget = Budget::default();
        packets(&mut budget, 0);

        (0..100).for_each(|_| budget.on_sent(1001));

        assert_eq!(packets(&mut budget, 0), 50);
    }

    #[test]
    fn a_stream_that_has_stopped_can_be_repaired_slowly() {
        let mut budget = Budget::default();
        packets(&mut budget, 5000);

        assert_eq!(packets(&mut budget, 5050), 0);
        assert_eq!(packets(&mut budget, 7000), 16);
    }

    #[test]
    fn what_is_not_used_is_kept_up_to_half_a_second_of_video() {
        let mut budget = Budget::default();
        (0..10_000).for_each(|_| budget.on_sent(1200));

        assert_eq!(packets(&mut budget, 0), MOST / 1000);
    }

    proptest! {
        #[test]
        fn over_any_time_the_share_and_the_floor_are_kept(
            start in any::<u32>(),
            steps in prop::collection::vec((0usize..1500, 0usize..1500, 0u32..100), 1..500),
        ) {
            let mut budget = Budget::default();
            let (mut sent, mut again, mut passed) = (0u64, 0u64, 0u32);
            budget.allows(0, start);
            for (media, repair, pause) in steps {
                passed += pause;
                budget.on_sent(media);
                sent += media as u64;
                if budget.allows(repair, start.wrapping_add(passed)) {
                    budget.spend(repair);
                    again += repair as u64;
                }
                let floor = u64::from(passed) * FLOOR_BYTES_PER_S / 1000;
                prop_assert!(again <= FIRST + sent / SENT_PER_BYTE + floor);
            }
        }
    }
}
