//! The messages of LiveKit's signalling and data channels that a light client uses, and of those the
//! fields it uses. Numbers are those of `livekit_rtc.proto` and `livekit_models.proto`.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct SignalRequest {
    #[prost(oneof = "Request", tags = "1, 2, 4, 8, 16")]
    pub message: Option<Request>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    #[prost(message, tag = "1")]
    Offer(SessionDescription),
    #[prost(message, tag = "2")]
    Answer(SessionDescription),
    #[prost(message, tag = "4")]
    AddTrack(AddTrackRequest),
    #[prost(message, tag = "8")]
    Leave(LeaveRequest),
    #[prost(message, tag = "16")]
    Ping(Ping),
}

#[derive(Clone, PartialEq, Message)]
pub struct SignalResponse {
    #[prost(oneof = "Response", tags = "1, 2, 3, 5, 6, 8, 20, 22")]
    pub message: Option<Response>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Response {
    #[prost(message, tag = "1")]
    Join(JoinResponse),
    #[prost(message, tag = "2")]
    Answer(SessionDescription),
    #[prost(message, tag = "3")]
    Offer(SessionDescription),
    #[prost(message, tag = "5")]
    Update(ParticipantUpdate),
    #[prost(message, tag = "6")]
    TrackPublished(TrackPublished),
    #[prost(message, tag = "8")]
    Leave(LeaveRequest),
    #[prost(message, tag = "20")]
    Pong(Pong),
    #[prost(message, tag = "22")]
    Refused(RequestResponse),
}

#[derive(Clone, PartialEq, Message)]
pub struct JoinResponse {
    #[prost(message, repeated, tag = "3")]
    pub others: Vec<ParticipantInfo>,
    #[prost(int32, tag = "10")]
    pub ping_timeout_s: i32,
    #[prost(int32, tag = "11")]
    pub ping_interval_s: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ParticipantInfo {
    #[prost(string, tag = "1")]
    pub sid: String,
    #[prost(string, tag = "2")]
    pub identity: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ParticipantUpdate {
    #[prost(message, repeated, tag = "1")]
    pub participants: Vec<ParticipantInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SessionDescription {
    /// `offer` or `answer`.
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub sdp: String,
    #[prost(uint32, tag = "3")]
    pub id: u32,
}

/// TrackType.
pub const AUDIO: i32 = 0;
pub const VIDEO: i32 = 1;
/// TrackSource.
pub const CAMERA: i32 = 1;
pub const MICROPHONE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct AddTrackRequest {
    #[prost(string, tag = "1")]
    pub cid: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(int32, tag = "3")]
    pub kind: i32,
    #[prost(uint32, tag = "4")]
    pub width: u32,
    #[prost(uint32, tag = "5")]
    pub height: u32,
    #[prost(int32, tag = "8")]
    pub source: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrackPublished {
    #[prost(string, tag = "1")]
    pub cid: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestResponse {
    #[prost(int32, tag = "2")]
    pub reason: i32,
    #[prost(string, tag = "3")]
    pub message: String,
}

/// DisconnectReason: the client wants to go.
pub const CLIENT_INITIATED: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub struct LeaveRequest {
    #[prost(int32, tag = "2")]
    pub reason: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ping {
    /// Wall clock in milliseconds.
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    #[prost(int64, tag = "2")]
    pub rtt: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Pong {
    #[prost(int64, tag = "1")]
    pub last_ping_timestamp: i64,
}

/// DataPacket.Kind.
pub const RELIABLE: i32 = 0;
pub const LOSSY: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub struct DataPacket {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub user: Option<UserPacket>,
    /// Clients count their reliable packets from 1.
    #[prost(uint32, tag = "16")]
    pub sequence: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct UserPacket {
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: bytes::Bytes,
}
