//! SRTP and SRTCP (RFC 3711, RFC 7714): one context per direction.
//!
//! A [`Sealer`] protects what we send, an [`Opener`] what the peer sends. Each owns its keys, the
//! roll-over counters and the replay windows, and nothing else.

mod cm;
mod gcm;
mod kdf;
mod window;

use std::collections::HashMap;
use std::fmt;

use ahash::RandomState;

use crate::wire::be32;
pub(crate) use window::Window;

/// SSRCs one context keeps state for; a peer that goes beyond is not answered with memory.
const MAX_STREAMS: usize = 4096;
/// Bytes of the fixed RTCP header, never encrypted (RFC 3711 §3.4).
const RTCP_HEADER: usize = 8;
/// Bytes of the SRTCP index and its E bit.
const RTCP_INDEX: usize = 4;
const E_BIT: u32 = 1 << 31;

/// The protection profiles offered, by their IANA names (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SrtpProfile {
    AeadAes128Gcm,
    AeadAes256Gcm,
    Aes128CmHmacSha1_80,
}

impl SrtpProfile {
    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmHmacSha1_80 => 16,
            SrtpProfile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 12,
            SrtpProfile::Aes128CmHmacSha1_80 => 14,
        }
    }

    /// Bytes to take from the DTLS exporter `EXTRACTOR-dtls_srtp` (RFC 5764 §4.2).
    pub const fn exporter_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// The IANA name.
    pub const fn as_str(self) -> &'static str {
        match self {
            SrtpProfile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            SrtpProfile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            SrtpProfile::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_SHA1_80",
        }
    }
}

/// Master key and salt of one direction. It has no `Debug` that shows them.
#[derive(Clone)]
pub struct MasterKey {
    key: [u8; 32],
    salt: [u8; 14],
    key_len: usize,
    salt_len: usize,
}

impl MasterKey {
    /// `None` unless the lengths are those of a profile.
    pub fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        if !matches!(key.len(), 16 | 32) || !matches!(salt.len(), 12 | 14) {
            return None;
        }
        let mut master = MasterKey {
            key: [0; 32],
            salt: [0; 14],
            key_len: key.len(),
            salt_len: salt.len(),
        };
        master.key.get_mut(..key.len())?.copy_from_slice(key);
        master.salt.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(master)
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.key_len]
    }

    /// The salt, padded with zeroes on the right to the 112 bits AES-CM wants (RFC 7714 §11).
    fn salt(&self) -> &[u8; 14] {
        &self.salt
    }

    fn fits(&self, profile: SrtpProfile) -> bool {
        self.key_len == profile.key_len() && self.salt_len == profile.salt_len()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// What DTLS agreed on for both directions.
#[derive(Clone, Debug)]
pub struct SrtpKeys {
    pub profile: SrtpProfile,
    /// What we send is protected with this.
    pub local: MasterKey,
    /// What the peer sends is protected with this.
    pub remote: MasterKey,
}

impl SrtpKeys {
    /// Splits the exporter's material: client key, server key, client salt, server salt (RFC 5764
    /// §4.2). `is_client`: we opened the handshake. `None` if `material` is shorter than
    /// [`SrtpProfile::exporter_len`].
    pub fn from_exporter(profile: SrtpProfile, material: &[u8], is_client: bool) -> Option<Self> {
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let (keys, salts) = material.split_at_checked(2 * key_len)?;
        let client = MasterKey::new(keys.get(..key_len)?, salts.get(..salt_len)?)?;
        let server = MasterKey::new(keys.get(key_len..)?, salts.get(salt_len..2 * salt_len)?)?;
        Some(if is_client {
            SrtpKeys {
                profile,
                local: client,
                remote: server,
            }
        } else {
            SrtpKeys {
                profile,
                local: server,
                remote: client,
            }
        })
    }
}

/// Why a packet could not be sealed. Nothing of it may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealError {
    /// This (SSRC, index) was sealed before, or is too old to know. Sealing it again would be fatal
    /// under GCM, so a packet is repeated only by sending the same ciphertext.
    Repeated,
    /// No room for the tag, or lengths that make no sense.
    Room,
    /// The sequence number in the packet is not the end of the index.
    Sequence,
    /// More SSRCs than a context keeps, or the key has sealed all it may.
    Exhausted,
}

/// Why a packet was not opened. Its bytes may have been overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Seen before, or older than the window.
    Replayed,
    /// Not from the peer, or damaged.
    Forged,
    /// Too short to be what it says.
    Malformed,
    /// More SSRCs than a context keeps.
    Exhausted,
}

/// The session keys of one direction of RTP or of RTCP.
#[expect(
    clippy::large_enum_variant,
    reason = "GCM is what nearly every peer takes; its keys stay beside the windows"
)]
enum Cipher {
    Gcm(gcm::Cipher),
    Cm(Box<cm::Cipher>),
}

impl Cipher {
    /// `None` when the lengths of the key are not those of the profile.
    fn pair(profile: SrtpProfile, master: &MasterKey) -> Option<(Cipher, Cipher)> {
        if !master.fits(profile) {
            return None;
        }
        let rtp = kdf::derive(master, kdf::Use::Rtp)?;
        let rtcp = kdf::derive(master, kdf::Use::Rtcp)?;
        Some(match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => (
                Cipher::Gcm(gcm::Cipher::new(&rtp)?),
                Cipher::Gcm(gcm::Cipher::new(&rtcp)?),
            ),
            SrtpProfile::Aes128CmHmacSha1_80 => (
                Cipher::Cm(Box::new(cm::Cipher::new(&rtp)?)),
                Cipher::Cm(Box::new(cm::Cipher::new(&rtcp)?)),
            ),
        })
    }

    fn tag_len(&self) -> usize {
        match self {
            Cipher::Gcm(_) => gcm::TAG_LEN,
            Cipher::Cm(_) => cm::TAG_LEN,
        }
    }
}

/// What is known of one SSRC's packets, over all keys it has had.
struct Stream {
    window: Window,
    /// Where the roll-over counter of the present key began; `None`: no packet yet under that key.
    base: Option<u64>,
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            window: Window::default(),
            base: Some(0),
        }
    }
}

/// Protects what we send.
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    sent: HashMap<u32, Stream, RandomState>,
    rtcp_index: u32,
}

impl Sealer {
    /// `None` when the lengths of `master` are not those of `profile`. `hasher`: SSRCs are hashed
    /// with it; seeded at random, since a peer may have chosen them.
    pub fn new(profile: SrtpProfile, master: &MasterKey, hasher: RandomState) -> Option<Self> {
        let (rtp, rtcp) = Cipher::pair(profile, master)?;
        Some(Sealer {
            rtp,
            rtcp,
            sent: HashMap::with_hasher(hasher),
            rtcp_index: 0,
        })
    }

    /// Goes on under other keys, as [`Opener::renew`] does. False: they are of the wrong length, and
    /// nothing has changed.
    pub fn renew(&mut self, profile: SrtpProfile, master: &MasterKey) -> bool {
        let Some((rtp, rtcp)) = Cipher::pair(profile, master) else {
            return false;
        };
        (self.rtp, self.rtcp, self.rtcp_index) = (rtp, rtcp, 0);
        self.sent.values_mut().for_each(|stream| stream.base = None);
        true
    }

    /// Bytes an RTP packet grows by.
    pub fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Bytes an RTCP compound grows by.
    pub fn rtcp_overhead(&self) -> usize {
        self.rtcp.tag_len() + RTCP_INDEX
    }

    /// Makes room for one more SSRC, so that sealing it later allocates nothing.
    pub fn expect(&mut self, ssrc: u32) {
        if self.sent.len() < MAX_STREAMS {
            self.sent.entry(ssrc).or_default();
        }
    }

    /// Seals the first `len` bytes of `buf`, of which `header_len` stay readable, in place.
    ///
    /// index: the sequence number as 48 bits, roll-over counter first; its low end stands in the
    /// header. Packets may come out of order within 1024, each index once.
    /// Returns the bytes to send.
    pub fn seal_rtp(
        &mut self,
        buf: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SealError> {
        let end = len + self.rtp.tag_len();
        let packet = buf.get_mut(..end).ok_or(SealError::Room)?;
        if header_len < 12 || header_len > len {
            return Err(SealError::Room);
        }
        if packet[2..4] != (index as u16).to_be_bytes() || packet[8..12] != ssrc.to_be_bytes() {
            return Err(SealError::Sequence);
        }
        if index >> 48 != 0 {
            return Err(SealError::Exhausted);
        }
        if self.sent.len() >= MAX_STREAMS && !self.sent.contains_key(&ssrc) {
            return Err(SealError::Exhausted);
        }
        let stream = self.sent.entry(ssrc).or_default();
        if !stream.window.is_fresh(index) {
            return Err(SealError::Repeated);
        }
        // The peer takes the first packet it sees under a key for one before any roll-over.
        let base = *stream.base.get_or_insert(index & !0xffff);
        let spent = index.checked_sub(base).ok_or(SealError::Repeated)?;
        // Marked before the cipher runs: whatever happens then, this index is spent.
        stream.window.mark(index);
        let index = spent;

        match &self.rtp {
            Cipher::Gcm(cipher) => cipher.seal_rtp(packet, header_len, len, ssrc, index),
            Cipher::Cm(cipher) => cipher.seal_rtp(packet, header_len, len, ssrc, index),
        }
        .ok_or(SealError::Room)?;
        Ok(end)
    }

    /// Seals the RTCP compound in the first `len` bytes of `buf`. Returns the bytes to send.
    pub fn seal_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SealError> {
        let end = len + self.rtcp_overhead();
        let packet = buf.get_mut(..end).ok_or(SealError::Room)?;
        if len < RTCP_HEADER {
            return Err(SealError::Room);
        }
        if self.rtcp_index & E_BIT != 0 {
            return Err(SealError::Exhausted);
        }
        let index = self.rtcp_index;
        self.rtcp_index += 1;

        match &self.rtcp {
            Cipher::Gcm(cipher) => cipher.seal_rtcp(packet, len, index),
            Cipher::Cm(cipher) => cipher.seal_rtcp(packet, len, index),
        }
        .ok_or(SealError::Room)?;
        Ok(end)
    }
}

/// Opens what the peer sends.
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    received: HashMap<u32, Stream, RandomState>,
    rtcp_received: HashMap<u32, Window, RandomState>,
}

impl Opener {
    /// As [`Sealer::new`].
    pub fn new(profile: SrtpProfile, master: &MasterKey, hasher: RandomState) -> Option<Self> {
        let (rtp, rtcp) = Cipher::pair(profile, master)?;
        Some(Opener {
            rtp,
            rtcp,
            received: HashMap::with_hasher(hasher.clone()),
            rtcp_received: HashMap::with_hasher(hasher),
        })
    }

    /// Goes on under other keys: roll-over counters, RTCP indices and what was seen of them begin anew
    /// (RFC 3711 §3.3.1), while the indices told of each stream go on from where they were. False: the
    /// keys are of the wrong length, and nothing has changed.
    pub fn renew(&mut self, profile: SrtpProfile, master: &MasterKey) -> bool {
        let Some((rtp, rtcp)) = Cipher::pair(profile, master) else {
            return false;
        };
        (self.rtp, self.rtcp) = (rtp, rtcp);
        self.rtcp_received.clear();
        self.received
            .values_mut()
            .for_each(|stream| stream.base = None);
        true
    }

    /// Opens an SRTP packet in place.
    ///
    /// header_len: bytes up to the payload, extension included; ssrc, seq: as read from the header.
    /// Returns the length without the tag, and the sequence number as 48 bits.
    pub fn open_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        seq: u16,
    ) -> Result<(usize, u64), OpenError> {
        let len = packet
            .len()
            .checked_sub(self.rtp.tag_len())
            .filter(|len| *len >= header_len && header_len >= 12)
            .ok_or(OpenError::Malformed)?;
        let is_full = self.received.len() >= MAX_STREAMS;
        let stream = self.received.get_mut(&ssrc);
        let index = match &stream {
            Some(stream) => stream.window.estimate(seq),
            None => u64::from(seq),
        };
        if stream
            .as_ref()
            .is_some_and(|stream| !stream.window.is_fresh(index))
        {
            return Err(OpenError::Replayed);
        }
        let base = match &stream {
            Some(stream) => stream.base.unwrap_or(index & !0xffff),
            None => 0,
        };
        // From before the first packet under this key: it was under another.
        let counted = index.checked_sub(base).ok_or(OpenError::Replayed)?;

        match &self.rtp {
            Cipher::Gcm(cipher) => cipher.open_rtp(packet, header_len, ssrc, counted),
            Cipher::Cm(cipher) => cipher.open_rtp(packet, header_len, ssrc, counted),
        }
        .ok_or(OpenError::Forged)?;

        let stream = match stream {
            Some(stream) => stream,
            None if is_full => return Err(OpenError::Exhausted),
            None => self.received.entry(ssrc).or_default(),
        };
        stream.base = Some(base);
        stream.window.mark(index);
        Ok((len, index))
    }

    /// Opens an SRTCP compound in place. Returns its length without index and tag.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let overhead = self.rtcp.tag_len() + RTCP_INDEX;
        let len = packet
            .len()
            .checked_sub(overhead)
            .filter(|len| *len >= RTCP_HEADER)
            .ok_or(OpenError::Malformed)?;
        let index_at = match &self.rtcp {
            // RFC 7714 §9.2: the index comes last; RFC 3711 §3.4: the tag does.
            Cipher::Gcm(_) => packet.len() - RTCP_INDEX,
            Cipher::Cm(_) => len,
        };
        let word = be32(packet, index_at).ok_or(OpenError::Malformed)?;
        let ssrc = be32(packet, 4).ok_or(OpenError::Malformed)?;
        let index = u64::from(word & !E_BIT);
        if self
            .rtcp_received
            .get(&ssrc)
            .is_some_and(|w| !w.is_fresh(index))
        {
            return Err(OpenError::Replayed);
        }

        match &self.rtcp {
            Cipher::Gcm(cipher) => cipher.open_rtcp(packet, len, word),
            Cipher::Cm(cipher) => cipher.open_rtcp(packet, len, word),
        }
        .ok_or(OpenError::Forged)?;

        if self.rtcp_received.len() >= MAX_STREAMS && !self.rtcp_received.contains_key(&ssrc) {
            return Err(OpenError::Exhausted);
        }
        self.rtcp_received.entry(ssrc).or_default().mark(index);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
