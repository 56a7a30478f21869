//! Doors for benchmarks, behind the feature `bench`: the media socket without a shard, so that what
//! the kernel charges for a datagram can be told from what the engine adds.

use std::io;
use std::net::SocketAddr;

use crate::media::Outbox;
use crate::net::arena::Arena;
use crate::net::sys::{BATCH, RecvBatch};
use crate::net::udp::UdpSocket;

/// Datagrams of one system call at most.
pub const MOST: usize = BATCH;

/// The receiving half of a media socket.
pub struct Receiver {
    socket: UdpSocket,
    batch: RecvBatch,
}

impl Receiver {
    /// `local`: where to listen; port 0 for any.
    pub fn bind(local: SocketAddr) -> io::Result<Receiver> {
        let socket = UdpSocket::bind(local)?;
        let batch = RecvBatch::new();
        Ok(Receiver { socket, batch })
    }

    pub fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    /// One system call; how many datagrams it took.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.batch.receive(self.socket.fd())
    }
}

/// The sending half of a media socket.
pub struct Sender {
    arena: Arena,
}

impl Sender {
    /// `local`: where to send from; port 0 for any.
    pub fn bind(local: SocketAddr) -> io::Result<Sender> {
        Ok(Sender {
            arena: Arena::new(UdpSocket::bind(local)?),
        })
    }

    /// Sends a datagram of `len` bytes, whatever they hold, to each, with one system call for every
    /// [`MOST`] of them.
    pub fn send(&mut self, to: impl Iterator<Item = SocketAddr>, len: usize) {
        for to in to {
            self.arena.push(to, |_| len);
        }
        self.arena.flush();
    }

    /// How many the kernel has taken so far.
    pub fn sent(&self) -> u64 {
        self.arena.sent
    }
}
