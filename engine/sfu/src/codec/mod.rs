//! What a payload shows of itself: whether a picture that needs no other begins here.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

mod av1;
mod h264;
pub mod vp8;
mod vp9;

use crate::spec::MediaKind;
use vp8::Descriptor;

/// The codecs that are looked into; every other is carried unseen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    Vp8,
    Vp9,
    H264,
    Av1,
    /// Opus, other audio, and video that nothing is known of: every packet is a place to begin.
    Opaque,
}

impl Codec {
    /// By the encoding name of `a=rtpmap`, in any case.
    pub fn from_name(kind: MediaKind, name: &str) -> Codec {
        let known = [
            ("VP8", Codec::Vp8),
            ("VP9", Codec::Vp9),
            ("H264", Codec::H264),
            ("AV1", Codec::Av1),
        ];
        match kind {
            MediaKind::Audio => Codec::Opaque,
            MediaKind::Video => known
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map_or(Codec::Opaque, |(_, codec)| *codec),
        }
    }

    /// Whether a receiver can begin only where [`View::starts_keyframe`] says so.
    pub fn has_keyframes(self) -> bool {
        self != Codec::Opaque
    }

    /// What a payload shows of itself.
    ///
    /// payload: of one RTP packet, without padding. Reads only what end-to-end encryption leaves
    /// clear: payload descriptors, NAL unit headers, the first byte of a VP8 frame.
    pub fn read(self, payload: &[u8]) -> View {
        let vp8 = match self {
            Codec::Vp8 => Descriptor::read(payload),
            _ => None,
        };
        let starts_keyframe = match self {
            Codec::Vp8 => vp8.and_then(|descriptor| descriptor.starts_keyframe(payload)),
            Codec::Vp9 => vp9::starts_keyframe(payload),
            Codec::H264 => h264::starts_keyframe(payload),
            Codec::Av1 => av1::starts_keyframe(payload),
            Codec::Opaque => None,
        };
        View {
            starts_keyframe: starts_keyframe.unwrap_or(false),
            vp8,
        }
    }
}

/// What one payload shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// This is the first packet of a keyframe, or of the parameters that precede one.
    pub starts_keyframe: bool,
    /// The payload begins with numbers of VP8.
    pub vp8: Option<Descriptor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const ALL: [Codec; 5] = [
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::Av1,
        Codec::Opaque,
    ];

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Codec::from_name(MediaKind::Video, "vp8"), Codec::Vp8);
        assert_eq!(Codec::from_name(MediaKind::Video, "H264"), Codec::H264);
        assert_eq!(Codec::from_name(MediaKind::Video, "H265"), Codec::Opaque);
        assert_eq!(Codec::from_name(MediaKind::Audio, "opus"), Codec::Opaque);
    }

    proptest! {
        #[test]
        fn any_payload_is_read_without_harm(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            for codec in ALL {
                codec.read(&payload);
            }
        }
    }
}
