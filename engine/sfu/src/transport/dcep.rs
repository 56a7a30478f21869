//! The data channel establishment protocol (RFC 8832): OPEN and ACK, read and written.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

use crate::command::ChannelOptions;

const ACK: u8 = 2;
const OPEN: u8 = 3;
const UNORDERED: u8 = 0x80;
const RELIABLE: u8 = 0;
const REXMIT: u8 = 1;
const TIMED: u8 = 2;

/// A message of the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// `stream` and `negotiated` of the options are not part of it.
    Open(ChannelOptions),
    Ack,
}

/// Reads one message; `None` for anything RFC 8832 §5 does not describe.
pub(crate) fn parse(bytes: &[u8]) -> Option<Message> {
    match *bytes.first()? {
        ACK => Some(Message::Ack),
        OPEN => parse_open(bytes).map(Message::Open),
        _ => None,
    }
}

fn parse_open(bytes: &[u8]) -> Option<ChannelOptions> {
    let (head, rest) = bytes.split_at_checked(12)?;
    let [_, kind, _, _, r0, r1, r2, r3, l0, l1, p0, p1] = <[u8; 12]>::try_from(head).ok()?;
    // A limit above 16 bits cannot be expressed to a caller (RTCDataChannel has unsigned short).
    let limit = u32::from_be_bytes([r0, r1, r2, r3]).min(u32::from(u16::MAX)) as u16;
    let (label, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    let protocol = rest.get(..usize::from(u16::from_be_bytes([p0, p1])))?;
    let (max_retransmits, max_lifetime_ms) = match kind & !UNORDERED {
        RELIABLE => (None, None),
        REXMIT => (Some(limit), None),
        TIMED => (None, Some(limit)),
        _ => return None,
    };
    Some(ChannelOptions {
        label: String::from_utf8_lossy(label).into_owned(),
        protocol: String::from_utf8_lossy(protocol).into_owned(),
        stream: None,
        negotiated: false,
        ordered: kind & UNORDERED == 0,
        max_retransmits,
        max_lifetime_ms,
    })
}

/// Writes an OPEN. Label and protocol have at most 65,535 bytes each, which the handle has checked.
pub(crate) fn open(options: &ChannelOptions) -> Vec<u8> {
    let (kind, limit) = match (options.max_retransmits, options.max_lifetime_ms) {
        (Some(limit), _) => (REXMIT, limit),
        (None, Some(limit)) => (TIMED, limit),
        (None, None) => (RELIABLE, 0),
    };
    let kind = if options.ordered {
        kind
    } else {
        kind | UNORDERED
    };
    let (label, protocol) = (options.label.as_bytes(), options.protocol.as_bytes());
    let mut out = Vec::with_capacity(12 + label.len() + protocol.len());
    // Priority 256 is "normal" (RFC 8831 §6.4).
    out.extend_from_slice(&[OPEN, kind, 1, 0]);
    out.extend_from_slice(&u32::from(limit).to_be_bytes());
    out.extend_from_slice(&(label.len() as u16).to_be_bytes());
    out.extend_from_slice(&(protocol.len() as u16).to_be_bytes());
    out.extend_from_slice(label);
    out.extend_from_slice(protocol);
    out
}

pub(crate) const fn ack() -> [u8; 1] {
    [ACK]
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn an_open_reads_as_it_was_written() {
        for (ordered, max_retransmits, max_lifetime_ms) in [
            (true, None, None),
            (false, None, None),
            (true, Some(0), None),
            (false, Some(3), None),
            (false, None, Some(500)),
        ] {
            let options = ChannelOptions {
                label: "_reliable".into(),
                protocol: "ü".into(),
                ordered,
                max_retransmits,
                max_lifetime_ms,
                ..ChannelOptions::default()
            };
            assert_eq!(parse(&open(&options)), Some(Message::Open(options)));
        }
    }

    #[test]
    fn anything_short_or_unknown_is_refused() {
        let whole = open(&ChannelOptions {
            label: "label".into(),
            ..ChannelOptions::default()
        });
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), None);
        }
        assert_eq!(parse(&[0]), None);
        assert_eq!(parse(&[OPEN, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(parse(&[ACK]), Some(Message::Ack));
    }
}
