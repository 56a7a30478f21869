//! How the engine is started. Every limit of the packet path is a field here.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::error::Error;

/// An address put into candidates. `port`: the socket's own when `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce {
    pub ip: IpAddr,
    pub port: Option<u16>,
}

/// How the engine is started.
#[derive(Clone, PartialEq, Debug)]
pub struct EngineConfig {
    /// Address the media socket is bound to.
    pub bind: IpAddr,
    /// 0: one chosen by the kernel, to be read from the candidates.
    pub udp_port: u16,
    /// Empty: `bind`, or what the host has when that is unspecified.
    pub announce: Vec<Announce>,
    /// Largest RTP packet or DTLS record that is sent.
    pub mtu_bytes: usize,
    /// How long received packets are kept for retransmission.
    pub rtx_cache: Duration,
    /// Silence after which a transport is `Disconnected`.
    pub disconnected: Duration,
    /// Silence after which a transport is `Failed`; also the limit for the first connection,
    /// counted from the peer's description.
    pub failed: Duration,
    /// Between two sender reports of one sender.
    pub sr_interval: Duration,
    /// STUN requests a second from one source address; what exceeds it is dropped.
    pub stun_rate: u32,
    /// Transports whose peer is awaited at one time: each for at most `failed`, from its making and
    /// again from its peer's description.
    pub max_pending: usize,
    pub max_transports: usize,
    pub max_transports_per_group: usize,
    /// SCTP receive window, and what SCTP itself may hold for sending, in bytes per transport.
    pub sctp_window_bytes: u32,
    /// Largest data-channel message taken from a peer.
    pub max_message_bytes: u32,
    /// What a channel may hold for sending, and separately what it may hold until it is drained, in
    /// bytes, unless `set_limit` says otherwise.
    pub channel_limit_bytes: usize,
    pub command_queue: usize,
    pub event_queue: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            udp_port: 7882,
            announce: Vec::new(),
            mtu_bytes: 1200,
            rtx_cache: Duration::from_millis(1000),
            disconnected: Duration::from_secs(5),
            failed: Duration::from_secs(10),
            sr_interval: Duration::from_secs(3),
            stun_rate: 200,
            max_pending: 1000,
            max_transports: 10_000,
            max_transports_per_group: 5000,
            sctp_window_bytes: 1 << 20,
            max_message_bytes: 262_144,
            channel_limit_bytes: 1 << 20,
            command_queue: 4096,
            event_queue: 65_536,
        }
    }
}

impl EngineConfig {
    /// Refuses values that cannot work, by the name of the field.
    pub fn check(&self) -> Result<(), Error> {
        // A slot of the arena has 1536 bytes; IPv6 and UDP headers take 48 of an Ethernet frame.
        in_range("mtu_bytes", self.mtu_bytes, 576, 1452)?;
        in_range("command_queue", self.command_queue, 16, 1 << 20)?;
        in_range("event_queue", self.event_queue, 64, 1 << 24)?;
        in_range("max_transports", self.max_transports, 1, 1 << 20)?;
        in_range(
            "max_transports_per_group",
            self.max_transports_per_group,
            1,
            1 << 20,
        )?;
        in_range("max_pending", self.max_pending, 1, 1 << 20)?;
        in_range("stun_rate", self.stun_rate as usize, 1, 1 << 20)?;
        in_range(
            "sctp_window_bytes",
            self.sctp_window_bytes as usize,
            16_384,
            1 << 28,
        )?;
        in_range(
            "max_message_bytes",
            self.max_message_bytes as usize,
            1200,
            1 << 28,
        )?;
        in_range(
            "channel_limit_bytes",
            self.channel_limit_bytes,
            1200,
            1 << 30,
        )?;
        if self.failed < self.disconnected {
            return Err(Error::Config {
                field: "failed",
                reason: format!(
                    "{:?} is before disconnected {:?}",
                    self.failed, self.disconnected
                ),
            });
        }
        Ok(())
    }
}

fn in_range(field: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Config {
        field,
        reason: format!("{value} is outside {least} to {most}"),
    })
}
