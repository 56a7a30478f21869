//! Which codec of a sending section is that of a source.

use crate::spec::CodecSpec;

/// The payload types that a codec of the source has toward a peer.
#[derive(Clone, Copy)]
pub(super) struct OutCodec {
    pub pt: u8,
    pub rtx_pt: Option<u8>,
}

/// The codec among `codecs` that is the source's: the same name, clock and channels, and the same
/// profile where one codec is listed with several.
pub(super) fn matching(codecs: &[CodecSpec], source: &CodecSpec) -> Option<OutCodec> {
    let alike = |codec: &&CodecSpec| {
        codec.name.eq_ignore_ascii_case(&source.name)
            && codec.clock_hz == source.clock_hz
            && codec.channels.max(1) == source.channels.max(1)
            && mode(codec) == mode(source)
    };
    let exact = |codec: &&CodecSpec| profile(codec).eq_ignore_ascii_case(profile(source));
    let mut candidates = codecs.iter().filter(alike);
    let codec = candidates
        .clone()
        .find(exact)
        .or_else(|| candidates.next())?;
    Some(OutCodec {
        pt: codec.pt,
        rtx_pt: codec.rtx_pt,
    })
}

/// Of one `a=fmtp` parameter, its value in any case.
fn parameter<'a>(codec: &'a CodecSpec, name: &str) -> Option<&'a str> {
    codec.fmtp.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// RFC 6184 §8.2.2: a receiver of one packetization mode cannot take the other.
fn mode(codec: &CodecSpec) -> &str {
    parameter(codec, "packetization-mode").unwrap_or("0")
}

fn profile(codec: &CodecSpec) -> &str {
    // The level of H264 may differ: it limits the sender, who negotiated it with us.
    let of_h264 = parameter(codec, "profile-level-id").map(|id| id.get(..4).unwrap_or(id));
    of_h264
        .or_else(|| parameter(codec, "profile-id"))
        .or_else(|| parameter(codec, "profile"))
        .unwrap_or("0")
}
