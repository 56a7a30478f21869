//! What is due by time: reports, feedback, repeated NACKs, keyframe requests that were held back.

use std::time::{Duration, Instant};

use super::api::{MediaEvent, Outbox};
use super::era::Feed;
use super::layers::FORGET;
use super::producer::{layer_of, layer_of_mut};
use super::timers::Timer;
use super::{Media, Moment};
use crate::strike;

/// Between two receiver reports. libwebrtc's loss-based control works at this pace.
pub(super) const RECEIVER_REPORTS: Duration = Duration::from_secs(1);
/// Items of one compound, report blocks and source descriptions together.
const MAX_ITEMS: usize = 30;
/// What a publisher without transport-wide feedback may send while nobody caps it, in bits a second:
/// more than any camera, so that loss is what limits it.
const UNCAPPED_BPS: u64 = 50_000_000;
/// SSRCs named in a REMB.
const MAX_REMB_SSRCS: usize = 32;
/// Packets asked for by one NACK. Far apart each takes four bytes, and it has to fit a datagram.
const MAX_NACK: usize = 128;
/// Silence of a publisher after which asking for keyframes is pointless until it returns.
const ASK_WHILE: Duration = Duration::from_secs(2);

impl Media {
    /// Does what is due: reports, feedback, repeated NACKs, throttled keyframe requests.
    pub fn on_timer(&mut self, now: Instant, out: &mut impl Outbox, events: &mut Vec<MediaEvent>) {
        let moment = self.moment(now);
        while let Some((at, timer)) = self.timers.take(now) {
            if !self.is_current(at, timer) {
                continue;
            }
            self.at_work = self.owner(timer);
            strike!(MediaTimer, self.worked_for());
            match timer {
                Timer::Feedback(key) => self.send_feedback(key, out),
                Timer::ReceiverReports(key) => {
                    self.look_after_layers(key, moment, out, events);
                    self.send_receiver_reports(key, moment, out);
                    let due = &mut self.transports[key].reports_due;
                    self.timers.at(due, now + RECEIVER_REPORTS, timer);
                }
                Timer::SenderReports(key) => {
                    self.send_sender_reports(key, moment, out);
                    let due = &mut self.transports[key].sender_reports_due;
                    self.timers.at(due, now + self.config.sr_interval, timer);
                }
                Timer::Nack(feed) => self.send_nacks(feed, moment, out),
                Timer::Keyframe(feed) => self.on_keyframe_due(feed, moment, out),
                Timer::Change(consumer) => self.choose(consumer, moment, out, events),
            }
        }
    }

    fn on_keyframe_due(&mut self, feed: Feed, moment: Moment, out: &mut impl Outbox) {
        let now = moment.now;
        let has_waiting = self.has_waiting(feed);
        let held = &mut self.producers[feed.producer];
        let layer = &mut held.layers[usize::from(feed.layer)];
        let has_waiting = has_waiting && !layer.is_silent(now, ASK_WHILE);
        let is_due = layer.keyframes.on_timer(now, has_waiting);
        if is_due && !held.is_paused {
            self.send_keyframe_request(feed, moment, out);
        } else if let Some(next) = layer.keyframes.next(has_waiting)
            && next > now
        {
            // The round trip has grown since this was set, or nobody waits who is worth a hurry.
            let timer = Timer::Keyframe(feed);
            self.timers.at(&mut layer.keyframe_due, next, timer);
        }
    }

    /// The transport a timer belongs to.
    fn owner(&self, timer: Timer) -> Option<usize> {
        match timer {
            Timer::Feedback(key) | Timer::ReceiverReports(key) | Timer::SenderReports(key) => {
                Some(key)
            }
            Timer::Nack(feed) | Timer::Keyframe(feed) => self
                .producers
                .get(feed.producer)
                .map(|producer| producer.transport),
            Timer::Change(key) => self.consumers.get(key).map(|consumer| consumer.transport),
        }
    }

    /// Caps what the peer may send, in bits a second, by REMB; `None` lifts the cap. Told at once.
    pub fn set_max_in(
        &mut self,
        transport: crate::spec::TransportId,
        max_in_bps: Option<u64>,
        now: Instant,
        out: &mut impl Outbox,
    ) {
        let Some(&key) = self.transport_keys.get(&transport) else {
            return;
        };
        self.moment(now);
        let was_capped = self.transports[key].max_in_bps.is_some();
        self.transports[key].max_in_bps = max_in_bps;
        if max_in_bps.is_some() || was_capped {
            let rate = max_in_bps.unwrap_or(UNCAPPED_BPS);
            self.send_remb(key, rate, out);
        }
    }

    /// Whether the owner still wants `timer` at `at`; if so it is taken as fired.
    fn is_current(&mut self, at: Instant, timer: Timer) -> bool {
        let due = match timer {
            Timer::Feedback(key) => self.transports.get_mut(key).map(|t| &mut t.feedback_due),
            Timer::ReceiverReports(key) => self.transports.get_mut(key).map(|t| &mut t.reports_due),
            Timer::SenderReports(key) => self
                .transports
                .get_mut(key)
                .map(|t| &mut t.sender_reports_due),
            Timer::Nack(feed) => {
                layer_of_mut(&mut self.producers, feed).map(|layer| &mut layer.nack_due)
            }
            Timer::Keyframe(feed) => {
                layer_of_mut(&mut self.producers, feed).map(|layer| &mut layer.keyframe_due)
            }
            Timer::Change(key) => self.consumers.get_mut(key).map(|c| &mut c.change_due),
        };
        match due {
            Some(due) if *due == Some(at) => {
                *due = None;
                true
            }
            _ => false,
        }
    }

    fn send_feedback(&mut self, key: usize, out: &mut impl Outbox) {
        let transport = &mut self.transports[key];
        let Some(mut arrivals) = transport.arrivals.take() else {
            return;
        };
        let (sender, media) = (transport.rtcp_ssrc, transport.feedback_ssrc);
        while arrivals.is_due() {
            let mut is_written = false;
            let mtu = self.config.mtu_bytes;
            transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
                is_written = arrivals.write(writer, sender, media);
            });
            if !is_written {
                break;
            }
        }
        self.transports[key].arrivals = Some(arrivals);
    }

    fn send_receiver_reports(&mut self, key: usize, moment: Moment, out: &mut impl Outbox) {
        let transport = &mut self.transports[key];
        let (sender, mtu) = (transport.rtcp_ssrc, self.config.mtu_bytes);
        let mut reports = Vec::new();
        for (_, producer) in &transport.producers {
            for layer in &mut self.producers[*producer].layers {
                if let (Some(ssrc), Some(_)) = (layer.ssrc, layer.reception.top()) {
                    reports.push(layer.reception.report(ssrc, layer.clock, moment.now));
                }
            }
        }
        let cname = std::mem::take(&mut transport.cname);
        for (n, reports) in reports.chunks(MAX_ITEMS - 1).enumerate() {
            transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
                writer.receiver_report(sender, reports);
                writer.cname(sender, &cname);
                if n == 0 {
                    writer.reference_time(sender, moment.ntp());
                }
            });
        }
        transport.cname = cname;

        let is_remb_alone = transport.has_remb && !transport.has_twcc;
        let rate = transport
            .max_in_bps
            .or(is_remb_alone.then_some(UNCAPPED_BPS));
        if let Some(rate) = rate.filter(|_| !reports.is_empty()) {
            self.send_remb(key, rate, out);
        }
    }

    fn send_remb(&mut self, key: usize, rate_bps: u64, out: &mut impl Outbox) {
        let transport = &mut self.transports[key];
        let (sender, mtu) = (transport.rtcp_ssrc, self.config.mtu_bytes);
        let mut ssrcs = [0; MAX_REMB_SSRCS];
        let mut count = 0;
        let layers = transport
            .producers
            .iter()
            .flat_map(|(_, producer)| &self.producers[*producer].layers);
        for (slot, ssrc) in ssrcs.iter_mut().zip(layers.filter_map(|layer| layer.ssrc)) {
            *slot = ssrc;
            count += 1;
        }
        transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
            writer.receiver_report(sender, &[]);
            writer.remb(sender, rate_bps, &ssrcs[..count]);
        });
    }

    /// Sender reports of every consumer whose turn it is, each with its name. What they say is what
    /// the publisher said, on the consumer's timeline: NTP times are never made here.
    fn send_sender_reports(&mut self, key: usize, moment: Moment, out: &mut impl Outbox) {
        let transport = &mut self.transports[key];
        let interval = self.config.sr_interval;
        // Those nearly due go along, so that a transport's reports stay together.
        let horizon = moment.now + interval / 4;
        let mut due = Vec::new();
        for (_, consumer_key) in &transport.consumers {
            let consumer = &self.consumers[*consumer_key];
            if consumer.next_sr.is_none_or(|at| at > horizon) {
                continue;
            }
            let clock = consumer
                .current
                .and_then(|feed| layer_of(&self.producers, feed))
                .and_then(|layer| layer.clock);
            if let Some(info) = clock.and_then(|clock| consumer.sender_info(&clock)) {
                due.push((*consumer_key, info));
            }
        }
        let mtu = self.config.mtu_bytes;
        let mut rest = &due[..];
        while !rest.is_empty() {
            let mut written = 0;
            transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
                for (consumer, info) in rest.iter().take(MAX_ITEMS / 2) {
                    if !writer.sender_report(info, &[]) {
                        break;
                    }
                    writer.cname(info.ssrc, &self.consumers[*consumer].cname);
                    written += 1;
                }
            });
            for (consumer, info) in &rest[..written] {
                let consumer = &mut self.consumers[*consumer];
                consumer.on_report_sent(info.ntp, moment.now);
                consumer.next_sr = Some(moment.now + interval);
            }
            if written == 0 {
                break;
            }
            rest = &rest[written..];
        }
    }

    fn send_nacks(&mut self, feed: Feed, moment: Moment, out: &mut impl Outbox) {
        let held = &mut self.producers[feed.producer];
        let layer = &mut held.layers[usize::from(feed.layer)];
        let mut numbers = std::mem::take(&mut self.numbers);
        let rtt = self.transports[held.transport].measured_rtt;
        let given_up = layer.nack.take_due(moment.now, rtt, &mut numbers);
        if let Some(at) = layer.nack.next_due() {
            self.timers.at(&mut layer.nack_due, at, Timer::Nack(feed));
        }
        if let Some(media) = layer.ssrc.filter(|_| !numbers.is_empty()) {
            layer.stats.nacks += numbers.len() as u64;
            self.counters.nacks_out += numbers.len() as u64;
            let transport = &mut self.transports[held.transport];
            let sender = transport.rtcp_ssrc;
            let mtu = self.config.mtu_bytes;
            for numbers in numbers.chunks(MAX_NACK) {
                transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
                    writer.nack(sender, media, numbers);
                });
            }
        }
        numbers.clear();
        self.numbers = numbers;
        self.counters.given_up += given_up.map_or(0, |packets| packets.count);
        let is_broken =
            given_up.is_some_and(|packets| !layer.keyframes.makes_up_for(packets.highest));
        if is_broken && self.is_anyone_there(feed) {
            self.ask_keyframe(feed, self.has_waiting(feed), moment, out);
        }
    }

    /// Layers from which nothing has come for a while are told once, and what is kept of those that
    /// nobody takes any more is forgotten.
    fn look_after_layers(
        &mut self,
        key: usize,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let (now, limit) = (moment.now, self.config.layer_silence);
        for place in 0..self.transports[key].producers.len() {
            let producer = self.transports[key].producers[place].1;
            let held = &mut self.producers[producer];
            let mut has_stopped = false;
            for index in 0..held.layers.len() {
                let layer = &mut held.layers[index];
                let is_over = |since| now.saturating_duration_since(since) > FORGET;
                if layer.untaken_since.is_some_and(is_over) {
                    layer.cache = None;
                    layer.untaken_since = None;
                }
                if layer.is_active && layer.is_silent(now, limit) {
                    has_stopped = true;
                    held.stop_layer(index as u8, now, events);
                }
            }
            if has_stopped {
                self.choose_all(producer, moment, out, events);
            }
        }
    }
}
