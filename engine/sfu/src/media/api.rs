//! What is asked of the media side and what it answers: plain values, read once.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::spec::{
    ConsumerId, Flow, LayerPolicy, Mid, ProducerId, ProducerPolicy, RecvSpec, SendSpec,
};

/// Where datagrams go: the shard's arena of slots.
pub trait Outbox {
    /// Offers one slot of at least 1500 bytes to `build`, which returns how much of it to send to
    /// `to`; 0: nothing is sent and the slot stays free. Without a free slot `build` is not called.
    fn push(&mut self, to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize);
}

/// How the media side of a shard is set up.
#[derive(Clone, PartialEq, Debug)]
pub struct MediaConfig {
    /// Largest RTP packet or RTCP compound that is built, without the SRTP tag.
    pub mtu_bytes: usize,
    /// How long received packets are kept for retransmission.
    pub rtx_cache: Duration,
    /// Between two sender reports of one sender.
    pub sr_interval: Duration,
    /// Silence after which a layer is inactive.
    pub layer_silence: Duration,
}

impl Default for MediaConfig {
    fn default() -> Self {
        MediaConfig {
            mtu_bytes: 1200,
            rtx_cache: Duration::from_millis(1000),
            sr_interval: Duration::from_secs(3),
            layer_silence: Duration::from_secs(2),
        }
    }
}

/// The media part of one exchange of descriptions, applied whole or not at all in the order end,
/// recv, send. A mid already known in that direction is changed and keeps its id; an unknown one is
/// made with the id given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MediaChange {
    pub end: Vec<(Mid, Flow)>,
    pub recv: Vec<(ProducerId, RecvSpec)>,
    pub send: Vec<(ConsumerId, SendSpec)>,
}

/// Why a change was refused. Nothing of it has been applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ApplyError {
    /// The transport was never opened, or is closed.
    UnknownTransport,
    /// A section lists no codec.
    NoCodec { mid: Mid },
    /// A payload type above 127.
    PayloadType { mid: Mid, pt: u8 },
    /// An extension id of 0, or one id for two extensions.
    ExtensionId { mid: Mid, id: u8 },
    /// The mid belongs to another live producer or consumer of this transport.
    MidTaken { mid: Mid },
    /// The id belongs to another section, here or on another transport.
    IdTaken { mid: Mid },
    /// Two senders of one transport with one SSRC, or a live sender that would change its SSRC.
    Ssrc { mid: Mid, ssrc: u32 },
    /// More sections, layers or SSRCs than the engine takes.
    TooMany { what: &'static str, limit: usize },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::UnknownTransport => write!(f, "no such transport"),
            ApplyError::NoCodec { mid } => write!(f, "section '{mid}' lists no codec"),
            ApplyError::PayloadType { mid, pt } => {
                write!(
                    f,
                    "section '{mid}' has payload type {pt}: 127 is the highest"
                )
            }
            ApplyError::ExtensionId { mid, id } => write!(
                f,
                "section '{mid}' uses extension id {id} twice, or it is not 1 to 255"
            ),
            ApplyError::MidTaken { mid } => {
                write!(
                    f,
                    "section '{mid}' already has another id in this direction"
                )
            }
            ApplyError::IdTaken { mid } => {
                write!(f, "the id given for section '{mid}' is in use elsewhere")
            }
            ApplyError::Ssrc { mid, ssrc } => {
                write!(
                    f,
                    "section '{mid}' cannot send with SSRC {ssrc}: it is in use, or the section has another"
                )
            }
            ApplyError::TooMany { what, limit } => write!(f, "too many {what}: {limit} at most"),
        }
    }
}

impl std::error::Error for ApplyError {}

/// What can be asked of a producer or a consumer. One that names an object already gone is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaCommand {
    /// Nothing of the producer is forwarded until it is resumed; it still receives and reports.
    ProducerPause(ProducerId),
    ProducerResume(ProducerId),
    /// Asks the publisher for a keyframe, merged and throttled. `layer`: `None` for every layer.
    ProducerKeyframe(ProducerId, Option<u8>),
    ProducerPolicy(ProducerId, ProducerPolicy),
    ProducerClose(ProducerId),
    /// `None` takes the source away; the sender keeps its numbers. A policy is set with the source, so
    /// that it means the new one's layers; without one the consumer's stays.
    ConsumerSource(ConsumerId, Option<ProducerId>, Option<LayerPolicy>),
    ConsumerPolicy(ConsumerId, LayerPolicy),
    ConsumerPause(ConsumerId),
    ConsumerResume(ConsumerId),
    /// Asks the source of this consumer for a keyframe, merged and throttled.
    ConsumerKeyframe(ConsumerId),
    ConsumerClose(ConsumerId),
}

/// Why nothing is forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseReason {
    /// Its source was taken away, closed, or paused.
    Source,
    /// It was asked for.
    Policy,
    /// The source's codec is not among those of the section.
    Codec,
}

impl PauseReason {
    pub fn as_str(self) -> &'static str {
        match self {
            PauseReason::Source => "source",
            PauseReason::Policy => "policy",
            PauseReason::Codec => "codec",
        }
    }
}

/// One thing that happened to a producer or a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaEvent {
    /// The first packet of a producer that opened under its key.
    FirstPacket {
        producer: ProducerId,
        layer: u8,
        /// Name of the codec specification it matched.
        codec: String,
        at: Instant,
    },
    /// The first packet a consumer forwarded.
    FirstForwarded {
        consumer: ConsumerId,
        at: Instant,
    },
    LayerActive {
        producer: ProducerId,
        layer: u8,
        at: Instant,
    },
    LayerInactive {
        producer: ProducerId,
        layer: u8,
        last_packet: Instant,
        at: Instant,
    },
    ProducerPaused {
        producer: ProducerId,
        reason: PauseReason,
    },
    ProducerResumed {
        producer: ProducerId,
    },
    ConsumerPaused {
        consumer: ConsumerId,
        reason: PauseReason,
    },
    ConsumerResumed {
        consumer: ConsumerId,
    },
    /// What a consumer forwards from now on; `None`: nothing any more.
    ConsumerLayer {
        consumer: ConsumerId,
        layer: Option<u8>,
    },
    /// The layers that consumers want, a bit each.
    LayerDemand {
        producer: ProducerId,
        layers: u8,
    },
}

/// What a fact is about of which only the latest counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    Consumer(ConsumerId),
    Producer(ProducerId),
}

impl MediaEvent {
    /// Of a fact that takes the place of the one before it: what it is about.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            MediaEvent::ConsumerLayer { consumer, .. } => Some(Subject::Consumer(*consumer)),
            MediaEvent::LayerDemand { producer, .. } => Some(Subject::Producer(*producer)),
            _ => None,
        }
    }
}

/// What was received of one producer, all layers together.
#[derive(Clone, PartialEq, Debug)]
pub struct ProducerStats {
    pub id: ProducerId,
    pub mid: Mid,
    /// RTP packets and bytes, headers included, retransmissions counted once.
    pub packets: u64,
    pub bytes: u64,
    /// Missing after repair. What reports tell the publisher is the loss before it.
    pub lost: u64,
    /// Packets that were recovered by a retransmission.
    pub repaired: u64,
    pub nacks_sent: u64,
    pub plis_sent: u64,
    pub keyframes: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1), of the layer that is forwarded.
    pub jitter_ms: f32,
}

/// What was sent by one consumer.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerStats {
    pub id: ConsumerId,
    pub mid: Mid,
    /// RTP packets and bytes, headers included, retransmissions left out.
    pub packets: u64,
    pub bytes: u64,
    pub retransmitted: u64,
    pub nacks_received: u64,
    pub plis_received: u64,
    /// From the peer's last receiver report: on the path, before repair by RTX.
    pub lost: u64,
    /// 0 to 1, since the report before it.
    pub fraction_lost: f32,
    /// As that report tells it.
    pub rtt_ms: Option<f32>,
}

/// The media of one transport as it is now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MediaStats {
    pub producers: Vec<ProducerStats>,
    pub consumers: Vec<ConsumerStats>,
    /// The peer's own estimate of what it can receive (REMB), in bits a second.
    pub remb_bps: Option<u64>,
    /// Round trip, smoothed over reports of both directions; `None` before the first that tells one.
    pub rtt_ms: Option<f32>,
}
