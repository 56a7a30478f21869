//! SRTP and SRTCP: what a peer sealed opens, what nobody sealed does not.

#![no_main]

use ahash::RandomState;
use libfuzzer_sys::fuzz_target;
use parley_sfu::rtp::Header;
use parley_sfu::srtp::{MasterKey, Opener, Sealer, SrtpProfile};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let profile = match choice % 3 {
        0 => SrtpProfile::AeadAes128Gcm,
        1 => SrtpProfile::AeadAes256Gcm,
        _ => SrtpProfile::Aes128CmHmacSha1_80,
    };
    let (key, salt) = ([3; 32], [5; 14]);
    let master = MasterKey::new(&key[..profile.key_len()], &salt[..profile.salt_len()])
        .expect("lengths of the profile");
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let mut opener = Opener::new(profile, &master, hasher.clone()).expect("a key that fits");
    let mut sealer = Sealer::new(profile, &master, hasher).expect("a key that fits");

    let mut forged = bytes.to_vec();
    assert!(opener.open_rtcp(&mut forged).is_err());
    let mut forged = bytes.to_vec();
    if let Some(header) = Header::parse(&forged) {
        let (len, ssrc, seq) = (header.len, header.ssrc, header.seq);
        assert!(opener.open_rtp(&mut forged, len, ssrc, seq).is_err());
    }

    if let Some(header) = Header::parse(bytes) {
        let mut sealed = bytes.to_vec();
        sealed.resize(bytes.len() + 32, 0);
        let (ssrc, seq) = (header.ssrc, header.seq);
        let index = u64::from(seq);
        let end = sealer
            .seal_rtp(&mut sealed, header.len, bytes.len(), ssrc, index)
            .expect("a fresh index with room");
        let opened = opener.open_rtp(&mut sealed[..end], header.len, ssrc, seq);
        assert_eq!(opened, Ok((bytes.len(), index)));
        assert_eq!(&sealed[..bytes.len()], bytes);
    }
    if bytes.len() >= 8 {
        let mut sealed = bytes.to_vec();
        sealed.resize(bytes.len() + 32, 0);
        let end = sealer
            .seal_rtcp(&mut sealed, bytes.len())
            .expect("room for the trailer");
        assert_eq!(opener.open_rtcp(&mut sealed[..end]), Ok(bytes.len()));
        assert_eq!(&sealed[..bytes.len()], bytes);
    }
});
