//! The caller's end of one data channel, and the few numbers both ends share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::links::MAX_LINKS;
use crate::command::{ChannelId, Command, Hear, OnFull};
use crate::error::Error;
use crate::port::Port;
use crate::spec::TransportId;

/// What the handle and the shard share of one channel. Neither waits for the other beyond the few
/// instructions under `inbox`'s lock.
pub(crate) struct ChannelShared {
    pub id: ChannelId,
    pub transport: TransportId,
    /// Neither retransmissions nor lifetime are limited.
    pub reliable: bool,
    /// Bytes accepted for sending that SCTP has not been given yet.
    buffered: AtomicUsize,
    limit: AtomicUsize,
    on_full: AtomicU8,
    /// A message was refused; say so when there is room again.
    wants_low: AtomicBool,
    closed: AtomicBool,
    /// Largest message the peer takes, in bytes.
    max_message: AtomicUsize,
    /// Channels that this one passes on to, those counted that are only asked for.
    links: AtomicUsize,
    /// The shard stopped reading this channel and waits for the inbox to be drained.
    stalled: AtomicBool,
    /// What the inboxes of all channels hold that this transport's peer has opened.
    held: Arc<AtomicUsize>,
    inbox: Mutex<Inbox>,
}

/// What keeping a message costs beside its bytes, so that a flood of tiny ones has a bound as well.
pub(super) const MESSAGE_COST: usize = 64;

/// What is done with a message that arrives, beside passing it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Hold,
    Hear(Hear),
}

/// Messages that have arrived. While each is heard, the mailbox holds exactly one token per message.
struct Inbox {
    mode: Mode,
    /// The mailbox holds a token for the oldest message, and those behind it are held.
    promised: bool,
    bytes: usize,
    messages: VecDeque<(Bytes, bool)>,
}

/// What an inbox did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    /// Stored; the mailbox owes the caller one more token.
    Token,
    /// Stored without a token, since nobody listens yet or that of a dropped one serves; or not at all.
    Held,
}

impl ChannelShared {
    /// `held`: shared by the channels whose inboxes are to be bounded together.
    pub fn new(
        id: ChannelId,
        transport: TransportId,
        reliable: bool,
        limit: usize,
        held: Arc<AtomicUsize>,
    ) -> Self {
        ChannelShared {
            held,
            id,
            transport,
            reliable,
            buffered: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            on_full: AtomicU8::new(if reliable { CLOSE } else { DROP_OLD }),
            wants_low: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            max_message: AtomicUsize::new(usize::MAX),
            links: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            inbox: Mutex::new(Inbox {
                mode: Mode::Hold,
                promised: false,
                bytes: 0,
                messages: VecDeque::new(),
            }),
        }
    }

    pub fn on_full(&self) -> OnFull {
        match self.on_full.load(Ordering::Relaxed) {
            DROP_NEW => OnFull::DropNew,
            DROP_OLD => OnFull::DropOld,
            _ => OnFull::Close,
        }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Counts bytes in at the handle, before they are queued.
    pub fn take_up(&self, bytes: usize) {
        self.buffered.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes out at the shard. Returns true when `ChannelLow` is due.
    pub fn let_go(&self, bytes: usize) -> bool {
        let before = self.buffered.fetch_sub(bytes, Ordering::Relaxed);
        before.saturating_sub(bytes) <= self.limit() / 2
            && self.wants_low.load(Ordering::Relaxed)
            && self.wants_low.swap(false, Ordering::Relaxed)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub fn set_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub fn set_max_message(&self, bytes: usize) {
        self.max_message.store(bytes, Ordering::Relaxed);
    }

    pub fn max_message(&self) -> usize {
        self.max_message.load(Ordering::Relaxed)
    }

    /// Counts a link in at the handle. False: there are as many as there may be.
    pub fn reserve_link(&self) -> bool {
        let is_free = self.links.fetch_add(1, Ordering::Relaxed) < MAX_LINKS;
        if !is_free {
            self.release_link();
        }
        is_free
    }

    /// Counts a link out that has ended or was never made.
    pub fn release_link(&self) {
        self.links.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the channels that are bounded together hold.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether a message that arrives is kept for the caller. `is_linked`: it is passed on.
    pub fn keeps(&self, is_linked: bool) -> bool {
        match self.lock().mode {
            Mode::Hold => !is_linked,
            Mode::Hear(hear) => hear != Hear::Nothing,
        }
    }

    /// Whether a reliable channel may read on, given what all together may hold. Marks it stalled
    /// when not.
    pub fn may_read(&self, all: usize) -> bool {
        let inbox = self.lock();
        // With nothing of its own held, nothing of its own would wake it again.
        let room = inbox.bytes < self.limit() && (self.held() < all || inbox.bytes == 0);
        self.stalled.store(!room, Ordering::Relaxed);
        room
    }

    /// Stores a message that has arrived. A channel that is not reliable drops its oldest to make
    /// room; a reliable one has been asked with [`may_read`](Self::may_read) before.
    ///
    /// Returns what happened and how many messages were dropped.
    pub fn deliver(&self, data: Bytes, text: bool) -> (Delivery, usize) {
        let mut inbox = self.lock();
        if inbox.mode == Mode::Hear(Hear::Nothing) {
            return (Delivery::Held, 0);
        }
        let cost = data.len() + MESSAGE_COST;
        let mut dropped = 0;
        if !self.reliable {
            while inbox.bytes + cost > self.limit() && self.pop(&mut inbox).is_some() {
                dropped += 1;
            }
        }
        self.push(&mut inbox, (data, text));
        match inbox.mode {
            Mode::Hear(Hear::Each) if dropped == 0 => (Delivery::Token, 0),
            Mode::Hear(Hear::One) => {
                inbox.promise();
                (Delivery::Token, dropped)
            }
            // Of several dropped, the surplus tokens find an empty inbox and are passed over.
            _ => (Delivery::Held, dropped),
        }
    }

    /// Redeems one token. The second value says that a stalled channel can be read again.
    pub fn collect(&self) -> (Option<(Bytes, bool)>, bool) {
        let mut inbox = self.lock();
        // Tokens from before the caller stopped listening are void; listening again makes new ones.
        let is_due = inbox.mode == Mode::Hear(Hear::Each) || std::mem::take(&mut inbox.promised);
        let message = if is_due { self.pop(&mut inbox) } else { None };
        let resume = inbox.bytes <= self.limit() / 2
            && self.stalled.load(Ordering::Relaxed)
            && self.stalled.swap(false, Ordering::Relaxed);
        (message, resume)
    }

    /// What is held, for the first link; nothing is held from then on.
    pub fn take_held(&self) -> Vec<(Bytes, bool)> {
        let mut inbox = self.lock();
        if inbox.mode != Mode::Hold {
            return Vec::new();
        }
        inbox.mode = Mode::Hear(Hear::Nothing);
        let promised = inbox.promised.then(|| self.pop(&mut inbox)).flatten();
        let held = std::iter::from_fn(|| self.pop(&mut inbox)).collect();
        if let Some(message) = promised {
            self.push(&mut inbox, message);
        }
        held
    }

    fn push(&self, inbox: &mut Inbox, message: (Bytes, bool)) {
        let cost = message.0.len() + MESSAGE_COST;
        inbox.bytes += cost;
        self.held.fetch_add(cost, Ordering::Relaxed);
        inbox.messages.push_back(message);
    }

    fn pop(&self, inbox: &mut Inbox) -> Option<(Bytes, bool)> {
        let message = inbox.messages.pop_front()?;
        let cost = message.0.len() + MESSAGE_COST;
        inbox.bytes -= cost;
        self.held.fetch_sub(cost, Ordering::Relaxed);
        Some(message)
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // A panic under this lock can only be a failed allocation; the queue is whole either way.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// The caller hears the oldest message and no other.
    fn promise(&mut self) {
        self.mode = Mode::Hold;
        self.promised = true;
    }
}

impl Drop for ChannelShared {
    fn drop(&mut self) {
        let left = self.lock().bytes;
        self.held.fetch_sub(left, Ordering::Relaxed);
    }
}

const DROP_NEW: u8 = 0;
const DROP_OLD: u8 = 1;
const CLOSE: u8 = 2;

/// One data channel. Cheap to clone; every clone is the same channel.
#[derive(Clone)]
pub struct Channel {
    pub(crate) shared: Arc<ChannelShared>,
    pub(crate) port: Arc<Port>,
}

impl Channel {
    pub fn id(&self) -> ChannelId {
        self.shared.id
    }

    pub fn transport(&self) -> TransportId {
        self.shared.transport
    }

    /// Queues one message.
    ///
    /// Returns false when it was refused because the channel's queue is full and its answer to that
    /// is [`OnFull::DropNew`] (then `ChannelLow` follows once there is room), or because the channel
    /// has ended. Errors: `Busy`, `Closed`, and `Channel` for a message larger than the peer takes.
    pub fn send(&self, data: Bytes, text: bool) -> Result<bool, Error> {
        if !self.accepts(data.len())? {
            return Ok(false);
        }
        let bytes = data.len();
        self.shared.take_up(bytes);
        let sent = self.port.send(Command::Send {
            channel: self.shared.clone(),
            data,
            text,
        });
        if let Err(error) = sent {
            self.shared.let_go(bytes);
            return Err(error);
        }
        Ok(true)
    }

    /// Whether a message of this size would be queued; remembers a refusal for `ChannelLow`.
    pub(crate) fn accepts(&self, bytes: usize) -> Result<bool, Error> {
        let shared = &self.shared;
        if bytes > shared.max_message() {
            return Err(Error::Channel {
                reason: "the message is larger than the peer takes",
            });
        }
        if shared.is_closed() {
            return Ok(false);
        }
        let full = shared.buffered() + bytes > shared.limit();
        if full && shared.on_full() == OnFull::DropNew {
            shared.wants_low.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        Ok(true)
    }

    /// Says what is to be heard from now on. What is held meanwhile is held within the limit: then a
    /// reliable channel closes its window and another drops its oldest.
    pub fn listen(&self, hear: Hear) {
        let mut inbox = self.shared.lock();
        let held = inbox.messages.len();
        let tokens = match hear {
            Hear::Each if inbox.mode == Mode::Hear(Hear::Each) => 0,
            Hear::Each => held,
            Hear::One => held.min(1),
            Hear::Nothing => 0,
        };
        inbox.mode = Mode::Hear(hear);
        inbox.promised = false;
        match hear {
            Hear::Each => {}
            Hear::One if held > 0 => inbox.promise(),
            Hear::One => {}
            Hear::Nothing => while self.shared.pop(&mut inbox).is_some() {},
        }
        for _ in 0..tokens {
            self.port.mailbox.post_message(self.shared.clone());
        }
        drop(inbox);
        if tokens > 0 {
            self.port.mailbox.ring();
        }
        if hear == Hear::Nothing && self.shared.stalled.swap(false, Ordering::Relaxed) {
            self.port.resume();
        }
    }

    /// Passes every message that arrives on to another channel as it is, those held first; twice is
    /// once. The other's limit and answer to being full hold. It ends with either channel.
    ///
    /// What was passed on is not passed on again. Beside a caller that hears each, and is slow, a
    /// reliable channel stops reading, and so passes nothing on meanwhile.
    /// Errors: `Busy`, `Closed`, `TooManyLinks`.
    pub fn link(&self, to: &Channel) -> Result<(), Error> {
        if !self.shared.reserve_link() {
            return Err(Error::TooManyLinks { limit: MAX_LINKS });
        }
        let sent = self.port.send(Command::Link {
            from: self.shared.clone(),
            to: to.shared.clone(),
        });
        sent.inspect_err(|_| self.shared.release_link())
    }

    /// Passes nothing more on to it; no error when it did not.
    pub fn unlink(&self, to: &Channel) -> Result<(), Error> {
        self.port.send(Command::Unlink {
            from: self.shared.clone(),
            to: to.shared.clone(),
        })
    }

    /// How much may wait in each direction, in bytes (the engine counts 64 more for a message), and what
    /// happens when it is exceeded on sending. Initially the configuration's limit, with `Close` for a reliable channel and
    /// `DropOld` for any other.
    pub fn set_limit(&self, bytes: usize, on_full: OnFull) {
        self.shared.limit.store(bytes.max(1), Ordering::Relaxed);
        let code = match on_full {
            OnFull::DropNew => DROP_NEW,
            OnFull::DropOld => DROP_OLD,
            OnFull::Close => CLOSE,
        };
        self.shared.on_full.store(code, Ordering::Relaxed);
    }

    /// Bytes that wait to be handed to SCTP.
    pub fn buffered(&self) -> usize {
        self.shared.buffered()
    }

    /// Resets the stream once everything queued before has been sent. `ChannelClosed` follows.
    pub fn close(&self) -> Result<(), Error> {
        self.port.send(Command::CloseChannel {
            channel: self.shared.clone(),
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.shared.id)
            .field("transport", &self.shared.transport)
            .finish_non_exhaustive()
    }
}
