//! Keyframe requests of one layer: merged, apart by a gap, none of them forgotten, and repeated while
//! somebody waits.
//!
//! The gap is between requests for different keyframes. A request that has gone unanswered may be lost,
//! and is repeated sooner: after 0.3, 0.6, 1.1 and 2.1 seconds, then slowly, and never while its answer
//! can still be on its way.

use std::time::{Duration, Instant};

/// A path slower than this is not believed.
const MOST_RTT: Duration = Duration::from_secs(1);
/// From each request for a keyframe that somebody waits for to the next; the last serves all further.
///
/// WebRTC passes over what it hears within 300 ms of a request that it has taken
/// (`EncoderRtcpFeedback`), so a repeat that comes sooner is wasted unless the first one was lost.
const REPEATS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Now,
    /// Too soon after the last one: look again then.
    At(Instant),
}

pub(super) struct Keyframes {
    gap: Duration,
    /// The round trip to the publisher.
    rtt: Duration,
    /// From a request to its keyframe, smoothed: a round trip and what the encoder adds.
    took: Duration,
    last_sent: Option<Instant>,
    /// A request was held back.
    is_held: bool,
    /// Requests that went out since the last keyframe came.
    unanswered: usize,
    /// Number of the first packet of the newest keyframe, and when it came.
    newest: Option<(u64, Instant)>,
}

impl Keyframes {
    pub fn new(gap: Duration) -> Self {
        Keyframes {
            gap,
            rtt: Duration::ZERO,
            took: Duration::ZERO,
            last_sent: None,
            is_held: false,
            unanswered: 0,
            newest: None,
        }
    }

    pub fn set_gap(&mut self, gap: Duration) {
        self.gap = gap;
    }

    /// The round trip to the publisher, as it was last measured.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.min(MOST_RTT);
    }

    /// Somebody needs a keyframe, and cannot begin without it (is_waiting).
    pub fn ask(&mut self, is_waiting: bool, now: Instant) -> Ask {
        match self.next(is_waiting) {
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
        self.next(true).map_or(now, |next| next.max(now))
    }

    /// Time has passed. has_waiting: somebody still cannot begin without a keyframe.
    /// True: ask now.
    pub fn on_timer(&mut self, now: Instant, has_waiting: bool) -> bool {
        if self.next(has_waiting).is_some_and(|next| now < next) {
            return false;
        }
        let is_wanted = self.is_held || (self.unanswered > 0 && has_waiting);
        if is_wanted {
            self.send(now);
        }
        is_wanted
    }

    /// When the next request may go out, for somebody who waits or for somebody who does not.
    pub fn next(&self, is_waiting: bool) -> Option<Instant> {
        let answer = self.rtt.max(self.took) * 3 / 2;
        let wait = match self.unanswered {
            0 => self.gap,
            tries if is_waiting => REPEATS[tries.min(REPEATS.len()) - 1].max(answer),
            _ => self.gap.max(answer),
        };
        self.last_sent.map(|sent| sent + wait)
    }

    /// A keyframe began with packet `seq`, which answers everything asked before it.
    pub fn on_keyframe(&mut self, seq: u64, now: Instant) {
        self.is_held = false;
        // After a second request it is unknown which of them was answered.
        if let (1, Some(sent)) = (self.unanswered, self.last_sent) {
            let sample = now.saturating_duration_since(sent).min(MOST_RTT);
            self.took = (self.took * 3 + sample) / 4;
        }
        self.unanswered = 0;
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
        self.unanswered += 1;
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

        assert_eq!(keyframes.ask(false, start), Ask::Now);
        assert_eq!(
            keyframes.ask(false, start + ms(10)),
            Ask::At(start + ms(500))
        );
        assert_eq!(
            keyframes.ask(false, start + ms(20)),
            Ask::At(start + ms(500))
        );
        assert!(keyframes.on_timer(start + ms(500), false));
        assert!(!keyframes.on_timer(start + ms(1000), false));
    }

    #[test]
    fn a_keyframe_answers_a_request_that_was_held_back() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.ask(false, start);
        keyframes.ask(false, start + ms(10));

        keyframes.on_keyframe(7, start + ms(60));

        assert!(!keyframes.on_timer(start + ms(500), true));
    }

    /// When a keyframe that somebody waits for is asked for within ten seconds, without an answer.
    fn questions(keyframes: &mut Keyframes, start: Instant) -> Vec<u64> {
        let mut asked = vec![0];
        assert_eq!(keyframes.ask(true, start), Ask::Now);
        for at in 1..10_000 {
            if keyframes.on_timer(start + ms(at), true) {
                asked.push(at);
            }
        }
        asked
    }

    #[test]
    fn a_lost_request_is_repeated_for_those_who_wait() {
        let mut keyframes = Keyframes::new(ms(500));

        let asked = questions(&mut keyframes, Instant::now());

        assert_eq!(asked, [0, 300, 600, 1100, 2100, 4100, 6100, 8100]);
    }

    #[test]
    fn who_waits_while_the_question_is_open_adds_none() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.ask(true, start);

        for at in 1..50 {
            assert_eq!(
                keyframes.ask(true, start + ms(at)),
                Ask::At(start + ms(300))
            );
        }
        keyframes.on_keyframe(7, start + ms(60));

        assert!(!keyframes.on_timer(start + ms(300), false));
    }

    #[test]
    fn nothing_is_asked_while_the_answer_can_be_on_its_way() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(500));
        keyframes.set_rtt(ms(600));
        keyframes.ask(false, start);

        assert_eq!(
            keyframes.ask(false, start + ms(700)),
            Ask::At(start + ms(900))
        );
        assert!(!keyframes.on_timer(start + ms(899), true));
        assert!(keyframes.on_timer(start + ms(900), true));

        keyframes.on_keyframe(7, start + ms(1300));
        assert_eq!(keyframes.ask(false, start + ms(1400)), Ask::Now);
    }

    #[test]
    fn a_slow_encoder_is_given_the_time_it_takes() {
        let start = Instant::now();
        let mut keyframes = Keyframes::new(ms(0));
        for n in 0..20u32 {
            let now = start + ms(1000) * n;
            keyframes.ask(true, now);
            keyframes.on_keyframe(u64::from(n), now + ms(290));
        }

        let now = start + ms(60_000);
        keyframes.ask(true, now);

        assert!(!keyframes.on_timer(now + ms(420), true));
        assert!(keyframes.on_timer(now + ms(440), true));
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
