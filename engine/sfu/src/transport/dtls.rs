//! DTLS 1.2, as the server but towards lite peers (RFC 6347, RFC 5764): `dimpl` behind the few questions a transport asks.
//!
//! The peer's certificate is compared with the fingerprint of its description before any key leaves
//! this module, in whichever order the two arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls as Handshake, DtlsCertificate, Output};
use ring::digest;

use crate::srtp::{SrtpKeys, SrtpProfile};

/// Largest record that is read or built: an Ethernet frame's worth and the overhead of a record.
const RECORD_BYTES: usize = 2048;

/// The self-signed certificate every transport of the process shows.
#[derive(Clone)]
pub(crate) struct Certificate {
    inner: DtlsCertificate,
    config: Arc<Config>,
}

impl Certificate {
    /// A fresh P-256 key and certificate. `mtu`: largest record that is sent.
    pub fn generate(mtu: usize) -> Result<Certificate, String> {
        let inner = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| error.to_string())?;
        let config = Config::builder()
            .mtu(mtu)
            // The address is proven by ICE before a ClientHello is looked at.
            .use_server_cookie(false)
            // A lost flight of a browser behind 50 ms is repeated within a few round trips.
            .flight_start_rto(Duration::from_millis(250))
            .flight_retries(6)
            .handshake_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Certificate {
            inner,
            config: Arc::new(config),
        })
    }

    /// As in `a=fingerprint` (RFC 8122): `sha-256 AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        Fingerprint::of(&self.inner.certificate).to_string()
    }
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Fingerprint {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }

    /// Reads `sha-256 AB:CD:…` in either case; `None` for another hash or another length.
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let (hash, hex) = text.trim().split_once(' ')?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut bytes = [0; 32];
        let mut pairs = hex.trim().split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Fingerprint(bytes))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha-256 ")?;
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// What the transport has to do after DTLS was given something.
pub(crate) enum Heard<'a> {
    /// Send this record.
    Record(&'a [u8]),
    /// The handshake is done and the certificate is the one named. `None`: no SRTP was agreed.
    Ready(Option<SrtpKeys>),
    /// Plaintext from the peer: an SCTP packet. Only after `Ready`.
    Data(&'a [u8]),
    /// The peer said goodbye.
    Goodbye,
}

/// Why there is nothing more to hope for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    Handshake,
    Fingerprint,
}

/// The DTLS side of one transport.
pub(crate) struct Dtls {
    handshake: Handshake,
    is_client: bool,
    expected: Option<Fingerprint>,
    shown: Option<Fingerprint>,
    keys: Option<SrtpKeys>,
    connected: bool,
    ready: bool,
    goodbye: bool,
    /// What the peer sent between its Finished and our knowing whom to expect. Its first SCTP packet
    /// is among it: lost, the peer would ask again only after a second (RFC 9260 §16, T1-init).
    early: Vec<Vec<u8>>,
    deadline: Option<Instant>,
    buffer: Box<[u8]>,
}

/// Records kept of a peer whose description is still on its way.
const MAX_EARLY: usize = 8;

impl Dtls {
    pub fn new(certificate: &Certificate, now: Instant) -> Dtls {
        Dtls {
            handshake: Handshake::new_12(
                certificate.config.clone(),
                certificate.inner.clone(),
                now,
            ),
            is_client: false,
            expected: None,
            shown: None,
            keys: None,
            connected: false,
            ready: false,
            goodbye: false,
            early: Vec::new(),
            deadline: None,
            buffer: vec![0; RECORD_BYTES].into_boxed_slice(),
        }
    }

    /// The side that opens the handshake, with its first [`on_timer`](Self::on_timer).
    pub fn client(certificate: &Certificate, now: Instant) -> Dtls {
        let mut dtls = Dtls::new(certificate, now);
        dtls.handshake.set_active(true);
        dtls.is_client = true;
        dtls
    }

    pub fn is_client(&self) -> bool {
        self.is_client
    }

    /// Handshake done, certificate as named.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// When [`on_timer`](Self::on_timer) is next wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether this certificate is the one already named, or none has been.
    pub fn may_expect(&self, fingerprint: Fingerprint) -> bool {
        self.expected.is_none_or(|known| known == fingerprint)
    }

    /// Names the certificate the peer is to show. A second, different one is refused: it would be
    /// another peer.
    pub fn expect(
        &mut self,
        fingerprint: Fingerprint,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        match self.expected {
            Some(known) if known != fingerprint => Err(Broken::Fingerprint),
            Some(_) => Ok(()),
            None => {
                self.expected = Some(fingerprint);
                self.settle(heard)
            }
        }
    }

    /// Takes one datagram. True when it changed anything, which only an authentic record can do once
    /// the handshake is over.
    pub fn on_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<bool, Broken> {
        self.handshake
            .handle_timeout(now)
            .and_then(|()| self.handshake.handle_packet(datagram))
            .map_err(|_| Broken::Handshake)?;
        self.drain(heard)
    }

    pub fn on_timer(
        &mut self,
        now: Instant,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        self.handshake
            .handle_timeout(now)
            .map_err(|_| Broken::Handshake)?;
        self.drain(heard).map(|_| ())
    }

    /// Encrypts one packet of the peer's association. Nothing happens before `Ready`.
    pub fn send(&mut self, data: &[u8], heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), Broken> {
        if !self.ready || self.goodbye {
            return Ok(());
        }
        self.handshake
            .send_application_data(data)
            .map_err(|_| Broken::Handshake)?;
        self.drain(heard).map(|_| ())
    }

    /// Says goodbye, once, if there is a session to end.
    pub fn close(&mut self, heard: &mut dyn FnMut(Heard<'_>)) {
        if self.handshake.close().is_ok() {
            // What a closing session still has to say cannot matter any more.
            let _ = self.drain(heard);
        }
    }

    fn drain(&mut self, heard: &mut dyn FnMut(Heard<'_>)) -> Result<bool, Broken> {
        let mut progress = false;
        loop {
            match self.handshake.poll_output(&mut self.buffer) {
                Output::Packet(record) => heard(Heard::Record(record)),
                Output::BufferTooSmall { needed } => {
                    // A record of the peer has at most 2^14 bytes and some (RFC 5246 §6.2.1).
                    if needed > 20_000 {
                        return Err(Broken::Handshake);
                    }
                    self.buffer = vec![0; needed].into_boxed_slice();
                }
                Output::Timeout(at) => {
                    self.deadline = Some(at);
                    break;
                }
                Output::Connected => {
                    progress = true;
                    self.connected = true;
                }
                Output::PeerCert(der) => {
                    progress = true;
                    self.shown = Some(Fingerprint::of(der));
                }
                Output::KeyingMaterial(material, profile) => {
                    progress = true;
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmHmacSha1_80,
                        _ => return Err(Broken::Handshake),
                    };
                    self.keys = SrtpKeys::from_exporter(profile, &material, self.is_client);
                }
                Output::ApplicationData(data) => {
                    progress = true;
                    // Before the certificate is known to be the right one, nobody is listening.
                    if self.ready {
                        heard(Heard::Data(data));
                    } else if self.early.len() < MAX_EARLY {
                        self.early.push(data.to_vec());
                    }
                }
                Output::CloseNotify => {
                    progress = true;
                    if !self.goodbye {
                        self.goodbye = true;
                        heard(Heard::Goodbye);
                    }
                }
                _ => {}
            }
        }
        self.settle(heard)?;
        Ok(progress)
    }

    /// Hands out the keys once both the handshake and the fingerprint are there and agree.
    fn settle(&mut self, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), Broken> {
        let (Some(expected), Some(shown)) = (self.expected, self.shown) else {
            return Ok(());
        };
        if expected != shown {
            return Err(Broken::Fingerprint);
        }
        if self.connected && !self.ready {
            self.ready = true;
            heard(Heard::Ready(self.keys.take()));
            for data in std::mem::take(&mut self.early) {
                heard(Heard::Data(&data));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ahash::RandomState;

    use super::*;
    use crate::srtp::{MasterKey, Opener, Sealer};

    /// A browser's side of the handshake, with `dimpl` as the client.
    struct Client {
        dtls: Handshake,
        fingerprint: Fingerprint,
        connected: bool,
        keys: Option<(Vec<u8>, dimpl::SrtpProfile)>,
    }

    impl Client {
        fn new(now: Instant) -> Client {
            let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
            let fingerprint = Fingerprint::of(&certificate.certificate);
            let config = Arc::new(Config::builder().build().unwrap());
            let mut dtls = Handshake::new_12(config, certificate, now);
            dtls.set_active(true);
            dtls.handle_timeout(now).unwrap();
            Client {
                dtls,
                fingerprint,
                connected: false,
                keys: None,
            }
        }

        fn poll(&mut self) -> (Vec<Vec<u8>>, Instant) {
            let mut buffer = vec![0; RECORD_BYTES];
            let mut out = Vec::new();
            loop {
                match self.dtls.poll_output(&mut buffer) {
                    Output::Packet(record) => out.push(record.to_vec()),
                    Output::Timeout(at) => return (out, at),
                    Output::Connected => self.connected = true,
                    Output::KeyingMaterial(material, profile) => {
                        self.keys = Some((material.to_vec(), profile));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Splits an unfragmented ClientHello into fragments of the given sizes, each in a record of its
    /// own, as RFC 6347 §4.2.3 describes. Extra bytes are a padding-like unknown extension, so that
    /// the hello is as long as one with a post-quantum key share.
    fn fragments(record: &[u8], sizes: &[usize], grow: usize) -> Vec<Vec<u8>> {
        let handshake = &record[13..];
        assert_eq!(handshake[0], 1, "not a ClientHello");
        let body = handshake[12..].to_vec();
        let body = with_extension(body, grow);
        let total = body.len();
        let mut out = Vec::new();
        let mut offset = 0;
        for (index, size) in sizes.iter().chain(&[usize::MAX]).enumerate() {
            let size = (*size).min(total - offset);
            if size == 0 {
                break;
            }
            let mut message = vec![1];
            message.extend_from_slice(&(total as u32).to_be_bytes()[1..]);
            message.extend_from_slice(&handshake[4..6]);
            message.extend_from_slice(&(offset as u32).to_be_bytes()[1..]);
            message.extend_from_slice(&(size as u32).to_be_bytes()[1..]);
            message.extend_from_slice(&body[offset..offset + size]);
            let mut datagram = record[..11].to_vec();
            // Each record has its own sequence number in epoch 0.
            datagram[10] = index as u8;
            datagram.extend_from_slice(&(message.len() as u16).to_be_bytes());
            datagram.extend_from_slice(&message);
            out.push(datagram);
            offset += size;
        }
        out
    }

    fn with_extension(mut body: Vec<u8>, bytes: usize) -> Vec<u8> {
        // version 2, random 32, session id, cookie, suites, compression, then the extensions.
        let mut at = 34;
        at += 1 + usize::from(body[at]);
        at += 1 + usize::from(body[at]);
        at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        at += 1 + usize::from(body[at]);
        let old = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        let new = (old + 4 + bytes) as u16;
        body[at..at + 2].copy_from_slice(&new.to_be_bytes());
        // GREASE (RFC 8701): a type nobody may understand.
        body.extend_from_slice(&[0x1a, 0x1a]);
        body.extend_from_slice(&(bytes as u16).to_be_bytes());
        body.resize(body.len() + bytes, 0);
        body
    }

    #[derive(Default)]
    struct Log {
        records: Vec<Vec<u8>>,
        keys: Vec<SrtpKeys>,
        data: Vec<Vec<u8>>,
        goodbyes: usize,
    }

    impl Log {
        fn hear(&mut self) -> impl FnMut(Heard<'_>) + '_ {
            |heard| match heard {
                Heard::Record(record) => self.records.push(record.to_vec()),
                Heard::Ready(keys) => self.keys.extend(keys),
                Heard::Data(data) => self.data.push(data.to_vec()),
                Heard::Goodbye => self.goodbyes += 1,
            }
        }
    }

    fn server(now: Instant) -> Dtls {
        Dtls::new(&Certificate::generate(1200).unwrap(), now)
    }

    /// Lets the two talk, time standing still but for timers, until both have nothing to say.
    fn talk(client: &mut Client, server: &mut Dtls, log: &mut Log, now: &mut Instant) {
        for _ in 0..40 {
            let records = std::mem::take(&mut log.records);
            let quiet = records.is_empty();
            for record in records {
                client.dtls.handle_timeout(*now).unwrap();
                client.dtls.handle_packet(&record).unwrap();
            }
            let (sent, at) = client.poll();
            if quiet && sent.is_empty() {
                if client.connected && server.is_ready() {
                    return;
                }
                *now = at.max(*now);
                client.dtls.handle_timeout(*now).unwrap();
                server.on_timer(*now, &mut log.hear()).unwrap();
            }
            for datagram in sent {
                server
                    .on_datagram(*now, &datagram, &mut log.hear())
                    .unwrap();
            }
        }
    }

    /// What one key has sealed, the other opens.
    fn understands(seals: &MasterKey, opens: &MasterKey) -> bool {
        let profile = SrtpProfile::AeadAes256Gcm;
        let mut sealer = Sealer::new(profile, seals, RandomState::new()).unwrap();
        let mut opener = Opener::new(profile, opens, RandomState::new()).unwrap();
        let mut packet = [0; 64];
        packet[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
        let len = sealer.seal_rtcp(&mut packet, 8).unwrap();
        opener.open_rtcp(&mut packet[..len]).is_ok()
    }

    #[test]
    fn a_handshake_ends_with_the_same_gcm_keys_on_both_sides() {
        let mut now = Instant::now();
        let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
        server.expect(client.fingerprint, &mut log.hear()).unwrap();

        talk(&mut client, &mut server, &mut log, &mut now);

        let (material, profile) = client.keys.unwrap();
        assert_eq!(profile, dimpl::SrtpProfile::AEAD_AES_256_GCM);
        let theirs = SrtpKeys::from_exporter(SrtpProfile::AeadAes256Gcm, &material, true).unwrap();
        assert_eq!(log.keys.len(), 1);
        assert!(understands(&theirs.local, &log.keys[0].remote));
        assert!(understands(&log.keys[0].local, &theirs.remote));
    }

    #[test]
    fn keys_wait_for_the_fingerprint() {
        let mut now = Instant::now();
        let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());

        for _ in 0..10 {
            talk(&mut client, &mut server, &mut log, &mut now);
            if client.connected {
                break;
            }
        }
        assert!(client.connected && !server.is_ready() && log.keys.is_empty());
        server.expect(client.fingerprint, &mut log.hear()).unwrap();

        assert_eq!(log.keys.len(), 1);
    }

    #[test]
    fn what_a_peer_sends_ahead_of_its_fingerprint_is_heard_with_it_and_no_more_of_it_than_a_little()
    {
        let mut now = Instant::now();
        let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
        for _ in 0..10 {
            talk(&mut client, &mut server, &mut log, &mut now);
            if client.connected {
                break;
            }
        }
        for number in 0..MAX_EARLY as u8 + 3 {
            client.dtls.send_application_data(&[number]).unwrap();
            for record in client.poll().0 {
                server.on_datagram(now, &record, &mut log.hear()).unwrap();
            }
        }
        assert!(log.data.is_empty());

        server.expect(client.fingerprint, &mut log.hear()).unwrap();

        let expected: Vec<Vec<u8>> = (0..MAX_EARLY as u8).map(|number| vec![number]).collect();
        assert_eq!(log.data, expected);
    }

    #[test]
    fn another_certificate_than_the_one_named_yields_no_key() {
        let now = Instant::now();
        let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
        server
            .expect(Fingerprint([7; 32]), &mut log.hear())
            .unwrap();

        let mut broken = None;
        for _ in 0..20 {
            for record in std::mem::take(&mut log.records) {
                client.dtls.handle_packet(&record).unwrap();
            }
            for datagram in client.poll().0 {
                if let Err(error) = server.on_datagram(now, &datagram, &mut log.hear()) {
                    broken = Some(error);
                }
            }
        }

        assert_eq!(broken, Some(Broken::Fingerprint));
        assert!(log.keys.is_empty());
    }

    #[test]
    fn a_hello_in_two_fragments_is_understood_in_either_order() {
        for reversed in [false, true] {
            let now = Instant::now();
            let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
            let hello = client.poll().0.remove(0);
            // What Chromium sends: 1200 and 263 bytes of datagram.
            let mut parts = fragments(&hello, &[1175], 1463 - hello.len() - 25 - 4);
            assert_eq!(parts.len(), 2);
            assert_eq!(parts[0].len(), 1200);
            if reversed {
                parts.reverse();
            }

            for part in &parts {
                server.on_datagram(now, part, &mut log.hear()).unwrap();
            }

            assert!(
                !log.records.is_empty(),
                "no ServerHello, reversed: {reversed}"
            );
        }
    }

    #[test]
    fn a_hello_whose_fragment_was_lost_is_understood_when_it_is_repeated() {
        for lost in 0..2 {
            let now = Instant::now();
            let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
            let hello = client.poll().0.remove(0);
            let parts = fragments(&hello, &[1175], 1463 - hello.len() - 25 - 4);

            let first = &parts[1 - lost];
            server.on_datagram(now, first, &mut log.hear()).unwrap();
            assert!(log.records.is_empty());
            // The client repeats the whole flight under fresh record numbers.
            let later = now + Duration::from_millis(60);
            for (index, part) in parts.iter().enumerate() {
                let mut again = part.clone();
                again[10] = 10 + index as u8;
                server.on_datagram(later, &again, &mut log.hear()).unwrap();
            }

            assert!(
                !log.records.is_empty(),
                "no ServerHello, lost fragment {lost}"
            );
        }
    }

    #[test]
    fn garbage_during_the_handshake_is_passed_over() {
        let mut now = Instant::now();
        let (mut client, mut server, mut log) = (Client::new(now), server(now), Log::default());
        server.expect(client.fingerprint, &mut log.hear()).unwrap();

        for bytes in [&[22u8][..], &[20; 40], &[63; 1400], &[23, 254, 253, 0, 0]] {
            server.on_datagram(now, bytes, &mut log.hear()).unwrap();
        }
        talk(&mut client, &mut server, &mut log, &mut now);

        assert_eq!(log.keys.len(), 1);
    }
}
