//! An association and its data channels: packets as any peer may write them, and messages properly sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parley_sfu::fuzzing::FuzzAssociation;

fuzz_target!(|input: &[u8]| FuzzAssociation::default().feed(input));
