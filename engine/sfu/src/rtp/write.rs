//! The header of a packet to be sent, written in place.

use super::Header;

/// Elements of one extension; more than this are never written.
const MAX_ELEMENTS: usize = 8;

/// Extension elements to be written, in order.
#[derive(Clone, Copy, Default)]
pub struct ExtensionList<'a> {
    elements: [(u8, &'a [u8]); MAX_ELEMENTS],
    len: usize,
}

impl<'a> ExtensionList<'a> {
    /// Adds a value of at most 255 bytes under `id`; without an id, or with one of 0, nothing.
    pub fn add(&mut self, id: Option<u8>, value: Option<&'a [u8]>) {
        let (Some(id), Some(value)) = (id, value) else {
            return;
        };
        if id == 0 || value.len() > 255 {
            return;
        }
        if let Some(slot) = self.elements.get_mut(self.len) {
            *slot = (id, value);
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + '_ {
        self.elements.iter().take(self.len).copied()
    }

    /// RFC 8285 §4.2: ids 1 to 14 and values of 1 to 16 bytes fit the one-byte form.
    fn needs_two_bytes(&self) -> bool {
        self.iter()
            .any(|(id, value)| id > 14 || value.is_empty() || value.len() > 16)
    }
}

/// Writes marker, payload type, numbers and SSRC of `header`, and `extensions`, at the start of
/// `buf`. Contributing sources and padding are not written.
///
/// Returns the bytes written; `None`: `buf` is too short.
pub fn write_header(
    buf: &mut [u8],
    marker: bool,
    pt: u8,
    seq: u16,
    timestamp: u32,
    ssrc: u32,
    extensions: &ExtensionList<'_>,
) -> Option<usize> {
    let has_extension = extensions.len > 0;
    let fixed = buf.get_mut(..12)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = fixed else {
        return None;
    };
    *a = if has_extension { 0x90 } else { 0x80 };
    *b = (u8::from(marker) << 7) | (pt & 0x7f);
    [*c, *d] = seq.to_be_bytes();
    [*e, *f, *g, *h] = timestamp.to_be_bytes();
    [*i, *j, *k, *l] = ssrc.to_be_bytes();
    if !has_extension {
        return Some(12);
    }

    let two_bytes = extensions.needs_two_bytes();
    let mut at = 16;
    for (id, value) in extensions.iter() {
        if two_bytes {
            buf.get_mut(at..at + 2)?
                .copy_from_slice(&[id, value.len() as u8]);
            at += 2;
        } else {
            *buf.get_mut(at)? = (id << 4) | (value.len() as u8 - 1);
            at += 1;
        }
        buf.get_mut(at..at + value.len())?.copy_from_slice(value);
        at += value.len();
    }
    let end = at.next_multiple_of(4);
    buf.get_mut(at..end)?.fill(0);
    let profile: u16 = if two_bytes { 0x1000 } else { 0xbede };
    let words = ((end - 16) / 4) as u16;
    buf.get_mut(12..14)?.copy_from_slice(&profile.to_be_bytes());
    buf.get_mut(14..16)?.copy_from_slice(&words.to_be_bytes());
    Some(end)
}

impl Header {
    /// Turns a retransmission back into the packet it repeats, in place (RFC 4588 §4): the original
    /// sequence number leaves the payload and returns to the header.
    ///
    /// Returns the packet's new length; `None`: there is no original, as in a padding probe.
    pub fn unwrap_rtx(&self, packet: &mut [u8], pt: u8, ssrc: u32) -> Option<usize> {
        let payload_len = self.payload(packet)?.len();
        if payload_len < 2 {
            return None;
        }
        let osn = [*packet.get(self.len)?, *packet.get(self.len + 1)?];
        let end = self.len + payload_len;
        packet.copy_within(self.len + 2..end, self.len);
        // The padding stays behind with the flag that announced it.
        *packet.first_mut()? &= !0x20;
        let second = packet.get_mut(1)?;
        *second = (*second & 0x80) | (pt & 0x7f);
        packet.get_mut(2..4)?.copy_from_slice(&osn);
        packet.get_mut(8..12)?.copy_from_slice(&ssrc.to_be_bytes());
        Some(end - 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(elements: &[(u8, &[u8])]) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
        let mut list = ExtensionList::default();
        for (id, value) in elements {
            list.add(Some(*id), Some(value));
        }
        let mut buf = vec![0xff; 600];
        let len = write_header(&mut buf, true, 111, 65_535, 7, 0xdead_beef, &list).unwrap();
        buf.truncate(len);
        let header = Header::parse(&buf).unwrap();
        assert_eq!((header.marker, header.pt, header.seq), (true, 111, 65_535));
        assert_eq!((header.timestamp, header.ssrc), (7, 0xdead_beef));
        assert_eq!(header.len, len);
        let read = header
            .extensions(&buf)
            .map(|(id, value)| (id, value.to_vec()))
            .collect();
        (buf, read)
    }

    #[test]
    fn ids_up_to_14_are_written_in_the_one_byte_form() {
        let (buf, read) = round_trip(&[(1, b"0"), (14, &[9; 16])]);

        assert_eq!(buf[12..14], [0xbe, 0xde]);
        assert_eq!(read, [(1, b"0".to_vec()), (14, vec![9; 16])]);
    }

    #[test]
    fn an_id_above_14_or_a_long_value_takes_the_two_byte_form() {
        for (id, value) in [(15, &[1][..]), (255, &[1, 2]), (3, &[4; 17]), (3, &[])] {
            let (buf, read) = round_trip(&[(1, b"mid"), (id, value)]);

            assert_eq!(buf[12..14], [0x10, 0x00], "id {id}");
            assert_eq!(read, [(1, b"mid".to_vec()), (id, value.to_vec())]);
        }
    }

    #[test]
    fn without_extensions_the_header_has_12_bytes() {
        let (buf, read) = round_trip(&[]);

        assert_eq!(buf.len(), 12);
        assert!(read.is_empty());
    }

    #[test]
    fn a_short_buffer_is_refused() {
        let mut list = ExtensionList::default();
        list.add(Some(1), Some(b"abcd"));

        for len in 0..24 {
            let mut buf = vec![0; len];
            assert_eq!(write_header(&mut buf, false, 0, 0, 0, 0, &list), None);
        }
    }

    #[test]
    fn a_retransmission_becomes_the_original() {
        let mut list = ExtensionList::default();
        list.add(Some(2), Some(&[5]));
        let mut packet = vec![0; 64];
        let len = write_header(&mut packet, true, 97, 1, 90, 22, &list).unwrap();
        packet.truncate(len);
        packet.extend([0x12, 0x34]);
        packet.extend(b"media");
        packet.extend([0, 0, 3]);
        packet[0] |= 0x20;

        let rtx = Header::parse(&packet).unwrap();
        let len = rtx.unwrap_rtx(&mut packet, 96, 11).unwrap();
        packet.truncate(len);

        let original = Header::parse(&packet).unwrap();
        assert_eq!((original.pt, original.seq), (96, 0x1234));
        assert_eq!((original.ssrc, original.marker), (11, true));
        assert_eq!(original.payload(&packet), Some(&b"media"[..]));
        assert_eq!(original.extensions(&packet).next(), Some((2, &[5][..])));
    }

    #[test]
    fn a_retransmission_without_an_original_is_none() {
        let mut probe = vec![0xa0, 97, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4];
        let header = Header::parse(&probe).unwrap();

        assert_eq!(header.unwrap_rtx(&mut probe, 96, 1), None);
    }
}
