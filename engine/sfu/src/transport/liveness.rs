//! Whether the peer is still there: a clock of the last authenticated datagram.
//!
//! RFC 7675 consent is the sender's affair; a lite agent sends no checks, so it judges by what it
//! hears. Browsers check every few seconds even when no media flows.

use std::time::{Duration, Instant};

/// What the silence amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pulse {
    Alive,
    Silent,
    Gone,
}

#[derive(Clone, Copy)]
pub(crate) struct Liveness {
    heard: Instant,
    silent_after: Duration,
    gone_after: Duration,
}

impl Liveness {
    pub fn new(now: Instant, silent_after: Duration, gone_after: Duration) -> Liveness {
        Liveness {
            heard: now,
            silent_after,
            gone_after,
        }
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub fn pulse(&self, now: Instant) -> Pulse {
        let silence = now.saturating_duration_since(self.heard);
        if silence >= self.gone_after {
            Pulse::Gone
        } else if silence >= self.silent_after {
            Pulse::Silent
        } else {
            Pulse::Alive
        }
    }

    /// When the pulse changes next if nothing is heard; `None` once it is `Gone`.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.pulse(now) {
            Pulse::Alive => Some(self.heard + self.silent_after),
            Pulse::Silent => Some(self.heard + self.gone_after),
            Pulse::Gone => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_noticed_at_each_limit_and_forgiven_at_once() {
        let start = Instant::now();
        let second = |s| start + Duration::from_secs(s);
        let mut liveness = Liveness::new(start, Duration::from_secs(5), Duration::from_secs(10));

        assert_eq!(liveness.pulse(second(4)), Pulse::Alive);
        assert_eq!(liveness.deadline(second(4)), Some(second(5)));
        assert_eq!(liveness.pulse(second(5)), Pulse::Silent);
        assert_eq!(liveness.deadline(second(5)), Some(second(10)));
        assert_eq!(liveness.pulse(second(10)), Pulse::Gone);
        assert_eq!(liveness.deadline(second(10)), None);

        liveness.heard(second(11));

        assert_eq!(liveness.pulse(second(12)), Pulse::Alive);
    }
}
