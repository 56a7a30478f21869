//! Which layer of which producer each consumer forwards, and which one it waits for.
//!
//! A consumer stands in the list of takers of the layer it forwards and of the one it awaits, and in no
//! other: a layer without takers is received and counted, and that is all. What is awaited takes over
//! at its keyframe, in `ingress.rs`; everything that may change what is awaited ends in
//! [`choose`](Media::choose).

use std::time::{Duration, Instant};

use super::api::{MediaEvent, Outbox};
use super::era::Feed;
use super::producer::{Producer, layer_of_mut};
use super::timeline::Reference;
use super::timers::Timer;
use super::{Media, Moment};
use crate::spec::{LayerPolicy, MediaKind};

/// How long a source goes on that is to be replaced by another.
pub(super) const CHANGE: Duration = Duration::from_secs(1);
/// How often layers are held against each other.
const LOOK: Duration = Duration::from_millis(100);
/// After which the packets of a layer that nobody takes are forgotten.
pub(super) const FORGET: Duration = Duration::from_secs(10);

impl Producer {
    /// The first layer of a policy that sends; while none does, the one that is forwarded (now), which
    /// may come back.
    fn choose(&self, policy: Option<&LayerPolicy>, now: Option<u8>) -> Option<u8> {
        let count = self.layers.len() as u8;
        let is_there = |layer: &u8| {
            let found = self.layers.get(usize::from(*layer));
            found.is_some_and(|found| found.is_active) && self.takes(*layer)
        };
        candidates(policy, count).find(is_there).or_else(|| {
            let is_meant = |now: &u8| candidates(policy, count).any(|layer| layer == *now);
            now.filter(is_meant)
        })
    }

    /// What tells this producer's time by one of its layers.
    pub(super) fn reference(&self, layer: u8) -> Option<Reference> {
        let layer = self.layers.get(usize::from(layer))?;
        let codec = self.codecs.get(layer.current?.codec)?;
        Some(Reference {
            transport: self.transport,
            clock: layer.clock,
            transit: layer.reception.transit(),
            clock_hz: codec.spec.clock_hz,
        })
    }

    /// Tells that a layer sends nothing any more.
    pub(super) fn stop_layer(&mut self, index: u8, now: Instant, events: &mut Vec<MediaEvent>) {
        let layer = &mut self.layers[usize::from(index)];
        layer.nack.clear();
        layer.pulse.reset();
        if !std::mem::replace(&mut layer.is_active, false) {
            return;
        }
        events.push(MediaEvent::LayerInactive {
            producer: self.id,
            layer: index,
            last_packet: layer.last_packet.unwrap_or(now),
            at: now,
        });
    }
}

/// The layers a policy names, best first; without one, all in their declared order.
fn candidates(policy: Option<&LayerPolicy>, count: u8) -> impl Iterator<Item = u8> {
    let (target, rest) = match policy {
        Some(policy) => (Some(policy.target), &policy.when_missing[..]),
        None => (None, &[][..]),
    };
    let all = if policy.is_some() { 0 } else { count };
    target.into_iter().chain(rest.iter().copied()).chain(0..all)
}

impl Media {
    /// Decides anew what a consumer is to forward.
    pub(super) fn choose(
        &mut self,
        key: usize,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let awaited = self.await_layer(key, events);
        // The first packet asks for those who wait before there is any.
        if let Some(feed) = awaited {
            self.ask_for(key, feed, moment, out);
        }
    }

    /// As [`choose`](Self::choose), for everybody whose source is `producer`.
    pub(super) fn choose_all(
        &mut self,
        producer: usize,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        for place in 0..self.producers[producer].consumers.len() {
            let consumer = self.producers[producer].consumers[place];
            self.choose(consumer, moment, out, events);
        }
    }

    /// A layer has begun with the packet that is being received: whoever prefers it awaits it. Asking
    /// for its keyframe is left to when that packet turns out to be none.
    pub(super) fn on_layer_begun(&mut self, producer: usize, events: &mut Vec<MediaEvent>) {
        for place in 0..self.producers[producer].consumers.len() {
            let consumer = self.producers[producer].consumers[place];
            self.await_layer(consumer, events);
        }
    }

    /// Sets what a consumer awaits. Returns it if it is something new.
    fn await_layer(&mut self, key: usize, events: &mut Vec<MediaEvent>) -> Option<Feed> {
        let held = self.consumers.get(key)?;
        let (current, target) = (held.current, held.target);
        let source = held.source.filter(|_| !held.is_paused);
        let producer = source.and_then(|source| Some((source, self.producers.get(source)?)));
        let now = current.filter(|feed| Some(feed.producer) == source);
        let chosen = producer.and_then(|(source, producer)| {
            let layer = match producer.is_paused {
                true => None,
                false => producer.choose(held.policy(), now.map(|feed| feed.layer)),
            };
            layer.map(|layer| Feed {
                producer: source,
                layer,
            })
        });
        let wants = producer.map(|(source, producer)| {
            let count = producer.layers.len() as u8;
            let policy = held.policy();
            let first = candidates(policy, count).next();
            let stands_for = chosen.map(|feed| feed.layer);
            let target = match policy {
                Some(_) => first,
                None => stands_for.or(first),
            };
            let wanted = target.into_iter().chain(stands_for);
            let bits = wanted.filter(|layer| *layer < count);
            (source, bits.fold(0, |mask, layer| mask | 1u8 << layer))
        });
        let goes_on = match now {
            Some(_) => chosen.is_some(),
            // Another source's, until its time is up.
            None => source.is_some() && held.change_due.is_some(),
        };
        let next = chosen.filter(|feed| Some(*feed) != current);
        self.set_wants(key, wants, events);
        if current.is_some() && !goes_on {
            self.leave(key, events);
        }
        if now.is_some() {
            self.consumers[key].change_due = None;
        }
        if next == target {
            return None;
        }
        self.set_target(key, next);
        next
    }

    /// Asks for the keyframe with which a consumer can begin.
    pub(super) fn ask_for(
        &mut self,
        key: usize,
        feed: Feed,
        moment: Moment,
        out: &mut impl Outbox,
    ) {
        let held = &self.consumers[key];
        let is_heard = self.transports[held.transport].is_ready();
        if held.kind == MediaKind::Video && is_heard {
            let is_waiting = held.target == Some(feed);
            self.ask_keyframe(feed, is_waiting, moment, out);
        }
    }

    /// A consumer forwards nothing from now on.
    pub(super) fn leave(&mut self, key: usize, events: &mut Vec<MediaEvent>) {
        let held = &mut self.consumers[key];
        let Some(feed) = held.current else {
            return;
        };
        let producer = self.producers.get(feed.producer);
        held.leave(producer.and_then(|producer| producer.reference(feed.layer)));
        if held.target != Some(feed) {
            self.remove_taker(key, feed);
        }
        self.tell_layer(key, events);
    }

    pub(super) fn set_target(&mut self, key: usize, target: Option<Feed>) {
        let held = &mut self.consumers[key];
        let old = held.target;
        let current = held.current;
        held.set_target(target);
        if let Some(old) = old.filter(|old| Some(*old) != current && Some(*old) != target) {
            self.remove_taker(key, old);
        }
        if let Some(feed) = target.filter(|feed| Some(*feed) != old && Some(*feed) != current) {
            self.add_taker(key, feed);
        }
    }

    fn add_taker(&mut self, key: usize, feed: Feed) {
        let keep = self.config.rtx_cache;
        let Some(producer) = self.producers.get_mut(feed.producer) else {
            return;
        };
        let kind = producer.kind;
        if let Some(layer) = producer.layers.get_mut(usize::from(feed.layer)) {
            layer.takers.push(key);
            layer.untaken_since = None;
            layer.keep(kind, keep);
        }
    }

    pub(super) fn remove_taker(&mut self, key: usize, feed: Feed) {
        let Some(layer) = layer_of_mut(&mut self.producers, feed) else {
            return;
        };
        if let Some(place) = layer.takers.iter().position(|taker| *taker == key) {
            layer.takers.swap_remove(place);
        }
        if layer.takers.is_empty() {
            layer.nack.clear();
            layer.untaken_since = self.last;
        }
    }

    /// Everybody who forwards or awaits a layer of this producer does so no longer.
    pub(super) fn evict(&mut self, producer: usize, events: &mut Vec<MediaEvent>) {
        let is_its = |feed: Option<Feed>| feed.is_some_and(|feed| feed.producer == producer);
        for layer in 0..self.producers[producer].layers.len() {
            let takers = self.producers[producer].layers[layer].takers.clone();
            for key in takers {
                let Some(held) = self.consumers.get(key) else {
                    continue;
                };
                if is_its(held.target) {
                    self.set_target(key, None);
                }
                if is_its(self.consumers[key].current) {
                    self.leave(key, events);
                }
            }
            let layer = &mut self.producers[producer].layers[layer];
            layer.takers.clear();
        }
    }

    /// What a consumer forwards is told if it has not been.
    pub(super) fn tell_layer(&mut self, key: usize, events: &mut Vec<MediaEvent>) {
        let held = &mut self.consumers[key];
        if held.kind != MediaKind::Video || held.told == held.current {
            return;
        }
        held.told = held.current;
        events.push(MediaEvent::ConsumerLayer {
            consumer: held.id,
            layer: held.current.map(|feed| feed.layer),
        });
    }

    /// Counts a consumer as wanting these layers of a producer, and no others.
    pub(super) fn set_wants(
        &mut self,
        key: usize,
        wants: Option<(usize, u8)>,
        events: &mut Vec<MediaEvent>,
    ) {
        let held = &mut self.consumers[key];
        if held.kind != MediaKind::Video || held.wants == wants {
            return;
        }
        let old = std::mem::replace(&mut held.wants, wants);
        for (wants, is_more) in [(old, false), (wants, true)] {
            if let Some((producer, mask)) = wants
                && let Some(producer) = self.producers.get_mut(producer)
            {
                producer.count_wanted(mask, is_more);
            }
        }
        for (producer, _) in old.into_iter().chain(wants) {
            let Some(held) = self.producers.get_mut(producer) else {
                continue;
            };
            if let Some(layers) = held.changed_demand() {
                events.push(MediaEvent::LayerDemand {
                    producer: held.id,
                    layers,
                });
            }
        }
    }

    /// A packet of one layer has come: the others may have stopped beside it.
    pub(super) fn look_for_stopped(
        &mut self,
        producer: usize,
        layer: u8,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let now = moment.now;
        let held = &mut self.producers[producer];
        if held.next_look.is_some_and(|at| now < at) {
            return;
        }
        held.next_look = Some(now + LOOK);
        let mut has_stopped = false;
        for other in 0..held.layers.len() {
            let going = &held.layers[usize::from(layer)];
            let other_layer = &held.layers[other];
            if other != usize::from(layer)
                && other_layer.is_active
                && other_layer.pulse.has_stopped_beside(&going.pulse, now)
            {
                has_stopped = true;
                held.stop_layer(other as u8, now, events);
            }
        }
        if has_stopped {
            self.choose_all(producer, moment, out, events);
        }
    }

    /// The present source goes on until another begins, but not for ever.
    pub(super) fn let_go_on(&mut self, key: usize, now: Instant) {
        let due = &mut self.consumers[key].change_due;
        *due = None;
        self.timers.at(due, now + CHANGE, Timer::Change(key));
    }
}
