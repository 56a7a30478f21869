//! What happens to media between the cipher of one peer and the cipher of another.
//!
//! [`Media`] owns every producer and consumer of a shard. It does no I/O and reads no clock: bytes
//! and time go in, datagrams and events come out. The way of a packet stands in `ingress.rs`; which
//! layer goes to whom in `layers.rs`; what peers say about packets in `control.rs`; what is due by time
//! in `reports.rs`; what is asked for from above in `apply.rs`.

mod api;
mod apply;
mod budget;
mod cache;
mod consumer;
mod control;
mod counters;
mod era;
mod history;
mod ingress;
mod keyframes;
mod layers;
mod matching;
mod munger;
mod nack;
mod outgoing;
mod pictures;
mod producer;
mod pulse;
mod random;
mod reception;
mod reports;
mod temporal;
mod timeline;
mod timers;
mod transport;
mod unwrap;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

pub use api::{
    ApplyError, ConsumerStats, MediaChange, MediaCommand, MediaConfig, MediaEvent, MediaStats,
    Outbox, PauseReason, ProducerStats, Subject,
};
pub use counters::MediaCounters;

use crate::rtp::is_rtcp;
use crate::spec::{ConsumerId, GroupId, MediaKind, ProducerId, TransportId};
use crate::srtp::{Opener, Sealer, SrtpKeys};
use consumer::Consumer;
use producer::Producer;
use random::Random;
use timers::{Timer, Timers};
use transport::Transport;

/// The time of one call, as both forms that are needed.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    /// Since the first call.
    since: Duration,
    /// 24 bits of seconds as 6.18 fixed point: what every packet sent now says in abs-send-time.
    abs_send_time: [u8; 3],
}

impl Moment {
    /// Wraps after 49 days; only differences of a few seconds are taken.
    fn ms(self) -> u32 {
        self.since.as_millis() as u32
    }

    /// Ticks of 250 µs, as transport-wide feedback counts.
    fn ticks(self) -> i64 {
        (self.since.as_micros() / 250) as i64
    }

    /// The form of an NTP timestamp, 32.32 bit fixed point, of the time since the first call: for
    /// those who only give it back (RFC 3550 §4 allows elapsed time where there is no wall clock).
    fn ntp(self) -> u64 {
        ((self.since.as_nanos() << 32) / 1_000_000_000) as u64
    }
}

fn abs_send_time(since: Duration) -> [u8; 3] {
    let fraction = (u64::from(since.subsec_nanos()) << 18) / 1_000_000_000;
    let [.., a, b, c] = ((since.as_secs() << 18) + fraction).to_be_bytes();
    [a, b, c]
}

/// The media of one shard.
pub struct Media {
    config: MediaConfig,
    random: Random,
    epoch: Option<Instant>,
    /// The time of the last call that had one.
    last: Option<Instant>,
    transports: Slab<Transport>,
    producers: Slab<Producer>,
    consumers: Slab<Consumer>,
    transport_keys: FxHashMap<TransportId, usize>,
    producer_keys: FxHashMap<ProducerId, usize>,
    consumer_keys: FxHashMap<ConsumerId, usize>,
    timers: Timers,
    counters: MediaCounters,
    /// Sequence numbers on their way into or out of a NACK; kept for its memory.
    numbers: Vec<u16>,
    /// The transport that was last worked for: a panic leaves its culprit here.
    at_work: Option<usize>,
}

impl Media {
    /// `seed`: random for each process; it seeds SSRCs, first sequence numbers and the hashing of
    /// numbers that peers choose.
    pub fn new(config: &MediaConfig, seed: u64) -> Self {
        Media {
            config: config.clone(),
            random: Random::new(seed),
            epoch: None,
            last: None,
            transports: Slab::new(),
            producers: Slab::new(),
            consumers: Slab::new(),
            transport_keys: FxHashMap::default(),
            producer_keys: FxHashMap::default(),
            consumer_keys: FxHashMap::default(),
            timers: Timers::default(),
            counters: MediaCounters::default(),
            numbers: Vec::new(),
            at_work: None,
        }
    }

    /// Makes room for a transport. Opening one that is open changes nothing.
    pub fn open(&mut self, transport: TransportId, group: GroupId) {
        if self.transport_keys.contains_key(&transport) {
            return;
        }
        let made = Transport::new(transport, group, &mut self.random);
        let key = self.transports.insert(made);
        self.transport_keys.insert(transport, key);
    }

    /// Ends a transport with its producers and consumers; consumers elsewhere lose their source.
    pub fn close(&mut self, transport: TransportId, _now: Instant, events: &mut Vec<MediaEvent>) {
        let Some(key) = self.transport_keys.remove(&transport) else {
            return;
        };
        let held = &mut self.transports[key];
        let producers = std::mem::take(&mut held.producers);
        let consumers = std::mem::take(&mut held.consumers);
        for (_, producer) in producers {
            self.remove_producer(producer, events);
        }
        for (_, consumer) in consumers {
            self.remove_consumer(consumer, events);
        }
        self.transports.remove(key);
    }

    /// Something is about to be done that may panic.
    pub fn begin(&mut self) {
        self.at_work = None;
    }

    /// Whose turn it was when something panicked since `begin`, if it was anybody's.
    pub fn culprit(&self) -> Option<TransportId> {
        let transport = self.transports.get(self.at_work?);
        transport.map(|transport| transport.id)
    }

    #[cfg(feature = "planted")]
    fn worked_for(&self) -> u64 {
        self.culprit().map_or(0, |id| id.0)
    }

    /// As [`close`](Self::close), for a transport that a panic may have left torn: what belongs to it
    /// is looked for, and not taken from its own lists.
    pub fn expel(&mut self, transport: TransportId, events: &mut Vec<MediaEvent>) {
        let Some(key) = self.transport_keys.remove(&transport) else {
            return;
        };
        let its = self.producers.iter().filter(|(_, p)| p.transport == key);
        let producers: Vec<usize> = its.map(|(producer, _)| producer).collect();
        let its = self.consumers.iter().filter(|(_, c)| c.transport == key);
        let consumers: Vec<usize> = its.map(|(consumer, _)| consumer).collect();
        for consumer in consumers {
            self.remove_consumer(consumer, events);
        }
        for producer in producers {
            self.remove_producer(producer, events);
        }
        // A key that is free now will come to mean something else.
        for (_, producer) in &mut self.producers {
            let consumers = &self.consumers;
            producer.consumers.retain(|key| consumers.contains(*key));
            for layer in &mut producer.layers {
                layer.takers.retain(|key| consumers.contains(*key));
            }
        }
        self.transports.try_remove(key);
    }

    /// Installs what DTLS agreed on. Until then nothing is opened or sent. Keys of the wrong length
    /// for their profile install nothing. Later keys take the place of the earlier ones, and every
    /// stream goes on.
    pub fn set_keys(&mut self, transport: TransportId, keys: &SrtpKeys) {
        let Some(&key) = self.transport_keys.get(&transport) else {
            return;
        };
        let hasher = self.random.hasher();
        let held = &mut self.transports[key];
        let was_ready = held.is_ready();
        if let (Some(opener), Some(sealer)) = (&mut held.opener, &mut held.sealer) {
            opener.renew(keys.profile, &keys.remote);
            sealer.renew(keys.profile, &keys.local);
            return;
        }
        held.opener = Opener::new(keys.profile, &keys.remote, hasher.clone());
        held.sealer = Sealer::new(keys.profile, &keys.local, hasher);
        if let Some(sealer) = &mut held.sealer {
            for (_, consumer) in &held.consumers {
                let consumer = &self.consumers[*consumer];
                sealer.expect(consumer.ssrc);
                consumer
                    .rtx_ssrc
                    .iter()
                    .for_each(|ssrc| sealer.expect(*ssrc));
            }
        }
        if !was_ready {
            self.want_keyframes(key);
        }
    }

    /// Where the transport's datagrams go from now on.
    pub fn set_route(&mut self, transport: TransportId, to: SocketAddr) {
        let Some(&key) = self.transport_keys.get(&transport) else {
            return;
        };
        let held = &mut self.transports[key];
        let was_ready = held.is_ready();
        held.route = Some(to);
        if !was_ready {
            self.want_keyframes(key);
        }
    }

    /// Nothing may be sent to the transport's peer until it has a route again.
    pub fn clear_route(&mut self, transport: TransportId) {
        if let Some(&key) = self.transport_keys.get(&transport) {
            self.transports[key].route = None;
        }
    }

    /// A transport may have become able to send: its consumers that wait for a keyframe have it asked
    /// for by the timer, merged and throttled as every such request.
    fn want_keyframes(&mut self, key: usize) {
        let (transport, Some(now)) = (&self.transports[key], self.last) else {
            return;
        };
        if !transport.is_ready() {
            return;
        }
        for (_, consumer) in &transport.consumers {
            let consumer = &self.consumers[*consumer];
            let target = consumer.target.or(consumer.current);
            let Some(feed) = target.filter(|_| consumer.kind == MediaKind::Video) else {
                continue;
            };
            let layer = &mut self.producers[feed.producer].layers[usize::from(feed.layer)];
            let at = layer.keyframes.hold(now);
            let timer = Timer::Keyframe(feed);
            self.timers.at(&mut layer.keyframe_due, at, timer);
        }
    }

    /// Takes one RTP or RTCP datagram (first byte 128 to 191), decrypting it in place.
    ///
    /// True when it was authentic and new, so that the transport may count as alive.
    pub fn on_datagram(
        &mut self,
        transport: TransportId,
        now: Instant,
        datagram: &mut [u8],
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) -> bool {
        let moment = self.moment(now);
        let Some(&key) = self.transport_keys.get(&transport) else {
            self.counters.drop_no_keys += 1;
            return false;
        };
        self.at_work = Some(key);
        if is_rtcp(datagram) {
            self.on_rtcp(key, moment, datagram, out, events)
        } else {
            self.on_rtp(key, moment, datagram, out, events)
        }
    }

    /// When `on_timer` is next wanted.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn counters(&self) -> MediaCounters {
        self.counters
    }

    /// How many producers and consumers exist.
    pub fn census(&self) -> (usize, usize) {
        (self.producers.len(), self.consumers.len())
    }

    /// `None` for a transport that is not open.
    pub fn stats(&self, transport: TransportId) -> Option<MediaStats> {
        let transport = &self.transports[*self.transport_keys.get(&transport)?];
        Some(MediaStats {
            producers: transport
                .producers
                .iter()
                .map(|(_, key)| self.producer_stats(&self.producers[*key]))
                .collect(),
            consumers: transport
                .consumers
                .iter()
                .map(|(_, key)| consumer_stats(&self.consumers[*key]))
                .collect(),
            remb_bps: transport.remb_bps,
            rtt_ms: transport.measured_rtt.map(millis),
        })
    }

    fn producer_stats(&self, producer: &Producer) -> ProducerStats {
        let sum = |of: fn(&producer::Layer) -> u64| producer.layers.iter().map(of).sum();
        // Of all layers alike, unless the path treats them differently.
        let mut active = producer.layers.iter().filter(|layer| layer.is_active);
        let forwarded = producer.layers.iter().find(|l| !l.takers.is_empty());
        let jitter_ms = forwarded.or_else(|| active.next()).map_or(0.0, |layer| {
            let clock_hz = layer
                .current
                .and_then(|current| producer.codecs.get(current.codec))
                .map_or(90_000, |codec| codec.spec.clock_hz.max(1));
            layer.reception.jitter() as f32 * 1000.0 / clock_hz as f32
        });
        ProducerStats {
            id: producer.id,
            mid: producer.mid.clone(),
            packets: sum(|layer| layer.stats.packets),
            bytes: sum(|layer| layer.stats.bytes),
            lost: sum(|layer| layer.reception.lost()),
            repaired: sum(|layer| layer.stats.repaired),
            nacks_sent: sum(|layer| layer.stats.nacks),
            plis_sent: sum(|layer| layer.stats.plis),
            keyframes: sum(|layer| layer.stats.keyframes),
            jitter_ms,
        }
    }

    fn moment(&mut self, now: Instant) -> Moment {
        let epoch = *self.epoch.get_or_insert(now);
        self.last = Some(now);
        let since = now.saturating_duration_since(epoch);
        Moment {
            now,
            since,
            abs_send_time: abs_send_time(since),
        }
    }
}

fn consumer_stats(consumer: &Consumer) -> ConsumerStats {
    ConsumerStats {
        id: consumer.id,
        mid: consumer.mid.clone(),
        packets: consumer.packets,
        bytes: consumer.bytes,
        retransmitted: consumer.retransmitted,
        nacks_received: consumer.nacks,
        plis_received: consumer.plis,
        lost: consumer.peer.lost,
        fraction_lost: f32::from(consumer.peer.fraction_lost) / 256.0,
        rtt_ms: consumer.peer.rtt.map(millis),
    }
}

fn millis(time: Duration) -> f32 {
    time.as_secs_f32() * 1000.0
}

#[cfg(test)]
mod tests;
