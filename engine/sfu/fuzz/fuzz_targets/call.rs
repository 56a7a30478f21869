//! Whole datagrams of two connected peers, under the right keys, and what the caller asks meanwhile.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parley_sfu::fuzzing::FuzzCall;

fuzz_target!(|input: &[u8]| FuzzCall::default().feed(input));
