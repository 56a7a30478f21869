//! What a consumer has forwarded in one piece, between two changes of what it forwards.
//!
//! The last few are remembered with how they were numbered: what a peer asks for again, or still lacks,
//! may be of a stream that has been left since.

use super::munger::Munger;
use super::pictures::Pictures;
use crate::spec::ProducerId;

/// One layer of a producer, by the producer's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Feed {
    pub producer: usize,
    pub layer: u8,
}

/// What tells the packets of a feed from those that bear their numbers later: keys are used again, and
/// a layer may come to be sent by another SSRC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stream {
    pub producer: ProducerId,
    /// Of the layer, counted by its producer.
    pub epoch: u32,
}

pub(super) struct Era {
    /// 0: none.
    pub number: u16,
    pub feed: Feed,
    pub stream: Stream,
    /// The packet of the source it began with.
    pub began_with: u64,
    pub numbers: Munger,
    pub pictures: Pictures,
    /// Added to the source's timestamps.
    pub time_shift: u64,
}

/// Changes within the memory of a peer's questions, which is a second or so.
const REMEMBERED: usize = 4;

pub(super) struct Eras {
    eras: [Era; REMEMBERED],
    /// Where the present one stands.
    place: usize,
}

impl Eras {
    /// first_seq: what the first packet of the first will bear.
    pub fn new(first_seq: u64) -> Self {
        let mut eras = Eras {
            eras: std::array::from_fn(|_| Era {
                number: 0,
                feed: Feed {
                    producer: usize::MAX,
                    layer: 0,
                },
                stream: Stream {
                    producer: ProducerId(0),
                    epoch: 0,
                },
                began_with: 0,
                numbers: Munger::default(),
                pictures: Pictures::default(),
                time_shift: 0,
            }),
            place: 0,
        };
        eras.now_mut().numbers.start(0, first_seq);
        eras
    }

    /// Another begins, in the place of the oldest. Its numbers go on after those of the one before;
    /// pictures and time are still to be set.
    pub fn begin(&mut self, feed: Feed, stream: Stream, seq: u64) -> &mut Era {
        let (number, next_out) = (self.now().number, self.now().numbers.next_out());
        self.place = (self.place + 1) % REMEMBERED;
        let era = &mut self.eras[self.place];
        era.number = number.checked_add(1).unwrap_or(1);
        era.feed = feed;
        era.stream = stream;
        era.began_with = seq;
        era.numbers.start(seq, next_out);
        era
    }

    pub fn now(&self) -> &Era {
        &self.eras[self.place]
    }

    pub fn now_mut(&mut self) -> &mut Era {
        &mut self.eras[self.place]
    }

    pub fn find(&self, number: u16) -> Option<&Era> {
        self.eras
            .iter()
            .find(|era| era.number == number && number != 0)
    }

    /// The era, and the packet of its source, that `out` was given to.
    pub fn owner(&self, out: u64) -> Option<(&Era, u64)> {
        let begun = self.eras.iter().filter(|era| era.number != 0);
        begun
            .filter_map(|era| Some((era, era.numbers.input(out)?)))
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(eras: &mut Eras, layer: u8, seq: u64) {
        let feed = Feed { producer: 1, layer };
        let stream = Stream {
            producer: ProducerId(7),
            epoch: 0,
        };
        eras.begin(feed, stream, seq);
    }

    #[test]
    fn numbers_go_on_from_one_to_the_next_and_lead_back() {
        let mut eras = Eras::new(500);
        begin(&mut eras, 0, 10);
        assert_eq!(eras.now_mut().numbers.take(10), Some(500));
        assert_eq!(eras.now_mut().numbers.take(12), Some(502));
        begin(&mut eras, 1, 9000);
        assert_eq!(eras.now_mut().numbers.take(9000), Some(503));

        let owner = |out| eras.owner(out).map(|(era, seq)| (era.feed.layer, seq));

        assert_eq!(owner(499), None);
        assert_eq!(owner(501), Some((0, 11)));
        assert_eq!(owner(503), Some((1, 9000)));
        assert_eq!(owner(504), None);
    }

    #[test]
    fn the_last_four_are_remembered() {
        let mut eras = Eras::new(500);
        for n in 0..5 {
            begin(&mut eras, n, 10);
            eras.now_mut().numbers.take(10);
        }

        assert!(eras.find(1).is_none() && eras.find(0).is_none());
        assert_eq!(eras.find(2).map(|era| era.feed.layer), Some(1));
        assert_eq!(eras.now().number, 5);
    }
}
