//! What comes up: everything the engine tells its caller, as plain values.
//!
//! Life-cycle events queue in order. When the queue is full the rest is lost and said so by one
//! [`Event::Overflow`]; the caller then re-reads the transports with
//! [`Engine::stats`](crate::Engine::stats). Messages of data channels are bounded per channel.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::command::{ChannelId, ChannelOptions, RequestId};
use crate::data::Channel;
use crate::media::{MediaEvent, MediaStats};
use crate::spec::TransportId;

/// The life of a transport. `Connected` means that ICE and DTLS are both done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportState {
    /// Made; nothing has been heard.
    New,
    /// An authenticated connectivity check has been received.
    Checking,
    Connected,
    /// Nothing authenticated for `disconnected_s`; returns to `Connected` by itself.
    Disconnected,
    /// Nothing authenticated for `failed_s`, or never connected within it. An ICE restart or the
    /// peer's return brings it back; the caller usually closes it.
    Failed,
    /// Over. No further event names this transport.
    Closed,
}

impl TransportState {
    pub fn as_str(self) -> &'static str {
        match self {
            TransportState::New => "new",
            TransportState::Checking => "checking",
            TransportState::Connected => "connected",
            TransportState::Disconnected => "disconnected",
            TransportState::Failed => "failed",
            TransportState::Closed => "closed",
        }
    }
}

/// Why a transport's state changed, when it is not the ordinary way forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The caller closed it.
    Local,
    /// The peer closed DTLS.
    Peer,
    /// Silence.
    Timeout,
    /// The handshake failed: no common cipher, a bad signature, a peer that gave up.
    Dtls,
    /// The certificate is not the one the description named.
    Fingerprint,
    /// Our own mistake: a panic contained to this transport.
    Internal,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Local => "local",
            Reason::Peer => "peer",
            Reason::Timeout => "timeout",
            Reason::Dtls => "dtls",
            Reason::Fingerprint => "fingerprint",
            Reason::Internal => "internal",
        }
    }
}

/// Why a channel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelEnd {
    Local,
    Peer,
    /// Its send queue was full and its answer to that is to close.
    Full,
    /// Its transport or the association of all channels ended.
    Transport,
    /// It could not be opened: the stream is taken, or there is no free one.
    Refused,
}

impl ChannelEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelEnd::Local => "local",
            ChannelEnd::Peer => "peer",
            ChannelEnd::Full => "full",
            ChannelEnd::Transport => "transport",
            ChannelEnd::Refused => "refused",
        }
    }
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The transport is closed or was never made.
    Gone,
    /// The peer's description cannot be used; the text says which part, and quotes no secret.
    Refused(String),
    /// A contained panic.
    Internal,
}

impl Failure {
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Gone => "gone",
            Failure::Refused(_) => "refused",
            Failure::Internal => "internal",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Gone => write!(f, "the transport is gone"),
            Failure::Refused(reason) => write!(f, "{reason}"),
            Failure::Internal => write!(f, "an internal error was contained"),
        }
    }
}

/// A transport as it is now; answers [`Engine::stats`](crate::Engine::stats).
#[derive(Clone, PartialEq, Debug)]
pub struct TransportStats {
    pub state: TransportState,
    /// The nominated remote address.
    pub remote: Option<SocketAddr>,
    /// SRTP profile by its IANA name, once DTLS is done.
    pub srtp_profile: Option<&'static str>,
    /// Datagrams and bytes of UDP payload, all protocols.
    pub packets_in: u64,
    pub bytes_in: u64,
    /// Those of ICE, DTLS and SCTP; what media sends is counted by consumer.
    pub packets_out: u64,
    pub bytes_out: u64,
    /// SCTP's smoothed round trip, once there is one.
    pub sctp_rtt: Option<Duration>,
    pub channels: usize,
    pub media: MediaStats,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    TransportState {
        transport: TransportId,
        state: TransportState,
        reason: Option<Reason>,
    },
    /// The address the engine now sends to.
    IceSelected {
        transport: TransportId,
        remote: SocketAddr,
        /// `udp`
        protocol: &'static str,
    },
    /// The handshake is done and the peer's certificate is the one that was named.
    DtlsConnected {
        transport: TransportId,
        /// `DTLS 1.2`
        version: &'static str,
        /// IANA name; `None` when the peer offered no SRTP (data only).
        srtp_profile: Option<&'static str>,
    },
    /// Something happened to a producer or a consumer.
    Media(MediaEvent),
    /// A channel can be used: our OPEN was acknowledged, the peer's OPEN arrived, or a pre-negotiated
    /// one has its association. `channel` is ready to send; nothing is delivered before `listen`.
    ChannelOpen {
        transport: TransportId,
        channel: Channel,
        /// As opened by whichever side did; `stream` is set.
        options: ChannelOptions,
        /// The peer opened it.
        remote: bool,
    },
    ChannelMessage {
        channel: ChannelId,
        data: Bytes,
        text: bool,
    },
    /// What waits to be sent fell to half the limit after a message was refused.
    ChannelLow {
        transport: TransportId,
        channel: ChannelId,
    },
    ChannelClosed {
        transport: TransportId,
        channel: ChannelId,
        reason: ChannelEnd,
    },
    Done {
        request: RequestId,
        result: Result<(), Failure>,
    },
    Stats {
        request: RequestId,
        transport: TransportId,
        stats: Box<TransportStats>,
    },
    /// Events were lost because nobody drained them.
    Overflow { shard: usize, lost: u64 },
    /// The shard can go on no longer: every transport closes, and nothing will be answered again.
    Ended { shard: usize },
    /// A panic was contained; the transport is closed.
    InternalError {
        shard: usize,
        transport: Option<TransportId>,
    },
}
