//! Parley's media engine: encrypted RTP in once, out to everyone who asked.
//!
//! The engine knows transports, producers, consumers and data channels; it knows no room, no
//! description and no Python. [`Engine`] is the whole surface: values go down ([`command`]), facts
//! come up ([`event`]). One thread, the shard, owns the socket and everything behind it.

#![deny(unsafe_code)]

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod census;
pub mod codec;
pub mod command;
pub mod config;
mod data;
mod engine;
mod error;
pub mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod media;
mod net;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod port;
pub mod rtcp;
pub mod rtp;
mod shard;
pub mod spec;
pub mod srtp;
mod transport;
mod wire;

/// Where tests may plant a panic; nothing in what is shipped.
macro_rules! strike {
    ($place:ident, $id:expr) => {
        #[cfg(feature = "planted")]
        crate::planted::strike(crate::planted::Place::$place, $id)
    };
}
pub(crate) use strike;

pub use data::Channel;
pub use engine::{Engine, Transport};
pub use error::Error;
