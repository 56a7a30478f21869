//! Session keys from master keys by AES-CM with a key derivation rate of zero (RFC 3711 §4.3).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::MasterKey;

/// Which half of the key space: the labels of RTP are 0 to 2, of RTCP 3 to 5 (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Use {
    Rtp,
    Rtcp,
}

/// What one direction of one protocol is protected with.
pub(super) struct SessionKeys {
    key: [u8; 32],
    key_len: usize,
    /// HMAC-SHA1 key; GCM has no use for it.
    pub auth: [u8; 20],
    /// 14 bytes for AES-CM; GCM takes the first 12.
    pub salt: [u8; 14],
}

impl SessionKeys {
    pub fn key(&self) -> &[u8] {
        &self.key[..self.key_len]
    }

    #[cfg(test)]
    pub fn from_session(key: &[u8], salt: &[u8]) -> Self {
        let mut keys = SessionKeys {
            key: [0; 32],
            key_len: key.len(),
            auth: [0; 20],
            salt: [0; 14],
        };
        keys.key[..key.len()].copy_from_slice(key);
        keys.salt[..salt.len()].copy_from_slice(salt);
        keys
    }
}

/// `None` only if the library refuses a key of the right length.
pub(super) fn derive(master: &MasterKey, half: Use) -> Option<SessionKeys> {
    let prf = stream(master.key())?;
    let base = match half {
        Use::Rtp => 0,
        Use::Rtcp => 3,
    };
    let mut keys = SessionKeys {
        key: [0; 32],
        key_len: master.key().len(),
        auth: [0; 20],
        salt: [0; 14],
    };
    let key_len = keys.key_len;
    expand(&prf, master, base, &mut keys.key[..key_len])?;
    expand(&prf, master, base + 1, &mut keys.auth)?;
    // A session salt of GCM is the first 96 bits of the same key stream (RFC 7714 §11).
    expand(&prf, master, base + 2, &mut keys.salt)?;
    Some(keys)
}

/// An AES counter-mode key; `None` unless `key` has 16 or 32 bytes.
pub(super) fn stream(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return None,
    };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// Applies the key stream that starts at `iv`.
pub(super) fn apply(key: &EncryptingKey, iv: [u8; 16], in_out: &mut [u8]) -> Option<()> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(in_out, context).ok().map(|_| ())
}

fn expand(prf: &EncryptingKey, master: &MasterKey, label: u8, out: &mut [u8]) -> Option<()> {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(master.salt());
    // The label stands before a 48-bit index that is zero: byte 7 of the 14.
    iv[7] ^= label;
    out.fill(0);
    apply(prf, iv, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::hex;

    #[test]
    fn keys_are_derived_as_in_rfc_3711_b_3() {
        let master = MasterKey::new(
            &hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &hex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();

        let keys = derive(&master, Use::Rtp).unwrap();

        assert_eq!(keys.key(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            keys.auth.to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_b_2() {
        let key = stream(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let mut out = [0; 48];

        apply(&key, iv, &mut out).unwrap();

        assert_eq!(out[..16].to_vec(), hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(
            out[16..32].to_vec(),
            hex("D23513162B02D0F72A43A2FE4A5F97AB")
        );
        assert_eq!(out[32..].to_vec(), hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
    }
}
