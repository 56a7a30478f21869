//! A DTLS association that takes the place of another on the same transport.
//!
//! When another section comes to lead its bundle, since the first was stopped, Chromium gives up the
//! transport it had and begins another, with the same credentials and certificate. RFC 8842 §4 would
//! have it announce a new association by a new `tls-id` or certificate, which it does not; the
//! descriptions announce it all the same, and only then is one taken. The old association holds until
//! the new one is there, so that whoever can forge an address ends nothing with a ClientHello.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dtls::{Certificate, Dtls, Fingerprint, Heard};
use crate::srtp::SrtpKeys;

/// For how long a peer that has announced it may begin. It needs our answer first.
const LIMIT: Duration = Duration::from_secs(30);
/// Handshakes that may be begun meanwhile, the peer's own among them.
const MAX_HANDSHAKES: usize = 8;

/// Where the client's random number stands in a datagram that begins with a ClientHello: after the
/// headers of the record and of the message and the version (RFC 6347 §4.1, §4.2.2).
const RANDOM: std::ops::Range<usize> = 27..59;

/// What a peer has announced, and how far it has come.
pub(crate) struct Restart {
    expected: Fingerprint,
    until: Instant,
    begun: usize,
    next: Option<Next>,
}

/// The handshake under way.
struct Next {
    dtls: Dtls,
    /// Tells a repetition of its ClientHello from another one.
    random: [u8; 32],
    from: SocketAddr,
}

impl Restart {
    pub fn new(expected: Fingerprint, now: Instant) -> Restart {
        Restart {
            expected,
            until: now + LIMIT,
            begun: 0,
            next: None,
        }
    }

    /// The peer has announced it again. A handshake under way goes on.
    pub fn extend(&mut self, now: Instant) {
        self.until = now + LIMIT;
        self.begun = 0;
    }

    /// When [`on_timer`](Self::on_timer) is next wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.as_ref()?.dtls.deadline()
    }

    /// Takes a datagram if it is of the new association; whatever is not is the old one's.
    /// `send`: a record and where it goes. Returns the association and its keys once it is there.
    pub fn on_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        certificate: &Certificate,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> Taken {
        if let Some(random) = hello(datagram) {
            if self.next.as_ref().is_none_or(|next| next.random != random) {
                if now >= self.until || self.begun >= MAX_HANDSHAKES {
                    return Taken::Old;
                }
                self.begun += 1;
                self.next = Some(Next {
                    dtls: Dtls::new(certificate, now),
                    random,
                    from,
                });
            }
        } else if !is_handshake(datagram) {
            return Taken::Old;
        }
        if self.next.as_ref().is_none_or(|next| next.from != from) {
            return Taken::Old;
        }
        self.advance(send, |dtls, heard| {
            dtls.on_datagram(now, datagram, heard).map(|_| ())
        })
    }

    pub fn on_timer(&mut self, now: Instant, send: &mut dyn FnMut(SocketAddr, &[u8])) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.advance(send, |dtls, heard| dtls.on_timer(now, heard));
        }
    }

    /// Lets the handshake do something. One that breaks is forgotten: the peer may begin another.
    fn advance(
        &mut self,
        send: &mut dyn FnMut(SocketAddr, &[u8]),
        act: impl FnOnce(&mut Dtls, &mut dyn FnMut(Heard<'_>)) -> Result<(), super::dtls::Broken>,
    ) -> Taken {
        let Some(mut next) = self.next.take() else {
            return Taken::Old;
        };
        let to = next.from;
        let mut keys = None;
        let mut hear = |heard: Heard<'_>| match heard {
            Heard::Record(record) => send(to, record),
            Heard::Ready(found) => keys = Some(found),
            // Nothing of it can come before our own Finished has reached the peer.
            Heard::Data(_) | Heard::Goodbye => {}
        };
        let result = next
            .dtls
            .expect(self.expected, &mut hear)
            .and_then(|()| act(&mut next.dtls, &mut hear));
        match (result, keys) {
            (Ok(()), Some(keys)) => Taken::Ready(Box::new(next.dtls), keys),
            (Ok(()), None) => {
                self.next = Some(next);
                Taken::New
            }
            (Err(_), _) => Taken::New,
        }
    }
}

/// Whose a datagram was.
pub(crate) enum Taken {
    /// The old association's: not looked at.
    Old,
    /// The new one's.
    New,
    /// The new one's, which is there now, with the certificate that the old one had.
    Ready(Box<Dtls>, Option<SrtpKeys>),
}

/// The client's random number, if the datagram begins with a ClientHello or its first fragment.
fn hello(datagram: &[u8]) -> Option<[u8; 32]> {
    let is_plain = datagram.first() == Some(&22) && datagram.get(3..5) == Some(&[0, 0]);
    let is_first = datagram.get(13) == Some(&1) && datagram.get(19..22) == Some(&[0, 0, 0]);
    let random = datagram.get(RANDOM)?;
    (is_plain && is_first).then(|| random.try_into().ok())?
}

/// Handshake messages and ChangeCipherSpec, in whichever epoch: an association that is there has no
/// more of them (renegotiation is not supported).
fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20 | 22))
}
