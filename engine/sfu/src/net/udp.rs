//! The media socket: one UDP port for every transport of a shard.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel may hold each way. It is asked for, not required: `rmem_max` may be lower.
const BUFFER_BYTES: usize = 4 << 20;

/// A bound, non-blocking UDP socket, dual-stack when it is an IPv6 one.
pub(crate) struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

impl UdpSocket {
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        // Refusals are ordinary in containers; the kernel's default then serves.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.bind(&address.into())?;
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no internet address"))?;
        Ok(UdpSocket { socket, local })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes IPv4 destinations as mapped addresses.
    pub fn is_v6(&self) -> bool {
        self.local.is_ipv6()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
