//! Counts of durations in a fixed number of buckets, each at most a thirty-second of its value wide.

const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values of 2^32 and more share the last bucket; in microseconds that is over an hour.
const LARGEST: u64 = (1 << 32) - 1;
const BUCKETS: usize = (STEPS as usize) * (32 - STEP_BITS as usize + 1);

#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            max: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Adds all that another one has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (own, others) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *own += others;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that `share` of all values do not exceed, rounded up to its bucket's end; 0 when
    /// there are none.
    pub fn at(&self, share: f64) -> u64 {
        let rank = ((self.count as f64) * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank.max(1) {
                return end(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let value = value.min(LARGEST);
    if value < 2 * STEPS {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - STEP_BITS;
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The largest value of a bucket.
fn end(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_ends_close_above_it() {
        let mut value = 0u64;
        while value <= LARGEST {
            let end = end(bucket(value));
            assert!(value <= end && end - value <= value / 32, "{value} {end}");
            value += 1 + value / 97;
        }
        assert_eq!(bucket(LARGEST), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn shares_of_a_thousand_values_are_where_they_belong() {
        let mut histogram = Histogram::default();
        for value in 1..=1000 {
            histogram.add(value);
        }

        for (share, exact) in [(0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1000)] {
            let found = histogram.at(share);
            assert!((exact..=exact + exact / 32).contains(&found), "{found}");
        }
        assert_eq!(histogram.max(), 1000);
    }

    #[test]
    fn of_nothing_every_share_is_zero() {
        assert_eq!(Histogram::default().at(0.99), 0);
    }
}
