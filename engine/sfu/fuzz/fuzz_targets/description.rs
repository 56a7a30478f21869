//! What descriptions say, made of anything: the peer's transport, its sections, its streams.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| parley_sfu::fuzzing::description(bytes));
