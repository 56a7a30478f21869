//! To whom a datagram belongs: by local ufrag for a connectivity check, by sender for all else.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ahash::RandomState;

/// What the first byte says a datagram is (RFC 7983 §7, as far as it is ours).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Stun,
    Dtls,
    Media,
}

pub(crate) fn classify(datagram: &[u8]) -> Option<Kind> {
    match datagram.first()? {
        0..=3 => Some(Kind::Stun),
        20..=63 => Some(Kind::Dtls),
        128..=191 => Some(Kind::Media),
        _ => None,
    }
}

/// Which transport, by its index in the shard's slab. Peers choose both keys, so both tables hash
/// with a random seed.
pub(crate) struct Demux {
    by_ufrag: HashMap<Box<str>, usize, RandomState>,
    by_sender: HashMap<SocketAddr, usize, RandomState>,
}

impl Demux {
    pub fn new() -> Demux {
        Demux {
            by_ufrag: HashMap::default(),
            by_sender: HashMap::default(),
        }
    }

    pub fn ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub fn sender(&self, from: &SocketAddr) -> Option<usize> {
        self.by_sender.get(from).copied()
    }

    pub fn add_ufrag(&mut self, ufrag: &str, transport: usize) {
        self.by_ufrag.insert(ufrag.into(), transport);
    }

    pub fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// Admits a sender that has passed an integrity check. One that belonged to another transport
    /// moves: a port behind a NAT is given to someone else in time.
    pub fn add_sender(&mut self, from: SocketAddr, transport: usize) {
        self.by_sender.insert(from, transport);
    }

    /// Forgets a sender, unless it has moved to another transport since.
    pub fn remove_sender(&mut self, from: &SocketAddr, transport: usize) {
        if self.sender(from) == Some(transport) {
            self.by_sender.remove(from);
        }
    }

    #[cfg(test)]
    pub fn senders(&self) -> usize {
        self.by_sender.len()
    }
}

/// Limits how many checks of unknown senders are looked at: token buckets in a table of fixed size,
/// found by a seeded hash of the source. Two sources may share one, which only lowers their limit.
pub(crate) struct StunLimit {
    rate: f32,
    buckets: Box<[Bucket]>,
    hash: RandomState,
    start: Instant,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f32,
    /// Milliseconds since `start`, which wrap after 49 days: a source silent for so long may find its
    /// bucket as it left it, and fills it from there.
    at: u32,
}

const BUCKETS: usize = 4096;

impl StunLimit {
    /// `rate`: checks a second; as many may come at once.
    pub fn new(rate: u32, now: Instant) -> StunLimit {
        let rate = rate as f32;
        StunLimit {
            rate,
            buckets: vec![
                Bucket {
                    tokens: rate,
                    at: 0
                };
                BUCKETS
            ]
            .into_boxed_slice(),
            hash: RandomState::new(),
            start: now,
        }
    }

    /// Takes one token of this source. False: it has none left.
    pub fn take(&mut self, from: IpAddr, now: Instant) -> bool {
        // One IPv6 host has a whole /64 to send from.
        let source = match from {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        let index = self.hash.hash_one(source) as usize % BUCKETS;
        let at = now.saturating_duration_since(self.start).as_millis() as u32;
        let Some(bucket) = self.buckets.get_mut(index) else {
            return false;
        };
        let passed_s = at.wrapping_sub(bucket.at) as f32 / 1000.0;
        bucket.tokens = (bucket.tokens + passed_s * self.rate).min(self.rate);
        bucket.at = at;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_byte_tells_what_a_datagram_is() {
        assert_eq!(classify(&[0]), Some(Kind::Stun));
        assert_eq!(classify(&[3]), Some(Kind::Stun));
        assert_eq!(classify(&[22]), Some(Kind::Dtls));
        assert_eq!(classify(&[0x80]), Some(Kind::Media));
        assert_eq!(classify(&[191]), Some(Kind::Media));
        for other in [4, 19, 64, 127, 192, 255] {
            assert_eq!(classify(&[other]), None);
        }
        assert_eq!(classify(&[]), None);
    }

    #[test]
    fn a_sender_that_moved_is_not_forgotten_by_its_former_owner() {
        let mut demux = Demux::new();
        let from = SocketAddr::from(([192, 0, 2, 1], 5000));

        demux.add_sender(from, 1);
        demux.add_sender(from, 2);
        demux.remove_sender(&from, 1);

        assert_eq!(demux.sender(&from), Some(2));
        assert_eq!(demux.senders(), 1);
    }

    #[test]
    fn a_source_may_send_its_rate_and_no_more_until_time_passes() {
        let start = Instant::now();
        let mut limit = StunLimit::new(10, start);
        let source = IpAddr::from([192, 0, 2, 1]);

        let taken = (0..50).filter(|_| limit.take(source, start)).count();
        let later = start + Duration::from_millis(500);
        let after = (0..50).filter(|_| limit.take(source, later)).count();

        assert_eq!(taken, 10);
        assert_eq!(after, 5);
    }

    #[test]
    fn a_limit_is_as_fine_after_a_year_as_on_the_first_day() {
        let start = Instant::now();
        let mut limit = StunLimit::new(10, start);
        let source = IpAddr::from([192, 0, 2, 1]);
        let mut now = start + Duration::from_secs(365 * 86_400);
        while limit.take(source, now) {}

        let mut taken = 0;
        for _ in 0..100 {
            now += Duration::from_millis(10);
            taken += u32::from(limit.take(source, now));
        }

        assert!((9..=11).contains(&taken), "{taken}");
    }

    #[test]
    fn hosts_of_one_ipv6_network_share_a_limit_and_others_have_their_own() {
        let now = Instant::now();
        let mut limit = StunLimit::new(10, now);
        let host = |net: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, net, 0, 0, 0, host]);

        let same = (0..100).filter(|n| limit.take(host(1, *n), now)).count();
        // Two networks may share a bucket; of a hundred, few do.
        let others = (2..102).filter(|n| limit.take(host(*n, 1), now)).count();

        assert_eq!(same, 10);
        assert!(others > 90, "{others}");
    }
}
