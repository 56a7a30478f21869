//! The load itself: rooms are filled, warmed up, measured, emptied.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::clock;
use crate::crowd::Crowd;
use crate::drops;
use crate::media::Command;
use crate::options::Options;
use crate::report::{Reporter, Summary};
use crate::seat::{Common, DataPlan, Seat};
use crate::tally::Look;
use crate::trace::Layers;

const STEP: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);

/// Runs a load to its end, or until `stop` is set. The status is 1 when clients could not join.
pub fn run(
    options: &Options,
    traces: &[Layers],
    common: Arc<Common>,
    stop: &AtomicBool,
) -> Result<ExitCode, String> {
    let seats = seats(options, traces);
    let crowd = Crowd::new(seats, common.clone());
    let reporter = common.reporter;
    let mut run = Run {
        options,
        common,
        crowd,
        reporter,
        stop,
        since: Instant::now(),
        before: Look::default(),
        next_second: None,
        next_churn: None,
    };
    run.join();
    run.warm_up();
    run.measure();
    run.crowd.leave();
    Ok(ExitCode::from(u8::from(!run.crowd.failed.is_empty())))
}

struct Run<'a> {
    options: &'a Options,
    common: Arc<Common>,
    crowd: Crowd,
    reporter: Reporter,
    stop: &'a AtomicBool,
    /// When everybody had joined.
    since: Instant,
    /// What the last line was about.
    before: Look,
    next_second: Option<Instant>,
    next_churn: Option<Instant>,
}

impl Run<'_> {
    fn join(&mut self) {
        let began = Instant::now();
        while !self.crowd.is_settled() && !self.stop.load(Relaxed) {
            let now = Instant::now();
            self.crowd.admit(now, began, self.options.join_over);
            self.crowd.look(now);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.since = Instant::now();
        self.next_second = Some(self.since + SECOND);
        self.next_churn = (!self.options.churn.is_zero()).then(|| self.since + self.options.churn);
        self.reporter
            .started(&self.crowd, (self.since - began).as_secs_f64());
        self.before = self.common.media.look().unwrap_or_default();
    }

    fn warm_up(&mut self) {
        self.pass(self.since + self.options.warmup);
    }

    fn measure(&mut self) {
        let media = self.common.media.clone();
        media.tell(Command::Rebase);
        let first = media.look().unwrap_or_default();
        let (began, cpu) = (Instant::now(), clock::cpu_time());
        let drops = drops::count(&first.ports);
        self.reporter.mark("measuring");
        self.before = first;
        self.next_second = Some(began + SECOND);
        self.pass(began + self.options.duration);
        let look = media.look().unwrap_or_default();
        let (duration, cpu) = (began.elapsed(), clock::cpu_time() - cpu);
        self.reporter.mark("measured");
        let dropped = drops::count(&look.ports).zip(drops);
        self.crowd.look(Instant::now());
        let summary = Summary {
            crowd: &self.crowd,
            rooms: self.options.rooms,
            look: &look,
            duration,
            cpu,
            receive_drops: dropped.map(|(after, before)| after.saturating_sub(before)),
        };
        summary.say(self.options.json);
    }

    /// Lets the load run until then, telling of each second.
    fn pass(&mut self, until: Instant) {
        while !self.stop.load(Relaxed) {
            let now = Instant::now();
            self.crowd.look(now);
            if let Some(at) = self.next_churn.filter(|at| *at <= now) {
                self.next_churn = Some(at + self.options.churn);
                self.crowd.churn();
            }
            if let Some(at) = self.next_second.filter(|at| *at <= now) {
                self.next_second = Some(at + SECOND);
                self.tell_second(now);
            }
            if now >= until {
                return;
            }
            std::thread::sleep(STEP.min(until - now));
        }
    }

    fn tell_second(&mut self, now: Instant) {
        if let Some(look) = self.common.media.look() {
            let t = (now - self.since).as_secs_f64();
            self.reporter.second(t, &self.before, &look);
            self.before = look;
        }
    }
}

/// Publishers come first, room by room, then those who only receive.
pub fn seats(options: &Options, traces: &[Layers]) -> Vec<Seat> {
    let data = options.has_data().then(|| DataPlan {
        reliable: options.data_reliable,
        bytes: options.data_bytes,
        every: Duration::from_secs_f64(1.0 / options.data_rate),
    });
    let tracks: Vec<Layers> = (0..options.streams).flat_map(|_| traces.to_vec()).collect();
    let has_media = !tracks.is_empty();
    let mut seats = Vec::new();
    for is_publisher in [true, false] {
        for room in 0..options.rooms {
            let count = if is_publisher {
                options.publishers
            } else {
                options.subscribers
            };
            let others = options.publishers.saturating_sub(usize::from(is_publisher));
            let subscribes = !(is_publisher && options.publishers_only_send);
            for index in 0..count {
                let part = if is_publisher {
                    "publisher"
                } else {
                    "subscriber"
                };
                seats.push(Seat {
                    identity: format!("{part}-{room}-{index}"),
                    room: room_name(options, room),
                    publishes: if is_publisher {
                        tracks.clone()
                    } else {
                        Vec::new()
                    },
                    data: data.filter(|_| is_publisher),
                    subscribes,
                    expects_media: subscribes && has_media && others > 0,
                    publishers: options.publishers,
                    number: seats.len() as u64,
                });
            }
        }
    }
    seats
}

fn room_name(options: &Options, index: usize) -> String {
    if options.rooms == 1 {
        options.room.clone()
    } else {
        format!("{}-{index}", options.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Kind;
    use crate::trace::{Trace, TracePacket};

    #[test]
    fn every_room_has_its_publishers_and_they_come_first() {
        let options = "--rooms 2 --publishers 2 --subscribers 1 --streams 3";
        let options = Options::parse(options.split(' ')).unwrap();
        let packet = TracePacket::new(20_000, 960, false, &[0; 80], 4);
        let trace = Trace::new(Kind::Audio, String::new(), vec![packet]).unwrap();

        let seats = seats(&options, &[vec![Arc::new(trace)]]);

        let names: Vec<&str> = seats.iter().map(|seat| seat.identity.as_str()).collect();
        assert_eq!(
            names[..3],
            ["publisher-0-0", "publisher-0-1", "publisher-1-0"]
        );
        assert_eq!(names[4..], ["subscriber-0-0", "subscriber-1-0"]);
        assert_eq!(seats[5].room, "load-1");
        assert_eq!(seats[0].publishes.len(), 3);
        assert!(seats.iter().all(|seat| seat.expects_media));
        assert!(!seats[4].publishes());
    }

    #[test]
    fn a_publisher_alone_expects_nobodys_media() {
        let options = Options::parse(["--subscribers", "0", "--room", "here"]).unwrap();
        let packet = TracePacket::new(20_000, 960, false, &[0; 80], 4);
        let trace = Trace::new(Kind::Audio, String::new(), vec![packet]).unwrap();

        let seats = seats(&options, &[vec![Arc::new(trace)]]);

        assert_eq!(seats.len(), 1);
        assert_eq!(seats[0].room, "here");
        assert!(!seats[0].expects_media);
    }
}
