//! What is asked for from above: sections made, changed and ended; sources set; pauses.

use std::time::Instant;

use super::api::{ApplyError, MediaChange, MediaCommand, MediaEvent, Outbox, PauseReason};
use super::consumer::Consumer;
use super::era::Feed;
use super::producer::Producer;
use super::reports::RECEIVER_REPORTS;
use super::timers::Timer;
use super::transport::Sender;
use super::{Media, Moment};
use crate::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Flow, MAX_LAYERS, MediaKind, Mid, ProducerId, RecvSpec,
    SendSpec, TransportId,
};
use crate::strike;

/// Sections of one transport in each direction.
const MAX_SECTIONS: usize = 1024;
const MAX_SSRCS: usize = 64;

impl Media {
    /// Makes, changes and ends producers and consumers: all of `change` or nothing.
    pub fn apply(
        &mut self,
        transport: TransportId,
        change: &MediaChange,
        now: Instant,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) -> Result<(), ApplyError> {
        let moment = self.moment(now);
        let key = *self
            .transport_keys
            .get(&transport)
            .ok_or(ApplyError::UnknownTransport)?;
        self.check(key, change)?;

        for (mid, flow) in &change.end {
            match flow {
                Flow::Recv => {
                    if let Some(producer) = self.transports[key].producer(mid.as_str()) {
                        self.end_producer(producer, events);
                    }
                }
                Flow::Send => {
                    if let Some(consumer) = self.transports[key].consumer(mid.as_str()) {
                        self.end_consumer(consumer, out, events);
                    }
                }
            }
        }
        for (id, spec) in &change.recv {
            self.apply_recv(key, *id, spec, moment, out, events);
        }
        for (id, spec) in &change.send {
            self.apply_send(key, *id, spec);
        }

        let held = &mut self.transports[key];
        for (_, spec) in &change.recv {
            held.extensions.add(&spec.extensions);
            held.has_twcc |= spec.twcc;
            held.has_remb |= spec.remb;
        }
        if !held.producers.is_empty() {
            let timer = Timer::ReceiverReports(key);
            self.timers
                .at(&mut held.reports_due, now + RECEIVER_REPORTS, timer);
        }
        self.deliver_held(key, moment, out, events);
        Ok(())
    }

    /// Does what is asked of one producer or consumer.
    pub fn command(
        &mut self,
        command: MediaCommand,
        now: Instant,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let moment = self.moment(now);
        self.at_work = self.owner_of(&command);
        strike!(MediaCommand, self.worked_for());
        match command {
            MediaCommand::ProducerPause(id) => self.pause_producer(id, moment, out, events),
            MediaCommand::ProducerResume(id) => self.resume_producer(id, moment, out, events),
            MediaCommand::ProducerKeyframe(id, layer) => {
                let Some(&key) = self.producer_keys.get(&id) else {
                    return;
                };
                let layers = self.producers[key].layers.len() as u8;
                for layer in (0..layers).filter(|index| layer.is_none_or(|l| l == *index)) {
                    let feed = Feed {
                        producer: key,
                        layer,
                    };
                    self.ask_keyframe(feed, self.has_waiting(feed), moment, out);
                }
            }
            MediaCommand::ProducerPolicy(id, policy) => {
                if let Some(&key) = self.producer_keys.get(&id) {
                    self.producers[key].set_policy(policy);
                    self.choose_all(key, moment, out, events);
                }
            }
            MediaCommand::ProducerClose(id) => {
                if let Some(&key) = self.producer_keys.get(&id) {
                    self.end_producer(key, events);
                }
            }
            MediaCommand::ConsumerSource(id, source, policy) => {
                if let (Some(key), Some(policy)) = (self.consumer_keys.get(&id), policy) {
                    self.consumers[*key].set_policy(policy);
                }
                self.set_source(id, source, moment, out, events);
            }
            MediaCommand::ConsumerPolicy(id, policy) => {
                if let Some(&key) = self.consumer_keys.get(&id) {
                    self.consumers[key].set_policy(policy);
                    self.choose(key, moment, out, events);
                }
            }
            MediaCommand::ConsumerPause(id) => {
                let Some(&key) = self.consumer_keys.get(&id) else {
                    return;
                };
                let held = &mut self.consumers[key];
                if !std::mem::replace(&mut held.is_paused, true) {
                    events.push(MediaEvent::ConsumerPaused {
                        consumer: id,
                        reason: PauseReason::Policy,
                    });
                    self.choose(key, moment, out, events);
                }
            }
            MediaCommand::ConsumerResume(id) => {
                let Some(&key) = self.consumer_keys.get(&id) else {
                    return;
                };
                let held = &mut self.consumers[key];
                if std::mem::replace(&mut held.is_paused, false) {
                    events.push(MediaEvent::ConsumerResumed { consumer: id });
                    self.choose(key, moment, out, events);
                }
            }
            MediaCommand::ConsumerKeyframe(id) => {
                let Some(&key) = self.consumer_keys.get(&id) else {
                    return;
                };
                let held = &self.consumers[key];
                if let Some(feed) = held.target.or(held.current) {
                    self.ask_for(key, feed, moment, out);
                }
            }
            MediaCommand::ConsumerClose(id) => {
                if let Some(&key) = self.consumer_keys.get(&id) {
                    self.end_consumer(key, out, events);
                }
            }
        }
    }

    /// The transport of what a command names.
    fn owner_of(&self, command: &MediaCommand) -> Option<usize> {
        match command {
            MediaCommand::ProducerPause(id)
            | MediaCommand::ProducerResume(id)
            | MediaCommand::ProducerKeyframe(id, _)
            | MediaCommand::ProducerPolicy(id, _)
            | MediaCommand::ProducerClose(id) => {
                let key = self.producer_keys.get(id)?;
                self.producers.get(*key).map(|producer| producer.transport)
            }
            MediaCommand::ConsumerSource(id, _, _)
            | MediaCommand::ConsumerPolicy(id, _)
            | MediaCommand::ConsumerPause(id)
            | MediaCommand::ConsumerResume(id)
            | MediaCommand::ConsumerKeyframe(id)
            | MediaCommand::ConsumerClose(id) => {
                let key = self.consumer_keys.get(id)?;
                self.consumers.get(*key).map(|consumer| consumer.transport)
            }
        }
    }

    /// Refuses a change that cannot be applied whole.
    fn check(&self, key: usize, change: &MediaChange) -> Result<(), ApplyError> {
        let transport = &self.transports[key];
        let ends = |mid: &Mid, flow: Flow| change.end.iter().any(|(m, f)| m == mid && *f == flow);

        for (place, (id, spec)) in change.recv.iter().enumerate() {
            let mid = &spec.mid;
            check_codecs(mid, &spec.codecs)?;
            check_extensions(mid, &spec.extensions)?;
            within("simulcast layers", spec.rids.len(), MAX_LAYERS)?;
            within("declared SSRCs", spec.ssrcs.len(), MAX_SSRCS)?;
            within("SSRC groups", spec.groups.len(), MAX_SSRCS)?;
            for group in &spec.groups {
                within("SSRCs in a group", group.ssrcs.len(), MAX_LAYERS)?;
            }
            let mid = || mid.clone();
            if change.recv[..place]
                .iter()
                .any(|(_, other)| other.mid == spec.mid)
            {
                return Err(ApplyError::MidTaken { mid: mid() });
            }
            if change.recv[..place].iter().any(|(other, _)| other == id) {
                return Err(ApplyError::IdTaken { mid: mid() });
            }
            let live = transport
                .producer(spec.mid.as_str())
                .filter(|_| !ends(&spec.mid, Flow::Recv));
            let owner = self.producer_keys.get(id).copied();
            match (live, owner) {
                (Some(live), owner) if owner != Some(live) => {
                    return Err(ApplyError::MidTaken { mid: mid() });
                }
                (None, Some(_)) => return Err(ApplyError::IdTaken { mid: mid() }),
                _ => {}
            }
        }
        within(
            "receiving sections",
            transport.producers.len() + change.recv.len(),
            MAX_SECTIONS,
        )?;

        for (place, (id, spec)) in change.send.iter().enumerate() {
            let before = &change.send[..place];
            let mid = || spec.mid.clone();
            check_codecs(&spec.mid, &spec.codecs)?;
            check_extensions(&spec.mid, &spec.extensions)?;
            if before.iter().any(|(_, other)| other.mid == spec.mid) {
                return Err(ApplyError::MidTaken { mid: mid() });
            }
            if before.iter().any(|(other, _)| other == id) {
                return Err(ApplyError::IdTaken { mid: mid() });
            }
            let live = transport
                .consumer(spec.mid.as_str())
                .filter(|_| !ends(&spec.mid, Flow::Send));
            let owner = self.consumer_keys.get(id).copied();
            match (live, owner) {
                (Some(live), owner) if owner != Some(live) => {
                    return Err(ApplyError::MidTaken { mid: mid() });
                }
                (None, Some(_)) => return Err(ApplyError::IdTaken { mid: mid() }),
                _ => {}
            }
            if let Some(live) = live
                && self.consumers[live].ssrc != spec.ssrc
            {
                let (mid, ssrc) = (mid(), spec.ssrc);
                return Err(ApplyError::Ssrc { mid, ssrc });
            }
            for ssrc in std::iter::once(spec.ssrc).chain(spec.rtx_ssrc) {
                let is_doubled = spec.rtx_ssrc == Some(spec.ssrc)
                    || before
                        .iter()
                        .any(|(_, other)| other.ssrc == ssrc || other.rtx_ssrc == Some(ssrc));
                let is_taken = transport.senders.get(&ssrc).is_some_and(|sender| {
                    let owner = &self.consumers[sender.consumer];
                    Some(sender.consumer) != live && !ends(&owner.mid, Flow::Send)
                });
                if is_doubled || is_taken {
                    return Err(ApplyError::Ssrc { mid: mid(), ssrc });
                }
            }
        }
        within(
            "sending sections",
            transport.consumers.len() + change.send.len(),
            MAX_SECTIONS,
        )
    }

    fn apply_recv(
        &mut self,
        key: usize,
        id: ProducerId,
        spec: &RecvSpec,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let keep = self.config.rtx_cache;
        if let Some(producer) = self.transports[key].producer(spec.mid.as_str()) {
            if self.producers[producer].has_other_layers(spec) {
                self.evict(producer, events);
                for consumer in self.producers[producer].consumers.clone() {
                    self.set_wants(consumer, None, events);
                }
            }
            if self.producers[producer].change(spec, keep) {
                self.transports[key]
                    .bindings
                    .retain(|_, binding| binding.producer() != producer);
            }
            self.choose_all(producer, moment, out, events);
            return;
        }
        let transport = &mut self.transports[key];
        let producer = self.producers.insert(Producer::new(id, key, spec, keep));
        transport.producers.push((spec.mid.clone(), producer));
        self.producer_keys.insert(id, producer);
    }

    fn apply_send(&mut self, key: usize, id: ConsumerId, spec: &SendSpec) {
        let transport = &mut self.transports[key];
        let consumer = match transport.consumer(spec.mid.as_str()) {
            Some(consumer) => {
                let held = &mut self.consumers[consumer];
                if let Some(old) = held.rtx_ssrc {
                    transport.senders.remove(&old);
                }
                held.change(spec, &mut self.random);
                consumer
            }
            None => {
                let made = Consumer::new(id, key, spec, &mut self.random);
                let consumer = self.consumers.insert(made);
                transport.consumers.push((spec.mid.clone(), consumer));
                self.consumer_keys.insert(id, consumer);
                consumer
            }
        };
        let held = &self.consumers[consumer];
        let ssrcs = [(Some(held.ssrc), false), (held.rtx_ssrc, true)];
        for (ssrc, is_rtx) in ssrcs {
            let Some(ssrc) = ssrc else { continue };
            transport.senders.insert(ssrc, Sender { consumer, is_rtx });
            if let Some(sealer) = &mut transport.sealer {
                sealer.expect(ssrc);
            }
        }
    }

    /// Sets or takes away what a consumer forwards; its numbers go on.
    fn set_source(
        &mut self,
        id: ConsumerId,
        source: Option<ProducerId>,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let Some(&key) = self.consumer_keys.get(&id) else {
            return;
        };
        let kind = self.consumers[key].kind;
        let source = source
            .and_then(|source| self.producer_keys.get(&source).copied())
            .filter(|source| self.producers[*source].kind == kind);
        let old = self.consumers[key].source;
        if source != old {
            if let Some(old) = old {
                self.producers[old].consumers.retain(|other| *other != key);
            }
            self.consumers[key].source = source;
            match source {
                Some(source) => self.producers[source].consumers.push(key),
                None => events.push(MediaEvent::ConsumerPaused {
                    consumer: id,
                    reason: PauseReason::Source,
                }),
            }
            match source {
                // A picture goes on until the next is there; sound would only come late.
                Some(_) if kind == MediaKind::Video => self.let_go_on(key, moment.now),
                _ => self.leave(key, events),
            }
        }
        self.choose(key, moment, out, events);
    }

    fn pause_producer(
        &mut self,
        id: ProducerId,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let Some(&key) = self.producer_keys.get(&id) else {
            return;
        };
        if std::mem::replace(&mut self.producers[key].is_paused, true) {
            return;
        }
        events.push(MediaEvent::ProducerPaused {
            producer: id,
            reason: PauseReason::Policy,
        });
        // Of those, some may have another source already.
        self.evict(key, events);
        self.choose_all(key, moment, out, events);
    }

    fn resume_producer(
        &mut self,
        id: ProducerId,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let Some(&key) = self.producer_keys.get(&id) else {
            return;
        };
        let held = &mut self.producers[key];
        if !std::mem::replace(&mut held.is_paused, false) {
            return;
        }
        events.push(MediaEvent::ProducerResumed { producer: id });
        self.choose_all(key, moment, out, events);
    }

    fn end_producer(&mut self, key: usize, events: &mut Vec<MediaEvent>) {
        let transport = self.producers[key].transport;
        self.transports[transport]
            .producers
            .retain(|(_, producer)| *producer != key);
        self.remove_producer(key, events);
    }

    /// Forgets a producer. Keys that mean nothing any more are passed over: a panic may have left some.
    pub(super) fn remove_producer(&mut self, key: usize, events: &mut Vec<MediaEvent>) {
        if !self.producers.contains(key) {
            return;
        }
        self.evict(key, events);
        let producer = self.producers.remove(key);
        self.producer_keys.remove(&producer.id);
        if let Some(transport) = self.transports.get_mut(producer.transport) {
            transport
                .bindings
                .retain(|_, binding| binding.producer() != key);
        }
        for key in producer.consumers {
            let Some(consumer) = self.consumers.get_mut(key) else {
                continue;
            };
            consumer.source = None;
            // Its key may come to mean another producer.
            consumer.wants = None;
            events.push(MediaEvent::ConsumerPaused {
                consumer: consumer.id,
                reason: PauseReason::Source,
            });
            // What went on until this one would begin ends with it.
            self.leave(key, events);
            self.set_target(key, None);
        }
    }

    /// Tells the peer that the stream is over (RFC 3550 §6.6), then forgets it.
    fn end_consumer(&mut self, key: usize, out: &mut impl Outbox, events: &mut Vec<MediaEvent>) {
        let held = &self.consumers[key];
        let ssrc = held.ssrc;
        let has_sent = held.packets > 0;
        let transport = &mut self.transports[held.transport];
        transport.consumers.retain(|(_, consumer)| *consumer != key);
        if has_sent {
            let (sender, mtu) = (transport.rtcp_ssrc, self.config.mtu_bytes);
            transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
                writer.receiver_report(sender, &[]);
                writer.bye(ssrc);
            });
        }
        self.remove_consumer(key, events);
    }

    /// Forgets a consumer, as [`remove_producer`](Self::remove_producer) does.
    pub(super) fn remove_consumer(&mut self, key: usize, events: &mut Vec<MediaEvent>) {
        if !self.consumers.contains(key) {
            return;
        }
        self.set_wants(key, None, events);
        let consumer = self.consumers.remove(key);
        let feeds = [consumer.current, consumer.target, consumer.former];
        for feed in feeds.into_iter().flatten() {
            self.remove_taker(key, feed);
        }
        self.consumer_keys.remove(&consumer.id);
        if let Some(transport) = self.transports.get_mut(consumer.transport) {
            transport.senders.retain(|_, sender| sender.consumer != key);
        }
        let source = consumer.source.and_then(|key| self.producers.get_mut(key));
        if let Some(source) = source {
            source.consumers.retain(|other| *other != key);
        }
    }
}

fn check_codecs(mid: &Mid, codecs: &[CodecSpec]) -> Result<(), ApplyError> {
    if codecs.is_empty() {
        return Err(ApplyError::NoCodec { mid: mid.clone() });
    }
    let types = codecs
        .iter()
        .flat_map(|codec| [Some(codec.pt), codec.rtx_pt, codec.red_pt]);
    match types.flatten().find(|pt| *pt > 127) {
        Some(pt) => Err(ApplyError::PayloadType {
            mid: mid.clone(),
            pt,
        }),
        None => Ok(()),
    }
}

fn check_extensions(mid: &Mid, ids: &ExtensionIds) -> Result<(), ApplyError> {
    let mut seen = [false; 256];
    for id in ids.iter() {
        if id == 0 || std::mem::replace(&mut seen[usize::from(id)], true) {
            return Err(ApplyError::ExtensionId {
                mid: mid.clone(),
                id,
            });
        }
    }
    Ok(())
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), ApplyError> {
    if count > limit {
        return Err(ApplyError::TooMany { what, limit });
    }
    Ok(())
}
