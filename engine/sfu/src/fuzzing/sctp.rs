//! A peer's end of an association: says what it is told to, properly or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier,
};

use super::input::Input;

pub struct SctpClient {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    /// What the other side wants to see in every packet (RFC 9260 §8.5); 0 until it has said so.
    tag: u32,
}

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000))
}

impl Default for SctpClient {
    fn default() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let connected = endpoint.connect(ClientConfig::new(), server());
        let (handle, association) = connected.expect("the first association is possible");
        SctpClient {
            endpoint,
            handle,
            association,
            tag: 0,
        }
    }
}

impl SctpClient {
    /// Takes one packet of the other side.
    pub fn hear(&mut self, now: Instant, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(now, server(), None, None, packet)
        {
            self.association.handle_event(event);
        }
        while self.association.poll().is_some() {}
    }

    /// The next packets it sends.
    pub fn poll(&mut self, now: Instant) -> Vec<Bytes> {
        let mut out = Vec::new();
        while let Some(event) = self.association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.association.handle_event(event);
            }
        }
        while let Some(transmit) = self
            .endpoint
            .poll_transmit()
            .or_else(|| self.association.poll_transmit(now))
        {
            if let Payload::RawEncode(packets) = transmit.payload {
                out.extend(packets);
            }
        }
        for packet in &out {
            if let Some(tag) = packet.get(4..8) {
                self.tag = u32::from_be_bytes(tag.try_into().expect("four bytes"));
            }
        }
        out
    }

    pub fn on_timer(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    /// Writes a message on a stream, as any client may.
    pub fn write(&mut self, input: &mut Input<'_>) {
        let stream = u16::from(input.below(8));
        let protocol = match input.below(5) {
            0 | 1 => PayloadProtocolIdentifier::Dcep,
            2 => PayloadProtocolIdentifier::String,
            3 => PayloadProtocolIdentifier::Binary,
            _ => PayloadProtocolIdentifier::StringEmpty,
        };
        let data = Bytes::copy_from_slice(input.0);
        // Refused on a stream that is being reset; then nothing is written.
        let _ = self.association.open_stream(stream, protocol);
        if let Ok(mut stream) = self.association.stream(stream) {
            let _ = stream.write_sctp(&data, protocol);
        }
    }

    /// Writes a control message (RFC 8832) on a stream.
    #[cfg(test)]
    pub fn write_on(&mut self, stream: u16, message: &Bytes) {
        let protocol = PayloadProtocolIdentifier::Dcep;
        let mut stream = self
            .association
            .open_stream(stream, protocol)
            .expect("a stream nobody has used");
        stream.write_sctp(message, protocol).expect("room");
    }

    /// Writes a message, and makes the stream if need be.
    #[cfg(test)]
    pub fn say(&mut self, stream: u16, protocol: PayloadProtocolIdentifier, data: &[u8]) {
        // Refused where it is there already.
        let _ = self.association.open_stream(stream, protocol);
        let mut stream = self.association.stream(stream).expect("it is open");
        stream.write_with_ppi(data, protocol).expect("room");
    }

    /// The messages that have arrived on a stream.
    #[cfg(test)]
    pub fn read(&mut self, stream: u16) -> Vec<(PayloadProtocolIdentifier, Vec<u8>)> {
        let association = &mut self.association;
        std::iter::from_fn(|| {
            let mut chunks = association.stream(stream).ok()?.read_sctp().ok()??;
            let (protocol, len) = (chunks.ppi, chunks.len());
            let data = chunks.next(len).expect("it is whole");
            Some((protocol, data.bytes.to_vec()))
        })
        .collect()
    }

    pub fn reset(&mut self, stream: u16) {
        if let Ok(mut stream) = self.association.stream(stream) {
            let _ = stream.close();
        }
    }

    /// A packet with a header that will be taken, and these bytes for chunks.
    pub fn forge(&self, chunks: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        // An INIT stands alone and has no tag yet (RFC 9260 §8.5.1).
        let tag = if chunks.first() == Some(&1) {
            0
        } else {
            self.tag
        };
        packet.extend_from_slice(&tag.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(chunks);
        let sum = crc32c(&packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
        packet
    }
}

/// RFC 9260 appendix A, one bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 * (sum & 1))
        })
    })
}
