//! Which packets of a stream came, once, in order or late: sixteen-bit numbers counted on.

/// Packets below the highest one that are still told apart.
const WINDOW: u64 = 1024;

/// What a packet is to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Above all others; so many numbers were passed over.
    Next { skipped: u64 },
    /// One that was missing.
    Late,
    /// It came before.
    Again,
    /// Too far behind to say.
    Stale,
}

/// The numbers of one stream, continued beyond sixteen bits.
pub struct Order {
    /// The highest so far; 0: none.
    top: u64,
    seen: [u64; (WINDOW / 64) as usize],
}

impl Order {
    pub fn new() -> Order {
        Order {
            top: 0,
            seen: [0; (WINDOW / 64) as usize],
        }
    }

    /// The highest number so far; `None` before the first packet.
    pub fn top(&self) -> Option<u64> {
        (self.top != 0).then_some(self.top)
    }

    /// The number that sixteen bits of it stand for: the nearest to the highest so far.
    pub fn extend(&self, seq: u16) -> u64 {
        if self.top == 0 {
            // One round up, so that there is room below.
            return 0x1_0000 + u64::from(seq);
        }
        let step = i64::from(seq.wrapping_sub(self.top as u16) as i16);
        self.top.saturating_add_signed(step)
    }

    /// Takes note of a packet by its number.
    pub fn on_packet(&mut self, number: u64) -> Arrival {
        if number > self.top {
            let skipped = if self.top == 0 {
                0
            } else {
                number - self.top - 1
            };
            self.forget(number);
            self.mark(number);
            self.top = number;
            return Arrival::Next { skipped };
        }
        if self.top - number >= WINDOW {
            return Arrival::Stale;
        }
        let (word, bit) = place(number);
        if self.seen[word] & bit != 0 {
            return Arrival::Again;
        }
        self.mark(number);
        Arrival::Late
    }

    /// Clears the places of the numbers above the highest so far, up to `number`.
    fn forget(&mut self, number: u64) {
        if self.top == 0 || number - self.top >= WINDOW {
            self.seen = [0; (WINDOW / 64) as usize];
            return;
        }
        for passed in self.top + 1..=number {
            let (word, bit) = place(passed);
            self.seen[word] &= !bit;
        }
    }

    fn mark(&mut self, number: u64) {
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }
}

fn place(number: u64) -> (usize, u64) {
    let slot = number % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(order: &mut Order, seqs: &[u16]) -> Vec<Arrival> {
        seqs.iter()
            .map(|seq| order.on_packet(order.extend(*seq)))
            .collect()
    }

    const NEXT: Arrival = Arrival::Next { skipped: 0 };

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut order = Order::new();

        let arrivals = feed(&mut order, &[65_534, 65_535, 0, 1]);

        assert_eq!(arrivals, [NEXT; 4]);
        assert_eq!(order.top(), Some(0x2_0001));
    }

    #[test]
    fn a_gap_is_counted_and_filled_once() {
        let mut order = Order::new();

        let arrivals = feed(&mut order, &[10, 13, 11, 11, 12, 13]);

        let gap = Arrival::Next { skipped: 2 };
        use Arrival::{Again, Late};
        assert_eq!(arrivals, [NEXT, gap, Late, Again, Late, Again]);
    }

    #[test]
    fn a_packet_from_before_the_wrap_is_late_and_not_new() {
        let mut order = Order::new();

        let arrivals = feed(&mut order, &[65_533, 2, 65_535, 1]);

        assert_eq!(arrivals[1], Arrival::Next { skipped: 4 });
        assert_eq!(arrivals[2..], [Arrival::Late; 2]);
    }

    #[test]
    fn after_a_long_jump_nothing_is_left_of_the_old_numbers() {
        let mut order = Order::new();
        feed(&mut order, &[1, 2, 3]);

        let jump = 2_000;
        assert_eq!(
            feed(&mut order, &[jump, 3, jump - 1_000]),
            [
                Arrival::Next { skipped: 1_996 },
                Arrival::Stale,
                Arrival::Late
            ]
        );
    }
}
