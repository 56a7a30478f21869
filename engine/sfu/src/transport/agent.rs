//! The ICE agent of a transport: lite for clients, full for peers that are lite themselves.

use std::net::SocketAddr;

use super::full::Full;
use super::ice::Ice;

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every agent is lite, and is looked at for every check"
)]
pub(crate) enum Agent {
    Lite(Ice),
    Full(Box<Full>),
}

impl Agent {
    /// Local ufrags that checks may name.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        let (lite, full) = match self {
            Agent::Lite(ice) => (Some(ice.ufrags()), None),
            Agent::Full(full) => (None, Some(full.ufrag())),
        };
        lite.into_iter().flatten().chain(full)
    }

    /// Addresses that have passed a check.
    pub fn senders(&self) -> &[SocketAddr] {
        match self {
            Agent::Lite(ice) => ice.senders(),
            Agent::Full(full) => full.senders(),
        }
    }

    /// Where datagrams go.
    pub fn selected(&self) -> Option<SocketAddr> {
        match self {
            Agent::Lite(ice) => ice.selected(),
            Agent::Full(full) => full.selected(),
        }
    }

    /// Has datagrams go to a sender that has passed a check. False: they do, or it has not.
    pub fn select(&mut self, sender: SocketAddr) -> bool {
        match self {
            Agent::Lite(ice) => ice.select(sender),
            Agent::Full(full) => full.select(sender),
        }
    }

    /// Takes further credentials of ours. Returns a ufrag that is over.
    pub fn restart(&mut self, ufrag: String, pwd: String) -> Option<String> {
        match self {
            Agent::Lite(ice) => ice.restart(ufrag, pwd),
            Agent::Full(full) => Some(full.restart(ufrag, pwd)),
        }
    }

    pub fn full(&mut self) -> Option<&mut Full> {
        match self {
            Agent::Lite(_) => None,
            Agent::Full(full) => Some(full),
        }
    }
}
