//! VP8's own numbers toward one peer, through changes of the source and temporal layers left out: ids
//! of pictures, TL0PICIDX and KEYIDX go on as those of one encoder (RFC 7741 §4.2).

use super::munger::Munger;
use super::unwrap::nearest;
use crate::codec::vp8::{Descriptor, Numbers, Patch, PictureId};

const WIDE: u64 = 0x7fff;
const NARROW: u64 = 0x7f;

/// The picture a packet belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub descriptor: Descriptor,
    /// Of 64 bits, as its layer counts.
    pub id: Option<u64>,
}

/// How the pictures of one stretch of a source are numbered.
#[derive(Default)]
pub(super) struct Pictures {
    ids: Munger,
    /// Added to what the source says.
    tl0_index: u8,
    key_index: u8,
}

/// The numbers sent last, after which the next stretch goes on.
#[derive(Default)]
pub(super) struct LastPicture {
    next_id: Option<u64>,
    tl0_index: Option<u8>,
    key_index: Option<u8>,
    /// An id of 15 bits has been sent, so all that follow are as wide: half of them would look old.
    is_wide: bool,
}

impl Pictures {
    /// A stretch begins with picture `first`.
    pub fn start(&mut self, first: Option<&Picture>, last: &LastPicture) {
        let after = |last: Option<u8>, first: Option<u8>| match (last, first) {
            (Some(last), Some(first)) => last.wrapping_add(1).wrapping_sub(first),
            _ => 0,
        };
        let descriptor = first.map(|first| first.descriptor);
        self.tl0_index = after(last.tl0_index, descriptor.and_then(|d| d.tl0_index));
        self.key_index = after(last.key_index, descriptor.and_then(|d| d.key_index));
        match first.and_then(|first| first.id) {
            Some(id) => self.ids.start(id, last.next_id.unwrap_or(id)),
            None => self.ids.clear(),
        }
    }

    /// A picture is not forwarded: the next takes its number, if none has been sent yet.
    pub fn skip(&mut self, picture: &Picture) {
        if let Some(id) = picture.id {
            self.ids.skip(id, id + 1);
        }
    }

    /// Whether a picture has been left out before.
    pub fn has_skipped(&self, picture: &Picture) -> bool {
        let is_known = |id| !self.ids.is_started() || self.ids.map(id).is_some();
        !picture.id.is_none_or(is_known)
    }

    /// The id that a picture is sent with, now for the first time.
    pub fn forward(&mut self, picture: &Picture, last: &mut LastPicture) -> Option<u64> {
        let descriptor = &picture.descriptor;
        let id = picture.id.map(|id| self.ids.take(id).unwrap_or(id));
        last.is_wide |= descriptor.picture.is_some_and(|id| id.is_wide);
        if id.is_none_or(|id| last.next_id.is_none_or(|next| id + 1 >= next)) {
            last.next_id = id.map(|id| id + 1).or(last.next_id);
            last.tl0_index = self.tl0_index(descriptor).or(last.tl0_index);
            last.key_index = self.key_index(descriptor).or(last.key_index);
        }
        id
    }

    /// The id that a picture has, whether it was sent or not.
    pub fn id(&self, picture: &Picture) -> Option<u64> {
        picture.id.map(|id| self.ids.map(id).unwrap_or(id))
    }

    /// What stands before `payload` when its picture is sent as `id`; `None`: what stands there now.
    pub fn patch(
        &self,
        picture: &Picture,
        id: Option<u64>,
        last: &LastPicture,
        payload: &[u8],
    ) -> Option<Patch> {
        let descriptor = &picture.descriptor;
        let is_wide = last.is_wide;
        let low = id.unwrap_or(0) & if is_wide { WIDE } else { NARROW };
        let numbers = Numbers {
            picture: PictureId {
                low: low as u16,
                is_wide,
            },
            tl0_index: self.tl0_index(descriptor).unwrap_or(0),
            key_index: self.key_index(descriptor).unwrap_or(0),
        };
        descriptor.patch(payload, &numbers)
    }

    fn tl0_index(&self, descriptor: &Descriptor) -> Option<u8> {
        let index = descriptor.tl0_index?;
        Some(index.wrapping_add(self.tl0_index))
    }

    fn key_index(&self, descriptor: &Descriptor) -> Option<u8> {
        let index = descriptor.key_index?;
        Some(index.wrapping_add(self.key_index) & 0x1f)
    }
}

/// Counts the pictures of one layer in 64 bits.
#[derive(Default)]
pub(super) struct PictureIds {
    top: Option<u64>,
}

/// Ids are counted from here, so that one older than the first has a number as well.
const EPOCH: u64 = 1 << 20;

impl PictureIds {
    /// Takes note of a packet's picture.
    pub fn read(&mut self, descriptor: Descriptor) -> Picture {
        let picture = self.find(descriptor);
        self.top = self.top.max(picture.id);
        picture
    }

    /// As [`read`](Self::read), of a packet that has been read before.
    pub fn find(&self, descriptor: Descriptor) -> Picture {
        let id = descriptor.picture.map(|id| {
            let low = u64::from(id.low);
            match self.top {
                Some(top) => nearest(top, low, if id.is_wide { 15 } else { 7 }),
                None => EPOCH + low,
            }
        });
        Picture { descriptor, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of a picture with everything in its descriptor.
    fn wide(id: u16, tl0: u8, key: u8) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        vec![0x90, 0xf0, 0x80 | high, low, tl0, key, 0x00]
    }

    /// What goes out when `payloads` come in, all of one stretch.
    fn stretch(last: &mut LastPicture, payloads: &[Vec<u8>]) -> Vec<Descriptor> {
        let (mut pictures, mut ids) = (Pictures::default(), PictureIds::default());
        let mut sent = Vec::new();
        for (n, payload) in payloads.iter().enumerate() {
            let picture = ids.read(Descriptor::read(payload).unwrap());
            if n == 0 {
                pictures.start(Some(&picture), last);
            }
            let id = pictures.forward(&picture, last);
            let patch = pictures.patch(&picture, id, last, payload);
            let out = patch.map_or(payload.clone(), |patch| {
                [patch.bytes(), &payload[patch.replaced()..]].concat()
            });
            sent.push(Descriptor::read(&out).unwrap());
        }
        sent
    }

    fn ids(sent: &[Descriptor]) -> Vec<u16> {
        sent.iter().map(|d| d.picture.unwrap().low).collect()
    }

    #[test]
    fn the_first_source_keeps_its_numbers() {
        let payloads = [wide(0x7fff, 255, 31), wide(0, 0, 0)];

        let sent = stretch(&mut LastPicture::default(), &payloads);

        assert_eq!(ids(&sent), [0x7fff, 0]);
        assert_eq!(
            (sent[0].tl0_index, sent[0].key_index),
            (Some(255), Some(31))
        );
    }

    #[test]
    fn the_next_source_goes_on_after_it_in_every_number() {
        let mut last = LastPicture::default();
        stretch(&mut last, &[wide(0x7ffe, 254, 30), wide(0x7fff, 255, 31)]);

        let sent = stretch(&mut last, &[wide(17, 9, 3), wide(18, 10, 3)]);

        assert_eq!(ids(&sent), [0, 1]);
        assert_eq!((sent[0].tl0_index, sent[0].key_index), (Some(0), Some(0)));
        assert_eq!((sent[1].tl0_index, sent[1].key_index), (Some(1), Some(0)));
    }

    #[test]
    fn narrow_ids_wrap_and_after_wide_ones_are_widened() {
        let narrow = |id: u8| vec![0x90, 0x80, id, 0x00];
        let mut last = LastPicture::default();
        let alone = stretch(&mut last, &[narrow(127), narrow(0)]);
        assert_eq!(ids(&alone), [127, 0]);
        assert!(!alone[1].picture.unwrap().is_wide);

        stretch(&mut last, &[wide(500, 0, 0)]);
        let sent = stretch(&mut last, &[narrow(126), narrow(127), narrow(0)]);

        let first = ids(&sent)[0];
        assert_eq!(ids(&sent), [first, first + 1, first + 2]);
        assert!(sent.iter().all(|d| d.picture.unwrap().is_wide));
    }

    #[test]
    fn a_picture_left_out_leaves_no_gap() {
        let (mut pictures, mut ids) = (Pictures::default(), PictureIds::default());
        let mut last = LastPicture::default();
        let mut read = |id| ids.read(Descriptor::read(&wide(id, 0, 0)).unwrap());
        let (first, second, third) = (read(10), read(11), read(12));
        pictures.start(Some(&first), &last);

        let sent = pictures.forward(&first, &mut last).unwrap();
        pictures.skip(&second);
        pictures.skip(&second);

        assert!(pictures.has_skipped(&second) && !pictures.has_skipped(&third));
        assert_eq!(pictures.forward(&third, &mut last), Some(sent + 1));
    }

    #[test]
    fn an_older_picture_is_placed_where_it_was() {
        let mut ids = PictureIds::default();
        let mut read = |id| {
            ids.read(Descriptor::read(&wide(id, 0, 0)).unwrap())
                .id
                .unwrap()
        };

        let (old, new) = (read(0x7ffe), read(3));

        assert_eq!(new - old, 5);
        assert_eq!(read(0x7fff), old + 1);
    }
}
