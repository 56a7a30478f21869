//! What the media thread counts, and what it shows of it to those who ask.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::histogram::Histogram;

impl Totals {
    /// Counts a payload whose length was held against what was sent.
    pub fn on_length(&mut self, fits: Option<bool>) {
        self.measured_length += u64::from(fits.is_some());
        self.bad_length += u64::from(fits == Some(false));
    }
}

/// Sums since the measurement began.
#[derive(Clone, Default)]
pub struct Totals {
    /// Media packets sent, retransmissions included.
    pub packets_out: u64,
    pub retransmitted: u64,
    /// Media packets received, retransmissions and duplicates included.
    pub packets_in: u64,
    /// Bytes of the datagrams they came in.
    pub bytes_in: u64,
    /// Numbers that passed by on streams, and how many of them came: of streams that have ended.
    pub expected: u64,
    pub received: u64,
    pub repaired: u64,
    pub duplicates: u64,
    /// Packets of streams no description named.
    pub unknown: u64,
    pub opened: u64,
    pub bad_open: u64,
    pub measured_length: u64,
    pub bad_length: u64,
    /// How often a stream was found to come from another layer of its track than before.
    pub layer_switches: u64,
    pub plis_sent: u64,
    /// Packets asked for, each time it was asked for.
    pub nacks_sent: u64,
    pub keyframe_requests: u64,
    pub longest_gap: Duration,
    pub latency_us: Histogram,
    /// How late packets were sent, by their traces: a busy generator shows here.
    pub lag_us: Histogram,
    /// Datagrams our own sockets did not take.
    pub unsent: u64,
    pub data: DataTotals,
}

#[derive(Clone, Default)]
pub struct DataTotals {
    pub sent: u64,
    /// Messages that were not sent since too much was waiting.
    pub held_back: u64,
    pub received: u64,
    pub lost: u64,
    pub latency_us: Histogram,
}

/// The moment's sums, and the latency since the last look.
#[derive(Default)]
pub struct Look {
    pub totals: Totals,
    /// Numbers that passed by, without those that may still come.
    pub expected: u64,
    pub lost: u64,
    pub recent_us: Histogram,
    /// Keyframes asked for of one publisher's one stream: the most in all, the most in one second.
    pub keyframe_requests_of_one: u64,
    pub keyframe_requests_in_a_second: u64,
    /// Local ports of the sockets.
    pub ports: Vec<u16>,
    pub streams: Streams,
}

/// How many streams are received, how many of them have begun; of how many a layer was asked for, and
/// how many of those are that layer.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Streams {
    pub offered: usize,
    pub begun: usize,
    pub layered: usize,
    pub as_asked: usize,
}

/// Which layer a stream is, 0 the best, of which track; tracks have numbers in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
    pub track: u32,
    pub index: u8,
}

/// The lengths of the last packets of one stream this process sends.
pub struct Ledger {
    pub layer: Layer,
    lengths: Box<[u16; Ledger::KEPT]>,
    next: u32,
}

impl Ledger {
    const KEPT: usize = 4096;

    pub fn new(layer: Layer) -> Ledger {
        Ledger {
            layer,
            lengths: Box::new([0; Ledger::KEPT]),
            next: 0,
        }
    }

    /// Enters packet number `count`, which is the next one.
    pub fn enter(&mut self, count: u32, len: u16) {
        self.lengths[count as usize % Ledger::KEPT] = len;
        self.next = count + 1;
    }

    /// Bytes of payload of packet number `count`, while it is known.
    pub fn length(&self, count: u32) -> Option<u16> {
        let known = count < self.next && self.next - count <= Ledger::KEPT as u32;
        known.then(|| self.lengths[count as usize % Ledger::KEPT])
    }
}

pub type Ledgers = FxHashMap<u32, Ledger>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_knows_the_last_lengths_and_no_others() {
        let mut ledger = Ledger::new(Layer { track: 1, index: 0 });
        for count in 0..5000 {
            ledger.enter(count, count as u16);
        }

        assert_eq!(ledger.length(4999), Some(4999));
        assert_eq!(ledger.length(904), Some(904));
        assert_eq!(ledger.length(903), None);
        assert_eq!(ledger.length(5000), None);
    }
}
