//! A `Media` with peers around it, and a network between them that a test can disturb.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::media::*;
use crate::rtcp::{Compound, Packet, ReportBlock, TwccStatus, Writer, XrBlock};
use crate::rtp::{ExtensionList, Header, is_rtcp, write_header};
use crate::spec::*;
use crate::srtp::{MasterKey, Opener, Sealer, SrtpKeys, SrtpProfile};

pub const MID_EXT: u8 = 1;
pub const RID_EXT: u8 = 2;
pub const REPAIRED_RID_EXT: u8 = 3;
pub const TWCC_EXT: u8 = 4;
pub const LEVEL_EXT: u8 = 5;
pub const SEND_TIME_EXT: u8 = 6;
pub const CAPTURE_EXT: u8 = 7;

pub const OPUS: u8 = 111;
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;

/// First bytes of VP8 payloads: the first packet of a keyframe, of another frame, and any later one.
pub const KEY: &[u8] = &[0x10, 0x00];
pub const DELTA: &[u8] = &[0x10, 0x01];
pub const MORE: &[u8] = &[0x00, 0x00];

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn extensions() -> ExtensionIds {
    ExtensionIds {
        mid: Some(MID_EXT),
        rid: Some(RID_EXT),
        repaired_rid: Some(REPAIRED_RID_EXT),
        transport_cc: Some(TWCC_EXT),
        audio_level: Some(LEVEL_EXT),
        abs_send_time: Some(SEND_TIME_EXT),
        abs_capture_time: Some(CAPTURE_EXT),
        ..ExtensionIds::default()
    }
}

pub fn opus() -> CodecSpec {
    CodecSpec {
        pt: OPUS,
        name: "opus".into(),
        clock_hz: 48_000,
        channels: 2,
        fmtp: "minptime=10;useinbandfec=1".into(),
        rtx_pt: None,
        red_pt: None,
    }
}

pub fn vp8() -> CodecSpec {
    CodecSpec {
        pt: VP8,
        name: "VP8".into(),
        clock_hz: 90_000,
        channels: 1,
        fmtp: String::new(),
        rtx_pt: Some(VP8_RTX),
        red_pt: None,
    }
}

pub fn recv_audio(mid: &str, ssrc: u32) -> RecvSpec {
    RecvSpec {
        mid: mid.into(),
        kind: MediaKind::Audio,
        codecs: vec![opus()],
        extensions: extensions(),
        ssrcs: vec![ssrc],
        groups: vec![],
        rids: vec![],
        nack: true,
        twcc: true,
        remb: false,
    }
}

pub fn recv_video(mid: &str, ssrc: u32, rtx_ssrc: u32) -> RecvSpec {
    RecvSpec {
        kind: MediaKind::Video,
        codecs: vec![vp8()],
        ssrcs: vec![ssrc, rtx_ssrc],
        groups: vec![SsrcGroup {
            semantics: SsrcSemantics::Fid,
            ssrcs: vec![ssrc, rtx_ssrc],
        }],
        ..recv_audio(mid, ssrc)
    }
}

pub fn send_audio(mid: &str, ssrc: u32) -> SendSpec {
    SendSpec {
        mid: mid.into(),
        kind: MediaKind::Audio,
        ssrc,
        rtx_ssrc: None,
        codecs: vec![opus()],
        extensions: ExtensionIds {
            mid: Some(MID_EXT),
            audio_level: Some(LEVEL_EXT),
            abs_capture_time: Some(CAPTURE_EXT),
            ..ExtensionIds::default()
        },
        cname: "stream".into(),
        nack: true,
        feedback: Feedback::None,
    }
}

/// With payload types of its own, as an answer with other numbers has.
pub fn send_video(mid: &str, ssrc: u32, rtx_ssrc: u32) -> SendSpec {
    SendSpec {
        kind: MediaKind::Video,
        rtx_ssrc: Some(rtx_ssrc),
        codecs: vec![CodecSpec {
            pt: 120,
            rtx_pt: Some(121),
            ..vp8()
        }],
        extensions: ExtensionIds {
            mid: Some(MID_EXT),
            abs_send_time: Some(SEND_TIME_EXT),
            ..ExtensionIds::default()
        },
        feedback: Feedback::Remb,
        ..send_audio(mid, ssrc)
    }
}

/// One RTP packet that a peer received.
#[derive(Clone, Debug)]
pub struct Got {
    pub header: Header,
    pub index: u64,
    pub payload: Vec<u8>,
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl Got {
    pub fn extension(&self, id: u8) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|(known, _)| *known == id);
        found.map(|(_, value)| &value[..])
    }
}

/// One RTCP packet that a peer received.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    Sender {
        ssrc: u32,
        ntp: u64,
        rtp: u32,
        packets: u32,
    },
    Receiver(Vec<ReportBlock>),
    Name(u32, Vec<u8>),
    Bye(u32),
    Nack(u32, Vec<u16>),
    Pli(u32),
    Remb(u64, Vec<u32>),
    Twcc(u32, Vec<TwccStatus>),
    /// Whose time it is, and the time.
    Reference(u32, u64),
}

/// A packet a test wants sent.
#[derive(Clone)]
pub struct Rtp<'a> {
    pub pt: u8,
    pub seq: u64,
    pub timestamp: u32,
    pub ssrc: u32,
    pub marker: bool,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub payload: &'a [u8],
    pub padding: u8,
}

pub fn audio(ssrc: u32, n: u64) -> Rtp<'static> {
    Rtp {
        pt: OPUS,
        seq: n,
        timestamp: (n * 960) as u32,
        ssrc,
        marker: false,
        extensions: vec![],
        payload: b"opus",
        padding: 0,
    }
}

pub fn video(ssrc: u32, n: u64, payload: &'static [u8]) -> Rtp<'static> {
    Rtp {
        pt: VP8,
        timestamp: (n * 3000) as u32,
        payload,
        ..audio(ssrc, n)
    }
}

pub struct Peer {
    pub transport: TransportId,
    pub address: SocketAddr,
    sealer: Sealer,
    opener: Opener,
    pub rtp: Vec<Got>,
    pub reports: Vec<Report>,
    /// Datagrams as they came, RTP only.
    pub datagrams: Vec<Vec<u8>>,
}

#[derive(Default)]
pub struct Sent(pub VecDeque<(SocketAddr, Vec<u8>)>);

impl Outbox for Sent {
    fn push(&mut self, to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        let mut slot = vec![0xaa; 1536];
        let len = build(&mut slot);
        if len > 0 {
            slot.truncate(len);
            self.0.push_back((to, slot));
        }
    }
}

pub struct Rig {
    pub media: Media,
    pub now: Instant,
    pub events: Vec<MediaEvent>,
    pub peers: Vec<Peer>,
    pub sent: Sent,
}

impl Rig {
    /// `peers` transports, numbered from 0, with keys and addresses.
    pub fn new(peers: usize) -> Rig {
        Rig::with_profile(peers, SrtpProfile::AeadAes128Gcm)
    }

    pub fn with_profile(peers: usize, profile: SrtpProfile) -> Rig {
        let start = Instant::now();
        let mut rig = Rig {
            media: Media::new(&MediaConfig::default(), 42),
            now: start,
            events: vec![],
            peers: vec![],
            sent: Sent::default(),
        };
        for _ in 0..peers {
            rig.add_peer(profile, true);
        }
        rig
    }

    /// One more transport; its number is the next.
    pub fn add_peer(&mut self, profile: SrtpProfile, is_connected: bool) {
        let n = self.peers.len();
        let transport = TransportId(100 + n as u64);
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        self.media.open(transport, GroupId(1));
        self.peers.push(Peer {
            transport,
            address: SocketAddr::from(([127, 0, 0, 1], 9000 + n as u16)),
            sealer: Sealer::new(profile, &key(profile, n, 1), hasher.clone()).unwrap(),
            opener: Opener::new(profile, &key(profile, n, 0), hasher).unwrap(),
            rtp: vec![],
            reports: vec![],
            datagrams: vec![],
        });
        if is_connected {
            self.connect(n, profile);
        }
    }

    /// ICE and DTLS of a peer are done.
    pub fn connect(&mut self, n: usize, profile: SrtpProfile) {
        let (transport, address) = (self.peers[n].transport, self.peers[n].address);
        self.media.set_route(transport, address);
        let keys = SrtpKeys {
            profile,
            local: key(profile, n, 0),
            remote: key(profile, n, 1),
        };
        self.media.set_keys(transport, &keys);
    }

    pub fn apply(&mut self, peer: usize, change: MediaChange) {
        let transport = self.peers[peer].transport;
        self.media
            .apply(
                transport,
                &change,
                self.now,
                &mut self.sent,
                &mut self.events,
            )
            .expect("a change that can be applied");
        self.flush();
    }

    pub fn receive(&mut self, peer: usize, producer: u64, spec: RecvSpec) {
        self.apply(
            peer,
            MediaChange {
                recv: vec![(ProducerId(producer), spec)],
                ..MediaChange::default()
            },
        );
    }

    pub fn send(&mut self, peer: usize, consumer: u64, spec: SendSpec, source: Option<u64>) {
        self.apply(
            peer,
            MediaChange {
                send: vec![(ConsumerId(consumer), spec)],
                ..MediaChange::default()
            },
        );
        if source.is_some() {
            self.source(consumer, source);
        }
    }

    pub fn source(&mut self, consumer: u64, source: Option<u64>) {
        self.command(MediaCommand::ConsumerSource(
            ConsumerId(consumer),
            source.map(ProducerId),
            None,
        ));
    }

    /// Asks for a layer, and for these in turn while it is missing.
    pub fn layer(&mut self, consumer: u64, target: u8, when_missing: &[u8]) {
        let policy = layer_policy(target, when_missing);
        self.command(MediaCommand::ConsumerPolicy(ConsumerId(consumer), policy));
    }

    pub fn command(&mut self, command: MediaCommand) {
        self.media
            .command(command, self.now, &mut self.sent, &mut self.events);
        self.flush();
    }

    /// Seals a packet as a peer does.
    pub fn sealed(&mut self, peer: usize, rtp: &Rtp<'_>) -> Vec<u8> {
        let mut list = ExtensionList::default();
        for (id, value) in &rtp.extensions {
            list.add(Some(*id), Some(value));
        }
        let mut buf = vec![0; 1536];
        let header_len = write_header(
            &mut buf,
            rtp.marker,
            rtp.pt,
            rtp.seq as u16,
            rtp.timestamp,
            rtp.ssrc,
            &list,
        )
        .unwrap();
        let mut len = header_len + rtp.payload.len();
        buf[header_len..len].copy_from_slice(rtp.payload);
        if rtp.padding > 0 {
            buf[0] |= 0x20;
            len += usize::from(rtp.padding);
            buf[len - 1] = rtp.padding;
        }
        let sealed = self.peers[peer]
            .sealer
            .seal_rtp(&mut buf, header_len, len, rtp.ssrc, rtp.seq)
            .unwrap();
        buf.truncate(sealed);
        buf
    }

    pub fn rtp(&mut self, peer: usize, rtp: Rtp<'_>) {
        let datagram = self.sealed(peer, &rtp);
        self.deliver(peer, datagram);
    }

    pub fn seal_rtcp(&mut self, peer: usize, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buf = vec![0; 1400];
        let mut writer = Writer::new(&mut buf[..1200]);
        fill(&mut writer);
        let len = writer.len();
        let sealed = self.peers[peer].sealer.seal_rtcp(&mut buf, len).unwrap();
        buf.truncate(sealed);
        buf
    }

    pub fn rtcp(&mut self, peer: usize, fill: impl FnOnce(&mut Writer<'_>)) {
        let datagram = self.seal_rtcp(peer, fill);
        self.deliver(peer, datagram);
    }

    /// Hands a datagram of `peer` to the media side. True: authentic and new.
    pub fn deliver(&mut self, peer: usize, mut datagram: Vec<u8>) -> bool {
        let is_taken = self.feed(peer, &mut datagram);
        self.flush();
        is_taken
    }

    /// As `deliver`; what is sent in answer waits in `sent`.
    pub fn feed(&mut self, peer: usize, datagram: &mut [u8]) -> bool {
        let transport = self.peers[peer].transport;
        self.media.on_datagram(
            transport,
            self.now,
            datagram,
            &mut self.sent,
            &mut self.events,
        )
    }

    /// Moves the clock, firing what falls due on the way.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.media.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.fire();
            self.flush();
        }
        self.now = end;
    }

    pub fn fire(&mut self) {
        self.media
            .on_timer(self.now, &mut self.sent, &mut self.events);
    }

    /// Everything sent arrives.
    pub fn flush(&mut self) {
        while let Some((to, datagram)) = self.sent.0.pop_front() {
            let peer = self.peers.iter().position(|p| p.address == to).unwrap();
            self.arrive(peer, datagram);
        }
    }

    /// A datagram of ours reaches a peer, which opens it. False: it had come before.
    pub fn arrive(&mut self, peer: usize, mut datagram: Vec<u8>) -> bool {
        let peer = &mut self.peers[peer];
        if is_rtcp(&datagram) {
            let len = match peer.opener.open_rtcp(&mut datagram) {
                Ok(len) => len,
                Err(crate::srtp::OpenError::Replayed) => return false,
                Err(error) => panic!("{error:?}"),
            };
            peer.reports.extend(reports(&datagram[..len]));
            return true;
        }
        peer.datagrams.push(datagram.clone());
        let header = Header::parse(&datagram).expect("an RTP header");
        let opened = peer
            .opener
            .open_rtp(&mut datagram, header.len, header.ssrc, header.seq);
        let (len, index) = match opened {
            Ok(opened) => opened,
            Err(crate::srtp::OpenError::Replayed) => return false,
            Err(error) => panic!("{error:?}"),
        };
        let packet = &datagram[..len];
        peer.rtp.push(Got {
            header,
            index,
            payload: header.payload(packet).unwrap().to_vec(),
            extensions: header
                .extensions(packet)
                .map(|(id, value)| (id, value.to_vec()))
                .collect(),
        });
        true
    }

    pub fn take_reports(&mut self, peer: usize) -> Vec<Report> {
        std::mem::take(&mut self.peers[peer].reports)
    }

    pub fn take_rtp(&mut self, peer: usize) -> Vec<Got> {
        std::mem::take(&mut self.peers[peer].rtp)
    }

    pub fn plis(&mut self, peer: usize) -> usize {
        let reports = self.take_reports(peer);
        reports
            .iter()
            .filter(|r| matches!(r, Report::Pli(_)))
            .count()
    }
}

pub fn layer_policy(target: u8, when_missing: &[u8]) -> LayerPolicy {
    LayerPolicy {
        target,
        when_missing: when_missing.to_vec(),
        max_temporal: None,
    }
}

/// Side 0 is ours.
fn key(profile: SrtpProfile, peer: usize, side: u8) -> MasterKey {
    let key = vec![side + 2 * peer as u8; profile.key_len()];
    MasterKey::new(&key, &vec![side; profile.salt_len()]).unwrap()
}

pub fn reports(compound: &[u8]) -> Vec<Report> {
    let mut all = Vec::new();
    for packet in Compound::new(compound) {
        match packet {
            Packet::SenderReport {
                ssrc,
                ntp,
                rtp,
                packets,
                ..
            } => all.push(Report::Sender {
                ssrc,
                ntp,
                rtp,
                packets,
            }),
            Packet::ReceiverReport { reports, .. } => {
                all.push(Report::Receiver(reports.collect()));
            }
            Packet::SourceDescription(items) => {
                all.extend(items.map(|(ssrc, name)| Report::Name(ssrc, name.to_vec())));
            }
            Packet::Bye(list) => all.extend(list.map(Report::Bye)),
            Packet::Nack { media, lost, .. } => all.push(Report::Nack(media, lost.collect())),
            Packet::Pli { media, .. } => all.push(Report::Pli(media)),
            Packet::Remb {
                bitrate_bps, ssrcs, ..
            } => all.push(Report::Remb(bitrate_bps, ssrcs.collect())),
            Packet::Twcc {
                media, feedback, ..
            } => all.push(Report::Twcc(media, feedback.statuses().collect())),
            Packet::Extended { ssrc, blocks } => {
                for block in blocks {
                    match block {
                        XrBlock::ReferenceTime { ntp } => all.push(Report::Reference(ssrc, ntp)),
                        XrBlock::Delays(_) => panic!("{block:?}"),
                    }
                }
            }
            Packet::Fir { .. } | Packet::Other { .. } => panic!("{packet:?}"),
        }
    }
    all
}
