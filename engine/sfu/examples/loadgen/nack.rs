//! Which packets of a stream are missing, and when each is asked for: as a browser asks.

use std::time::{Duration, Instant};

/// A packet that was merely overtaken is not worth a question.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// libwebrtc asks no more often than this for one packet, however short the round trip.
const LEAST_WAIT: Duration = Duration::from_millis(20);
const MAX_TRIES: u8 = 10;
/// What nobody has asked for within this time, or nobody has answered, is lost.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_MISSING: usize = 512;

#[derive(Clone, Copy)]
struct Missing {
    number: u64,
    since: Instant,
    due: Instant,
    tries: u8,
}

/// The missing packets of one stream, ascending.
#[derive(Default)]
pub struct Missed {
    list: Vec<Missing>,
}

impl Missed {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Packets `from..to` were passed over. True: they are too many to ask for, and all are given up.
    pub fn on_gap(&mut self, from: u64, to: u64, now: Instant) -> bool {
        let count = to.saturating_sub(from) as usize;
        if self.list.len() + count > MAX_MISSING {
            self.list.clear();
            return true;
        }
        self.list.extend((from..to).map(|number| Missing {
            number,
            since: now,
            due: now + FIRST_WAIT,
            tries: 0,
        }));
        false
    }

    /// A missing packet came after all. True if it had been asked for.
    pub fn on_arrival(&mut self, number: u64) -> bool {
        match self.list.binary_search_by_key(&number, |m| m.number) {
            Ok(place) => self.list.remove(place).tries > 0,
            Err(_) => false,
        }
    }

    /// Collects in `ask` what is to be asked for now. `rtt`: of the path. Returns whether any was
    /// given up.
    pub fn take_due(&mut self, now: Instant, rtt: Duration, ask: &mut Vec<u16>) -> bool {
        let before = self.list.len();
        self.list
            .retain(|m| !(m.due <= now && m.tries >= MAX_TRIES) && now < m.since + PATIENCE);
        for missing in self.list.iter_mut().filter(|m| m.due <= now) {
            missing.tries += 1;
            missing.due = now + rtt.max(LEAST_WAIT);
            ask.push(missing.number as u16);
        }
        self.list.len() < before
    }

    /// Forgets, without asking, what has been missing for too long. For a client that does not ask.
    pub fn expire(&mut self, now: Instant) {
        self.list.retain(|m| now < m.since + PATIENCE);
    }

    /// How many from `base` on may still come: they have been missing for less than `grace`.
    pub fn pending(&self, base: u64, now: Instant, grace: Duration) -> u64 {
        let young = |m: &&Missing| m.number >= base && now < m.since + grace;
        self.list.iter().filter(young).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn due(missed: &mut Missed, now: Instant) -> Vec<u16> {
        let mut ask = Vec::new();
        missed.take_due(now, RTT, &mut ask);
        ask
    }

    #[test]
    fn what_was_only_overtaken_is_not_asked_for() {
        let start = Instant::now();
        let mut missed = Missed::default();
        missed.on_gap(65_546, 65_548, start);

        assert!(due(&mut missed, start + ms(9)).is_empty());
        assert!(!missed.on_arrival(65_546));
        assert_eq!(due(&mut missed, start + ms(10)), [11]);
        assert!(missed.on_arrival(65_547));
        assert!(missed.is_empty());
    }

    #[test]
    fn a_question_is_repeated_after_a_round_trip() {
        let start = Instant::now();
        let mut missed = Missed::default();
        missed.on_gap(5, 6, start);

        assert_eq!(due(&mut missed, start + ms(10)), [5]);
        assert!(due(&mut missed, start + ms(59)).is_empty());
        assert_eq!(due(&mut missed, start + ms(60)), [5]);
    }

    #[test]
    fn after_ten_questions_a_packet_is_given_up() {
        let start = Instant::now();
        let mut missed = Missed::default();
        missed.on_gap(5, 6, start);

        let mut asked = 0;
        let mut now = start;
        while !missed.is_empty() {
            now += ms(10);
            asked += due(&mut missed, now).len();
        }

        assert_eq!(asked, 10);
        assert!(now <= start + ms(520));
    }

    #[test]
    fn a_gap_too_wide_is_given_up_at_once() {
        let mut missed = Missed::default();

        assert!(missed.on_gap(1, 2_000, Instant::now()));
        assert!(missed.is_empty());
    }

    #[test]
    fn only_what_is_young_may_still_come() {
        let start = Instant::now();
        let mut missed = Missed::default();
        missed.on_gap(1, 3, start);
        missed.on_gap(7, 9, start + ms(400));

        let grace = ms(500);
        assert_eq!(missed.pending(2, start + ms(450), grace), 3);
        assert_eq!(missed.pending(2, start + ms(550), grace), 2);
    }
}
