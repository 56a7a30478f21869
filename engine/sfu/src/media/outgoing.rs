//! One packet on its way through: as it came from a producer, and as it is built for one peer.

use super::pictures::Picture;
use crate::codec::vp8::Patch;
use crate::rtp::{ExtensionList, Extensions, Header, write_header};
use crate::srtp::Sealer;

/// A packet of a producer, about to be forwarded.
pub(super) struct Incoming<'a> {
    pub header: Header,
    pub extensions: Extensions<'a>,
    pub payload: &'a [u8],
    pub seq: u64,
    pub timestamp: u64,
    /// The first packet of a keyframe.
    pub starts_keyframe: bool,
    /// A receiver that waits may begin here.
    pub is_start: bool,
    /// Of VP8 alone.
    pub picture: Option<Picture>,
}

/// What is written into the packet that a peer gets.
pub(super) struct Outgoing {
    pub pt: u8,
    pub ssrc: u32,
    pub index: u64,
    pub timestamp: u32,
    /// A retransmission: the number of the packet it repeats.
    pub original: Option<u16>,
    pub body: Body,
}

/// What becomes of the payload.
#[derive(Clone, Copy)]
pub(super) enum Body {
    AsItCame,
    /// Its first bytes are others.
    Patched(Patch),
    /// It is left out: only the number counts.
    Empty,
}

impl Body {
    pub fn new(patch: Option<Patch>) -> Body {
        patch.map_or(Body::AsItCame, Body::Patched)
    }
}

/// Builds and seals a packet in `slot`. Its length; `None`: it does not fit, or cannot be sealed.
pub(super) fn build(
    slot: &mut [u8],
    outgoing: &Outgoing,
    incoming: &Incoming<'_>,
    extensions: &ExtensionList<'_>,
    sealer: &mut Sealer,
) -> Option<usize> {
    let header_len = write_header(
        slot,
        incoming.header.marker,
        outgoing.pt,
        outgoing.index as u16,
        outgoing.timestamp,
        outgoing.ssrc,
        extensions,
    )?;
    let mut len = header_len;
    let mut add = |bytes: &[u8]| {
        slot.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    if let Some(original) = outgoing.original {
        add(&original.to_be_bytes())?;
    }
    match &outgoing.body {
        Body::AsItCame => add(incoming.payload)?,
        Body::Patched(patch) => {
            add(patch.bytes())?;
            add(incoming.payload.get(patch.replaced()..)?)?;
        }
        Body::Empty => {}
    }
    sealer
        .seal_rtp(slot, header_len, len, outgoing.ssrc, outgoing.index)
        .ok()
}
