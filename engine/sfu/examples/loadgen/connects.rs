//! The mode that joins many times, one client after the other, each until its first media packet.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clock;
use crate::crowd::{Crowd, JoinTimes};
use crate::load::seats;
use crate::options::Options;
use crate::report::{line_ms, say, steps};
use crate::seat::{Common, Seat};
use crate::trace::Layers;

/// Publishers are up for this long before the first connect is timed.
const QUIET: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(1);

pub fn run(
    options: &Options,
    count: usize,
    traces: &[Layers],
    common: &Arc<Common>,
    stop: &AtomicBool,
) -> Result<ExitCode, String> {
    let (publishers, rest) = split(seats(options, traces));
    let visitor = rest.first().ok_or("--subscribers is at least 1 here")?;
    let mut hosts = Crowd::new(publishers, common.clone());
    settle(&mut hosts, stop);
    std::thread::sleep(QUIET.max(options.warmup.min(2 * QUIET)));
    let reporter = common.reporter;
    let (began, cpu) = (Instant::now(), clock::cpu_time());
    reporter.mark("measuring");
    let mut times = JoinTimes::default();
    let mut failed = std::mem::take(&mut hosts.failed);
    for number in 0..count {
        if stop.load(Relaxed) {
            break;
        }
        let seat = Seat {
            identity: format!("visitor-{number}"),
            number: 1000 + number as u64,
            ..visitor.clone()
        };
        let mut crowd = Crowd::new(vec![seat], common.clone());
        settle(&mut crowd, stop);
        crowd.leave();
        if options.json {
            say(&json!({"type": "connected", "number": number}).to_string());
        }
        times.merge(&crowd.times);
        failed.append(&mut crowd.failed);
    }
    let took = began.elapsed();
    reporter.mark("measured");
    hosts.leave();
    let connects = times.connect.count();
    if options.json {
        say(&json!({
            "type": "summary",
            "connects": connects,
            "failed": failed,
            "duration_s": took.as_secs_f64(),
            "signalling_ms": steps(&times.signalling),
            "connect_ms": steps(&times.connect),
            "first_media_ms": steps(&times.first_media),
            "generator_cpu_s": (clock::cpu_time() - cpu).as_secs_f64(),
        })
        .to_string());
    } else {
        say(&format!(
            "{connects} connects in {:.1} s",
            took.as_secs_f64()
        ));
        say(&format!("  signalling   {}", line_ms(&times.signalling)));
        say(&format!("  connected    {}", line_ms(&times.connect)));
        say(&format!("  first media  {}", line_ms(&times.first_media)));
        failed
            .iter()
            .for_each(|why| say(&format!("  failed       {why}")));
    }
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

/// Those who publish, and the others.
fn split(seats: Vec<Seat>) -> (Vec<Seat>, Vec<Seat>) {
    seats.into_iter().partition(Seat::publishes)
}

/// Lets everybody join, or fail to.
fn settle(crowd: &mut Crowd, stop: &AtomicBool) {
    let began = Instant::now();
    while !crowd.is_settled() && !stop.load(Relaxed) {
        let now = Instant::now();
        crowd.admit(now, began, Duration::ZERO);
        crowd.look(now);
        std::thread::sleep(STEP);
    }
}
