//! Data channels: what the caller holds, and what the shard keeps for each.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

mod channel;
mod handle;
mod links;

pub(crate) use channel::{Channels, Context};
pub use handle::Channel;
pub(crate) use handle::ChannelShared;
#[cfg(test)]
pub(crate) use handle::Delivery;
pub(crate) use links::{Links, Passed};
