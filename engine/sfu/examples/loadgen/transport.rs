//! One light transport: a socket of its own, ICE, DTLS, SRTP, SCTP, and the streams on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ahash::RandomState;
use bytes::Bytes;
use parley_sfu::rtcp::{Compound, Packet, ReportBlock, Writer};
use parley_sfu::rtp::{Header, is_rtcp};
use parley_sfu::srtp::{Opener, Sealer, SrtpKeys};
use rustc_hash::FxHashMap;

use crate::channels::Channels;
use crate::dtls::{Broken, Certificate, Dtls, Heard};
use crate::ice::Ice;
use crate::loss::Lane;
use crate::media::World;
use crate::order::Arrival;
use crate::progress::{Progress, Side};
use crate::receiver::{Receiver, sealed_payload};
use crate::sdp::{Incoming, Local, Remote};
use crate::sender::{Sender, SenderSpec, Way};
use crate::tally::{Look, Totals};

/// Room for a second of one client's packets, so that a busy generator delays and does not lose.
const RECEIVE_BUFFER: usize = 4 << 20;
const SEND_BUFFER: usize = 1 << 20;
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// What a light client says it can take.
const REMB_BPS: u64 = 100_000_000;
/// RFC 3550 §6.4.1: an RR holds no more.
const MAX_REPORTS: usize = 31;
/// RTCP is written up to here; the trailer of SRTCP comes behind.
const RTCP_ROOM: usize = 1200;

pub type TransportId = u64;

/// The network's losses, each way, in a generator that simulates them.
pub struct Weather {
    pub up: Option<Lane>,
    pub down: Option<Lane>,
}

/// What a socket needs to send.
struct Link {
    socket: UdpSocket,
    up: Option<Lane>,
}

impl Link {
    fn send(&mut self, datagram: &[u8], totals: &mut Totals) {
        if self.up.as_mut().is_some_and(Lane::loses) {
            return;
        }
        totals.unsent += u64::from(self.socket.send(datagram).is_err());
    }

    /// What sets a connection up is not lost, so that a run under loss begins like any other.
    fn send_safely(&mut self, datagram: &[u8], totals: &mut Totals) {
        totals.unsent += u64::from(self.socket.send(datagram).is_err());
    }
}

struct Srtp {
    sealer: Sealer,
    opener: Opener,
    tag: usize,
}

/// Which receiver an SSRC belongs to, and whether it is the one of its retransmissions.
#[derive(Clone, Copy)]
struct Route {
    receiver: usize,
    is_rtx: bool,
}

pub struct Transport {
    pub id: TransportId,
    side: Side,
    link: Link,
    down: Option<Lane>,
    ice: Ice,
    dtls: Dtls,
    srtp: Option<Srtp>,
    channels: Channels,
    /// Whether a data section was offered, without which there is nobody to associate with.
    has_data: bool,
    pub receivers: Vec<Receiver>,
    routes: FxHashMap<u32, Route>,
    pub senders: Vec<Sender>,
    /// SSRC of our reports where nothing is sent.
    ssrc: u32,
    wide_seq: u16,
    next_report: Instant,
    progress: Arc<Progress>,
    is_over: bool,
}

/// What a transport is made of.
pub struct Setup<'a> {
    pub id: TransportId,
    pub side: Side,
    pub socket: UdpSocket,
    pub local: &'a Local,
    pub remote: &'a Remote,
    pub has_data: bool,
    pub certificate: &'a Certificate,
    pub weather: Weather,
    pub ssrc: u32,
    pub progress: Arc<Progress>,
}

/// A socket that speaks with `server` alone.
pub fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    use rustix::net::sockopt;
    // Beyond the limit of the system only with privileges; without, it is clipped.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    Ok(socket)
}

impl Transport {
    pub fn new(setup: Setup<'_>, now: Instant) -> Transport {
        // Where both sides would control, the larger number does (RFC 8445 §7.3.1.1).
        let tie_breaker = u64::MAX - setup.id;
        let fingerprint = setup.remote.fingerprint.clone();
        let opens = setup.side == Side::Publisher;
        Transport {
            id: setup.id,
            side: setup.side,
            link: Link {
                socket: setup.socket,
                up: setup.weather.up,
            },
            down: setup.weather.down,
            ice: Ice::new(setup.local, setup.remote, tie_breaker, now),
            dtls: Dtls::new(setup.certificate, fingerprint, now),
            srtp: None,
            channels: Channels::new(opens, now),
            has_data: setup.has_data,
            receivers: Vec::new(),
            routes: FxHashMap::default(),
            senders: Vec::new(),
            ssrc: setup.ssrc,
            wide_seq: 0,
            next_report: now + REPORT_EVERY,
            progress: setup.progress,
            is_over: false,
        }
    }

    pub fn socket(&self) -> &UdpSocket {
        &self.link.socket
    }

    pub fn channels(&mut self) -> &mut Channels {
        &mut self.channels
    }

    /// Takes what the server says it sends from now on. Streams that go on keep what is known of them.
    pub fn receive(&mut self, incoming: Vec<Incoming>, world: &mut World) {
        let mut before = std::mem::take(&mut self.receivers);
        for stream in incoming {
            let known = before.iter().position(|held| held.incoming == stream);
            self.receivers.push(match known {
                Some(place) => before.swap_remove(place),
                None => Receiver::new(stream),
            });
        }
        for ended in before {
            let (expected, received) = ended.sums(world.now);
            world.totals.expected += expected;
            world.totals.received += received;
        }
        self.routes.clear();
        for (index, receiver) in self.receivers.iter().enumerate() {
            let route = |is_rtx| Route {
                receiver: index,
                is_rtx,
            };
            self.routes.insert(receiver.incoming.ssrc, route(false));
            if let Some(rtx) = receiver.incoming.rtx {
                self.routes.insert(rtx, route(true));
            }
        }
    }

    pub fn send_track(&mut self, spec: SenderSpec, world: &mut World) {
        self.senders.push(Sender::new(spec, &mut world.ledgers));
    }

    // ── datagrams ───────────────────────────────────────────────────────────────────────────────

    /// Reads one datagram; the socket stays ready while there are more.
    pub fn on_readable(&mut self, world: &mut World) {
        let mut buf = std::mem::take(&mut world.buf);
        // An error is that of an earlier datagram of ours, or says there is none.
        if let Ok(len) = self.link.socket.recv(&mut buf) {
            self.on_datagram(&mut buf[..len], world);
        }
        world.buf = buf;
    }

    fn on_datagram(&mut self, datagram: &mut [u8], world: &mut World) {
        let kind = datagram.first().copied().unwrap_or(u8::MAX);
        // Media, and DTLS once it carries data; what sets a connection up is not lost.
        let may_be_lost = kind >= 128 || (kind >= 20 && self.srtp.is_some());
        if may_be_lost && self.down.as_mut().is_some_and(Lane::loses) {
            return;
        }
        // RFC 7983 §7.
        match kind {
            128..=191 => self.on_media(datagram, world),
            20..=63 => {
                self.with_dtls(world, |dtls, now, heard| {
                    dtls.on_datagram(now, datagram, heard)
                });
                self.run_channels(world);
            }
            // With the first answer, DTLS begins.
            0..=3 if self.ice.on_answer(world.now, datagram) => {
                self.with_dtls(world, |dtls, now, heard| dtls.on_timer(now, heard));
            }
            0..=3 => self.on_question(datagram, world),
            _ => {}
        }
    }

    fn on_question(&mut self, datagram: &[u8], world: &mut World) {
        let mut answer = [0; 256];
        let Ok(server) = self.link.socket.peer_addr() else {
            return;
        };
        let len = self.ice.reply(datagram, server, &mut answer);
        if len > 0 {
            self.link.send_safely(&answer[..len], &mut world.totals);
        }
    }

    fn on_media(&mut self, packet: &mut [u8], world: &mut World) {
        if is_rtcp(packet) {
            self.on_rtcp(packet, world);
            return;
        }
        world.totals.packets_in += 1;
        world.totals.bytes_in += packet.len() as u64;
        let Some(header) = Header::parse(packet) else {
            world.totals.bad_length += 1;
            return;
        };
        let Some(route) = self.routes.get(&header.ssrc).copied() else {
            world.totals.unknown += 1;
            return;
        };
        if route.is_rtx {
            self.on_rtx(route.receiver, &header, packet, world);
        } else {
            self.on_rtp(route.receiver, &header, packet, world);
        }
    }

    fn on_rtp(&mut self, index: usize, header: &Header, packet: &mut [u8], world: &mut World) {
        let receiver = &mut self.receivers[index];
        if !receiver.has_begun() {
            self.progress.on_media(world.now);
        }
        let number = receiver.extend(header.seq);
        let timestamp = Some(header.timestamp);
        let totals = &mut world.totals;
        let (arrival, is_hopeless) = receiver.on_packet(number, timestamp, world.now, totals);
        if is_hopeless {
            self.ask_for_keyframe(index, world);
        }
        if matches!(arrival, Arrival::Again | Arrival::Stale) {
            return;
        }
        let (receiver, Some(srtp)) = (&mut self.receivers[index], &mut self.srtp) else {
            return;
        };
        let len = sealed_payload(header, packet, srtp.tag);
        let mut fits = receiver.fits(number, len, &world.ledgers);
        let is_recorded = world
            .recorder
            .as_ref()
            .is_some_and(|r| r.wants(header.ssrc));
        if !is_recorded && !receiver.is_to_be_opened() && fits != Some(false) {
            world.totals.on_length(fits);
            return;
        }
        let opened = srtp
            .opener
            .open_rtp(packet, header.len, header.ssrc, header.seq);
        let Ok((len, _)) = opened else {
            world.totals.bad_open += 1;
            return;
        };
        let Some(payload) = header.payload(&packet[..len]) else {
            world.totals.bad_open += 1;
            return;
        };
        if let Some(recorder) = &mut world.recorder {
            recorder.on_packet(header, payload, number, world.now);
        }
        let stamp = receiver.look(number, payload, &world.ledgers, &mut world.totals);
        if fits == Some(false) {
            fits = receiver.fits(number, payload.len(), &world.ledgers);
        }
        world.totals.on_length(fits);
        if let (Some(stamp), Arrival::Next { .. }) = (stamp, arrival) {
            let took_us = crate::clock::now_ns().saturating_sub(stamp.sent_ns) / 1000;
            world.totals.latency_us.add(took_us);
            world.recent_us.add(took_us);
        }
    }

    /// Opens a retransmission, whose original number is sealed (RFC 4588 §4).
    fn on_rtx(&mut self, index: usize, header: &Header, packet: &mut [u8], world: &mut World) {
        let Some(srtp) = &mut self.srtp else {
            return;
        };
        let receiver = &mut self.receivers[index];
        let opened = srtp
            .opener
            .open_rtp(packet, header.len, header.ssrc, header.seq);
        let Ok((len, _)) = opened else {
            world.totals.bad_open += 1;
            return;
        };
        let payload = header.payload(&packet[..len]);
        // Without an original it is a probe of padding.
        let Some((original, payload)) = payload.and_then(<[u8]>::split_first_chunk) else {
            return;
        };
        if !receiver.has_begun() {
            return;
        }
        let number = receiver.extend(u16::from_be_bytes(*original));
        let totals = &mut world.totals;
        let (arrival, _) = receiver.on_packet(number, None, world.now, totals);
        if !matches!(arrival, Arrival::Again | Arrival::Stale) {
            receiver.look(number, payload, &world.ledgers, totals);
            totals.on_length(receiver.fits(number, payload.len(), &world.ledgers));
        }
    }

    fn on_rtcp(&mut self, packet: &mut [u8], world: &mut World) {
        let Some(srtp) = &mut self.srtp else {
            return;
        };
        let Ok(len) = srtp.opener.open_rtcp(packet) else {
            world.totals.bad_open += 1;
            return;
        };
        for part in Compound::new(&packet[..len]) {
            match part {
                Packet::SenderReport { ssrc, ntp, .. } => {
                    if let Some(route) = self.routes.get(&ssrc) {
                        self.receivers[route.receiver].on_sender_report(ntp, world.now);
                    }
                }
                Packet::Nack { media, lost, .. } => {
                    for seq in lost {
                        self.send_again(media, seq, world);
                    }
                }
                Packet::Pli { media, .. } => self.on_keyframe_request(media, world),
                Packet::Fir { entries, .. } => {
                    for (media, _) in entries {
                        self.on_keyframe_request(media, world);
                    }
                }
                _ => {}
            }
        }
    }

    fn on_keyframe_request(&mut self, media: u32, world: &mut World) {
        let found = self.senders.iter_mut().enumerate();
        for (index, sender) in found.filter(|(_, sender)| sender.ssrc() == media) {
            world.totals.keyframe_requests += 1;
            if sender.on_keyframe_request(world.now) {
                world.hurried.push((self.id, index));
            }
        }
    }

    // ── sending ─────────────────────────────────────────────────────────────────────────────────

    /// Sends the packet of a track that is due, and returns when the next one is.
    pub fn send_due(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let sender = self.senders.get_mut(index)?;
        let Some(srtp) = &mut self.srtp else {
            // Not connected yet; the trace begins when it is.
            sender.due = world.now + Duration::from_millis(20);
            return Some(sender.due);
        };
        let mut way = Way {
            sealer: &mut srtp.sealer,
            buf: &mut world.packet,
            wide_seq: &mut self.wide_seq,
        };
        let len = sender.next(world.now, &mut way, &mut world.ledgers, &mut world.totals);
        world.totals.packets_out += 1;
        self.link.send(&world.packet[..len], &mut world.totals);
        Some(sender.due)
    }

    fn send_again(&mut self, media: u32, seq: u16, world: &mut World) {
        let sender = self
            .senders
            .iter_mut()
            .find(|sender| sender.ssrc() == media);
        let (Some(sender), Some(srtp)) = (sender, &mut self.srtp) else {
            return;
        };
        let mut way = Way {
            sealer: &mut srtp.sealer,
            buf: &mut world.packet,
            wide_seq: &mut self.wide_seq,
        };
        let len = sender.again(seq, &mut way);
        if len > 0 {
            world.totals.packets_out += 1;
            world.totals.retransmitted += 1;
            self.link.send(&world.packet[..len], &mut world.totals);
        }
    }

    /// Sends the data message that is due, and returns when the next one is.
    pub fn send_data_due(&mut self, world: &mut World) -> Option<Instant> {
        self.channels.send_due(world.now, &mut world.totals.data);
        let due = self.channels.source.as_ref()?.due;
        self.run_channels(world);
        Some(due)
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────────

    /// Does what is due by now.
    pub fn on_tick(&mut self, world: &mut World) {
        let now = world.now;
        if self.is_over {
            return;
        }
        if self.ice.due() <= now {
            let len = self.ice.ask(now, world.packet.as_mut_slice());
            self.link
                .send_safely(&world.packet[..len], &mut world.totals);
        }
        if self.ice.is_over(now) {
            self.end("the server does not answer connectivity checks");
            return;
        }
        if self.dtls.deadline().is_some_and(|at| at <= now) {
            self.with_dtls(world, |dtls, now, heard| dtls.on_timer(now, heard));
        }
        if self.srtp.is_some() {
            if self.has_data && self.channels.deadline().is_some_and(|at| at <= now) {
                self.channels.on_timer(now, &mut world.totals.data);
                self.run_channels(world);
            }
            self.ask_for_missing(world);
            if self.next_report <= now {
                self.next_report += REPORT_EVERY;
                self.report(world);
            }
        }
    }

    fn ask_for_missing(&mut self, world: &mut World) {
        for index in 0..self.receivers.len() {
            let receiver = &mut self.receivers[index];
            if receiver.missed.is_empty() {
                continue;
            }
            if !world.asks {
                receiver.missed.expire(world.now);
                continue;
            }
            let mut ask = std::mem::take(&mut world.ask);
            ask.clear();
            let gave_up = receiver
                .missed
                .take_due(world.now, self.ice.rtt(), &mut ask);
            let media = receiver.incoming.ssrc;
            world.totals.nacks_sent += ask.len() as u64;
            if !ask.is_empty() {
                let sender = self.ssrc;
                self.send_rtcp(world, |writer| {
                    writer.nack(sender, media, &ask);
                });
            }
            world.ask = ask;
            if gave_up {
                self.ask_for_keyframe(index, world);
            }
        }
    }

    pub fn ask_for_keyframes(&mut self, world: &mut World) {
        for index in 0..self.receivers.len() {
            self.ask_for_keyframe(index, world);
        }
    }

    fn ask_for_keyframe(&mut self, index: usize, world: &mut World) {
        let receiver = &mut self.receivers[index];
        if !receiver.may_ask_for_keyframe(world.now) {
            return;
        }
        world.totals.plis_sent += 1;
        let (sender, media) = (self.ssrc, receiver.incoming.ssrc);
        self.send_rtcp(world, |writer| {
            writer.pli(sender, media);
        });
    }

    fn report(&mut self, world: &mut World) {
        let now = world.now;
        let mut reports = std::mem::take(&mut world.reports);
        reports.clear();
        reports.extend(self.receivers.iter_mut().filter_map(|r| r.report(now)));
        let mut ssrcs = [0; MAX_REPORTS];
        let sender = self.ssrc;
        for part in reports.chunks(MAX_REPORTS) {
            for (slot, report) in ssrcs.iter_mut().zip(part) {
                *slot = report.ssrc;
            }
            self.send_rtcp(world, |writer| {
                writer.receiver_report(sender, part);
                writer.cname(sender, "load");
                writer.remb(sender, REMB_BPS, &ssrcs[..part.len()]);
            });
        }
        world.reports = reports;
        let wall = SystemTime::now();
        for index in 0..self.senders.len() {
            if let Some(info) = self.senders[index].report(now, wall) {
                self.send_rtcp(world, |writer| {
                    writer.sender_report(&info, &[] as &[ReportBlock]);
                    writer.cname(info.ssrc, "load");
                });
            }
        }
    }

    fn send_rtcp(&mut self, world: &mut World, write: impl FnOnce(&mut Writer<'_>)) {
        let Some(srtp) = &mut self.srtp else {
            return;
        };
        let mut writer = Writer::new(&mut world.packet[..RTCP_ROOM]);
        write(&mut writer);
        let len = writer.len();
        if let Ok(len) = srtp.sealer.seal_rtcp(world.packet.as_mut_slice(), len) {
            self.link.send(&world.packet[..len], &mut world.totals);
        }
    }

    // ── DTLS and what it carries ────────────────────────────────────────────────────────────────

    fn with_dtls(
        &mut self,
        world: &mut World,
        act: impl FnOnce(&mut Dtls, Instant, &mut dyn FnMut(Heard<'_>)) -> Result<(), Broken>,
    ) {
        let (link, totals, now) = (&mut self.link, &mut world.totals, world.now);
        let is_connected = self.srtp.is_some();
        let mut keys = None;
        let mut data: Vec<Bytes> = Vec::new();
        let mut is_over = false;
        let outcome = act(&mut self.dtls, now, &mut |heard| match heard {
            Heard::Record(record) if is_connected => link.send(record, totals),
            Heard::Record(record) => link.send_safely(record, totals),
            Heard::Keys(agreed) => keys = Some(agreed),
            Heard::Data(packet) => data.push(Bytes::copy_from_slice(packet)),
            Heard::Goodbye => is_over = true,
        });
        if let Err(Broken(why)) = outcome {
            self.end(why);
            return;
        }
        if let Some(keys) = keys {
            self.connect(&keys, now);
        }
        for packet in data {
            self.channels.on_packet(now, packet, &mut world.totals.data);
        }
        if is_over {
            self.end("the server closed the connection");
        }
    }

    fn connect(&mut self, keys: &SrtpKeys, now: Instant) {
        let sealer = Sealer::new(keys.profile, &keys.local, RandomState::new());
        let opener = Opener::new(keys.profile, &keys.remote, RandomState::new());
        let (Some(sealer), Some(opener)) = (sealer, opener) else {
            self.end("the SRTP keys do not fit");
            return;
        };
        self.srtp = Some(Srtp {
            tag: sealer.rtp_overhead(),
            sealer,
            opener,
        });
        self.progress.on_connected(self.side, now);
    }

    /// Encrypts and sends what the association has to send.
    fn run_channels(&mut self, world: &mut World) {
        if self.srtp.is_none() || !self.has_data {
            return;
        }
        while let Some(packets) = self.channels.poll_packets(world.now) {
            for packet in packets {
                self.with_dtls(world, |dtls, _, heard| dtls.send(&packet, heard));
            }
        }
    }

    // ── sums ────────────────────────────────────────────────────────────────────────────────────

    /// Begins to count anew.
    pub fn rebase(&mut self) {
        self.receivers.iter_mut().for_each(Receiver::rebase);
        self.senders.iter_mut().for_each(Sender::rebase);
        self.channels.rebase();
    }

    /// Adds what is counted here to the sums of those who ask.
    pub fn add_to(&self, look: &mut Look, now: Instant) {
        for receiver in &self.receivers {
            let (expected, received) = receiver.sums(now);
            look.expected += expected;
            look.lost += expected.saturating_sub(received);
            let (asked, is) = receiver.layers();
            look.streams.offered += 1;
            look.streams.begun += usize::from(receiver.has_begun());
            look.streams.layered += usize::from(asked.is_some());
            look.streams.as_asked += usize::from(asked.is_some() && asked == is);
            look.totals.longest_gap = look.totals.longest_gap.max(receiver.silence(now));
        }
        for sender in &self.senders {
            let (all, in_a_second) = (sender.requests, sender.requests_in_a_second);
            look.keyframe_requests_of_one = look.keyframe_requests_of_one.max(all);
            look.keyframe_requests_in_a_second =
                look.keyframe_requests_in_a_second.max(in_a_second);
        }
        look.totals.data.lost += self.channels.lost();
        if let Ok(local) = self.link.socket.local_addr() {
            look.ports.push(local.port());
        }
    }

    /// Says goodbye; nothing is counted here any more.
    pub fn close(&mut self, world: &mut World) {
        self.is_over = true;
        self.receive(Vec::new(), world);
        let (link, totals) = (&mut self.link, &mut world.totals);
        totals.data.lost += self.channels.lost();
        self.dtls.close(&mut |heard| {
            if let Heard::Record(record) = heard {
                link.send_safely(record, totals);
            }
        });
    }

    /// It cannot go on.
    pub fn end(&mut self, why: &'static str) {
        if !self.is_over {
            self.is_over = true;
            self.progress.fail(why);
        }
    }
}
