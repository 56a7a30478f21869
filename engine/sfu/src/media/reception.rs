//! What a receiver report says of one source: loss and jitter (RFC 3550 §6.4.1, A.3, A.8).
//!
//! A report is about the path, since publishers adapt to it: a packet that only came as a
//! retransmission, on an SSRC of its own, is lost there (as libwebrtc reports it too). One that was
//! sent again as it was cannot be told from one that is late, and is received (A.3). What is missing
//! after all repair is [`Reception::lost`].

use std::time::{Duration, Instant};

use crate::rtcp::ReportBlock;

/// The last sender report of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SenderClock {
    /// NTP timestamp, 32.32 bit fixed point, of the sender's clock.
    pub ntp: u64,
    /// The RTP timestamp of the same moment, 64-bit.
    pub rtp: u64,
    pub arrived: Instant,
}

/// The middle 32 bits of an NTP timestamp: 16.16 seconds.
pub(super) fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Counts of one source since it began. Numbers are 64-bit.
#[derive(Default)]
pub(super) struct Reception {
    first: Option<u64>,
    top: u64,
    /// With their own SSRC.
    received: u64,
    /// By retransmission alone.
    repaired: u64,
    expected_before: u64,
    received_before: u64,
    /// Arrival against timestamp of the last packet in order, in clock units, and the jitter × 16.
    transit: Option<i64>,
    jitter_16: i64,
    promptest: Promptest,
}

/// The least transit of late: how packets come that nothing has delayed.
#[derive(Default)]
struct Promptest {
    /// When the present window began.
    since: Duration,
    /// In the present window, and in the one before.
    now: Option<i64>,
    before: Option<i64>,
}

/// Short enough that clocks do not run apart in it: 400 ppm are 3 ms in two of them.
const WINDOW: Duration = Duration::from_secs(4);

impl Promptest {
    fn add(&mut self, at: Duration, transit: i64) {
        let age = at.saturating_sub(self.since);
        if age > WINDOW {
            self.before = self.now.take().filter(|_| age < 2 * WINDOW);
            self.since = at;
        }
        self.now = Some(self.now.map_or(transit, |now| now.min(transit)));
    }

    fn get(&self) -> Option<i64> {
        self.now.into_iter().chain(self.before).min()
    }
}

impl Reception {
    /// A packet that was not seen before, on its own SSRC.
    pub fn on_packet(&mut self, seq: u64) {
        self.extend(seq);
        self.received += 1;
    }

    /// A packet that was not seen before, by retransmission.
    pub fn on_repair(&mut self, seq: u64) {
        self.extend(seq);
        self.repaired += 1;
    }

    /// A packet came on its own SSRC that a retransmission had brought already.
    pub fn on_original(&mut self) {
        self.repaired = self.repaired.saturating_sub(1);
        self.received += 1;
    }

    fn extend(&mut self, seq: u64) {
        let first = *self.first.get_or_insert(seq);
        // Packets that were overtaken by the first one extend the count downward.
        self.first = Some(first.min(seq));
        self.top = self.top.max(seq);
    }

    /// Takes jitter and transit from a packet that came on its own, in order or not.
    ///
    /// arrival: since any fixed moment; timestamp: 64-bit.
    pub fn on_timing(&mut self, arrival: Duration, timestamp: u64, clock_hz: u32) {
        let nanos = arrival.as_nanos() * u128::from(clock_hz);
        let transit = ((nanos / 1_000_000_000) as i64).wrapping_sub(timestamp as i64);
        self.promptest.add(arrival, transit);
        if let Some(before) = self.transit.replace(transit) {
            let change = transit.wrapping_sub(before).saturating_abs();
            self.jitter_16 += change.min(1 << 31) - ((self.jitter_16 + 8) >> 4);
        }
    }

    pub fn top(&self) -> Option<u64> {
        self.first.map(|_| self.top)
    }

    /// Missing after repair.
    pub fn lost(&self) -> u64 {
        self.missed().saturating_sub(self.repaired)
    }

    /// Missing before repair.
    fn missed(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Arrival less timestamp of the promptest packets of late, in clock units.
    pub fn transit(&self) -> Option<i64> {
        self.promptest.get()
    }

    /// In clock units.
    pub fn jitter(&self) -> u32 {
        (self.jitter_16 >> 4).clamp(0, i64::from(u32::MAX)) as u32
    }

    /// One report block, and the start of the next interval.
    pub fn report(&mut self, ssrc: u32, clock: Option<SenderClock>, now: Instant) -> ReportBlock {
        let expected = self.expected() - self.expected_before.min(self.expected());
        let received = self.received - self.received_before;
        self.expected_before = self.expected();
        self.received_before = self.received;
        let lost = expected.saturating_sub(received);
        let delay = clock.map_or(Duration::ZERO, |c| now.saturating_duration_since(c.arrived));
        ReportBlock {
            ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            cumulative_lost: self.missed().min(0x7f_ffff) as i32,
            highest_seq: self.top as u32,
            jitter: self.jitter(),
            last_sr: clock.map_or(0, |c| middle(c.ntp)),
            delay_since_last_sr: (delay.as_nanos() * 65_536 / 1_000_000_000) as u32,
        }
    }

    fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.top - first + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_counted_since_the_last_report_and_in_all() {
        let now = Instant::now();
        let mut reception = Reception::default();
        (100..200)
            .filter(|seq| seq % 4 != 0)
            .for_each(|seq| reception.on_packet(seq));

        let report = reception.report(7, None, now);
        (200..300).for_each(|seq| reception.on_packet(seq));
        let next = reception.report(7, None, now);

        // Packet 100 is lost unseen: 24 of 99.
        assert_eq!(report.cumulative_lost, 24);
        assert_eq!(report.fraction_lost, (24u32 * 256 / 99) as u8);
        assert_eq!((next.cumulative_lost, next.fraction_lost), (24, 0));
        assert_eq!(next.highest_seq, 299);
    }

    #[test]
    fn a_late_packet_is_not_lost() {
        let mut reception = Reception::default();
        for seq in [1, 2, 4, 3] {
            reception.on_packet(seq);
        }

        let report = reception.report(7, None, Instant::now());
        assert_eq!((report.cumulative_lost, report.fraction_lost), (0, 0));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn a_repaired_packet_is_lost_on_the_path_and_not_in_the_end() {
        let mut reception = Reception::default();
        [1, 2, 4]
            .into_iter()
            .for_each(|seq| reception.on_packet(seq));
        reception.on_repair(3);

        let report = reception.report(7, None, Instant::now());
        assert_eq!((report.cumulative_lost, report.fraction_lost), (1, 64));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn an_original_that_comes_after_its_repair_was_not_lost() {
        let mut reception = Reception::default();
        [1, 2, 4]
            .into_iter()
            .for_each(|seq| reception.on_packet(seq));
        reception.on_repair(3);
        reception.report(7, None, Instant::now());

        reception.on_original();

        let report = reception.report(7, None, Instant::now());
        assert_eq!((report.cumulative_lost, report.fraction_lost), (0, 0));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn the_highest_number_counts_its_cycles() {
        let mut reception = Reception::default();
        (65_530..65_546).for_each(|seq| reception.on_packet(seq));

        let report = reception.report(7, None, Instant::now());

        assert_eq!(report.highest_seq, 1 << 16 | 9);
        assert_eq!(report.cumulative_lost, 0);
    }

    #[test]
    fn jitter_settles_at_the_mean_deviation() {
        let mut reception = Reception::default();
        for n in 0..2000u64 {
            let late = if n % 2 == 0 { 0 } else { 10 };
            let arrival = Duration::from_millis(20 * n + late);
            reception.on_timing(arrival, n * 960, 48_000);
        }

        // Ten milliseconds back and forth, in units of 1/48 ms.
        assert!((470..=480).contains(&reception.jitter()));
    }

    #[test]
    fn a_report_echoes_the_sender_and_its_age() {
        let now = Instant::now();
        let clock = SenderClock {
            ntp: 0x0001_0203_0405_0607,
            rtp: 0,
            arrived: now,
        };
        let mut reception = Reception::default();
        reception.on_packet(1);

        let report = reception.report(7, Some(clock), now + Duration::from_millis(1500));

        assert_eq!(report.last_sr, 0x0203_0405);
        assert_eq!(report.delay_since_last_sr, 65_536 * 3 / 2);
    }
}
