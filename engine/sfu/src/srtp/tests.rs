use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::Aes128CmHmacSha1_80,
];
const SSRC: u32 = 0x5501_a0b2;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| (b as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn pair(profile: SrtpProfile) -> (Sealer, Opener) {
    let master = MasterKey::new(&vec![7; profile.key_len()], &vec![9; profile.salt_len()]).unwrap();
    (
        Sealer::new(profile, &master, hasher()).unwrap(),
        Opener::new(profile, &master, hasher()).unwrap(),
    )
}

fn packet(index: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend(90_000u32.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(payload);
    packet
}

fn seal(sealer: &mut Sealer, index: u64, payload: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut buf = packet(index, payload);
    let len = buf.len();
    buf.resize(len + 16, 0);
    let end = sealer.seal_rtp(&mut buf, 12, len, SSRC, index)?;
    buf.truncate(end);
    Ok(buf)
}

fn open(opener: &mut Opener, sealed: &[u8]) -> Result<(Vec<u8>, u64), OpenError> {
    let mut buf = sealed.to_vec();
    let seq = u16::from_be_bytes([buf[2], buf[3]]);
    let (len, index) = opener.open_rtp(&mut buf, 12, SSRC, seq)?;
    Ok((buf[..len].to_vec(), index))
}

fn quid_pro_quo(key: &str) -> gcm::Cipher {
    let salt = hex("517569642070726f2071756f");
    gcm::Cipher::new(&kdf::SessionKeys::from_session(&hex(key), &salt)).unwrap()
}

const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const RTP: &str = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976
    69736120696e207061727465732074726573";
const RTCP: &str = "81c8000d4d6172734e5450314e54503252545020 0000042a0000e9304c756e61
    deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

#[test]
fn aes_128_gcm_seals_rtp_as_in_rfc_7714_16_1() {
    let plain = hex(RTP);
    let mut buf = plain.clone();
    buf.resize(plain.len() + 16, 0);
    let cipher = quid_pro_quo(KEY_128);

    cipher
        .seal_rtp(&mut buf, 12, plain.len(), SSRC, 0xf17b)
        .unwrap();

    let sealed = hex(
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5
         0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
    );
    assert_eq!(buf, sealed);
    cipher.open_rtp(&mut buf, 12, SSRC, 0xf17b).unwrap();
    assert_eq!(buf[..plain.len()], plain);
}

#[test]
fn aes_256_gcm_seals_rtp_as_in_rfc_7714_16_2() {
    let plain = hex(RTP);
    let mut buf = plain.clone();
    buf.resize(plain.len() + 16, 0);

    quid_pro_quo(KEY_256)
        .seal_rtp(&mut buf, 12, plain.len(), SSRC, 0xf17b)
        .unwrap();

    let sealed = hex(
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238
         9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
    );
    assert_eq!(buf, sealed);
}

#[test]
fn aes_128_gcm_seals_rtcp_as_in_rfc_7714_17_1() {
    let plain = hex(RTCP);
    let mut buf = plain.clone();
    buf.resize(plain.len() + 20, 0);
    let cipher = quid_pro_quo(KEY_128);

    cipher.seal_rtcp(&mut buf, plain.len(), 0x5d4).unwrap();

    let sealed = hex(
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d
         c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872
         45d9eade800005d4",
    );
    assert_eq!(buf, sealed);
    cipher
        .open_rtcp(&mut buf, plain.len(), E_BIT | 0x5d4)
        .unwrap();
    assert_eq!(buf[..plain.len()], plain);
}

/// Made with pylibsrtp 1.0.0 (libsrtp 2): key 00..0f, salt 64..71, sequence numbers fffe and, after
/// the roll-over, 0001; two SRTCP packets in a row.
#[test]
fn aes_cm_with_hmac_sha1_agrees_with_libsrtp() {
    let key: Vec<u8> = (0..16).collect();
    let salt: Vec<u8> = (100..114).collect();
    let master = MasterKey::new(&key, &salt).unwrap();
    let profile = SrtpProfile::Aes128CmHmacSha1_80;
    let mut sealer = Sealer::new(profile, &master, hasher()).unwrap();
    let mut opener = Opener::new(profile, &master, hasher()).unwrap();
    let ssrc = 0xdead_beef;

    let header = hex("90e0fffe00001234deadbeefbede000110aa0000");
    let first = [&header[..], b"a payload of some length"].concat();
    let next = [&hex("806000010000 1234deadbeef")[..], b"after the wrap"].concat();
    let packets = [
        (
            first,
            20,
            0xfffe,
            "90e0fffe00001234deadbeefbede000110aa00003aaaadd0bf9d75eb8f844c55
             f66b90d090abffa72ae46a651e1920aebfa9c73e938d",
        ),
        (
            next,
            12,
            0x1_0001,
            "8060000100001234deadbeef9cc8a528496a9faccded4500431ca472d1a129e1
             07913456",
        ),
    ];
    for (plain, header_len, index, sealed) in packets {
        let mut buf = plain.clone();
        buf.resize(plain.len() + 10, 0);
        let end = sealer
            .seal_rtp(&mut buf, header_len, plain.len(), ssrc, index)
            .unwrap();
        assert_eq!(buf[..end], hex(sealed));
        let opened = opener.open_rtp(&mut buf, header_len, ssrc, index as u16);
        assert_eq!(opened, Ok((plain.len(), index)));
        assert_eq!(buf[..plain.len()], plain);
    }

    let report = hex("80c90001deadbeef81ce0002deadbeef00000007");
    let compounds = [
        "80c90001deadbeefc7cb510f90c291875d7dce2980000001304ee33558a442ea360e",
        "80c90001deadbeefd3c723ee5dd2fb73dfaaa598800000024f205789af02ec8fa56b",
    ];
    for sealed in compounds {
        let mut theirs = hex(sealed);
        assert_eq!(opener.open_rtcp(&mut theirs), Ok(report.len()));
        assert_eq!(theirs[..report.len()], report);
    }
    // libsrtp counts from one, we from zero: our second is its first.
    let mut buf = report.clone();
    buf.resize(report.len() + 14, 0);
    sealer.seal_rtcp(&mut buf, report.len()).unwrap();
    buf[..report.len()].copy_from_slice(&report);
    sealer.seal_rtcp(&mut buf, report.len()).unwrap();
    assert_eq!(buf, hex(compounds[0]));
}

#[test]
fn what_is_sealed_opens_under_every_profile() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);

        let sealed = seal(&mut sealer, 77, b"frame").unwrap();

        assert_eq!(sealed.len(), 12 + 5 + sealer.rtp_overhead());
        assert_eq!(
            open(&mut opener, &sealed),
            Ok((packet(77, b"frame"), 77)),
            "{profile:?}"
        );
    }
}

#[test]
fn rtcp_opens_once_under_every_profile() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let report = hex("80c9000100000007 80c9000100000008");
        let mut buf = report.clone();
        buf.resize(report.len() + 20, 0);

        let end = sealer.seal_rtcp(&mut buf, report.len()).unwrap();
        buf.truncate(end);
        let mut again = buf.clone();

        assert_eq!(opener.open_rtcp(&mut buf), Ok(report.len()));
        assert_eq!(buf[..report.len()], report);
        assert_eq!(opener.open_rtcp(&mut again), Err(OpenError::Replayed));
    }
}

#[test]
fn a_replayed_packet_is_refused_and_a_forged_one_leaves_no_trace() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let sealed = seal(&mut sealer, 5, b"once").unwrap();
        let mut forged = sealed.clone();
        *forged.last_mut().unwrap() ^= 1;

        assert_eq!(open(&mut opener, &forged), Err(OpenError::Forged));
        assert!(open(&mut opener, &sealed).is_ok());
        assert_eq!(open(&mut opener, &sealed), Err(OpenError::Replayed));
    }
}

#[test]
fn an_index_is_never_sealed_twice() {
    let (mut sealer, _) = pair(SrtpProfile::AeadAes128Gcm);
    seal(&mut sealer, 70_000, b"first").unwrap();

    assert_eq!(
        seal(&mut sealer, 70_000, b"second"),
        Err(SealError::Repeated)
    );
    assert_eq!(seal(&mut sealer, 60_000, b"old"), Err(SealError::Repeated));
    assert!(seal(&mut sealer, 69_999, b"late").is_ok());
}

#[test]
fn a_short_datagram_is_malformed() {
    for profile in PROFILES {
        let (_, mut opener) = pair(profile);
        for len in 0..40 {
            let mut short = vec![0x80; len];
            let _ = opener.open_rtcp(&mut short);
            let _ = opener.open_rtp(&mut short, 12, 1, 1);
        }
        assert_eq!(
            opener.open_rtp(&mut [0x80; 12], 12, 1, 1),
            Err(OpenError::Malformed)
        );
        assert_eq!(opener.open_rtcp(&mut [0x80; 12]), Err(OpenError::Malformed));
    }
}

#[test]
fn a_key_of_another_profile_is_refused() {
    let short = MasterKey::new(&[0; 16], &[0; 12]).unwrap();

    assert!(Sealer::new(SrtpProfile::AeadAes256Gcm, &short, hasher()).is_none());
    assert!(Opener::new(SrtpProfile::Aes128CmHmacSha1_80, &short, hasher()).is_none());
}

#[test]
fn the_exporter_is_split_by_role() {
    let material: Vec<u8> = (0..56).collect();

    let server = SrtpKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &material, false).unwrap();

    assert_eq!(server.remote.key(), &material[..16]);
    assert_eq!(server.local.key(), &material[16..32]);
    assert_eq!(server.remote.salt()[..12], material[32..44]);
    assert_eq!(server.local.salt()[..12], material[44..56]);
    assert!(SrtpKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &material[..55], true).is_none());
}

proptest! {
    #[test]
    fn packets_out_of_order_open_across_roll_overs_and_each_once(
        start in 0u64..200_000,
        steps in prop::collection::vec(-200i64..400, 1..120),
        profile in prop::sample::select(PROFILES.to_vec()),
    ) {
        let (mut sealer, mut opener) = pair(profile);
        // The receiver learns the roll-over counter from the start, as it does on the wire.
        let mut at = start & 0x7fff;
        let mut sealed = HashSet::new();
        for step in steps {
            at = at.saturating_add_signed(step);
            match seal(&mut sealer, at, b"payload") {
                Ok(bytes) => {
                    prop_assert!(sealed.insert(at), "sealed {at} twice");
                    let (plain, index) = open(&mut opener, &bytes).unwrap();
                    prop_assert_eq!(index, at);
                    prop_assert_eq!(plain, packet(at, b"payload"));
                }
                Err(error) => {
                    prop_assert_eq!(error, SealError::Repeated);
                    let is_old = sealed.iter().any(|top| *top >= at + 1024);
                    prop_assert!(is_old || sealed.contains(&at));
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_open(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        profile in prop::sample::select(PROFILES.to_vec()),
    ) {
        let (_, mut opener) = pair(profile);
        let mut datagram = bytes.clone();
        prop_assert!(opener.open_rtcp(&mut datagram).is_err());
        let mut datagram = bytes;
        prop_assert!(opener.open_rtp(&mut datagram, 12, 1, 2).is_err());
    }
}

#[test]
fn streams_go_on_under_other_keys_and_their_roll_over_counters_begin_anew() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        for index in [65_535, 65_536, 65_537] {
            let sealed = seal(&mut sealer, index, b"old").unwrap();
            assert_eq!(open(&mut opener, &sealed).unwrap().1, index);
        }
        let old = seal(&mut sealer, 65_538, b"old").unwrap();
        let other =
            MasterKey::new(&vec![3; profile.key_len()], &vec![5; profile.salt_len()]).unwrap();

        assert!(sealer.renew(profile, &other) && opener.renew(profile, &other));

        // A peer that knows nothing of what was before takes it for a first packet.
        let mut fresh = Opener::new(profile, &other, hasher()).unwrap();
        let sealed = seal(&mut sealer, 65_540, b"new").unwrap();
        assert_eq!(
            open(&mut fresh, &sealed).unwrap(),
            (packet(65_540, b"new"), 4)
        );
        assert_eq!(open(&mut opener, &sealed).unwrap().1, 65_540);
        assert_eq!(open(&mut opener, &sealed), Err(OpenError::Replayed));
        assert_eq!(open(&mut opener, &old), Err(OpenError::Forged));
        assert_eq!(seal(&mut sealer, 65_540, b"new"), Err(SealError::Repeated));
        assert_eq!(seal(&mut sealer, 65_000, b"new"), Err(SealError::Repeated));
    }
}

#[test]
fn rtcp_under_other_keys_counts_from_nothing() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let (mut sealer, mut opener) = pair(profile);
    let report = |sealer: &mut Sealer| {
        let mut buf = [0; 64];
        buf[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
        let len = sealer.seal_rtcp(&mut buf, 8).unwrap();
        buf[..len].to_vec()
    };
    assert!(opener.open_rtcp(&mut report(&mut sealer)).is_ok());
    let other = MasterKey::new(&[3; 16], &[5; 12]).unwrap();

    assert!(sealer.renew(profile, &other) && opener.renew(profile, &other));

    let sealed = report(&mut sealer);
    assert_eq!(sealed[sealed.len() - 4..], [0x80, 0, 0, 0]);
    assert!(opener.open_rtcp(&mut sealed.clone()).is_ok());
    assert_eq!(
        opener.open_rtcp(&mut sealed.clone()),
        Err(OpenError::Replayed)
    );
    assert!(!sealer.renew(SrtpProfile::AeadAes256Gcm, &other));
}
