//! Keyframe requests of one layer: merged, apart by a gap, and none of them forgotten.

use std::time::{Duration, Instant};

/// A path slower than this is not believed.
const MOST_RTT: Duration = Duration::from_secs(1);

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Now,
    /// Too soon after the last one: look again then.
    At(Instant),
}

pub(super) struct Keyframes {
    gap: Duration,
    /// Of the path to the publisher, half as long again: an answer takes that and more.
    answer: Duration,
    last_sent: Option<Instant>,
    /// A request was held back.
    is_held: bool,
    /// A request went out, and no keyframe has come since.
    is_unanswered: bool,
    /// Number of the first packet of the newest keyframe, and when it came.
    newest: Option<(u64, Instant)>,
}

impl Keyframes {
    pub fn new(gap: Duration) -> Self {
        Keyframes {
            gap,
            answer: Duration::ZERO,
            last_sent: None,
            is_held: false,
            is_unanswered: false,
            newest: None,
        }
    }

    pub fn set_gap(&mut self, gap: Duration) {
        self.gap = gap;
    }

    /// The round trip to the publisher, as it was last measured.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.answer = rtt.min(MOST_RTT) * 3 / 2;
    }

    /// Somebody needs a keyframe.
    pub fn ask(&mut self, now: Instant) -> Ask {
        match self.next() {
            Some(next) if now < next => {
                self.is_held = true;
                Ask::At(next)
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
        if self.next().is_some_and(|next| now < next) {
            return false;
        }
        let is_wanted = self.is_held || (self.is_unanswered && has_waiting);
        if is_wanted {
            self.send(now);
        }
        is_wanted
    }

    /// When the next request may go out: the gap after the last one, and not while its answer can
    /// still be on its way.
    pub fn next(&self) -> Option<Instant> {
        let gap = match self.is_unanswered {
            true => self.gap.max(self.answer),
            false => self.gap,
        };
        self.last_sent.map(|sent| sent + gap)
    }

    /// A keyframe began with packet `seq`, which answers everything asked before it.
    pub fn on_keyframe(&mut self, seq: u64, now: Instant) {
        self.is_held = false;
        self.is_unanswered = false;
        if self.newest.is_none_or(|(newest, _)| newest < seq) {
            self.newest = Some((seq, now));
        }
    }

    /// Whether a decoder that goes without packet `seq` is helped by a keyframe that has come.
    pub fn makes_up_for(&self, seq: u64) -> bool {
        self.newest.is_some_and(|(newest, _)| seq < newest)
    }

    /// Whether somebody with this round trip can have asked before the newest keyframe reached them.
    pub fn is_on_its_way(&self, now: Instant, rtt: Duration) -> bool {
        let rtt = rtt.min(MOST_RTT);
        self.newest.is_some_and(|(_, came)| now < came + rtt)
    }

    /// Another stream sends the layer: its numbers mean nothing to the old ones.
    pub fn forget_numbers(&mut self) {
        self.newest = None;
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

        keyframes.on_keyframe(7, start + ms(60));

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

    #[test]
    fn nothing_is_asked_while_the_answer_can_be_on_its_way() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.set_rtt(ms(600));
        keyframes.ask(start);

        assert_eq!(keyframes.ask(start + ms(700)), Ask::At(start + ms(900)));
        assert!(!keyframes.on_timer(start + ms(899), true));
        assert!(keyframes.on_timer(start + ms(900), true));

        keyframes.on_keyframe(7, start + ms(1300));
        assert_eq!(keyframes.ask(start + ms(1400)), Ask::Now);
    }

    #[test]
    fn a_keyframe_makes_up_for_what_was_lost_before_it() {
        let mut keyframes = Keyframes::new(ms(500));
        assert!(!keyframes.makes_up_for(3));

        keyframes.on_keyframe(10, Instant::now());

        assert!(keyframes.makes_up_for(9));
        assert!(!keyframes.makes_up_for(10));
    }
}
