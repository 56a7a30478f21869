//! What happens to media between the cipher of one peer and the cipher of another.
//!
//! [`Media`] owns every producer and consumer of a shard. It does no I/O and reads no clock: bytes
//! and time go in, datagrams and events come out.

mod api;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

pub use api::{
    ApplyError, ConsumerStats, MediaChange, MediaCommand, MediaConfig, MediaEvent, MediaStats,
    Outbox, PauseReason, ProducerStats,
};

use crate::spec::{GroupId, TransportId};
use crate::srtp::SrtpKeys;

/// Every packet the media side has seen, by what became of it. All count since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MediaCounters {
    /// RTP packets that opened under their key, and their bytes.
    pub rtp_in: u64,
    pub rtp_in_bytes: u64,
    pub rtcp_in: u64,
    /// RTP packets sent, retransmissions included, and their bytes.
    pub rtp_out: u64,
    pub rtp_out_bytes: u64,
    pub rtcp_out: u64,
    /// Dropped: no keys yet, or a transport that is not open.
    pub drop_no_keys: u64,
}

impl MediaCounters {
    /// Name and value of each, for metrics.
    pub fn entries(&self) -> [(&'static str, u64); 7] {
        [
            ("rtp_in", self.rtp_in),
            ("rtp_in_bytes", self.rtp_in_bytes),
            ("rtcp_in", self.rtcp_in),
            ("rtp_out", self.rtp_out),
            ("rtp_out_bytes", self.rtp_out_bytes),
            ("rtcp_out", self.rtcp_out),
            ("drop_no_keys", self.drop_no_keys),
        ]
    }
}

/// The media of one shard.
pub struct Media {
    transports: HashMap<TransportId, GroupId>,
    counters: MediaCounters,
}

impl Media {
    /// `seed`: random for each process; it seeds SSRCs, first sequence numbers and the hashing of
    /// numbers that peers choose.
    pub fn new(_config: &MediaConfig, _seed: u64) -> Self {
        Media {
            transports: HashMap::new(),
            counters: MediaCounters::default(),
        }
    }

    /// Makes room for a transport. Opening one that is open changes nothing.
    pub fn open(&mut self, transport: TransportId, group: GroupId) {
        self.transports.entry(transport).or_insert(group);
    }

    /// Ends a transport with its producers and consumers; consumers elsewhere lose their source.
    pub fn close(&mut self, transport: TransportId, _now: Instant, _events: &mut Vec<MediaEvent>) {
        self.transports.remove(&transport);
    }

    /// Installs what DTLS agreed on. Until then nothing is opened or sent.
    pub fn set_keys(&mut self, _transport: TransportId, _keys: &SrtpKeys) {}

    /// Where the transport's datagrams go from now on.
    pub fn set_route(&mut self, _transport: TransportId, _to: SocketAddr) {}

    /// Caps what the peer may send, in bits a second, by REMB; `None` lifts the cap. Told at once.
    pub fn set_max_in(
        &mut self,
        _transport: TransportId,
        _max_in_bps: Option<u64>,
        _now: Instant,
        _out: &mut impl Outbox,
    ) {
    }

    /// Makes, changes and ends producers and consumers: all of `change` or nothing.
    pub fn apply(
        &mut self,
        transport: TransportId,
        _change: &MediaChange,
        _now: Instant,
        _out: &mut impl Outbox,
        _events: &mut Vec<MediaEvent>,
    ) -> Result<(), ApplyError> {
        if !self.transports.contains_key(&transport) {
            return Err(ApplyError::UnknownTransport);
        }
        Ok(())
    }

    /// Does what is asked of one producer or consumer.
    pub fn command(
        &mut self,
        _command: MediaCommand,
        _now: Instant,
        _out: &mut impl Outbox,
        _events: &mut Vec<MediaEvent>,
    ) {
    }

    /// Takes one RTP or RTCP datagram (first byte 128 to 191), decrypting it in place.
    ///
    /// True when it was authentic and new, so that the transport may count as alive.
    pub fn on_datagram(
        &mut self,
        _transport: TransportId,
        _now: Instant,
        _datagram: &mut [u8],
        _out: &mut impl Outbox,
        _events: &mut Vec<MediaEvent>,
    ) -> bool {
        self.counters.drop_no_keys += 1;
        false
    }

    /// Does what is due: reports, feedback, repeated NACKs, throttled keyframe requests.
    pub fn on_timer(
        &mut self,
        _now: Instant,
        _out: &mut impl Outbox,
        _events: &mut Vec<MediaEvent>,
    ) {
    }

    /// When `on_timer` is next wanted.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    pub fn counters(&self) -> MediaCounters {
        self.counters
    }

    /// `None` for a transport that is not open.
    pub fn stats(&self, transport: TransportId) -> Option<MediaStats> {
        self.transports
            .contains_key(&transport)
            .then(MediaStats::default)
    }
}
