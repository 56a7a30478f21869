//! Which packets of a layer are missing, and when each is asked for (again).

use std::time::{Duration, Instant};

/// A packet that merely overtook another is not worth a question.
const REORDER_WAIT: Duration = Duration::from_millis(5);
const MAX_TRIES: u8 = 10;
/// Beyond this many the picture is lost anyway, and a keyframe is cheaper.
const MAX_MISSING: usize = 512;
const LEAST_WAIT: Duration = Duration::from_millis(20);
const MOST_WAIT: Duration = Duration::from_millis(500);
/// Before anything has been measured.
const FIRST_RTT: Duration = Duration::from_millis(100);

struct Missing {
    seq: u64,
    tries: u8,
    due: Instant,
    /// Of the last question.
    asked: Instant,
}

/// What becomes of a question that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// Packets were given up: only a keyframe helps.
    pub gave_up: bool,
}

/// The packets a layer lacks, ascending.
#[derive(Default)]
pub(super) struct NackList {
    missing: Vec<Missing>,
    /// From the question to the packet, smoothed, as measured by the answers.
    rtt: Option<Duration>,
}

impl NackList {
    /// Packets `from..to` were skipped by a later one. True: too many, all are given up.
    pub fn on_gap(&mut self, from: u64, to: u64, now: Instant) -> bool {
        let count = (to - from) as usize;
        if self.missing.len() + count > MAX_MISSING {
            self.missing.clear();
            return true;
        }
        self.missing.extend((from..to).map(|seq| Missing {
            seq,
            tries: 0,
            due: now + REORDER_WAIT,
            asked: now,
        }));
        false
    }

    /// A packet below the highest one came. True if it had been asked for.
    pub fn on_arrival(&mut self, seq: u64, now: Instant) -> bool {
        let Ok(place) = self.missing.binary_search_by_key(&seq, |m| m.seq) else {
            return false;
        };
        let found = self.missing.remove(place);
        if found.tries == 1 {
            // After a second question it is unknown which of them was answered.
            let sample = now.saturating_duration_since(found.asked);
            self.rtt = Some(match self.rtt {
                Some(rtt) => (rtt * 7 + sample) / 8,
                None => sample,
            });
        }
        found.tries > 0
    }

    /// Collects in `ask` what is to be asked for now.
    pub fn take_due(&mut self, now: Instant, ask: &mut Vec<u16>) -> Asked {
        let wait = self.wait();
        let before = self.missing.len();
        self.missing.retain(|m| m.due > now || m.tries < MAX_TRIES);
        let gave_up = self.missing.len() < before;
        for missing in self.missing.iter_mut().filter(|m| m.due <= now) {
            missing.tries += 1;
            missing.asked = now;
            missing.due = now + wait;
            ask.push(missing.seq as u16);
        }
        Asked { gave_up }
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.missing.iter().map(|m| m.due).min()
    }

    pub fn clear(&mut self) {
        self.missing.clear();
    }

    /// A little more than a round trip: asking sooner only repeats what is on its way.
    fn wait(&self) -> Duration {
        let rtt = self.rtt.unwrap_or(FIRST_RTT);
        (rtt + rtt / 4).clamp(LEAST_WAIT, MOST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn due(list: &mut NackList, now: Instant) -> Vec<u16> {
        let mut ask = Vec::new();
        list.take_due(now, &mut ask);
        ask
    }

    #[test]
    fn a_packet_that_was_overtaken_is_not_asked_for() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_gap(10, 12, start);

        assert_eq!(due(&mut list, start + ms(4)), []);
        assert!(!list.on_arrival(10, start + ms(4)));
        assert_eq!(due(&mut list, start + ms(5)), [11]);
    }

    #[test]
    fn a_question_is_repeated_a_little_later_than_a_round_trip() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_gap(1, 2, start);
        due(&mut list, start + ms(5));
        assert!(list.on_arrival(1, start + ms(45)));
        assert_eq!(list.rtt, Some(ms(40)));

        list.on_gap(3, 4, start + ms(100));
        assert_eq!(due(&mut list, start + ms(105)), [3]);
        assert_eq!(due(&mut list, start + ms(154)), []);
        assert_eq!(due(&mut list, start + ms(155)), [3]);
    }

    #[test]
    fn after_ten_questions_a_packet_is_given_up() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_gap(1, 2, start);
        let mut asked = 0;
        let mut now;

        let gave_up = loop {
            now = list.next_due().expect("still missing");
            let mut ask = Vec::new();
            if list.take_due(now, &mut ask).gave_up {
                break true;
            }
            asked += ask.len();
        };

        assert!(gave_up);
        assert_eq!(asked, 10);
        assert!(list.next_due().is_none());
        assert!(now < start + ms(2000));
    }

    #[test]
    fn a_gap_too_wide_is_given_up_at_once() {
        let mut list = NackList::default();

        assert!(list.on_gap(1, 2000, Instant::now()));
        assert!(list.next_due().is_none());
    }
}
