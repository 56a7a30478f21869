//! Counters as last written by the shard, for whoever asks.

use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct Board {
    values: Mutex<Vec<(&'static str, u64)>>,
}

impl Board {
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn write(&self, values: Vec<(&'static str, u64)>) {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}
