//! A call of two peers on a shard that is never run: connected by ICE, DTLS and SCTP as clients do it,
//! then told whatever the input says, with the right keys. Time is passed in.

#[cfg(test)]
mod restart;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use dimpl::{Dtls, DtlsCertificate, Output};
use is::stun::{StunMessage, TransId};
use ring::{digest, hmac};

use super::input::Input;
use super::sctp::SctpClient;
use super::specs;
use crate::command::{ChannelId, ChannelOptions, Command, Hear, RemoteTransport, RequestId, Setup};
use crate::config::EngineConfig;
use crate::data::{Channel, ChannelShared};
use crate::event::Event;
use crate::media::{MediaChange, MediaCommand};
use crate::net::sys::Received;
use crate::net::udp::UdpSocket as Shared;
use crate::port::Port;
use crate::rtp::Header;
use crate::shard::{Board, Shard};
use crate::spec::{
    CodecSpec, ConsumerId, DataSpec, ExtensionIds, Feedback, GroupId, MediaKind, ProducerId,
    RecvSpec, SendSpec, SsrcGroup, SsrcSemantics, TransportId,
};
use crate::srtp::{Opener, Sealer, SrtpKeys, SrtpProfile};
use crate::transport::dtls::Certificate;

thread_local! {
    // Ours and the peers'. To make one takes longer than a short input.
    static CERTIFICATES: (Certificate, DtlsCertificate) = (
        Certificate::generate(1200).expect("the machine has random bytes"),
        dimpl::certificate::generate_self_signed_certificate()
            .expect("the machine has random bytes"),
    );
}

const GROUP: GroupId = GroupId(1);
/// SSRCs of what each peer publishes: Opus, VP8 and its retransmissions, and a second layer of VP8.
const SSRCS: [u32; 4] = [10, 12, 13, 14];
const PTS: [u8; 4] = [111, 96, 97, 96];

pub struct FuzzCall {
    shard: Shard,
    port: Arc<Port>,
    pub(super) now: Instant,
    pub(super) peers: Vec<FuzzPeer>,
    channels: Vec<Channel>,
    /// What the caller was told, for a test to read.
    #[cfg(test)]
    pub(super) told: Vec<Event>,
}

pub(super) struct FuzzPeer {
    pub(super) id: TransportId,
    ufrag: String,
    socket: UdpSocket,
    addr: SocketAddr,
    dtls: Dtls,
    pub(super) sctp: SctpClient,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    seqs: [u16; 4],
    /// Packets of media that have come and opened.
    heard: u64,
}

impl Default for FuzzCall {
    /// Both peers are connected, publish Opus and VP8, are sent what the other publishes, and have an
    /// association each.
    fn default() -> Self {
        let config = EngineConfig {
            stun_rate: 1 << 20,
            ..EngineConfig::default()
        };
        let socket = Shared::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("loopback has a free port");
        let port = Arc::new(Port::new(64, 4096).expect("the process has a free descriptor"));
        let board = Arc::new(Board::default());
        let certificate = CERTIFICATES.with(|(ours, _)| ours.clone());
        let shard = Shard::new(config, socket, certificate, port.clone(), board)
            .expect("the process has a free descriptor");
        let mut call = FuzzCall {
            shard,
            port,
            now: Instant::now(),
            peers: Vec::new(),
            channels: Vec::new(),
            #[cfg(test)]
            told: Vec::new(),
        };
        for id in 0..2 {
            call.join(id);
        }
        for id in 0..2u64 {
            for n in 0..2 {
                let source = ProducerId(10 * (2 - id) + n);
                let consumer = ConsumerId(100 * (id + 1) + n);
                call.command(Command::Media(MediaCommand::ConsumerSource(
                    consumer,
                    Some(source),
                    None,
                )));
            }
        }
        call
    }
}

impl FuzzCall {
    /// The input is a list of `[what, length, bytes…]`; afterwards everything is taken down.
    pub fn feed(&mut self, input: &[u8]) {
        let mut input = Input(input);
        while let Some((what, step)) = input.step() {
            let peer = usize::from(what & 1);
            self.step(peer, (what >> 1) & 15, step);
            self.now += Duration::from_millis(u64::from(what >> 5));
            self.rest();
        }
        for later in [1, 4, 70] {
            self.now += Duration::from_secs(later);
            self.rest();
        }
        for id in 0..2 {
            let transport = TransportId(id + 1);
            self.command(Command::Close { transport });
        }
        assert!(self.shard.is_empty(), "a transport has outlived its end");
        assert_eq!(self.count("panics"), 0, "a panic was contained");
        for name in [
            "producers",
            "consumers",
            "channels",
            "links",
            "transports_pending",
        ] {
            assert_eq!(self.count(name), 0, "{name}");
        }
    }

    /// A counter of the engine.
    pub fn count(&mut self, name: &str) -> u64 {
        self.shard.counter(name)
    }

    /// Media packets that have reached each peer.
    pub fn heard(&self) -> [u64; 2] {
        [self.peers[0].heard, self.peers[1].heard]
    }

    fn step(&mut self, peer: usize, what: u8, mut step: Input<'_>) {
        match what {
            // RTP of a stream that is there.
            0..=2 => self.rtp(peer, &mut step),
            // RTP and RTCP that open, whatever they say.
            3 => self.sealed_rtp(peer, step.0),
            4 | 5 => self.sealed_rtcp(peer, step.0),
            // SCTP inside DTLS, first whatever a peer writes, then what it says properly.
            6 => {
                let packet = self.peers[peer].sctp.forge(step.0);
                self.encrypt(peer, &packet);
            }
            7 => self.encrypt(peer, step.0),
            8 => {
                self.peers[peer].sctp.write(&mut step);
                self.talk(peer);
            }
            9 => {
                self.peers[peer].sctp.reset(u16::from(step.below(8)));
                self.talk(peer);
            }
            // Whatever a network brings, from the peer's address and from elsewhere.
            10 => self.datagram(self.peers[peer].addr, step.0),
            11 => self.datagram(SocketAddr::from((Ipv4Addr::LOCALHOST, 7)), step.0),
            12 => self.check(peer, &mut step),
            13 => self.now += Duration::from_millis(u64::from(step.byte()) * 20),
            _ => self.ask(peer, &mut step),
        }
    }

    // ── what the peers send ─────────────────────────────────────────────────────────────────────

    pub(super) fn rtp(&mut self, peer: usize, step: &mut Input<'_>) {
        let stream = usize::from(step.below(4));
        let from = &mut self.peers[peer];
        let seq = from.seqs[stream].wrapping_add(u16::from(step.byte()));
        from.seqs[stream] = seq.wrapping_add(1);
        let flags = step.byte();
        let mut packet = vec![0x80, PTS[stream] | (flags & 0x80)];
        packet.extend_from_slice(&seq.to_be_bytes());
        packet.extend_from_slice(&(u32::from(seq) * 960 + u32::from(flags & 15)).to_be_bytes());
        packet.extend_from_slice(&SSRCS[stream].to_be_bytes());
        packet.extend_from_slice(step.0);
        self.sealed_rtp(peer, &packet);
    }

    pub(super) fn sealed_rtp(&mut self, peer: usize, plain: &[u8]) {
        let from = &mut self.peers[peer];
        let (Some(sealer), Some(header)) = (&mut from.sealer, Header::parse(plain)) else {
            return;
        };
        let mut datagram = plain.to_vec();
        datagram.resize(plain.len() + 32, 0);
        let index = u64::from(header.seq);
        let sealed = sealer.seal_rtp(&mut datagram, header.len, plain.len(), header.ssrc, index);
        if let Ok(len) = sealed {
            let from = from.addr;
            self.datagram(from, &datagram[..len]);
        }
    }

    pub(super) fn sealed_rtcp(&mut self, peer: usize, plain: &[u8]) {
        let mut datagram = plain.to_vec();
        datagram.resize(plain.len() + 32, 0);
        if let [version, kind, ..] = datagram.as_mut_slice() {
            *version = 0x80 | (*version & 0x3f);
            *kind = 192 + (*kind & 31);
        }
        let from = &mut self.peers[peer];
        let sealed = from
            .sealer
            .as_mut()
            .and_then(|sealer| sealer.seal_rtcp(&mut datagram, plain.len()).ok());
        if let Some(len) = sealed {
            let from = from.addr;
            self.datagram(from, &datagram[..len]);
        }
    }

    pub(super) fn encrypt(&mut self, peer: usize, packet: &[u8]) {
        // Refused by a session that is over.
        let _ = self.peers[peer].dtls.send_application_data(packet);
        self.flush_dtls(peer);
    }

    /// A connectivity check that may or may not be right.
    fn check(&mut self, peer: usize, step: &mut Input<'_>) {
        let (nominate, moved, flaw) = (step.is_set(), step.is_set(), step.below(4));
        let mut check = self.peers[peer].check(nominate);
        match flaw {
            0 | 1 => {}
            2 => {
                let at = usize::from(step.byte()) % check.len();
                check[at] ^= step.byte();
            }
            _ => check.truncate(usize::from(step.byte())),
        }
        let from = match moved {
            true => SocketAddr::from((Ipv4Addr::LOCALHOST, 7 + u16::from(step.byte()))),
            false => self.peers[peer].addr,
        };
        self.datagram(from, &check);
    }

    // ── what the caller asks ────────────────────────────────────────────────────────────────────

    fn ask(&mut self, peer: usize, step: &mut Input<'_>) {
        let transport = self.peers[peer].id;
        let request = RequestId(1);
        let producer = ProducerId(10 * (1 + u64::from(step.below(2))) + u64::from(step.below(2)));
        let consumer = ConsumerId(100 * transport.0 + u64::from(step.below(2)));
        let command = match step.below(16) {
            0 => {
                let policy = step.is_set().then(|| specs::layer_policy(step));
                Command::Media(MediaCommand::ConsumerSource(
                    consumer,
                    Some(producer),
                    policy,
                ))
            }
            1 => Command::Media(MediaCommand::ConsumerSource(consumer, None, None)),
            2 => Command::Media(MediaCommand::ConsumerPause(consumer)),
            3 => Command::Media(MediaCommand::ConsumerResume(consumer)),
            4 => Command::Media(MediaCommand::ConsumerKeyframe(consumer)),
            5 => Command::Media(MediaCommand::ProducerPause(producer)),
            6 => Command::Media(MediaCommand::ProducerResume(producer)),
            7 => Command::SetBitrate {
                transport,
                request,
                max_in_bps: step.is_set().then(|| u64::from(step.word())),
            },
            8 => Command::RestartIce {
                transport,
                ufrag: format!("0{}", step.text()),
                pwd: step.text(),
            },
            9 => Command::Apply {
                transport,
                request,
                remote: step.is_set().then(|| specs::remote(step)),
                media: specs::change(step),
                data: None,
            },
            10 => Command::Stats { transport, request },
            11 => Command::Close { transport },
            14 if step.is_set() => return self.announce(peer),
            14 => return self.begin_anew(peer, step.is_set()),
            12 => return self.open_channel(transport, step),
            13 => {
                let policy = specs::layer_policy(step);
                Command::Media(MediaCommand::ConsumerPolicy(consumer, policy))
            }
            _ => return self.use_channel(step),
        };
        self.command(command);
    }

    fn open_channel(&mut self, transport: TransportId, step: &mut Input<'_>) {
        let options = ChannelOptions {
            label: step.text(),
            ordered: step.is_set(),
            ..ChannelOptions::default()
        };
        let shared = Arc::new(ChannelShared::new(
            ChannelId(self.port.mint()),
            transport,
            options.is_reliable(),
            4096,
            Arc::default(),
        ));
        self.channels.push(Channel {
            shared: shared.clone(),
            port: self.port.clone(),
        });
        self.command(Command::OpenChannel {
            transport,
            shared,
            options,
        });
    }

    fn use_channel(&mut self, step: &mut Input<'_>) {
        let index = usize::from(step.byte());
        let Some(channel) = self.channels.get(index % self.channels.len().max(1)) else {
            return;
        };
        let to = &self.channels[usize::from(step.byte()) % self.channels.len()];
        match step.below(7) {
            0 => channel.listen(Hear::Each),
            1 => channel.listen(Hear::One),
            2 => channel.listen(Hear::Nothing),
            3 => {
                // Refused where there are as many as there may be.
                let _ = channel.link(to);
            }
            4 => {
                let _ = channel.unlink(to);
            }
            5 => {
                // Refused by a channel that is full or over.
                let _ = channel.send(Bytes::copy_from_slice(step.0), false);
            }
            _ => {
                let _ = channel.close();
            }
        }
        self.obey();
    }

    // ── the shard ───────────────────────────────────────────────────────────────────────────────

    /// Does what the handles have asked.
    pub(super) fn obey(&mut self) {
        while let Some(command) = self.port.next_command() {
            self.command(command);
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.shard.do_command(command, self.now);
        self.shard.finish(self.now);
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let received = Received {
            from,
            len: bytes.len(),
            truncated: false,
        };
        self.shard
            .on_datagram(received, &mut bytes.to_vec(), self.now);
    }

    /// A channel on a stream that both sides know of.
    #[cfg(test)]
    pub(super) fn negotiate(&mut self, peer: usize, options: ChannelOptions) -> Channel {
        let options = ChannelOptions {
            negotiated: true,
            ..options
        };
        let transport = self.peers[peer].id;
        let shared = Arc::new(ChannelShared::new(
            ChannelId(self.port.mint()),
            transport,
            options.is_reliable(),
            100_000,
            Arc::default(),
        ));
        self.command(Command::OpenChannel {
            transport,
            shared: shared.clone(),
            options,
        });
        Channel {
            shared,
            port: self.port.clone(),
        }
    }

    /// Everybody does what is due, and hears what was said.
    pub(super) fn rest(&mut self) {
        self.shard.do_timers(self.now);
        self.shard.finish(self.now);
        for peer in 0..self.peers.len() {
            self.listen(peer);
        }
        let mut events = Vec::new();
        self.port.mailbox.drain(4096, &mut events);
        for event in events {
            if let Event::ChannelOpen {
                channel,
                remote: true,
                ..
            } = &event
            {
                self.channels.push(channel.clone());
            }
            #[cfg(test)]
            self.told.push(event);
        }
    }

    // ── a peer ──────────────────────────────────────────────────────────────────────────────────

    pub(super) fn join(&mut self, index: u64) {
        let id = TransportId(index + 1);
        let certificate = CERTIFICATES.with(|(_, theirs)| theirs.clone());
        let remote = description(&certificate, false);
        let dtls = client(certificate, self.now);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket
            .set_nonblocking(true)
            .expect("a socket can be made not to block");
        let addr = socket.local_addr().expect("it is bound");
        let ufrag = format!("0peer{index}");
        self.port
            .census
            .admit(GROUP, &EngineConfig::default())
            .expect("two are not too many");
        self.command(Command::Create {
            transport: id,
            group: GROUP,
            ufrag: ufrag.clone(),
            pwd: PASSWORD.into(),
            candidates: None,
        });
        self.command(Command::Apply {
            transport: id,
            request: RequestId(1),
            remote: Some(remote),
            media: sections(id),
            data: Some(DataSpec {
                port: 5000,
                max_message_size: 65_536,
                streams: 1024,
            }),
        });
        self.peers.push(FuzzPeer {
            id,
            ufrag,
            socket,
            addr,
            dtls,
            sctp: SctpClient::default(),
            sealer: None,
            opener: None,
            seqs: [0; 4],
            heard: 0,
        });
        let peer = index as usize;
        let check = self.peers[peer].check(true);
        self.datagram(addr, &check);
        self.shake_hands(peer);
        assert!(self.peers[peer].sealer.is_some(), "no handshake");
        self.talk(peer);
    }

    fn shake_hands(&mut self, peer: usize) {
        for _ in 0..20 {
            // A client's first flight is asked for by its clock.
            let _ = self.peers[peer].dtls.handle_timeout(self.now);
            self.flush_dtls(peer);
            self.shard.finish(self.now);
            self.listen(peer);
        }
    }

    /// The peer says that it may begin its association anew.
    fn announce(&mut self, peer: usize) {
        let remote = CERTIFICATES.with(|(_, theirs)| description(theirs, true));
        self.command(Command::Apply {
            transport: self.peers[peer].id,
            request: RequestId(1),
            remote: Some(remote),
            media: MediaChange::default(),
            data: None,
        });
    }

    /// The peer does so, and leaves the old one first if `parts`.
    fn begin_anew(&mut self, peer: usize, parts: bool) {
        if parts {
            // An association that has ended already ends again.
            let _ = self.peers[peer].dtls.close();
            self.flush_dtls(peer);
        }
        let certificate = CERTIFICATES.with(|(_, theirs)| theirs.clone());
        self.peers[peer].dtls = client(certificate, self.now);
        self.peers[peer].sctp = SctpClient::default();
        self.shake_hands(peer);
        self.talk(peer);
    }

    /// The peer's association says what it has to say.
    pub(super) fn talk(&mut self, peer: usize) {
        for _ in 0..20 {
            let now = self.now;
            self.peers[peer].sctp.on_timer(now);
            let packets = self.peers[peer].sctp.poll(now);
            if packets.is_empty() {
                return;
            }
            for packet in packets {
                self.encrypt(peer, &packet);
            }
            self.shard.finish(self.now);
            self.listen(peer);
        }
    }

    fn listen(&mut self, peer: usize) {
        let mut buffer = [0; 2048];
        loop {
            let to = &mut self.peers[peer];
            let Ok((len, _)) = to.socket.recv_from(&mut buffer) else {
                break;
            };
            to.hear(&mut buffer[..len]);
        }
        self.flush_dtls(peer);
    }

    fn flush_dtls(&mut self, peer: usize) {
        let mut buffer = vec![0; 4096];
        loop {
            let from = &mut self.peers[peer];
            match from.dtls.poll_output(&mut buffer) {
                Output::Packet(record) => {
                    let (addr, record) = (from.addr, record.to_vec());
                    self.datagram(addr, &record);
                }
                Output::KeyingMaterial(material, profile) => from.take_keys(&material, profile),
                Output::ApplicationData(packet) => {
                    let packet = packet.to_vec();
                    from.sctp.hear(self.now, &packet);
                }
                Output::Timeout(_) | Output::BufferTooSmall { .. } => return,
                _ => {}
            }
        }
    }
}

const PASSWORD: &str = "a password of some length";

fn client(certificate: DtlsCertificate, now: Instant) -> Dtls {
    let config = dimpl::Config::builder().build().expect("the defaults fit");
    let mut dtls = Dtls::new_12(Arc::new(config), certificate, now);
    dtls.set_active(true);
    dtls
}

/// What the owner of the certificate says of its transport.
fn description(certificate: &DtlsCertificate, begins_anew: bool) -> RemoteTransport {
    let fingerprint = digest::digest(&digest::SHA256, &certificate.certificate);
    let hex: Vec<String> = fingerprint
        .as_ref()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    RemoteTransport {
        ufrag: "peer".into(),
        pwd: PASSWORD.into(),
        fingerprint: format!("sha-256 {}", hex.join(":")),
        setup: Setup::Active,
        candidates: Vec::new(),
        begins_anew,
        controls: true,
    }
}

impl FuzzPeer {
    fn check(&self, nominate: bool) -> Vec<u8> {
        let username = format!("{}:peer", self.ufrag);
        let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 9, nominate);
        let mut buffer = vec![0; 512];
        let len = message
            .to_bytes(Some(PASSWORD.as_bytes()), &mut buffer, sha1)
            .expect("room for a check");
        buffer.truncate(len);
        buffer
    }

    fn take_keys(&mut self, material: &[u8], profile: dimpl::SrtpProfile) {
        let profile = match profile {
            dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
            dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
            _ => SrtpProfile::Aes128CmHmacSha1_80,
        };
        let keys = SrtpKeys::from_exporter(profile, material, true);
        let Some(SrtpKeys { local, remote, .. }) = keys else {
            return;
        };
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        self.sealer = Sealer::new(profile, &local, hasher.clone());
        self.opener = Opener::new(profile, &remote, hasher);
    }

    fn hear(&mut self, datagram: &mut [u8]) {
        match datagram.first() {
            Some(20..=63) => {
                // An error of the session is its end, and the engine's goodbye is one.
                let _ = self.dtls.handle_packet(datagram);
            }
            Some(128..=191) => {
                let header = Header::parse(datagram);
                if let (Some(opener), Some(header)) = (&mut self.opener, header)
                    && !crate::rtp::is_rtcp(datagram)
                {
                    let opened = opener.open_rtp(datagram, header.len, header.ssrc, header.seq);
                    self.heard += u64::from(opened.is_ok());
                }
            }
            _ => {}
        }
    }
}

fn sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("20 bytes")
}

/// What each peer publishes, and what it is sent of the other's.
fn sections(id: TransportId) -> MediaChange {
    let extensions = ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        repaired_rid: Some(3),
        audio_level: Some(4),
        abs_send_time: Some(5),
        transport_cc: Some(6),
        dependency_descriptor: Some(7),
        ..ExtensionIds::default()
    };
    let codec = |pt, name: &str, clock_hz, rtx_pt| CodecSpec {
        pt,
        name: name.into(),
        clock_hz,
        channels: 1,
        fmtp: String::new(),
        rtx_pt,
        red_pt: None,
    };
    let audio = || vec![codec(PTS[0], "opus", 48_000, None)];
    let video = || vec![codec(PTS[1], "VP8", 90_000, Some(PTS[2]))];
    let group = |semantics, ssrcs: [u32; 2]| SsrcGroup {
        semantics,
        ssrcs: ssrcs.to_vec(),
    };
    let recv = |mid: &str, kind, codecs, ssrcs: &[u32]| RecvSpec {
        mid: mid.into(),
        kind,
        codecs,
        extensions,
        ssrcs: ssrcs.to_vec(),
        groups: match *ssrcs {
            [low, rtx, high] => vec![
                group(SsrcSemantics::Fid, [low, rtx]),
                group(SsrcSemantics::Sim, [low, high]),
            ],
            _ => Vec::new(),
        },
        rids: Vec::new(),
        nack: true,
        twcc: true,
        remb: true,
    };
    let send = |mid: &str, kind, codecs, ssrc, rtx_ssrc| SendSpec {
        mid: mid.into(),
        kind,
        ssrc,
        rtx_ssrc,
        codecs,
        extensions,
        cname: "name".into(),
        nack: true,
        feedback: Feedback::Twcc,
    };
    let (audio_in, video_in) = (ProducerId(10 * id.0), ProducerId(10 * id.0 + 1));
    let (audio_out, video_out) = (ConsumerId(100 * id.0), ConsumerId(100 * id.0 + 1));
    MediaChange {
        end: Vec::new(),
        recv: vec![
            (audio_in, recv("0", MediaKind::Audio, audio(), &SSRCS[..1])),
            (video_in, recv("1", MediaKind::Video, video(), &SSRCS[1..])),
        ],
        send: vec![
            (audio_out, send("2", MediaKind::Audio, audio(), 20, None)),
            (
                video_out,
                send("3", MediaKind::Video, video(), 30, Some(31)),
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of an input.
    fn step(what: u8, peer: u8, bytes: &[u8]) -> Vec<u8> {
        let len = bytes.len().div_ceil(6);
        let mut step = vec![(what << 1) | peer, len as u8];
        step.extend_from_slice(bytes);
        step.resize(2 + len * 6, 0);
        step
    }

    #[test]
    fn a_call_that_is_fuzzed_is_a_call() {
        let mut call = FuzzCall::default();

        // Opus, and a keyframe of VP8, from each; then a DCEP OPEN with a label.
        let mut input = Vec::new();
        for peer in 0..2 {
            input.extend(step(0, peer, b"\0\0\0opus"));
            input.extend(step(
                0,
                peer,
                b"\x01\0\0\x10\x10\0\0\x9d\x01\x2a\x80\x02\xe0\x01",
            ));
        }
        input.extend(step(8, 0, b"\0\0\x03\0\x01\0\0\0\0\0\0\x04\0\0chat"));
        call.feed(&input);

        assert!(
            call.heard().iter().all(|heard| *heard >= 2),
            "{:?}",
            call.heard()
        );
        assert_eq!(call.channels.len(), 1);
    }
}
