//! The way of a packet: opened, bound to its stream, registered, kept, and forwarded to everyone.

use super::api::{MediaEvent, Outbox, PauseReason};
use super::consumer::{Incoming, Lost, Offered};
use super::nack::Came;
use super::producer::{Binding, Current, FORWARDED_LAYER, Producer};
use super::timers::Timer;
use super::transport::{HOLD, Held, MAX_HELD};
use super::unwrap::near16;
use super::{Media, Moment};
use crate::rtcp::Arrivals;
use crate::rtp::{Extensions, Header};
use crate::srtp::OpenError;
use crate::strike;
use std::time::Duration;

/// Between two transport-wide feedbacks, as libwebrtc sends them at high rates.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// How far a retransmission may run ahead of everything received. One that seems further ahead is of
/// a number half the range behind.
const MAX_AHEAD: u64 = 1024;

/// How a packet came, and its number as far as that tells.
#[derive(Clone, Copy)]
enum Arrival {
    /// On its own, with the 48-bit index of SRTP.
    Plain(u64),
    /// By retransmission: the original number has 16 bits.
    Rtx,
}

impl Media {
    pub(super) fn on_rtp(
        &mut self,
        key: usize,
        moment: Moment,
        datagram: &mut [u8],
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) -> bool {
        let counters = &mut self.counters;
        let transport = &mut self.transports[key];
        let Some(opener) = &mut transport.opener else {
            counters.drop_no_keys += 1;
            return false;
        };
        let Some(header) = Header::parse(datagram) else {
            counters.drop_malformed += 1;
            return false;
        };
        let opened = opener.open_rtp(datagram, header.len, header.ssrc, header.seq);
        let (len, index) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                match error {
                    OpenError::Replayed => counters.drop_replayed += 1,
                    OpenError::Forged => counters.drop_forged += 1,
                    OpenError::Malformed => counters.drop_malformed += 1,
                    OpenError::Exhausted => counters.drop_unbound += 1,
                }
                return false;
            }
        };
        counters.rtp_in += 1;
        counters.rtp_in_bytes += len as u64;

        let packet = &mut datagram[..len];
        let extensions = transport.extensions.read(&header, packet);
        if let Some(seq) = extensions.transport_cc {
            let arrivals = transport.arrivals.get_or_insert_with(Arrivals::default);
            arrivals.register(seq, moment.ticks());
            transport.feedback_ssrc = header.ssrc;
            if transport.feedback_due.is_none() {
                let at = moment.now + FEEDBACK_INTERVAL;
                self.timers
                    .at(&mut transport.feedback_due, at, Timer::Feedback(key));
            }
        }
        let known = transport.bindings.get(&header.ssrc).copied();
        let Some(binding) = known.or_else(|| self.bind(key, &header, &extensions, moment, out))
        else {
            self.hold(key, packet, index, moment);
            return true;
        };
        self.deliver(binding, index, header, packet, moment, out, events);
        true
    }

    /// Looks again at packets that belonged to nobody.
    pub(super) fn deliver_held(
        &mut self,
        key: usize,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        for mut held in std::mem::take(&mut self.transports[key].held) {
            if moment.now.saturating_duration_since(held.arrived) > HOLD {
                self.counters.drop_unbound += 1;
                continue;
            }
            let Some(header) = Header::parse(&held.packet) else {
                continue;
            };
            let transport = &self.transports[key];
            let extensions = transport.extensions.read(&header, &held.packet);
            let known = transport.bindings.get(&header.ssrc).copied();
            match known.or_else(|| self.bind(key, &header, &extensions, moment, out)) {
                Some(binding) => {
                    let packet = &mut held.packet;
                    self.deliver(binding, held.index, header, packet, moment, out, events);
                }
                None => self.transports[key].held.push(held),
            }
        }
    }

    fn hold(&mut self, key: usize, packet: &[u8], index: u64, moment: Moment) {
        let held = &mut self.transports[key].held;
        held.retain(|held| moment.now.saturating_duration_since(held.arrived) <= HOLD);
        if held.len() >= MAX_HELD {
            self.counters.drop_unbound += 1;
            return;
        }
        held.push(Held {
            packet: packet.into(),
            index,
            arrived: moment.now,
        });
    }

    /// Finds whose an unknown SSRC is: by MID and RID extension, then by what was declared, then by
    /// a payload type that only one section has (RFC 8843 §9.2). Remembers it.
    fn bind(
        &mut self,
        key: usize,
        header: &Header,
        extensions: &Extensions<'_>,
        moment: Moment,
        out: &mut impl Outbox,
    ) -> Option<Binding> {
        let binding = self.resolve(key, header, extensions)?;
        let ssrc = header.ssrc;
        let transport = &mut self.transports[key];
        transport.bindings.insert(ssrc, binding);
        match binding {
            Binding::Rtx { producer, layer } => {
                let layer = &mut self.producers[producer].layers[usize::from(layer)];
                if let Some(old) = layer.rtx_ssrc.replace(ssrc).filter(|old| *old != ssrc) {
                    transport.bindings.remove(&old);
                }
            }
            Binding::Media { producer, layer } => {
                let held = &mut self.producers[producer];
                let index = layer;
                let layer = &mut held.layers[usize::from(layer)];
                if layer.ssrc == Some(ssrc) {
                    return Some(binding);
                }
                if let Some(old) = layer.ssrc {
                    transport.bindings.remove(&old);
                }
                if let Some(old) = layer.rtx_ssrc {
                    transport.bindings.remove(&old);
                }
                layer.rebind(ssrc);
                if index == FORWARDED_LAYER {
                    for consumer in &held.consumers {
                        self.consumers[*consumer].forget_timeline();
                    }
                    if self.has_waiting(producer) {
                        self.ask_keyframe(producer, index, moment, out);
                    }
                }
            }
        }
        Some(binding)
    }

    fn resolve(&self, key: usize, header: &Header, extensions: &Extensions<'_>) -> Option<Binding> {
        let transport = &self.transports[key];
        let plain = |producer: usize, is_rtx: bool, layer: u8| {
            if is_rtx {
                Binding::Rtx { producer, layer }
            } else {
                Binding::Media { producer, layer }
            }
        };
        if let Some(producer) = extensions.mid.and_then(|mid| transport.producer(mid)) {
            let held = &self.producers[producer];
            if let Some(rid) = extensions.repaired_rid {
                return held.layer_of_rid(rid).map(|l| plain(producer, true, l));
            }
            if let Some(layer) = extensions.rid.and_then(|rid| held.layer_of_rid(rid)) {
                return Some(plain(producer, held.is_rtx(header.pt)?, layer));
            }
            if held.layers.len() == 1 {
                return Some(plain(producer, held.is_rtx(header.pt)?, 0));
            }
        }
        let mut sections = transport.producers.iter().map(|(_, producer)| *producer);
        if let Some(binding) = sections
            .clone()
            .find_map(|producer| self.producers[producer].declared(producer, header.ssrc))
        {
            return Some(binding);
        }
        let first = sections.find_map(|p| Some((p, self.producers[p].is_rtx(header.pt)?)));
        let (producer, is_rtx) = first?;
        let is_unique = sections.all(|p| self.producers[p].is_rtx(header.pt).is_none());
        let held = &self.producers[producer];
        // A stream already bound is not taken over on such weak evidence.
        let is_free = held.layers.len() == 1
            && (is_rtx || held.layers[0].ssrc.is_none_or(|ssrc| ssrc == header.ssrc));
        (is_unique && is_free).then(|| plain(producer, is_rtx, 0))
    }

    #[expect(clippy::too_many_arguments, reason = "one packet and where it stands")]
    fn deliver(
        &mut self,
        binding: Binding,
        index: u64,
        header: Header,
        packet: &mut [u8],
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        match binding {
            Binding::Media { producer, layer } => {
                let arrival = Arrival::Plain(index);
                self.receive(
                    producer, layer, arrival, header, packet, moment, out, events,
                );
            }
            Binding::Rtx { producer, layer } => {
                let held = &self.producers[producer];
                let ssrc = held.layers[usize::from(layer)].ssrc;
                let (Some(pt), Some(ssrc)) = (held.original_pt(header.pt), ssrc) else {
                    self.counters.drop_payload_type += 1;
                    return;
                };
                let Some(len) = header.unwrap_rtx(packet, pt, ssrc) else {
                    self.counters.padding_in += 1;
                    return;
                };
                let packet = &packet[..len];
                let Some(header) = Header::parse(packet) else {
                    self.counters.drop_malformed += 1;
                    return;
                };
                let arrival = Arrival::Rtx;
                self.receive(
                    producer, layer, arrival, header, packet, moment, out, events,
                );
            }
        }
    }

    /// Registers one packet of a layer, then forwards it.
    #[expect(clippy::too_many_arguments, reason = "one packet and where it stands")]
    fn receive(
        &mut self,
        producer_key: usize,
        layer_index: u8,
        arrival: Arrival,
        header: Header,
        packet: &[u8],
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let Moment { now, .. } = moment;
        let counters = &mut self.counters;
        let producer = &mut self.producers[producer_key];
        let layer = &mut producer.layers[usize::from(layer_index)];
        let Some(payload) = header.payload(packet) else {
            counters.drop_malformed += 1;
            return;
        };
        let top = layer.reception.top();
        let seq = match (arrival, top) {
            (Arrival::Plain(index), _) => Some(index),
            (Arrival::Rtx, Some(top)) => {
                Some(near16(top, header.seq)).filter(|seq| *seq <= top + MAX_AHEAD)
            }
            // Nothing is known of the stream yet that the packet could repair.
            (Arrival::Rtx, None) => None,
        };
        let Some(seq) = seq.filter(|seq| layer.seen.is_fresh(*seq)) else {
            if let Arrival::Plain(_) = arrival {
                layer.reception.on_original();
                layer.nack.on_original();
            }
            counters.drop_duplicate += 1;
            return;
        };
        if layer.current.is_none_or(|current| current.pt != header.pt) {
            let codec = producer.codecs.iter().position(|c| c.spec.pt == header.pt);
            layer.current = codec.map(|codec| Current {
                pt: header.pt,
                codec,
            });
        }
        let Some(codec) = layer
            .current
            .and_then(|current| producer.codecs.get(current.codec))
        else {
            counters.drop_payload_type += 1;
            return;
        };

        layer.seen.mark(seq);
        match arrival {
            Arrival::Plain(_) => layer.reception.on_packet(seq),
            Arrival::Rtx => layer.reception.on_repair(seq),
        }
        layer.stats.packets += 1;
        layer.stats.bytes += packet.len() as u64;
        layer.last_packet = Some(now);
        let timestamp = layer.timestamp(header.timestamp);
        let is_forwarded = layer_index == FORWARDED_LAYER;
        let has_later = top.is_some_and(|top| top > seq);
        let came = match arrival {
            Arrival::Rtx => Came::Repaired,
            Arrival::Plain(_) if codec.spec.rtx_pt.is_some() => Came::Late,
            Arrival::Plain(_) => Came::LateOrRepeated,
        };
        let is_repaired = match has_later {
            true => layer.nack.on_arrival(seq, came, now),
            false => came == Came::Repaired,
        };
        if is_repaired {
            layer.stats.repaired += 1;
            counters.repaired_in += 1;
        } else if matches!(arrival, Arrival::Plain(_)) {
            layer
                .reception
                .on_timing(moment.since, timestamp, codec.spec.clock_hz);
        }
        let is_padding = payload.is_empty();
        let gap = top.map(|top| top + 1).filter(|next| seq > *next);
        // Without RTX libwebrtc pads behind a whole frame only, and with its timestamp, so between two
        // packets of that timestamp lies nothing but padding. It is never sent again.
        let is_gap_hollow = is_padding && layer.ended == Some(header.timestamp);
        if !has_later {
            let is_end = is_padding || header.marker;
            layer.ended = is_end.then_some(header.timestamp);
        }
        let mut is_beyond_repair = false;
        if let Some(from) = gap
            && !is_gap_hollow
            && is_forwarded
            && producer.nack
            && !producer.is_paused
        {
            match layer.nack.on_gap(from, seq, now) {
                Ok(at) => {
                    let timer = Timer::Nack(producer_key, layer_index);
                    self.timers.at(&mut layer.nack_due, at, timer);
                }
                Err(count) => {
                    is_beyond_repair = true;
                    counters.given_up += count;
                }
            }
        }

        let was_active = std::mem::replace(&mut layer.is_active, true);
        if !producer.has_begun {
            producer.has_begun = true;
            events.push(MediaEvent::FirstPacket {
                producer: producer.id,
                layer: layer_index,
                codec: codec.spec.name.clone(),
                at: now,
            });
        }
        if !was_active {
            events.push(MediaEvent::LayerActive {
                producer: producer.id,
                layer: layer_index,
                at: now,
            });
        }
        if !is_forwarded {
            counters.drop_layer += 1;
            return;
        }
        counters.padding_in += u64::from(is_padding);
        let starts_keyframe = codec.codec.starts_keyframe(payload);
        if starts_keyframe {
            layer.keyframes.on_keyframe(seq, now);
            layer.stats.keyframes += 1;
            counters.keyframes_in += 1;
        }
        if producer.is_paused {
            counters.drop_paused += 1;
            return;
        }
        if let Some(cache) = &mut layer.cache {
            cache.put(seq, timestamp, packet, now);
        }

        let incoming = Incoming {
            extensions: self.transports[producer.transport]
                .extensions
                .read(&header, packet),
            header,
            payload,
            seq,
            timestamp,
            is_start: starts_keyframe || !codec.codec.has_keyframes(),
        };
        let is_helpless = is_beyond_repair || !was_active;
        let is_wanted = is_helpless && !incoming.is_start && codec.codec.has_keyframes();
        let mut has_started = false;
        for place in 0..producer.consumers.len() {
            let consumer_key = producer.consumers[place];
            let consumer = &mut self.consumers[consumer_key];
            // A mistake in sending is the subscriber's end, and not the publisher's.
            self.at_work = Some(consumer.transport);
            strike!(Forward, consumer.id.0);
            // Padding is forwarded, empty, to those only who would ask for its number for ever.
            if is_padding {
                let from = gap.filter(|_| is_gap_hollow).unwrap_or(seq);
                if consumer.skip(from, seq + 1) {
                    continue;
                }
            }
            let transport = &mut self.transports[consumer.transport];
            let offered = consumer.offer(
                &incoming,
                &codec.spec,
                transport,
                moment,
                out,
                &mut self.counters,
            );
            match offered {
                Offered::Sent | Offered::NotSent => {}
                Offered::NoCodec => events.push(MediaEvent::ConsumerPaused {
                    consumer: consumer.id,
                    reason: PauseReason::Codec,
                }),
                Offered::Started => {
                    has_started = true;
                    if !consumer.has_begun {
                        consumer.has_begun = true;
                        events.push(MediaEvent::FirstForwarded {
                            consumer: consumer.id,
                            at: now,
                        });
                    }
                    consumer.next_sr = Some(now);
                    let timer = Timer::SenderReports(consumer.transport);
                    let due = &mut transport.sender_reports_due;
                    self.timers.at(due, now, timer);
                }
            }
        }
        self.at_work = Some(producer.transport);
        if has_started && has_later {
            self.catch_up(producer_key, seq, moment, out);
        }
        if is_wanted && self.is_anyone_there(producer_key) {
            self.ask_keyframe(producer_key, layer_index, moment, out);
        }
    }

    /// Consumers have begun with packet `seq`, which came late: those after it are in the cache.
    fn catch_up(&mut self, producer_key: usize, seq: u64, moment: Moment, out: &mut impl Outbox) {
        let producer = &self.producers[producer_key];
        let top = producer.layers[usize::from(FORWARDED_LAYER)]
            .reception
            .top();
        for later in seq + 1..=top.unwrap_or(seq) {
            for place in 0..self.producers[producer_key].consumers.len() {
                let consumer = self.producers[producer_key].consumers[place];
                // Whoever began earlier has been sent these already.
                let held = &self.consumers[consumer];
                if held.began_with == seq && !held.is_waiting {
                    let before = self.at_work.replace(held.transport);
                    self.resend(consumer, later, Resend::Late, moment, out);
                    self.at_work = before;
                }
            }
        }
    }

    /// Sends a cached packet of a consumer's source.
    pub(super) fn resend(
        &mut self,
        consumer_key: usize,
        seq: u64,
        how: Resend,
        moment: Moment,
        out: &mut impl Outbox,
    ) {
        let Some(consumer) = self.consumers.get_mut(consumer_key) else {
            return;
        };
        let Some(producer) = consumer.source.and_then(|key| self.producers.get(key)) else {
            return;
        };
        let Some((incoming, codec)) = cached(producer, seq, &self.transports) else {
            self.counters.nack_missed += u64::from(matches!(how, Resend::Lost(_)));
            return;
        };
        let transport = &mut self.transports[consumer.transport];
        let counters = &mut self.counters;
        match how {
            Resend::Late if incoming.payload.is_empty() && consumer.skip(seq, seq + 1) => {}
            Resend::Late => {
                consumer.offer(&incoming, codec, transport, moment, out, counters);
            }
            Resend::Lost(lost) => {
                consumer.retransmit(lost, &incoming, codec, transport, moment, out, counters);
            }
        }
    }

    pub(super) fn has_waiting(&self, producer: usize) -> bool {
        self.producers[producer].consumers.iter().any(|consumer| {
            let consumer = &self.consumers[*consumer];
            let is_ready = self.transports[consumer.transport].is_ready();
            consumer.is_waiting && consumer.is_wanting() && is_ready
        })
    }

    pub(super) fn is_anyone_there(&self, producer: usize) -> bool {
        let producer = &self.producers[producer];
        producer
            .consumers
            .iter()
            .any(|consumer| self.consumers[*consumer].is_wanting())
    }
}

/// Why a cached packet is sent.
#[derive(Clone, Copy)]
pub(super) enum Resend {
    /// For the first time, to one who began with an earlier packet.
    Late,
    Lost(Lost),
}

/// A packet of the forwarded layer, out of its cache.
fn cached<'a>(
    producer: &'a Producer,
    seq: u64,
    transports: &slab::Slab<super::transport::Transport>,
) -> Option<(Incoming<'a>, &'a crate::spec::CodecSpec)> {
    let layer = producer.layers.get(usize::from(FORWARDED_LAYER))?;
    let (packet, timestamp) = layer.cache.as_ref()?.get(seq)?;
    let header = Header::parse(packet)?;
    let payload = header.payload(packet)?;
    let codec = producer.codecs.iter().find(|c| c.spec.pt == header.pt)?;
    let extensions = transports[producer.transport]
        .extensions
        .read(&header, packet);
    let incoming = Incoming {
        header,
        extensions,
        payload,
        seq,
        timestamp,
        is_start: codec.codec.starts_keyframe(payload) || !codec.codec.has_keyframes(),
    };
    Some((incoming, &codec.spec))
}
