//! Control messages of data channels.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| parley_sfu::fuzzing::dcep(message));
