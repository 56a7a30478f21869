//! An engine on loopback and `str0m` peers beside it, all driven from the test's thread.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod media;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use parley_sfu::command::{Applied, Change, RemoteTransport, RequestId, Setup};
use parley_sfu::config::EngineConfig;
use parley_sfu::event::{Event, Failure, TransportState};
use parley_sfu::spec::{DataSpec, GroupId, TransportId};
use parley_sfu::{Channel, Engine, Transport};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, IceCreds, Input, Output, Rtc, RtcConfig};

/// Long enough for a busy machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn config() -> EngineConfig {
    EngineConfig {
        bind: Ipv4Addr::LOCALHOST.into(),
        udp_port: 0,
        ..EngineConfig::default()
    }
}

/// A WebRTC peer that is none of ours, on a socket of its own.
pub struct Peer {
    pub rtc: Rtc,
    pub socket: UdpSocket,
    pub addr: SocketAddr,
    pub events: VecDeque<str0m::Event>,
    /// Datagrams are neither sent nor received while set.
    pub unplugged: bool,
    timeout: Instant,
    data: bool,
}

impl Peer {
    pub fn new() -> Peer {
        Peer::with(RtcConfig::new().set_rtp_mode(true))
    }

    pub fn with(config: RtcConfig) -> Peer {
        // A second installation says so by an error, and is none.
        str0m::crypto::from_feature_flags().install_process_default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let addr = socket.local_addr().unwrap();
        let now = Instant::now();
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(addr, "udp").unwrap());
        Peer {
            rtc,
            socket,
            addr,
            events: VecDeque::new(),
            unplugged: false,
            timeout: now,
            data: false,
        }
    }

    /// What this peer's description would say.
    pub fn remote(&mut self) -> RemoteTransport {
        let api = self.rtc.direct_api();
        let creds = api.local_ice_credentials();
        RemoteTransport {
            ufrag: creds.ufrag,
            pwd: creds.pass,
            fingerprint: api.local_dtls_fingerprint().to_string(),
            setup: Setup::Active,
            candidates: vec![],
            begins_anew: false,
            controls: true,
        }
    }

    /// Takes what the engine's description would say, and starts. `data`: with an association.
    pub fn start(&mut self, transport: &Transport, data: bool) {
        for candidate in transport.candidates.iter() {
            self.rtc
                .add_remote_candidate(Candidate::from_sdp_string(candidate).unwrap());
        }
        self.data = data;
        let mut api = self.rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds {
            ufrag: transport.ufrag.clone(),
            pass: transport.pwd.clone(),
        });
        api.set_remote_fingerprint(transport.fingerprint.parse().unwrap());
        api.start_dtls(true).unwrap();
        if data {
            api.start_sctp(true);
        }
        // Until it is told the time, it does not begin.
        self.input(Input::Timeout(Instant::now()));
    }

    /// Sends what is to be sent and takes what has arrived; keeps the events.
    pub fn turn(&mut self) {
        let mut buffer = [0; 2000];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    if self.unplugged {
                        continue;
                    }
                    let Ok(contents) = buffer[..len].try_into() else {
                        continue;
                    };
                    let receive = Receive {
                        proto: Protocol::Udp,
                        source: from,
                        destination: self.addr,
                        contents,
                    };
                    self.input(Input::Receive(Instant::now(), receive));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier datagram.
                Err(_) => continue,
            }
        }
        self.drain();
        if self.timeout <= Instant::now() {
            self.input(Input::Timeout(Instant::now()));
        }
    }

    fn input(&mut self, input: Input<'_>) {
        // A peer that was told goodbye takes nothing more, and says so by an error.
        if self.rtc.is_alive() && self.rtc.handle_input(input).is_err() {
            self.rtc.disconnect();
        }
        self.drain();
    }

    pub fn drain(&mut self) {
        while self.rtc.is_alive() {
            let Ok(output) = self.rtc.poll_output() else {
                self.rtc.disconnect();
                return;
            };
            match output {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(transmit) => {
                    if !self.unplugged {
                        // A full socket loses datagrams, as networks do.
                        let _ = self
                            .socket
                            .send_to(&transmit.contents, transmit.destination);
                    }
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }

    /// Takes the first event that fits, leaving the others.
    pub fn take<T>(&mut self, fits: impl Fn(&str0m::Event) -> Option<T>) -> Option<T> {
        let index = self.events.iter().position(|event| fits(event).is_some())?;
        fits(&self.events.remove(index)?)
    }
}

/// An engine, its events, and the peers that talk to it.
pub struct Stage {
    pub engine: Engine,
    pub events: VecDeque<Event>,
    pub peers: Vec<Peer>,
    /// The transport of each peer that has joined.
    pub transports: Vec<TransportId>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(config())
    }

    pub fn with(config: EngineConfig) -> Stage {
        Stage {
            engine: Engine::start(config).unwrap(),
            events: VecDeque::new(),
            peers: Vec::new(),
            transports: Vec::new(),
        }
    }

    /// Lets everyone act once.
    pub fn turn(&mut self) {
        for peer in &mut self.peers {
            peer.turn();
        }
        let mut events = Vec::new();
        self.engine.drain(512, &mut events);
        self.events.extend(events);
    }

    /// Lets everyone act until `done` has an answer; panics when patience ends.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Stage) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if let Some(answer) = done(self) {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "no {what} within {PATIENCE:?}; engine: {:?}, counters: {:?}",
                self.events,
                self.counters()
            );
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Lets everyone act for a while.
    pub fn idle(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn();
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Takes the first engine event that fits, leaving the others.
    pub fn take<T>(&mut self, fits: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let index = self.events.iter().position(|event| fits(event).is_some())?;
        fits(&self.events.remove(index)?)
    }

    pub fn done(&mut self, request: RequestId) -> Result<(), Failure> {
        self.until("answer", |stage| {
            stage.take(|event| match event {
                Event::Done { request: r, result } if *r == request => Some(result.clone()),
                _ => None,
            })
        })
    }

    /// Applies a change and waits for its answer, which must be yes.
    pub fn apply(&mut self, transport: TransportId, change: Change) -> Applied {
        let applied = self.engine.apply(transport, change).unwrap();
        self.done(applied.request).unwrap();
        applied
    }

    pub fn state(&mut self, transport: TransportId, state: TransportState) {
        self.until(state.as_str(), |stage| {
            stage.take(|event| match event {
                Event::TransportState {
                    transport: t,
                    state: s,
                    ..
                } if *t == transport && *s == state => Some(()),
                _ => None,
            })
        });
    }

    /// A transport and a peer that have exchanged descriptions, with an association.
    pub fn join(&mut self) -> (Transport, usize) {
        self.join_as(Peer::new(), true)
    }

    pub fn join_as(&mut self, mut peer: Peer, data: bool) -> (Transport, usize) {
        let transport = self.engine.create_transport(GroupId(1)).unwrap();
        let change = Change {
            remote: Some(peer.remote()),
            data: data.then_some(DataSpec {
                port: 5000,
                max_message_size: 262_144,
                streams: 1024,
            }),
            ..Change::default()
        };
        self.apply(transport.id, change);
        peer.start(&transport, data);
        self.peers.push(peer);
        self.transports.push(transport.id);
        (transport, self.peers.len() - 1)
    }

    /// As [`join`](Self::join), and connected.
    pub fn connect(&mut self) -> (Transport, usize) {
        let (transport, peer) = self.join();
        self.state(transport.id, TransportState::Connected);
        (transport, peer)
    }

    pub fn channel_open(&mut self) -> Channel {
        self.until("open channel", |stage| {
            stage.take(|event| match event {
                Event::ChannelOpen { channel, .. } => Some(channel.clone()),
                _ => None,
            })
        })
    }

    /// The next message of a channel.
    pub fn message(&mut self, channel: &Channel) -> (Vec<u8>, bool) {
        let id = channel.id();
        self.until("message", |stage| {
            stage.take(|event| match event {
                Event::ChannelMessage {
                    channel,
                    data,
                    text,
                } if *channel == id => Some((data.to_vec(), *text)),
                _ => None,
            })
        })
    }

    pub fn counters(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.engine.counters().into_iter().collect()
    }

    /// Waits until a counter has reached a value.
    pub fn counted(&mut self, name: &'static str, least: u64) {
        self.until(name, |stage| {
            (*stage.counters().get(name)? >= least).then_some(())
        });
    }
}
