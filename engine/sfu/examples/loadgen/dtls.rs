//! DTLS 1.2 as the client (RFC 6347, RFC 5764): `dimpl`, and the server's fingerprint held against
//! its certificate before any key is used.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls as Handshake, DtlsCertificate, Output};
use parley_sfu::srtp::{SrtpKeys, SrtpProfile};
use ring::digest;

const RECORD_BYTES: usize = 2048;

/// The certificate all clients of the process show. Making one costs more than a handshake.
#[derive(Clone)]
pub struct Certificate {
    inner: DtlsCertificate,
    config: Arc<Config>,
    pub fingerprint: String,
}

impl Certificate {
    pub fn generate() -> Result<Certificate, String> {
        let inner = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| error.to_string())?;
        let config = Config::builder()
            .mtu(1200)
            .flight_start_rto(Duration::from_millis(250))
            .build()
            .map_err(|error| error.to_string())?;
        let fingerprint = fingerprint(&inner.certificate);
        Ok(Certificate {
            inner,
            config: Arc::new(config),
            fingerprint,
        })
    }
}

/// As in `a=fingerprint` (RFC 8122).
fn fingerprint(der: &[u8]) -> String {
    let mut text = "sha-256".to_owned();
    for (index, byte) in digest::digest(&digest::SHA256, der)
        .as_ref()
        .iter()
        .enumerate()
    {
        let _ = write!(text, "{}{byte:02X}", if index == 0 { ' ' } else { ':' });
    }
    text
}

/// What has to be done after DTLS was given something.
pub enum Heard<'a> {
    Record(&'a [u8]),
    Keys(SrtpKeys),
    /// An SCTP packet.
    Data(&'a [u8]),
    Goodbye,
}

/// Why it is over.
#[derive(Clone, Copy, Debug)]
pub struct Broken(pub &'static str);

pub struct Dtls {
    handshake: Handshake,
    expected: String,
    deadline: Option<Instant>,
    buffer: Vec<u8>,
}

impl Dtls {
    /// expected: the fingerprint the server's description names.
    pub fn new(certificate: &Certificate, expected: String, now: Instant) -> Dtls {
        let mut handshake =
            Handshake::new_12(certificate.config.clone(), certificate.inner.clone(), now);
        handshake.set_active(true);
        Dtls {
            handshake,
            expected,
            deadline: None,
            buffer: vec![0; RECORD_BYTES],
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Begins, or goes on after time has passed.
    pub fn on_timer(
        &mut self,
        now: Instant,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        self.handshake
            .handle_timeout(now)
            .map_err(|_| Broken("the DTLS handshake failed"))?;
        self.drain(heard)
    }

    pub fn on_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        self.handshake
            .handle_timeout(now)
            .and_then(|()| self.handshake.handle_packet(datagram))
            .map_err(|_| Broken("the DTLS handshake failed"))?;
        self.drain(heard)
    }

    /// Encrypts one SCTP packet.
    pub fn send(&mut self, data: &[u8], heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), Broken> {
        self.handshake
            .send_application_data(data)
            .map_err(|_| Broken("DTLS took no data"))?;
        self.drain(heard)
    }

    pub fn close(&mut self, heard: &mut dyn FnMut(Heard<'_>)) {
        if self.handshake.close().is_ok() {
            // Nobody waits for what a closing session still has to say.
            let _ = self.drain(heard);
        }
    }

    fn drain(&mut self, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), Broken> {
        loop {
            match self.handshake.poll_output(&mut self.buffer) {
                Output::Packet(record) => heard(Heard::Record(record)),
                // A record has at most 2^14 bytes and some (RFC 5246 §6.2.1).
                Output::BufferTooSmall { needed } if needed > 20_000 => {
                    return Err(Broken("a DTLS record is too long"));
                }
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Timeout(at) => {
                    self.deadline = Some(at);
                    return Ok(());
                }
                Output::PeerCert(der) if !fingerprint(der).eq_ignore_ascii_case(&self.expected) => {
                    return Err(Broken("the server's certificate is not the one it named"));
                }
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmHmacSha1_80,
                        _ => return Err(Broken("an unknown SRTP profile was agreed")),
                    };
                    let keys = SrtpKeys::from_exporter(profile, &material, true)
                        .ok_or(Broken("the SRTP keys are too short"))?;
                    heard(Heard::Keys(keys));
                }
                Output::ApplicationData(data) => heard(Heard::Data(data)),
                Output::CloseNotify => heard(Heard::Goodbye),
                _ => {}
            }
        }
    }
}
