//! What a publisher writes into a payload so that its receiver knows which packet it holds and when
//! it was sent.

const MAGIC: u32 = 0x9a71_e57a;

/// Bytes of a stamp.
pub const LEN: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Of which of this process's streams.
    pub stream: u32,
    /// Packets of the stream before this one, retransmissions not counted.
    pub count: u32,
    /// On the process's clock.
    pub sent_ns: u64,
}

impl Stamp {
    /// Writes it at the start of `room`. False: it does not fit.
    pub fn write(&self, room: &mut [u8]) -> bool {
        let Some(room) = room.first_chunk_mut::<LEN>() else {
            return false;
        };
        room[..4].copy_from_slice(&MAGIC.to_be_bytes());
        room[4..8].copy_from_slice(&self.stream.to_be_bytes());
        room[8..12].copy_from_slice(&self.count.to_be_bytes());
        room[12..].copy_from_slice(&self.sent_ns.to_be_bytes());
        true
    }

    /// Reads the one at the start of `bytes`, if there is one.
    pub fn read(bytes: &[u8]) -> Option<Stamp> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let sent_ns = rest.first_chunk()?;
        (u32::from_be_bytes(*magic) == MAGIC).then(|| Stamp {
            stream: u32::from_be_bytes(*stream),
            count: u32::from_be_bytes(*count),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_as_it_was_written_and_nothing_else_reads_as_one() {
        let stamp = Stamp {
            stream: 7,
            count: 1 << 20,
            sent_ns: 1 << 40,
        };
        let mut room = [0x55; LEN + 3];

        assert!(stamp.write(&mut room));

        assert_eq!(Stamp::read(&room), Some(stamp));
        assert_eq!(Stamp::read(&room[1..]), None);
        assert_eq!(Stamp::read(&room[..LEN - 1]), None);
        assert!(!stamp.write(&mut room[..LEN - 1]));
    }
}
