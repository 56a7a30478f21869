//! Keyframe requests of one layer: merged, apart by a gap, and none of them forgotten.

use std::time::{Duration, Instant};

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Now,
    /// Too soon after the last one: look again then.
    At(Instant),
}

pub(super) struct Keyframes {
    gap: Duration,
    last_sent: Option<Instant>,
    /// A request was held back.
    is_held: bool,
    /// A request went out, and no keyframe has come since.
    is_unanswered: bool,
}

impl Keyframes {
    pub fn new(gap: Duration) -> Self {
        Keyframes {
            gap,
            last_sent: None,
            is_held: false,
            is_unanswered: false,
        }
    }

    pub fn set_gap(&mut self, gap: Duration) {
        self.gap = gap;
    }

    /// Somebody needs a keyframe.
    pub fn ask(&mut self, now: Instant) -> Ask {
        match self.last_sent {
            Some(sent) if now < sent + self.gap => {
                self.is_held = true;
                Ask::At(sent + self.gap)
            }
            _ => {
                self.send(now);
                Ask::Now
            }
        }
    }

    /// Somebody needs a keyframe, to be asked for by the timer. Says when that may be.
    pub fn hold(&mut self, now: Instant) -> Instant {
        self.is_held = true;
        self.next().map_or(now, |next| next.max(now))
    }

    /// The gap has passed. has_waiting: somebody still cannot begin without a keyframe.
    /// True: ask now.
    pub fn on_timer(&mut self, now: Instant, has_waiting: bool) -> bool {
        if self.last_sent.is_some_and(|sent| now < sent + self.gap) {
            return false;
        }
        let is_wanted = self.is_held || (self.is_unanswered && has_waiting);
        if is_wanted {
            self.send(now);
        }
        is_wanted
    }

    /// When the next request may go out.
    pub fn next(&self) -> Option<Instant> {
        self.last_sent.map(|sent| sent + self.gap)
    }

    /// A keyframe began, which answers everything asked before it.
    pub fn on_keyframe(&mut self) {
        self.is_held = false;
        self.is_unanswered = false;
    }

    fn send(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.is_held = false;
        self.is_unanswered = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn requests_within_the_gap_become_one_at_its_end() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));

        assert_eq!(keyframes.ask(start), Ask::Now);
        assert_eq!(keyframes.ask(start + ms(10)), Ask::At(start + ms(500)));
        assert_eq!(keyframes.ask(start + ms(20)), Ask::At(start + ms(500)));
        assert!(keyframes.on_timer(start + ms(500), false));
        assert!(!keyframes.on_timer(start + ms(1000), false));
    }

    #[test]
    fn a_keyframe_answers_a_request_that_was_held_back() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.ask(start);
        keyframes.ask(start + ms(10));

        keyframes.on_keyframe();

        assert!(!keyframes.on_timer(start + ms(500), true));
    }

    #[test]
    fn a_lost_request_is_repeated_for_those_who_wait() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.ask(start);

        assert!(!keyframes.on_timer(start + ms(499), true));
        assert!(keyframes.on_timer(start + ms(500), true));
    }
}
