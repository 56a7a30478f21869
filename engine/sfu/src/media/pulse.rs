//! Whether a layer still sends, judged by its frames and by those of its siblings.
//!
//! A publisher that is short of bandwidth stops a layer without a word while the others go on. A
//! picture that stands still pauses all of them together: so silence counts only beside a sibling
//! that has gone on through it, and longer where the layer itself is slow.

use std::time::{Duration, Instant};

/// Silence beside a sibling that is not worth a thought.
const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(2);
/// How many of its own intervals a layer may be silent for.
const INTERVALS: u32 = 3;
/// A pause that ends what counts as going on.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Default)]
pub(super) struct Pulse {
    last: Option<Instant>,
    /// Frames have come without a pause since then.
    steady_since: Option<Instant>,
    /// The longest interval between frames of late.
    interval: Duration,
}

impl Pulse {
    /// The first packet of a frame has come.
    pub fn on_frame(&mut self, now: Instant) {
        let passed = self
            .last
            .map(|last| now.saturating_duration_since(last).min(MOST));
        self.last = Some(now);
        match passed {
            Some(passed) => self.interval = passed.max(self.interval - self.interval / 8),
            None => self.steady_since = Some(now),
        }
        if passed.is_some_and(|passed| passed > PAUSE) {
            self.steady_since = Some(now);
        }
    }

    /// The layer begins anew: what it was like before tells nothing.
    pub fn reset(&mut self) {
        *self = Pulse::default();
    }

    /// Whether the layer has stopped, since `sibling`, from which something has just come, has not.
    pub fn has_stopped_beside(&self, sibling: &Pulse, now: Instant) -> bool {
        let (Some(last), Some(steady)) = (self.last, sibling.steady_since) else {
            return false;
        };
        let limit = (self.interval * INTERVALS).clamp(LEAST, MOST);
        now.saturating_duration_since(last.max(steady)) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Frames every `interval`, the last of them at `to`.
    fn frames(pulse: &mut Pulse, start: Instant, interval: u64, to: u64) {
        let first = to % interval;
        (first..=to)
            .step_by(interval as usize)
            .for_each(|at| pulse.on_frame(start + ms(at)));
    }

    #[test]
    fn a_layer_has_stopped_when_its_sibling_goes_on_for_half_a_second() {
        let start = Instant::now();
        let (mut layer, mut sibling) = (Pulse::default(), Pulse::default());
        frames(&mut layer, start, 33, 1000);
        frames(&mut sibling, start, 33, 1499);
        assert!(!layer.has_stopped_beside(&sibling, start + ms(1499)));

        sibling.on_frame(start + ms(1500));

        assert!(layer.has_stopped_beside(&sibling, start + ms(1500)));
    }

    #[test]
    fn five_frames_a_second_beside_thirty_have_not_stopped() {
        let start = Instant::now();
        let (mut slow, mut fast) = (Pulse::default(), Pulse::default());
        frames(&mut slow, start, 200, 2000);
        frames(&mut fast, start, 33, 2590);

        assert!(!slow.has_stopped_beside(&fast, start + ms(2590)));
        assert!(slow.has_stopped_beside(&fast, start + ms(2600)));
    }

    #[test]
    fn a_picture_that_stood_still_has_stopped_no_layer() {
        let start = Instant::now();
        let (mut layer, mut sibling) = (Pulse::default(), Pulse::default());
        frames(&mut layer, start, 33, 1000);
        frames(&mut sibling, start, 33, 1000);

        sibling.on_frame(start + ms(4000));
        assert!(!layer.has_stopped_beside(&sibling, start + ms(4000)));

        (4033..4500)
            .step_by(33)
            .for_each(|at| sibling.on_frame(start + ms(at)));
        assert!(layer.has_stopped_beside(&sibling, start + ms(4500)));
    }
}
