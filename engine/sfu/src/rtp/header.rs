//! The header of a received packet, read once.

use crate::wire::{be16, be32};

const FIXED_LEN: usize = 12;

/// The header's fields, and where the rest of the packet lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub marker: bool,
    pub pt: u8,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Bytes up to the payload: fixed part, contributing sources, extension.
    pub len: usize,
    has_padding: bool,
    /// The `defined by profile` field, and where the extension's data lies; `len` ends it.
    extension: Option<(u16, usize)>,
}

impl Header {
    /// Reads the clear part of a packet, protected or not. `None`: it is not RTP.
    pub fn parse(packet: &[u8]) -> Option<Header> {
        let first = *packet.first()?;
        if first >> 6 != 2 {
            return None;
        }
        let second = *packet.get(1)?;
        let mut len = FIXED_LEN + 4 * usize::from(first & 0x0f);
        let mut extension = None;
        if first & 0x10 != 0 {
            let profile = be16(packet, len)?;
            let words = be16(packet, len + 2)?;
            extension = Some((profile, len + 4));
            len += 4 + 4 * usize::from(words);
        }
        if packet.len() < len {
            return None;
        }
        Some(Header {
            marker: second & 0x80 != 0,
            pt: second & 0x7f,
            seq: be16(packet, 2)?,
            timestamp: be32(packet, 4)?,
            ssrc: be32(packet, 8)?,
            len,
            has_padding: first & 0x20 != 0,
            extension,
        })
    }

    /// The payload of the opened packet without padding; empty for a packet of padding alone.
    /// `None`: the padding is longer than the packet.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let body = packet.get(self.len..)?;
        if !self.has_padding {
            return Some(body);
        }
        let padding = usize::from(*body.last()?);
        // RFC 3550 §5.1: the count includes itself. Zero is not allowed; it is read as one.
        body.get(..body.len().checked_sub(padding.max(1))?)
    }

    /// Each extension element as (id, value), in the order of the packet (RFC 8285 §4.2, §4.3).
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Elements<'a> {
        let (two_byte, rest) = match self.extension {
            Some((0xbede, at)) => (false, packet.get(at..self.len)),
            Some((profile, at)) if profile >> 4 == 0x100 => (true, packet.get(at..self.len)),
            _ => (false, None),
        };
        Elements {
            rest: rest.unwrap_or(&[]),
            two_byte,
        }
    }
}

/// Whether a datagram of the RTP range is RTCP (RFC 5761 §4).
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

/// Iterates over the elements of an extension; a malformed one ends it.
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            if *first == 0 {
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = if self.two_byte {
                let (len, rest) = rest.split_first()?;
                (*first, usize::from(*len), rest)
            } else {
                // RFC 8285 §4.2: id 15 ends the processing of a one-byte extension.
                if first >> 4 == 15 {
                    self.rest = &[];
                    return None;
                }
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            let Some((value, rest)) = rest.split_at_checked(len) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            // Id 0 with a length is padding that a peer wrote wrongly.
            if id != 0 {
                return Some((id, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_extension(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 0xe0, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(profile.to_be_bytes());
        packet.extend((data.len() as u16 / 4).to_be_bytes());
        packet.extend(data);
        packet.extend(b"body");
        packet
    }

    fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        Header::parse(packet)
            .unwrap()
            .extensions(packet)
            .map(|(id, value)| (id, value.to_vec()))
            .collect()
    }

    #[test]
    fn every_field_of_the_header_is_read() {
        let mut packet = vec![0x82, 0xe0, 0x12, 0x34, 0, 1, 0, 2, 0xde, 0xad, 0xbe, 0xef];
        packet.extend([0; 8]);
        packet.extend(b"payload");

        let header = Header::parse(&packet).unwrap();

        assert!(header.marker);
        assert_eq!((header.pt, header.seq), (96, 0x1234));
        assert_eq!((header.timestamp, header.ssrc), (0x10002, 0xdeadbeef));
        assert_eq!(header.payload(&packet), Some(&b"payload"[..]));
    }

    #[test]
    fn padding_is_left_out_and_too_much_of_it_is_refused() {
        let mut packet = vec![0xa0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        packet.extend([7, 7, 0, 0, 3]);
        let header = Header::parse(&packet).unwrap();

        assert_eq!(header.payload(&packet), Some(&[7, 7][..]));
        *packet.last_mut().unwrap() = 5;
        assert_eq!(header.payload(&packet), Some(&[][..]));
        *packet.last_mut().unwrap() = 6;
        assert_eq!(header.payload(&packet), None);
    }

    #[test]
    fn one_byte_extensions_are_read_up_to_id_15() {
        let packet = with_extension(0xbede, &[0x10, 0xaa, 0x00, 0x21, 1, 2, 0xf0, 0x10]);

        assert_eq!(elements(&packet), [(1, vec![0xaa]), (2, vec![1, 2])]);
    }

    #[test]
    fn two_byte_extensions_may_be_empty_and_have_high_ids() {
        let packet = with_extension(0x1000, &[200, 0, 15, 2, 1, 2, 0, 0]);

        assert_eq!(elements(&packet), [(200, vec![]), (15, vec![1, 2])]);
    }

    #[test]
    fn an_element_longer_than_the_extension_ends_it() {
        let packet = with_extension(0xbede, &[0x10, 0xaa, 0x2f, 1]);

        assert_eq!(elements(&packet), [(1, vec![0xaa])]);
    }

    #[test]
    fn an_unknown_extension_profile_is_passed_over() {
        let packet = with_extension(0xabcd, &[1, 2, 3, 4]);

        assert_eq!(elements(&packet), []);
        assert_eq!(Header::parse(&packet).unwrap().len, 20);
    }

    #[test]
    fn a_packet_shorter_than_its_header_says_is_not_rtp() {
        let packet = with_extension(0xbede, &[0x10, 0xaa, 0, 0]);

        for len in 0..20 {
            assert_eq!(Header::parse(&packet[..len]), None, "{len} bytes");
        }
        assert_eq!(Header::parse(&[0x40; 20]), None);
    }

    #[test]
    fn rtcp_is_told_by_its_packet_type() {
        assert!(is_rtcp(&[0x80, 200]));
        assert!(is_rtcp(&[0x80, 206]));
        assert!(!is_rtcp(&[0x80, 96]));
        assert!(!is_rtcp(&[0x80, 0x80 | 111]));
        assert!(!is_rtcp(&[0x80]));
    }
}
