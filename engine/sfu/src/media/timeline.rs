//! A consumer's own time: timestamps that go on as those of one stream, whatever the source does.
//!
//! Within one stretch of a source a timestamp is shifted, and never by a clock. Where another stream
//! begins, its timestamps are laid over those before it: by the sender reports of both, where one
//! publisher has told which moment each means; else by how its promptest packets have come, so that
//! the arrival of a single one, delayed as keyframes are, does not count.

use std::time::{Duration, Instant};

use super::reception::SenderClock;

/// Timestamps are counted from here, so that a packet older than the first has a number as well.
pub(super) const EPOCH: u64 = 1 << 40;
/// What is this far from the time that has passed is a clock that has jumped, and is not believed.
const MOST_ERROR: Duration = Duration::from_millis(500);

/// What tells the time of one stream against that of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// Whose clock the sender reports mean.
    pub transport: usize,
    pub clock: Option<SenderClock>,
    /// Arrival less timestamp of its promptest packets, in units of its clock.
    pub transit: Option<i64>,
    pub clock_hz: u32,
}

pub(super) struct Timeline {
    /// Added to the source's timestamps.
    shift: u64,
    /// What would be added if time could go back: errors of several changes do not add up.
    ideal: u64,
    last: u64,
    last_at: Option<Instant>,
    left: Option<Reference>,
}

impl Timeline {
    /// first: what the first packet will bear; random (RFC 3550 §5.1).
    pub fn new(first: u32) -> Self {
        Timeline {
            shift: 0,
            ideal: 0,
            last: EPOCH + u64::from(first),
            last_at: None,
            left: None,
        }
    }

    /// A stream is left, and another will be laid over what it was.
    pub fn leave(&mut self, from: Reference) {
        self.left = Some(from);
    }

    /// Another stream begins at `timestamp`, or the same one after a pause (is_same).
    pub fn start(&mut self, timestamp: u64, now: Instant, to: &Reference, is_same: bool) {
        let Some(last_at) = self.last_at else {
            self.shift = self.last.wrapping_sub(timestamp);
            self.ideal = self.shift;
            return;
        };
        let silence = now.saturating_duration_since(last_at);
        let expected = self.last + ticks(silence, to.clock_hz);
        let most_error = ticks(MOST_ERROR, to.clock_hz);
        let is_likely =
            |shift: &u64| timestamp.wrapping_add(*shift).abs_diff(expected) <= most_error;
        // Its own clock is believed through any pause, as it is without one.
        let goes_on = timestamp.wrapping_add(self.ideal) > self.last;
        if is_same && goes_on {
            self.shift = self.ideal;
            return;
        }
        let left = self.left.filter(|left| left.clock_hz == to.clock_hz);
        let laid = left.map(|left| [self.by_reports(&left, to), self.by_arrival(&left, to)]);
        self.ideal = laid
            .into_iter()
            .flatten()
            .flatten()
            .find(is_likely)
            .unwrap_or(expected.wrapping_sub(timestamp));
        self.shift = self.ideal;
        if timestamp.wrapping_add(self.shift) <= self.last {
            self.shift = (self.last + 1).wrapping_sub(timestamp);
        }
    }

    /// The output timestamp of a packet that is forwarded.
    pub fn forward(&mut self, timestamp: u64, now: Instant) -> u64 {
        let out = timestamp.wrapping_add(self.shift);
        if self.last_at.is_none() || out > self.last {
            self.last = out;
            self.last_at = Some(now);
        }
        out
    }

    /// What is added to timestamps since the last start.
    pub fn shift(&self) -> u64 {
        self.shift
    }

    fn by_reports(&self, left: &Reference, to: &Reference) -> Option<u64> {
        if left.transport != to.transport {
            return None;
        }
        let (from, to, hz) = (left.clock?, to.clock?, to.clock_hz);
        let apart = i128::from(to.ntp) - i128::from(from.ntp);
        let apart = (apart * i128::from(hz)) >> 32;
        let shift = self.ideal.wrapping_add(from.rtp).wrapping_sub(to.rtp);
        Some(shift.wrapping_add(apart as u64))
    }

    fn by_arrival(&self, left: &Reference, to: &Reference) -> Option<u64> {
        let apart = to.transit?.wrapping_sub(left.transit?);
        Some(self.ideal.wrapping_add(apart as u64))
    }
}

fn ticks(time: Duration, clock_hz: u32) -> u64 {
    (time.as_nanos() * u128::from(clock_hz) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::media::reception::Reception;
    use proptest::prelude::*;

    const HZ: u32 = 90_000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn reference(transit: Option<i64>, clock: Option<(u64, u64)>) -> Reference {
        Reference {
            transport: 1,
            clock: clock.map(|(ntp, rtp)| SenderClock {
                ntp,
                rtp,
                arrived: Instant::now(),
            }),
            transit,
            clock_hz: HZ,
        }
    }

    const NOTHING: Reference = Reference {
        transport: 1,
        clock: None,
        transit: None,
        clock_hz: HZ,
    };

    /// One packet has been sent, at 1000.
    fn begun(now: Instant) -> Timeline {
        let mut time = Timeline::new(1000);
        time.start(90_000, now, &NOTHING, false);
        assert_eq!(time.forward(90_000, now), EPOCH + 1000);
        time
    }

    #[test]
    fn another_stream_goes_on_after_the_time_that_has_passed() {
        let now = Instant::now();
        let mut time = begun(now);

        time.start(5, now + ms(100), &NOTHING, false);

        assert_eq!(time.forward(5, now + ms(100)) - EPOCH, 1000 + 9000);
        assert_eq!(time.forward(3005, now + ms(133)) - EPOCH, 1000 + 12_000);
    }

    #[test]
    fn the_same_stream_keeps_its_time_through_a_pause() {
        let now = Instant::now();
        let mut time = begun(now);

        time.start(180_000, now + ms(1030), &NOTHING, true);

        assert_eq!(time.forward(180_000, now + ms(1030)) - EPOCH, 91_000);
    }

    #[test]
    fn time_never_stands_still_at_a_start() {
        let now = Instant::now();
        let mut time = begun(now);

        time.start(7, now, &NOTHING, false);

        assert_eq!(time.forward(7, now) - EPOCH, 1001);
    }

    #[test]
    fn sender_reports_of_one_publisher_say_which_moments_are_the_same() {
        let now = Instant::now();
        let mut time = begun(now);

        // Ten seconds on the publisher's clock are 90_000 of the one, half a second more 50_000 of the
        // other. A frame taken at 10.4 s comes at 0.7 s.
        time.leave(reference(None, Some((10 << 32, 90_000))));
        let to = reference(None, Some(((10 << 32) + (1 << 31), 50_000)));
        time.start(41_000, now + ms(700), &to, false);

        assert_eq!(time.forward(41_000, now + ms(700)) - EPOCH, 1000 + 36_000);
    }

    #[test]
    fn a_report_that_cannot_be_is_not_believed() {
        let now = Instant::now();
        let mut time = begun(now);

        time.leave(reference(None, Some((10 << 32, 90_000))));
        let to = reference(None, Some((999 << 32, 500)));
        time.start(500, now + ms(40), &to, false);

        assert_eq!(time.forward(500, now + ms(40)) - EPOCH, 1000 + 3600);
    }

    #[test]
    fn a_frame_of_before_is_sent_just_after_and_the_next_change_makes_up_for_it() {
        let now = Instant::now();
        let mut time = begun(now);
        time.leave(reference(Some(0), None));

        // 20 ms before what was sent last, says the arrival of both.
        time.start(88_200, now, &reference(Some(0), None), false);
        assert_eq!(time.forward(88_200, now) - EPOCH, 1001);
        time.leave(reference(Some(0), None));
        time.start(99_000, now + ms(100), &reference(Some(0), None), false);

        assert_eq!(time.forward(99_000, now + ms(100)) - EPOCH, 10_000);
    }

    proptest! {
        /// A hundred changes between two streams with clocks of their own, each up to 200 ppm wrong and
        /// each packet up to 30 ms late: time goes on as the clock of whichever is followed does.
        #[test]
        fn a_hundred_changes_are_less_than_20_ms_wrong(
            skews in [-200i64..200, -200i64..200],
            offsets in [0u64..1 << 32, 0u64..1 << 32],
            is_one_publisher in any::<bool>(),
            seed in any::<u64>(),
        ) {
            // Layers of one publisher are stamped by one clock.
            let skews = if is_one_publisher { [skews[0]; 2] } else { skews };
            let mut random = crate::media::random::Random::new(seed);
            let start = Instant::now();
            let mut receptions = [Reception::default(), Reception::default()];
            let mut clocks = [None, None];
            let mut time = Timeline::new(7);
            let (mut current, mut origin, mut truth, mut last_truth) = (0, None, 0.0, 0.0);
            let mut last_out = 0;
            // Frames of both every 33 ms, one after the other as they are encoded.
            let mut due = Vec::new();
            for frame in 0..3100u64 {
                let taken = frame as f64 * 33.0;
                for stream in 0..2 {
                    let late = (random.u64() % 30_000) as f64 / 1000.0;
                    due.push((taken + late, taken, stream));
                }
            }
            due.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (at, taken, stream) in due {
                let since = Duration::from_secs_f64(at / 1000.0);
                let now = start + since;
                let own_ms = taken * (1.0 + skews[stream] as f64 / 1e6);
                let timestamp = EPOCH + offsets[stream] + (own_ms * 90.0) as u64;
                receptions[stream].on_timing(since, timestamp, HZ);
                if is_one_publisher && random.u64().is_multiple_of(30) {
                    let ntp = (1000u64 << 32) + ((own_ms / 1000.0) * 4_294_967_296.0) as u64;
                    clocks[stream] = Some(SenderClock { ntp, rtp: timestamp, arrived: now });
                }
                let of = |stream: usize| Reference {
                    transport: if is_one_publisher { 1 } else { stream },
                    clock: clocks[stream],
                    transit: receptions[stream].transit(),
                    clock_hz: HZ,
                };
                // Every second the other one has a keyframe. One that comes when its successor has
                // been sent has to be moved forward, by a frame at most.
                let wanted = (taken as u64 / 1000 % 2) as usize;
                if stream == wanted && (origin.is_none() || wanted != current) {
                    if origin.is_some() {
                        time.leave(of(current));
                    }
                    time.start(timestamp, now, &of(stream), false);
                    current = stream;
                }
                if stream != current || origin.is_none() && stream != wanted {
                    continue;
                }
                // What has passed on the clocks that were followed.
                truth += (taken - last_truth) * (1.0 + skews[current] as f64 / 1e6);
                last_truth = taken;
                let out = time.forward(timestamp, now);
                let origin = *origin.get_or_insert(out as f64 - truth * 90.0);
                let ideal = timestamp.wrapping_add(time.ideal) as f64 - origin;
                let error_ms = ideal / 90.0 - truth;
                prop_assert!(error_ms.abs() < 20.0, "{error_ms} ms at {at}");
                let moved_ms = (out as f64 - origin - ideal) / 90.0;
                prop_assert!((0.0..64.0).contains(&moved_ms), "moved {moved_ms} ms");
                last_out = last_out.max(out);
            }
        }
    }
}
