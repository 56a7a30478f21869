//! What peers say about packets: reports, repeats asked for, keyframes asked for.

use std::time::Instant;

use super::api::{MediaEvent, Outbox};
use super::consumer::Again;
use super::era::Feed;
use super::ingress::Resend;
use super::keyframes::Ask;
use super::producer::{Binding, layer_of};
use super::reception::{SenderClock, middle};
use super::timers::Timer;
use super::{Media, Moment};
use crate::rtcp::{Compound, Packet, ReportBlocks, XrBlock, XrBlocks};
use crate::srtp::OpenError;
use std::time::Duration;

/// Packets one NACK may ask for; the rest of it is left for the next.
const MAX_NACKED: usize = 256;

impl Media {
    pub(super) fn on_rtcp(
        &mut self,
        key: usize,
        moment: Moment,
        datagram: &mut [u8],
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) -> bool {
        let Some(opener) = &mut self.transports[key].opener else {
            self.counters.drop_no_keys += 1;
            return false;
        };
        let len = match opener.open_rtcp(datagram) {
            Ok(len) => len,
            Err(error) => {
                match error {
                    OpenError::Replayed => self.counters.drop_replayed += 1,
                    OpenError::Forged => self.counters.drop_forged += 1,
                    OpenError::Malformed => self.counters.drop_malformed += 1,
                    OpenError::Exhausted => self.counters.drop_unbound += 1,
                }
                return false;
            }
        };
        self.counters.rtcp_in += 1;
        for packet in Compound::new(&datagram[..len]) {
            self.on_packet(key, packet, moment, out, events);
        }
        true
    }

    fn on_packet(
        &mut self,
        key: usize,
        packet: Packet<'_>,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        match packet {
            Packet::SenderReport {
                ssrc,
                ntp,
                rtp,
                reports,
                ..
            } => {
                self.on_sender_report(key, ssrc, ntp, rtp, moment.now);
                self.on_reports(key, reports, moment.now);
            }
            Packet::ReceiverReport { reports, .. } => self.on_reports(key, reports, moment.now),
            Packet::Nack { media, lost, .. } => {
                let Some(consumer) = self.consumer_of(key, media) else {
                    return;
                };
                let mut numbers = std::mem::take(&mut self.numbers);
                numbers.extend(lost.take(MAX_NACKED));
                for seq in numbers.drain(..) {
                    let held = &mut self.consumers[consumer];
                    let transport = &self.transports[key];
                    match held.on_nack(seq, transport, moment, out, &mut self.counters) {
                        Again::Resend(lost) => match held.origin(&lost) {
                            Some(origin) => {
                                let (input, how) = (lost.input, Resend::Lost(lost));
                                self.resend(consumer, origin, input, how, moment, out);
                            }
                            None => self.counters.nack_missed += 1,
                        },
                        Again::NotYet(input) if self.is_awaited(consumer, input) => {
                            self.counters.nack_ahead += 1;
                        }
                        Again::NotYet(_) | Again::Gone => self.counters.nack_missed += 1,
                        Again::Settled => {}
                    }
                }
                self.numbers = numbers;
            }
            Packet::Pli { media, .. } => {
                if let Some(consumer) = self.consumer_of(key, media) {
                    self.on_keyframe_request(consumer, moment, out);
                }
            }
            Packet::Extended { blocks, .. } => self.on_extended(key, blocks, moment),
            Packet::Fir { entries, .. } => {
                for (ssrc, command) in entries {
                    let Some(consumer) = self.consumer_of(key, ssrc) else {
                        continue;
                    };
                    // RFC 5104 §4.3.1.1: the same command number is a repetition.
                    let last = self.consumers[consumer].last_fir.replace(command);
                    if last != Some(command) {
                        self.on_keyframe_request(consumer, moment, out);
                    }
                }
            }
            Packet::Remb { bitrate_bps, .. } => {
                self.transports[key].remb_bps = Some(bitrate_bps);
            }
            Packet::Bye(list) => {
                for ssrc in list {
                    self.on_bye(key, ssrc, moment, out, events);
                }
            }
            // Estimation toward subscribers will read the feedback; names are not ours to keep.
            Packet::Twcc { .. } | Packet::SourceDescription(_) | Packet::Other { .. } => {}
        }
    }

    /// The publisher says which moment its timestamps mean.
    fn on_sender_report(&mut self, key: usize, ssrc: u32, ntp: u64, rtp: u32, now: Instant) {
        let Some(Binding::Media { producer, layer }) =
            self.transports[key].bindings.get(&ssrc).copied()
        else {
            return;
        };
        let feed = Feed { producer, layer };
        let layer = &mut self.producers[producer].layers[usize::from(layer)];
        let Some(rtp) = layer.timestamp_of(rtp) else {
            return;
        };
        let is_first = layer.clock.is_none();
        layer.clock = Some(SenderClock {
            ntp,
            rtp,
            arrived: now,
        });
        if !is_first {
            return;
        }
        // Until now these could not be told: without it audio and video are not in sync.
        for consumer in &layer.takers {
            let consumer = &mut self.consumers[*consumer];
            if consumer.current != Some(feed) {
                continue;
            }
            consumer.next_sr = Some(now);
            let timer = Timer::SenderReports(consumer.transport);
            let due = &mut self.transports[consumer.transport].sender_reports_due;
            self.timers.at(due, now, timer);
        }
    }

    fn on_reports(&mut self, key: usize, reports: ReportBlocks<'_>, now: Instant) {
        for report in reports {
            if let Some(consumer) = self.consumer_of(key, report.ssrc)
                && let Some(rtt) = self.consumers[consumer].on_report(&report, now)
            {
                self.transports[key].on_rtt(rtt);
            }
        }
    }

    /// The peer's answer to our time of reference tells the round trip where we send nothing.
    fn on_extended(&mut self, key: usize, blocks: XrBlocks<'_>, moment: Moment) {
        let transport = &mut self.transports[key];
        let ours = transport.rtcp_ssrc;
        for block in blocks {
            let XrBlock::Delays(delays) = block else {
                continue;
            };
            for delay in delays.filter(|delay| delay.ssrc == ours) {
                if delay.last_reference == 0 {
                    continue;
                }
                let passed = middle(moment.ntp())
                    .wrapping_sub(delay.last_reference)
                    .wrapping_sub(delay.since);
                // A difference of half the numbers' range or more is a negative one.
                if passed < 1 << 31 {
                    let nanos = u64::from(passed) * 1_000_000_000 / 65_536;
                    transport.on_rtt(Duration::from_nanos(nanos));
                }
            }
        }
    }

    /// Whether a packet of what a consumer forwards, not there yet, has been asked for.
    fn is_awaited(&self, consumer: usize, input: u64) -> bool {
        let feed = self.consumers[consumer].current;
        let layer = feed.and_then(|feed| layer_of(&self.producers, feed));
        layer.is_some_and(|layer| layer.nack.is_missing(input))
    }

    /// The consumer that sends media with `ssrc` on this transport.
    fn consumer_of(&self, key: usize, ssrc: u32) -> Option<usize> {
        let sender = self.transports[key].senders.get(&ssrc)?;
        (!sender.is_rtx).then_some(sender.consumer)
    }

    fn on_keyframe_request(&mut self, consumer: usize, moment: Moment, out: &mut impl Outbox) {
        let held = &mut self.consumers[consumer];
        held.plis += 1;
        self.counters.keyframe_requests_in += 1;
        // What begins soon mends what is broken now.
        let Some(feed) = held.target.or(held.current) else {
            return;
        };
        let is_waiting = held.target == Some(feed);
        let rtt = self.transports[held.transport].rtt();
        let layer = &self.producers[feed.producer].layers[usize::from(feed.layer)];
        // Whoever has begun has been sent that keyframe, and asked before it got there.
        if !is_waiting && layer.keyframes.is_on_its_way(moment.now, rtt) {
            self.counters.keyframe_requests_late += 1;
            return;
        }
        self.ask_keyframe(feed, is_waiting, moment, out);
    }

    /// Asks the publisher for a keyframe, or remembers to when the last question is too recent.
    ///
    /// is_waiting: somebody cannot begin without it.
    pub(super) fn ask_keyframe(
        &mut self,
        feed: Feed,
        is_waiting: bool,
        moment: Moment,
        out: &mut impl Outbox,
    ) {
        let Some(held) = self.producers.get_mut(feed.producer) else {
            return;
        };
        let is_gated = held.codecs.iter().any(|codec| codec.codec.has_keyframes());
        let Some(layer) = held.layers.get_mut(usize::from(feed.layer)) else {
            return;
        };
        // Without an SSRC there is nobody to ask; the first packet asks for those who wait.
        if layer.ssrc.is_none() || !is_gated || held.is_paused {
            return;
        }
        if let Some(rtt) = self.transports[held.transport].measured_rtt {
            layer.keyframes.set_rtt(rtt);
        }
        match layer.keyframes.ask(is_waiting, moment.now) {
            Ask::Now => self.send_keyframe_request(feed, moment, out),
            Ask::At(at) => self
                .timers
                .at(&mut layer.keyframe_due, at, Timer::Keyframe(feed)),
        }
    }

    pub(super) fn send_keyframe_request(
        &mut self,
        feed: Feed,
        moment: Moment,
        out: &mut impl Outbox,
    ) {
        let held = &mut self.producers[feed.producer];
        let layer = &mut held.layers[usize::from(feed.layer)];
        let Some(media) = layer.ssrc else {
            return;
        };
        layer.stats.plis += 1;
        self.counters.keyframe_requests_out += 1;
        let at = layer.keyframes.next(true).unwrap_or(moment.now);
        self.timers
            .at(&mut layer.keyframe_due, at, Timer::Keyframe(feed));
        let before = self.at_work.replace(held.transport);
        let transport = &mut self.transports[held.transport];
        let sender = transport.rtcp_ssrc;
        let mtu = self.config.mtu_bytes;
        transport.send_rtcp(mtu, out, &mut self.counters, |writer| {
            writer.pli(sender, media);
        });
        self.at_work = before;
    }

    fn on_bye(
        &mut self,
        key: usize,
        ssrc: u32,
        moment: Moment,
        out: &mut impl Outbox,
        events: &mut Vec<MediaEvent>,
    ) {
        let Some(Binding::Media { producer, layer }) =
            self.transports[key].bindings.get(&ssrc).copied()
        else {
            return;
        };
        self.producers[producer].stop_layer(layer, moment.now, events);
        self.choose_all(producer, moment, out, events);
    }
}
