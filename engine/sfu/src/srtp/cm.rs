//! AES counter mode with HMAC-SHA1-80 (RFC 3711 §4), by `aws-lc-rs`, for peers without GCM.

use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::kdf::{self, SessionKeys};
use super::{E_BIT, RTCP_HEADER, RTCP_INDEX};
use crate::wire::be32;

pub(super) const TAG_LEN: usize = 10;

pub(super) struct Cipher {
    key: EncryptingKey,
    /// Keyed once: its pads are copied for each packet, not computed.
    auth: hmac::Key,
    salt: [u8; 14],
}

impl Cipher {
    pub fn new(keys: &SessionKeys) -> Option<Self> {
        Some(Cipher {
            key: kdf::stream(keys.key())?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &keys.auth),
            salt: keys.salt,
        })
    }

    /// `packet` ends with room for the tag; `len` bytes of it are header and payload.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        let (body, tag) = packet.split_at_mut_checked(len)?;
        kdf::apply(&self.key, self.iv(ssrc, index), body.get_mut(header_len..)?)?;
        let roc = (index >> 16) as u32;
        tag.get_mut(..TAG_LEN)?
            .copy_from_slice(&self.tag(body, roc));
        Some(())
    }

    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        let len = packet.len().checked_sub(TAG_LEN)?;
        let (body, tag) = packet.split_at_mut_checked(len)?;
        let roc = (index >> 16) as u32;
        verify_slices_are_equal(&self.tag(body, roc), tag).ok()?;
        kdf::apply(&self.key, self.iv(ssrc, index), body.get_mut(header_len..)?)
    }

    /// Layout: header, ciphertext, index with the E bit, tag (RFC 3711 §3.4).
    pub fn seal_rtcp(&self, packet: &mut [u8], len: usize, index: u32) -> Option<()> {
        let word = index | E_BIT;
        let ssrc = be32(packet, 4)?;
        kdf::apply(
            &self.key,
            self.iv(ssrc, u64::from(index)),
            packet.get_mut(RTCP_HEADER..len)?,
        )?;
        let (body, trailer) = packet.split_at_mut_checked(len)?;
        let (index_word, tag) = trailer.split_at_mut_checked(RTCP_INDEX)?;
        index_word.copy_from_slice(&word.to_be_bytes());
        tag.get_mut(..TAG_LEN)?
            .copy_from_slice(&self.tag(body, word));
        Some(())
    }

    /// `word`: the index with its E bit as it stands in the packet.
    pub fn open_rtcp(&self, packet: &mut [u8], len: usize, word: u32) -> Option<()> {
        let ssrc = be32(packet, 4)?;
        let (body, trailer) = packet.split_at_mut_checked(len)?;
        let tag = trailer.get(RTCP_INDEX..RTCP_INDEX + TAG_LEN)?;
        verify_slices_are_equal(&self.tag(body, word), tag).ok()?;
        if word & E_BIT == 0 {
            return Some(());
        }
        kdf::apply(
            &self.key,
            self.iv(ssrc, u64::from(word & !E_BIT)),
            body.get_mut(RTCP_HEADER..)?,
        )
    }

    /// The tag covers the packet and the roll-over counter, or the SRTCP index word.
    fn tag(&self, body: &[u8], trailer: u32) -> [u8; TAG_LEN] {
        let mut mac = hmac::Context::with_key(&self.auth);
        mac.update(body);
        mac.update(&trailer.to_be_bytes());
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&mac.sign().as_ref()[..TAG_LEN]);
        tag
    }

    /// RFC 3711 §4.1.1: (salt · 2^16) XOR (SSRC · 2^64) XOR (index · 2^16).
    fn iv(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let salt = {
            let mut wide = [0; 16];
            wide[..14].copy_from_slice(&self.salt);
            u128::from_be_bytes(wide)
        };
        let iv = salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        iv.to_be_bytes()
    }
}
