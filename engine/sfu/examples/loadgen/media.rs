//! The one thread that owns every socket: what arrives, what is due, and what it is told to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver as Commands, Sender as CommandSender, SyncSender, channel, sync_channel,
};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parley_sfu::rtcp::ReportBlock;
use rustc_hash::FxHashMap;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use slab::Slab;

use crate::channels::DataSource;
use crate::histogram::Histogram;
use crate::recorder::Recorder;
use crate::sdp::Incoming;
use crate::sender::SenderSpec;
use crate::tally::{Ledgers, Look, Streams, Totals};
use crate::transport::{Transport, TransportId};

/// How often the transports' timers are looked at: well under the first wait of a NACK.
const TICK: Duration = Duration::from_millis(5);
const EVENTS: usize = 256;
/// The epoll mark of the eventfd that tells of commands.
const WAKE: u64 = u64::MAX;

/// What the thread is told to do.
pub enum Command {
    Open(Box<Transport>),
    /// The streams the server sends on a transport, all of them.
    Receive(TransportId, Vec<Incoming>),
    SendTrack(TransportId, Box<SenderSpec>),
    SendData(TransportId, DataSource),
    Close(TransportId),
    /// Count from now on.
    Rebase,
    Look(SyncSender<Look>),
    Record(Recorder),
    TakeRecorder(SyncSender<Option<Recorder>>),
    AskForKeyframes,
    Stop,
}

/// What all transports share while something is done with one.
pub struct World {
    pub now: Instant,
    pub totals: Totals,
    pub recent_us: Histogram,
    pub ledgers: Ledgers,
    /// Whether missing packets are asked for.
    pub asks: bool,
    pub recorder: Option<Recorder>,
    /// Tracks whose next packet has become due earlier.
    pub hurried: Vec<(TransportId, usize)>,
    /// For a received datagram, for a sent one, and for lists under construction.
    pub buf: Vec<u8>,
    pub packet: Box<[u8; 1600]>,
    pub ask: Vec<u16>,
    pub reports: Vec<ReportBlock>,
}

/// The way to the thread, for any other.
#[derive(Clone)]
pub struct Media {
    commands: CommandSender<Command>,
    wake: Arc<OwnedFd>,
}

impl Media {
    /// Starts the thread. asks: whether its clients ask for missing packets. spins: it never sleeps.
    /// On loopback the sender of a datagram wakes its receiver, which no sender to another machine has
    /// to do; and no latency is then that of waking up.
    pub fn start(asks: bool, spins: bool) -> Result<(Media, JoinHandle<()>), String> {
        let failed = |error: rustix::io::Errno| error.to_string();
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(failed)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        let wake = Arc::new(wake);
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN).map_err(failed)?;
        let (commands, queue) = channel();
        let thread = Thread::new(epoll, wake.clone(), queue, asks, spins);
        let handle = std::thread::Builder::new()
            .name("media".into())
            .spawn(move || thread.run())
            .map_err(|error| error.to_string())?;
        Ok((Media { commands, wake }, handle))
    }

    /// Tells the thread; after its end nobody listens, which is as good.
    pub fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    /// The moment's sums; `None` after the thread's end.
    pub fn look(&self) -> Option<Look> {
        let (answer, asked) = sync_channel(1);
        self.tell(Command::Look(answer));
        asked.recv().ok()
    }

    pub fn take_recorder(&self) -> Option<Recorder> {
        let (answer, asked) = sync_channel(1);
        self.tell(Command::TakeRecorder(answer));
        asked.recv().ok()?
    }
}

/// What is due on a transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Track(usize),
    Data,
}

struct Thread {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    queue: Commands<Command>,
    transports: Slab<Transport>,
    places: FxHashMap<TransportId, usize>,
    due: BinaryHeap<Reverse<(Instant, TransportId, Due)>>,
    next_tick: Instant,
    /// Whether it looks again at once instead of sleeping.
    spins: bool,
    is_over: bool,
    world: World,
}

impl Thread {
    fn new(
        epoll: OwnedFd,
        wake: Arc<OwnedFd>,
        queue: Commands<Command>,
        asks: bool,
        spins: bool,
    ) -> Thread {
        let now = Instant::now();
        Thread {
            epoll,
            wake,
            queue,
            transports: Slab::new(),
            places: FxHashMap::default(),
            due: BinaryHeap::new(),
            next_tick: now,
            spins,
            is_over: false,
            world: World {
                now,
                totals: Totals::default(),
                recent_us: Histogram::default(),
                ledgers: Ledgers::default(),
                asks,
                recorder: None,
                hurried: Vec::new(),
                buf: vec![0; 2048],
                packet: Box::new([0; 1600]),
                ask: Vec::new(),
                reports: Vec::new(),
            },
        }
    }

    fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        while !self.is_over {
            let timeout = self.patience();
            // Interrupted by a signal, it looks again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
            self.world.now = Instant::now();
            let mut is_told = false;
            for event in events.drain(..) {
                let mark = event.data.u64();
                if mark == WAKE {
                    is_told = true;
                } else if let Some(transport) = self.transports.get_mut(mark as usize) {
                    transport.on_readable(&mut self.world);
                }
            }
            self.reschedule();
            self.send_due();
            if self.next_tick <= self.world.now {
                self.next_tick = self.world.now + TICK;
                for (_, transport) in &mut self.transports {
                    transport.on_tick(&mut self.world);
                }
            }
            // Last, since a place that is given up must not be taken while events still name it.
            if is_told {
                self.obey();
            }
        }
    }

    /// How long there is nothing to do.
    fn patience(&self) -> rustix::time::Timespec {
        if self.spins {
            return rustix::time::Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
        }
        let first = self
            .due
            .peek()
            .map_or(self.next_tick, |Reverse((at, ..))| *at);
        let wait = first
            .min(self.next_tick)
            .saturating_duration_since(Instant::now());
        rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_nanos() as i64,
        }
    }

    fn send_due(&mut self) {
        while let Some(Reverse((at, id, what))) = self.due.peek().copied() {
            if at > self.world.now {
                return;
            }
            self.due.pop();
            let Some(transport) = self
                .places
                .get(&id)
                .map(|place| &mut self.transports[*place])
            else {
                continue;
            };
            let next = match what {
                // A track that was hurried has a second entry, which is passed over.
                Due::Track(index) if transport.senders[index].due != at => continue,
                Due::Track(index) => transport.send_due(index, &mut self.world),
                Due::Data => transport.send_data_due(&mut self.world),
            };
            if let Some(next) = next {
                self.due.push(Reverse((next, id, what)));
            }
        }
    }

    fn reschedule(&mut self) {
        while let Some((id, index)) = self.world.hurried.pop() {
            if let Some(place) = self.places.get(&id) {
                let at = self.transports[*place].senders[index].due;
                self.due.push(Reverse((at, id, Due::Track(index))));
            }
        }
    }

    fn obey(&mut self) {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        while let Ok(command) = self.queue.try_recv() {
            match command {
                Command::Open(transport) => self.open(*transport),
                Command::Receive(id, incoming) => {
                    self.with(id, |transport, world| transport.receive(incoming, world));
                }
                Command::SendTrack(id, spec) => {
                    let begin = spec.begin;
                    let mut index = 0;
                    self.with(id, |transport, world| {
                        index = transport.senders.len();
                        transport.send_track(*spec, world);
                    });
                    self.due.push(Reverse((begin, id, Due::Track(index))));
                }
                Command::SendData(id, source) => {
                    let begin = source.due;
                    self.with(id, |transport, _| {
                        transport.channels().source = Some(source)
                    });
                    self.due.push(Reverse((begin, id, Due::Data)));
                }
                Command::Close(id) => self.close(id),
                Command::Rebase => self.rebase(),
                Command::Look(answer) => {
                    let _ = answer.send(self.look());
                }
                Command::Record(recorder) => self.world.recorder = Some(recorder),
                Command::TakeRecorder(answer) => {
                    let _ = answer.send(self.world.recorder.take());
                }
                Command::AskForKeyframes => {
                    for (_, transport) in &mut self.transports {
                        transport.ask_for_keyframes(&mut self.world);
                    }
                }
                Command::Stop => {
                    let ids: Vec<TransportId> = self.places.keys().copied().collect();
                    ids.into_iter().for_each(|id| self.close(id));
                    self.is_over = true;
                }
            }
        }
    }

    fn with(&mut self, id: TransportId, act: impl FnOnce(&mut Transport, &mut World)) {
        if let Some(place) = self.places.get(&id) {
            act(&mut self.transports[*place], &mut self.world);
        }
    }

    fn open(&mut self, transport: Transport) {
        let id = transport.id;
        let place = self.transports.insert(transport);
        let data = EventData::new_u64(place as u64);
        let socket = self.transports[place].socket();
        match epoll::add(&self.epoll, socket, data, EventFlags::IN) {
            Ok(()) => {
                self.places.insert(id, place);
            }
            Err(_) => self
                .transports
                .remove(place)
                .end("its socket cannot be watched"),
        }
    }

    fn close(&mut self, id: TransportId) {
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        let mut transport = self.transports.remove(place);
        transport.close(&mut self.world);
        for sender in &transport.senders {
            self.world.ledgers.remove(&sender.stream());
        }
        // Closing the socket, as dropping it does, takes it out of the epoll.
    }

    fn rebase(&mut self) {
        self.world.totals = Totals::default();
        self.world.recent_us = Histogram::default();
        for (_, transport) in &mut self.transports {
            transport.rebase();
        }
    }

    fn look(&mut self) -> Look {
        let now = self.world.now;
        let totals = self.world.totals.clone();
        let mut look = Look {
            expected: totals.expected,
            lost: totals.expected.saturating_sub(totals.received),
            recent_us: std::mem::take(&mut self.world.recent_us),
            keyframe_requests_of_one: 0,
            keyframe_requests_in_a_second: 0,
            ports: Vec::new(),
            streams: Streams::default(),
            totals,
        };
        for (_, transport) in &mut self.transports {
            transport.add_to(&mut look, now);
        }
        look
    }
}
