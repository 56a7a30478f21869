//! The way of a packet: opened, bound to its stream, registered, kept, and forwarded to everyone.

use super::api::{MediaEvent, Outbox, PauseReason};
use super::consumer::{Begins, Consumer, Forwarded, Lost};
use super::era::{Feed, Stream};
use super::nack::Came;
use super::outgoing::Incoming;
use super::producer::{Binding, Current, Producer};
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
                let held = &self.producers[producer].layers[usize::from(layer)];
                if held.ssrc == Some(ssrc) {
                    return Some(binding);
                }
                for old in [held.ssrc, held.rtx_ssrc].into_iter().flatten() {
                    transport.bindings.remove(&old);
                }
                self.rebind(Feed { producer, layer }, ssrc, moment, out);
            }
        }
        Some(binding)
    }

    /// Another SSRC sends a layer: whoever forwards it begins anew with its next keyframe.
    fn rebind(&mut self, feed: Feed, ssrc: u32, moment: Moment, out: &mut impl Outbox) {
        let held = &mut self.producers[feed.producer];
        let from = held.reference(feed.layer);
        for key in &held.layers[usize::from(feed.layer)].takers {
            let consumer = &mut self.consumers[*key];
            if consumer.current == Some(feed) {
                consumer.leave(from);
                if consumer.target.is_none() {
                    consumer.set_target(Some(feed));
                }
            }
        }
        held.rebind(feed.layer, ssrc);
        if self.has_waiting(feed) {
            self.ask_keyframe(feed, true, moment, out);
        }
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
        let feed = Feed {
            producer: producer_key,
            layer: layer_index,
        };
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
        let is_new_frame = layer.is_newer(header.timestamp);
        let timestamp = layer.timestamp(header.timestamp);
        let is_taken = !layer.takers.is_empty();
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
            && is_taken
            && producer.nack
            && !producer.is_paused
        {
            match layer.nack.on_gap(from, seq, now) {
                Ok(at) => {
                    let timer = Timer::Nack(feed);
                    self.timers.at(&mut layer.nack_due, at, timer);
                }
                Err(count) => {
                    is_beyond_repair = true;
                    counters.given_up += count;
                }
            }
        }

        // Padding is no life, and what comes late is of the past.
        let is_alive = !is_padding && !has_later;
        if is_alive && is_new_frame {
            layer.pulse.on_frame(now);
        }
        let has_begun = is_alive && !std::mem::replace(&mut layer.is_active, true);
        let view = codec.codec.read(payload);
        if view.starts_keyframe {
            layer.keyframes.on_keyframe(seq, now);
            layer.stats.keyframes += 1;
            counters.keyframes_in += 1;
        }
        let picture = view.vp8.map(|descriptor| layer.pictures.read(descriptor));
        counters.padding_in += u64::from(is_padding);
        if !producer.has_begun {
            producer.has_begun = true;
            events.push(MediaEvent::FirstPacket {
                producer: producer.id,
                layer: layer_index,
                codec: codec.spec.name.clone(),
                at: now,
            });
        }
        if has_begun {
            events.push(MediaEvent::LayerActive {
                producer: producer.id,
                layer: layer_index,
                at: now,
            });
            self.on_layer_begun(producer_key, events);
        } else if self.producers[producer_key].layers.len() > 1 {
            self.look_for_stopped(producer_key, layer_index, moment, out, events);
        }

        let counters = &mut self.counters;
        let producer = &mut self.producers[producer_key];
        if producer.is_paused {
            counters.drop_paused += 1;
            return;
        }
        let layer = &mut producer.layers[usize::from(layer_index)];
        if layer.takers.is_empty() {
            counters.drop_layer += 1;
            return;
        }
        if let Some(cache) = &mut layer.cache {
            cache.put(seq, timestamp, packet, now);
        }
        let producer = &self.producers[producer_key];
        let layer = &producer.layers[usize::from(layer_index)];
        let Some(codec) = layer
            .current
            .and_then(|current| producer.codecs.get(current.codec))
        else {
            return;
        };

        let has_keyframes = codec.codec.has_keyframes();
        let incoming = Incoming {
            extensions: self.transports[producer.transport]
                .extensions
                .read(&header, packet),
            header,
            payload,
            seq,
            timestamp,
            starts_keyframe: view.starts_keyframe,
            is_start: view.starts_keyframe || !has_keyframes,
            picture,
        };
        let is_helpless = is_beyond_repair || has_begun;
        let is_wanted = is_helpless && !incoming.is_start && has_keyframes;
        let mut has_started = false;
        for &consumer_key in &layer.takers {
            let consumer = &mut self.consumers[consumer_key];
            // A mistake in sending is the subscriber's end, and not the publisher's.
            self.at_work = Some(consumer.transport);
            strike!(Forward, consumer.id.0);
            let transport = &mut self.transports[consumer.transport];
            if consumer.current != Some(feed) {
                if is_padding {
                    continue;
                }
                match consumer.begins_with(&incoming, &codec.spec, transport, &mut self.counters) {
                    Begins::Yes if begin(consumer, feed, &incoming, &self.producers, moment) => {
                        has_started = true;
                    }
                    Begins::Yes | Begins::No => continue,
                    Begins::NoCodec => {
                        events.push(no_codec(consumer));
                        continue;
                    }
                }
            } else if is_padding {
                // It is forwarded, empty, to those only who would ask for its number for ever.
                let from = gap.filter(|_| is_gap_hollow).unwrap_or(seq);
                if consumer.skip(from, seq + 1) {
                    continue;
                }
            }
            let counters = &mut self.counters;
            let forwarded =
                consumer.forward(&incoming, &codec.spec, transport, moment, out, counters);
            if forwarded == Forwarded::NoCodec {
                events.push(no_codec(consumer));
            }
        }
        self.at_work = Some(producer.transport);
        if has_started {
            self.welcome(feed, seq, has_later, moment, out, events);
        }
        if is_wanted {
            self.ask_keyframe(feed, self.has_waiting(feed), moment, out);
        }
    }

    /// Looks after the consumers that have begun with packet `seq` of `feed`.
    fn welcome(
        &mut self,
        feed: Feed,
        seq: u64,
        is_late: bool,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let now = moment.now;
        let takers = self.takers(feed).len();
        for place in 0..takers {
            let key = self.takers(feed)[place];
            let consumer = &mut self.consumers[key];
            if consumer.current != Some(feed) || consumer.began_with() != seq {
                continue;
            }
            if let Some(former) = consumer.former.take() {
                self.remove_taker(key, former);
            }
            self.tell_layer(key, events);
            let consumer = &mut self.consumers[key];
            if !std::mem::replace(&mut consumer.has_begun, true) {
                events.push(MediaEvent::FirstForwarded {
                    consumer: consumer.id,
                    at: now,
                });
            }
            consumer.next_sr = Some(now);
            let timer = Timer::SenderReports(consumer.transport);
            let due = &mut self.transports[consumer.transport].sender_reports_due;
            self.timers.at(due, now, timer);
        }
        if is_late {
            self.catch_up(feed, seq, moment, out);
        }
    }

    fn takers(&self, feed: Feed) -> &[usize] {
        &self.producers[feed.producer].layers[usize::from(feed.layer)].takers
    }

    /// Consumers have begun with packet `seq`, which came late: those after it are in the cache.
    fn catch_up(&mut self, feed: Feed, seq: u64, moment: Moment, out: &mut impl Outbox) {
        let layer = &self.producers[feed.producer].layers[usize::from(feed.layer)];
        let top = layer.reception.top();
        let takers = layer.takers.len();
        for later in seq + 1..=top.unwrap_or(seq) {
            for place in 0..takers {
                let key = self.takers(feed)[place];
                // Whoever began earlier has been sent these already.
                let held = &self.consumers[key];
                if held.began_with() == seq && held.current == Some(feed) {
                    let before = self.at_work.replace(held.transport);
                    let stream = self.producers[feed.producer].stream(feed.layer);
                    self.resend(key, (feed, stream), later, Resend::Late, moment, out);
                    self.at_work = before;
                }
            }
        }
    }

    /// Sends a packet of a layer that is kept.
    pub(super) fn resend(
        &mut self,
        consumer_key: usize,
        (feed, stream): (Feed, Stream),
        seq: u64,
        how: Resend,
        moment: Moment,
        out: &mut impl Outbox,
    ) {
        let Some(consumer) = self.consumers.get_mut(consumer_key) else {
            return;
        };
        let producer = self.producers.get(feed.producer);
        let producer = producer.filter(|producer| producer.stream(feed.layer) == stream);
        let kept = producer.and_then(|p| cached(p, feed.layer, seq, &self.transports));
        let Some((incoming, codec)) = kept else {
            self.counters.nack_missed += u64::from(matches!(how, Resend::Lost(_)));
            return;
        };
        let transport = &mut self.transports[consumer.transport];
        let counters = &mut self.counters;
        match how {
            Resend::Late if incoming.payload.is_empty() && consumer.skip(seq, seq + 1) => {}
            Resend::Late => {
                consumer.forward(&incoming, codec, transport, moment, out, counters);
            }
            Resend::Lost(lost) => {
                consumer.retransmit(lost, &incoming, codec, transport, moment, out, counters);
            }
        }
    }

    /// Whether somebody who can be reached cannot begin without a keyframe of this layer.
    pub(super) fn has_waiting(&self, feed: Feed) -> bool {
        self.takers(feed).iter().any(|key| {
            let consumer = &self.consumers[*key];
            let is_ready = self.transports[consumer.transport].is_ready();
            consumer.target == Some(feed) && is_ready
        })
    }

    pub(super) fn is_anyone_there(&self, feed: Feed) -> bool {
        !self.takers(feed).is_empty()
    }
}

/// A consumer's feed is `feed` from `incoming` on. False: there is none.
fn begin(
    consumer: &mut Consumer,
    feed: Feed,
    incoming: &Incoming<'_>,
    producers: &slab::Slab<Producer>,
    moment: Moment,
) -> bool {
    let reference = |feed: Feed| producers.get(feed.producer)?.reference(feed.layer);
    let from = consumer.current.and_then(reference);
    let (Some(to), Some(producer)) = (reference(feed), producers.get(feed.producer)) else {
        return false;
    };
    let stream = producer.stream(feed.layer);
    consumer.begin(feed, stream, incoming, from, &to, moment.now);
    true
}

fn no_codec(consumer: &Consumer) -> MediaEvent {
    MediaEvent::ConsumerPaused {
        consumer: consumer.id,
        reason: PauseReason::Codec,
    }
}

/// Why a cached packet is sent.
#[derive(Clone, Copy)]
pub(super) enum Resend {
    /// For the first time, to one who began with an earlier packet.
    Late,
    Lost(Lost),
}

/// A packet of a layer, out of its cache.
fn cached<'a>(
    producer: &'a Producer,
    layer: u8,
    seq: u64,
    transports: &slab::Slab<super::transport::Transport>,
) -> Option<(Incoming<'a>, &'a crate::spec::CodecSpec)> {
    let layer = producer.layers.get(usize::from(layer))?;
    let (packet, timestamp) = layer.cache.as_ref()?.get(seq)?;
    let header = Header::parse(packet)?;
    let payload = header.payload(packet)?;
    let codec = producer.codecs.iter().find(|c| c.spec.pt == header.pt)?;
    let extensions = transports[producer.transport]
        .extensions
        .read(&header, packet);
    let view = codec.codec.read(payload);
    let picture = view.vp8.map(|descriptor| layer.pictures.find(descriptor));
    let incoming = Incoming {
        header,
        extensions,
        payload,
        seq,
        timestamp,
        starts_keyframe: view.starts_keyframe,
        is_start: view.starts_keyframe || !codec.codec.has_keyframes(),
        picture,
    };
    Some((incoming, &codec.spec))
}
