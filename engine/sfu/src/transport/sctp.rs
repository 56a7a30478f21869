//! One SCTP association over DTLS (RFC 8261): `sctp-proto`, waiting for the peer to initiate.
//!
//! Every WebRTC client initiates when it is the DTLS client. Where we are that, we initiate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent,
    TransportConfig,
};

use crate::command::ChannelOptions;
use crate::config::EngineConfig;

/// A payload protocol identifier of RFC 8831 §8. The deprecated partial ones are not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ppid {
    Dcep,
    Text,
    Binary,
}

/// One whole message of one stream.
#[derive(Debug)]
pub(crate) struct Message {
    pub ppid: Ppid,
    pub data: Bytes,
}

/// What happened to the association or one of its streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Happened {
    Established,
    Lost,
    /// There may be messages to read.
    Readable(u16),
    /// Less than the threshold waits to be acknowledged.
    Low(u16),
    /// The peer reset the stream.
    Reset(u16),
    /// The stream's number may be used again.
    Free(u16),
}

/// Streams a peer may have made at one time, channels on them or not. The crate takes 65,536, whatever
/// was negotiated, and looks through all of them for every piece of data.
const MAX_STREAMS: usize = 2048;

/// One association of a transport; another takes its place when DTLS begins anew.
pub(crate) struct Sctp {
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    is_client: bool,
    association: Option<(AssociationHandle, Association)>,
    established: bool,
    /// Streams the peer has made by sending on them, and not given back.
    streams: usize,
    max_send: u32,
    peer: SocketAddr,
    now: Instant,
}

impl Sctp {
    pub fn new(config: &EngineConfig, now: Instant) -> Sctp {
        let transport = TransportConfig::default()
            .with_max_receive_message_size(config.max_message_bytes)
            .with_max_receive_buffer_size(config.sctp_window_bytes.max(config.max_message_bytes))
            // Whether the peer is there is for ICE to say.
            .with_max_init_retransmits(None)
            .with_max_data_retransmits(None)
            .with_rto_initial_ms(500)
            // RFC 9260's second is far above the paths of a call; a lost tail would wait for it.
            .with_rto_min_ms(200)
            .with_rto_max_ms(10_000);
        let transport = Arc::new(transport);
        let mut server = ServerConfig::new();
        server.transport = transport.clone();
        let mut endpoint = EndpointConfig::new();
        // 12 + 16 bytes of SCTP headers, 13 + 8 + 16 of a DTLS record under AES-GCM, rounded up.
        endpoint.max_payload_size(config.mtu_bytes.saturating_sub(80) as u32);
        Sctp {
            endpoint: Endpoint::new(Arc::new(endpoint), Some(Arc::new(server))),
            transport,
            is_client: false,
            association: None,
            established: false,
            streams: 0,
            max_send: u32::MAX,
            // SCTP over DTLS has no addresses; the crate wants one and compares nothing with it.
            peer: SocketAddr::from(([192, 0, 2, 1], 5000)),
            now,
        }
    }

    /// Sends the first INIT, once; nothing where the association is there already.
    pub fn initiate(&mut self) {
        if self.association.is_some() || self.is_client {
            return;
        }
        self.is_client = true;
        let mut config = ClientConfig::new();
        config.transport = self.transport.clone();
        self.association = self.endpoint.connect(config, self.peer).ok();
        self.endpoint.reject_new_associations();
    }

    /// We are the DTLS client, and have the even streams (RFC 8832 §6).
    pub fn is_client(&self) -> bool {
        self.is_client
    }

    pub fn is_established(&self) -> bool {
        self.established
    }

    /// `bytes`: the largest message the peer takes, 0 for any. Channels open from now on know it.
    pub fn set_max_send(&mut self, bytes: u32) {
        self.max_send = if bytes == 0 { u32::MAX } else { bytes };
        if let Some((_, association)) = &mut self.association {
            association.set_max_send_message_size(self.max_send);
        }
    }

    pub fn max_send(&self) -> u32 {
        self.max_send
    }

    pub fn rtt(&self) -> Option<Duration> {
        // The crate tells its retransmission timeout, which is what it calls rtt.
        let (_, association) = self.association.as_ref()?;
        self.established.then(|| association.rtt())
    }

    /// Takes one decrypted packet.
    pub fn on_packet(&mut self, now: Instant, packet: &[u8]) {
        self.now = now;
        let packet = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(now, self.peer, None, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
                // A later INIT with another tag is passed over, not given a second association.
                self.endpoint.reject_new_associations();
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            None => {}
        }
    }

    pub fn on_timer(&mut self, now: Instant) {
        self.now = now;
        let Some((handle, association)) = &mut self.association else {
            return;
        };
        association.handle_timeout(now);
        while let Some(event) = association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                association.handle_event(event);
            }
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    /// The next packets to encrypt and send.
    pub fn poll_packets(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        self.now = now;
        loop {
            let transmit = match self.endpoint.poll_transmit() {
                Some(transmit) => transmit,
                None => self.association.as_mut()?.1.poll_transmit(now)?,
            };
            if let Payload::RawEncode(packets) = transmit.payload {
                return Some(packets);
            }
        }
    }

    pub fn poll(&mut self) -> Option<Happened> {
        let (_, association) = self.association.as_mut()?;
        loop {
            return Some(match association.poll()? {
                Event::Connected => {
                    association.set_max_send_message_size(self.max_send);
                    self.established = true;
                    Happened::Established
                }
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => {
                    self.established = false;
                    Happened::Lost
                }
                Event::Stream(StreamEvent::Opened { id }) => {
                    // The crate keeps a list of those nobody has accepted.
                    association.accept_stream();
                    self.streams += 1;
                    if self.streams > MAX_STREAMS {
                        // It is not given another one: its peer means no good.
                        self.association = None;
                        self.established = false;
                        return Some(Happened::Lost);
                    }
                    Happened::Readable(id)
                }
                Event::Stream(StreamEvent::Readable { id }) => Happened::Readable(id),
                Event::Stream(StreamEvent::BufferedAmountLow { id }) => Happened::Low(id),
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => {
                    Happened::Reset(id)
                }
                Event::Stream(StreamEvent::ResetComplete { id }) => {
                    self.streams = self.streams.saturating_sub(1);
                    Happened::Free(id)
                }
                _ => continue,
            });
        }
    }

    /// Opens a stream for writing, or adopts the one the peer has made by sending on it. False: its
    /// number is still in use.
    pub fn open(&mut self, stream: u16) -> bool {
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        match association.open_stream(stream, PayloadProtocolIdentifier::Binary) {
            Ok(_) => true,
            Err(sctp_proto::Error::ErrStreamAlreadyExist) => association
                .stream(stream)
                .is_ok_and(|s| s.is_readable() && s.is_writable()),
            Err(_) => false,
        }
    }

    /// Whether anybody has made this stream.
    pub fn exists(&mut self, stream: u16) -> bool {
        self.association
            .as_mut()
            .is_some_and(|(_, association)| association.stream(stream).is_ok())
    }

    /// How messages written from now on are delivered, and below what amount of them `Low` is told.
    pub fn set_delivery(&mut self, stream: u16, options: &ChannelOptions, low: usize) {
        let (kind, limit) = match (options.max_retransmits, options.max_lifetime_ms) {
            (Some(limit), _) => (ReliabilityType::Rexmit, limit),
            (None, Some(limit)) => (ReliabilityType::Timed, limit),
            (None, None) => (ReliabilityType::Reliable, 0),
        };
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(stream)
        {
            // Both fail only for a stream that is gone, and then nothing is written to it either.
            let _ = stream.set_reliability_params(!options.ordered, kind, u32::from(limit));
            let _ = stream.set_buffered_amount_low_threshold(low);
        }
    }

    /// Bytes of a stream that are not acknowledged yet.
    pub fn in_flight(&mut self, stream: u16) -> usize {
        self.association
            .as_mut()
            .and_then(|(_, association)| association.stream(stream).ok()?.buffered_amount().ok())
            .unwrap_or(0)
    }

    /// Writes one message, whose bytes are shared and not copied; an empty one travels as RFC 8831
    /// §6.6 says. False: the stream takes none.
    pub fn write(&mut self, stream: u16, ppid: Ppid, data: &Bytes) -> bool {
        const ONE_BYTE: Bytes = Bytes::from_static(&[0]);
        let empty = data.is_empty();
        let protocol = match ppid {
            Ppid::Dcep => PayloadProtocolIdentifier::Dcep,
            Ppid::Text if empty => PayloadProtocolIdentifier::StringEmpty,
            Ppid::Text => PayloadProtocolIdentifier::String,
            Ppid::Binary if empty => PayloadProtocolIdentifier::BinaryEmpty,
            Ppid::Binary => PayloadProtocolIdentifier::Binary,
        };
        let Some((_, association)) = &mut self.association else {
            return false;
        };
        let Ok(mut stream) = association.stream(stream) else {
            return false;
        };
        let data = if empty { ONE_BYTE } else { data.clone() };
        // What is written under a protocol of its own is copied by the crate; this is not.
        stream.set_default_payload_type(protocol).is_ok()
            && stream.write_chunks(&mut [data]).is_ok()
    }

    /// The next whole message of a stream.
    pub fn read(&mut self, stream: u16) -> Option<Message> {
        let (_, association) = self.association.as_mut()?;
        let mut stream = association.stream(stream).ok()?;
        loop {
            let mut chunks = stream.read_sctp().ok()??;
            let ppid = match chunks.ppi {
                PayloadProtocolIdentifier::Dcep => Ppid::Dcep,
                PayloadProtocolIdentifier::String | PayloadProtocolIdentifier::StringEmpty => {
                    Ppid::Text
                }
                PayloadProtocolIdentifier::Binary | PayloadProtocolIdentifier::BinaryEmpty => {
                    Ppid::Binary
                }
                PayloadProtocolIdentifier::Unknown => continue,
            };
            let empty = matches!(
                chunks.ppi,
                PayloadProtocolIdentifier::StringEmpty | PayloadProtocolIdentifier::BinaryEmpty
            );
            let len = if empty { 0 } else { chunks.len() };
            let data = chunks
                .next(len)
                .map_or_else(Bytes::new, |whole| whole.bytes);
            return Some(Message { ppid, data });
        }
    }

    /// Resets our direction of a stream, and with it the peer's.
    pub fn reset(&mut self, stream: u16) {
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(stream)
        {
            // It fails only when there is no association to send the request on.
            let _ = stream.close();
        }
    }
}
