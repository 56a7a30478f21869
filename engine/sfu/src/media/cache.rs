//! The packets of one layer as they were received, kept for retransmission and for late starts.
//!
//! Bytes lie in one ring in order of arrival; an entry finds them as long as they have not been
//! overwritten. The ring doubles while it turns faster than packets may be forgotten, so a quiet
//! stream stays small and a steady one allocates nothing.

use std::time::{Duration, Instant};

use crate::spec::MediaKind;

const MAX_PACKET: usize = 1536;

/// Where a packet lies and how it is numbered.
#[derive(Clone, Copy)]
struct Entry {
    /// `u64::MAX`: never used.
    seq: u64,
    timestamp: u64,
    /// Position in the endless stream of bytes written.
    position: u64,
    len: u16,
}

const EMPTY: Entry = Entry {
    seq: u64::MAX,
    timestamp: 0,
    position: 0,
    len: 0,
};

/// How much is kept.
struct Limits {
    packets: usize,
    first_bytes: usize,
    most_bytes: usize,
    most_entries: usize,
}

const VIDEO: Limits = Limits {
    packets: 500,
    first_bytes: 64 << 10,
    most_bytes: 4 << 20,
    most_entries: 4096,
};

const AUDIO: Limits = Limits {
    packets: 200,
    first_bytes: 16 << 10,
    most_bytes: 512 << 10,
    most_entries: 512,
};

pub(super) struct Cache {
    limits: &'static Limits,
    keep: Duration,
    entries: Box<[Entry]>,
    bytes: Box<[u8]>,
    /// Bytes written since the beginning, gaps at the ring's end included.
    written: u64,
    /// Packets written since the ring last turned, and when it did.
    since_turn: usize,
    turned_at: Option<Instant>,
}

impl Cache {
    /// keep: how long packets are wanted for; never fewer than 500 of video and 200 of audio are
    /// kept, up to a bound in bytes (4 MiB and 512 KiB).
    pub fn new(kind: MediaKind, keep: Duration) -> Self {
        let (limits, entries) = match kind {
            MediaKind::Video => (&VIDEO, 512),
            MediaKind::Audio => (&AUDIO, 256),
        };
        Cache {
            limits,
            keep,
            entries: vec![EMPTY; entries].into(),
            bytes: vec![0; limits.first_bytes].into(),
            written: 0,
            since_turn: 0,
            turned_at: None,
        }
    }

    /// Stores a packet. One that is older than what its place holds is not stored.
    pub fn put(&mut self, seq: u64, timestamp: u64, packet: &[u8], now: Instant) {
        if packet.is_empty() || packet.len() > MAX_PACKET {
            return;
        }
        self.make_room(packet.len(), now);
        if self.holds_recent(seq, now) && self.entries.len() < self.limits.most_entries {
            self.double_entries();
        }
        let place = self.place(seq);
        let position = self.written;
        let capacity = self.bytes.len() as u64;
        let at = (position % capacity) as usize;
        let entry = &mut self.entries[place];
        if entry.seq != u64::MAX && entry.seq > seq {
            return;
        }
        *entry = Entry {
            seq,
            timestamp,
            position,
            len: packet.len() as u16,
        };
        self.bytes[at..at + packet.len()].copy_from_slice(packet);
        self.written += packet.len() as u64;
        self.since_turn += 1;
    }

    /// The packet with this number, and its timestamp.
    pub fn get(&self, seq: u64) -> Option<(&[u8], u64)> {
        let entry = &self.entries[self.place(seq)];
        if entry.seq != seq || !self.is_alive(entry) {
            return None;
        }
        let at = (entry.position % self.bytes.len() as u64) as usize;
        let packet = &self.bytes[at..at + usize::from(entry.len)];
        Some((packet, entry.timestamp))
    }

    /// Forgets every packet; what has been allocated stays.
    pub fn clear(&mut self) {
        self.entries.fill(EMPTY);
        self.since_turn = 0;
        self.turned_at = None;
    }

    fn place(&self, seq: u64) -> usize {
        // The number of entries is a power of two.
        seq as usize & (self.entries.len() - 1)
    }

    fn is_alive(&self, entry: &Entry) -> bool {
        entry.seq != u64::MAX && self.written - entry.position <= self.bytes.len() as u64
    }

    /// Whether the place of `seq` holds a packet that may still be wanted.
    fn holds_recent(&self, seq: u64, now: Instant) -> bool {
        let entry = &self.entries[self.place(seq)];
        let is_young = self.turned_at.is_none_or(|at| now - at < self.keep);
        entry.seq < seq && self.is_alive(entry) && is_young
    }

    /// Brings the writing position to where `len` bytes fit in one piece.
    fn make_room(&mut self, len: usize, now: Instant) {
        let turned_at = *self.turned_at.get_or_insert(now);
        let capacity = self.bytes.len();
        let at = (self.written % capacity as u64) as usize;
        if at + len <= capacity {
            return;
        }
        let is_hasty = self.since_turn < self.limits.packets
            || now.saturating_duration_since(turned_at) < self.keep;
        if is_hasty && capacity < self.limits.most_bytes {
            self.double_bytes();
            return;
        }
        self.written += (capacity - at) as u64;
        self.since_turn = 0;
        self.turned_at = Some(now);
    }

    fn double_bytes(&mut self) {
        let mut bytes = vec![0; self.bytes.len() * 2].into_boxed_slice();
        let mut places: Vec<usize> = (0..self.entries.len())
            .filter(|place| self.is_alive(&self.entries[*place]))
            .collect();
        places.sort_by_key(|place| self.entries[*place].position);
        let mut written = 0;
        for entry in &mut self.entries {
            if entry.seq != u64::MAX && self.written - entry.position > self.bytes.len() as u64 {
                *entry = EMPTY;
            }
        }
        for place in places {
            let entry = &mut self.entries[place];
            let from = (entry.position % self.bytes.len() as u64) as usize;
            let len = usize::from(entry.len);
            bytes[written..written + len].copy_from_slice(&self.bytes[from..from + len]);
            entry.position = written as u64;
            written += len;
        }
        self.bytes = bytes;
        self.written = written as u64;
    }

    fn double_entries(&mut self) {
        let old = std::mem::take(&mut self.entries);
        self.entries = vec![EMPTY; old.len() * 2].into();
        for entry in old.iter().filter(|entry| entry.seq != u64::MAX) {
            let place = self.place(entry.seq);
            if self.entries[place].seq == u64::MAX || self.entries[place].seq < entry.seq {
                self.entries[place] = *entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const KEEP: Duration = Duration::from_millis(1000);

    fn packet(seq: u64, len: usize) -> Vec<u8> {
        let mut packet = vec![seq as u8; len];
        packet[..8].copy_from_slice(&seq.to_be_bytes());
        packet
    }

    #[test]
    fn five_hundred_packets_of_video_are_kept_whatever_their_size() {
        let mut cache = Cache::new(MediaKind::Video, KEEP);
        let start = Instant::now();

        // Slow enough that time alone would not keep them: one every 50 ms.
        for seq in 0..3000 {
            cache.put(
                seq,
                seq * 3000,
                &packet(seq, 1200),
                start + 50 * seq as u32 * Duration::from_millis(1),
            );
        }

        for seq in 2500..3000 {
            let (bytes, timestamp) = cache.get(seq).expect("kept");
            assert_eq!(bytes, packet(seq, 1200));
            assert_eq!(timestamp, seq * 3000);
        }
    }

    #[test]
    fn a_second_of_fast_video_is_kept() {
        let mut cache = Cache::new(MediaKind::Video, KEEP);
        let start = Instant::now();

        for seq in 0..6000 {
            cache.put(
                seq,
                0,
                &packet(seq, 1000),
                start + Duration::from_micros(667 * seq),
            );
        }

        assert!((4500..6000).all(|seq| cache.get(seq).is_some()));
    }

    #[test]
    fn two_hundred_packets_of_audio_are_kept_in_little_memory() {
        let mut cache = Cache::new(MediaKind::Audio, KEEP);
        let start = Instant::now();

        for seq in 0..2000 {
            cache.put(
                seq,
                0,
                &packet(seq, 120),
                start + Duration::from_millis(20 * seq),
            );
        }

        assert!((1800..2000).all(|seq| cache.get(seq).is_some()));
        assert!(cache.bytes.len() <= 64 << 10, "{} bytes", cache.bytes.len());
    }

    #[test]
    fn a_cleared_cache_gives_nothing() {
        let mut cache = Cache::new(MediaKind::Audio, KEEP);
        cache.put(5, 0, &packet(5, 100), Instant::now());

        cache.clear();

        assert!(cache.get(5).is_none());
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_was_stored(
            puts in prop::collection::vec((-30i64..60, 8usize..1500, 0u64..40), 1..600),
        ) {
            let mut cache = Cache::new(MediaKind::Video, KEEP);
            let mut now = Instant::now();
            let mut seq = 1000u64;
            let mut stored = std::collections::BTreeMap::new();
            for (step, len, pause) in puts {
                seq = seq.saturating_add_signed(step);
                now += Duration::from_millis(pause);
                cache.put(seq, seq, &packet(seq, len), now);
                stored.insert(seq, len);
            }
            for (seq, _) in stored {
                if let Some((bytes, timestamp)) = cache.get(seq) {
                    prop_assert_eq!(timestamp, seq);
                    prop_assert_eq!(&bytes[..8], &seq.to_be_bytes()[..]);
                }
            }
        }
    }
}
