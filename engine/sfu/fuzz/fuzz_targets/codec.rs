//! Payload descriptors of every codec that is looked into.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parley_sfu::codec::Codec;

fuzz_target!(|payload: &[u8]| {
    for codec in [
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::Av1,
        Codec::Opaque,
    ] {
        codec.read(payload);
    }
});
