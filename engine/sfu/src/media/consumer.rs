//! One sender on a transport: fixed numbers toward the peer, whatever its source does.

use std::time::{Duration, Instant};

use super::Moment;
use super::api::Outbox;
use super::budget::Budget;
use super::counters::MediaCounters;
use super::history::{History, Repeats};
use super::munger::Munger;
use super::random::Random;
use super::reception::middle;
use super::transport::Transport;
use crate::rtcp::ReportBlock;
use crate::rtp::{ExtensionList, Extensions, Header, write_header};
use crate::spec::{CodecSpec, ConsumerId, ExtensionIds, LayerPolicy, MediaKind, Mid, SendSpec};

/// A question that comes again within a round trip is about what is still on its way.
const LEAST_REPEAT: Duration = Duration::from_millis(10);
const MOST_REPEAT: Duration = Duration::from_millis(500);

/// A packet of a producer, about to be forwarded.
pub(super) struct Incoming<'a> {
    pub header: Header,
    pub extensions: Extensions<'a>,
    pub payload: &'a [u8],
    pub seq: u64,
    pub timestamp: u64,
    /// A receiver that waits may begin here.
    pub is_start: bool,
}

/// What came of offering a packet to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offered {
    Sent,
    /// Sent, and it was the first since the source was set or resumed.
    Started,
    NotSent,
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
    /// It was never sent; the packet of the source that will bear the number.
    NotYet(u64),
    /// It is not kept any more, or never was.
    Gone,
}

/// The payload types that a codec of the source has here.
#[derive(Clone, Copy)]
struct OutCodec {
    pt: u8,
    rtx_pt: Option<u8>,
    clock_hz: u32,
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

    /// `None`: never set.
    pub policy: Option<LayerPolicy>,
    /// Key of the producer.
    pub source: Option<usize>,
    pub is_paused: bool,
    /// Nothing has been forwarded since the source was set or resumed.
    pub is_waiting: bool,
    pub has_begun: bool,
    /// Key of the producer whose numbers the munger follows.
    followed: Option<usize>,
    /// Counts starts: numbers recorded before the last one mean other packets.
    starts: u32,
    /// The source's packet that the last start was made with.
    pub began_with: u64,
    munger: Munger,
    /// The last payload type of the source that was looked up.
    looked_up: Option<(u8, Option<OutCodec>)>,
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
            policy: None,
            source: None,
            is_paused: false,
            is_waiting: true,
            has_begun: false,
            followed: None,
            starts: 0,
            began_with: 0,
            munger: Munger::new(random.first_seq(), random.u32()),
            looked_up: None,
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
        self.is_transport_seq_wanted = spec.feedback == crate::spec::Feedback::Twcc;
        self.cname.clone_from(&spec.cname);
        self.looked_up = None;
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

    /// Whether packets of the source, once it begins, are to be forwarded.
    pub fn is_wanting(&self) -> bool {
        self.source.is_some() && !self.is_paused
    }

    /// Begins anew at the next packet that a receiver can begin with.
    pub fn wait(&mut self) {
        self.is_waiting = true;
        self.looked_up = None;
    }

    /// Forgets that the source's numbers were followed: they now mean other packets.
    pub fn forget_timeline(&mut self) {
        self.followed = None;
        self.wait();
    }

    /// Forwards a packet of the source, if it can be.
    pub fn offer(
        &mut self,
        incoming: &Incoming<'_>,
        codec: &CodecSpec,
        transport: &mut Transport,
        moment: Moment,
        out: &mut impl Outbox,
        counters: &mut MediaCounters,
    ) -> Offered {
        // What begins before the peer can hear it would begin without its keyframe.
        if !self.is_wanting() || (self.is_waiting && !transport.is_ready()) {
            return Offered::NotSent;
        }
        let is_known = self
            .looked_up
            .is_some_and(|(pt, _)| pt == incoming.header.pt);
        let Some(out_codec) = self.look_up(incoming.header.pt, codec) else {
            return if is_known {
                Offered::NotSent
            } else {
                Offered::NoCodec
            };
        };
        let is_first = self.is_waiting;
        if is_first {
            if !incoming.is_start {
                counters.drop_waiting += 1;
                return Offered::NotSent;
            }
            self.start(incoming, out_codec.clock_hz, moment.now);
        }
        let Some(seq) = self.munger.seq(incoming.seq) else {
            counters.drop_late += 1;
            return Offered::NotSent;
        };
        let timestamp = self.munger.timestamp(incoming.timestamp, moment.now);

        let outgoing = Outgoing {
            pt: out_codec.pt,
            ssrc: self.ssrc,
            index: seq,
            timestamp: timestamp as u32,
            original: None,
        };
        if let Repair::Rtx { history, .. } = &mut self.repair {
            history.record(seq, incoming.seq, self.starts, moment.ms());
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
        if is_first {
            Offered::Started
        } else {
            Offered::Sent
        }
    }

    /// Packets `from..to` of the source are padding, and nothing to forward. False: those after them
    /// have been forwarded, so the peer waits for something under their numbers.
    pub fn skip(&mut self, from: u64, to: u64) -> bool {
        self.is_waiting || self.munger.skip(from, to)
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
        let not_sent = |munger: &Munger| munger.input(seq).map_or(Again::Gone, Again::NotYet);
        match &mut self.repair {
            Repair::None => Again::Gone,
            Repair::Rtx { history, .. } => {
                let starts = self.starts;
                let Some(sent) = history.find(seq) else {
                    return not_sent(&self.munger);
                };
                if sent.start != starts {
                    return Again::Gone;
                }
                if is_soon(sent.repeated_ms) {
                    counters.nack_repeated += 1;
                    return Again::Settled;
                }
                sent.repeated_ms = now_ms.max(1);
                Again::Resend(Lost {
                    input: sent.input,
                    out: sent.out,
                })
            }
            Repair::Repeat(repeats) => {
                let Some((datagram, repeated_ms)) = repeats.find(seq) else {
                    return not_sent(&self.munger);
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
                    self.budget.spend(len);
                    self.retransmitted += 1;
                    counters.retransmitted += 1;
                    counters.rtp_out += 1;
                    counters.rtp_out_bytes += len as u64;
                }
                Again::Settled
            }
        }
    }

    /// Sends a packet of the source again, as it was sent under the number `lost.out`.
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
        let rtx_pt = self
            .look_up(incoming.header.pt, codec)
            .and_then(|codec| codec.rtx_pt);
        let timestamp = self.munger.map_timestamp(incoming.timestamp);
        let (Some(pt), Repair::Rtx { ssrc, next_seq, .. }) = (rtx_pt, &mut self.repair) else {
            counters.nack_missed += 1;
            return;
        };
        if !self.budget.allows(incoming.payload.len(), moment.ms()) {
            counters.nack_over_budget += 1;
            return;
        }
        let outgoing = Outgoing {
            pt,
            ssrc: *ssrc,
            index: *next_seq,
            timestamp: timestamp as u32,
            original: Some(lost.out as u16),
        };
        *next_seq += 1;
        match self.send(&outgoing, incoming, transport, moment, out, false) {
            Some(len) => {
                self.budget.spend(len);
                self.retransmitted += 1;
                counters.retransmitted += 1;
                counters.rtp_out += 1;
                counters.rtp_out_bytes += len as u64;
            }
            None => counters.drop_unsent += 1,
        }
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

    /// The publisher's clock on our timeline; `None` while nothing is forwarded.
    pub fn sender_info(
        &self,
        clock: &super::reception::SenderClock,
    ) -> Option<crate::rtcp::SenderInfo> {
        if self.is_waiting || self.packets == 0 {
            return None;
        }
        Some(crate::rtcp::SenderInfo {
            ssrc: self.ssrc,
            ntp: clock.ntp,
            rtp: self.munger.map_timestamp(clock.rtp) as u32,
            packets: self.packets as u32,
            octets: self.payload_bytes as u32,
        })
    }

    pub fn on_report_sent(&mut self, ntp: u64, now: Instant) {
        self.sr_sent = Some((middle(ntp), now));
    }

    fn start(&mut self, incoming: &Incoming<'_>, clock_hz: u32, now: Instant) {
        let is_same = self.followed == self.source;
        self.munger
            .start(incoming.seq, incoming.timestamp, now, clock_hz, is_same);
        self.followed = self.source;
        self.is_waiting = false;
        self.began_with = incoming.seq;
        self.starts = self.starts.wrapping_add(1);
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

    /// As [`out_codec`](Self::out_codec), remembered for as long as the payload type stays.
    fn look_up(&mut self, pt: u8, codec: &CodecSpec) -> Option<OutCodec> {
        match self.looked_up {
            Some((known, found)) if known == pt => found,
            _ => {
                let found = self.out_codec(codec);
                self.looked_up = Some((pt, found));
                found
            }
        }
    }

    /// The codec of this section that is the source's: the same name, clock and channels, and the
    /// same profile where one codec is listed with several.
    fn out_codec(&self, source: &CodecSpec) -> Option<OutCodec> {
        let alike = |codec: &&CodecSpec| {
            codec.name.eq_ignore_ascii_case(&source.name)
                && codec.clock_hz == source.clock_hz
                && codec.channels.max(1) == source.channels.max(1)
                && mode(codec) == mode(source)
        };
        let exact = |codec: &&CodecSpec| profile(codec) == profile(source);
        let mut candidates = self.codecs.iter().filter(alike);
        let codec = candidates
            .clone()
            .find(exact)
            .or_else(|| candidates.next())?;
        Some(OutCodec {
            pt: codec.pt,
            rtx_pt: codec.rtx_pt,
            clock_hz: codec.clock_hz,
        })
    }
}

/// A packet that the peer asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lost {
    /// Its number at the source.
    pub input: u64,
    /// The number it was sent with.
    pub out: u64,
}

/// What is written into the header.
struct Outgoing {
    pt: u8,
    ssrc: u32,
    index: u64,
    timestamp: u32,
    /// A retransmission: the number of the packet it repeats.
    original: Option<u16>,
}

fn build(
    slot: &mut [u8],
    outgoing: &Outgoing,
    incoming: &Incoming<'_>,
    extensions: &ExtensionList<'_>,
    sealer: &mut crate::srtp::Sealer,
) -> Option<usize> {
    let header_len = write_header(
        slot,
        incoming.header.marker,
        outgoing.pt,
        outgoing.index as u16,
        outgoing.timestamp,
        outgoing.ssrc,
        extensions,
    )?;
    let mut len = header_len;
    if let Some(original) = outgoing.original {
        slot.get_mut(len..len + 2)?
            .copy_from_slice(&original.to_be_bytes());
        len += 2;
    }
    let payload = incoming.payload;
    slot.get_mut(len..len + payload.len())?
        .copy_from_slice(payload);
    len += payload.len();
    sealer
        .seal_rtp(slot, header_len, len, outgoing.ssrc, outgoing.index)
        .ok()
}

/// Of one `a=fmtp` parameter, its value in any case.
fn parameter<'a>(codec: &'a CodecSpec, name: &str) -> Option<&'a str> {
    codec.fmtp.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// RFC 6184 §8.2.2: a receiver of one packetization mode cannot take the other.
fn mode(codec: &CodecSpec) -> &str {
    parameter(codec, "packetization-mode").unwrap_or("0")
}

fn profile(codec: &CodecSpec) -> String {
    let of_h264 = parameter(codec, "profile-level-id").map(|id| {
        // The level may differ: it limits the sender, who negotiated it with us.
        id.get(..4).unwrap_or(id).to_ascii_lowercase()
    });
    of_h264
        .or_else(|| parameter(codec, "profile-id").map(str::to_owned))
        .or_else(|| parameter(codec, "profile").map(str::to_owned))
        .unwrap_or_else(|| "0".to_owned())
}
