//! The two queues between the caller and a shard, and the wake-ups that go with them.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;
use rustc_hash::FxHashMap;

use crate::census::Census;
use crate::command::Command;
use crate::data::ChannelShared;
use crate::error::Error;
use crate::event::Event;
use crate::media::{MediaEvent, Subject};
use crate::net::sys::EventFd;

/// Both directions of one shard.
pub(crate) struct Port {
    commands: ArrayQueue<Command>,
    /// The shard is, or is about to be, asleep: whoever pushes must wake it.
    parked: AtomicBool,
    /// A stalled channel was drained: the shard looks through its stalled channels.
    resume: AtomicBool,
    stop: AtomicBool,
    /// The shard's thread is over, asked or not.
    ended: AtomicBool,
    pub wake: EventFd,
    pub mailbox: Mailbox,
    /// Ids of every kind come from here, so no two objects of a process share one.
    next_id: AtomicU64,
    pub census: Census,
}

impl Port {
    pub fn new(commands: usize, events: usize) -> std::io::Result<Port> {
        Ok(Port {
            commands: ArrayQueue::new(commands),
            parked: AtomicBool::new(false),
            resume: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            wake: EventFd::new()?,
            mailbox: Mailbox::new(events)?,
            next_id: AtomicU64::new(1),
            census: Census::default(),
        })
    }

    pub fn mint(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether as many more commands fit; the caller is the only one who adds any.
    pub fn has_room(&self, commands: usize) -> bool {
        self.commands.capacity() - self.commands.len() >= commands
    }

    /// Refuses as `send` would now: `Closed` when nobody works here any more, `Busy` when it is full.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        if !self.has_room(1) {
            return Err(Error::Busy {
                limit: self.commands.capacity(),
            });
        }
        Ok(())
    }

    pub fn send(&self, command: Command) -> Result<(), Error> {
        self.check()?;
        if self.commands.push(command).is_err() {
            return Err(Error::Busy {
                limit: self.commands.capacity(),
            });
        }
        self.rouse();
        Ok(())
    }

    /// Asks the shard to end, whatever its queue holds.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.ring();
    }

    /// Asks the shard to read its stalled channels again.
    pub fn resume(&self) {
        self.resume.store(true, Ordering::SeqCst);
        self.rouse();
    }

    /// The shard's thread says that it is over.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn rouse(&self) {
        if self.parked.swap(false, Ordering::SeqCst) {
            self.wake.ring();
        }
    }

    pub fn next_command(&self) -> Option<Command> {
        self.commands.pop()
    }

    pub fn take_resume(&self) -> bool {
        self.resume.load(Ordering::Relaxed) && self.resume.swap(false, Ordering::SeqCst)
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The shard says that it is going to sleep. False: something came in between; do not sleep.
    pub fn park(&self) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        let idle = self.commands.is_empty()
            && !self.resume.load(Ordering::SeqCst)
            && !self.stop.load(Ordering::SeqCst);
        if !idle {
            self.parked.store(false, Ordering::SeqCst);
        }
        idle
    }

    pub fn unpark(&self) {
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// What waits in a mailbox: an event, or the promise of a channel's next message or of the latest fact
/// about something.
enum Posted {
    Event(Event),
    Message(Arc<ChannelShared>),
    Latest(Subject),
}

/// Events on their way to the caller, with one descriptor that tells when to look.
pub(crate) struct Mailbox {
    queue: ArrayQueue<Posted>,
    fd: EventFd,
    /// The descriptor is readable already.
    rung: AtomicBool,
    /// Facts of which only the latest counts, one for each subject. Locked for each of them, which is
    /// when a layer changes, and never for a packet.
    latest: Mutex<FxHashMap<Subject, MediaEvent>>,
    /// Some of them have found no room in the queue.
    has_stray: AtomicBool,
    /// Messages were kept back because the queue was half full.
    starved: AtomicBool,
    lost: AtomicU64,
}

impl Mailbox {
    fn new(capacity: usize) -> std::io::Result<Mailbox> {
        Ok(Mailbox {
            queue: ArrayQueue::new(capacity),
            fd: EventFd::new()?,
            rung: AtomicBool::new(false),
            latest: Mutex::default(),
            has_stray: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    pub fn fd(&self) -> std::os::fd::RawFd {
        self.fd.raw()
    }

    /// Adds an event; [`ring`](Self::ring) tells the caller, once for many.
    pub fn post(&self, event: Event) {
        if self.queue.push(Posted::Event(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds what the media side tells. A fact of which only the latest counts takes the place of one
    /// that waits, and is not lost when the queue is full.
    pub fn post_media(&self, event: MediaEvent) {
        let Some(subject) = event.subject() else {
            return self.post(Event::Media(event));
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.entry(subject) {
            Entry::Occupied(mut waiting) => {
                waiting.insert(event);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(event);
                if self.queue.push(Posted::Latest(subject)).is_err() {
                    self.has_stray.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    fn take_latest(&self, subject: Subject) -> Option<MediaEvent> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.remove(&subject)
    }

    /// Takes facts that have no place in the queue, at most `limit`.
    fn take_stray(&self, limit: usize, out: &mut Vec<Event>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let subjects: Vec<Subject> = latest.keys().take(limit).copied().collect();
        let facts = subjects.iter().filter_map(|subject| latest.remove(subject));
        out.extend(facts.map(Event::Media));
        self.has_stray.store(!latest.is_empty(), Ordering::SeqCst);
    }

    /// Adds the token of one message that stands in the channel's inbox.
    pub fn post_message(&self, channel: Arc<ChannelShared>) {
        if self.queue.push(Posted::Message(channel)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Messages may fill half of the queue; the rest is kept for life-cycle events. A no is
    /// remembered, and [`drain`](Self::drain) tells when it has become a yes.
    pub fn takes_messages(&self) -> bool {
        let room = self.queue.len() < self.queue.capacity() / 2;
        if !room {
            self.starved.store(true, Ordering::SeqCst);
        }
        room
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.lost.load(Ordering::Relaxed) == 0
            && !self.has_stray.load(Ordering::SeqCst)
    }

    /// Makes the descriptor readable if anything waits.
    pub fn ring(&self) {
        if !self.is_empty() && !self.rung.swap(true, Ordering::SeqCst) {
            self.fd.ring();
        }
    }

    /// Takes up to `limit` events, oldest first, and arms the descriptor again. When more wait, the
    /// descriptor is left readable. The second value asks for stalled channels to be resumed.
    pub fn drain(&self, limit: usize, out: &mut Vec<Event>) -> bool {
        self.fd.reset();
        self.rung.store(false, Ordering::SeqCst);
        let mut resume = false;
        let before = out.len();
        for _ in 0..limit {
            match self.queue.pop() {
                Some(Posted::Event(event)) => out.push(event),
                Some(Posted::Message(channel)) => {
                    let (message, drained) = channel.collect();
                    resume |= drained;
                    if let Some((data, text)) = message {
                        out.push(Event::ChannelMessage {
                            channel: channel.id,
                            data,
                            text,
                        });
                    }
                }
                Some(Posted::Latest(subject)) => {
                    out.extend(self.take_latest(subject).map(Event::Media));
                }
                None => break,
            }
        }
        if self.queue.is_empty() {
            if self.has_stray.load(Ordering::SeqCst) {
                self.take_stray(limit.saturating_sub(out.len() - before), out);
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                out.push(Event::Overflow { shard: 0, lost });
            }
        }
        if self.starved.load(Ordering::SeqCst) && self.queue.len() < self.queue.capacity() / 4 {
            self.starved.store(false, Ordering::SeqCst);
            resume = true;
        }
        self.ring();
        resume
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::command::{ChannelId, Hear, RequestId};
    use crate::data::Channel;
    use crate::spec::{ConsumerId, TransportId};

    fn done(n: u64) -> Event {
        Event::Done {
            request: RequestId(n),
            result: Ok(()),
        }
    }

    fn readable(mailbox: &Mailbox) -> bool {
        let mut poll = libc::pollfd {
            fd: mailbox.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        crate::net::sys::poll_now(&mut poll)
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_events_wait() {
        let port = Port::new(16, 64).unwrap();
        let mut out = Vec::new();
        assert!(!readable(&port.mailbox));

        (0..10).for_each(|n| port.mailbox.post(done(n)));
        port.mailbox.ring();
        assert!(readable(&port.mailbox));
        port.mailbox.drain(6, &mut out);
        assert!(readable(&port.mailbox));
        port.mailbox.drain(6, &mut out);
        assert!(!readable(&port.mailbox));

        assert_eq!(out.len(), 10);
        port.mailbox.post(done(10));
        port.mailbox.ring();
        assert!(readable(&port.mailbox));
    }

    #[test]
    fn events_that_found_no_room_are_owned_up_to() {
        let port = Port::new(16, 64).unwrap();
        (0..70).for_each(|n| port.mailbox.post(done(n)));
        let mut out = Vec::new();

        port.mailbox.drain(512, &mut out);

        assert_eq!(out.len(), 65);
        assert!(matches!(
            out.last(),
            Some(Event::Overflow { shard: 0, lost: 6 })
        ));
    }

    fn layer(consumer: u64, layer: u8) -> MediaEvent {
        MediaEvent::ConsumerLayer {
            consumer: ConsumerId(consumer),
            layer: Some(layer),
        }
    }

    fn layers(events: &[Event]) -> Vec<MediaEvent> {
        let facts = events.iter().filter_map(|event| match event {
            Event::Media(event) => Some(event.clone()),
            _ => None,
        });
        facts.collect()
    }

    #[test]
    fn of_facts_about_one_thing_only_the_latest_is_told() {
        let port = Port::new(16, 64).unwrap();
        for n in 0..200 {
            port.mailbox.post_media(layer(1, n % 3));
            port.mailbox.post_media(layer(2, 7));
        }
        let mut out = Vec::new();

        port.mailbox.drain(512, &mut out);
        port.mailbox.post_media(layer(1, 0));
        port.mailbox.drain(512, &mut out);

        assert_eq!(layers(&out), [layer(1, 1), layer(2, 7), layer(1, 0)]);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_fact_that_finds_no_room_is_told_after_what_did() {
        let port = Port::new(16, 64).unwrap();
        (0..64).for_each(|n| port.mailbox.post(done(n)));
        (0..10).for_each(|n| port.mailbox.post_media(layer(n, 0)));
        port.mailbox.post_media(layer(3, 1));
        let (mut first, mut rest) = (Vec::new(), Vec::new());

        port.mailbox.drain(68, &mut first);
        assert!(readable(&port.mailbox));
        port.mailbox.drain(68, &mut rest);

        assert_eq!((first.len(), rest.len()), (68, 6));
        let told = [layers(&first), layers(&rest)].concat();
        assert!(told.contains(&layer(3, 1)) && !told.contains(&layer(3, 0)));
        assert!(!readable(&port.mailbox));
    }

    #[test]
    fn a_full_command_queue_refuses_and_says_how_long_it_is() {
        let port = Port::new(16, 64).unwrap();
        let close = || Command::Close {
            transport: TransportId(1),
        };
        for _ in 0..16 {
            assert!(port.has_room(1));
            port.send(close()).unwrap();
        }

        assert!(!port.has_room(1));
        let refused = port.send(close()).unwrap_err();
        assert_eq!(refused.to_string(), "engine busy: 16 commands are waiting");
        port.stop();
        assert!(matches!(port.send(close()), Err(Error::Closed)));
    }

    /// Every message that is kept is told exactly once, whatever was dropped and whenever the caller
    /// listened.
    #[test]
    fn listening_late_stopping_and_dropping_lose_no_kept_message() {
        let port = Arc::new(Port::new(16, 1024).unwrap());
        let shared = Arc::new(ChannelShared::new(
            ChannelId(1),
            TransportId(1),
            false,
            5 * 74,
            Arc::default(),
        ));
        let channel = Channel {
            shared: shared.clone(),
            port: port.clone(),
        };
        let deliver = |n: u8| {
            let (delivery, dropped) = shared.deliver(Bytes::copy_from_slice(&[n; 10]), false);
            if delivery == crate::data::Delivery::Token {
                port.mailbox.post_message(shared.clone());
            }
            dropped
        };
        let told = || {
            let mut out = Vec::new();
            port.mailbox.drain(512, &mut out);
            out.iter()
                .map(|event| match event {
                    Event::ChannelMessage { data, .. } => data[0],
                    other => panic!("unexpected {other:?}"),
                })
                .collect::<Vec<u8>>()
        };

        let dropped: usize = (0..8).map(deliver).sum();
        assert_eq!(dropped, 3);
        assert!(told().is_empty());
        channel.listen(Hear::Each);
        assert_eq!(told(), [3, 4, 5, 6, 7]);
        let dropped: usize = (8..18).map(deliver).sum();
        assert_eq!(dropped, 5);
        channel.listen(Hear::Nothing);
        deliver(18);
        channel.listen(Hear::Each);
        deliver(19);
        assert_eq!(told(), [19]);
        channel.listen(Hear::One);
        assert_eq!((20..23).map(deliver).sum::<usize>(), 0);
        assert_eq!(told(), [20]);
        channel.listen(Hear::One);
        deliver(23);
        assert_eq!(told(), [21]);
        channel.listen(Hear::Each);
        assert_eq!(told(), [22, 23]);
        assert!(told().is_empty());
        assert_eq!(shared.held(), 0);
    }
}
