//! Panics on purpose, for the tests of what contains them. Without the feature `planted` there are none.

use std::cell::Cell;

/// Where the next panic is. Each is named with the id of the object whose turn it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A datagram of a transport.
    Datagram,
    /// A timer of a transport.
    Timer,
    /// A command for a transport.
    Command,
    /// A packet on its way to a consumer.
    Forward,
    /// Reports and feedback of a transport.
    MediaTimer,
    /// A command for a consumer.
    MediaCommand,
    /// The end of a transport.
    Goodbye,
    /// The shard's own turn; the id says nothing.
    Turn,
}

thread_local! {
    // One shard, one thread: engines of other tests are not struck.
    static NEXT: Cell<Option<(Place, u64)>> = const { Cell::new(None) };
}

pub(crate) fn plant(place: Place, id: u64) {
    NEXT.set(Some((place, id)));
}

/// Panics if this is the place, once.
pub(crate) fn strike(place: Place, id: u64) {
    if NEXT.get() == Some((place, id)) {
        NEXT.set(None);
        panic!("on purpose");
    }
}
