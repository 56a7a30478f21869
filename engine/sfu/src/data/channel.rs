//! The data channels of one transport: opening, sending within limits, reading no faster than the
//! caller drains, and closing.
//!
//! Each channel has a queue of its own before SCTP and gives SCTP only a little at a time, so a full
//! reliable channel never starves a lossy one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::handle::{ChannelShared, Delivery, MESSAGE_COST};
use super::links::Links;
use crate::command::{ChannelId, ChannelOptions, OnFull};
use crate::data::Channel;
use crate::event::{ChannelEnd, Event};
use crate::port::Port;
use crate::spec::TransportId;
use crate::transport::budget::Budget;
use crate::transport::dcep;
use crate::transport::sctp::{Happened, Message, Ppid, Sctp};

/// Channels one transport may have; an OPEN beyond it is answered by resetting its stream.
const MAX_CHANNELS: usize = 1024;
/// Messages kept for streams that have no channel yet: unordered data may overtake its OPEN.
const MAX_EARLY: usize = 64;
/// Limits' worth of unread messages that the channels a peer has opened may hold together.
const HELD_LIMITS: usize = 4;

/// What the channels need to know of the world around them.
pub(crate) struct Context<'a> {
    pub transport: TransportId,
    pub port: &'a Arc<Port>,
    /// Initial limit of a channel that the peer opens, in bytes.
    pub limit: usize,
    /// Bytes of one stream that SCTP may hold.
    pub in_flight: usize,
    pub now: Instant,
    /// What the peer may make the engine tell.
    pub budget: &'a mut Budget,
    pub links: &'a mut Links,
    /// Incremented for every message that could not be kept or was not understood.
    pub dropped: &'a mut u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No association yet.
    Waiting,
    /// OPEN is sent. Messages may follow it at once, in order (RFC 8832 §6).
    Opening,
    Open,
    /// Closed by the caller; what was queued before still goes out.
    Draining,
}

struct Entry {
    shared: Arc<ChannelShared>,
    /// `stream` is set from `Opening` on.
    options: ChannelOptions,
    phase: Phase,
    queue: VecDeque<(Bytes, bool)>,
    queued: usize,
    remote: bool,
    /// Reading has stopped until the inbox is drained.
    stalled: bool,
    /// It is open at both ends and waits for another association.
    detached: bool,
}

impl Entry {
    /// What the queue costs, so that empty messages have a bound as well.
    fn waits(&self) -> usize {
        self.queued + self.queue.len() * MESSAGE_COST
    }
}

#[derive(Default)]
pub(crate) struct Channels {
    entries: FxHashMap<ChannelId, Entry>,
    // Peers choose stream numbers; this table has the default, seeded hasher.
    by_stream: HashMap<u16, ChannelId>,
    early: VecDeque<(u16, Message)>,
    early_bytes: usize,
    /// What the inboxes hold of all channels that the peer has opened.
    held: Arc<AtomicUsize>,
    /// Bytes of the names that the peer has given its channels.
    named: usize,
    /// Streams that were reset and not yet released by both sides.
    resetting: HashSet<u16>,
}

impl Channels {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Opens a channel for the caller, at once or when the association is there.
    pub fn open(
        &mut self,
        sctp: Option<&mut Sctp>,
        shared: Arc<ChannelShared>,
        options: ChannelOptions,
        cx: &mut Context<'_>,
    ) {
        let id = shared.id;
        let taken = options
            .stream
            .is_some_and(|stream| self.by_stream.contains_key(&stream));
        if taken || self.entries.len() >= MAX_CHANNELS {
            shared.set_closed();
            cx.closed(id, ChannelEnd::Refused);
            return;
        }
        if let Some(stream) = options.stream {
            self.by_stream.insert(stream, id);
        }
        self.entries.insert(
            id,
            Entry {
                shared,
                options,
                phase: Phase::Waiting,
                queue: VecDeque::new(),
                queued: 0,
                remote: false,
                stalled: false,
                detached: false,
            },
        );
        if let Some(sctp) = sctp
            && sctp.is_established()
        {
            self.start(sctp, id, cx);
        }
    }

    /// Queues one message of the caller and sends what may be sent.
    pub fn send(
        &mut self,
        sctp: Option<&mut Sctp>,
        shared: &Arc<ChannelShared>,
        data: Bytes,
        text: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(entry) = self.entries.get_mut(&shared.id) else {
            shared.let_go(data.len());
            return;
        };
        entry.queued += data.len();
        entry.queue.push_back((data, text));
        let mut sctp = sctp;
        if let Some(sctp) = sctp.as_deref_mut() {
            self.pump(sctp, shared.id, cx);
        }
        self.enforce_limit(sctp, shared.id, cx);
    }

    /// Queues a message that has arrived on another channel, as far as this one takes it.
    pub fn pass(
        &mut self,
        sctp: Option<&mut Sctp>,
        shared: &Arc<ChannelShared>,
        data: Bytes,
        text: bool,
        cx: &mut Context<'_>,
    ) {
        let entry = self.entries.get(&shared.id);
        let Some(entry) = entry.filter(|entry| entry.phase != Phase::Draining) else {
            return;
        };
        let is_full = entry.waits() + data.len() > shared.limit();
        if data.len() > shared.max_message() || is_full && shared.on_full() == OnFull::DropNew {
            *cx.dropped += 1;
            return;
        }
        shared.take_up(data.len());
        self.send(sctp, shared, data, text, cx);
    }

    /// Has a channel pass on what arrives, and first what it has held.
    pub fn link(
        &mut self,
        sctp: Option<&mut Sctp>,
        from: &Arc<ChannelShared>,
        to: &Arc<ChannelShared>,
        cx: &mut Context<'_>,
    ) {
        let Some(entry) = self.entries.get(&from.id) else {
            from.release_link();
            return;
        };
        cx.links.add(from, to);
        for (data, text) in from.take_held() {
            cx.links.pass(from.id, &data, text);
        }
        let stalled = entry.options.stream.filter(|_| entry.stalled);
        if let (Some(sctp), Some(stream)) = (sctp, stalled) {
            self.read(sctp, stream, cx);
        }
    }

    /// Closes a channel for the caller once its queue is empty.
    pub fn close(&mut self, sctp: Option<&mut Sctp>, id: ChannelId, cx: &mut Context<'_>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.shared.set_closed();
        match sctp {
            // The peer has it open still, and hears of its end on the next association.
            _ if entry.detached => {}
            Some(sctp) if entry.phase != Phase::Waiting => {
                entry.phase = Phase::Draining;
                self.pump(sctp, id, cx);
            }
            sctp => self.end(sctp, id, ChannelEnd::Local, cx),
        }
    }

    /// Reads on where reading had stopped. True while something is still stopped.
    pub fn resume(&mut self, sctp: &mut Sctp, cx: &mut Context<'_>) -> bool {
        let stalled: Vec<u16> = self
            .entries
            .values()
            .filter(|entry| entry.stalled)
            .filter_map(|entry| entry.options.stream)
            .collect();
        for stream in stalled {
            self.read(sctp, stream, cx);
        }
        self.has_stalled()
    }

    pub fn has_stalled(&self) -> bool {
        self.entries.values().any(|entry| entry.stalled)
    }

    pub fn happened(&mut self, sctp: &mut Sctp, what: Happened, cx: &mut Context<'_>) {
        match what {
            Happened::Established => {
                let mut waiting: Vec<ChannelId> = self.entries.keys().copied().collect();
                // In the order in which they were asked for.
                waiting.sort_unstable();
                for id in waiting {
                    self.start(sctp, id, cx);
                }
            }
            Happened::Lost => self.end_all(cx),
            Happened::Readable(stream) => self.read(sctp, stream, cx),
            Happened::Low(stream) => {
                if let Some(id) = self.by_stream.get(&stream).copied() {
                    self.pump(sctp, id, cx);
                }
            }
            Happened::Reset(stream) => {
                self.take_early(stream);
                self.resetting.insert(stream);
                match self.by_stream.get(&stream).copied() {
                    // What the peer sent before it closed has been read: `Finished` waits for that.
                    Some(id) => self.end(Some(sctp), id, ChannelEnd::Peer, cx),
                    None => sctp.reset(stream),
                }
            }
            Happened::Free(stream) => {
                self.resetting.remove(&stream);
            }
        }
    }

    /// The association or the transport is over.
    pub fn end_all(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for id in ids {
            self.end(None, id, ChannelEnd::Transport, cx);
        }
        self.early.clear();
        self.early_bytes = 0;
        self.resetting.clear();
    }

    /// The association is over and another will come: every channel waits for it with what it has
    /// queued, and those that were open go on where they were. What was on its way is lost.
    pub fn detach(&mut self) {
        for entry in self.entries.values_mut() {
            entry.detached |= matches!(entry.phase, Phase::Open | Phase::Draining);
            entry.phase = Phase::Waiting;
            entry.stalled = false;
        }
        self.early.clear();
        self.early_bytes = 0;
        self.resetting.clear();
    }

    /// Takes a channel that waits onto its stream.
    fn start(&mut self, sctp: &mut Sctp, id: ChannelId, cx: &mut Context<'_>) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if entry.phase != Phase::Waiting {
            return;
        }
        let Some(stream) = entry.options.stream.or_else(|| self.free_stream(sctp)) else {
            self.end(None, id, ChannelEnd::Refused, cx);
            return;
        };
        // An OPEN is never sent on a stream the peer has opened; a negotiated one is shared.
        let is_known = entry.options.negotiated || entry.detached;
        let ours = is_known || !sctp.exists(stream);
        if !ours || self.resetting.contains(&stream) || !sctp.open(stream) {
            self.end(None, id, ChannelEnd::Refused, cx);
            return;
        }
        self.by_stream.insert(stream, id);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.options.stream = Some(stream);
        entry.shared.set_max_message(sctp.max_send() as usize);
        if is_known {
            let was_open = std::mem::take(&mut entry.detached);
            entry.phase = match was_open && entry.shared.is_closed() {
                true => Phase::Draining,
                false => Phase::Open,
            };
            sctp.set_delivery(stream, &entry.options, cx.in_flight / 2);
            if !was_open {
                cx.opened(entry);
            }
            self.read_early(stream, cx);
            self.read(sctp, stream, cx);
        } else {
            entry.phase = Phase::Opening;
            let open = Bytes::from(dcep::open(&entry.options));
            sctp.write(stream, Ppid::Dcep, &open);
            // Until the ACK has come, data goes in order behind the OPEN.
            let ordered = ChannelOptions {
                ordered: true,
                ..entry.options.clone()
            };
            sctp.set_delivery(stream, &ordered, cx.in_flight / 2);
        }
        self.pump(sctp, id, cx);
    }

    /// The lowest stream of our parity that nobody uses: the DTLS server has the odd ones, the
    /// client the even ones (RFC 8832 §6).
    fn free_stream(&self, sctp: &mut Sctp) -> Option<u16> {
        let first = u16::from(!sctp.is_client());
        (first..65_535u16).step_by(2).find(|stream| {
            !self.by_stream.contains_key(stream)
                && !self.resetting.contains(stream)
                && !sctp.exists(*stream)
        })
    }

    /// Gives SCTP what it may hold of one channel.
    fn pump(&mut self, sctp: &mut Sctp, id: ChannelId, cx: &mut Context<'_>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(stream) = entry.options.stream else {
            return;
        };
        if entry.phase == Phase::Waiting {
            return;
        }
        while !entry.queue.is_empty() && sctp.in_flight(stream) < cx.in_flight {
            let Some((data, text)) = entry.queue.pop_front() else {
                break;
            };
            let ppid = if text { Ppid::Text } else { Ppid::Binary };
            if !sctp.write(stream, ppid, &data) {
                // Too large for the peer, or a stream that is being reset: its end follows.
                *cx.dropped += 1;
            }
            entry.queued -= data.len();
            if entry.shared.let_go(data.len()) {
                cx.low(id);
            }
        }
        if entry.phase == Phase::Draining && entry.queue.is_empty() {
            self.end(Some(sctp), id, ChannelEnd::Local, cx);
        }
    }

    /// The channel's answer to a queue above its limit.
    fn enforce_limit(&mut self, sctp: Option<&mut Sctp>, id: ChannelId, cx: &mut Context<'_>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let limit = entry.shared.limit();
        match entry.shared.on_full() {
            // Refused before; the little that slipped by the handle is bounded by the command queue.
            OnFull::DropNew => {}
            OnFull::DropOld => {
                while entry.waits() > limit {
                    let Some((data, _)) = entry.queue.pop_front() else {
                        break;
                    };
                    entry.queued -= data.len();
                    *cx.dropped += 1;
                    if entry.shared.let_go(data.len()) {
                        cx.low(id);
                    }
                }
            }
            OnFull::Close if entry.waits() > limit => self.end(sctp, id, ChannelEnd::Full, cx),
            OnFull::Close => {}
        }
    }

    /// Reads what a stream has, as far as its channel may take it.
    fn read(&mut self, sctp: &mut Sctp, stream: u16, cx: &mut Context<'_>) {
        loop {
            let entry = self
                .by_stream
                .get(&stream)
                .and_then(|id| self.entries.get_mut(id));
            if let Some(entry) = entry {
                entry.stalled = entry.shared.reliable && !may_read(&entry.shared, cx);
                if entry.stalled {
                    return;
                }
            }
            let Some(message) = sctp.read(stream) else {
                return;
            };
            match message.ppid {
                Ppid::Dcep => self.on_dcep(sctp, stream, &message.data, cx),
                Ppid::Text | Ppid::Binary => self.on_message(stream, message, cx),
            }
        }
    }

    fn on_dcep(&mut self, sctp: &mut Sctp, stream: u16, bytes: &[u8], cx: &mut Context<'_>) {
        match (dcep::parse(bytes), self.by_stream.get(&stream).copied()) {
            (Some(dcep::Message::Open(options)), None) => {
                let name = name_bytes(&options);
                let has_room = self.entries.len() < MAX_CHANNELS && self.named + name <= cx.limit;
                if !has_room || !cx.budget.take_for(name, cx.now) {
                    *cx.dropped += 1;
                    self.resetting.insert(stream);
                    sctp.reset(stream);
                    return;
                }
                self.accept(sctp, stream, options, cx);
            }
            (Some(dcep::Message::Ack), Some(id)) => {
                let Some(entry) = self.entries.get_mut(&id) else {
                    return;
                };
                if entry.phase == Phase::Opening {
                    entry.phase = Phase::Open;
                    sctp.set_delivery(stream, &entry.options, cx.in_flight / 2);
                    cx.opened(entry);
                }
            }
            // Malformed, or out of place: an OPEN for a channel that exists, an ACK for none.
            _ => *cx.dropped += 1,
        }
    }

    /// Answers an OPEN of the peer, whatever its label.
    fn accept(
        &mut self,
        sctp: &mut Sctp,
        stream: u16,
        mut options: ChannelOptions,
        cx: &mut Context<'_>,
    ) {
        options.stream = Some(stream);
        let id = ChannelId(cx.port.mint());
        let shared = Arc::new(ChannelShared::new(
            id,
            cx.transport,
            options.is_reliable(),
            cx.limit,
            self.held.clone(),
        ));
        shared.set_max_message(sctp.max_send() as usize);
        sctp.write(stream, Ppid::Dcep, &Bytes::copy_from_slice(&dcep::ack()));
        sctp.set_delivery(stream, &options, cx.in_flight / 2);
        let entry = Entry {
            shared,
            options,
            phase: Phase::Open,
            queue: VecDeque::new(),
            queued: 0,
            remote: true,
            stalled: false,
            detached: false,
        };
        cx.opened(&entry);
        self.named += name_bytes(&entry.options);
        self.entries.insert(id, entry);
        self.by_stream.insert(stream, id);
        self.read_early(stream, cx);
    }

    fn on_message(&mut self, stream: u16, message: Message, cx: &mut Context<'_>) {
        let entry = self
            .by_stream
            .get(&stream)
            .and_then(|id| self.entries.get_mut(id));
        match entry {
            // Our OPEN has reached the peer if it sends on the stream, whatever became of its ACK.
            Some(entry) if entry.phase != Phase::Draining => {
                deliver(&entry.shared, message, cx);
            }
            Some(_) => {}
            None => {
                let bytes = self.early_bytes + message.data.len();
                if self.early.len() >= MAX_EARLY || bytes > cx.limit {
                    *cx.dropped += 1;
                    return;
                }
                self.early_bytes = bytes;
                self.early.push_back((stream, message));
            }
        }
    }

    fn read_early(&mut self, stream: u16, cx: &mut Context<'_>) {
        for message in self.take_early(stream) {
            self.on_message(stream, message, cx);
        }
    }

    fn take_early(&mut self, stream: u16) -> Vec<Message> {
        let (taken, kept) = std::mem::take(&mut self.early)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(early, _)| *early == stream);
        self.early = kept;
        let taken: Vec<Message> = taken.into_iter().map(|(_, message)| message).collect();
        self.early_bytes -= taken.iter().map(|m| m.data.len()).sum::<usize>();
        taken
    }

    fn end(
        &mut self,
        sctp: Option<&mut Sctp>,
        id: ChannelId,
        reason: ChannelEnd,
        cx: &mut Context<'_>,
    ) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        entry.shared.set_closed();
        entry.shared.let_go(entry.queued);
        if entry.remote {
            self.named -= name_bytes(&entry.options);
        }
        cx.links.forget(id);
        if let Some(stream) = entry.options.stream {
            self.by_stream.remove(&stream);
            if let Some(sctp) = sctp {
                self.resetting.insert(stream);
                sctp.reset(stream);
            }
        }
        cx.closed(id, reason);
    }
}

impl Context<'_> {
    fn opened(&mut self, entry: &Entry) {
        self.port.mailbox.post(Event::ChannelOpen {
            transport: self.transport,
            channel: Channel {
                shared: entry.shared.clone(),
                port: self.port.clone(),
            },
            options: entry.options.clone(),
            remote: entry.remote,
        });
    }

    fn closed(&mut self, channel: ChannelId, reason: ChannelEnd) {
        self.port.mailbox.post(Event::ChannelClosed {
            transport: self.transport,
            channel,
            reason,
        });
    }

    fn low(&mut self, channel: ChannelId) {
        self.port.mailbox.post(Event::ChannelLow {
            transport: self.transport,
            channel,
        });
    }
}

/// A peer may give a channel two names of 65,535 bytes (RFC 8832 §5.1).
fn name_bytes(options: &ChannelOptions) -> usize {
    options.label.len() + options.protocol.len()
}

/// The inbox, all inboxes together, and the mailbox have room for another message, if it is kept.
fn may_read(shared: &ChannelShared, cx: &Context<'_>) -> bool {
    !shared.keeps(cx.links.is_linked(shared.id))
        || shared.may_read(HELD_LIMITS * cx.limit) && cx.port.mailbox.takes_messages()
}

/// Passes a message on, and keeps it for the caller if it is to be heard or held.
fn deliver(shared: &Arc<ChannelShared>, message: Message, cx: &mut Context<'_>) {
    let text = message.ppid == Ppid::Text;
    cx.links.pass(shared.id, &message.data, text);
    if !shared.keeps(cx.links.is_linked(shared.id)) {
        return;
    }
    if !shared.reliable && !may_take(shared, cx) {
        *cx.dropped += 1;
        return;
    }
    let (delivery, dropped) = shared.deliver(message.data, text);
    *cx.dropped += dropped as u64;
    if delivery == Delivery::Token {
        cx.port.mailbox.post_message(shared.clone());
    }
}

/// As [`may_read`], for a channel that drops its own oldest when its inbox is full.
fn may_take(shared: &ChannelShared, cx: &Context<'_>) -> bool {
    shared.held() < HELD_LIMITS * cx.limit && cx.port.mailbox.takes_messages()
}
