//! How far one client has come; written by its threads, read by whoever waits for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::clock;
use crate::sdp::Incoming;

/// Which of a client's two transports, or the one that it has for both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Publisher,
    Subscriber,
    Both,
}

/// Moments on the process's clock; 0: not yet.
#[derive(Default)]
pub struct Progress {
    began_ns: AtomicU64,
    welcomed_ns: AtomicU64,
    published_ns: AtomicU64,
    subscribed_ns: AtomicU64,
    media_ns: AtomicU64,
    /// It is to leave.
    leave: AtomicBool,
    /// Its signalling has ended.
    is_gone: AtomicBool,
    failure: Mutex<Option<String>>,
    /// What it is sent, each with the identity of who sends it.
    streams: Mutex<Vec<(String, Incoming)>>,
}

/// How long the steps of a join took, from the request on.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Steps {
    /// To the JoinResponse.
    pub welcomed: Option<Duration>,
    /// To the transports that were wanted being connected.
    pub connected: Option<Duration>,
    /// To the first media packet.
    pub media: Option<Duration>,
}

impl Progress {
    pub fn on_begin(&self, now: Instant) {
        self.began_ns.store(clock::ns(now), Relaxed);
    }

    pub fn on_welcome(&self, now: Instant) {
        self.welcomed_ns.store(clock::ns(now), Relaxed);
    }

    pub fn on_connected(&self, side: Side, now: Instant) {
        if side != Side::Subscriber {
            self.published_ns.store(clock::ns(now), Relaxed);
        }
        if side != Side::Publisher {
            self.subscribed_ns.store(clock::ns(now), Relaxed);
        }
    }

    pub fn on_media(&self, now: Instant) {
        // The first counts, whichever stream it came on.
        let _ = self
            .media_ns
            .compare_exchange(0, clock::ns(now), Relaxed, Relaxed);
    }

    pub fn fail(&self, why: &str) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Why it cannot go on, if it cannot.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().ok()?.clone()
    }

    pub fn set_streams(&self, streams: Vec<(String, Incoming)>) {
        if let Ok(mut held) = self.streams.lock() {
            *held = streams;
        }
    }

    pub fn streams(&self) -> Vec<(String, Incoming)> {
        self.streams
            .lock()
            .map_or_else(|_| Vec::new(), |held| held.clone())
    }

    pub fn leave(&self) {
        self.leave.store(true, Relaxed);
    }

    pub fn is_to_leave(&self) -> bool {
        self.leave.load(Relaxed)
    }

    pub fn on_gone(&self) {
        self.is_gone.store(true, Relaxed);
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// publishes, subscribes: which transports are wanted.
    pub fn steps(&self, publishes: bool, subscribes: bool) -> Steps {
        let began_ns = self.began_ns.load(Relaxed);
        let since = |at: &AtomicU64| {
            let at = at.load(Relaxed);
            (at != 0).then(|| Duration::from_nanos(at.saturating_sub(began_ns)))
        };
        let published = since(&self.published_ns);
        let subscribed = since(&self.subscribed_ns);
        Steps {
            welcomed: since(&self.welcomed_ns),
            connected: match (publishes, subscribes) {
                (true, true) => published.zip(subscribed).map(|(a, b)| a.max(b)),
                (true, false) => published,
                (false, _) => subscribed,
            },
            media: since(&self.media_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_connected_when_both_of_its_transports_are() {
        let start = clock::start() + Duration::from_secs(1);
        let ms = Duration::from_millis;
        let progress = Progress::default();
        progress.on_begin(start);
        progress.on_welcome(start + ms(5));
        progress.on_connected(Side::Subscriber, start + ms(20));

        assert_eq!(progress.steps(true, true).connected, None);
        assert_eq!(progress.steps(false, true).connected, Some(ms(20)));
        progress.on_connected(Side::Publisher, start + ms(30));
        progress.on_media(start + ms(40));
        progress.on_media(start + ms(50));

        let steps = progress.steps(true, true);
        assert_eq!(steps.welcomed, Some(ms(5)));
        assert_eq!(steps.connected, Some(ms(30)));
        assert_eq!(steps.media, Some(ms(40)));
    }

    #[test]
    fn a_client_with_one_transport_is_connected_when_that_is() {
        let start = clock::start() + Duration::from_secs(1);
        let progress = Progress::default();
        progress.on_begin(start);
        progress.on_connected(Side::Both, start + Duration::from_millis(7));

        let took = Some(Duration::from_millis(7));
        assert_eq!(progress.steps(true, true).connected, took);
        assert_eq!(progress.steps(false, true).connected, took);
    }

    #[test]
    fn the_first_reason_of_a_failure_is_kept() {
        let progress = Progress::default();
        progress.fail("refused");
        progress.fail("gone");

        assert_eq!(progress.failure().as_deref(), Some("refused"));
    }
}
