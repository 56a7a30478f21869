//! How many transports there are: taken by whoever asks for one, given back by the shard.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::EngineConfig;
use crate::error::Error;
use crate::spec::GroupId;

#[derive(Default)]
pub(crate) struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    transports: usize,
    /// Those of them whose peer is awaited.
    pending: usize,
    /// Only groups that have any.
    groups: HashMap<GroupId, usize>,
}

impl Census {
    /// Counts one more transport, and its peer as awaited. Errors: `TooManyTransports`,
    /// `TooManyInGroup`, `TooManyPending`; then nothing is counted.
    pub fn admit(&self, group: GroupId, config: &EngineConfig) -> Result<(), Error> {
        let mut counts = self.lock();
        if counts.transports >= config.max_transports {
            let limit = config.max_transports;
            return Err(Error::TooManyTransports { limit });
        }
        let in_group = counts.groups.get(&group).copied().unwrap_or(0);
        if in_group >= config.max_transports_per_group {
            let limit = config.max_transports_per_group;
            return Err(Error::TooManyInGroup { limit });
        }
        if counts.pending >= config.max_pending {
            let limit = config.max_pending;
            return Err(Error::TooManyPending { limit });
        }
        counts.transports += 1;
        counts.pending += 1;
        counts.groups.insert(group, in_group + 1);
        Ok(())
    }

    /// A transport of this group is over. `pending`: its peer was still awaited.
    pub fn leave(&self, group: GroupId, pending: bool) {
        let mut counts = self.lock();
        counts.transports -= 1;
        counts.pending -= usize::from(pending);
        if let Some(in_group) = counts.groups.get_mut(&group) {
            *in_group -= 1;
            if *in_group == 0 {
                counts.groups.remove(&group);
            }
        }
    }

    /// A peer is awaited, beyond those that were admitted; one that exists is never refused.
    pub fn expect(&self) {
        self.lock().pending += 1;
    }

    /// A peer has come, or is given up.
    pub fn settle(&self) {
        self.lock().pending -= 1;
    }

    pub fn pending(&self) -> usize {
        self.lock().pending
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic but a failed allocation, before anything has changed.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
