//! One stream a client receives: what came, what is missing, and whether it is what was sent.

use std::time::{Duration, Instant};

use parley_sfu::rtcp::ReportBlock;
use parley_sfu::rtp::Header;

use crate::clock;
use crate::nack::Missed;
use crate::order::{Arrival, Order};
use crate::sdp::{Incoming, Kind};
use crate::stamp::Stamp;
use crate::tally::{Layer, Ledgers, Totals};

/// One packet in so many is opened.
const OPENED: u32 = 64;
/// Packets that are opened in search of a stamp before the stream counts as somebody else's.
const SEARCHED: u32 = 32;
/// A packet missing for less than this may still come.
pub const GRACE: Duration = Duration::from_millis(500);
/// Between keyframe requests for one stream.
const PLI_GAP: Duration = Duration::from_millis(500);

/// Which stream of this process this is, and by how much its numbers differ.
#[derive(Clone, Copy)]
struct Source {
    stream: u32,
    offset: i64,
    layer: Layer,
}

/// The SR last received.
#[derive(Clone, Copy)]
struct Report {
    /// The middle of its NTP time.
    ntp: u32,
    at: Instant,
}

pub struct Receiver {
    pub incoming: Incoming,
    order: Order,
    pub missed: Missed,
    /// Numbers from here on are counted.
    base: u64,
    received: u64,
    source: Option<Source>,
    until_open: u32,
    searched: u32,
    last_arrival: Option<Instant>,
    last_pli: Option<Instant>,
    reception: Reception,
}

/// What a receiver report says, since the stream began (RFC 3550 A.3, A.8).
#[derive(Default)]
struct Reception {
    first: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: f64,
    transit: Option<i64>,
    report: Option<Report>,
}

impl Source {
    fn of(stamp: &Stamp, offset: i64, layer: Layer) -> Source {
        Source {
            stream: stamp.stream,
            offset,
            layer,
        }
    }
}

impl Receiver {
    pub fn new(incoming: Incoming) -> Receiver {
        Receiver {
            incoming,
            order: Order::new(),
            missed: Missed::default(),
            base: 0,
            received: 0,
            source: None,
            until_open: 0,
            searched: 0,
            last_arrival: None,
            last_pli: None,
            reception: Reception::default(),
        }
    }

    /// Whether anything has come yet.
    pub fn has_begun(&self) -> bool {
        self.order.top().is_some()
    }

    fn has_layers(&self) -> bool {
        self.incoming.layer.is_some()
    }

    fn clock_hz(&self) -> u32 {
        match self.incoming.kind {
            Kind::Audio => 48_000,
            _ => 90_000,
        }
    }

    /// The number that sixteen bits of it stand for.
    pub fn extend(&self, seq: u16) -> u64 {
        self.order.extend(seq)
    }

    /// Takes note of a packet. timestamp: of its header; `None` for a retransmission.
    ///
    /// Returns what it is to those before, and whether so many are missing that a keyframe is needed.
    pub fn on_packet(
        &mut self,
        number: u64,
        timestamp: Option<u32>,
        now: Instant,
        totals: &mut Totals,
    ) -> (Arrival, bool) {
        let top = self.order.top();
        let arrival = self.order.on_packet(number);
        let mut is_hopeless = false;
        match arrival {
            Arrival::Next { skipped } => {
                if top.is_none() {
                    self.base = number;
                    self.reception.first = number;
                }
                if skipped > 0 {
                    is_hopeless = self.missed.on_gap(number - skipped, number, now);
                }
                if let Some(last) = self.last_arrival {
                    totals.longest_gap = totals.longest_gap.max(now - last);
                }
                self.last_arrival = Some(now);
            }
            Arrival::Late => {
                if self.missed.on_arrival(number) && number >= self.base {
                    totals.repaired += 1;
                }
            }
            Arrival::Again | Arrival::Stale => {
                totals.duplicates += 1;
                return (arrival, false);
            }
        }
        self.received += u64::from(number >= self.base);
        self.reception.received += 1;
        if let Some(timestamp) = timestamp {
            self.feel_jitter(timestamp, now);
        }
        (arrival, is_hopeless)
    }

    fn feel_jitter(&mut self, timestamp: u32, now: Instant) {
        let arrived = clock::ns(now) as i128 * i128::from(self.clock_hz()) / 1_000_000_000;
        let transit = i64::from((arrived as u32).wrapping_sub(timestamp) as i32);
        if let Some(before) = self.reception.transit.replace(transit) {
            let change = (transit - before).unsigned_abs() as f64;
            self.reception.jitter += (change - self.reception.jitter) / 16.0;
        }
    }

    /// Whether this packet is one of those that are opened.
    pub fn is_to_be_opened(&mut self) -> bool {
        if self.source.is_none() && self.searched < SEARCHED {
            self.searched += 1;
            return true;
        }
        if self.until_open == 0 {
            self.until_open = OPENED - 1;
            return true;
        }
        self.until_open -= 1;
        false
    }

    /// Holds the length of a payload against what was sent under its number; `None`: nobody knows that.
    ///
    /// A length that does not fit may be the first of another layer: looking into the packet tells.
    pub fn fits(&self, number: u64, len: usize, ledgers: &Ledgers) -> Option<bool> {
        let source = self.source?;
        let count = number.checked_add_signed(-source.offset)?;
        let sent = ledgers.get(&source.stream)?.length(count as u32)?;
        Some(usize::from(sent) == len)
    }

    /// Which layer was asked for, if one was, and which it is, if that is known yet.
    pub fn layers(&self) -> (Option<u8>, Option<u8>) {
        let is = self.source.map(|source| source.layer.index);
        (self.incoming.layer, is)
    }

    /// Looks into an opened payload. Returns its stamp if it is one of this stream's.
    pub fn look(
        &mut self,
        number: u64,
        payload: &[u8],
        ledgers: &Ledgers,
        totals: &mut Totals,
    ) -> Option<Stamp> {
        totals.opened += 1;
        let found = Stamp::read(payload.get(stamp_at(self.incoming.kind)..)?);
        let Some(stamp) = found else {
            // A packet too short for a stamp proves nothing; any other should have one.
            let is_ours = self.source.is_some();
            let has_room = payload.len() >= stamp_at(self.incoming.kind) + crate::stamp::LEN;
            totals.bad_open += u64::from(is_ours && has_room);
            return None;
        };
        let offset = number as i64 - i64::from(stamp.count);
        let layer = ledgers.get(&stamp.stream).map(|ledger| ledger.layer);
        let before = self.source;
        if before.is_some_and(|known| known.stream == stamp.stream && known.offset == offset) {
            return Some(stamp);
        }
        match (before, layer) {
            (None, Some(layer)) => self.source = Some(Source::of(&stamp, offset, layer)),
            // The server took another layer of the same track; its numbers go on from the other's.
            (Some(known), Some(layer)) if known.layer.track == layer.track && self.has_layers() => {
                self.source = Some(Source::of(&stamp, offset, layer));
                totals.layer_switches += u64::from(known.layer != layer);
            }
            _ => {
                totals.bad_open += 1;
                return None;
            }
        }
        Some(stamp)
    }

    /// Whether a keyframe may be asked for now, and if so, that it is.
    pub fn may_ask_for_keyframe(&mut self, now: Instant) -> bool {
        let may = self.incoming.kind == Kind::Video
            && self.last_pli.is_none_or(|last| now >= last + PLI_GAP);
        if may {
            self.last_pli = Some(now);
        }
        may
    }

    /// Begins to count anew.
    pub fn rebase(&mut self) {
        if let Some(top) = self.order.top() {
            self.base = top + 1;
        }
        self.received = 0;
    }

    /// How many numbers passed by, and how many of them came; those that may still come are in
    /// neither. Silence since the last packet counts as a gap.
    pub fn sums(&self, now: Instant) -> (u64, u64) {
        let Some(top) = self.order.top() else {
            return (0, 0);
        };
        let pending = self.missed.pending(self.base, now, GRACE);
        ((top + 1).saturating_sub(self.base) - pending, self.received)
    }

    /// How long nothing has come.
    pub fn silence(&self, now: Instant) -> Duration {
        self.last_arrival
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }

    pub fn on_sender_report(&mut self, ntp: u64, now: Instant) {
        self.reception.report = Some(Report {
            ntp: (ntp >> 16) as u32,
            at: now,
        });
    }

    /// What the next RR says of this stream; `None` before its first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let top = self.order.top()?;
        let reception = &mut self.reception;
        let expected = top + 1 - reception.first;
        let fresh = expected - reception.expected_before;
        let came = reception.received - reception.received_before;
        reception.expected_before = expected;
        reception.received_before = reception.received;
        let fraction = (fresh.saturating_sub(came) << 8).checked_div(fresh);
        let (last_sr, delay) = reception.report.map_or((0, 0), |report| {
            let delay = (now - report.at).as_micros() * 65_536 / 1_000_000;
            (report.ntp, delay as u32)
        });
        Some(ReportBlock {
            ssrc: self.incoming.ssrc,
            fraction_lost: fraction.unwrap_or(0).min(255) as u8,
            cumulative_lost: expected as i32 - reception.received as i32,
            highest_seq: top as u32 - 0x1_0000,
            jitter: reception.jitter as u32,
            last_sr,
            delay_since_last_sr: delay,
        })
    }
}

/// Where in a payload the stamp stands: behind what VP8 and Opus show of themselves.
pub const fn stamp_at(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 4,
        _ => crate::trace::HEAD,
    }
}

/// Bytes of payload of a sealed packet. `tag`: bytes the seal adds.
pub fn sealed_payload(header: &Header, packet: &[u8], tag: usize) -> usize {
    packet.len().saturating_sub(header.len + tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Ledger;

    const BEST: u32 = 5;
    const MIDDLE: u32 = 6;
    const STRANGER: u32 = 7;

    /// Two layers of one track, the better of longer packets, and a track of somebody else.
    fn ledgers() -> Ledgers {
        let mut ledgers = Ledgers::default();
        for (stream, track, index, len) in [
            (BEST, 1, 0, 1000),
            (MIDDLE, 1, 1, 500),
            (STRANGER, 2, 0, 500),
        ] {
            let mut ledger = Ledger::new(Layer { track, index });
            (0..100).for_each(|count| ledger.enter(count, len));
            ledgers.insert(stream, ledger);
        }
        ledgers
    }

    fn receiver(layer: Option<u8>) -> Receiver {
        Receiver::new(Incoming {
            kind: Kind::Video,
            ssrc: 1,
            rtx: None,
            stream: String::new(),
            layer,
        })
    }

    fn payload(stream: u32, count: u32) -> Vec<u8> {
        let mut payload = vec![0; 400];
        let stamp = Stamp {
            stream,
            count,
            sent_ns: 0,
        };
        stamp.write(&mut payload[stamp_at(Kind::Video)..]);
        payload
    }

    #[test]
    fn another_layer_is_seen_by_its_length_and_known_by_its_stamp() {
        let (ledgers, mut totals) = (ledgers(), Totals::default());
        let mut receiver = receiver(Some(1));
        receiver.look(1000, &payload(BEST, 10), &ledgers, &mut totals);
        assert_eq!(receiver.fits(1001, 1000, &ledgers), Some(true));

        assert_eq!(receiver.fits(1002, 500, &ledgers), Some(false));
        receiver.look(1002, &payload(MIDDLE, 40), &ledgers, &mut totals);

        assert_eq!(receiver.fits(1002, 500, &ledgers), Some(true));
        assert_eq!(receiver.layers(), (Some(1), Some(1)));
        assert_eq!((totals.layer_switches, totals.bad_open), (1, 0));
    }

    #[test]
    fn what_has_no_layers_comes_from_one_stream_and_nobody_takes_anothers_track() {
        let (ledgers, mut totals) = (ledgers(), Totals::default());
        for (asked, stream) in [(None, MIDDLE), (Some(1), STRANGER)] {
            let mut receiver = receiver(asked);
            receiver.look(1000, &payload(BEST, 10), &ledgers, &mut totals);

            let seen = receiver.look(1001, &payload(stream, 40), &ledgers, &mut totals);

            assert_eq!(seen, None);
        }
        assert_eq!((totals.layer_switches, totals.bad_open), (0, 2));
    }
}
