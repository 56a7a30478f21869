//! When each transport wants to be looked at next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::spec::TransportId;

/// A heap with lazy removal: an entry whose transport has another time by now is passed over by
/// whoever takes it.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, TransportId, usize)>>,
}

impl Timers {
    pub fn add(&mut self, at: Instant, key: usize, id: TransportId) {
        self.heap.push(Reverse((at, id, key)));
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes one entry that is due: the transport's key and id, and the time it was added with.
    pub fn due(&mut self, now: Instant) -> Option<(usize, TransportId, Instant)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, id, key))| (key, id, at))
    }
}
