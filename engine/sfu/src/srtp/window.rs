//! Which indices of one SSRC were seen: the replay list of RFC 3711 §3.3.2, 1024 wide.

const WIDTH: u64 = 1024;
const WORDS: usize = (WIDTH / 64) as usize;

/// The highest index and a bit for each of the 1024 up to it.
#[derive(Clone)]
pub(crate) struct Window {
    /// One above the highest index marked; 0: none yet.
    end: u64,
    bits: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Window {
            end: 0,
            bits: [0; WORDS],
        }
    }
}

impl Window {
    /// The index that a 16-bit sequence number stands for: the nearest to the highest one seen
    /// (RFC 3711 §3.3.1 and appendix A).
    pub fn estimate(&self, seq: u16) -> u64 {
        let Some(top) = self.end.checked_sub(1) else {
            return u64::from(seq);
        };
        let mut step = i64::from(seq.wrapping_sub(top as u16) as i16);
        // Exactly half way round: the appendix stays within the same roll-over.
        if step == i64::from(i16::MIN) && top as u16 <= seq {
            step = -step;
        }
        top.checked_add_signed(step).unwrap_or(u64::from(seq))
    }

    /// Neither seen nor too old to know.
    pub fn is_fresh(&self, index: u64) -> bool {
        if index >= self.end {
            return true;
        }
        if self.end - index > WIDTH {
            return false;
        }
        let (word, bit) = place(index);
        self.bits[word] & bit == 0
    }

    /// Remembers an index that is fresh.
    pub fn mark(&mut self, index: u64) {
        if index >= self.end {
            let ahead = index - self.end;
            if ahead >= WIDTH {
                self.bits = [0; WORDS];
            } else {
                for skipped in self.end..index {
                    let (word, bit) = place(skipped);
                    self.bits[word] &= !bit;
                }
            }
            self.end = index + 1;
        } else if self.end - index > WIDTH {
            return;
        }
        let (word, bit) = place(index);
        self.bits[word] |= bit;
    }
}

fn place(index: u64) -> (usize, u64) {
    let slot = index % WIDTH;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    fn seen(indices: &[u64]) -> Window {
        let mut window = Window::default();
        for index in indices {
            window.mark(*index);
        }
        window
    }

    #[test]
    fn an_index_is_fresh_once() {
        let window = seen(&[10, 12]);

        assert!(window.is_fresh(11));
        assert!(!window.is_fresh(10));
        assert!(!window.is_fresh(12));
        assert!(window.is_fresh(13));
    }

    #[test]
    fn an_index_older_than_the_window_is_not_fresh() {
        let window = seen(&[2000]);

        assert!(window.is_fresh(2000 - 1023));
        assert!(!window.is_fresh(2000 - 1024));
    }

    #[test]
    fn the_roll_over_is_guessed_both_ways() {
        let window = seen(&[0x1_fff0]);

        assert_eq!(window.estimate(0x0005), 0x2_0005);
        assert_eq!(window.estimate(0xffee), 0x1_ffee);
        assert_eq!(seen(&[0x2_0003]).estimate(0xfffe), 0x1_fffe);
        assert_eq!(seen(&[3]).estimate(0xfffe), 0xfffe);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(
            start in 0u64..70_000,
            steps in prop::collection::vec(-1500i64..1500, 1..400),
        ) {
            let mut window = Window::default();
            let mut marked = BTreeSet::new();
            let mut at = start;
            for step in steps {
                at = at.saturating_add_signed(step);
                let top = marked.last().copied().unwrap_or(0);
                let expected = marked.is_empty()
                    || (top < at + 1024 && !marked.contains(&at));
                prop_assert_eq!(window.is_fresh(at), expected);
                if expected {
                    window.mark(at);
                    marked.insert(at);
                }
            }
        }

        #[test]
        fn the_guess_is_right_within_half_the_number_space(
            top in 0u64..(1 << 40),
            step in -32_767i64..=32_767,
        ) {
            let sent = top.saturating_add_signed(step);
            let window = seen(&[top]);

            prop_assert_eq!(window.estimate(sent as u16), sent);
        }
    }
}
