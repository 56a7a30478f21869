//! A network that loses packets, the same ones for the same seed.

use crate::random::Random;

/// Decides for one direction of one transport.
pub struct Lane {
    random: Random,
    /// Probability that a loss begins with a packet.
    begins: f64,
    burst: u32,
    to_lose: u32,
}

impl Lane {
    /// loss: the share of packets that is lost, 0 to 1, bursts included. burst: how many in a row.
    pub fn new(loss: f64, burst: u32, random: Random) -> Lane {
        let length = f64::from(burst.max(1));
        Lane {
            random,
            begins: loss / (length - (length - 1.0) * loss),
            burst: burst.max(1),
            to_lose: 0,
        }
    }

    pub fn loses(&mut self) -> bool {
        if self.to_lose > 0 {
            self.to_lose -= 1;
            return true;
        }
        if self.random.unit() >= self.begins {
            return false;
        }
        self.to_lose = self.burst - 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_lost_is_the_one_asked_for_and_comes_in_bursts() {
        for burst in [1, 5] {
            let mut lane = Lane::new(0.02, burst, Random::new(7, 1));

            let fates: Vec<bool> = (0..200_000).map(|_| lane.loses()).collect();

            let lost = fates.iter().filter(|lost| **lost).count();
            assert!((3_600..4_400).contains(&lost), "{lost} lost, burst {burst}");
            let shortest = fates
                .split(|lost| !lost)
                .map(<[bool]>::len)
                .filter(|length| *length > 0)
                .min();
            assert_eq!(shortest, Some(burst as usize));
        }
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let fates = |seed| {
            let mut lane = Lane::new(0.1, 2, Random::new(seed, 3));
            (0..500).map(|_| lane.loses()).collect::<Vec<bool>>()
        };

        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }
}
