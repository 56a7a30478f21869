//! One sender on a transport: fixed numbers toward the peer, whatever its source does.

use std::time::{Duration, Instant};

use super::Moment;
use super::api::Outbox;
use super::budget::Budget;
use super::counters::MediaCounters;
use super::era::{Eras, Feed, Stream};
use super::history::{History, Repeats, Sent, Was};
use super::matching::{OutCodec, matching};
use super::outgoing::{Body, Incoming, Outgoing, build};
use super::pictures::LastPicture;
use super::random::Random;
use super::reception::{SenderClock, middle};
use super::temporal::{ALL, Temporal};
use super::timeline::{Reference, Timeline};
use super::transport::Transport;
use super::unwrap::{near16, near32};
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::ExtensionList;
use crate::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, LayerPolicy, MediaKind, Mid, SendSpec,
};

/// A question that comes again within a round trip is about what is still on its way.
const LEAST_REPEAT: Duration = Duration::from_millis(10);
const MOST_REPEAT: Duration = Duration::from_millis(500);

/// Whether a consumer begins with a packet of the feed it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begins {
    Yes,
    No,
    /// The section does not list the codec; said once for each payload type.
    NoCodec,
}

/// What came of forwarding a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Forwarded {
    Yes,
    No,
    /// The section does not list the codec; said once for each payload type.
    NoCodec,
}

/// What is to be done about a packet that a peer asks for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Again {
    /// This one, by [`retransmit`](Consumer::retransmit).
    Resend(Lost),
    /// Nothing: it has been sent again, or is not to be.
    Settled,
    /// It was never sent; the packet of what is forwarded now that will bear the number.
    NotYet(u64),
    /// It is not kept any more, or never was.
    Gone,
}

/// How lost packets are sent again.
enum Repair {
    None,
    /// As retransmissions with numbers of their own (RFC 4588).
    Rtx {
        ssrc: u32,
        next_seq: u64,
        history: History,
    },
    /// As they were.
    Repeat(Repeats),
}

/// What the peer's receiver reports said last.
#[derive(Clone, Copy, Default)]
pub(super) struct PeerView {
    pub lost: u64,
    pub fraction_lost: u8,
    pub rtt: Option<Duration>,
}

pub(super) struct Consumer {
    pub id: ConsumerId,
    pub transport: usize,
    pub mid: Mid,
    pub kind: MediaKind,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    pub cname: String,
    codecs: Vec<CodecSpec>,
    extensions: ExtensionIds,
    is_transport_seq_wanted: bool,

    /// Key of the producer that is to be forwarded.
    pub source: Option<usize>,
    policy: Option<LayerPolicy>,
    max_temporal: u8,
    pub is_paused: bool,
    /// What is forwarded.
    pub current: Option<Feed>,
    /// What is to be forwarded instead, from its next keyframe on.
    pub target: Option<Feed>,
    /// What was forwarded before `current`, until it has been told of that.
    pub former: Option<Feed>,
    /// What Python was last told to be forwarded.
    pub told: Option<Feed>,
    /// The layers of a producer, by its key, that the consumer counts as wanting.
    pub wants: Option<(usize, u8)>,
    /// Until then another source than `source` may go on.
    pub change_due: Option<Instant>,
    pub has_begun: bool,

    eras: Eras,
    time: Timeline,
    last_picture: LastPicture,
    temporal: Temporal,
    /// The last payload type of what is forwarded that was looked up.
    looked_up: Option<(u8, Option<OutCodec>)>,
    /// A payload type of what is awaited that the section does not list.
    denied: Option<u8>,
    repair: Repair,
    budget: Budget,

    /// A report of the peer named our SSRC, so the MID extension has done its work.
    is_known: bool,
    pub peer: PeerView,
    sr_sent: Option<(u32, Instant)>,
    pub next_sr: Option<Instant>,
    pub last_fir: Option<u8>,

    pub packets: u64,
    pub bytes: u64,
    payload_bytes: u64,
    pub retransmitted: u64,
    pub nacks: u64,
    pub plis: u64,
}

impl Consumer {
    pub fn new(id: ConsumerId, transport: usize, spec: &SendSpec, random: &mut Random) -> Self {
        let mut consumer = Consumer {
            id,
            transport,
            mid: spec.mid.clone(),
            kind: spec.kind,
            ssrc: spec.ssrc,
            rtx_ssrc: None,
            cname: String::new(),
            codecs: Vec::new(),
            extensions: ExtensionIds::default(),
            is_transport_seq_wanted: false,
            source: None,
            policy: None,
            max_temporal: ALL,
            is_paused: false,
            current: None,
            target: None,
            former: None,
            told: None,
            wants: None,
            change_due: None,
            has_begun: false,
            eras: Eras::new(random.first_seq()),
            time: Timeline::new(random.u32()),
            last_picture: LastPicture::default(),
            temporal: Temporal::default(),
            looked_up: None,
            denied: None,
            repair: Repair::None,
            budget: Budget::default(),
            is_known: false,
            peer: PeerView::default(),
            sr_sent: None,
            next_sr: None,
            last_fir: None,
            packets: 0,
            bytes: 0,
            payload_bytes: 0,
            retransmitted: 0,
            nacks: 0,
            plis: 0,
        };
        consumer.change(spec, random);
        consumer
    }

    /// Takes over a new description of the same section. Its numbers stay.
    pub fn change(&mut self, spec: &SendSpec, random: &mut Random) {
        self.codecs.clone_from(&spec.codecs);
        self.extensions = spec.extensions;
        self.is_transport_seq_wanted = spec.feedback == Feedback::Twcc;
        self.cname.clone_from(&spec.cname);
        self.looked_up = None;
        self.denied = None;
        let has_rtx = spec.codecs.iter().any(|codec| codec.rtx_pt.is_some());
        self.rtx_ssrc = spec.rtx_ssrc.filter(|_| has_rtx);
        match (&self.repair, spec.nack, self.rtx_ssrc) {
            (Repair::Rtx { ssrc, .. }, true, Some(wanted)) if *ssrc == wanted => {}
            (Repair::Repeat(_), true, None) => {}
            (_, true, Some(ssrc)) => {
                self.repair = Repair::Rtx {
                    ssrc,
                    next_seq: random.first_seq(),
                    history: History::new(self.kind),
                };
            }
            (_, true, None) => self.repair = Repair::Repeat(Repeats::new(self.kind)),
            (_, false, _) => self.repair = Repair::None,
        }
    }

    pub fn policy(&self) -> Option<&LayerPolicy> {
        self.policy.as_ref()
    }

    pub fn set_policy(&mut self, policy: LayerPolicy) {
        self.max_temporal = policy.max_temporal.unwrap_or(ALL);
        self.policy = Some(policy);
    }

    /// Awaits another feed, or none.
    pub fn set_target(&mut self, target: Option<Feed>) {
        self.target = target;
        self.denied = None;
    }

    /// Forwards nothing more of what it did. `from`: what that was, if it can still be told.
    pub fn leave(&mut self, from: Option<Reference>) {
        self.current = None;
        if let Some(from) = from {
            self.time.leave(from);
        }
    }

    /// Whether the awaited feed begins for this peer with `incoming`.
    pub fn begins_with(
        &mut self,
        incoming: &Incoming<'_>,
        codec: &CodecSpec,
        transport: &Transport,
        counters: &mut MediaCounters,
    ) -> Begins {
        // What begins before the peer can hear it would begin without its keyframe.
        if !transport.is_ready() || self.denied == Some(incoming.header.pt) {
            return Begins::No;
        }
        if !incoming.is_start {
            counters.drop_waiting += 1;
            return Begins::No;
        }
        if matching(&self.codecs, codec).is_none() {
            self.denied = Some(incoming.header.pt);
            return Begins::NoCodec;
        }
        Begins::Yes
    }

    /// The awaited feed begins with `incoming`, which is still to be forwarded.
    ///
    /// from: what was forwarded before, unless it has been left already; to: what begins.
    pub fn begin(
        &mut self,
        feed: Feed,
        stream: Stream,
        incoming: &Incoming<'_>,
        from: Option<Reference>,
        to: &Reference,
        now: Instant,
    ) {
        let last = self.eras.now();
        let is_same = last.number != 0 && (last.feed, last.stream) == (feed, stream);
        if let Some(from) = from {
            self.time.leave(from);
        }
        self.time.start(incoming.timestamp, now, to, is_same);
        let era = self.eras.begin(feed, stream, incoming.seq);
        era.time_shift = self.time.shift();
        let first = incoming.picture.as_ref();
        era.pictures.start(first, &self.last_picture);
        self.temporal.start(self.max_temporal);
        self.former = self.current.replace(feed);
        self.target = None;
        self.looked_up = None;
        if self.source == Some(feed.producer) {
            self.change_due = None;
        }
    }

    /// The packet of the source that the present feed began with.
    pub fn began_with(&self) -> u64 {
        self.eras.now().began_with
    }

    /// Forwards a packet of the present feed.
    pub fn forward(
        &mut self,
        incoming: &Incoming<'_>,
        codec: &CodecSpec,
        transport: &mut Transport,
        moment: Moment,
        out: &mut impl Outbox,
        counters: &mut MediaCounters,
    ) -> Forwarded {
        let pt = incoming.header.pt;
        let is_known = self.looked_up.is_some_and(|(known, _)| known == pt);
        let Some(out_codec) = self.look_up(pt, codec) else {
            return match is_known {
                true => Forwarded::No,
                false => Forwarded::NoCodec,
            };
        };
        let is_left_out = self.leaves_out(incoming);
        if is_left_out && self.skip(incoming.seq, incoming.seq + 1) {
            counters.drop_temporal += 1;
            return Forwarded::No;
        }
        let era = self.eras.now_mut();
        let Some(seq) = era.numbers.take(incoming.seq) else {
            counters.drop_late += 1;
            return Forwarded::No;
        };
        let (body, was) = match &incoming.picture {
            // It is too late for its number to be given to another.
            _ if is_left_out => (Body::Empty, Was::Empty),
            None => (Body::AsItCame, Was::Plain),
            Some(picture) => {
                let id = era.pictures.forward(picture, &mut self.last_picture);
                let last = &self.last_picture;
                let patch = era.pictures.patch(picture, id, last, incoming.payload);
                (Body::new(patch), Was::picture(id))
            }
        };
        let number = era.number;
        let outgoing = Outgoing {
            pt: out_codec.pt,
            ssrc: self.ssrc,
            index: seq,
            timestamp: self.time.forward(incoming.timestamp, moment.now) as u32,
            original: None,
            body,
        };
        if let Repair::Rtx { history, .. } = &mut self.repair {
            let sent = Sent {
                out: seq as u32,
                input: incoming.seq as u32,
                era: number,
                was,
                repeated_ms: 0,
            };
            history.record(seq, sent, moment.ms());
        }
        let sent = self.send(&outgoing, incoming, transport, moment, out, true);
        match sent {
            Some(len) => {
                self.packets += 1;
                self.bytes += len as u64;
                self.payload_bytes += incoming.payload.len() as u64;
                self.budget.on_sent(len);
                counters.rtp_out += 1;
                counters.rtp_out_bytes += len as u64;
            }
            None => counters.drop_unsent += 1,
        }
        Forwarded::Yes
    }

    /// Packets `from..to` of the present feed are nothing to forward. False: those after them have
    /// been forwarded, so the peer waits for something under their numbers.
    pub fn skip(&mut self, from: u64, to: u64) -> bool {
        self.eras.now_mut().numbers.skip(from, to)
    }

    /// Whether a packet is of a temporal layer that this peer does not get.
    fn leaves_out(&mut self, incoming: &Incoming<'_>) -> bool {
        let Some(picture) = &incoming.picture else {
            return false;
        };
        if self.temporal.is_open(self.max_temporal) {
            return false;
        }
        let descriptor = &picture.descriptor;
        let Some(temporal) = descriptor.temporal else {
            return false;
        };
        let pictures = &mut self.eras.now_mut().pictures;
        let is_left_out = pictures.has_skipped(picture)
            || self.temporal.leaves_out(
                self.max_temporal,
                temporal,
                descriptor.is_sync,
                incoming.starts_keyframe,
                incoming.timestamp,
            );
        if is_left_out {
            pictures.skip(picture);
        }
        is_left_out
    }

    /// The peer asks for `seq` again. Without RTX it is sent again here.
    pub fn on_nack(
        &mut self,
        seq: u16,
        transport: &Transport,
        moment: Moment,
        out: &mut impl Outbox,
        counters: &mut MediaCounters,
    ) -> Again {
        self.nacks += 1;
        counters.nacks_in += 1;
        let now_ms = moment.ms();
        let wait = transport.rtt().clamp(LEAST_REPEAT, MOST_REPEAT);
        let is_soon = |repeated_ms: u32| {
            let since = now_ms.wrapping_sub(repeated_ms);
            repeated_ms != 0 && u128::from(since) < wait.as_millis()
        };
        match &mut self.repair {
            Repair::None => Again::Gone,
            Repair::Rtx { history, .. } => {
                let Some((out, sent)) = history.find(seq) else {
                    return not_sent(&self.eras, seq);
                };
                let Some(era) = self.eras.find(sent.era) else {
                    return Again::Gone;
                };
                if is_soon(sent.repeated_ms) {
                    counters.nack_repeated += 1;
                    return Again::Settled;
                }
                sent.repeated_ms = now_ms.max(1);
                Again::Resend(Lost {
                    input: near32(era.began_with, sent.input),
                    out,
                    era: sent.era,
                    was: sent.was,
                })
            }
            Repair::Repeat(repeats) => {
                let Some((datagram, repeated_ms)) = repeats.find(seq) else {
                    return match not_sent(&self.eras, seq) {
                        Again::NotYet(input) => Again::NotYet(input),
                        _ => Again::Gone,
                    };
                };
                if is_soon(*repeated_ms) {
                    counters.nack_repeated += 1;
                    return Again::Settled;
                }
                let len = datagram.len();
                if !self.budget.allows(len, now_ms) {
                    counters.nack_over_budget += 1;
                    return Again::Settled;
                }
                let Some(to) = transport.route else {
                    return Again::Settled;
                };
                *repeated_ms = now_ms.max(1);
                let mut is_sent = false;
                out.push(to, |slot| match slot.get_mut(..datagram.len()) {
                    Some(room) => {
                        room.copy_from_slice(datagram);
                        is_sent = true;
                        datagram.len()
                    }
                    None => 0,
                });
                if is_sent {
                    self.on_repeated(len, counters);
                }
                Again::Settled
            }
        }
    }

    /// The feed and the stream that a lost packet was, or would have been, forwarded from.
    pub fn origin(&self, lost: &Lost) -> Option<(Feed, Stream)> {
        let era = self.eras.find(lost.era)?;
        Some((era.feed, era.stream))
    }

    /// Sends a packet of a source again, as it was sent under the number `lost.out`.
    #[expect(clippy::too_many_arguments, reason = "one packet and where it goes")]
    pub fn retransmit(
        &mut self,
        lost: Lost,
        incoming: &Incoming<'_>,
        codec: &CodecSpec,
        transport: &mut Transport,
        moment: Moment,
        out: &mut impl Outbox,
        counters: &mut MediaCounters,
    ) {
        // Of a source that has been left, the payload type may have meant another codec.
        let out_codec = match lost.era == self.eras.now().number {
            true => self.look_up(incoming.header.pt, codec),
            false => matching(&self.codecs, codec),
        };
        let rtx_pt = out_codec.and_then(|codec| codec.rtx_pt);
        let era = self.eras.find(lost.era);
        let (Some(pt), Some(era), Repair::Rtx { ssrc, next_seq, .. }) =
            (rtx_pt, era, &mut self.repair)
        else {
            counters.nack_missed += 1;
            return;
        };
        if !self.budget.allows(incoming.payload.len(), moment.ms()) {
            counters.nack_over_budget += 1;
            return;
        }
        let body = match (&incoming.picture, lost.was) {
            (_, Was::Empty) => Body::Empty,
            (None, _) => Body::AsItCame,
            (Some(picture), was) => {
                let id = was.id().or_else(|| era.pictures.id(picture));
                let last = &self.last_picture;
                Body::new(era.pictures.patch(picture, id, last, incoming.payload))
            }
        };
        let outgoing = Outgoing {
            pt,
            ssrc: *ssrc,
            index: *next_seq,
            timestamp: incoming.timestamp.wrapping_add(era.time_shift) as u32,
            original: Some(lost.out as u16),
            body,
        };
        *next_seq += 1;
        match self.send(&outgoing, incoming, transport, moment, out, false) {
            Some(len) => self.on_repeated(len, counters),
            None => counters.drop_unsent += 1,
        }
    }

    fn on_repeated(&mut self, len: usize, counters: &mut MediaCounters) {
        self.budget.spend(len);
        self.retransmitted += 1;
        counters.retransmitted += 1;
        counters.rtp_out += 1;
        counters.rtp_out_bytes += len as u64;
    }

    /// A report block of the peer about our SSRC. Returns a round trip, if it tells one.
    pub fn on_report(&mut self, report: &ReportBlock, now: Instant) -> Option<Duration> {
        self.is_known = true;
        self.peer.lost = report.cumulative_lost.max(0) as u64;
        self.peer.fraction_lost = report.fraction_lost;
        let (ntp, sent) = self.sr_sent?;
        if report.last_sr != ntp || ntp == 0 {
            return None;
        }
        let delay =
            Duration::from_nanos(u64::from(report.delay_since_last_sr) * 1_000_000_000 / 65_536);
        // Negative when an earlier copy of the same report is meant.
        let rtt = now.saturating_duration_since(sent).checked_sub(delay)?;
        self.peer.rtt = Some(rtt);
        Some(rtt)
    }

    /// The clock of what is forwarded on our timeline; `None` while nothing is.
    pub fn sender_info(&self, clock: &SenderClock) -> Option<SenderInfo> {
        if self.current.is_none() || self.packets == 0 {
            return None;
        }
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp: clock.ntp,
            rtp: clock.rtp.wrapping_add(self.time.shift()) as u32,
            packets: self.packets as u32,
            octets: self.payload_bytes as u32,
        })
    }

    pub fn on_report_sent(&mut self, ntp: u64, now: Instant) {
        self.sr_sent = Some((middle(ntp), now));
    }

    /// Builds one packet in a slot and seals it. Returns its length; `None`: it was not sent.
    fn send(
        &mut self,
        outgoing: &Outgoing,
        incoming: &Incoming<'_>,
        transport: &mut Transport,
        moment: Moment,
        out: &mut impl Outbox,
        is_kept: bool,
    ) -> Option<usize> {
        let (Some(to), Some(sealer)) = (transport.route, &mut transport.sealer) else {
            return None;
        };
        let transport_seq = transport.transport_seq.to_be_bytes();
        let level = incoming.extensions.audio_level.map(|level| [level]);
        let ids = &self.extensions;
        let mut list = ExtensionList::default();
        if !self.is_known {
            list.add(ids.mid, Some(self.mid.as_str().as_bytes()));
        }
        list.add(ids.abs_send_time, Some(&moment.abs_send_time));
        if self.is_transport_seq_wanted && ids.transport_cc.is_some() {
            list.add(ids.transport_cc, Some(&transport_seq));
            transport.transport_seq = transport.transport_seq.wrapping_add(1);
        }
        list.add(ids.audio_level, level.as_ref().map(|level| &level[..]));
        list.add(
            ids.dependency_descriptor,
            incoming.extensions.dependency_descriptor,
        );
        list.add(ids.abs_capture_time, incoming.extensions.abs_capture_time);
        list.add(ids.playout_delay, incoming.extensions.playout_delay);

        let repeats = match &mut self.repair {
            Repair::Repeat(repeats) if is_kept => Some(repeats),
            _ => None,
        };
        let mut sent = None;
        out.push(to, |slot| {
            sent = build(slot, outgoing, incoming, &list, sealer);
            if let (Some(len), Some(repeats)) = (sent, repeats) {
                repeats.record(outgoing.index, &slot[..len], moment.ms());
            }
            sent.unwrap_or(0)
        });
        sent
    }

    /// As [`matching`], remembered for as long as the payload type stays.
    fn look_up(&mut self, pt: u8, codec: &CodecSpec) -> Option<OutCodec> {
        match self.looked_up {
            Some((known, found)) if known == pt => found,
            _ => {
                let found = matching(&self.codecs, codec);
                self.looked_up = Some((pt, found));
                found
            }
        }
    }
}

/// What a number means that no packet has been sent with.
fn not_sent(eras: &Eras, seq: u16) -> Again {
    let now = eras.now();
    let out = near16(now.numbers.next_out(), seq);
    match eras.owner(out) {
        None => Again::Gone,
        Some((era, input)) if era.number == now.number => Again::NotYet(input),
        // Its source had lost it as well, and may have it by now.
        Some((era, input)) => Again::Resend(Lost {
            input,
            out,
            era: era.number,
            was: Was::Unsent,
        }),
    }
}

/// A packet that the peer asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lost {
    /// Its number at the source.
    pub input: u64,
    /// The number it was sent with, or would have been.
    pub out: u64,
    pub era: u16,
    pub was: Was,
}
