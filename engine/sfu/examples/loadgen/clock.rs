//! One monotonic clock for the whole process, in nanoseconds since it began.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// When the process began; the first call decides.
pub fn start() -> Instant {
    *START.get_or_init(Instant::now)
}

/// `at` on the clock; what lies before the beginning is the beginning.
pub fn ns(at: Instant) -> u64 {
    at.saturating_duration_since(start()).as_nanos() as u64
}

pub fn now_ns() -> u64 {
    ns(Instant::now())
}

/// CPU time of all threads of this process so far.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
