//! What a packet costs in user space: sealed, received, forwarded, asked for again, reported.
//!
//! Numbers are per packet; for `egress`, per packet forwarded, with its share of receiving it; for
//! `nack`, per number asked for, with its share of opening the question; for `twcc_build`, per report.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parley_sfu::media::{Media, MediaChange, MediaCommand, MediaConfig, MediaEvent, Outbox};
use parley_sfu::rtcp::{Arrivals, Writer};
use parley_sfu::rtp::{ExtensionList, is_rtcp, write_header};
use parley_sfu::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, GroupId, MediaKind, ProducerId, RecvSpec,
    SendSpec, TransportId,
};
use parley_sfu::srtp::{MasterKey, Sealer, SrtpKeys, SrtpProfile};

const PAYLOAD: usize = 1180;
const BATCH: u64 = 512;

/// The arena of a shard without its system calls: 64 slots in turn.
struct Slots {
    slots: Vec<[u8; 1536]>,
    next: usize,
    sent: u64,
}

impl Slots {
    fn new() -> Slots {
        Slots {
            slots: vec![[0; 1536]; 64],
            next: 0,
            sent: 0,
        }
    }
}

impl Outbox for Slots {
    fn push(&mut self, _to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        let len = build(&mut self.slots[self.next]);
        self.sent += u64::from(len > 0);
        self.next = (self.next + 1) % self.slots.len();
    }
}

/// Keeps the sequence numbers of media that is sent, repairs included.
#[derive(Default)]
struct Numbers {
    slot: Vec<u8>,
    seqs: Vec<u16>,
}

impl Outbox for Numbers {
    fn push(&mut self, _to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        self.slot.resize(1536, 0);
        let is_sent = build(&mut self.slot) > 0;
        if is_sent && !is_rtcp(&self.slot) {
            let seq = u16::from_be_bytes([self.slot[2], self.slot[3]]);
            self.seqs.push(seq);
        }
    }
}

fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

fn master(profile: SrtpProfile, n: u64) -> MasterKey {
    let mut key = vec![7; profile.key_len()];
    key[..8].copy_from_slice(&n.to_be_bytes());
    MasterKey::new(&key, &vec![9; profile.salt_len()]).expect("lengths of the profile")
}

fn vp8() -> Vec<CodecSpec> {
    vec![CodecSpec {
        pt: 96,
        name: "VP8".into(),
        clock_hz: 90_000,
        channels: 1,
        fmtp: String::new(),
        rtx_pt: Some(97),
        red_pt: None,
    }]
}

/// One publisher with `streams` tracks, and `subscribers` transports that take them all.
struct Room {
    media: Media,
    publisher: Sealer,
    /// The first subscriber's own.
    subscriber: Sealer,
    now: Instant,
    seq: u64,
    events: Vec<MediaEvent>,
}

impl Room {
    fn new(streams: u64, subscribers: u64) -> Room {
        let profile = SrtpProfile::AeadAes128Gcm;
        let now = Instant::now();
        let mut media = Media::new(&MediaConfig::default(), 1);
        let (mut events, mut out) = (Vec::new(), Slots::new());
        for peer in 0..=subscribers {
            let transport = TransportId(peer);
            media.open(transport, GroupId(1));
            media.set_route(transport, SocketAddr::from(([127, 0, 0, 1], 9)));
            let keys = SrtpKeys {
                profile,
                local: master(profile, 1000 + peer),
                remote: master(profile, peer),
            };
            media.set_keys(transport, &keys);
        }
        let extensions = ExtensionIds {
            mid: Some(1),
            abs_send_time: Some(2),
            transport_cc: Some(3),
            ..ExtensionIds::default()
        };
        let mut publish = MediaChange::default();
        for stream in 0..streams {
            let spec = RecvSpec {
                mid: stream.to_string().into(),
                kind: MediaKind::Video,
                codecs: vp8(),
                extensions,
                ssrcs: vec![100 + stream as u32],
                groups: vec![],
                rids: vec![],
                nack: true,
                twcc: true,
                remb: false,
            };
            publish.recv.push((ProducerId(stream), spec));
        }
        media
            .apply(TransportId(0), &publish, now, &mut out, &mut events)
            .expect("a change that can be applied");
        for peer in 1..=subscribers {
            let mut subscribe = MediaChange::default();
            for stream in 0..streams {
                let spec = SendSpec {
                    mid: stream.to_string().into(),
                    kind: MediaKind::Video,
                    ssrc: 5000 + stream as u32,
                    rtx_ssrc: Some(9000 + stream as u32),
                    codecs: vp8(),
                    extensions: ExtensionIds {
                        transport_cc: None,
                        ..extensions
                    },
                    cname: "name".into(),
                    nack: true,
                    feedback: Feedback::Remb,
                };
                let id = ConsumerId(peer * 1000 + stream);
                subscribe.send.push((id, spec));
            }
            media
                .apply(TransportId(peer), &subscribe, now, &mut out, &mut events)
                .expect("a change that can be applied");
            for stream in 0..streams {
                let id = ConsumerId(peer * 1000 + stream);
                let command = MediaCommand::ConsumerSource(id, Some(ProducerId(stream)), None);
                media.command(command, now, &mut out, &mut events);
            }
        }
        let sealer = |peer| Sealer::new(profile, &master(profile, peer), hasher());
        Room {
            media,
            publisher: sealer(0).expect("a key that fits"),
            subscriber: sealer(1).expect("a key that fits"),
            now,
            seq: 0,
            events,
        }
    }

    /// Sealed datagrams of the tracks in turn.
    fn datagrams(&mut self, count: u64, streams: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for n in 0..count {
            let ssrc = 100 + (n % streams) as u32;
            if n % streams == 0 {
                self.seq += 1;
            }
            let number = (self.seq as u16).to_be_bytes();
            let mut list = ExtensionList::default();
            list.add(Some(3), Some(&number));
            let mut datagram = vec![0; 1400];
            let seq = self.seq as u16;
            let time = (self.seq / 6 * 3000) as u32;
            let header = write_header(&mut datagram, false, 96, seq, time, ssrc, &list)
                .expect("room for a header");
            // A keyframe at first, so that everyone begins.
            datagram[header] = 0x10;
            datagram[header + 1] = u8::from(self.seq > 1);
            let len = header + PAYLOAD;
            let end = self
                .publisher
                .seal_rtp(&mut datagram, header, len, ssrc, self.seq)
                .expect("a fresh index with room");
            datagram.truncate(end);
            all.push(datagram);
        }
        all
    }

    /// Receives and forwards `packets` packets, and says how long that took.
    fn run(&mut self, packets: u64, streams: u64) -> Duration {
        let mut out = Slots::new();
        let mut spent = Duration::ZERO;
        let mut left = packets;
        while left > 0 {
            let count = left.min(BATCH).next_multiple_of(streams);
            let mut batch = self.datagrams(count, streams);
            self.now += Duration::from_millis(20);
            let start = Instant::now();
            for datagram in &mut batch {
                self.media.on_datagram(
                    TransportId(0),
                    self.now,
                    datagram,
                    &mut out,
                    &mut self.events,
                );
            }
            spent += start.elapsed();
            self.media.on_timer(self.now, &mut out, &mut self.events);
            left = left.saturating_sub(count);
        }
        spent
    }

    /// Forwards `count` packets of the first track and says under which numbers.
    fn forward(&mut self, count: u64) -> Vec<u16> {
        let mut out = Numbers::default();
        self.now += Duration::from_millis(200);
        for mut datagram in self.datagrams(count, 1) {
            let from = TransportId(0);
            self.media
                .on_datagram(from, self.now, &mut datagram, &mut out, &mut self.events);
        }
        out.seqs
    }

    /// The first subscriber asks for `lost` again. How long that took, and how many were sent.
    fn ask(&mut self, lost: &[u16]) -> (Duration, usize) {
        let mut question = [0; 1400];
        let mut writer = Writer::new(&mut question[..1200]);
        assert!(writer.nack(1, 5000, lost), "a question that fits");
        let len = writer.len();
        let sealed = self.subscriber.seal_rtcp(&mut question, len);
        let end = sealed.expect("room for the trailer");
        let mut out = Numbers::default();
        out.slot.resize(1536, 0);
        out.seqs.reserve(lost.len());
        let start = Instant::now();
        self.media.on_datagram(
            TransportId(1),
            self.now,
            &mut question[..end],
            &mut out,
            &mut self.events,
        );
        (start.elapsed(), out.seqs.len())
    }
}

fn srtp_seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("srtp_seal");
    for profile in [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80,
    ] {
        for (len, keys) in [(160, 1), (600, 1), (1200, 1), (1200, 1000)] {
            let mut sealers: Vec<Sealer> = (0..keys)
                .map(|n| Sealer::new(profile, &master(profile, n), hasher()))
                .map(|sealer| sealer.expect("a key that fits"))
                .collect();
            let mut packet = vec![0; len + 64];
            packet[0] = 0x80;
            packet[8..12].copy_from_slice(&7u32.to_be_bytes());
            let mut turn = 0u64;
            group.throughput(Throughput::Bytes(len as u64));
            let id = BenchmarkId::new(profile.as_str(), format!("{len} B, {keys} keys"));
            group.bench_function(id, |b| {
                b.iter(|| {
                    turn += 1;
                    // Each sealer counts for itself, as a subscriber's does.
                    let index = turn / keys;
                    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
                    let sealer = &mut sealers[(turn % keys) as usize];
                    sealer.seal_rtp(&mut packet, 20, 20 + len, 7, index)
                });
            });
        }
    }
    group.finish();
}

fn ingress(c: &mut Criterion) {
    c.bench_function("ingress", |b| {
        let mut room = Room::new(1, 0);
        b.iter_custom(|packets| room.run(packets, 1));
    });
}

fn egress(c: &mut Criterion) {
    let mut group = c.benchmark_group("egress");
    for subscribers in [1, 10, 100, 1000] {
        group.bench_function(BenchmarkId::new("subscribers", subscribers), |b| {
            let mut room = Room::new(1, subscribers);
            b.iter_custom(|forwarded| {
                let packets = forwarded.div_ceil(subscribers).max(64);
                let spent = room.run(packets, 1);
                spent.mul_f64(forwarded as f64 / (packets * subscribers) as f64)
            });
        });
    }
    for streams in [1, 10, 30, 100] {
        group.bench_function(BenchmarkId::new("streams per connection", streams), |b| {
            let mut room = Room::new(streams, 10);
            b.iter_custom(|forwarded| {
                let packets = forwarded.div_ceil(10).max(64).next_multiple_of(streams);
                let spent = room.run(packets, streams);
                spent.mul_f64(forwarded as f64 / (packets * 10) as f64)
            });
        });
    }
    group.finish();
}

/// Numbers asked for at once, in four words of seventeen and less.
const ASKED: u64 = 64;

fn nack(c: &mut Criterion) {
    let mut group = c.benchmark_group("nack");
    let mut per_number = |name: &str, ask: fn(&mut Room, &[u16]) -> (Duration, usize), sent| {
        group.bench_function(name, |b| {
            let mut room = Room::new(1, 1);
            b.iter_custom(|numbers| {
                let rounds = numbers.div_ceil(ASKED);
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    // Some are not asked for, so that repairs stay within what media has earned them.
                    let seqs = room.forward(ASKED + ASKED / 4);
                    let (took, count) = ask(&mut room, &seqs[..ASKED as usize]);
                    assert_eq!(count, sent, "what is sent again");
                    spent += took;
                }
                spent.mul_f64(numbers as f64 / (rounds * ASKED) as f64)
            });
        });
    };
    per_number("sent again", |room, seqs| room.ask(seqs), ASKED as usize);
    let asked_twice = |room: &mut Room, seqs: &[u16]| {
        room.ask(seqs);
        room.ask(seqs)
    };
    per_number("hit, on its way already", asked_twice, 0);
    let far_away = |room: &mut Room, seqs: &[u16]| {
        let never_sent: Vec<u16> = seqs.iter().map(|seq| seq.wrapping_add(20_000)).collect();
        room.ask(&never_sent)
    };
    per_number("miss", far_away, 0);
    group.finish();
}

fn twcc_build(c: &mut Criterion) {
    c.bench_function("twcc_build/200", |b| {
        let (mut arrivals, mut seq, mut ticks) = (Arrivals::default(), 0u16, 0);
        let mut buffer = [0; 1200];
        b.iter_custom(|reports| {
            let mut spent = Duration::ZERO;
            for _ in 0..reports {
                for _ in 0..200 {
                    seq = seq.wrapping_add(1);
                    // About 1000 packets a second, in frames: some together, then a pause.
                    ticks += if seq.is_multiple_of(8) { 26 } else { 1 };
                    arrivals.register(seq, ticks);
                }
                let start = Instant::now();
                while arrivals.is_due() {
                    let mut writer = Writer::new(&mut buffer);
                    assert!(arrivals.write(&mut writer, 1, 2), "a report that fits");
                }
                spent += start.elapsed();
            }
            spent
        });
    });
}

criterion_group! {
    name = packets;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = srtp_seal, ingress, egress, nack, twcc_build
}
criterion_main!(packets);
