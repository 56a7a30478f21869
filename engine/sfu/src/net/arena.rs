//! Sixty-four slots in which outgoing datagrams are built, sent with one system call.

use std::net::SocketAddr;

use super::sys::{self, BATCH, Outgoing, SLOT};
use super::udp::UdpSocket;
use crate::media::Outbox;

/// The outgoing side of the socket. Slots `first..filled` wait to be sent, in order.
pub(crate) struct Arena {
    socket: UdpSocket,
    slots: Box<[[u8; SLOT]; BATCH]>,
    waiting: Vec<Waiting>,
    /// A bit for each slot that somebody waits in.
    taken: u64,
    /// The socket refused a datagram since the last flush that emptied the slots.
    blocked: bool,
    pub sent: u64,
    pub sent_bytes: u64,
    /// Given up because the socket stayed full.
    pub dropped_full: u64,
    /// Refused by the kernel for that one destination: unreachable, or not permitted.
    pub dropped_error: u64,
    /// How many datagrams the socket takes in each of the next calls; then as many as it likes.
    #[cfg(test)]
    pub takes: std::cell::RefCell<std::collections::VecDeque<usize>>,
}

/// Bytes up to which a datagram goes first when not all can go: those of audio, reports and checks.
/// Video fills its datagrams, and is repaired.
const SHORT: usize = 400;

/// A filled slot: which, how much of it, and where it goes.
#[derive(Clone, Copy)]
struct Waiting {
    slot: usize,
    len: usize,
    to: SocketAddr,
}

impl Arena {
    pub fn new(socket: UdpSocket) -> Arena {
        Arena {
            socket,
            slots: Box::new([[0; SLOT]; BATCH]),
            waiting: Vec::with_capacity(BATCH),
            taken: 0,
            blocked: false,
            sent: 0,
            sent_bytes: 0,
            dropped_full: 0,
            dropped_error: 0,
            #[cfg(test)]
            takes: Default::default(),
        }
    }

    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The socket is full: the shard waits for it to be writable and flushes again.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Copies one finished datagram into a slot.
    pub fn push_bytes(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.push(to, |slot| match slot.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                bytes.len()
            }
            None => 0,
        });
    }

    /// Sends what waits. What the socket does not take stays for one more round.
    pub fn flush(&mut self) {
        let mut done = 0;
        while done < self.waiting.len() {
            match self.send_from(done) {
                Ok(0) => break,
                Ok(count) => {
                    for waiting in self.waiting.iter().skip(done).take(count) {
                        self.sent += 1;
                        self.sent_bytes += waiting.len as u64;
                    }
                    done += count;
                }
                Err(_) => {
                    self.dropped_error += 1;
                    done += 1;
                }
            }
        }
        for sent in self.waiting.drain(..done) {
            self.taken &= !(1 << sent.slot);
        }
        self.blocked = !self.waiting.is_empty();
    }

    /// The second round for a socket that was full, audio first: what is unsent then is given up.
    pub fn flush_or_drop(&mut self) {
        let mut short = 0;
        for place in 0..self.waiting.len() {
            // Both parts keep their order.
            if self.waiting.get(place).is_some_and(|w| w.len <= SHORT) {
                let before = self.waiting.get_mut(short..=place);
                before.unwrap_or_default().rotate_right(1);
                short += 1;
            }
        }
        self.flush();
        self.dropped_full += self.waiting.len() as u64;
        self.waiting.clear();
        self.taken = 0;
        self.blocked = false;
    }

    fn send_from(&self, first: usize) -> std::io::Result<usize> {
        let datagrams = self.waiting.iter().skip(first).map(|waiting| Outgoing {
            to: waiting.to,
            bytes: self
                .slots
                .get(waiting.slot)
                .and_then(|slot| slot.get(..waiting.len))
                .unwrap_or_default(),
        });
        #[cfg(test)]
        let datagrams = match self.takes.borrow_mut().pop_front() {
            Some(0) => return Ok(0),
            taken => datagrams.take(taken.unwrap_or(BATCH)),
        };
        sys::send_batch(self.socket.fd(), self.socket.is_v6(), datagrams)
    }
}

impl Outbox for Arena {
    fn push(&mut self, to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        if self.waiting.len() == BATCH {
            self.flush();
        }
        let index = (!self.taken).trailing_zeros() as usize;
        // None: all sixty-four wait for a socket that takes nothing.
        let Some(slot) = self.slots.get_mut(index) else {
            self.dropped_full += 1;
            return;
        };
        let len = build(slot);
        if len > 0 && len <= SLOT {
            self.taken |= 1 << index;
            self.waiting.push(Waiting {
                slot: index,
                len,
                to,
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn sockets() -> (Arena, std::net::UdpSocket) {
        let ours = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let theirs = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        (Arena::new(ours), theirs)
    }

    #[test]
    fn more_datagrams_than_slots_are_all_sent_in_order() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();

        for n in 0..200u8 {
            arena.push_bytes(to, &[n; 100]);
        }
        arena.flush();

        let mut buffer = [0; 200];
        for n in 0..200u8 {
            assert_eq!(theirs.recv(&mut buffer).unwrap(), 100);
            assert_eq!(buffer[0], n);
        }
        assert_eq!((arena.sent, arena.sent_bytes), (200, 20_000));
        assert!(!arena.is_blocked());
    }

    /// The first bytes of everything that has arrived.
    fn arrived(theirs: &std::net::UdpSocket) -> Vec<u8> {
        theirs.set_nonblocking(true).unwrap();
        let mut buffer = [0; SLOT];
        std::iter::from_fn(|| theirs.recv(&mut buffer).ok().map(|_| buffer[0])).collect()
    }

    #[test]
    fn what_a_full_socket_does_not_take_waits_for_one_more_round() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();
        arena.takes.borrow_mut().extend([3, 0]);

        for n in 0..10 {
            arena.push_bytes(to, &[n; 1000]);
        }
        arena.flush();
        assert!(arena.is_blocked());
        assert_eq!(arrived(&theirs), [0, 1, 2]);
        arena.push_bytes(to, &[10; 1000]);
        arena.flush_or_drop();

        assert_eq!(arrived(&theirs), [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!((arena.sent, arena.dropped_full), (11, 0));
        assert!(!arena.is_blocked());
    }

    #[test]
    fn audio_goes_first_in_that_round_and_the_rest_is_dropped_and_counted() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();
        arena.takes.borrow_mut().extend([0, 2, 1, 0]);

        for n in 0..8 {
            let len = if n % 3 == 2 { 100 } else { 1100 };
            arena.push_bytes(to, &vec![n; len]);
        }
        arena.flush();
        arena.flush_or_drop();

        // 2 and 5 are short; of the others the first goes.
        assert_eq!(arrived(&theirs), [2, 5, 0]);
        assert_eq!((arena.sent, arena.dropped_full), (3, 5));
        arena.push_bytes(to, &[9; 100]);
        arena.flush();
        assert_eq!(arrived(&theirs), [9]);
    }

    #[test]
    fn with_every_slot_waiting_a_datagram_is_counted_and_not_even_built() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();
        arena.takes.borrow_mut().extend([0; 6]);

        for n in 0..70 {
            arena.push(to, |slot| {
                assert!(n < 64, "built without a slot");
                slot.fill(n);
                1
            });
        }

        assert_eq!(arena.dropped_full, 6);
        arena.flush_or_drop();
        assert_eq!(arrived(&theirs), (0..64).collect::<Vec<u8>>());
    }

    #[test]
    fn a_builder_that_declines_sends_nothing() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();

        arena.push(to, |_| 0);
        arena.push(to, |slot| slot.len() + 1);
        arena.flush();

        assert_eq!(arena.sent, 0);
    }

    #[test]
    fn a_destination_that_is_refused_does_not_hold_up_the_others() {
        let (mut arena, theirs) = sockets();
        let to = theirs.local_addr().unwrap();
        // Port 0 cannot be sent to.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

        arena.push_bytes(to, b"first");
        arena.push_bytes(nowhere, b"lost");
        arena.push_bytes(to, b"second");
        arena.flush();

        let mut buffer = [0; 16];
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 5);
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 6);
        assert_eq!((arena.sent, arena.dropped_error), (2, 1));
    }
}
