//! What is due when. An owner keeps its own due time beside the queue; an entry that no longer agrees
//! with it is stale and ignored, so nothing is ever searched for to be cancelled.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::era::Feed;

/// Whose turn it is, by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// Transport-wide feedback of a transport.
    Feedback(usize),
    /// Receiver reports of a transport, and what is looked after once a second.
    ReceiverReports(usize),
    SenderReports(usize),
    /// Repeated NACKs of a producer's layer.
    Nack(Feed),
    /// A keyframe request that was held back, or is to be repeated, of a producer's layer.
    Keyframe(Feed),
    /// The end of what a consumer forwarded before its present source.
    Change(usize),
}

#[derive(Default)]
pub(super) struct Timers {
    queue: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    /// Has `timer` fire at `at` unless it does so earlier. `due`: the owner's copy.
    pub fn at(&mut self, due: &mut Option<Instant>, at: Instant, timer: Timer) {
        if due.is_some_and(|due| due <= at) {
            return;
        }
        *due = Some(at);
        self.queue.push(Reverse((at, timer)));
    }

    /// The next entry that is due, stale or not.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        let Reverse((at, _)) = self.queue.peek()?;
        if *at > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }
}
