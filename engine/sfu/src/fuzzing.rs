//! Doors for fuzz targets, behind the feature `fuzzing`: parsers that have no public name, and a shard
//! that takes datagrams without a network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::config::EngineConfig;
use crate::net::sys::Received;
use crate::net::udp::UdpSocket;
use crate::port::Port;
use crate::shard::{Board, Shard};
use crate::spec::{GroupId, TransportId};
use crate::transport::dcep;
use crate::transport::dtls::Certificate;

/// Reads a data-channel control message.
pub fn dcep(bytes: &[u8]) {
    if let Some(dcep::Message::Open(options)) = dcep::parse(bytes) {
        // What was read can be written, and reads the same.
        let again = dcep::parse(&dcep::open(&options));
        assert_eq!(again, Some(dcep::Message::Open(options)));
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
        self.shard.do_command(
            Command::Create {
                transport: TransportId(self.made),
                group: GroupId(1),
                ufrag: "0fuzz".into(),
                pwd: "a password of some length".into(),
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
        assert_eq!(self.shard.panics(), 0, "a panic was contained");
    }
}
