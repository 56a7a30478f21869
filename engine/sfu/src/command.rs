//! What goes down: values a caller hands to the engine, and the commands that carry them to a shard.
//!
//! A command is a value on a bounded queue. Those with a [`RequestId`] are answered by exactly one
//! [`Event::Done`](crate::event::Event::Done) or [`Event::Stats`](crate::event::Event::Stats).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::data::ChannelShared;
use crate::media::{MediaChange, MediaCommand};
use crate::spec::{
    ConsumerId, DataSpec, Flow, GroupId, Mid, ProducerId, RecvSpec, SendSpec, TransportId,
};

/// Names one question to the engine; its answer carries the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// One data channel on one transport. Never used twice in a process, unlike its SCTP stream number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChannelId(pub u64);

/// Who opens the DTLS handshake: the value of `a=setup` (RFC 8842), as the peer wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setup {
    Active,
    /// Refused on an ICE-lite transport, which is the DTLS server in every flow.
    Passive,
    ActPass,
}

/// What the peer said of its transport.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    pub ufrag: String,
    /// A secret of this transport.
    pub pwd: String,
    /// Of the peer's certificate, as on the wire: `sha-256 AB:CD:…`. Compared before a key is used.
    pub fingerprint: String,
    pub setup: Setup,
    /// Each from `candidate:` on, with or without `a=`; those that cannot be used are skipped.
    pub candidates: Vec<String>,
    /// The peer may soon begin its DTLS association anew, on the same terms: another section leads its
    /// bundle now.
    pub begins_anew: bool,
    /// Which role of ICE the peer has (RFC 8445 §6.1.1). Every peer of a lite transport controls.
    pub controls: bool,
}

impl fmt::Debug for RemoteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTransport")
            .field("setup", &self.setup)
            .field("candidates", &self.candidates.len())
            .field("begins_anew", &self.begins_anew)
            .finish_non_exhaustive()
    }
}

/// Everything one exchange of descriptions changes on a transport: applied whole or not at all, in
/// the order remote, end, recv, send, data. A mid already known is changed, an unknown one is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    pub remote: Option<RemoteTransport>,
    pub end: Vec<(Mid, Flow)>,
    pub recv: Vec<RecvSpec>,
    pub send: Vec<SendSpec>,
    pub data: Option<DataSpec>,
}

/// What [`Engine::apply`](crate::Engine::apply) knows at once; whether it held is told by `Done`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    pub request: RequestId,
    /// One per `RecvSpec`, in the same order.
    pub producers: Vec<(Mid, ProducerId)>,
    /// One per `SendSpec`, in the same order.
    pub consumers: Vec<(Mid, ConsumerId)>,
}

/// How a data channel is opened: the fields of `RTCDataChannelInit`, with RFC 8832's limits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelOptions {
    /// At most 65,535 bytes of UTF-8.
    pub label: String,
    /// At most 65,535 bytes of UTF-8.
    pub protocol: String,
    /// SCTP stream, 0 to 65,534; `None`: the next free one of our parity.
    pub stream: Option<u16>,
    /// Both sides agreed on the stream beforehand: no OPEN is sent. Needs `stream`.
    pub negotiated: bool,
    pub ordered: bool,
    /// Retransmissions before a message is given up. Excludes `max_lifetime_ms`.
    pub max_retransmits: Option<u16>,
    /// Milliseconds before a message is given up. Excludes `max_retransmits`.
    pub max_lifetime_ms: Option<u16>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        ChannelOptions {
            label: String::new(),
            protocol: String::new(),
            stream: None,
            negotiated: false,
            ordered: true,
            max_retransmits: None,
            max_lifetime_ms: None,
        }
    }
}

impl ChannelOptions {
    /// Every message arrives or the channel ends.
    pub fn is_reliable(&self) -> bool {
        self.max_retransmits.is_none() && self.max_lifetime_ms.is_none()
    }
}

/// What the caller hears of the messages that arrive on a channel. At first they are held, until it
/// says what it wants to hear or the channel is linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hear {
    /// Every message, those that are held first.
    Each,
    /// One; those behind it are held again.
    One,
    /// None: they are thrown away, those that are held too.
    Nothing,
}

/// A channel's answer to a full send queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFull {
    /// The new message is refused.
    DropNew,
    /// The oldest waiting messages make room.
    DropOld,
    /// The channel is closed with [`ChannelEnd::Full`](crate::event::ChannelEnd::Full).
    Close,
}

/// One message of the queue from the handle to a shard.
pub(crate) enum Command {
    Create {
        transport: TransportId,
        group: GroupId,
        ufrag: String,
        pwd: String,
        /// For full ICE: what our descriptions say.
        candidates: Option<Arc<[String]>>,
    },
    Apply {
        transport: TransportId,
        request: RequestId,
        remote: Option<RemoteTransport>,
        media: MediaChange,
        data: Option<DataSpec>,
    },
    AddRemoteCandidate {
        transport: TransportId,
        request: RequestId,
        candidate: String,
    },
    RestartIce {
        transport: TransportId,
        ufrag: String,
        pwd: String,
    },
    SetBitrate {
        transport: TransportId,
        request: RequestId,
        max_in_bps: Option<u64>,
    },
    Stats {
        transport: TransportId,
        request: RequestId,
    },
    Close {
        transport: TransportId,
    },
    Media(MediaCommand),
    OpenChannel {
        transport: TransportId,
        shared: Arc<ChannelShared>,
        options: ChannelOptions,
    },
    Send {
        channel: Arc<ChannelShared>,
        data: Bytes,
        text: bool,
    },
    Broadcast {
        channels: Vec<Arc<ChannelShared>>,
        data: Bytes,
        text: bool,
    },
    CloseChannel {
        channel: Arc<ChannelShared>,
    },
    Link {
        from: Arc<ChannelShared>,
        to: Arc<ChannelShared>,
    },
    Unlink {
        from: Arc<ChannelShared>,
        to: Arc<ChannelShared>,
    },
    #[cfg(feature = "planted")]
    Plant(crate::planted::Place, u64),
}
