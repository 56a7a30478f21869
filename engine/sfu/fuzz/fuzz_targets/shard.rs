//! Whole datagrams of an admitted and of an unknown sender: STUN, DTLS, and media before its keys.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use parley_sfu::fuzzing::FuzzShard;

thread_local! {
    static SHARD: RefCell<FuzzShard> = RefCell::new(FuzzShard::new());
}

fuzz_target!(|input: &[u8]| SHARD.with_borrow_mut(|shard| shard.feed(input)));
