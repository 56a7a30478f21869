//! Data channels: what the caller holds, and what the shard keeps for each.

mod handle;

pub use handle::Channel;
pub(crate) use handle::ChannelShared;
