use std::net::SocketAddr;

use super::rig::*;
use crate::media::{MediaCommand, Outbox};
use crate::spec::{ConsumerId, LayerPolicy, SsrcGroup, SsrcSemantics};
use crate::srtp::SrtpProfile;

/// The arena without its system calls.
struct Slots {
    slots: Vec<[u8; 1536]>,
    sent: usize,
}

impl Outbox for Slots {
    fn push(&mut self, _to: SocketAddr, build: impl FnOnce(&mut [u8]) -> usize) {
        let place = self.sent % self.slots.len();
        self.sent += usize::from(build(&mut self.slots[place]) > 0);
    }
}

#[test]
fn repair_allocates_nothing_once_a_stream_is_steady() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    let payload: &'static [u8] = Box::leak(vec![0; 1000].into_boxed_slice());
    rig.rtp(0, video(10, 1000, KEY));
    let base = rig.take_rtp(1)[0].index;
    // Of twenty packets two are lost and come by retransmission, and one is asked for again.
    let mut steps = Vec::new();
    for n in 1..6000u64 {
        let mut step = Vec::new();
        if !matches!(n % 20, 7 | 9) {
            step.push((0, rig.sealed(0, &video(10, 1000 + n, payload))));
        }
        if n % 20 == 19 {
            for lost in [n - 10, n - 12] {
                let mut again = ((1000 + lost) as u16).to_be_bytes().to_vec();
                again.extend(payload);
                let repair = Rtp {
                    pt: VP8_RTX,
                    payload: &again,
                    ..video(11, lost, MORE)
                };
                step.push((0, rig.sealed(0, &repair)));
            }
            let seq = (base + n - 15) as u16;
            let question = rig.seal_rtcp(1, |writer| {
                writer.nack(9, 20, &[seq]);
            });
            step.push((1, question));
        }
        steps.push(step);
    }
    let mut out = Slots {
        slots: vec![[0; 1536]; 64],
        sent: 0,
    };
    let (mut by_packet, mut by_time) = (0, 0);

    for (n, step) in steps.into_iter().enumerate() {
        rig.now += ms(2);
        for (peer, mut datagram) in step {
            let transport = rig.peers[peer].transport;
            let spent = allocation_counter::measure(|| {
                rig.media
                    .on_datagram(transport, rig.now, &mut datagram, &mut out, &mut rig.events);
            });
            by_packet += if n > 3000 { spent.count_total } else { 0 };
        }
        let spent = allocation_counter::measure(|| {
            rig.media.on_timer(rig.now, &mut out, &mut rig.events);
        });
        by_time += if n > 3000 { spent.count_total } else { 0 };
    }

    let counters = rig.media.counters();
    assert!(
        counters.repaired_in > 590 && counters.retransmitted > 290,
        "{counters:?}"
    );
    assert!(counters.nacks_out > 590, "{counters:?}");
    assert_eq!(by_packet, 0);
    // Six seconds: receiver reports are gathered once in each.
    assert!(by_time <= 12, "{by_time}");
}

#[test]
fn changing_layers_and_leaving_out_temporal_ones_allocates_nothing_once_it_has_been_done() {
    let mut rig = Rig::new(3);
    let mut spec = recv_video("0", 30, 31);
    spec.groups = vec![SsrcGroup {
        semantics: SsrcSemantics::Sim,
        ssrcs: vec![30, 31],
    }];
    rig.receive(0, 1, spec);
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.send(2, 3, send_video("v", 20, 21), Some(1));
    let mut out = Slots {
        slots: vec![[0; 1536]; 64],
        sent: 0,
    };
    let publisher = rig.peers[0].transport;
    let (mut allocated, mut changed) = (0, 0);

    for n in 0..8000u64 {
        // Every second frame is of the higher temporal layer, and every hundredth a keyframe.
        let is_key = n % 100 == 0;
        let temporal = u8::from(n % 2 == 1) << 6;
        if n % 100 == 50 {
            let policy = LayerPolicy {
                max_temporal: (n % 400 == 50).then_some(0),
                ..layer_policy((n / 100 % 2) as u8, &[])
            };
            rig.command(MediaCommand::ConsumerPolicy(ConsumerId(2), policy));
            changed += 1;
        }
        rig.events.clear();
        rig.now += ms(10);
        for layer in 0..2u32 {
            let picture = (n & 0x7fff) as u16 | 0x8000;
            let [high, low] = picture.to_be_bytes();
            let mut payload = vec![0x90, 0xe0, high, low, n as u8, temporal, u8::from(!is_key)];
            payload.resize(1000, 7);
            let packet = Rtp {
                payload: &payload,
                ..video(30 + layer, 1000 + n, MORE)
            };
            let mut datagram = rig.sealed(0, &packet);
            let spent = allocation_counter::measure(|| {
                rig.media
                    .on_datagram(publisher, rig.now, &mut datagram, &mut out, &mut rig.events);
            });
            allocated += if n >= 4000 { spent.count_total } else { 0 };
        }
        rig.media.on_timer(rig.now, &mut out, &mut rig.events);
    }

    assert!(changed == 80 && rig.media.counters().drop_temporal > 500);
    assert_eq!(allocated, 0);
}

#[test]
fn forwarding_allocates_nothing_once_a_stream_is_steady() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        let mut rig = Rig::with_profile(4, profile);
        rig.receive(0, 1, recv_video("0", 10, 11));
        rig.receive(0, 2, recv_audio("1", 12));
        for peer in 1..4 {
            let id = 10 * peer as u64;
            rig.send(peer, id, send_video("v", 20, 21), Some(1));
            rig.send(peer, id + 1, send_audio("a", 30), Some(2));
        }
        let payload: &'static [u8] = Box::leak(vec![0; 1100].into_boxed_slice());
        let mut datagrams = |n: u64| {
            let number = |offset: u64| ((2 * n + offset) as u16).to_be_bytes().to_vec();
            let first = if n == 0 { KEY } else { payload };
            let picture = Rtp {
                extensions: vec![(TWCC_EXT, number(0))],
                ..video(10, 1000 + n, first)
            };
            let sound = Rtp {
                extensions: vec![(TWCC_EXT, number(1)), (LEVEL_EXT, vec![1])],
                ..audio(12, 500 + n)
            };
            [rig.sealed(0, &picture), rig.sealed(0, &sound)]
        };
        let batches: Vec<_> = (0..4000).map(&mut datagrams).collect();
        let mut out = Slots {
            slots: vec![[0; 1536]; 64],
            sent: 0,
        };
        let publisher = rig.peers[0].transport;
        let mut allocated = 0;

        for (n, mut batch) in batches.into_iter().enumerate() {
            rig.now += ms(2);
            let spent = allocation_counter::measure(|| {
                for datagram in &mut batch {
                    rig.media
                        .on_datagram(publisher, rig.now, datagram, &mut out, &mut rig.events);
                }
            });
            rig.media.on_timer(rig.now, &mut out, &mut rig.events);
            if n >= 2000 {
                allocated += spent.count_total;
            }
        }

        assert!(out.sent >= 4000 * 2 * 3);
        assert_eq!(allocated, 0, "{profile:?}");
    }
}
