//! One track a publisher sends: a trace played over and over, each packet stamped, the last ones kept
//! for whoever asks again.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parley_sfu::rtcp::SenderInfo;
use parley_sfu::rtp::{ExtensionList, write_header};
use parley_sfu::srtp::Sealer;

use crate::clock;
use crate::receiver::stamp_at;
use crate::sdp::{Accepted, Encoding, Kind};
use crate::stamp::Stamp;
use crate::tally::{Layer, Ledger, Ledgers, Totals};
use crate::trace::Trace;

/// Packets that can be sent again: two seconds of a 720p camera.
const KEPT: usize = 512;
/// Behind by more than this, packets are sent late no longer but left out of the schedule.
const LATEST: Duration = Duration::from_millis(200);
/// libwebrtc makes no two keyframes closer than this, however often it is asked.
const KEYFRAME_GAP: Duration = Duration::from_millis(300);
/// What a payload holds behind its head and its stamp.
const FILLER: [u8; 1500] = [0x5a; 1500];
/// Seconds from 1900 to 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// How a track is sent, once the server has said how.
pub struct SenderSpec {
    /// Numbers this process gives its streams.
    pub stream: u32,
    pub kind: Kind,
    pub mid: String,
    /// Of which track it is which layer.
    pub layer: Layer,
    pub encoding: Encoding,
    pub accepted: Accepted,
    pub trace: Arc<Trace>,
    /// When the first packet leaves.
    pub begin: Instant,
    pub first_seq: u16,
}

/// What is needed to send a packet again.
#[derive(Clone, Copy, Default)]
struct Sent {
    index: u64,
    stamp_ns: u64,
    at: u32,
    ticks: u32,
    picture: u16,
}

pub struct Sender {
    spec: SenderSpec,
    /// Where in the trace the next packet is.
    at: usize,
    pub due: Instant,
    /// Of the next packet, counted on beyond sixteen bits.
    index: u64,
    count: u32,
    rtx_index: u64,
    /// RTP timestamp and time of the packet sent last.
    ticks: u32,
    last: Option<Instant>,
    last_marker: bool,
    /// The VP8 picture id, 15 bits.
    picture: u16,
    last_keyframe: Option<Instant>,
    wants_keyframe: bool,
    kept: Vec<Sent>,
    /// Audio is sent again as it was, there being no RTX for it: the sealed packets.
    sealed: Vec<Vec<u8>>,
    octets: u32,
    /// Keyframes asked for: in all, the most in one second, and in the second that began then.
    pub requests: u64,
    pub requests_in_a_second: u64,
    second: Option<(Instant, u64)>,
}

/// What a packet needs of its transport.
pub struct Way<'a> {
    pub sealer: &'a mut Sealer,
    pub buf: &'a mut [u8; 1600],
    /// The transport-wide sequence number, counted on.
    pub wide_seq: &'a mut u16,
}

impl Sender {
    pub fn new(spec: SenderSpec, ledgers: &mut Ledgers) -> Sender {
        ledgers.insert(spec.stream, Ledger::new(spec.layer));
        let is_video = spec.kind == Kind::Video;
        Sender {
            at: 0,
            due: spec.begin,
            index: u64::from(spec.first_seq),
            count: 0,
            rtx_index: u64::from(spec.first_seq ^ 0x55),
            ticks: spec.encoding.ssrc,
            last: None,
            last_marker: true,
            picture: spec.first_seq & 0x7fff,
            last_keyframe: None,
            wants_keyframe: false,
            kept: if is_video {
                vec![Sent::default(); KEPT]
            } else {
                Vec::new()
            },
            sealed: if is_video {
                Vec::new()
            } else {
                vec![Vec::new(); KEPT / 4]
            },
            octets: 0,
            requests: 0,
            requests_in_a_second: 0,
            second: None,
            spec,
        }
    }

    pub fn stream(&self) -> u32 {
        self.spec.stream
    }

    pub fn ssrc(&self) -> u32 {
        self.spec.encoding.ssrc
    }

    /// Writes and seals the next packet into `way.buf` and makes the one after it due. Returns its
    /// length; 0: there was no way to seal it.
    pub fn next(
        &mut self,
        now: Instant,
        way: &mut Way<'_>,
        ledgers: &mut Ledgers,
        totals: &mut Totals,
    ) -> usize {
        self.turn_to_keyframe(now);
        let trace = self.spec.trace.clone();
        let packet = &trace.packets[self.at];
        if self.spec.kind == Kind::Video && self.last_marker {
            self.picture = self.picture.wrapping_add(1) & 0x7fff;
        }
        if trace.is_keyframe(self.at) {
            self.last_keyframe = Some(now);
        }
        let sent = Sent {
            index: self.index,
            stamp_ns: clock::ns(Instant::now()),
            at: self.at as u32,
            ticks: self.ticks,
            picture: self.picture,
        };
        if let Some(ledger) = ledgers.get_mut(&self.spec.stream) {
            ledger.enter(self.count, packet.len);
        }
        let len = self.write(&sent, self.count, way).unwrap_or(0);
        self.keep(sent, &way.buf[..len]);

        totals
            .lag_us
            .add(now.saturating_duration_since(self.due).as_micros() as u64);
        self.octets = self.octets.wrapping_add(u32::from(packet.len));
        self.index += 1;
        self.count += 1;
        self.last = Some(now);
        self.last_marker = packet.marker;
        self.at = (self.at + 1) % trace.packets.len();
        let following = &trace.packets[self.at];
        self.ticks = self.ticks.wrapping_add(following.ticks);
        self.due += Duration::from_micros(u64::from(following.after_us));
        self.due = self.due.max(now.checked_sub(LATEST).unwrap_or(now));
        len
    }

    /// Goes to the trace's next keyframe if one is asked for and may come. A frame is finished first.
    fn turn_to_keyframe(&mut self, now: Instant) {
        let is_free = self.last_marker
            && self
                .last_keyframe
                .is_none_or(|last| now >= last + KEYFRAME_GAP);
        if !self.wants_keyframe || !is_free {
            return;
        }
        self.wants_keyframe = false;
        if self.spec.trace.is_keyframe(self.at) {
            return;
        }
        let skipped_from = self.spec.trace.packets[self.at].ticks;
        self.at = self.spec.trace.keyframe_after(self.at);
        // The picture is of now, wherever in the trace it comes from.
        let since = self.last.map_or(0, |last| (now - last).as_micros() as u64);
        let ticks = (since * 90 / 1000).max(1) as u32;
        self.ticks = self.ticks.wrapping_sub(skipped_from).wrapping_add(ticks);
    }

    /// The server asks for a keyframe. True: the next packet is due at once because of it.
    pub fn on_keyframe_request(&mut self, now: Instant) -> bool {
        self.requests += 1;
        let in_second = match self.second {
            Some((began, count)) if now < began + Duration::from_secs(1) => {
                self.second = Some((began, count + 1));
                count + 1
            }
            _ => {
                self.second = Some((now, 1));
                1
            }
        };
        self.requests_in_a_second = self.requests_in_a_second.max(in_second);
        if self.spec.kind != Kind::Video {
            return false;
        }
        self.wants_keyframe = true;
        let may_now = self
            .last_keyframe
            .is_none_or(|last| now >= last + KEYFRAME_GAP);
        if may_now && self.last_marker && self.due > now {
            self.due = now;
            return true;
        }
        false
    }

    /// Begins to count anew.
    pub fn rebase(&mut self) {
        self.requests = 0;
        self.requests_in_a_second = 0;
        self.second = None;
    }

    /// Writes a packet again that the server lacks: as RTX, or as it was. Returns its length; 0: it
    /// is no longer there.
    pub fn again(&mut self, seq: u16, way: &mut Way<'_>) -> usize {
        let index = {
            let step = i64::from(seq.wrapping_sub(self.index as u16) as i16);
            self.index.saturating_add_signed(step)
        };
        if index >= self.index {
            return 0;
        }
        if self.spec.kind == Kind::Video {
            let sent = self.kept[index as usize % self.kept.len()];
            let is_there = sent.index == index && sent.stamp_ns > 0;
            return match is_there {
                true => self.write_rtx(&sent, way).unwrap_or(0),
                false => 0,
            };
        }
        let kept = &self.sealed[index as usize % self.sealed.len()];
        if kept.get(2..4) != Some(&seq.to_be_bytes()[..]) {
            return 0;
        }
        way.buf[..kept.len()].copy_from_slice(kept);
        kept.len()
    }

    /// What an SR says now; `None` before the first packet.
    pub fn report(&self, now: Instant, wall: SystemTime) -> Option<SenderInfo> {
        let last = self.last?;
        let hz = if self.spec.kind == Kind::Audio {
            48_000
        } else {
            90_000
        };
        // `ticks` is already that of the next packet.
        let next = self.spec.trace.packets[self.at].ticks;
        let since = (now - last).as_micros() as u64 * hz / 1_000_000;
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        Some(SenderInfo {
            ssrc: self.spec.encoding.ssrc,
            ntp: (wall.as_secs() + NTP_EPOCH) << 32 | fraction,
            rtp: self.ticks.wrapping_sub(next).wrapping_add(since as u32),
            packets: self.count,
            octets: self.octets,
        })
    }

    fn keep(&mut self, sent: Sent, sealed: &[u8]) {
        let place = sent.index as usize;
        if self.spec.kind == Kind::Video {
            let places = self.kept.len();
            self.kept[place % places] = sent;
        } else {
            let places = self.sealed.len();
            let kept = &mut self.sealed[place % places];
            kept.clear();
            kept.extend_from_slice(sealed);
        }
    }

    fn write(&self, sent: &Sent, count: u32, way: &mut Way<'_>) -> Option<usize> {
        let packet = &self.spec.trace.packets[sent.at as usize];
        let pt = self.spec.accepted.pt;
        let (ssrc, index) = (self.spec.encoding.ssrc, sent.index);
        let rid = self.spec.accepted.rid;
        let numbers = (index as u16, sent.ticks, ssrc);
        let header = self.header(packet.marker, pt, numbers, rid, way)?;
        let end = header + usize::from(packet.len);
        let payload = way.buf.get_mut(header..end)?;
        self.fill(payload, sent, count);
        way.sealer.seal_rtp(way.buf, header, end, ssrc, index).ok()
    }

    /// RFC 4588 §4: the original number in front of the original payload.
    fn write_rtx(&mut self, sent: &Sent, way: &mut Way<'_>) -> Option<usize> {
        let packet = &self.spec.trace.packets[sent.at as usize];
        let (pt, ssrc) = (self.spec.accepted.rtx_pt?, self.spec.encoding.rtx);
        let index = self.rtx_index;
        let count = self.count - (self.index - sent.index) as u32;
        let repaired = self.spec.accepted.repaired_rid;
        let numbers = (index as u16, sent.ticks, ssrc);
        let header = self.header(packet.marker, pt, numbers, repaired, way)?;
        let end = header + 2 + usize::from(packet.len);
        let payload = way.buf.get_mut(header..end)?;
        payload[..2].copy_from_slice(&(sent.index as u16).to_be_bytes());
        self.fill(&mut payload[2..], sent, count);
        self.rtx_index += 1;
        way.sealer.seal_rtp(way.buf, header, end, ssrc, index).ok()
    }

    /// rid: the id of the extension that names the layer.
    fn header(
        &self,
        marker: bool,
        pt: u8,
        (seq, ticks, ssrc): (u16, u32, u32),
        rid: Option<u8>,
        way: &mut Way<'_>,
    ) -> Option<usize> {
        let accepted = &self.spec.accepted;
        // abs-send-time: 6.18 bit fixed point seconds, modulo 64.
        let sent = (clock::now_ns() / 1000 * (1 << 18) / 1_000_000) as u32;
        let [_, sent @ ..] = sent.to_be_bytes();
        let wide = way.wide_seq.to_be_bytes();
        let mut extensions = ExtensionList::default();
        extensions.add(accepted.mid, Some(self.spec.mid.as_bytes()));
        extensions.add(rid, self.spec.encoding.rid.map(str::as_bytes));
        extensions.add(accepted.abs_send_time, Some(&sent));
        extensions.add(accepted.transport_cc, Some(&wide));
        if accepted.transport_cc.is_some() {
            *way.wide_seq = way.wide_seq.wrapping_add(1);
        }
        write_header(way.buf, marker, pt, seq, ticks, ssrc, &extensions)
    }

    fn fill(&self, payload: &mut [u8], sent: &Sent, count: u32) {
        let packet = &self.spec.trace.packets[sent.at as usize];
        let head = packet.head();
        let rest = payload.len() - head.len();
        payload[..head.len()].copy_from_slice(head);
        payload[head.len()..].copy_from_slice(&FILLER[..rest.min(FILLER.len())]);
        if self.spec.kind == Kind::Video {
            set_picture_id(payload, sent.picture);
        }
        let stamp = Stamp {
            stream: self.spec.stream,
            count,
            sent_ns: sent.stamp_ns,
        };
        let at = stamp_at(self.spec.kind);
        if let Some(room) = payload.get_mut(at..) {
            stamp.write(room);
        }
    }
}

/// Sets the picture id of a VP8 payload that has one of 15 bits (RFC 7741 §4.2).
fn set_picture_id(payload: &mut [u8], id: u16) {
    let [first, fields, high, low, ..] = payload else {
        return;
    };
    let is_extended = *first & 0x80 != 0 && *fields & 0x80 != 0;
    if is_extended && *high & 0x80 != 0 {
        [*high, *low] = (id | 0x8000).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TracePacket;
    use ahash::RandomState;
    use parley_sfu::rtp::Header;
    use parley_sfu::srtp::{MasterKey, Opener, SrtpProfile};

    const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;

    struct Rig {
        sender: Sender,
        sealer: Sealer,
        opener: Opener,
        ledgers: Ledgers,
        totals: Totals,
        wide_seq: u16,
    }

    impl Rig {
        /// Two frames of two packets each, the first a keyframe, 33 ms apart.
        fn new(now: Instant) -> Rig {
            let frame = |keyframe: u8, after_us, ticks| {
                let start = [&[0x90, 0x80, 0x80, 1, keyframe][..], &[9; 995]].concat();
                let end = [&[0x80, 0x80, 0x80, 1][..], &[9; 496]].concat();
                [
                    TracePacket::new(after_us, ticks, false, &start, 24),
                    TracePacket::new(1_000, 0, true, &end, 24),
                ]
            };
            let packets = [frame(0, 32_000, 3_000), frame(1, 32_000, 3_000)].concat();
            let trace = Trace::new(Kind::Video, String::new(), packets).unwrap();
            let mut ledgers = Ledgers::default();
            let spec = SenderSpec {
                stream: 5,
                kind: Kind::Video,
                mid: "0".into(),
                layer: Layer { track: 9, index: 1 },
                encoding: Encoding {
                    rid: Some("b"),
                    ssrc: 77,
                    rtx: 78,
                },
                accepted: Accepted {
                    pt: 96,
                    rtx_pt: Some(97),
                    mid: Some(4),
                    rid: Some(5),
                    repaired_rid: Some(6),
                    abs_send_time: None,
                    transport_cc: Some(3),
                },
                trace: Arc::new(trace),
                begin: now,
                first_seq: 65_534,
            };
            let hasher = RandomState::with_seeds(1, 2, 3, 4);
            let master = MasterKey::new(&[1; 16], &[2; 12]).unwrap();
            Rig {
                sender: Sender::new(spec, &mut ledgers),
                sealer: Sealer::new(PROFILE, &master, hasher.clone()).unwrap(),
                opener: Opener::new(PROFILE, &master, hasher).unwrap(),
                ledgers,
                totals: Totals::default(),
                wide_seq: 0,
            }
        }

        fn open(&mut self, packet: &[u8]) -> (Header, Vec<u8>) {
            let header = Header::parse(packet).unwrap();
            let mut packet = packet.to_vec();
            let (len, _) = self
                .opener
                .open_rtp(&mut packet, header.len, header.ssrc, header.seq)
                .unwrap();
            (header, packet[header.len..len].to_vec())
        }

        fn next(&mut self, now: Instant) -> (Header, Vec<u8>) {
            let mut buf = [0; 1600];
            let mut way = Way {
                sealer: &mut self.sealer,
                buf: &mut buf,
                wide_seq: &mut self.wide_seq,
            };
            let (ledgers, totals) = (&mut self.ledgers, &mut self.totals);
            let len = self.sender.next(now, &mut way, ledgers, totals);
            self.open(&buf[..len])
        }

        fn again(&mut self, seq: u16) -> (Header, Vec<u8>) {
            let mut buf = [0; 1600];
            let mut way = Way {
                sealer: &mut self.sealer,
                buf: &mut buf,
                wide_seq: &mut self.wide_seq,
            };
            let len = self.sender.again(seq, &mut way);
            self.open(&buf[..len])
        }
    }

    #[test]
    fn a_trace_goes_on_from_its_end_to_its_beginning() {
        let start = Instant::now();
        let mut rig = Rig::new(start);

        let mut now = start;
        let mut seen = Vec::new();
        for _ in 0..5 {
            let (header, payload) = rig.next(now);
            let stamp = Stamp::read(&payload[24..]).unwrap();
            seen.push((header.seq, header.timestamp, payload.len(), stamp.count));
            now = rig.sender.due;
        }

        assert_eq!(
            seen,
            [
                (65_534, 77, 1000, 0),
                (65_535, 77, 500, 1),
                (0, 3_077, 1000, 2),
                (1, 3_077, 500, 3),
                (2, 6_077, 1000, 4)
            ]
        );
        assert_eq!(
            now - start,
            Duration::from_millis(99) - Duration::from_millis(32)
        );
        assert_eq!(rig.ledgers[&5].length(3), Some(500));
    }

    #[test]
    fn every_frame_has_the_next_picture_id() {
        let now = Instant::now();
        let mut rig = Rig::new(now);

        let ids: Vec<u16> = (0..6)
            .map(|_| {
                let payload = rig.next(now).1;
                u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff
            })
            .collect();

        assert_eq!(ids, [0x7fff, 0x7fff, 0, 0, 1, 1]);
    }

    #[test]
    fn a_keyframe_that_is_asked_for_comes_at_once_but_not_too_often() {
        let start = Instant::now();
        let mut rig = Rig::new(start);
        rig.next(start);
        rig.next(start);

        // Too soon after the first: the trace goes on.
        assert!(!rig.sender.on_keyframe_request(start));
        let delta = rig.next(start + Duration::from_millis(33)).1;
        assert_eq!(delta[4] & 1, 1);
        rig.next(start + Duration::from_millis(34));
        let later = start + Duration::from_millis(350);
        rig.sender.due = later + Duration::from_millis(20);
        assert!(rig.sender.on_keyframe_request(later));

        let (header, payload) = rig.next(later);
        assert_eq!(payload[4] & 1, 0);
        assert!(header.timestamp > 3_077);
        assert_eq!(rig.sender.requests, 2);
        assert_eq!(rig.sender.requests_in_a_second, 2);
    }

    #[test]
    fn what_is_asked_for_again_comes_as_rtx_with_the_same_payload() {
        let now = Instant::now();
        let mut rig = Rig::new(now);
        let first = rig.next(now).1;
        rig.next(now);

        let (header, payload) = rig.again(65_534);

        assert_eq!((header.ssrc, header.pt), (78, 97));
        assert_eq!(payload[..2], 65_534u16.to_be_bytes());
        assert_eq!(payload[2..], first);
    }
}
