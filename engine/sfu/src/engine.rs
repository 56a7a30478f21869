//! The handle: mints ids, puts commands on the shard's queue, and hands out what happened.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};

use crate::command::{Applied, Change, ChannelId, ChannelOptions, Command, RequestId};
use crate::config::EngineConfig;
use crate::data::{Channel, ChannelShared};
use crate::error::Error;
use crate::event::{Event, TransportState};
use crate::media::{MediaChange, MediaCommand};
use crate::net::sys;
use crate::net::udp::UdpSocket;
use crate::port::Port;
use crate::shard::{Board, Shard};
use crate::spec::{ConsumerId, Flow, GroupId, Mid, ProducerId, TransportId};
use crate::transport::dtls::Certificate;

/// A transport as its maker sees it: everything a local description needs, known at once.
#[derive(Clone)]
pub struct Transport {
    pub id: TransportId,
    pub ufrag: String,
    /// A secret of this transport.
    pub pwd: String,
    /// `sha-256 AB:CD:…`, the same for every transport of the process.
    pub fingerprint: Arc<str>,
    /// From `candidate:` on, complete: nothing trickles out later.
    pub candidates: Arc<[String]>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("id", &self.id)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

/// The running engine. One caller at a time is expected; every method returns without waiting,
/// except [`close`](Engine::close).
pub struct Engine {
    config: EngineConfig,
    port: Arc<Port>,
    board: Arc<Board>,
    local: SocketAddr,
    fingerprint: Arc<str>,
    candidates: Arc<[String]>,
    mids: Mutex<HashMap<TransportId, Mids>>,
    random: SystemRandom,
    thread: Mutex<Option<Running>>,
}

/// The shard's thread and the word it says when it ends.
struct Running {
    ended: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

/// Dropped when the shard's thread is over, however that came about.
struct Ending(Arc<Port>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Which object each mid of a transport is, per direction.
#[derive(Default)]
struct Mids {
    recv: HashMap<Mid, ProducerId>,
    send: HashMap<Mid, ConsumerId>,
}

impl Engine {
    /// Binds the socket, makes the certificate and starts the shard's thread.
    ///
    /// Errors: `Config` for a value that cannot work, `Start` for what the system refuses.
    pub fn start(config: EngineConfig) -> Result<Engine, Error> {
        config.check()?;
        let start = |attempt: &str| {
            let attempt = attempt.to_owned();
            move |source| Error::Start { attempt, source }
        };
        let address = SocketAddr::new(config.bind, config.udp_port);
        let socket = UdpSocket::bind(address).map_err(start(&format!("binding UDP {address}")))?;
        let local = socket.local();
        let candidates = candidates(&config, local).map_err(start("reading local addresses"))?;
        let certificate =
            Certificate::generate(config.mtu_bytes).map_err(|reason| Error::Start {
                attempt: "making a certificate".to_owned(),
                source: std::io::Error::other(reason),
            })?;
        let fingerprint: Arc<str> = certificate.fingerprint().into();
        let port = Port::new(config.command_queue, config.event_queue)
            .map_err(start("making an eventfd"))?;
        let port = Arc::new(port);
        let board = Arc::new(Board::default());

        let (say, ended) = mpsc::channel();
        let ending = Ending(port.clone());
        let shard = Shard::new(
            config.clone(),
            socket,
            certificate,
            port.clone(),
            board.clone(),
        )
        .map_err(start("making the shard's epoll"))?;
        let thread = std::thread::Builder::new()
            .name("parley-shard-0".to_owned())
            .spawn(move || {
                let _ending = ending;
                shard.run();
                // Nobody may be listening any more.
                let _ = say.send(());
            })
            .map_err(start("starting the shard's thread"))?;
        Ok(Engine {
            config,
            port,
            board,
            local,
            fingerprint,
            candidates,
            mids: Mutex::default(),
            random: SystemRandom::new(),
            thread: Mutex::new(Some(Running { ended, thread })),
        })
    }

    /// The address the media socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Readable while events wait. Valid until the engine is dropped.
    pub fn fd(&self) -> RawFd {
        self.port.mailbox.fd()
    }

    /// Appends up to `limit` events, oldest first. When more wait, [`fd`](Self::fd) stays readable.
    pub fn drain(&self, limit: usize, out: &mut Vec<Event>) {
        let before = out.len();
        if self.port.mailbox.drain(limit, out) {
            self.port.resume();
        }
        for event in out.iter().skip(before) {
            if let Event::TransportState {
                transport,
                state: TransportState::Closed,
                ..
            } = event
            {
                self.with_mids(|mids| mids.remove(transport));
            }
        }
    }

    /// Whether as many more commands fit. With one caller, a yes holds until its next call.
    pub fn has_room(&self, commands: usize) -> bool {
        self.port.has_room(commands)
    }

    /// Makes an ICE-lite transport in the state `New`. Its maker closes it, whatever becomes of it.
    ///
    /// Errors: `Busy`, `Closed`, `TooManyTransports`, `TooManyInGroup`, `TooManyPending`.
    pub fn create_transport(&self, group: GroupId) -> Result<Transport, Error> {
        self.create(group, true)
    }

    /// Makes a transport with full ICE, for a peer that is lite itself: it sends checks to the
    /// candidates of the peer's description, and opens the DTLS handshake of a peer that will not.
    ///
    /// All transports share a socket, and what is not STUN is told apart by its sender: a description
    /// whose candidates another connection uses already is refused.
    ///
    /// Errors: as of [`create_transport`](Self::create_transport).
    pub fn create_full_transport(&self, group: GroupId) -> Result<Transport, Error> {
        self.create(group, false)
    }

    fn create(&self, group: GroupId, is_lite: bool) -> Result<Transport, Error> {
        let port = &self.port;
        port.check()?;
        port.census.admit(group, &self.config)?;
        let id = TransportId(port.mint());
        let (ufrag, pwd) = self.credentials();
        let sent = port.send(Command::Create {
            transport: id,
            group,
            ufrag: ufrag.clone(),
            pwd: pwd.clone(),
            candidates: (!is_lite).then(|| self.candidates.clone()),
        });
        if let Err(error) = sent {
            port.census.leave(group, true);
            return Err(error);
        }
        self.with_mids(|mids| mids.insert(id, Mids::default()));
        Ok(Transport {
            id,
            ufrag,
            pwd,
            fingerprint: self.fingerprint.clone(),
            candidates: self.candidates.clone(),
        })
    }

    /// Applies what an exchange of descriptions says. `Done` tells whether it held; after a failure
    /// the transport is to be closed, since the peer has been told otherwise.
    ///
    /// Errors: `Busy`, `Closed`.
    pub fn apply(&self, transport: TransportId, change: Change) -> Result<Applied, Error> {
        self.port.check()?;
        let request = self.request();
        let port = &self.port;
        let mut applied = Applied {
            request,
            producers: Vec::with_capacity(change.recv.len()),
            consumers: Vec::with_capacity(change.send.len()),
        };
        let mut media = MediaChange::default();
        self.with_mids(|all| {
            // A transport that is gone gets ids too; its `Done` says `Gone`.
            let mut none = Mids::default();
            let mids = all.get_mut(&transport).unwrap_or(&mut none);
            for (mid, flow) in &change.end {
                match flow {
                    Flow::Recv => mids.recv.remove(mid).is_some(),
                    Flow::Send => mids.send.remove(mid).is_some(),
                };
            }
            for spec in change.recv {
                let id = *mids
                    .recv
                    .entry(spec.mid.clone())
                    .or_insert_with(|| ProducerId(port.mint()));
                applied.producers.push((spec.mid.clone(), id));
                media.recv.push((id, spec));
            }
            for spec in change.send {
                let id = *mids
                    .send
                    .entry(spec.mid.clone())
                    .or_insert_with(|| ConsumerId(port.mint()));
                applied.consumers.push((spec.mid.clone(), id));
                media.send.push((id, spec));
            }
        });
        media.end = change.end;
        port.send(Command::Apply {
            transport,
            request,
            remote: change.remote,
            media,
            data: change.data,
        })?;
        Ok(applied)
    }

    /// Takes a candidate of the peer, from `candidate:` on; any text is `Done`. A lite agent sends no
    /// checks and learns the peer's addresses from those it receives (RFC 8445 §7.3.1.3), so it uses
    /// none. Errors: `Busy`, `Closed`.
    pub fn add_remote_candidate(
        &self,
        transport: TransportId,
        candidate: &str,
    ) -> Result<RequestId, Error> {
        let request = self.request();
        self.port.send(Command::AddRemoteCandidate {
            transport,
            request,
            candidate: candidate.to_owned(),
        })?;
        Ok(request)
    }

    /// Mints fresh local credentials, (ufrag, pwd), for the next description. The old ones stay valid
    /// until the peer has used the new. Errors: `Busy`, `Closed`.
    pub fn restart_ice(&self, transport: TransportId) -> Result<(String, String), Error> {
        let (ufrag, pwd) = self.credentials();
        self.port.send(Command::RestartIce {
            transport,
            ufrag: ufrag.clone(),
            pwd: pwd.clone(),
        })?;
        Ok((ufrag, pwd))
    }

    /// Caps what the peer is asked to send, in bits a second; `None`: no cap. It holds at once.
    /// Errors: `Busy`, `Closed`.
    pub fn set_bitrate(
        &self,
        transport: TransportId,
        max_in_bps: Option<u64>,
    ) -> Result<RequestId, Error> {
        let request = self.request();
        self.port.send(Command::SetBitrate {
            transport,
            request,
            max_in_bps,
        })?;
        Ok(request)
    }

    /// Asks for the transport's numbers; the answer is `Event::Stats`, or `Done` with `Gone`.
    /// Errors: `Busy`, `Closed`.
    pub fn stats(&self, transport: TransportId) -> Result<RequestId, Error> {
        let request = self.request();
        self.port.send(Command::Stats { transport, request })?;
        Ok(request)
    }

    /// Ends a transport with everything on it; `TransportState::Closed` follows, once, unless it has
    /// ended before. Errors: `Busy`, `Closed`.
    pub fn close_transport(&self, transport: TransportId) -> Result<(), Error> {
        self.port.send(Command::Close { transport })?;
        self.with_mids(|mids| mids.remove(&transport));
        Ok(())
    }

    /// Asks something of a producer or a consumer. Errors: `Busy`, `Closed`.
    pub fn media(&self, command: MediaCommand) -> Result<(), Error> {
        self.port.send(Command::Media(command))
    }

    /// Opens a data channel. Messages may be sent at once; they wait until the association is up.
    /// `ChannelOpen` follows, or `ChannelClosed` with `Refused`.
    ///
    /// Errors: `Busy`, `Closed`, `Channel` for options outside RFC 8832.
    pub fn open_channel(
        &self,
        transport: TransportId,
        options: ChannelOptions,
    ) -> Result<Channel, Error> {
        check_channel(&options)?;
        let shared = Arc::new(ChannelShared::new(
            ChannelId(self.port.mint()),
            transport,
            options.is_reliable(),
            self.config.channel_limit_bytes,
            Arc::default(),
        ));
        self.port.send(Command::OpenChannel {
            transport,
            shared: shared.clone(),
            options,
        })?;
        Ok(Channel {
            shared,
            port: self.port.clone(),
        })
    }

    /// Sends one message to many channels, copied once. Returns how many queued it: those that are
    /// full and refuse, or have ended, or whose peer takes no message so large, are passed over.
    ///
    /// Errors: `Busy`, `Closed`; for no channels too, so that this tells whether the engine works.
    pub fn broadcast(&self, channels: &[Channel], data: Bytes, text: bool) -> Result<usize, Error> {
        self.port.check()?;
        let takers: Vec<Arc<ChannelShared>> = channels
            .iter()
            .filter(|channel| channel.accepts(data.len()).unwrap_or(false))
            .map(|channel| channel.shared.clone())
            .collect();
        if takers.is_empty() {
            return Ok(0);
        }
        let count = takers.len();
        let bytes = data.len();
        for taker in &takers {
            taker.take_up(bytes);
        }
        self.port.send(Command::Broadcast {
            channels: takers,
            data,
            text,
        })?;
        Ok(count)
    }

    /// Has the next turn of the named object panic.
    #[cfg(feature = "planted")]
    pub fn plant(&self, place: crate::planted::Place, id: u64) {
        // Refused by an engine that has ended already, as the test may have wanted.
        let _ = self.port.send(Command::Plant(place, id));
    }

    /// Every counter of the engine by name, as of a moment ago.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.board.read()
    }

    /// Closes every transport and ends the shard's thread. True when it ended within `timeout`; later
    /// calls return at once. Drain once more afterwards to see the last events.
    pub fn close(&self, timeout: Duration) -> bool {
        self.port.stop();
        let mut slot = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = slot.take() else {
            return true;
        };
        match running.ended.recv_timeout(timeout) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                *slot = Some(running);
                false
            }
            // Said so, or gone without a word.
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => running.thread.join().is_ok(),
        }
    }

    fn request(&self) -> RequestId {
        RequestId(self.port.mint())
    }

    /// Fresh ICE credentials. The first character of the ufrag names the shard; 11 and 24 further
    /// characters of six random bits each (RFC 8445 §5.3 asks for 24 and 128 bits).
    fn credentials(&self) -> (String, String) {
        (
            format!("0{}", self.ice_chars::<11>()),
            self.ice_chars::<24>(),
        )
    }

    fn ice_chars<const N: usize>(&self) -> String {
        const CHARS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bytes = [0u8; N];
        self.random
            .fill(&mut bytes)
            .expect("the system has random bytes once it has booted");
        bytes
            .iter()
            .map(|byte| char::from(CHARS[usize::from(byte & 63)]))
            .collect()
    }

    fn with_mids<T>(&self, act: impl FnOnce(&mut HashMap<TransportId, Mids>) -> T) -> T {
        act(&mut self.mids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Engine {
    /// Asks the thread to end and does not wait for it.
    fn drop(&mut self) {
        self.port.stop();
    }
}

/// One UDP host candidate per announced address (RFC 8839 §5.1).
fn candidates(config: &EngineConfig, local: SocketAddr) -> std::io::Result<Arc<[String]>> {
    let addresses: Vec<SocketAddr> = if !config.announce.is_empty() {
        config
            .announce
            .iter()
            .map(|a| SocketAddr::new(a.ip, a.port.unwrap_or(local.port())))
            .collect()
    } else if !local.ip().is_unspecified() {
        vec![local]
    } else {
        let v4_only = local.is_ipv4();
        let mut found: Vec<IpAddr> = sys::local_addresses()?;
        found.retain(|ip| ip.is_ipv4() || !v4_only);
        if found.is_empty() {
            found.push(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        }
        found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, local.port()))
            .collect()
    };
    Ok(addresses
        .into_iter()
        .enumerate()
        .map(|(index, address)| {
            // RFC 8445 §5.1.2.1: type preference 126 for host candidates, a local preference that
            // falls with the order of the list, component 1.
            let local_preference = 65_535 - index as u32;
            let priority = (126 << 24) | (local_preference << 8) | 255;
            format!(
                "candidate:{} 1 udp {priority} {} {} typ host",
                index + 1,
                address.ip(),
                address.port()
            )
        })
        .collect())
}

fn check_channel(options: &ChannelOptions) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Channel { reason });
    if options.label.len() > 65_535 || options.protocol.len() > 65_535 {
        return refuse("label and protocol have at most 65535 bytes");
    }
    if options.stream == Some(65_535) {
        return refuse("stream 65535 is reserved");
    }
    if options.negotiated && options.stream.is_none() {
        return refuse("a negotiated channel needs its stream");
    }
    if options.max_retransmits.is_some() && options.max_lifetime_ms.is_some() {
        return refuse("retransmissions and lifetime exclude each other");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::Announce;

    #[test]
    fn candidates_name_the_announced_addresses_the_first_preferred() {
        let config = EngineConfig {
            announce: vec![
                Announce {
                    ip: Ipv4Addr::new(192, 0, 2, 1).into(),
                    port: None,
                },
                Announce {
                    ip: "2001:db8::1".parse().unwrap(),
                    port: Some(443),
                },
            ],
            ..EngineConfig::default()
        };

        let found = candidates(&config, SocketAddr::from(([0, 0, 0, 0], 7882))).unwrap();

        assert_eq!(
            *found,
            [
                "candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host",
                "candidate:2 1 udp 2130706175 2001:db8::1 443 typ host",
            ]
        );
    }

    #[test]
    fn an_engine_on_any_address_announces_none_that_means_any() {
        let config = EngineConfig::default();

        let found = candidates(&config, SocketAddr::from(([0, 0, 0, 0], 7882))).unwrap();

        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|c| !c.contains("0.0.0.0") && c.contains(" 7882 "))
        );
    }

    #[test]
    fn a_channel_outside_the_protocol_is_refused_before_anything_is_sent() {
        let refused = |options: ChannelOptions| check_channel(&options).unwrap_err().to_string();

        assert_eq!(
            refused(ChannelOptions {
                max_retransmits: Some(1),
                max_lifetime_ms: Some(1),
                ..ChannelOptions::default()
            }),
            "data channel: retransmissions and lifetime exclude each other"
        );
        assert_eq!(
            refused(ChannelOptions {
                negotiated: true,
                ..ChannelOptions::default()
            }),
            "data channel: a negotiated channel needs its stream"
        );
    }

    #[test]
    fn a_port_in_use_is_named_in_the_refusal() {
        let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();

        let refused = Engine::start(EngineConfig {
            bind: address.ip(),
            udp_port: address.port(),
            ..EngineConfig::default()
        });

        let text = refused.err().unwrap().to_string();
        assert!(text.starts_with(&format!("engine start: binding UDP {address} failed:")));
    }
}
