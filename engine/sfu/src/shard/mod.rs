//! The shard: one thread that owns a socket, its transports, and everything they carry.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use crate::config::EngineConfig;
use crate::net::udp::UdpSocket;
use crate::port::Port;

/// The self-signed certificate every transport of the process shows.
pub(crate) struct Certificate {
    inner: dimpl::DtlsCertificate,
}

impl Certificate {
    /// A fresh P-256 key and certificate.
    pub fn generate() -> Result<Certificate, String> {
        dimpl::certificate::generate_self_signed_certificate()
            .map(|inner| Certificate { inner })
            .map_err(|error| error.to_string())
    }

    /// As in `a=fingerprint` (RFC 8122): `sha-256 AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, &self.inner.certificate);
        let hex: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        format!("sha-256 {}", hex.join(":"))
    }
}

/// Counters as last written by the shard, for whoever asks.
#[derive(Default)]
pub(crate) struct Board {
    values: Mutex<Vec<(&'static str, u64)>>,
}

impl Board {
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) struct Shard {
    port: Arc<Port>,
}

impl Shard {
    pub fn new(
        _config: EngineConfig,
        _socket: UdpSocket,
        _certificate: Certificate,
        _candidates: Vec<SocketAddr>,
        port: Arc<Port>,
        _board: Arc<Board>,
    ) -> io::Result<Shard> {
        Ok(Shard { port })
    }

    pub fn run(self) {
        while !self.port.stopping() {
            while self.port.next_command().is_some() {}
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
