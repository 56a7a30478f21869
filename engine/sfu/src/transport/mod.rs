//! One transport: ICE finds the way, DTLS makes the keys, SCTP carries the channels.
//!
//! A [`Peer`] owns the four of them and its clock of silence. It touches no socket: datagrams and
//! time come in from the shard, datagrams go out into its arena, facts into its mailbox.

pub(crate) mod agent;
pub(crate) mod budget;
pub(crate) mod dcep;
pub(crate) mod dtls;
pub(crate) mod full;
pub(crate) mod ice;
pub(crate) mod liveness;
pub(crate) mod restart;
pub(crate) mod sctp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use is::stun::StunMessage;

use crate::command::{ChannelOptions, RemoteTransport, Setup};
use crate::config::EngineConfig;
use crate::data::{ChannelShared, Channels, Context, Links};
use crate::event::{Event, Failure, Reason, TransportState, TransportStats};
use crate::media::{Media, MediaChange, MediaEvent, Outbox};
use crate::net::arena::Arena;
use crate::port::Port;
use crate::shard::counts::Counts;
use crate::spec::{DataSpec, GroupId, TransportId};
use crate::srtp::SrtpKeys;
use crate::strike;
use agent::Agent;
use budget::Budget;
use dtls::{Broken, Certificate, Dtls, Fingerprint, Heard};
use full::{Found, Full};
use ice::{Accepted, Check, Ice};
use liveness::{Liveness, Pulse};
use restart::{Restart, Taken};
use sctp::{Happened, Sctp};

/// What a peer needs of its shard while it does something.
pub(crate) struct World<'a> {
    pub now: Instant,
    pub config: &'a EngineConfig,
    pub certificate: &'a Certificate,
    pub arena: &'a mut Arena,
    pub media: &'a mut Media,
    pub media_events: &'a mut Vec<MediaEvent>,
    pub links: &'a mut Links,
    pub port: &'a Arc<Port>,
    pub counts: &'a mut Counts,
}

/// What the peer's description says, once it has been found usable.
pub(crate) struct Remote {
    ufrag: String,
    pwd: String,
    fingerprint: Fingerprint,
    candidates: Vec<String>,
    begins_anew: bool,
    controls: bool,
    /// It waits for our ClientHello.
    is_server: bool,
}

impl Remote {
    pub fn read(remote: &RemoteTransport) -> Result<Remote, String> {
        let fingerprint = Fingerprint::parse(&remote.fingerprint)
            .ok_or("the fingerprint is not a sha-256 one of 32 bytes")?;
        Ok(Remote {
            ufrag: remote.ufrag.clone(),
            pwd: remote.pwd.clone(),
            fingerprint,
            candidates: remote.candidates.clone(),
            begins_anew: remote.begins_anew,
            controls: remote.controls,
            is_server: remote.setup == Setup::Passive,
        })
    }
}

pub(crate) struct Peer {
    pub id: TransportId,
    group: GroupId,
    ice: Agent,
    dtls: Dtls,
    /// The peer has announced another association than that.
    restart: Option<Restart>,
    /// It has also left the old one, and the new one is awaited.
    is_between: bool,
    sctp: Option<Sctp>,
    channels: Channels,
    liveness: Liveness,
    state: TransportState,
    /// Where DTLS answers go before anything is nominated: the sender of the last authentic check.
    reply_to: Option<SocketAddr>,
    /// The ufrag of the peer's description; another one is a restart.
    remote_ufrag: Option<String>,
    /// By when the peer, which is awaited, must have connected.
    connect_by: Option<Instant>,
    /// It counts among those that are awaited.
    is_pending: bool,
    budget: Budget,
    srtp_profile: Option<&'static str>,
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    /// When the shard's timer for this peer fires; kept by the shard.
    pub scheduled: Option<Instant>,
}

impl Peer {
    pub fn new(
        id: TransportId,
        group: GroupId,
        ufrag: String,
        pwd: String,
        candidates: Option<&[String]>,
        world: &mut World<'_>,
    ) -> Peer {
        world.media.open(id, group);
        Peer {
            id,
            group,
            ice: match candidates {
                None => Agent::Lite(Ice::new(ufrag, pwd)),
                Some(ours) => Agent::Full(Box::new(Full::new(ufrag, pwd, ours))),
            },
            dtls: Dtls::new(world.certificate, world.now),
            restart: None,
            is_between: false,
            sctp: None,
            channels: Channels::default(),
            liveness: Liveness::new(world.now, world.config.disconnected, world.config.failed),
            state: TransportState::New,
            reply_to: None,
            remote_ufrag: None,
            connect_by: Some(world.now + world.config.failed),
            is_pending: true,
            budget: Budget::new(world.now),
            srtp_profile: None,
            packets_in: 0,
            bytes_in: 0,
            packets_out: 0,
            bytes_out: 0,
            scheduled: None,
        }
    }

    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.ufrags()
    }

    pub fn senders(&self) -> &[SocketAddr] {
        self.ice.senders()
    }

    /// When [`on_timer`](Self::on_timer) is next wanted.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let connected = self.is_connected();
        let alive = if connected {
            self.liveness.deadline(now)
        } else {
            self.connect_by
        };
        let dtls = self.dtls.deadline();
        let restart = self.restart.as_ref().and_then(Restart::deadline);
        let sctp = self.sctp.as_ref().and_then(Sctp::deadline);
        let ice = self.ice.full().and_then(Full::deadline);
        [alive, dtls, restart, sctp, ice]
            .into_iter()
            .flatten()
            .min()
    }

    // ── datagrams ───────────────────────────────────────────────────────────────────────────────

    /// With full ICE: whether this answers a check of ours, or is an authentic check of the peer's.
    pub fn accepts(&mut self, message: &StunMessage<'_>) -> bool {
        self.ice.full().is_some_and(|full| full.accepts(message))
    }

    /// Takes what it [`accepts`](Self::accepts). Returns a sender to be admitted.
    pub fn on_stun(
        &mut self,
        from: SocketAddr,
        message: StunMessage<'_>,
        world: &mut World<'_>,
    ) -> Result<Option<SocketAddr>, Reason> {
        if let Some(full) = self.ice.full() {
            full.on_message(world.now, from, message);
        }
        if self.reply_to.replace(from).is_none() && self.remote_ufrag.is_none() {
            self.expect_peer(world);
        }
        self.heard(world);
        self.run_ice(world)
    }

    /// With full ICE: where its checks go.
    pub fn targets(&self) -> &[SocketAddr] {
        match &self.ice {
            Agent::Lite(_) => &[],
            Agent::Full(full) => full.targets(),
        }
    }

    /// With full ICE: every address that is ours.
    pub fn own(&self) -> &[SocketAddr] {
        match &self.ice {
            Agent::Lite(_) => &[],
            Agent::Full(full) => full.own(),
        }
    }

    pub fn is_full(&self) -> bool {
        matches!(self.ice, Agent::Full(_))
    }

    /// Judges a connectivity check and answers an authentic one. `None`: it was forged.
    pub fn on_check(
        &mut self,
        from: SocketAddr,
        request: &StunMessage<'_>,
        world: &mut World<'_>,
    ) -> Option<Accepted> {
        let Agent::Lite(ice) = &mut self.ice else {
            return None;
        };
        let Check::Accepted(accepted) = ice.on_check(from, request) else {
            return None;
        };
        let mut sent = 0;
        world.arena.push(from, |slot| {
            sent = ice.answer(from, request, &accepted, slot);
            sent
        });
        self.count_out(sent);
        if accepted.role_conflict {
            return Some(accepted);
        }
        if self.reply_to.replace(from).is_none() && self.remote_ufrag.is_none() {
            // It has heard of us; its description is on its way.
            self.expect_peer(world);
        }
        self.heard(world);
        if accepted.selected {
            self.route(from, world);
        }
        self.settle(world);
        Some(accepted)
    }

    /// Takes a DTLS datagram of a sender that ICE has admitted.
    pub fn on_dtls(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        let (now, certificate) = (world.now, world.certificate);
        let taken = self.with_restart(world, |restart, send| {
            restart.on_datagram(now, from, datagram, certificate, send)
        });
        match taken {
            None | Some(Taken::Old) => {}
            Some(Taken::New) => return Ok(()),
            Some(Taken::Ready(dtls, keys)) => {
                self.begin_anew(from, *dtls, keys, world);
                return Ok(());
            }
        }
        let progress = self.with_dtls(world, |dtls, now, heard| {
            dtls.on_datagram(now, datagram, heard)
        })?;
        if progress {
            self.heard(world);
        }
        self.run_sctp(world)
    }

    /// Takes an RTP or RTCP datagram of a sender that ICE has admitted.
    pub fn on_media(&mut self, datagram: &mut [u8], world: &mut World<'_>) {
        let authentic = world.media.on_datagram(
            self.id,
            world.now,
            datagram,
            world.arena,
            world.media_events,
        );
        if authentic {
            self.heard(world);
        }
    }

    /// Counts a datagram of this peer, whatever it holds.
    pub fn count_in(&mut self, bytes: usize) {
        self.packets_in += 1;
        self.bytes_in += bytes as u64;
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────────

    pub fn on_timer(&mut self, world: &mut World<'_>) -> Result<(), Reason> {
        let now = world.now;
        if self.dtls.deadline().is_some_and(|at| at <= now) {
            self.with_dtls(world, |dtls, now, heard| dtls.on_timer(now, heard))?;
        }
        self.with_restart(world, |restart, send| restart.on_timer(now, send));
        if let Some(sctp) = &mut self.sctp
            && sctp.deadline().is_some_and(|at| at <= now)
        {
            sctp.on_timer(now);
        }
        if let Some(full) = self.ice.full() {
            full.on_timer(now);
            self.run_ice(world)?;
        }
        self.run_sctp(world)?;
        self.settle(world);
        Ok(())
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────

    /// Applies one exchange of descriptions, whole or not at all. The outer error ends the transport.
    pub fn apply(
        &mut self,
        remote: Option<&RemoteTransport>,
        media: &MediaChange,
        data: Option<DataSpec>,
        world: &mut World<'_>,
    ) -> Result<Result<(), Failure>, Reason> {
        let refused = |reason: String| Ok(Err(Failure::Refused(reason)));
        let remote = match remote.map(Remote::read).transpose() {
            Ok(remote) => remote,
            Err(reason) => return refused(reason),
        };
        if let Some(remote) = &remote
            && remote.is_server
            && !self.is_full()
        {
            return refused(
                "the peer is passive: an ICE-lite transport is the DTLS server in every flow"
                    .into(),
            );
        }
        if let Some(remote) = &remote
            && !self.dtls.may_expect(remote.fingerprint)
        {
            return refused("the peer's fingerprint has changed on a live connection".into());
        }
        let applied = world
            .media
            .apply(self.id, media, world.now, world.arena, world.media_events);
        if let Err(error) = applied {
            return refused(error.to_string());
        }
        // Before the peer is named: what it sent ahead of its description is heard with that.
        if let Some(data) = data {
            let sctp = self
                .sctp
                .get_or_insert_with(|| Sctp::new(world.config, world.now));
            sctp.set_max_send(data.max_message_size);
            if self.dtls.is_client() && self.dtls.is_ready() {
                sctp.initiate();
            }
        }
        if let Some(remote) = remote {
            self.set_remote(remote, world)?;
            self.run_sctp(world)?;
        }
        Ok(Ok(()))
    }

    fn set_remote(&mut self, remote: Remote, world: &mut World<'_>) -> Result<(), Reason> {
        if self.remote_ufrag.as_ref() != Some(&remote.ufrag) {
            // A new peer, or a peer that starts over: it has the whole time again.
            self.remote_ufrag = Some(remote.ufrag.clone());
            self.liveness.heard(world.now);
            if !self.is_connected() {
                self.expect_peer(world);
            }
        }
        if remote.is_server && !self.dtls.is_ready() && !self.dtls.is_client() {
            self.dtls = Dtls::client(world.certificate, world.now);
        }
        self.with_dtls(world, |dtls, _, heard| {
            dtls.expect(remote.fingerprint, heard)
        })?;
        if let Some(full) = self.ice.full() {
            let Remote {
                ufrag,
                pwd,
                candidates,
                controls,
                ..
            } = &remote;
            full.set_remote(ufrag, pwd, candidates, !controls, world.now);
            self.run_ice(world)?;
        }
        if remote.begins_anew && self.dtls.is_ready() && !self.dtls.is_client() {
            match &mut self.restart {
                Some(restart) => restart.extend(world.now),
                None => self.restart = Some(Restart::new(remote.fingerprint, world.now)),
            }
        }
        self.settle(world);
        Ok(())
    }

    /// Adds local credentials beside the current ones. Returns a ufrag that is over because an
    /// earlier restart was never used.
    pub fn restart_ice(
        &mut self,
        ufrag: String,
        pwd: String,
        world: &mut World<'_>,
    ) -> Option<String> {
        self.liveness.heard(world.now);
        self.settle(world);
        self.ice.restart(ufrag, pwd)
    }

    /// Takes one more candidate of the peer. A lite agent has no use for it.
    pub fn add_candidate(&mut self, candidate: &str, world: &mut World<'_>) -> Result<(), Reason> {
        if let Some(full) = self.ice.full() {
            full.add_remote(candidate);
            self.run_ice(world)?;
        }
        Ok(())
    }

    pub fn open_channel(
        &mut self,
        shared: Arc<ChannelShared>,
        options: ChannelOptions,
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        self.with_channels(world, |channels, sctp, cx| {
            channels.open(sctp, shared, options, cx);
        });
        self.run_sctp(world)
    }

    pub fn send(
        &mut self,
        shared: &Arc<ChannelShared>,
        data: Bytes,
        text: bool,
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        self.with_channels(world, |channels, sctp, cx| {
            channels.send(sctp, shared, data, text, cx);
        });
        self.run_sctp(world)
    }

    /// Sends what has arrived on another channel.
    pub fn pass(
        &mut self,
        to: &Arc<ChannelShared>,
        messages: &[(Bytes, bool)],
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        for (data, text) in messages {
            self.with_channels(world, |channels, sctp, cx| {
                channels.pass(sctp, to, data.clone(), *text, cx);
            });
        }
        self.run_sctp(world)
    }

    pub fn link(
        &mut self,
        from: &Arc<ChannelShared>,
        to: &Arc<ChannelShared>,
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        self.with_channels(world, |channels, sctp, cx| {
            channels.link(sctp, from, to, cx);
        });
        self.run_sctp(world)
    }

    pub fn close_channel(
        &mut self,
        shared: &Arc<ChannelShared>,
        world: &mut World<'_>,
    ) -> Result<(), Reason> {
        self.with_channels(world, |channels, sctp, cx| {
            channels.close(sctp, shared.id, cx);
        });
        self.run_sctp(world)
    }

    /// Reads on where reading had stopped for want of room.
    pub fn resume(&mut self, world: &mut World<'_>) -> Result<(), Reason> {
        self.with_channels(world, |channels, sctp, cx| {
            if let Some(sctp) = sctp {
                channels.resume(sctp, cx);
            }
        });
        self.run_sctp(world)
    }

    pub fn has_stalled(&self) -> bool {
        self.channels.has_stalled()
    }

    /// How many data channels exist.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    pub fn stats(&self, world: &World<'_>) -> TransportStats {
        TransportStats {
            state: self.state,
            remote: self.ice.selected(),
            srtp_profile: self.srtp_profile,
            packets_in: self.packets_in,
            bytes_in: self.bytes_in,
            packets_out: self.packets_out,
            bytes_out: self.bytes_out,
            sctp_rtt: self.sctp.as_ref().and_then(Sctp::rtt),
            channels: self.channels.len(),
            media: world.media.stats(self.id).unwrap_or_default(),
        }
    }

    /// Ends the channels, and tells the peer if it is us who end it. Nothing but `end` may follow.
    pub fn say_goodbye(&mut self, reason: Reason, world: &mut World<'_>) {
        strike!(Goodbye, self.id.0);
        self.with_channels(world, |channels, _, cx| channels.end_all(cx));
        if reason == Reason::Local {
            let to = self.destination();
            self.dtls.close(&mut |heard| {
                if let (Heard::Record(record), Some(to)) = (heard, to) {
                    world.arena.push_bytes(to, record);
                }
            });
        }
    }

    /// Gives up what it has of the shard. `is_torn`: a panic has left it as it is.
    pub fn end(&mut self, reason: Reason, is_torn: bool, world: &mut World<'_>) {
        if is_torn {
            world.media.expel(self.id, world.media_events);
        } else {
            world.media.close(self.id, world.now, world.media_events);
        }
        world.port.census.leave(self.group, self.is_pending);
        self.enter(TransportState::Closed, Some(reason), world);
    }

    // ── inside ──────────────────────────────────────────────────────────────────────────────────

    fn is_connected(&self) -> bool {
        self.ice.selected().is_some() && self.dtls.is_ready() && !self.is_between
    }

    fn destination(&self) -> Option<SocketAddr> {
        // With full ICE a way that was given up may not be used for want of another.
        let is_over = self.is_full() && self.state == TransportState::Failed;
        self.ice.selected().or(self.reply_to.filter(|_| !is_over))
    }

    /// Sends what the agent of full ICE has to say and acts on what it has found. Returns a sender to
    /// be admitted.
    fn run_ice(&mut self, world: &mut World<'_>) -> Result<Option<SocketAddr>, Reason> {
        let mut admitted = None;
        while let Some((to, bytes)) = self.ice.full().and_then(Full::poll_transmit) {
            world.arena.push_bytes(to, &bytes);
            self.count_out(bytes.len());
        }
        while let Some(found) = self.ice.full().and_then(Full::poll) {
            match found {
                Found::Sender(from) => admitted = Some(from),
                Found::Selected(to) => {
                    self.route(to, world);
                    if self.dtls.is_client() && self.dtls.deadline().is_none() {
                        self.with_dtls(world, |dtls, now, heard| dtls.on_timer(now, heard))?;
                    }
                }
                Found::Lost => {
                    world.media.clear_route(self.id);
                    self.expect_peer(world);
                }
                Found::Expired => {
                    world.media.clear_route(self.id);
                    self.connect_by = Some(world.now);
                }
            }
        }
        self.settle(world);
        Ok(admitted)
    }

    /// Datagrams go there from now on.
    fn route(&mut self, to: SocketAddr, world: &mut World<'_>) {
        world.media.set_route(self.id, to);
        // A destination that moves without end is followed, and no longer told.
        if self.budget.take(world.now) {
            self.post(
                world,
                Event::IceSelected {
                    transport: self.id,
                    remote: to,
                    protocol: "udp",
                },
            );
        }
    }

    fn heard(&mut self, world: &mut World<'_>) {
        self.liveness.heard(world.now);
        if matches!(
            self.state,
            TransportState::Disconnected | TransportState::Failed
        ) {
            self.settle(world);
        }
    }

    /// Lets DTLS do something and acts on what it says.
    fn with_dtls<T>(
        &mut self,
        world: &mut World<'_>,
        act: impl FnOnce(&mut Dtls, Instant, &mut dyn FnMut(Heard<'_>)) -> Result<T, Broken>,
    ) -> Result<T, Reason> {
        let to = self.destination();
        let now = world.now;
        let (mut packets, mut bytes) = (0, 0);
        let mut ready: Option<Option<SrtpKeys>> = None;
        let mut goodbye = false;
        let sctp = &mut self.sctp;
        let arena = &mut *world.arena;
        let result = act(&mut self.dtls, now, &mut |heard| match heard {
            Heard::Record(record) => {
                if let Some(to) = to {
                    packets += 1;
                    bytes += record.len() as u64;
                    arena.push_bytes(to, record);
                }
            }
            Heard::Ready(keys) => ready = Some(keys),
            Heard::Data(packet) => {
                // Without an agreed data section nobody answers; the peer asks again.
                if let Some(sctp) = sctp {
                    sctp.on_packet(now, packet);
                }
            }
            Heard::Goodbye => goodbye = true,
        });
        self.packets_out += packets;
        self.bytes_out += bytes;
        if let Some(keys) = ready {
            self.on_ready(keys, world);
        }
        if goodbye && self.restart.is_none() {
            return Err(Reason::Peer);
        }
        if goodbye {
            self.is_between = true;
            self.renew_sctp(world);
            self.expect_peer(world);
            self.settle(world);
        }
        result.map_err(|broken| match broken {
            Broken::Handshake => Reason::Dtls,
            Broken::Fingerprint => Reason::Fingerprint,
        })
    }

    /// Lets the association that the peer has announced do something, if there is one.
    fn with_restart<T>(
        &mut self,
        world: &mut World<'_>,
        act: impl FnOnce(&mut Restart, &mut dyn FnMut(SocketAddr, &[u8])) -> T,
    ) -> Option<T> {
        let (packets, bytes) = (&mut self.packets_out, &mut self.bytes_out);
        let arena = &mut *world.arena;
        let mut send = |to, record: &[u8]| {
            *packets += 1;
            *bytes += record.len() as u64;
            arena.push_bytes(to, record);
        };
        Some(act(self.restart.as_mut()?, &mut send))
    }

    fn on_ready(&mut self, keys: Option<SrtpKeys>, world: &mut World<'_>) {
        if let Some(keys) = &keys {
            self.srtp_profile = Some(keys.profile.as_str());
            world.media.set_keys(self.id, keys);
        }
        self.post(
            world,
            Event::DtlsConnected {
                transport: self.id,
                version: "DTLS 1.2",
                srtp_profile: self.srtp_profile,
            },
        );
        if let Some(sctp) = self.sctp.as_mut().filter(|_| self.dtls.is_client()) {
            sctp.initiate();
        }
        self.liveness.heard(world.now);
        self.settle(world);
    }

    /// The association the peer has announced is there: everything goes on under its keys.
    fn begin_anew(
        &mut self,
        from: SocketAddr,
        dtls: Dtls,
        keys: Option<SrtpKeys>,
        world: &mut World<'_>,
    ) {
        // A handshake says more than the nomination, which may be on its way still.
        if self.ice.select(from) {
            self.route(from, world);
        }
        self.dtls = dtls;
        self.restart = None;
        self.is_between = false;
        self.renew_sctp(world);
        self.on_ready(keys, world);
    }

    /// The SCTP association ends with the DTLS one that carried it, and the channels do not: libwebrtc
    /// keeps them on the streams they had, and opens none anew.
    fn renew_sctp(&mut self, world: &mut World<'_>) {
        if let Some(sctp) = &mut self.sctp {
            let max_send = sctp.max_send();
            *sctp = Sctp::new(world.config, world.now);
            sctp.set_max_send(max_send);
            self.channels.detach();
        }
    }

    fn with_channels(
        &mut self,
        world: &mut World<'_>,
        act: impl FnOnce(&mut Channels, Option<&mut Sctp>, &mut Context<'_>),
    ) {
        let mut cx = Context {
            transport: self.id,
            port: world.port,
            limit: world.config.channel_limit_bytes,
            in_flight: (world.config.sctp_window_bytes as usize / 4).max(65_536),
            now: world.now,
            budget: &mut self.budget,
            links: world.links,
            dropped: &mut world.counts.drop_message,
        };
        act(&mut self.channels, self.sctp.as_mut(), &mut cx);
    }

    /// Moves messages and packets between the channels, SCTP and DTLS until all are at rest.
    fn run_sctp(&mut self, world: &mut World<'_>) -> Result<(), Reason> {
        loop {
            while let Some(what) = self.sctp.as_mut().and_then(Sctp::poll) {
                if what == Happened::Lost && self.restart.is_some() {
                    // The peer says so on its way to another.
                    self.renew_sctp(world);
                    continue;
                }
                self.with_channels(world, |channels, sctp, cx| {
                    if let Some(sctp) = sctp {
                        channels.happened(sctp, what, cx);
                    }
                });
            }
            let now = world.now;
            let Some(packets) = self.sctp.as_mut().and_then(|s| s.poll_packets(now)) else {
                return Ok(());
            };
            for packet in packets {
                self.with_dtls(world, |dtls, _, heard| dtls.send(&packet, heard))?;
            }
        }
    }

    /// Finds the state the facts amount to, and tells when it is another one.
    fn settle(&mut self, world: &mut World<'_>) {
        let is_given_up = self.connect_by.is_some_and(|by| by <= world.now);
        let (state, reason) = if self.is_connected() {
            self.no_longer_pending(world);
            match self.liveness.pulse(world.now) {
                Pulse::Alive => (TransportState::Connected, None),
                Pulse::Silent => (TransportState::Disconnected, Some(Reason::Timeout)),
                Pulse::Gone => (TransportState::Failed, Some(Reason::Timeout)),
            }
        } else if self.state == TransportState::Failed
            || (is_given_up && (self.remote_ufrag.is_some() || self.reply_to.is_some()))
        {
            self.no_longer_pending(world);
            (TransportState::Failed, Some(Reason::Timeout))
        } else if is_given_up {
            // Nobody was announced and nobody has come: it goes on waiting, and takes no place.
            self.no_longer_pending(world);
            (TransportState::New, None)
        } else if self.reply_to.is_some() {
            (TransportState::Checking, None)
        } else {
            (TransportState::New, None)
        };
        if state != self.state {
            self.enter(state, reason, world);
        }
    }

    fn enter(&mut self, state: TransportState, reason: Option<Reason>, world: &mut World<'_>) {
        self.state = state;
        self.post(
            world,
            Event::TransportState {
                transport: self.id,
                state,
                reason,
            },
        );
    }

    /// The peer is on its way, and has the whole time to connect.
    fn expect_peer(&mut self, world: &World<'_>) {
        self.connect_by = Some(world.now + world.config.failed);
        if !std::mem::replace(&mut self.is_pending, true) {
            world.port.census.expect();
        }
    }

    fn no_longer_pending(&mut self, world: &World<'_>) {
        self.connect_by = None;
        if std::mem::take(&mut self.is_pending) {
            world.port.census.settle();
        }
    }

    fn count_out(&mut self, bytes: usize) {
        self.packets_out += 1;
        self.bytes_out += bytes as u64;
    }

    fn post(&self, world: &World<'_>, event: Event) {
        world.port.mailbox.post(event);
    }
}
