//! Packets of connected peers: sealed as they should be, and whatever they like inside.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::RandomState;
use libfuzzer_sys::fuzz_target;
use parley_sfu::media::{Media, MediaChange, MediaCommand, MediaConfig, Outbox};
use parley_sfu::rtp::Header;
use parley_sfu::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, GroupId, LayerPolicy, MediaKind, ProducerId, RecvSpec,
    SendSpec, SsrcGroup, SsrcSemantics, TransportId,
};
use parley_sfu::srtp::{MasterKey, Sealer, SrtpKeys, SrtpProfile};

/// Every datagram is built, and then lost.
struct Nowhere;

impl Outbox for Nowhere {
    fn push(&mut self, _to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        let mut slot = [0; 1536];
        assert!(build(&mut slot) <= slot.len());
    }
}

fn codec(pt: u8, name: &str, clock_hz: u32, rtx_pt: Option<u8>) -> CodecSpec {
    CodecSpec {
        pt,
        name: name.into(),
        clock_hz,
        channels: 1,
        fmtp: String::new(),
        rtx_pt,
        red_pt: None,
    }
}

fn ids() -> ExtensionIds {
    ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        repaired_rid: Some(3),
        audio_level: Some(4),
        abs_send_time: Some(5),
        transport_cc: Some(6),
        dependency_descriptor: Some(7),
        abs_capture_time: Some(8),
        playout_delay: Some(9),
    }
}

fn recv(mid: &str, kind: MediaKind, codecs: Vec<CodecSpec>, ssrcs: Vec<u32>) -> RecvSpec {
    let group = SsrcGroup {
        semantics: SsrcSemantics::Fid,
        ssrcs: ssrcs.clone(),
    };
    RecvSpec {
        mid: mid.into(),
        kind,
        codecs,
        extensions: ids(),
        groups: if ssrcs.len() == 2 { vec![group] } else { vec![] },
        ssrcs,
        rids: vec![],
        nack: true,
        twcc: true,
        remb: true,
    }
}

fn send(mid: &str, kind: MediaKind, codecs: Vec<CodecSpec>, ssrc: u32) -> SendSpec {
    SendSpec {
        mid: mid.into(),
        kind,
        ssrc,
        rtx_ssrc: codecs[0].rtx_pt.map(|_| ssrc + 1),
        codecs,
        extensions: ids(),
        cname: "name".into(),
        nack: true,
        feedback: Feedback::Twcc,
    }
}

struct World {
    media: Media,
    now: Instant,
    events: Vec<parley_sfu::media::MediaEvent>,
    sealers: Vec<Sealer>,
    /// Of the layers of VP8.
    seqs: [u16; 3],
}

const LAYERS: [u32; 3] = [50, 51, 52];

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;

impl World {
    /// Peer 0 publishes Opus, VP8, H264 and VP8 in three layers each; peer 1 subscribes to each.
    fn new() -> World {
        let mut world = World {
            media: Media::new(&MediaConfig::default(), 1),
            now: Instant::now(),
            events: vec![],
            sealers: vec![],
            seqs: [100, 200, 65_530],
        };
        let master = MasterKey::new(&[1; 16], &[2; 12]).expect("lengths of the profile");
        for peer in 0..2 {
            let id = TransportId(peer);
            world.media.open(id, GroupId(1));
            let to = SocketAddr::from(([127, 0, 0, 1], 9));
            world.media.set_route(id, to);
            let keys = SrtpKeys {
                profile: PROFILE,
                local: master.clone(),
                remote: master.clone(),
            };
            world.media.set_keys(id, &keys);
            let hasher = RandomState::with_seeds(1, 2, 3, 4);
            let sealer = Sealer::new(PROFILE, &master, hasher);
            world.sealers.push(sealer.expect("a key that fits"));
        }
        let opus = || vec![codec(111, "opus", 48_000, None)];
        let vp8 = || vec![codec(96, "VP8", 90_000, Some(97))];
        let h264 = || vec![codec(98, "H264", 90_000, Some(99)), codec(45, "AV1", 90_000, None)];
        let mut layers = recv("2", MediaKind::Video, h264(), vec![]);
        layers.rids = vec!["q".into(), "h".into(), "f".into()];
        let mut group = recv("3", MediaKind::Video, vp8(), LAYERS.to_vec());
        group.groups = vec![SsrcGroup {
            semantics: SsrcSemantics::Sim,
            ssrcs: LAYERS.to_vec(),
        }];
        let publish = MediaChange {
            recv: vec![
                (ProducerId(1), recv("0", MediaKind::Audio, opus(), vec![10])),
                (ProducerId(2), recv("1", MediaKind::Video, vp8(), vec![12, 13])),
                (ProducerId(3), layers),
                (ProducerId(4), group),
            ],
            ..MediaChange::default()
        };
        let subscribe = MediaChange {
            send: vec![
                (ConsumerId(4), send("a", MediaKind::Audio, opus(), 20)),
                (ConsumerId(5), send("b", MediaKind::Video, vp8(), 30)),
                (ConsumerId(6), send("c", MediaKind::Video, h264(), 40)),
                (ConsumerId(7), send("d", MediaKind::Video, vp8(), 60)),
            ],
            ..MediaChange::default()
        };
        for (peer, change) in [(0, publish), (1, subscribe)] {
            world
                .media
                .apply(TransportId(peer), &change, world.now, &mut Nowhere, &mut world.events)
                .expect("a change that can be applied");
        }
        for n in 1..5 {
            world.command(MediaCommand::ConsumerSource(ConsumerId(3 + n), Some(ProducerId(n)), None));
        }
        world
    }

    fn command(&mut self, command: MediaCommand) {
        self.media
            .command(command, self.now, &mut Nowhere, &mut self.events);
    }

    /// The next packet of a layer of VP8, or one that is some numbers on.
    fn layer(&mut self, bytes: &[u8]) {
        let [choice, time, payload @ ..] = bytes else {
            return;
        };
        let layer = usize::from(choice % 3);
        let seq = self.seqs[layer].wrapping_add(u16::from(choice >> 5));
        self.seqs[layer] = seq.wrapping_add(u16::from(choice & 4 == 0));
        let mut packet = vec![0x80, 96 | (choice << 3 & 0x80)];
        packet.extend_from_slice(&seq.to_be_bytes());
        packet.extend_from_slice(&(u32::from(*time) * 1000).to_be_bytes());
        packet.extend_from_slice(&LAYERS[layer].to_be_bytes());
        packet.extend_from_slice(payload);
        self.packet(0, &packet, true);
    }

    /// Seals `plain` as RTP or RTCP of `peer`, if it can be, and hands it in.
    fn packet(&mut self, peer: usize, plain: &[u8], is_sealed: bool) {
        let mut datagram = plain.to_vec();
        datagram.resize(plain.len() + 32, 0);
        let sealer = &mut self.sealers[peer];
        let is_rtcp = matches!(plain.get(1), Some(192..=223));
        let len = match Header::parse(plain) {
            _ if !is_sealed => Some(plain.len()),
            _ if is_rtcp => sealer.seal_rtcp(&mut datagram, plain.len()).ok(),
            Some(header) => sealer
                .seal_rtp(
                    &mut datagram,
                    header.len,
                    plain.len(),
                    header.ssrc,
                    u64::from(header.seq),
                )
                .ok(),
            None => None,
        };
        if let Some(len) = len {
            self.media.on_datagram(
                TransportId(peer as u64),
                self.now,
                &mut datagram[..len],
                &mut Nowhere,
                &mut self.events,
            );
        }
    }
}

// The input is a list of `[what, length, bytes…]`.
fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut input = input;
    while let Some(([what, len], rest)) = input.split_first_chunk::<2>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        input = rest;
        let peer = usize::from(what & 1);
        world.now += Duration::from_millis(u64::from(what >> 4) * 7);
        match (what >> 1) & 7 {
            0..=3 => world.packet(peer, bytes, true),
            4 => world.packet(peer, bytes, false),
            5 => {
                let id = u64::from(bytes.first().copied().unwrap_or(0) % 5);
                let other = u64::from(bytes.get(1).copied().unwrap_or(0) % 5);
                let policy = LayerPolicy {
                    target: bytes.get(2).copied().unwrap_or(0) % 4,
                    when_missing: bytes.get(4..).unwrap_or_default().to_vec(),
                    max_temporal: bytes.get(3).map(|limit| limit % 4),
                };
                let command = match len % 9 {
                    0 => MediaCommand::ProducerPause(ProducerId(id)),
                    1 => MediaCommand::ProducerResume(ProducerId(id)),
                    2 => MediaCommand::ConsumerPause(ConsumerId(3 + id)),
                    3 => MediaCommand::ConsumerResume(ConsumerId(3 + id)),
                    4 => MediaCommand::ConsumerSource(ConsumerId(3 + id), None, None),
                    5 => MediaCommand::ConsumerSource(ConsumerId(3 + id), Some(ProducerId(other)), Some(policy)),
                    6 => MediaCommand::ConsumerPolicy(ConsumerId(3 + id), policy),
                    7 => MediaCommand::ProducerClose(ProducerId(id)),
                    _ => MediaCommand::ConsumerSource(ConsumerId(3 + id), Some(ProducerId(id)), None),
                };
                world.command(command);
            }
            6 => world.layer(bytes),
            _ => world
                .media
                .on_timer(world.now, &mut Nowhere, &mut world.events),
        }
    }
    world
        .media
        .on_timer(world.now + Duration::from_secs(4), &mut Nowhere, &mut world.events);
    assert!(world.media.stats(TransportId(0)).is_some());
    world.media.close(TransportId(0), world.now, &mut world.events);
});
