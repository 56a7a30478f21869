//! What a consumer has sent, so that it can be sent again.

use super::unwrap::near16;
use crate::spec::MediaKind;

/// One packet sent, and which packet of which source it was.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// Low bits of the number it bore.
    pub out: u32,
    /// Low bits of its number at the source.
    pub input: u32,
    /// When it was last repeated, or was sent late; milliseconds, 0: neither.
    pub repeated_ms: u32,
    /// Of the consumer; 0: no packet.
    pub era: u16,
    pub was: Was,
}

/// What a packet's payload was when it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Was {
    /// The source's own.
    Plain,
    /// The source's own, with this as the id of its picture.
    Picture(u16),
    /// Nothing.
    Empty,
    /// It has never been sent.
    Unsent,
}

impl Was {
    pub fn picture(id: Option<u64>) -> Was {
        id.map_or(Was::Plain, |id| Was::Picture(id as u16))
    }

    pub fn id(self) -> Option<u64> {
        match self {
            Was::Picture(id) => Some(id.into()),
            _ => None,
        }
    }
}

const NOTHING: Sent = Sent {
    out: 0,
    input: 0,
    repeated_ms: 0,
    era: 0,
    was: Was::Plain,
};

/// What a packet recorded now counts as: one below `top` is late, and that is as good as a repetition.
fn repeated_ms(top: u64, out: u64, now_ms: u32) -> u32 {
    if top > out { now_ms.max(1) } else { 0 }
}

/// Maps numbers sent to numbers received: 20 bytes a packet, since payloads stay in the layer's one
/// cache and a retransmission is rebuilt.
pub(super) struct History {
    ring: Box<[Sent]>,
    top: u64,
}

impl History {
    pub fn new(kind: MediaKind) -> Self {
        let packets = match kind {
            MediaKind::Video => 1024,
            MediaKind::Audio => 256,
        };
        History {
            ring: vec![NOTHING; packets].into(),
            top: 0,
        }
    }

    /// Remembers what was sent as `out`.
    ///
    /// now_ms: counts as the last repetition of what is sent late, since it is what a question on
    /// its way asks for.
    pub fn record(&mut self, out: u64, sent: Sent, now_ms: u32) {
        // What is so late has lost its place to a later packet.
        if out + self.ring.len() as u64 <= self.top {
            return;
        }
        let place = self.place(out);
        self.ring[place] = Sent {
            repeated_ms: repeated_ms(self.top, out, now_ms),
            ..sent
        };
        self.top = self.top.max(out);
    }

    /// The number that `seq` stands for and what was sent with it, if it is remembered.
    pub fn find(&mut self, seq: u16) -> Option<(u64, &mut Sent)> {
        let out = near16(self.top, seq);
        let place = self.place(out);
        let sent = &mut self.ring[place];
        (sent.era != 0 && sent.out == out as u32).then_some((out, sent))
    }

    fn place(&self, out: u64) -> usize {
        // The number of places is a power of two.
        out as usize & (self.ring.len() - 1)
    }
}

#[derive(Clone, Copy)]
struct Kept {
    out: u64,
    position: u64,
    len: u16,
    repeated_ms: u32,
}

/// Datagrams as they were sealed, for a peer without RTX: sending the same sequence number again is
/// safe only as the same ciphertext, since under GCM a nonce must never protect two texts.
pub(super) struct Repeats {
    ring: Box<[Kept]>,
    bytes: Box<[u8]>,
    written: u64,
    top: u64,
}

impl Repeats {
    /// Holds about two seconds of speech, or the last hundred packets or more of video.
    pub fn new(kind: MediaKind) -> Self {
        let (packets, bytes) = match kind {
            MediaKind::Audio => (128, 20 << 10),
            MediaKind::Video => (256, 128 << 10),
        };
        let nothing = Kept {
            out: u64::MAX,
            position: 0,
            len: 0,
            repeated_ms: 0,
        };
        Repeats {
            ring: vec![nothing; packets].into(),
            bytes: vec![0; bytes].into(),
            written: 0,
            top: 0,
        }
    }

    /// now_ms: as for [`History::record`].
    pub fn record(&mut self, out: u64, datagram: &[u8], now_ms: u32) {
        let place = self.place(out);
        // What is so late has lost its place to a later packet.
        if out + self.ring.len() as u64 <= self.top {
            return;
        }
        let capacity = self.bytes.len();
        let mut at = (self.written % capacity as u64) as usize;
        if at + datagram.len() > capacity {
            self.written += (capacity - at) as u64;
            at = 0;
        }
        let Some(room) = self.bytes.get_mut(at..at + datagram.len()) else {
            return;
        };
        room.copy_from_slice(datagram);
        self.ring[place] = Kept {
            out,
            position: self.written,
            len: datagram.len() as u16,
            repeated_ms: repeated_ms(self.top, out, now_ms),
        };
        self.written += datagram.len() as u64;
        self.top = self.top.max(out);
    }

    /// The datagram that bore `seq`, and when it was last repeated.
    pub fn find(&mut self, seq: u16) -> Option<(&[u8], &mut u32)> {
        let out = near16(self.top, seq);
        let place = self.place(out);
        let capacity = self.bytes.len() as u64;
        let kept = &mut self.ring[place];
        if kept.out != out || self.written - kept.position > capacity {
            return None;
        }
        let at = (kept.position % capacity) as usize;
        let datagram = &self.bytes[at..at + usize::from(kept.len)];
        Some((datagram, &mut kept.repeated_ms))
    }

    fn place(&self, out: u64) -> usize {
        out as usize & (self.ring.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(out: u64, input: u32) -> Sent {
        Sent {
            out: out as u32,
            input,
            repeated_ms: 0,
            era: 1,
            was: Was::Plain,
        }
    }

    fn input(history: &mut History, seq: u16) -> Option<u32> {
        history.find(seq).map(|(_, sent)| sent.input)
    }

    #[test]
    fn what_was_sent_is_found_until_its_place_is_taken() {
        let mut history = History::new(MediaKind::Audio);
        for out in 65_400..65_800 {
            history.record(out, sent(out, out as u32 + 7), 50);
        }

        assert_eq!(input(&mut history, 65_799u64 as u16), Some(65_806));
        assert_eq!(input(&mut history, 65_544u64 as u16), Some(65_551));
        assert_eq!(input(&mut history, 65_543u64 as u16), None);
        assert_eq!(input(&mut history, 300), None);
    }

    #[test]
    fn what_is_sent_late_counts_as_just_repeated_and_displaces_nothing_newer() {
        let mut history = History::new(MediaKind::Audio);
        for out in [1000, 999, 1000 - 256] {
            history.record(out, sent(out, 1), 50);
        }

        let mut repeated = |seq| history.find(seq).map(|(_, sent)| sent.repeated_ms);
        assert_eq!(repeated(1000), Some(0));
        assert_eq!(repeated(999), Some(50));
        assert_eq!(repeated(1000 - 256), None);
    }

    #[test]
    fn what_is_remembered_of_a_packet_is_small() {
        assert_eq!(std::mem::size_of::<Sent>(), 20);
    }

    #[test]
    fn a_datagram_is_repeated_byte_for_byte() {
        let mut repeats = Repeats::new(MediaKind::Audio);
        for out in 0..500u64 {
            repeats.record(out, &[out as u8; 150], 50);
        }

        for seq in 400..500u16 {
            let (datagram, _) = repeats.find(seq).expect("kept");
            assert_eq!(datagram, vec![seq as u8; 150]);
        }
        assert!(repeats.find(300).is_none());
    }
}
