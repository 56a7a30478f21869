//! The shard: one thread that owns a socket, its transports, and everything they carry.
//!
//! A turn of its loop does what was asked, what is due and what has arrived, sends what came of it,
//! and sleeps. Work for one transport runs in a scope of its own: a panic there ends that transport
//! and nothing else.

mod board;
pub(crate) mod counts;
mod timers;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use is::stun::StunMessage;
use ring::rand::{SecureRandom, SystemRandom};
use rustc_hash::FxHashMap;
use slab::Slab;

pub(crate) use board::Board;
use counts::Counts;
use timers::Timers;

use crate::command::{Command, RequestId};
use crate::config::EngineConfig;
use crate::data::{Links, Passed};
use crate::event::{ChannelEnd, Event, Failure, Reason};
use crate::media::{Media, MediaConfig, MediaEvent};
use crate::net::arena::Arena;
use crate::net::demux::{Demux, Kind, StunLimit, classify};
use crate::net::sys::{BATCH, Epoll, Ready, Received, RecvBatch, receive_queue};
use crate::net::udp::UdpSocket;
use crate::port::Port;
use crate::spec::TransportId;
use crate::strike;
use crate::transport::dtls::Certificate;
use crate::transport::full::addresses;
use crate::transport::{Peer, World};

const SOCKET: u64 = 0;
const WAKE: u64 = 1;
/// Batches read before anything else gets a turn.
const BATCHES: usize = 16;
/// Commands done before anything else gets a turn.
const COMMANDS: usize = 512;
/// How old the counters on the board may be.
const BOARD_AGE: Duration = Duration::from_millis(100);
/// Panics that no transport could be ended for, after which the shard gives up.
const MAX_LOOSE_PANICS: u64 = 100;

pub(crate) struct Shard {
    config: EngineConfig,
    port: Arc<Port>,
    board: Arc<Board>,
    certificate: Certificate,
    epoll: Epoll,
    peers: Slab<Peer>,
    by_id: FxHashMap<TransportId, usize>,
    demux: Demux,
    /// Transports with full ICE.
    asking: Vec<usize>,
    stun_limit: StunLimit,
    timers: Timers,
    arena: Arena,
    watching_writable: bool,
    media: Media,
    media_events: Vec<MediaEvent>,
    links: Links,
    counts: Counts,
    loose_panics: u64,
    board_at: Instant,
    board_stale: bool,
}

impl Shard {
    pub fn new(
        config: EngineConfig,
        socket: UdpSocket,
        certificate: Certificate,
        port: Arc<Port>,
        board: Arc<Board>,
    ) -> io::Result<Shard> {
        let epoll = Epoll::new()?;
        epoll.add(socket.raw_fd(), SOCKET)?;
        epoll.add(port.wake.raw(), WAKE)?;
        let now = Instant::now();
        let mut seed = [0; 8];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| io::Error::other("the system has no random bytes"))?;
        let media = MediaConfig {
            mtu_bytes: config.mtu_bytes,
            rtx_cache: config.rtx_cache,
            sr_interval: config.sr_interval,
            ..MediaConfig::default()
        };
        let mut shard = Shard {
            stun_limit: StunLimit::new(config.stun_rate, now),
            media: Media::new(&media, u64::from_ne_bytes(seed)),
            config,
            port,
            board,
            certificate,
            epoll,
            peers: Slab::new(),
            by_id: FxHashMap::default(),
            demux: Demux::new(),
            asking: Vec::new(),
            timers: Timers::default(),
            arena: Arena::new(socket),
            watching_writable: false,
            media_events: Vec::new(),
            links: Links::default(),
            counts: Counts::default(),
            loose_panics: 0,
            board_at: now,
            board_stale: false,
        };
        // Every name is there from the first look on.
        shard.write_board(now);
        Ok(shard)
    }

    /// Works until it is told to stop, or can go on no longer and says so; then closes every transport.
    pub fn run(mut self) {
        let mut received = RecvBatch::new();
        while !self.port.stopping() && self.loose_panics < MAX_LOOSE_PANICS {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&mut received)));
            match turn {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, "the shard cannot wait for its socket any more");
                    break;
                }
                Err(_) => self.contain(None, Instant::now()),
            }
        }
        if !self.port.stopping() {
            self.port.mailbox.post(Event::Ended { shard: 0 });
        }
        let keys: Vec<usize> = self.peers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, Reason::Local, Instant::now());
        }
        self.arena.flush();
        self.publish_media_events();
        self.write_board(Instant::now());
        self.port.mailbox.ring();
    }

    /// Sleeps until something is there, then does it. What was asked comes before what has arrived: a
    /// command that was sent before a packet counts for it.
    fn turn(&mut self, received: &mut RecvBatch) -> io::Result<()> {
        let mut ready = [Ready::default(); 8];
        let timeout = if self.port.park() {
            let now = Instant::now();
            self.next_deadline()
                .map(|at| at.saturating_duration_since(now))
        } else {
            Some(Duration::ZERO)
        };
        let count = self.epoll.wait(timeout, &mut ready)?;
        self.port.unpark();
        let ready = ready.get(..count).unwrap_or_default();
        if ready.iter().any(|ready| ready.token == WAKE) {
            self.port.wake.reset();
        }
        self.do_commands(Instant::now());
        strike!(Turn, 0);
        for ready in ready.iter().filter(|ready| ready.token == SOCKET) {
            if ready.writable {
                self.arena.flush_or_drop();
            }
            if ready.readable {
                self.receive(received);
            }
        }
        let now = Instant::now();
        self.do_timers(now);
        self.finish(now);
        Ok(())
    }

    /// Sends and tells what this turn has brought.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.pass_on(now);
        self.arena.flush();
        let blocked = self.arena.is_blocked();
        if blocked != self.watching_writable {
            let fd = self.arena.socket().raw_fd();
            // It fails only if the descriptor is not ours, and it is; then nothing is lost but time.
            let _ = self.epoll.set_writable(fd, SOCKET, blocked);
            self.watching_writable = blocked;
        }
        self.publish_media_events();
        self.port.mailbox.ring();
        if self.board_stale && now.saturating_duration_since(self.board_at) >= BOARD_AGE {
            self.write_board(now);
        }
    }

    /// Sends what has arrived on linked channels to those they are linked to.
    fn pass_on(&mut self, now: Instant) {
        while let Some(Passed { to, messages }) = self.links.next() {
            for to in to.iter() {
                self.with_transport(to.transport, now, |peer, world| {
                    peer.pass(to, &messages, world)
                });
            }
        }
    }

    fn publish_media_events(&mut self) {
        for event in self.media_events.drain(..) {
            self.port.mailbox.post_media(event);
        }
    }

    fn write_board(&mut self, now: Instant) {
        let channels: usize = self.peers.iter().map(|(_, peer)| peer.channels()).sum();
        let (producers, consumers) = self.media.census();
        let mut values = self.counts.entries();
        let queue = receive_queue(self.arena.socket().fd());
        values.extend([
            ("transports", self.peers.len() as u64),
            ("transports_pending", self.port.census.pending() as u64),
            ("channels", channels as u64),
            ("links", self.links.len() as u64),
            ("producers", producers as u64),
            ("consumers", consumers as u64),
            ("datagrams_out", self.arena.sent),
            ("bytes_out", self.arena.sent_bytes),
            ("drop_out_full", self.arena.dropped_full),
            ("drop_out_error", self.arena.dropped_error),
            ("drop_in_full", queue.dropped.into()),
            ("receive_buffer_bytes", queue.limit_bytes.into()),
            ("send_buffer_bytes", queue.send_limit_bytes.into()),
        ]);
        values.extend(self.media.counters().entries());
        self.board.write(values);
        self.board_at = now;
        self.board_stale = false;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let board = self.board_stale.then_some(self.board_at + BOARD_AGE);
        [self.timers.next(), self.media.next_deadline(), board]
            .into_iter()
            .flatten()
            .min()
    }

    // ── what has arrived ────────────────────────────────────────────────────────────────────────

    fn receive(&mut self, received: &mut RecvBatch) {
        for _ in 0..BATCHES {
            let count = match received.receive(self.arena.socket().fd()) {
                Ok(count) => count,
                // An ICMP error of some earlier datagram; what waits is read in the next turn.
                Err(_) => return,
            };
            let now = Instant::now();
            self.board_stale |= count > 0;
            for (datagram, bytes) in received.datagrams() {
                self.on_datagram(datagram, bytes, now);
            }
            self.pass_on(now);
            self.arena.flush();
            if count < BATCH {
                return;
            }
        }
    }

    pub(crate) fn on_datagram(&mut self, datagram: Received, bytes: &mut [u8], now: Instant) {
        self.counts.datagrams_in += 1;
        self.counts.bytes_in += bytes.len() as u64;
        if datagram.truncated {
            self.counts.drop_truncated += 1;
            return;
        }
        match classify(bytes) {
            Some(Kind::Stun) => self.on_stun(datagram.from, bytes, now),
            Some(Kind::Dtls) => match self.demux.sender(&datagram.from) {
                Some(key) => self.with_peer(key, now, |peer, world| {
                    peer.count_in(bytes.len());
                    peer.on_dtls(datagram.from, bytes, world)
                }),
                None => self.counts.drop_dtls_unknown_sender += 1,
            },
            Some(Kind::Media) => match self.demux.sender(&datagram.from) {
                Some(key) => self.with_peer(key, now, |peer, world| {
                    strike!(Datagram, peer.id.0);
                    peer.count_in(bytes.len());
                    peer.on_media(bytes, world);
                    Ok(())
                }),
                None => self.counts.drop_media_unknown_sender += 1,
            },
            None => self.counts.drop_unknown_protocol += 1,
        }
    }

    /// A connectivity check finds its transport by ufrag before any digest is computed; one that
    /// finds none is not answered.
    fn on_stun(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        // An admitted sender has shown that it knows a password; everyone else shares a rate.
        if self.demux.sender(&from).is_none() && !self.stun_limit.take(from.ip(), now) {
            self.counts.drop_stun_rate += 1;
            return;
        }
        // The parser is not ours: what it cannot take is one datagram, not the shard.
        let parsed = catch_unwind(|| StunMessage::parse(bytes));
        let Ok(Ok(message)) = parsed else {
            self.counts.drop_stun_malformed += 1;
            return;
        };
        if !message.is_binding_request() {
            self.on_stun_answer(from, message, now);
            return;
        }
        let found = message
            .split_username()
            .and_then(|(ufrag, _)| self.demux.ufrag(ufrag));
        let Some(key) = found else {
            self.counts.drop_stun_unknown_user += 1;
            return;
        };
        if self.peers.get(key).is_some_and(Peer::is_full) {
            if !self.full_stun(key, from, message, now) {
                self.counts.drop_stun_integrity += 1;
            }
            return;
        }
        let mut accepted = None;
        self.with_peer(key, now, |peer, world| {
            peer.count_in(bytes.len());
            accepted = peer.on_check(from, &message, world);
            Ok(())
        });
        let Some(accepted) = accepted else {
            self.counts.drop_stun_integrity += 1;
            return;
        };
        self.counts.checks_in += 1;
        if accepted.role_conflict {
            return;
        }
        self.demux.add_sender(from, key);
        if let Some(evicted) = accepted.evicted {
            self.demux.remove_sender(&evicted, key);
        }
        if let Some(retired) = accepted.retired {
            self.demux.remove_ufrag(&retired);
        }
    }

    /// An answer finds its transport by its transaction; few have asked.
    fn on_stun_answer(&mut self, from: SocketAddr, message: StunMessage<'_>, now: Instant) {
        let peers = &mut self.peers;
        let has_asked = |key: &usize| {
            peers
                .get_mut(*key)
                .is_some_and(|peer| peer.accepts(&message))
        };
        let asked = self.asking.iter().copied().find(has_asked);
        match asked {
            Some(key) => {
                self.full_stun(key, from, message, now);
            }
            None => self.counts.drop_stun_unasked += 1,
        }
    }

    /// Hands STUN to a transport with full ICE. False: it was not authentic.
    fn full_stun(
        &mut self,
        key: usize,
        from: SocketAddr,
        message: StunMessage<'_>,
        now: Instant,
    ) -> bool {
        let mut is_authentic = false;
        let mut admitted = None;
        self.with_peer(key, now, |peer, world| {
            is_authentic = peer.accepts(&message);
            if is_authentic {
                admitted = peer.on_stun(from, message, world)?;
            }
            Ok(())
        });
        // A peer behind a NAT may come from an address that is another's: the first has it.
        if let Some(from) = admitted
            && self.demux.sender(&from).is_none()
        {
            self.demux.add_sender(from, key);
        }
        self.counts.checks_in += u64::from(is_authentic);
        is_authentic
    }

    /// Admits a sender to the first transport without a check.
    #[cfg(feature = "fuzzing")]
    pub fn admit(&mut self, from: SocketAddr) {
        self.demux.add_sender(from, 0);
    }

    #[cfg(feature = "fuzzing")]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A counter of the board, as of now.
    #[cfg(feature = "fuzzing")]
    pub fn counter(&mut self, name: &str) -> u64 {
        self.write_board(self.board_at);
        let values = self.board.read();
        let found = values.iter().find(|(known, _)| *known == name);
        found.expect("a counter's name").1
    }

    // ── what is due ─────────────────────────────────────────────────────────────────────────────

    pub(crate) fn do_timers(&mut self, now: Instant) {
        while let Some((key, id, at)) = self.timers.due(now) {
            let current = self
                .peers
                .get_mut(key)
                .filter(|peer| peer.id == id && peer.scheduled == Some(at));
            let Some(peer) = current else {
                continue;
            };
            peer.scheduled = None;
            self.board_stale = true;
            self.with_peer(key, now, |peer, world| {
                strike!(Timer, peer.id.0);
                peer.on_timer(world)
            });
        }
        // Once, but for panics: each leaves what else is due.
        while self.media.next_deadline().is_some_and(|at| at <= now) {
            self.with_media(now, |media, arena, events| {
                media.on_timer(now, arena, events)
            });
            self.board_stale = true;
        }
    }

    // ── what was asked ──────────────────────────────────────────────────────────────────────────

    fn do_commands(&mut self, now: Instant) {
        for _ in 0..COMMANDS {
            let Some(command) = self.port.next_command() else {
                break;
            };
            self.do_command(command, now);
        }
        if self.port.take_resume() {
            let stalled: Vec<usize> = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.has_stalled())
                .map(|(key, _)| key)
                .collect();
            for key in stalled {
                self.with_peer(key, now, |peer, world| peer.resume(world));
            }
        }
    }

    pub(crate) fn do_command(&mut self, command: Command, now: Instant) {
        self.board_stale = true;
        match command {
            Command::Create {
                transport,
                group,
                ufrag,
                pwd,
                candidates,
            } => {
                let mut world = self.world(now);
                let peer = Peer::new(
                    transport,
                    group,
                    ufrag,
                    pwd,
                    candidates.as_deref(),
                    &mut world,
                );
                let key = self.peers.vacant_key();
                for ufrag in peer.ufrags() {
                    self.demux.add_ufrag(ufrag, key);
                }
                if peer.is_full() {
                    self.asking.push(key);
                }
                self.peers.insert(peer);
                self.by_id.insert(transport, key);
                self.schedule(key, now);
            }
            Command::Apply {
                transport,
                request,
                remote,
                media,
                data,
            } => {
                if let Some(remote) = &remote
                    && self.is_taken(transport, &remote.candidates)
                {
                    let why = "the peer's address is another connection's, or ours";
                    self.done(request, Err(Failure::Refused(why.into())));
                    return;
                }
                let mut result = Err(Failure::Internal);
                let found = self.with_transport(transport, now, |peer, world| {
                    strike!(Command, peer.id.0);
                    result = peer.apply(remote.as_ref(), &media, data, world)?;
                    Ok(())
                });
                self.done(request, if found { result } else { Err(Failure::Gone) });
            }
            Command::AddRemoteCandidate {
                transport,
                request,
                candidate,
            } => {
                let is_taken = self.is_taken(transport, std::slice::from_ref(&candidate));
                let found = self.with_transport(transport, now, |peer, world| match is_taken {
                    true => Ok(()),
                    false => peer.add_candidate(&candidate, world),
                });
                self.done(request, if found { Ok(()) } else { Err(Failure::Gone) });
            }
            Command::RestartIce {
                transport,
                ufrag,
                pwd,
            } => {
                let Some(key) = self.by_id.get(&transport).copied() else {
                    return;
                };
                let mut retired = None;
                self.with_peer(key, now, |peer, world| {
                    retired = peer.restart_ice(ufrag, pwd, world);
                    Ok(())
                });
                if let Some(retired) = retired {
                    self.demux.remove_ufrag(&retired);
                }
                for ufrag in self.peers.get(key).iter().flat_map(|peer| peer.ufrags()) {
                    self.demux.add_ufrag(ufrag, key);
                }
            }
            Command::SetBitrate {
                transport,
                request,
                max_in_bps,
            } => {
                let found = self.with_transport(transport, now, |peer, world| {
                    world
                        .media
                        .set_max_in(peer.id, max_in_bps, world.now, world.arena);
                    Ok(())
                });
                self.done(request, if found { Ok(()) } else { Err(Failure::Gone) });
            }
            Command::Stats { transport, request } => {
                let mut stats = None;
                self.with_transport(transport, now, |peer, world| {
                    stats = Some(Box::new(peer.stats(world)));
                    Ok(())
                });
                match stats {
                    Some(stats) => self.port.mailbox.post(Event::Stats {
                        request,
                        transport,
                        stats,
                    }),
                    None => self.done(request, Err(Failure::Gone)),
                }
            }
            Command::Close { transport } => {
                if let Some(key) = self.by_id.get(&transport).copied() {
                    self.close(key, Reason::Local, now);
                }
            }
            Command::Media(command) => self.with_media(now, |media, arena, events| {
                media.command(command, now, arena, events);
            }),
            Command::OpenChannel {
                transport,
                shared,
                options,
            } => {
                let channel = shared.id;
                let found = self.with_transport(transport, now, |peer, world| {
                    peer.open_channel(shared, options, world)
                });
                if !found {
                    self.port.mailbox.post(Event::ChannelClosed {
                        transport,
                        channel,
                        reason: ChannelEnd::Transport,
                    });
                }
            }
            Command::Send {
                channel,
                data,
                text,
            } => {
                let bytes = data.len();
                let found = self.with_transport(channel.transport, now, |peer, world| {
                    peer.send(&channel, data, text, world)
                });
                if !found {
                    channel.let_go(bytes);
                }
            }
            Command::Broadcast {
                channels,
                data,
                text,
            } => {
                for channel in channels {
                    let bytes = data.len();
                    let data = data.clone();
                    let found = self.with_transport(channel.transport, now, |peer, world| {
                        peer.send(&channel, data, text, world)
                    });
                    if !found {
                        channel.let_go(bytes);
                    }
                }
            }
            Command::CloseChannel { channel } => {
                self.with_transport(channel.transport, now, |peer, world| {
                    peer.close_channel(&channel, world)
                });
            }
            Command::Link { from, to } => {
                let is_there = !to.is_closed() && self.by_id.contains_key(&to.transport);
                let found = is_there
                    && self.with_transport(from.transport, now, |peer, world| {
                        peer.link(&from, &to, world)
                    });
                if !found {
                    from.release_link();
                }
            }
            Command::Unlink { from, to } => self.links.remove(from.id, to.id),
            #[cfg(feature = "planted")]
            Command::Plant(place, id) => crate::planted::plant(place, id),
        }
    }

    /// Whether a transport with full ICE would call an address that is another's, or ours. What is not
    /// STUN is told apart by its sender, here and at the peer: both would be one to either side.
    fn is_taken(&mut self, transport: TransportId, candidates: &[String]) -> bool {
        let Some(key) = self.by_id.get(&transport).copied() else {
            return false;
        };
        if !self.asking.contains(&key) {
            return false;
        }
        let wanted = addresses(candidates);
        let has_other =
            |address: &SocketAddr| self.demux.sender(address).is_some_and(|owner| owner != key);
        let own = self.peers.get(key).map_or(&[][..], Peer::own);
        let others = self.asking.iter().filter(|other| **other != key);
        wanted.iter().any(has_other)
            || wanted.iter().any(|address| own.contains(address))
            || others
                .filter_map(|other| self.peers.get(*other))
                .any(|peer| peer.targets().iter().any(|target| wanted.contains(target)))
    }

    fn done(&self, request: RequestId, result: Result<(), Failure>) {
        self.port.mailbox.post(Event::Done { request, result });
    }

    // ── one transport at a time ─────────────────────────────────────────────────────────────────

    /// Runs work for one transport in its own scope. False: there is none with this id.
    fn with_transport(
        &mut self,
        transport: TransportId,
        now: Instant,
        work: impl FnOnce(&mut Peer, &mut World<'_>) -> Result<(), Reason>,
    ) -> bool {
        let Some(key) = self.by_id.get(&transport).copied() else {
            return false;
        };
        self.with_peer(key, now, work);
        true
    }

    /// Runs work for one transport. Whatever goes wrong in it, down to a panic, ends that transport.
    fn with_peer(
        &mut self,
        key: usize,
        now: Instant,
        work: impl FnOnce(&mut Peer, &mut World<'_>) -> Result<(), Reason>,
    ) {
        let (peers, mut world) = self.split(now);
        let Some(peer) = peers.get_mut(key) else {
            return;
        };
        let id = peer.id;
        world.media.begin();
        // What a panic leaves torn is this peer, and it is dropped.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(peer, &mut world)));
        match outcome {
            Ok(Ok(())) => self.schedule(key, now),
            Ok(Err(reason)) => self.close(key, reason, now),
            Err(_) => {
                // Media has tables for all: its mistake may be another transport's.
                let culprit = self.media.culprit().unwrap_or(id);
                self.contain(Some(culprit), now);
                self.schedule(key, now);
            }
        }
    }

    /// Runs work on what the transports share. A panic ends the transport whose turn it was.
    fn with_media(
        &mut self,
        now: Instant,
        work: impl FnOnce(&mut Media, &mut Arena, &mut Vec<MediaEvent>),
    ) {
        let Shard {
            media,
            arena,
            media_events,
            ..
        } = self;
        media.begin();
        // What a panic leaves torn belongs to one transport, and that is expelled.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(media, arena, media_events)));
        if outcome.is_err() {
            self.contain(self.media.culprit(), now);
        }
    }

    /// After a panic: owns up to it and ends the transport it happened to, if it was one.
    fn contain(&mut self, culprit: Option<TransportId>, now: Instant) {
        self.counts.panics += 1;
        self.board_stale = true;
        self.loose_panics += u64::from(culprit.is_none());
        self.port.mailbox.post(Event::InternalError {
            shard: 0,
            transport: culprit,
        });
        if let Some(key) = culprit.and_then(|id| self.by_id.get(&id).copied()) {
            self.close(key, Reason::Internal, now);
        }
    }

    fn close(&mut self, key: usize, reason: Reason, now: Instant) {
        match reason {
            Reason::Dtls => self.counts.dtls_failures += 1,
            Reason::Fingerprint => self.counts.fingerprint_mismatches += 1,
            _ => {}
        }
        let Some(mut peer) = self.peers.try_remove(key) else {
            return;
        };
        self.board_stale = true;
        self.by_id.remove(&peer.id);
        self.asking.retain(|asking| *asking != key);
        for ufrag in peer.ufrags() {
            self.demux.remove_ufrag(ufrag);
        }
        for sender in peer.senders() {
            self.demux.remove_sender(sender, key);
        }
        let mut world = self.world(now);
        // The goodbye of a peer that has panicked may panic again; it is over all the same.
        let goodbye = catch_unwind(AssertUnwindSafe(|| peer.say_goodbye(reason, &mut world)));
        let is_torn = goodbye.is_err() || reason == Reason::Internal;
        peer.end(reason, is_torn, &mut world);
        if is_torn {
            self.links.expel(peer.id);
        }
        self.counts.panics += u64::from(goodbye.is_err());
    }

    /// Puts the peer's next deadline on the timers if it is earlier than the one that is there. A
    /// later one waits for the earlier to fire, which costs a look and saves a removal.
    fn schedule(&mut self, key: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(at) = peer.deadline(now) else {
            return;
        };
        // A dependency that asks for the past must not keep the shard from sleeping.
        let at = at.max(now + Duration::from_millis(1));
        if peer.scheduled.is_none_or(|scheduled| at < scheduled) {
            peer.scheduled = Some(at);
            self.timers.add(at, key, peer.id);
        }
    }

    fn world(&mut self, now: Instant) -> World<'_> {
        self.split(now).1
    }

    fn split(&mut self, now: Instant) -> (&mut Slab<Peer>, World<'_>) {
        let world = World {
            now,
            config: &self.config,
            certificate: &self.certificate,
            arena: &mut self.arena,
            media: &mut self.media,
            media_events: &mut self.media_events,
            links: &mut self.links,
            port: &self.port,
            counts: &mut self.counts,
        };
        (&mut self.peers, world)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::event::TransportState;
    use crate::spec::GroupId;

    fn shard() -> (Shard, Arc<Port>) {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = Arc::new(Port::new(16, 64).unwrap());
        let certificate = Certificate::generate(1200).unwrap();
        let config = EngineConfig::default();
        let shard = Shard::new(config, socket, certificate, port.clone(), Arc::default()).unwrap();
        (shard, port)
    }

    fn create(shard: &mut Shard, id: u64, now: Instant) {
        shard.port.census.admit(GroupId(1), &shard.config).unwrap();
        shard.do_command(
            Command::Create {
                transport: TransportId(id),
                group: GroupId(1),
                ufrag: format!("0{id}"),
                pwd: "password".into(),
                candidates: None,
            },
            now,
        );
    }

    #[test]
    fn a_panic_in_one_transport_ends_that_one_and_no_other() {
        let (mut shard, port) = shard();
        let now = Instant::now();
        create(&mut shard, 1, now);
        create(&mut shard, 2, now);

        shard.with_transport(TransportId(1), now, |_, _| panic!("on purpose"));

        assert!(!shard.by_id.contains_key(&TransportId(1)));
        assert!(shard.demux.ufrag("01").is_none());
        assert!(shard.demux.ufrag("02").is_some());
        assert!(shard.with_transport(TransportId(2), now, |_, _| Ok(())));
        assert_eq!(shard.counts.panics, 1);
        let mut events = Vec::new();
        port.mailbox.drain(64, &mut events);
        assert!(matches!(
            events.as_slice(),
            [
                Event::InternalError {
                    transport: Some(TransportId(1)),
                    ..
                },
                Event::TransportState {
                    transport: TransportId(1),
                    state: TransportState::Closed,
                    reason: Some(Reason::Internal),
                },
            ]
        ));
    }

    #[test]
    fn a_shard_whose_socket_was_full_waits_for_room_and_sends_the_rest() {
        let (mut shard, _port) = shard();
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        shard.arena.takes.borrow_mut().push_back(0);
        shard
            .arena
            .push_bytes(theirs.local_addr().unwrap(), b"late");

        shard.finish(Instant::now());
        assert!(shard.watching_writable);
        shard.turn(&mut RecvBatch::new()).unwrap();

        assert!(!shard.watching_writable);
        assert_eq!(theirs.recv(&mut [0; 16]).unwrap(), 4);
        assert_eq!(shard.arena.dropped_full, 0);
    }

    #[test]
    fn a_slot_that_is_used_again_is_not_reached_by_what_belonged_to_its_predecessor() {
        let (mut shard, _port) = shard();
        let now = Instant::now();
        let sender = SocketAddr::from(([192, 0, 2, 1], 9));
        create(&mut shard, 1, now);
        let key = shard.by_id[&TransportId(1)];
        shard.demux.add_sender(sender, key);
        shard.timers.add(now, key, TransportId(1));

        shard.close(key, Reason::Local, now);
        create(&mut shard, 2, now);
        shard.do_timers(now);

        assert_eq!(shard.by_id[&TransportId(2)], key);
        assert!(shard.peers[key].senders().is_empty());
        let own = now + shard.config.failed;
        assert_eq!(shard.peers[key].scheduled, Some(own));
    }
}
