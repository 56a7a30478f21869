//! Where bytes meet the system: the socket, the slots datagrams are built in, and who they belong to.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

pub(crate) mod arena;
pub(crate) mod demux;
pub(crate) mod sys;
pub(crate) mod udp;
