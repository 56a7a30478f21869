//! AES-GCM for SRTP and SRTCP (RFC 7714), by `ring`.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

use super::kdf::SessionKeys;
use super::{E_BIT, RTCP_HEADER, RTCP_INDEX};

pub(super) const TAG_LEN: usize = 16;

pub(super) struct Cipher {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Cipher {
    pub fn new(keys: &SessionKeys) -> Option<Self> {
        let algorithm = match keys.key().len() {
            16 => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let mut salt = [0; 12];
        salt.copy_from_slice(keys.salt.get(..12)?);
        Some(Cipher {
            key: LessSafeKey::new(UnboundKey::new(algorithm, keys.key()).ok()?),
            salt,
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
        let (header, rest) = packet.split_at_mut_checked(header_len)?;
        let (payload, tag) = rest.split_at_mut_checked(len - header_len)?;
        let nonce = self.rtp_nonce(ssrc, index);
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
            .ok()?;
        tag.get_mut(..TAG_LEN)?.copy_from_slice(sealed.as_ref());
        Some(())
    }

    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        let (header, sealed) = packet.split_at_mut_checked(header_len)?;
        let nonce = self.rtp_nonce(ssrc, index);
        self.key
            .open_in_place(nonce, Aad::from(&*header), sealed)
            .ok()?;
        Some(())
    }

    /// Layout: header, ciphertext, tag, index with the E bit (RFC 7714 §9.2).
    pub fn seal_rtcp(&self, packet: &mut [u8], len: usize, index: u32) -> Option<()> {
        let word = (index | E_BIT).to_be_bytes();
        let (header, rest) = packet.split_at_mut_checked(RTCP_HEADER)?;
        let (payload, rest) = rest.split_at_mut_checked(len - RTCP_HEADER)?;
        let (tag, trailer) = rest.split_at_mut_checked(TAG_LEN)?;
        let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
        aad[..RTCP_HEADER].copy_from_slice(header);
        aad[RTCP_HEADER..].copy_from_slice(&word);
        let nonce = self.rtcp_nonce(header, index);
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), payload)
            .ok()?;
        tag.copy_from_slice(sealed.as_ref());
        trailer.get_mut(..RTCP_INDEX)?.copy_from_slice(&word);
        Some(())
    }

    /// `word`: the index with its E bit as it stands in the packet.
    pub fn open_rtcp(&self, packet: &mut [u8], len: usize, word: u32) -> Option<()> {
        let (header, rest) = packet.split_at_mut_checked(RTCP_HEADER)?;
        let nonce = self.rtcp_nonce(header, word & !E_BIT);
        let (payload, rest) = rest.split_at_mut_checked(len - RTCP_HEADER)?;
        let tag = Tag::try_from(rest.get(..TAG_LEN)?).ok()?;
        let word = word.to_be_bytes();
        if word[0] & 0x80 == 0 {
            // RFC 7714 §9.3: not encrypted, all of it is associated data.
            let mut aad = [0; 1536];
            let aad = aad.get_mut(..len + RTCP_INDEX)?;
            let (front, back) = aad.split_at_mut(len);
            front[..RTCP_HEADER].copy_from_slice(header);
            front[RTCP_HEADER..].copy_from_slice(payload);
            back.copy_from_slice(&word);
            return self
                .key
                .open_in_place_separate_tag(nonce, Aad::from(&*aad), tag, &mut [], 0..)
                .ok()
                .map(|_| ());
        }
        let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
        aad[..RTCP_HEADER].copy_from_slice(header);
        aad[RTCP_HEADER..].copy_from_slice(&word);
        self.key
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, payload, 0..)
            .ok()
            .map(|_| ())
    }

    /// RFC 7714 §8.1: two zero bytes, SSRC, roll-over counter, sequence number, XOR salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut iv = [0; 12];
        iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
        iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        self.salted(iv)
    }

    /// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes, SRTCP index, XOR salt.
    fn rtcp_nonce(&self, header: &[u8], index: u32) -> Nonce {
        let mut iv = [0; 12];
        iv[2..6].copy_from_slice(&header[4..RTCP_HEADER]);
        iv[8..].copy_from_slice(&index.to_be_bytes());
        self.salted(iv)
    }

    fn salted(&self, mut iv: [u8; 12]) -> Nonce {
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(iv)
    }
}
