//! SRTP and SRTCP (RFC 3711, RFC 7714): one context per direction.

use std::fmt;

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
    pub(crate) key: [u8; 32],
    pub(crate) salt: [u8; 14],
    pub(crate) key_len: u8,
    pub(crate) salt_len: u8,
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
            key_len: key.len() as u8,
            salt_len: salt.len() as u8,
        };
        master.key.get_mut(..key.len())?.copy_from_slice(key);
        master.salt.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(master)
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
