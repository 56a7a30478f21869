//! The values that cross into the engine: ids, what to receive, what to send, what policy asks.
//!
//! They are plain data: made by negotiation, carried by a command, read once when applied. SDP stays
//! outside; a field here is what remains of it (compare `RTCRtpReceiveParameters` and
//! `RTCRtpSendParameters` of ORTC).

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// One ICE + DTLS + SRTP + SCTP association. Minted by the handle, never used twice in a process.
    TransportId
);
id!(
    /// One encoding of one published track as received. Minted by the handle, never used twice.
    ProducerId
);
id!(
    /// One sender on a transport. Minted by the handle, never used twice.
    ConsumerId
);
id!(
    /// An opaque number: transports that belong together. The engine never learns what it stands for.
    GroupId
);

/// The media identification of a section (RFC 8843 §9.3), mirrored from whoever chose it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Mid(pub Box<str>);

impl Mid {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Mid {
    fn from(text: &str) -> Self {
        Mid(text.into())
    }
}

impl From<String> for Mid {
    fn from(text: String) -> Self {
        Mid(text.into_boxed_str())
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The restriction id of a simulcast layer (RFC 8851), without a leading `~`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Rid(pub Box<str>);

impl Rid {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Rid {
    fn from(text: &str) -> Self {
        Rid(text.into())
    }
}

impl From<String> for Rid {
    fn from(text: String) -> Self {
        Rid(text.into_boxed_str())
    }
}

/// What a section carries. Data sections have a [`DataSpec`] and no kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    Audio,
    Video,
}

/// A direction of one section, as the engine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Flow {
    /// From the peer to the engine: a producer.
    Recv,
    /// From the engine to the peer: a consumer.
    Send,
}

/// One codec of a section with its payload types there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecSpec {
    /// Payload type, 0 to 127.
    pub pt: u8,
    /// Encoding name of `a=rtpmap` in any case: `opus`, `VP8`, `H264`, `VP9`, `AV1`, …
    pub name: String,
    /// RTP clock in hertz.
    pub clock_hz: u32,
    /// Channels of an audio codec; 0 or 1 where it does not apply.
    pub channels: u8,
    /// The value of `a=fmtp`, empty when there is none.
    pub fmtp: String,
    /// Payload type whose `apt` names this one (RFC 4588), when the section has it.
    pub rtx_pt: Option<u8>,
    /// Payload type of RED that carries this codec (RFC 2198), when the section has it.
    pub red_pt: Option<u8>,
}

/// Header-extension ids of one section (RFC 8285), 1 to 255; `None`: not negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    pub audio_level: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    pub abs_send_time: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: Option<u8>,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    pub dependency_descriptor: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`
    pub abs_capture_time: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    pub playout_delay: Option<u8>,
}

impl ExtensionIds {
    /// Every id that is negotiated.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        [
            self.mid,
            self.rid,
            self.repaired_rid,
            self.audio_level,
            self.abs_send_time,
            self.transport_cc,
            self.dependency_descriptor,
            self.abs_capture_time,
            self.playout_delay,
        ]
        .into_iter()
        .flatten()
    }
}

/// What an `a=ssrc-group` says of its members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SsrcSemantics {
    /// Flow identification: a stream and its retransmissions, in this order (RFC 5576 §4.2, RFC 4588).
    Fid,
    /// Legacy simulcast: the layers, lowest first.
    Sim,
}

/// A declared group of synchronisation sources. Other semantics (FEC) are left out by negotiation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SsrcGroup {
    pub semantics: SsrcSemantics,
    pub ssrcs: Vec<u32>,
}

/// What the engine is to receive in one section: becomes a producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecvSpec {
    pub mid: Mid,
    pub kind: MediaKind,
    /// At least one; the first is preferred.
    pub codecs: Vec<CodecSpec>,
    pub extensions: ExtensionIds,
    /// Every SSRC declared with `a=ssrc`, in order; empty when the peer declared none.
    pub ssrcs: Vec<u32>,
    pub groups: Vec<SsrcGroup>,
    /// Simulcast layers in declared order, first of any alternatives; empty without `a=simulcast`.
    pub rids: Vec<Rid>,
    /// Generic NACK is negotiated (RFC 4585).
    pub nack: bool,
    /// Transport-wide feedback is negotiated.
    pub twcc: bool,
    /// `goog-remb` is negotiated.
    pub remb: bool,
}

/// How the peer tells what it can receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Feedback {
    #[default]
    None,
    Remb,
    Twcc,
}

/// What the engine is to send in one section: becomes a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendSpec {
    pub mid: Mid,
    pub kind: MediaKind,
    /// Stays for the life of the consumer, whatever its source.
    pub ssrc: u32,
    /// SSRC of retransmissions; `None`: a lost packet is sent again as it was.
    pub rtx_ssrc: Option<u32>,
    /// At least one. A source with a codec that is not among them is not forwarded.
    pub codecs: Vec<CodecSpec>,
    pub extensions: ExtensionIds,
    pub cname: String,
    /// Generic NACK is answered.
    pub nack: bool,
    pub feedback: Feedback,
}

/// The SCTP association of a transport (RFC 8841).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataSpec {
    /// The peer's `a=sctp-port`, 5000 as a rule.
    pub port: u16,
    /// Largest message the peer takes, in bytes; 0: no limit.
    pub max_message_size: u32,
    /// Streams in each direction.
    pub streams: u16,
}

/// What no SDP states about a producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerPolicy {
    /// Least time between two keyframe requests, in milliseconds, per layer in declared order; the
    /// last one counts for every layer above it. Empty: 500.
    pub keyframe_gap_ms: Vec<u32>,
    /// Highest layer to take, as an index in declared order; `None`: all.
    pub max_layer: Option<u8>,
}

impl Default for ProducerPolicy {
    fn default() -> Self {
        ProducerPolicy {
            keyframe_gap_ms: vec![500, 1000, 1000],
            max_layer: None,
        }
    }
}

/// Layers of one section. Three are usual.
pub const MAX_LAYERS: usize = 8;

/// Which layer of its source a consumer forwards, by index in declared order. An index that the
/// source does not have counts as missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayerPolicy {
    pub target: u8,
    /// Tried in order while the target sends nothing; empty: nothing is sent then.
    pub when_missing: Vec<u8>,
    /// Highest temporal layer that is forwarded; `None`: all.
    pub max_temporal: Option<u8>,
}
