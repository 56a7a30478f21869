//! Connectivity checks, with and without the right password.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| parley_sfu::fuzzing::stun(bytes));
