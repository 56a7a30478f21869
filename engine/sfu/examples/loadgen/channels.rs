//! LiveKit's data channels over one SCTP association (RFC 8261, RFC 8831, RFC 8832): this side
//! initiates it, opens what it sends on, and takes what the server opens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use rustc_hash::FxHashMap;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier as Ppid, ReliabilityType, StreamEvent, TransportConfig,
};

use crate::clock;
use crate::messages::{DataPacket, LOSSY, RELIABLE, UserPacket};
use crate::stamp::Stamp;
use crate::tally::DataTotals;

/// RFC 8832 §8.2.1.
const DCEP_ACK: u8 = 2;
const DCEP_OPEN: u8 = 3;
/// Reliable and ordered; unordered without retransmission (RFC 8832 §5.1).
const CHANNEL_RELIABLE: u8 = 0;
const CHANNEL_UNORDERED_REXMIT: u8 = 0x81;

/// RFC 8832 §6: the DTLS client uses even numbers.
const RELIABLE_STREAM: u16 = 0;
const LOSSY_STREAM: u16 = 2;

/// With so much waiting to be acknowledged, further messages are held back.
const MAX_WAITING: usize = 1 << 20;

/// What one publisher sends.
pub struct DataSource {
    /// Number this process gives the stream of messages.
    pub stream: u32,
    pub reliable: bool,
    /// Bytes of each message's payload.
    pub bytes: usize,
    pub every: Duration,
    pub due: Instant,
    count: u32,
    sequence: u32,
}

impl DataSource {
    pub fn new(stream: u32, reliable: bool, bytes: usize, every: Duration, due: Instant) -> Self {
        DataSource {
            stream,
            reliable,
            bytes,
            every,
            due,
            count: 0,
            sequence: 0,
        }
    }
}

/// The messages of one source, as one client receives them.
struct Sink {
    base: u32,
    next: u32,
    received: u64,
}

pub struct Channels {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    is_open: bool,
    /// Whether this side opens the channels.
    opens: bool,
    pub source: Option<DataSource>,
    sinks: FxHashMap<u32, Sink>,
    peer: SocketAddr,
}

impl Channels {
    /// opens: whether this side opens the channels, or takes those of the server.
    pub fn new(opens: bool, now: Instant) -> Channels {
        let transport = TransportConfig::default()
            .with_max_receive_message_size(262_144)
            .with_max_receive_buffer_size(1 << 20)
            .with_max_init_retransmits(None)
            .with_max_data_retransmits(None)
            .with_rto_initial_ms(500)
            .with_rto_min_ms(200);
        let mut config = EndpointConfig::new();
        config.max_payload_size(1120);
        let mut endpoint = Endpoint::new(Arc::new(config), None);
        // SCTP over DTLS has no addresses; the crate wants one.
        let peer = SocketAddr::from(([192, 0, 2, 1], 5000));
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport);
        let mut association = endpoint.connect(client, peer).ok();
        if let Some((_, association)) = &mut association {
            association.handle_timeout(now);
        }
        Channels {
            endpoint,
            association,
            is_open: false,
            opens,
            source: None,
            sinks: FxHashMap::default(),
            peer,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    pub fn on_packet(&mut self, now: Instant, packet: Bytes, totals: &mut DataTotals) {
        let event = self.endpoint.handle(now, self.peer, None, None, packet);
        if let (Some((_, DatagramEvent::AssociationEvent(event))), Some((_, association))) =
            (event, &mut self.association)
        {
            association.handle_event(event);
        }
        self.run(totals);
    }

    pub fn on_timer(&mut self, now: Instant, totals: &mut DataTotals) {
        let Some((handle, association)) = &mut self.association else {
            return;
        };
        if association.poll_timeout().is_some_and(|at| at <= now) {
            association.handle_timeout(now);
        }
        while let Some(event) = association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                association.handle_event(event);
            }
        }
        self.run(totals);
    }

    /// The next packets to encrypt and send.
    pub fn poll_packets(&mut self, now: Instant) -> Option<Vec<Bytes>> {
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

    /// Sends the message that is due, and makes the next one due.
    pub fn send_due(&mut self, now: Instant, totals: &mut DataTotals) {
        let Some(source) = &mut self.source else {
            return;
        };
        source.due = (source.due + source.every).max(now);
        let Some((_, association)) = self.association.as_mut().filter(|_| self.is_open) else {
            return;
        };
        let number = stream_of(source.reliable);
        let Ok(mut stream) = association.stream(number) else {
            return;
        };
        if stream.buffered_amount().unwrap_or(0) > MAX_WAITING {
            totals.held_back += 1;
            return;
        }
        let packet = source.next_packet();
        if stream.write_sctp(&packet, Ppid::Binary).is_ok() {
            totals.sent += 1;
        }
    }

    /// Begins to count anew.
    pub fn rebase(&mut self) {
        for sink in self.sinks.values_mut() {
            sink.base = sink.next;
            sink.received = 0;
        }
    }

    /// Messages that passed by and did not come.
    pub fn lost(&self) -> u64 {
        let lost = |sink: &Sink| u64::from(sink.next - sink.base).saturating_sub(sink.received);
        self.sinks.values().map(lost).sum()
    }

    fn run(&mut self, totals: &mut DataTotals) {
        while let Some(event) = self.association.as_mut().and_then(|(_, a)| a.poll()) {
            match event {
                Event::Connected => self.on_connected(),
                Event::Stream(StreamEvent::Readable { id } | StreamEvent::Opened { id }) => {
                    self.read(id, totals);
                }
                _ => {}
            }
        }
    }

    fn on_connected(&mut self) {
        self.is_open = true;
        let Some((_, association)) = self.association.as_mut().filter(|_| self.opens) else {
            return;
        };
        for (number, label) in [(RELIABLE_STREAM, "_reliable"), (LOSSY_STREAM, "_lossy")] {
            let Ok(mut stream) = association.open_stream(number, Ppid::Binary) else {
                continue;
            };
            let is_lossy = number == LOSSY_STREAM;
            // The question itself is always delivered (RFC 8832 §6).
            if stream
                .write_sctp(&open_message(label, is_lossy), Ppid::Dcep)
                .is_ok()
                && is_lossy
            {
                let _ = stream.set_reliability_params(true, ReliabilityType::Rexmit, 0);
            }
        }
    }

    fn read(&mut self, number: u16, totals: &mut DataTotals) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        let Ok(mut stream) = association.stream(number) else {
            return;
        };
        while let Ok(Some(mut chunks)) = stream.read_sctp() {
            let (ppid, len) = (chunks.ppi, chunks.len());
            let Some(whole) = chunks.next(len) else {
                continue;
            };
            if ppid != Ppid::Dcep {
                take_message(&mut self.sinks, whole.bytes, totals);
            } else if whole.bytes.first() == Some(&DCEP_OPEN) {
                let _ = stream.write_sctp(&Bytes::from_static(&[DCEP_ACK]), Ppid::Dcep);
            }
        }
    }
}

impl DataSource {
    fn next_packet(&mut self) -> Bytes {
        let mut payload = vec![0x5a; self.bytes];
        let stamp = Stamp {
            stream: self.stream,
            count: self.count,
            sent_ns: clock::now_ns(),
        };
        stamp.write(&mut payload);
        self.count += 1;
        self.sequence += u32::from(self.reliable);
        let packet = DataPacket {
            kind: if self.reliable { RELIABLE } else { LOSSY },
            user: Some(UserPacket {
                payload: payload.into(),
            }),
            sequence: self.sequence,
        };
        packet.encode_to_vec().into()
    }
}

fn stream_of(reliable: bool) -> u16 {
    if reliable {
        RELIABLE_STREAM
    } else {
        LOSSY_STREAM
    }
}

/// RFC 8832 §5.1, with normal priority.
fn open_message(label: &str, is_lossy: bool) -> Bytes {
    let kind = if is_lossy {
        CHANNEL_UNORDERED_REXMIT
    } else {
        CHANNEL_RELIABLE
    };
    let mut message = vec![DCEP_OPEN, kind, 1, 0, 0, 0, 0, 0];
    message.extend_from_slice(&(label.len() as u16).to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(label.as_bytes());
    message.into()
}

fn take_message(sinks: &mut FxHashMap<u32, Sink>, message: Bytes, totals: &mut DataTotals) {
    let Ok(DataPacket {
        user: Some(user), ..
    }) = DataPacket::decode(message)
    else {
        return;
    };
    let Some(stamp) = Stamp::read(&user.payload) else {
        return;
    };
    let sink = sinks.entry(stamp.stream).or_insert(Sink {
        base: stamp.count,
        next: stamp.count,
        received: 0,
    });
    if stamp.count < sink.base {
        return;
    }
    sink.next = sink.next.max(stamp.count + 1);
    sink.received += 1;
    totals.received += 1;
    let took_ns = clock::now_ns().saturating_sub(stamp.sent_ns);
    totals.latency_us.add(took_ns / 1000);
}
