//! The only system calls of the engine: wake-ups, readiness, and datagrams sixty-four at a time.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// Datagrams of one system call.
pub(crate) const BATCH: usize = 64;
/// Bytes of one slot: an Ethernet frame's worth and a little.
pub(crate) const SLOT: usize = 1536;

/// A counter in the kernel that makes a descriptor readable.
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes no pointers; a non-negative result is a descriptor we own.
        unsafe {
            let fd = check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            Ok(EventFd(OwnedFd::from_raw_fd(fd)))
        }
    }

    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes the descriptor readable. It cannot fail but by overflow, and then it is readable.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is eight readable bytes for the length of the call.
        unsafe {
            libc::write(self.raw(), one.as_ptr().cast(), one.len());
        }
    }

    /// Makes the descriptor not readable.
    pub fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the buffer is eight writable bytes for the length of the call.
        unsafe {
            libc::read(self.raw(), count.as_mut_ptr().cast(), count.len());
        }
    }
}

/// Readiness of a few descriptors, level-triggered.
pub(crate) struct Epoll(OwnedFd);

/// Which descriptors were ready, by the token they were added with.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes no pointers; a non-negative result is a descriptor we own.
        unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            Ok(Epoll(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Watches a descriptor for reading. It stops being watched when it is closed.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    /// Watches a descriptor that was added for room to write as well, or no longer.
    pub fn set_writable(&self, fd: RawFd, token: u64, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable)
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, writable: bool) -> io::Result<()> {
        let mut events = libc::EPOLLIN as u32;
        if writable {
            events |= libc::EPOLLOUT as u32;
        }
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` lives for the call; the kernel copies it.
        unsafe {
            check(libc::epoll_ctl(
                self.0.as_raw_fd(),
                operation,
                fd,
                &mut event,
            ))?;
        }
        Ok(())
    }

    /// Sleeps until something is ready or the time is over, rounded up to a millisecond. A signal
    /// counts as nothing ready.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut [Ready; 8]) -> io::Result<usize> {
        let timeout_ms = match timeout {
            None => -1,
            Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: `events` has room for the number of entries that is passed.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                timeout_ms,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        for (slot, event) in ready.iter_mut().zip(events).take(count as usize) {
            let bits = event.events as i32;
            *slot = Ready {
                token: event.u64,
                readable: bits & (libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP) != 0,
                writable: bits & libc::EPOLLOUT != 0,
            };
        }
        Ok(count as usize)
    }
}

/// One received datagram: where it stands, how long it is, and who sent it.
#[derive(Clone, Copy)]
pub(crate) struct Received {
    pub from: SocketAddr,
    pub len: usize,
    /// It was longer than a slot, and its end is lost.
    pub truncated: bool,
}

/// Sixty-four slots for receiving.
pub(crate) struct RecvBatch {
    slots: Box<[[u8; SLOT]; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    iovecs: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    received: Vec<Received>,
}

impl RecvBatch {
    pub fn new() -> RecvBatch {
        RecvBatch {
            slots: Box::new([[0; SLOT]; BATCH]),
            // SAFETY: an all-zero sockaddr_storage is a valid value (family AF_UNSPEC).
            names: Box::new(unsafe { mem::zeroed() }),
            // SAFETY: all-zero iovec and mmsghdr are valid values; every pointer is set before a call.
            iovecs: Box::new(unsafe { mem::zeroed() }),
            // SAFETY: as above.
            headers: Box::new(unsafe { mem::zeroed() }),
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Takes up to sixty-four datagrams that wait. Returns how many; fewer than `BATCH`: no more wait.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        for (((header, iovec), slot), name) in self
            .headers
            .iter_mut()
            .zip(self.iovecs.iter_mut())
            .zip(self.slots.iter_mut())
            .zip(self.names.iter_mut())
        {
            iovec.iov_base = slot.as_mut_ptr().cast();
            iovec.iov_len = SLOT;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
        }
        // SAFETY: each header points at one slot of SLOT bytes and one name, all of which outlive
        // the call and are not aliased while it runs.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        for (header, name) in self
            .headers
            .iter()
            .zip(self.names.iter())
            .take(count as usize)
        {
            self.received.push(Received {
                // An address of another family cannot come from this socket; port 0 has no owner.
                from: read_name(name)
                    .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
                len: (header.msg_len as usize).min(SLOT),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(count as usize)
    }

    /// The datagrams of the last call, each with the bytes it may be opened in.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (Received, &mut [u8])> {
        self.received
            .iter()
            .zip(self.slots.iter_mut())
            .filter_map(|(received, slot)| Some((*received, slot.get_mut(..received.len)?)))
    }
}

/// One datagram to send: its bytes and its destination.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub to: SocketAddr,
    pub bytes: &'a [u8],
}

/// Sends up to sixty-four datagrams. `v6`: the socket is dual-stack and takes mapped addresses.
///
/// Returns how many the kernel took. 0 with no error: the socket is full. An error concerns the first
/// datagram alone; the rest may be tried again without it.
pub(crate) fn send_batch<'a>(
    socket: BorrowedFd<'_>,
    v6: bool,
    datagrams: impl Iterator<Item = Outgoing<'a>>,
) -> io::Result<usize> {
    // Not zeroed: of 13 KB a single datagram needs two hundred bytes.
    let mut names = [const { MaybeUninit::<Name>::uninit() }; BATCH];
    let mut iovecs = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut filled = 0;
    for (((header, iovec), name), datagram) in headers
        .iter_mut()
        .zip(&mut iovecs)
        .zip(&mut names)
        .zip(datagrams)
    {
        let (name, len) = name.write(Name::default()).fill(datagram.to, v6);
        // The kernel does not write through a send iovec; the cast only satisfies its type.
        let iovec = iovec.write(libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        });
        // SAFETY: an all-zero mmsghdr is a valid value.
        let header = header.write(unsafe { mem::zeroed() });
        header.msg_hdr.msg_name = name;
        header.msg_hdr.msg_namelen = len;
        header.msg_hdr.msg_iov = iovec;
        header.msg_hdr.msg_iovlen = 1;
        filled += 1;
    }
    // SAFETY: the first `filled` headers have been written and point at live names and bytes.
    let count = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            filled,
            libc::MSG_DONTWAIT as _,
        )
    };
    if count < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        };
    }
    Ok(count as usize)
}

/// Whether a descriptor is ready now for what it asks.
#[cfg(test)]
pub(crate) fn poll_now(poll: &mut libc::pollfd) -> bool {
    // SAFETY: one entry, alive for the call.
    unsafe { libc::poll(poll, 1, 0) == 1 }
}

/// What the kernel says of a socket's buffers.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ReceiveQueue {
    /// Bytes it may hold, bookkeeping included.
    pub limit_bytes: u32,
    /// As much for what is to be sent.
    pub send_limit_bytes: u32,
    /// Datagrams it has dropped because it was full.
    pub dropped: u32,
}

/// Reads it (`SO_MEMINFO`, Linux 4.11); all zero where the kernel does not tell.
pub(crate) fn receive_queue(socket: BorrowedFd<'_>) -> ReceiveQueue {
    // sock_diag(7): SK_MEMINFO_RCVBUF is the second value, SNDBUF the fourth, DROPS the ninth.
    let mut values = [0u32; 9];
    let mut len = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: `values` has room for `len` bytes, and both live for the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result < 0 {
        return ReceiveQueue::default();
    }
    let [_, limit_bytes, _, send_limit_bytes, .., dropped] = values;
    ReceiveQueue {
        limit_bytes,
        send_limit_bytes,
        dropped,
    }
}

/// Addresses of the interfaces that are up, loopback and link-local ones left out.
pub(crate) fn local_addresses() -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer, which freeifaddrs takes back below.
    check(unsafe { libc::getifaddrs(&mut list) })?;
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is a live node of the list until freeifaddrs.
        let node = unsafe { &*next };
        next = node.ifa_next;
        let up = node.ifa_flags & libc::IFF_UP as u32 != 0;
        if !up || node.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: ifa_addr points at an address whose size its family implies; only the two families
        // read here are looked at, and unaligned reads copy exactly their size.
        let ip = unsafe {
            match i32::from((*node.ifa_addr).sa_family) {
                libc::AF_INET => {
                    let name: libc::sockaddr_in = ptr::read_unaligned(node.ifa_addr.cast());
                    IpAddr::V4(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)))
                }
                libc::AF_INET6 => {
                    let name: libc::sockaddr_in6 = ptr::read_unaligned(node.ifa_addr.cast());
                    IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr))
                }
                _ => continue,
            }
        };
        let local = match ip {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        if !local && !found.contains(&ip) {
            found.push(ip);
        }
    }
    // SAFETY: `list` came from getifaddrs and no reference into it is left.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: sockaddr_storage is large and aligned enough for either; the family says which it is.
    unsafe {
        match i32::from(name.ss_family) {
            libc::AF_INET => {
                let v4 = &*ptr::from_ref(name).cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                let v6 = &*ptr::from_ref(name).cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                    None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)),
                })
            }
            _ => None,
        }
    }
}

/// Room for an address of either family; a third of a `sockaddr_storage`.
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Default for Name {
    fn default() -> Name {
        // SAFETY: an all-zero sockaddr_in6, the larger of the two, is a valid value of either.
        unsafe { mem::zeroed() }
    }
}

impl Name {
    /// Writes an address the way the socket wants it; returns where it stands and its length.
    fn fill(&mut self, to: SocketAddr, v6: bool) -> (*mut libc::c_void, libc::socklen_t) {
        let to = match to {
            SocketAddr::V4(v4) if v6 => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            other => other,
        };
        let len = match to {
            SocketAddr::V4(to) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: to.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*to.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                mem::size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(to) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: to.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: to.ip().octets(),
                    },
                    sin6_scope_id: to.scope_id(),
                };
                mem::size_of::<libc::sockaddr_in6>()
            }
        };
        (ptr::from_mut(self).cast(), len as libc::socklen_t)
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::udp::UdpSocket;

    #[test]
    fn a_dual_stack_socket_names_ipv4_peers_by_their_ipv4_address() {
        // Hosts without IPv6 have nothing to test here.
        let Ok(ours) = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))) else {
            return;
        };
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, ours.local().port()));
        theirs.send_to(b"ping", to).unwrap();

        let epoll = Epoll::new().unwrap();
        epoll.add(ours.raw_fd(), 7).unwrap();
        let mut ready = [Ready::default(); 8];
        assert_eq!(epoll.wait(None, &mut ready).unwrap(), 1);
        let mut batch = RecvBatch::new();
        assert_eq!(batch.receive(ours.fd()).unwrap(), 1);
        let (received, bytes) = batch.datagrams().next().unwrap();
        let pong = Outgoing {
            to: received.from,
            bytes: b"pong",
        };
        let sent = send_batch(ours.fd(), true, [pong].into_iter()).unwrap();

        assert_eq!((ready[0].token, ready[0].readable), (7, true));
        assert_eq!(received.from, theirs.local_addr().unwrap());
        assert_eq!(bytes, b"ping");
        assert_eq!((received.truncated, sent), (false, 1));
        let mut buffer = [0; 16];
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn the_kernel_tells_what_it_dropped_for_want_of_room() {
        let ours = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let limit = receive_queue(ours.fd()).limit_bytes;
        assert!(limit > 0);

        // A datagram costs at least its own bytes.
        for _ in 0..limit / 1000 + 1 {
            theirs.send_to(&[1; 1000], ours.local()).unwrap();
        }

        assert!(receive_queue(ours.fd()).dropped > 0);
    }

    #[test]
    fn a_datagram_longer_than_a_slot_is_known_as_cut_off() {
        let ours = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        theirs.send_to(&[1; SLOT + 1], ours.local()).unwrap();

        let mut batch = RecvBatch::new();
        while batch.receive(ours.fd()).unwrap() == 0 {}
        let (received, bytes) = batch.datagrams().next().unwrap();

        assert!(received.truncated);
        assert_eq!(bytes.len(), SLOT);
    }
}
