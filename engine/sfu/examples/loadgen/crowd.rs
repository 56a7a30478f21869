//! All clients of a run: who joins when, who has come how far, who leaves and comes back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::progress::{Progress, Steps};
use crate::random::Random;
use crate::seat::{self, Common, Seat};

/// Joins under way at once when they are not spread over a time.
const JOINING: usize = 16;
/// From its request on, a client that is not there yet will not come.
const JOIN_WITHIN: Duration = Duration::from_secs(30);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
const STACK_BYTES: usize = 256 << 10;

struct Client {
    seat: Arc<Seat>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
    /// By when it must be there; `None` once it is, or has failed, or was not begun.
    join_by: Option<Instant>,
    has_begun: bool,
    is_in: bool,
    /// It has come once, and nothing has gone wrong since.
    has_joined: bool,
    /// It is to come back.
    is_leaving: bool,
}

/// How long joins took, in microseconds.
#[derive(Default)]
pub struct JoinTimes {
    pub signalling: Histogram,
    pub connect: Histogram,
    pub first_media: Histogram,
}

pub struct Crowd {
    common: Arc<Common>,
    clients: Vec<Client>,
    pub times: JoinTimes,
    /// Why clients are not there, each with the client's name.
    pub failed: Vec<String>,
    random: Random,
}

impl Crowd {
    pub fn new(seats: Vec<Seat>, common: Arc<Common>) -> Crowd {
        let clients = seats.into_iter().map(|seat| Client {
            seat: Arc::new(seat),
            progress: Arc::default(),
            thread: None,
            join_by: None,
            has_begun: false,
            is_in: false,
            has_joined: false,
            is_leaving: false,
        });
        Crowd {
            clients: clients.collect(),
            times: JoinTimes::default(),
            failed: Vec::new(),
            random: Random::new(common.seed, u64::MAX),
            common,
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How many have joined; who left to come back is one of them.
    pub fn joined(&self) -> usize {
        let joined = self.clients.iter().filter(|client| client.has_joined);
        joined.count()
    }

    /// Whether everybody has come, or will not.
    pub fn is_settled(&self) -> bool {
        let settled = |client: &Client| client.has_begun && client.join_by.is_none();
        self.clients.iter().all(settled)
    }

    /// Lets those begin whose time has come. since: of the first; over: the time all joins take.
    pub fn admit(&mut self, now: Instant, since: Instant, over: Duration) {
        let count = self.clients.len();
        let joining = self.clients.iter().filter(|c| c.join_by.is_some()).count();
        let mut room = JOINING.saturating_sub(joining);
        for index in 0..count {
            if self.clients[index].has_begun {
                continue;
            }
            let is_due = if over.is_zero() {
                room > 0
            } else {
                since + over.mul_f64(index as f64 / count as f64) <= now
            };
            if !is_due {
                return;
            }
            room = room.saturating_sub(1);
            self.begin(index, now);
        }
    }

    fn begin(&mut self, index: usize, now: Instant) {
        let client = &mut self.clients[index];
        client.has_begun = true;
        client.is_leaving = false;
        client.progress = Arc::default();
        client.join_by = Some(now + JOIN_WITHIN);
        let (seat, progress, common) = (
            client.seat.clone(),
            client.progress.clone(),
            self.common.clone(),
        );
        let spawned = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || seat::take(&seat, &common, &progress));
        match spawned {
            Ok(thread) => client.thread = Some(thread),
            Err(error) => client.progress.fail(&format!("no thread: {error}")),
        }
    }

    /// Sees who has come, who has failed, and who has left and is to come back.
    pub fn look(&mut self, now: Instant) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.is_leaving {
                if client.progress.is_gone() {
                    self.begin(index, now);
                }
                continue;
            }
            if let Some(why) = client.progress.failure() {
                client.join_by = None;
                client.is_in = false;
                client.has_joined = false;
                if client.has_begun && client.thread.is_some() {
                    self.failed.push(format!("{}: {why}", client.seat.identity));
                    // Told once; the thread ends by itself.
                    client.progress.leave();
                    client.thread = None;
                }
                continue;
            }
            let Some(join_by) = client.join_by else {
                continue;
            };
            let seat = &client.seat;
            let steps = client.progress.steps(seat.publishes(), seat.subscribes);
            let has_come =
                steps.connected.is_some() && (steps.media.is_some() || !seat.expects_media);
            if has_come {
                client.join_by = None;
                client.is_in = true;
                client.has_joined = true;
                self.times.add(&steps);
            } else if now > join_by {
                client.progress.fail(stuck(&steps));
            }
        }
    }

    /// Lets one client at random leave and come back.
    pub fn churn(&mut self) {
        let index = self.random.below(self.clients.len().max(1));
        if let Some(client) = self.clients.get_mut(index).filter(|client| client.is_in) {
            client.is_in = false;
            client.is_leaving = true;
            client.progress.leave();
        }
    }

    /// Everybody leaves; returns when they have, or should have.
    pub fn leave(&mut self) {
        for client in &self.clients {
            client.progress.leave();
        }
        let deadline = Instant::now() + LEAVE_WITHIN + self.common.patience;
        let is_here = |client: &Client| client.thread.is_some() && !client.progress.is_gone();
        while self.clients.iter().any(is_here) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl JoinTimes {
    /// Adds those of another crowd.
    pub fn merge(&mut self, other: &JoinTimes) {
        self.signalling.merge(&other.signalling);
        self.connect.merge(&other.connect);
        self.first_media.merge(&other.first_media);
    }

    fn add(&mut self, steps: &Steps) {
        let into = |histogram: &mut Histogram, step: Option<Duration>| {
            if let Some(step) = step {
                histogram.add(step.as_micros() as u64);
            }
        };
        into(&mut self.signalling, steps.welcomed);
        into(&mut self.connect, steps.connected);
        into(&mut self.first_media, steps.media);
    }
}

fn stuck(steps: &Steps) -> &'static str {
    match (steps.welcomed, steps.connected) {
        (None, _) => "no JoinResponse came",
        (_, None) => "it did not connect",
        _ => "no media came",
    }
}
