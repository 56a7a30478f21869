//! VP8 (RFC 7741 §4.2, §4.3).

/// The longest payload descriptor.
const MOST: usize = 6;

/// What the descriptor before a packet's payload says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Bytes it takes.
    len: u8,
    /// The first packet of a picture's first partition.
    pub starts_picture: bool,
    pub picture: Option<PictureId>,
    pub tl0_index: Option<u8>,
    /// Temporal layer; 0 is the lowest.
    pub temporal: Option<u8>,
    /// The picture needs no other of its own or a higher temporal layer: one may go up here.
    pub is_sync: bool,
    pub key_index: Option<u8>,
}

/// A picture's number, as wide as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureId {
    pub low: u16,
    /// 15 bits; else 7.
    pub is_wide: bool,
}

/// What stands in a descriptor instead, wherever it has such a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    pub picture: PictureId,
    pub tl0_index: u8,
    pub key_index: u8,
}

/// The first bytes of a payload, rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch {
    bytes: [u8; MOST],
    len: u8,
    /// How many bytes of the payload they stand for.
    replaced: u8,
}

impl Patch {
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn replaced(&self) -> usize {
        usize::from(self.replaced)
    }
}

impl Descriptor {
    /// `None`: the payload is cut short.
    pub fn read(payload: &[u8]) -> Option<Descriptor> {
        let first = *payload.first()?;
        let mut read = Descriptor {
            len: 1,
            starts_picture: first & 0x10 != 0 && first & 0x07 == 0,
            picture: None,
            tl0_index: None,
            temporal: None,
            is_sync: false,
            key_index: None,
        };
        if first & 0x80 == 0 {
            return Some(read);
        }
        let fields = *payload.get(1)?;
        let mut at = 2;
        if fields & 0x80 != 0 {
            // The picture id has 15 bits when its first is set, else 7.
            let high = *payload.get(at)?;
            let is_wide = high & 0x80 != 0;
            let low = match is_wide {
                true => u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]),
                false => u16::from(high),
            };
            at += if is_wide { 2 } else { 1 };
            read.picture = Some(PictureId { low, is_wide });
        }
        if fields & 0x40 != 0 {
            read.tl0_index = Some(*payload.get(at)?);
            at += 1;
        }
        if fields & 0x30 != 0 {
            let byte = *payload.get(at)?;
            at += 1;
            if fields & 0x20 != 0 {
                read.temporal = Some(byte >> 6);
                read.is_sync = byte & 0x20 != 0;
            }
            read.key_index = (fields & 0x10 != 0).then_some(byte & 0x1f);
        }
        read.len = at as u8;
        Some(read)
    }

    /// RFC 6386 §9.1: the frame header's first bit is 0 in a keyframe.
    pub fn starts_keyframe(&self, payload: &[u8]) -> Option<bool> {
        if !self.starts_picture {
            return Some(false);
        }
        Some(payload.get(usize::from(self.len))? & 0x01 == 0)
    }

    /// This descriptor with other numbers; `None`: it says the same as before, or is not of `payload`.
    pub fn patch(&self, payload: &[u8], numbers: &Numbers) -> Option<Patch> {
        if self.len == 1 {
            return None;
        }
        let mut bytes = [0; MOST];
        let mut len = 2;
        bytes[0] = *payload.first()?;
        bytes[1] = *payload.get(1)?;
        let mut add = |byte: u8| {
            if let Some(place) = bytes.get_mut(len) {
                *place = byte;
                len += 1;
            }
        };
        if self.picture.is_some() {
            let [high, low] = numbers.picture.low.to_be_bytes();
            if numbers.picture.is_wide {
                add(0x80 | high);
                add(low);
            } else {
                add(low & 0x7f);
            }
        }
        if self.tl0_index.is_some() {
            add(numbers.tl0_index);
        }
        if self.temporal.is_some() || self.key_index.is_some() {
            let byte = *payload.get(usize::from(self.len) - 1)?;
            match self.key_index {
                Some(_) => add(byte & 0xe0 | numbers.key_index & 0x1f),
                None => add(byte),
            }
        }
        let patch = Patch {
            bytes,
            len: len as u8,
            replaced: self.len,
        };
        (payload.get(..patch.replaced()) != Some(patch.bytes())).then_some(patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn starts_keyframe(payload: &[u8]) -> Option<bool> {
        Descriptor::read(payload)?.starts_keyframe(payload)
    }

    fn numbers(low: u16, is_wide: bool, tl0_index: u8, key_index: u8) -> Numbers {
        Numbers {
            picture: PictureId { low, is_wide },
            tl0_index,
            key_index,
        }
    }

    fn patched(payload: &[u8], numbers: &Numbers) -> Option<Vec<u8>> {
        let patch = Descriptor::read(payload)?.patch(payload, numbers)?;
        Some([patch.bytes(), &payload[patch.replaced()..]].concat())
    }

    #[test]
    fn the_first_packet_of_a_keyframe_is_told_behind_any_descriptor() {
        assert_eq!(starts_keyframe(&[0x10, 0x50]), Some(true));
        assert_eq!(starts_keyframe(&[0x90, 0x80, 0x11, 0x50]), Some(true));
        assert_eq!(
            starts_keyframe(&[0x90, 0xe0, 0x91, 0x22, 7, 0x20, 0x50]),
            Some(true)
        );
        assert_eq!(
            starts_keyframe(&[0x90, 0xe0, 0x91, 0x22, 7, 0x20, 0x51]),
            Some(false)
        );
    }

    #[test]
    fn a_later_packet_of_a_keyframe_is_not_its_first() {
        assert_eq!(starts_keyframe(&[0x00, 0x50]), Some(false));
        assert_eq!(starts_keyframe(&[0x11, 0x50]), Some(false));
    }

    #[test]
    fn a_cut_descriptor_says_nothing() {
        assert_eq!(starts_keyframe(&[]), None);
        assert_eq!(starts_keyframe(&[0x90, 0xf0, 0x91]), None);
        assert_eq!(starts_keyframe(&[0x10]), None);
    }

    #[test]
    fn every_number_of_a_descriptor_is_read() {
        let read = Descriptor::read(&[0x90, 0xf0, 0x91, 0x22, 7, 0x63, 0x50]).unwrap();

        assert_eq!(
            read.picture,
            Some(PictureId {
                low: 0x1122,
                is_wide: true
            })
        );
        assert_eq!((read.tl0_index, read.key_index), (Some(7), Some(3)));
        assert_eq!((read.temporal, read.is_sync), (Some(1), true));
    }

    #[test]
    fn numbers_are_replaced_where_they_stand_and_nothing_else_is() {
        let wide = [0x90, 0xf0, 0x91, 0x22, 7, 0x63, 0x50, 0xaa];
        let narrow = [0x90, 0x80, 0x11, 0x50, 0xaa];

        assert_eq!(
            patched(&wide, &numbers(0x7fff, true, 255, 31)),
            Some(vec![0x90, 0xf0, 0xff, 0xff, 255, 0x7f, 0x50, 0xaa])
        );
        assert_eq!(
            patched(&narrow, &numbers(0x7f, false, 1, 1)),
            Some(vec![0x90, 0x80, 0x7f, 0x50, 0xaa])
        );
        assert_eq!(patched(&narrow, &numbers(0x11, false, 1, 1)), None);
    }

    #[test]
    fn a_narrow_number_is_widened_by_a_byte() {
        let narrow = [0x90, 0x80, 0x11, 0x50, 0xaa];

        assert_eq!(
            patched(&narrow, &numbers(0x0234, true, 0, 0)),
            Some(vec![0x90, 0x80, 0x82, 0x34, 0x50, 0xaa])
        );
    }

    #[test]
    fn a_descriptor_without_numbers_is_left_alone() {
        assert_eq!(patched(&[0x10, 0x50], &numbers(1, true, 1, 1)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            payload in prop::collection::vec(any::<u8>(), 1..12),
            low in 0u16..0x8000, is_wide in any::<bool>(), tl0 in any::<u8>(), key in 0u8..32,
        ) {
            let low = if is_wide { low } else { low & 0x7f };
            let asked = numbers(low, is_wide, tl0, key);
            if let (Some(before), Some(rewritten)) = (Descriptor::read(&payload), patched(&payload, &asked)) {
                let after = Descriptor::read(&rewritten).unwrap();
                prop_assert_eq!(after.picture, before.picture.map(|_| asked.picture));
                prop_assert_eq!(after.tl0_index, before.tl0_index.map(|_| tl0));
                prop_assert_eq!(after.key_index, before.key_index.map(|_| key));
                prop_assert_eq!(after.temporal, before.temporal);
                prop_assert_eq!(after.is_sync, before.is_sync);
                prop_assert_eq!(
                    &rewritten[usize::from(after.len)..],
                    &payload[usize::from(before.len)..]
                );
            }
        }
    }
}
