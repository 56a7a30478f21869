//! Which packets of a layer are missing, and when each is asked for (again).
//!
//! A packet that was merely overtaken is not worth a question, so the first one waits as long as
//! packets of this stream have been seen to come late. Further ones are a little more than a round
//! trip apart, and further still once several have failed: then the network is down, not lossy.

use std::time::{Duration, Instant};

const MAX_TRIES: u8 = 10;
/// Beyond this many the picture is lost anyway, and a keyframe is cheaper.
const MAX_MISSING: u64 = 512;
/// Before the first question, at least and at most.
const LEAST_REORDER: Duration = Duration::from_millis(5);
const MOST_REORDER: Duration = Duration::from_millis(50);
/// Between two questions, at least and at most.
const LEAST_WAIT: Duration = Duration::from_millis(20);
const MOST_WAIT: Duration = Duration::from_millis(500);
/// Questions due so soon go along: far apart or near, gaps cost one look at the list a millisecond.
const ALONG: Duration = Duration::from_millis(1);
/// Before anything has been measured.
const FIRST_RTT: Duration = Duration::from_millis(100);
/// Questions a round trip apart. After them each wait is half as long again as the one before.
const PROMPT_TRIES: u8 = 4;

/// How a packet came that was missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// On a stream of retransmissions.
    Repaired,
    /// With its own number, where retransmissions have a stream of their own.
    Late,
    /// With its own number, where it may have been sent again as it was.
    LateOrRepeated,
}

struct Missing {
    seq: u64,
    tries: u8,
    due: Instant,
    /// When a later packet came.
    noticed: Instant,
    /// When the last question was asked, and the first.
    asked: Instant,
    first_asked: Instant,
}

/// Packets that are not asked for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GivenUp {
    pub count: u64,
    pub highest: u64,
}

/// The packets a layer lacks, ascending.
pub(super) struct NackList {
    missing: Vec<Missing>,
    /// How long the publisher has a packet that can be asked for.
    keep: Duration,
    /// From a question to its packet, smoothed: a round trip and what the publisher's pacer adds.
    answer: Option<Duration>,
    /// The round trip of the path, where something else than answers has measured it.
    path: Option<Duration>,
    reorder: Duration,
}

impl NackList {
    /// keep: how old a packet may become before it is given up.
    pub fn new(keep: Duration) -> Self {
        NackList {
            missing: Vec::new(),
            keep,
            answer: None,
            path: None,
            reorder: LEAST_REORDER,
        }
    }

    /// Packets `from..to` were skipped by a later one. When they are to be asked for; or, if there are
    /// too many, how many packets are given up: all.
    pub fn on_gap(&mut self, from: u64, to: u64, now: Instant) -> Result<Instant, u64> {
        let count = self.missing.len() as u64 + (to - from);
        if count > MAX_MISSING {
            self.missing.clear();
            return Err(count);
        }
        let due = now + self.reorder;
        self.missing.extend((from..to).map(|seq| Missing {
            seq,
            tries: 0,
            due,
            noticed: now,
            asked: now,
            first_asked: now,
        }));
        Ok(due)
    }

    /// A packet below the highest one came. True: because it was asked for.
    pub fn on_arrival(&mut self, seq: u64, came: Came, now: Instant) -> bool {
        let Ok(place) = self.missing.binary_search_by_key(&seq, |m| m.seq) else {
            return came == Came::Repaired;
        };
        let found = self.missing.remove(place);
        let is_repaired = match came {
            Came::Repaired => true,
            Came::Late => false,
            Came::LateOrRepeated => found.tries > 0 && self.is_time_enough(&found, now),
        };
        if is_repaired {
            self.reorder -= (self.reorder - LEAST_REORDER) / 16;
            self.measure(&found, now);
        } else {
            let late = now.saturating_duration_since(found.noticed);
            self.reorder = self.reorder.max(late + late / 4).min(MOST_REORDER);
        }
        is_repaired
    }

    /// A packet came on its own after its retransmission: it had been asked for too soon.
    pub fn on_original(&mut self) {
        self.reorder = (self.reorder * 3 / 2).min(MOST_REORDER);
    }

    /// Collects in `ask` what is to be asked for now. Returns what is given up.
    ///
    /// rtt: of the path, where something else than answers has measured it.
    pub fn take_due(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        ask: &mut Vec<u16>,
    ) -> Option<GivenUp> {
        self.path = rtt;
        let wait = self.wait();
        let keep = self.keep;
        let mut given_up: Option<GivenUp> = None;
        self.missing.retain_mut(|missing| {
            if missing.due >= now + ALONG {
                return true;
            }
            let end = missing.noticed + keep;
            if missing.tries >= MAX_TRIES || now >= end {
                given_up = Some(GivenUp {
                    count: given_up.map_or(1, |before| before.count + 1),
                    highest: missing.seq,
                });
                return false;
            }
            if missing.tries == 0 {
                missing.first_asked = now;
            }
            missing.tries += 1;
            missing.asked = now;
            missing.due = (now + stretched(wait, missing.tries)).min(end);
            ask.push(missing.seq as u16);
            true
        });
        given_up
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.missing.iter().map(|m| m.due).min()
    }

    /// Whether a packet is still hoped for.
    pub fn is_missing(&self, seq: u64) -> bool {
        self.missing.binary_search_by_key(&seq, |m| m.seq).is_ok()
    }

    pub fn clear(&mut self) {
        self.missing.clear();
    }

    /// A little more than a round trip: asking sooner only repeats what is on its way.
    fn wait(&self) -> Duration {
        // An answer takes a round trip and more. Where the path says longer, it has changed.
        let rtt = self.answer.max(self.path).unwrap_or(FIRST_RTT);
        (rtt + rtt / 4).clamp(LEAST_WAIT, MOST_WAIT)
    }

    /// Whether a packet can be the answer to a question about it.
    fn is_time_enough(&self, found: &Missing, now: Instant) -> bool {
        let since = now.saturating_duration_since(found.first_asked);
        let least = [self.answer, self.path].into_iter().flatten().min();
        least.is_none_or(|least| since * 2 >= least)
    }

    fn measure(&mut self, found: &Missing, now: Instant) {
        let since_last = now.saturating_duration_since(found.asked);
        // After a second question it is unknown which of them was answered, unless the last one is
        // too recent: then answers take longer than was thought.
        let is_early = self.answer.is_none_or(|answer| since_last * 2 < answer);
        let sample = match found.tries {
            0 => return,
            1 => since_last,
            _ if is_early => now.saturating_duration_since(found.first_asked),
            _ => return,
        };
        self.answer = Some(match self.answer {
            Some(answer) => (answer * 7 + sample) / 8,
            None => sample,
        });
    }
}

/// The wait after question number `tries`.
fn stretched(wait: Duration, tries: u8) -> Duration {
    let extra = tries.saturating_sub(PROMPT_TRIES);
    (0..extra).fold(wait, |wait, _| (wait * 3 / 2).min(MOST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    const KEEP: Duration = Duration::from_millis(1000);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn list() -> NackList {
        NackList::new(KEEP)
    }

    fn due(list: &mut NackList, now: Instant) -> Vec<u16> {
        let mut ask = Vec::new();
        list.take_due(now, None, &mut ask);
        ask
    }

    /// When packet 1, noticed at `start`, is asked for until it is given up.
    fn questions(list: &mut NackList, start: Instant, rtt: Option<Duration>) -> (Vec<u64>, u64) {
        list.on_gap(1, 2, start).unwrap();
        let mut asked = Vec::new();
        loop {
            let now = list.next_due().expect("still missing");
            let at = (now - start).as_millis() as u64;
            let mut ask = Vec::new();
            if list.take_due(now, rtt, &mut ask).is_some() {
                return (asked, at);
            }
            asked.push(at);
        }
    }

    #[test]
    fn a_packet_that_was_overtaken_is_not_asked_for() {
        let start = Instant::now();
        let mut list = list();
        list.on_gap(10, 12, start).unwrap();

        assert_eq!(due(&mut list, start + ms(4)), []);
        assert!(!list.on_arrival(10, Came::Late, start + ms(4)));
        assert_eq!(due(&mut list, start + ms(5)), [11]);
    }

    #[test]
    fn a_question_is_repeated_a_little_later_than_a_round_trip() {
        let start = Instant::now();
        let mut list = list();
        list.on_gap(1, 2, start).unwrap();
        due(&mut list, start + ms(5));
        assert!(list.on_arrival(1, Came::Repaired, start + ms(45)));
        assert_eq!(list.answer, Some(ms(40)));

        list.on_gap(3, 4, start + ms(100)).unwrap();
        assert_eq!(due(&mut list, start + ms(105)), [3]);
        assert_eq!(due(&mut list, start + ms(154)), []);
        assert_eq!(due(&mut list, start + ms(155)), [3]);
    }

    #[test]
    fn questions_nearly_due_go_along() {
        let start = Instant::now();
        let later = start + Duration::from_micros(900);
        let mut list = list();
        list.on_gap(1, 2, start).unwrap();
        list.on_gap(3, 4, later).unwrap();

        assert_eq!(due(&mut list, start + ms(5)), [1, 3]);
    }

    #[test]
    fn what_reports_say_of_the_path_spaces_the_questions_before_any_answer() {
        let (asked, _) = questions(&mut list(), Instant::now(), Some(ms(40)));

        assert_eq!(asked[..4], [5, 55, 105, 155]);
    }

    #[test]
    fn after_several_vain_questions_the_waits_grow() {
        let (asked, _) = questions(&mut list(), Instant::now(), Some(ms(1)));

        // Twenty milliseconds at least, and ten questions that outlast an outage of nearly half a second.
        assert_eq!(asked[..6], [5, 25, 45, 65, 85, 115]);
        assert_eq!(asked.len(), 10);
        assert!((450..1000).contains(asked.last().unwrap()), "{asked:?}");
    }

    #[test]
    fn a_packet_is_given_up_when_the_publisher_has_forgotten_it() {
        let (asked, given_up) = questions(&mut list(), Instant::now(), Some(ms(200)));

        assert_eq!(asked, [5, 255, 505, 755]);
        assert_eq!(given_up, 1000);
    }

    #[test]
    fn a_slow_answer_is_believed_though_several_questions_had_been_asked() {
        let start = Instant::now();
        let mut list = list();
        list.on_gap(1, 2, start).unwrap();
        for at in [5, 130, 255, 380] {
            assert_eq!(due(&mut list, start + ms(at)), [1], "{at}");
        }

        list.on_arrival(1, Came::Repaired, start + ms(405));

        assert_eq!(list.answer, Some(ms(400)));
    }

    #[test]
    fn a_stream_whose_packets_come_late_is_given_time() {
        let start = Instant::now();
        let mut list = list();
        list.on_gap(1, 2, start).unwrap();
        due(&mut list, start + ms(5));
        assert!(!list.on_arrival(1, Came::Late, start + ms(20)));

        list.on_gap(3, 4, start + ms(100)).unwrap();
        assert_eq!(due(&mut list, start + ms(124)), []);
        assert_eq!(due(&mut list, start + ms(125)), [3]);
    }

    #[test]
    fn an_original_after_its_repair_was_asked_for_too_soon() {
        let start = Instant::now();
        let mut list = list();

        (0..20).for_each(|_| list.on_original());

        list.on_gap(1, 2, start).unwrap();
        assert_eq!(list.next_due(), Some(start + MOST_REORDER));
    }

    #[test]
    fn patience_wears_off_while_packets_are_lost_and_not_late() {
        let mut now = Instant::now();
        let mut list = list();
        (0..20).for_each(|_| list.on_original());

        for seq in 0..100 {
            list.on_gap(seq, seq + 1, now).unwrap();
            now += ms(100);
            due(&mut list, now);
            list.on_arrival(seq, Came::Repaired, now + ms(40));
        }

        assert!(list.reorder < ms(6), "{:?}", list.reorder);
    }

    #[test]
    fn what_comes_sooner_than_an_answer_can_was_late_and_not_repeated() {
        let start = Instant::now();
        let mut list = list();
        list.answer = Some(ms(40));
        list.on_gap(1, 3, start).unwrap();
        due(&mut list, start + ms(5));

        assert!(!list.on_arrival(1, Came::LateOrRepeated, start + ms(10)));
        assert!(list.on_arrival(2, Came::LateOrRepeated, start + ms(45)));
    }

    #[test]
    fn a_quick_answer_over_a_short_path_is_one_though_answers_were_slow() {
        let start = Instant::now();
        let mut list = list();
        list.answer = Some(ms(40));
        list.on_gap(1, 2, start).unwrap();
        list.take_due(start + ms(5), Some(ms(1)), &mut Vec::new());

        assert!(list.on_arrival(1, Came::LateOrRepeated, start + ms(6)));
    }

    #[test]
    fn a_gap_too_wide_is_given_up_at_once() {
        let mut list = list();

        assert_eq!(list.on_gap(1, 2000, Instant::now()), Err(1999));
        assert!(list.next_due().is_none());
    }

    proptest! {
        /// Whatever is lost, late or repaired: nothing that is there is asked for, nothing is asked for
        /// more than ten times or after its age, and nothing stays in the list for ever.
        #[test]
        fn every_question_is_about_a_missing_packet_and_ends(
            start in 65_000u64..66_000,
            // Of each packet: lost (0 to 2), else late by so many milliseconds; answered after.
            packets in prop::collection::vec((0u8..10, 0u64..80, 1u64..400), 1..200),
        ) {
            let begin = Instant::now();
            let mut list = list();
            let mut arrivals = BTreeMap::new();
            for (n, (loss, late, _)) in packets.iter().enumerate() {
                if *loss > 2 || n == 0 {
                    arrivals.entry(5 * n as u64 + late).or_insert_with(Vec::new).push(n as u64);
                }
            }
            let mut answers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            let mut there = BTreeSet::new();
            let mut top: Option<u64> = None;
            let mut tries: BTreeMap<u64, u32> = BTreeMap::new();
            for at in 0..5000u64 {
                let now = begin + ms(at);
                for (came, list_of) in [(Came::Late, &mut arrivals), (Came::Repaired, &mut answers)] {
                    for n in list_of.remove(&at).unwrap_or_default() {
                        if !there.insert(n) {
                            continue;
                        }
                        match top {
                            Some(top) if n < top => {
                                list.on_arrival(start + n, came, now);
                            }
                            Some(top) if n > top + 1 => {
                                list.on_gap(start + top + 1, start + n, now).unwrap();
                            }
                            _ => {}
                        }
                        top = top.max(Some(n));
                    }
                }
                let mut ask = Vec::new();
                list.take_due(now, None, &mut ask);
                prop_assert!(ask.is_sorted_by_key(|seq| seq.wrapping_sub(start as u16)));
                for seq in ask {
                    let n = u64::from(seq.wrapping_sub(start as u16));
                    prop_assert!(!there.contains(&n), "{n} is there");
                    let count = tries.entry(n).or_default();
                    *count += 1;
                    prop_assert!(*count <= 10);
                    let (_, _, after) = packets[n as usize];
                    // One question in three is lost.
                    if !count.is_multiple_of(3) {
                        answers.entry(at + after).or_default().push(n);
                    }
                }
            }
            prop_assert!(list.missing.is_empty());
        }
    }
}
