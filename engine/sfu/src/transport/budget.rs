//! How much a peer may make the engine tell: a channel opened and closed, or a nomination moved back
//! and forth, costs the peer nothing, and must not crowd out what others have to tell.

use std::time::Instant;

const BURST: f32 = 1024.0;
const PER_SECOND: f32 = 100.0;
/// What a token tells beside the mere fact.
const BYTES_PER_TOKEN: usize = 256;

/// A token bucket, full at first.
pub(crate) struct Budget {
    tokens: f32,
    at: Instant,
}

impl Budget {
    pub fn new(now: Instant) -> Budget {
        Budget {
            tokens: BURST,
            at: now,
        }
    }

    /// Takes one token. False: there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.take_for(0, now)
    }

    /// Takes what it costs to tell something of so many bytes. False: it is not there.
    pub fn take_for(&mut self, bytes: usize, now: Instant) -> bool {
        let cost = 1.0 + (bytes / BYTES_PER_TOKEN) as f32;
        let passed = now.saturating_duration_since(self.at).as_secs_f32();
        self.at = now;
        self.tokens = (self.tokens + passed * PER_SECOND).min(BURST);
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_allowed_once_and_comes_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);

        let burst = (0..5000).filter(|_| budget.take(start)).count();
        let later = start + Duration::from_secs(1);
        let after = (0..5000).filter(|_| budget.take(later)).count();

        assert_eq!((burst, after), (1024, 100));
    }

    #[test]
    fn long_names_use_it_up_sooner() {
        let start = Instant::now();
        let mut budget = Budget::new(start);

        let told = (0..5000).filter(|_| budget.take_for(65_535, start)).count();

        assert_eq!(told, 4);
    }
}
