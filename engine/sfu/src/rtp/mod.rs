//! RTP packets (RFC 3550 §5): a view over received bytes and a writer into sent ones.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

mod ext;
mod header;
mod write;

pub use ext::{ExtensionMap, Extensions};
pub use header::{Header, is_rtcp};
pub use write::{ExtensionList, write_header};
