//! Doors for fuzz targets, behind the feature `fuzzing`: parsers that have no public name, and shards
//! and associations that take packets without a network.

mod association;
mod call;
#[cfg(test)]
mod hostile;
mod input;
#[cfg(test)]
mod links;
mod sctp;
mod specs;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::config::EngineConfig;
use crate::media::{Media, MediaCommand, MediaConfig, Outbox};
use crate::net::sys::Received;
use crate::net::udp::UdpSocket;
use crate::port::Port;
use crate::shard::{Board, Shard};
use crate::spec::{ConsumerId, GroupId, ProducerId, TransportId};
use crate::transport::dtls::{Certificate, Fingerprint};
use crate::transport::full::Full;
use crate::transport::ice::{Check, Ice};
use crate::transport::{Remote, dcep};
pub use association::FuzzAssociation;
pub use call::FuzzCall;
use input::Input;

/// Reads a data-channel control message.
pub fn dcep(bytes: &[u8]) {
    if let Some(dcep::Message::Open(options)) = dcep::parse(bytes) {
        // What was read can be written, and reads the same.
        let again = dcep::parse(&dcep::open(&options));
        assert_eq!(again, Some(dcep::Message::Open(options)));
    }
}

/// Judges a connectivity check as it came, then one with these attributes and a right digest.
pub fn stun(bytes: &[u8]) {
    const PASSWORD: &str = "a password of some length";
    const OURS: &str = "candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host";
    const THEIRS: &str = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host";
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let judge = |bytes: &[u8]| {
        let mut ice = Ice::new("0fuzz".into(), PASSWORD.into());
        ice.restart("0next".into(), PASSWORD.into());
        let Ok(message) = is::stun::StunMessage::parse(bytes) else {
            return false;
        };
        let mut full = Full::new("0fuzz".into(), PASSWORD.into(), &[OURS.into()]);
        full.set_remote("peer", PASSWORD, &[THEIRS.into()], true, Instant::now());
        if full.accepts(&message) {
            full.on_message(Instant::now(), from, message);
        }
        while full.poll_transmit().is_some() || full.poll().is_some() {}
        let Check::Accepted(accepted) = ice.on_check(from, &message) else {
            assert!(ice.senders().is_empty() && ice.selected().is_none());
            return false;
        };
        let mut answer = [0; 512];
        let len = ice.answer(from, &message, &accepted, &mut answer);
        assert!(is::stun::StunMessage::parse(&answer[..len]).is_ok());
        true
    };
    assert!(!judge(bytes), "a check without the password was taken");

    let attributes = &bytes[..bytes.len() / 4 * 4];
    let mut check = vec![
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
    ];
    check.extend_from_slice(attributes);
    // RFC 8489 §14.5: the length reaches to the end of the digest while it is made.
    let len = (attributes.len() + 24) as u16;
    check[2..4].copy_from_slice(&len.to_be_bytes());
    let key = ring::hmac::Key::new(
        ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        PASSWORD.as_bytes(),
    );
    let digest = ring::hmac::sign(&key, &check);
    check.extend_from_slice(&[0, 8, 0, 20]);
    check.extend_from_slice(digest.as_ref());
    judge(&check);
}

/// Reads what a description says of the peer, and applies what it says of media, one exchange after
/// another.
pub fn description(bytes: &[u8]) {
    let mut input = Input(bytes);
    let text = input.text();
    if let Some(fingerprint) = Fingerprint::parse(&text) {
        assert_eq!(
            Fingerprint::parse(&fingerprint.to_string()),
            Some(fingerprint)
        );
    }
    let now = Instant::now();
    let mut media = Media::new(&MediaConfig::default(), 1);
    let mut events = Vec::new();
    let transports = [TransportId(1), TransportId(2)];
    for id in transports {
        media.open(id, GroupId(1));
    }
    while !input.0.is_empty() {
        let _ = Remote::read(&specs::remote(&mut input));
        let change = specs::change(&mut input);
        let id = transports[usize::from(input.below(2))];
        let before = media.census();
        let applied = media.apply(id, &change, now, &mut Nowhere, &mut events);
        if applied.is_err() {
            assert_eq!(media.census(), before, "refused, and not whole");
        }
        let (consumer, producer) = (10 + input.below(6), 1 + input.below(6));
        let source = Some(ProducerId(u64::from(producer)));
        let command = MediaCommand::ConsumerSource(ConsumerId(u64::from(consumer)), source, None);
        media.command(command, now, &mut Nowhere, &mut events);
    }
    media.on_timer(now + Duration::from_secs(5), &mut Nowhere, &mut events);
    for id in transports {
        media.close(id, now, &mut events);
    }
    assert_eq!(media.census(), (0, 0));
}

/// Every datagram is built, and then lost.
struct Nowhere;

impl Outbox for Nowhere {
    fn push(&mut self, _to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        let mut slot = [0; 1536];
        assert!(build(&mut slot) <= slot.len());
    }
}

/// A shard with one transport, whose first sender is admitted. It is never run; time is passed in.
pub struct FuzzShard {
    shard: Shard,
    port: Arc<Port>,
    now: Instant,
    made: u64,
}

impl Default for FuzzShard {
    fn default() -> Self {
        FuzzShard::new()
    }
}

impl FuzzShard {
    /// Binds a socket on loopback, of which only the sending half is used.
    pub fn new() -> FuzzShard {
        let config = EngineConfig {
            stun_rate: 1 << 20,
            ..EngineConfig::default()
        };
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("loopback has a free port");
        let port = Arc::new(Port::new(16, 1024).expect("the process has a free descriptor"));
        let certificate = Certificate::generate(1200).expect("the machine has random bytes");
        let board = Arc::new(Board::default());
        let shard = Shard::new(config, socket, certificate, port.clone(), board)
            .expect("the process has a free descriptor");
        FuzzShard {
            shard,
            port,
            now: Instant::now(),
            made: 0,
        }
    }

    /// A broken handshake ends its transport; the next input gets another.
    fn ensure_transport(&mut self) {
        if !self.shard.is_empty() {
            return;
        }
        self.made += 1;
        self.port
            .census
            .admit(GroupId(1), &EngineConfig::default())
            .expect("one is not too many");
        self.shard.do_command(
            Command::Create {
                transport: TransportId(self.made),
                group: GroupId(1),
                ufrag: "0fuzz".into(),
                pwd: "a password of some length".into(),
                candidates: None,
            },
            self.now,
        );
        self.shard.admit(FuzzShard::peer());
    }

    /// The sender that has passed its check.
    fn peer() -> SocketAddr {
        // The discard port: whatever is answered is lost there.
        SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
    }

    /// Cuts the input into datagrams of `[sender and time, length, bytes…]` and takes each.
    pub fn feed(&mut self, mut input: &[u8]) {
        while let Some(([head, len], rest)) = input.split_first_chunk::<2>() {
            let (datagram, rest) = rest.split_at(rest.len().min(usize::from(*len) * 6));
            input = rest;
            self.ensure_transport();
            self.now += Duration::from_millis(u64::from(head >> 1));
            let from = match head & 1 {
                0 => FuzzShard::peer(),
                _ => SocketAddr::from((Ipv4Addr::LOCALHOST, 7)),
            };
            let received = Received {
                from,
                len: datagram.len(),
                truncated: false,
            };
            self.shard
                .on_datagram(received, &mut datagram.to_vec(), self.now);
            self.shard.do_timers(self.now);
            self.shard.finish(self.now);
        }
        let mut events = Vec::new();
        self.port.mailbox.drain(1024, &mut events);
        assert_eq!(self.shard.counter("panics"), 0, "a panic was contained");
    }
}
