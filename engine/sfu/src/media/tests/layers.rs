//! Simulcast: who gets which layer, and what a change of it looks like to the one who gets it.

use super::rig::*;
use crate::media::*;
use crate::rtcp::SenderInfo;
use crate::spec::*;
use crate::srtp::SrtpProfile;

/// A publisher of three layers of VP8, declared q, h, f; each has its own numbers and clock.
struct Camera {
    peer: usize,
    /// SSRC of the first layer; the others follow.
    ssrc: u32,
    frame: u64,
    seqs: [u64; 3],
    /// The id of the next picture, by layer.
    pictures: [u16; 3],
}

/// Packets of one frame.
const PACKETS: u64 = 3;

fn simulcast(mid: &str) -> RecvSpec {
    RecvSpec {
        ssrcs: vec![],
        groups: vec![],
        rids: vec!["q".into(), "h".into(), "f".into()],
        ..recv_video(mid, 0, 0)
    }
}

impl Camera {
    fn new(rig: &mut Rig, peer: usize, producer: u64) -> Camera {
        rig.receive(peer, producer, simulcast("0"));
        Camera {
            peer,
            ssrc: 1000 * (peer as u32 + 1),
            frame: 0,
            seqs: [100, 20_000, 65_500],
            pictures: [100, 32_700, 9000],
        }
    }

    /// The packets of a layer's next frame.
    fn packets(&mut self, layer: usize, is_key: bool) -> Vec<(Rtp<'static>, Vec<u8>)> {
        let rid = ["q", "h", "f"][layer];
        let picture = self.pictures[layer] & 0x7fff;
        self.pictures[layer] += 1;
        let [high, low] = picture.to_be_bytes();
        let mut packets = Vec::new();
        for n in 0..PACKETS {
            let first = if n == 0 { 0x90 } else { 0x80 };
            let is_delta = u8::from(!is_key);
            // Which layer it is of can be read from the last byte.
            let payload = vec![first, 0x80, 0x80 | high, low, is_delta, layer as u8];
            let rtp = Rtp {
                seq: self.seqs[layer],
                timestamp: (self.frame as u32)
                    .wrapping_mul(3000)
                    .wrapping_add(1_000_000 * layer as u32),
                marker: n == PACKETS - 1,
                extensions: vec![(MID_EXT, b"0".to_vec()), (RID_EXT, rid.as_bytes().to_vec())],
                ..video(self.ssrc + layer as u32, 0, MORE)
            };
            self.seqs[layer] += 1;
            packets.push((rtp, payload));
        }
        packets
    }

    fn send(&self, rig: &mut Rig, packets: &[(Rtp<'static>, Vec<u8>)]) {
        for (rtp, payload) in packets {
            let rtp = Rtp {
                payload,
                ..rtp.clone()
            };
            rig.rtp(self.peer, rtp);
        }
    }

    /// One frame of these layers, and 33 ms.
    fn frame(&mut self, rig: &mut Rig, layers: &[(usize, bool)]) {
        for (layer, is_key) in layers {
            let packets = self.packets(*layer, *is_key);
            self.send(rig, &packets);
        }
        self.frame += 1;
        rig.advance(ms(33));
    }

    /// Frames of all layers, which answer a request for a keyframe as Chromium does: with one on each.
    fn run(&mut self, rig: &mut Rig, frames: usize) {
        self.run_layers(rig, frames, &[0, 1, 2]);
    }

    fn run_layers(&mut self, rig: &mut Rig, frames: usize, layers: &[usize]) {
        for _ in 0..frames {
            let is_key = self.frame == 0 || rig.plis(self.peer) > 0;
            let layers: Vec<(usize, bool)> = layers.iter().map(|l| (*l, is_key)).collect();
            self.frame(rig, &layers);
        }
    }
}

/// Peer 0 publishes, the others subscribe with consumers 11, 12, … to its producer 1.
fn room(subscribers: usize) -> (Rig, Camera) {
    let mut rig = Rig::new(1 + subscribers);
    let camera = Camera::new(&mut rig, 0, 1);
    for peer in 1..=subscribers {
        rig.send(peer, 10 + peer as u64, send_video("v", 20, 21), Some(1));
    }
    (rig, camera)
}

/// The layer a packet is of, and whether it begins a keyframe.
fn layer_of(got: &Got) -> u8 {
    *got.payload.last().unwrap()
}

fn is_key_start(got: &Got) -> bool {
    got.payload[0] & 0x10 != 0 && got.payload[4] == 0
}

fn picture_of(got: &Got) -> u16 {
    u16::from_be_bytes([got.payload[2], got.payload[3]]) & 0x7fff
}

/// Asserts that what a peer got is one stream: no gap, time that only goes forward, pictures one after
/// the other, and a keyframe wherever the layer changes. Returns the layers in their order.
fn one_stream(got: &[Got]) -> Vec<u8> {
    let mut layers = vec![layer_of(&got[0])];
    for pair in got.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(after.index, before.index + 1);
        assert_eq!(after.header.ssrc, before.header.ssrc);
        let step = after.header.timestamp.wrapping_sub(before.header.timestamp);
        let is_new = after.payload[0] & 0x10 != 0;
        assert!(is_new == (step != 0), "a new frame has a new time");
        assert!(step < 90_000, "{step}");
        let next = (picture_of(before) + u16::from(is_new)) & 0x7fff;
        assert_eq!(picture_of(after), next);
        if layer_of(after) != layer_of(before) {
            assert!(is_key_start(after));
            layers.push(layer_of(after));
        }
    }
    layers
}

/// 830 frames of 33 ms, less than 20 ms wrong.
fn assert_in_time(got: &[Got]) {
    let last = got.last().unwrap().header.timestamp;
    let passed = last.wrapping_sub(got[0].header.timestamp);
    assert!(passed.abs_diff(829 * 3000) < 1800, "{passed}");
}

fn told(rig: &mut Rig, consumer: u64) -> Vec<Option<u8>> {
    let told = rig.events.drain(..).filter_map(|event| match event {
        MediaEvent::ConsumerLayer {
            consumer: id,
            layer,
        } if id == ConsumerId(consumer) => Some(layer),
        _ => None,
    });
    told.collect()
}

fn demands(rig: &mut Rig) -> Vec<u8> {
    let demands = rig.events.drain(..).filter_map(|event| match event {
        MediaEvent::LayerDemand { layers, .. } => Some(layers),
        _ => None,
    });
    demands.collect()
}

#[test]
fn without_a_policy_the_first_declared_layer_that_sends_is_forwarded() {
    let (mut rig, mut camera) = room(1);

    camera.run_layers(&mut rig, 10, &[1, 2]);
    assert_eq!(one_stream(&rig.take_rtp(1)), [1]);
    assert_eq!(told(&mut rig, 11), [Some(1)]);
    camera.run(&mut rig, 10);

    assert_eq!(one_stream(&rig.take_rtp(1)).last(), Some(&0));
    assert_eq!(told(&mut rig, 11), [Some(0)]);
}

#[test]
fn the_present_layer_goes_on_until_the_keyframe_of_the_wanted_one_which_is_asked_for_once() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    rig.take_reports(0);

    rig.layer(11, 2, &[]);
    assert_eq!(rig.take_reports(0), [Report::Pli(camera.ssrc + 2)]);
    camera.run_layers(&mut rig, 3, &[0, 1, 2]);
    camera.frame(&mut rig, &[(0, true), (1, true), (2, true)]);
    camera.run(&mut rig, 20);

    let got = rig.take_rtp(1);
    assert_eq!(one_stream(&got), [0, 2]);
    assert_eq!(got.len() as u64, 34 * PACKETS + PACKETS);
    assert_eq!(told(&mut rig, 11), [Some(0), Some(2)]);
    assert_eq!(rig.media.counters().keyframe_requests_out, 1);
}

#[test]
fn a_keyframe_that_comes_by_itself_will_do() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    // Asked for a moment ago, so that it may not be asked for again yet.
    rig.command(MediaCommand::ProducerKeyframe(ProducerId(1), None));
    camera.run(&mut rig, 2);
    rig.take_reports(0);

    rig.layer(11, 2, &[]);
    assert_eq!(rig.plis(0), 0);
    camera.frame(&mut rig, &[(0, false), (1, false), (2, true)]);

    assert_eq!(one_stream(&rig.take_rtp(1)), [0, 2]);
}

#[test]
fn up_and_down_twenty_times_is_one_stream_with_a_request_each() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 30);
    let mut expected = vec![0];

    for n in 0..20u8 {
        let layer = [2, 1, 0, 1][usize::from(n) % 4];
        rig.layer(11, layer, &[]);
        camera.run(&mut rig, 40);
        expected.push(layer);
    }

    let got = rig.take_rtp(1);
    assert_eq!(one_stream(&got), expected);
    assert!(rig.media.counters().keyframe_requests_out <= 20);
    assert_in_time(&got);
}

#[test]
fn fifty_who_want_a_layer_ask_for_it_once() {
    let (mut rig, mut camera) = room(50);
    camera.run(&mut rig, 10);
    let before = rig.media.counters().keyframe_requests_out;

    for consumer in 11..=60 {
        rig.layer(consumer, 2, &[]);
    }
    camera.run(&mut rig, 20);

    assert_eq!(rig.media.counters().keyframe_requests_out - before, 1);
    assert!((1..=50).all(|peer| one_stream(&rig.peers[peer].rtp) == [0, 2]));
}

#[test]
fn a_keyframe_that_does_not_come_is_asked_for_again_ever_more_slowly() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    rig.layer(11, 2, &[]);
    let mut asked = vec![];
    let start = rig.now;
    for _ in 0..150 {
        if rig.plis(0) > 0 {
            asked.push((rig.now - start).as_millis() / 100);
        }
        camera.frame(&mut rig, &[(0, false), (2, false)]);
    }

    assert_eq!(asked, [0, 3, 6, 11, 21, 41]);
    assert_eq!(one_stream(&rig.take_rtp(1)), [0]);
}

#[test]
fn layers_that_nobody_wants_are_counted_and_neither_kept_nor_repaired() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    let before = rig.media.counters();

    let mut packets = camera.packets(2, false);
    packets.remove(1);
    camera.send(&mut rig, &packets);
    rig.advance(ms(50));

    let after = rig.media.counters();
    assert_eq!(after.drop_layer - before.drop_layer, 2);
    assert_eq!(after.nacks_out, before.nacks_out);
    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(stats.producers[0].lost, 1);
}

#[test]
fn what_is_missing_of_a_wanted_layer_is_asked_for_on_its_own_ssrc() {
    let (mut rig, mut camera) = room(2);
    camera.run(&mut rig, 10);
    rig.layer(12, 2, &[]);
    camera.run(&mut rig, 5);
    rig.take_reports(0);

    for layer in 0..3 {
        let mut packets = camera.packets(layer, false);
        packets.remove(1);
        camera.send(&mut rig, &packets);
    }
    rig.advance(ms(10));

    let asked: Vec<u32> = rig
        .take_reports(0)
        .iter()
        .filter_map(|report| match report {
            Report::Nack(ssrc, _) => Some(*ssrc),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [camera.ssrc, camera.ssrc + 2]);
}

#[test]
fn a_layer_that_stops_is_replaced_and_taken_up_again_when_it_returns() {
    let (mut rig, mut camera) = room(1);
    rig.layer(11, 2, &[1, 0]);
    camera.run(&mut rig, 60);
    assert_eq!(one_stream(&rig.take_rtp(1)).last(), Some(&2));
    rig.events.clear();

    let stopped = rig.now;
    camera.run_layers(&mut rig, 30, &[0, 1]);
    let got = rig.take_rtp(1);
    assert_eq!(one_stream(&got), [1]);
    assert!(rig.events.iter().any(|event| matches!(
        event,
        MediaEvent::LayerInactive { layer: 2, at, .. } if *at - stopped < ms(650)
    )));
    assert_eq!(told(&mut rig, 11), [Some(1)]);

    camera.run(&mut rig, 30);
    assert_eq!(one_stream(&rig.take_rtp(1)), [1, 2]);
    assert_eq!(told(&mut rig, 11), [Some(2)]);
}

#[test]
fn a_slow_layer_beside_a_fast_one_has_not_stopped() {
    let (mut rig, mut camera) = room(1);
    rig.layer(11, 2, &[0]);
    camera.run(&mut rig, 5);

    for n in 0..200 {
        let layers: &[usize] = if n % 6 == 0 { &[0, 2] } else { &[0] };
        camera.run_layers(&mut rig, 1, layers);
    }

    assert_eq!(one_stream(&rig.take_rtp(1)).last(), Some(&2));
    let has_stopped =
        |event: &MediaEvent| matches!(event, MediaEvent::LayerInactive { layer: 2, .. });
    assert!(!rig.events.iter().any(has_stopped));
}

#[test]
fn nothing_is_sent_while_a_layer_without_a_substitute_is_missing() {
    let (mut rig, mut camera) = room(1);
    rig.layer(11, 2, &[]);

    camera.run_layers(&mut rig, 30, &[0, 1]);
    assert!(rig.take_rtp(1).is_empty());
    assert_eq!(told(&mut rig, 11), []);
    camera.run(&mut rig, 5);
    assert_eq!(one_stream(&rig.take_rtp(1)), [2]);

    // An index that the source does not have is missing as well.
    rig.layer(11, 7, &[]);
    camera.run(&mut rig, 5);
    assert!(rig.take_rtp(1).is_empty());
    assert_eq!(told(&mut rig, 11), [Some(2), None]);
    rig.layer(11, 7, &[9, 1]);
    camera.run(&mut rig, 40);
    assert_eq!(one_stream(&rig.take_rtp(1)), [1]);
}

#[test]
fn a_layer_that_the_producers_policy_refuses_is_missing() {
    let (mut rig, mut camera) = room(1);
    let policy = ProducerPolicy {
        max_layer: Some(1),
        ..ProducerPolicy::default()
    };
    rig.command(MediaCommand::ProducerPolicy(ProducerId(1), policy));
    rig.layer(11, 2, &[1]);

    camera.run(&mut rig, 10);

    assert_eq!(one_stream(&rig.take_rtp(1)), [1]);
}

#[test]
fn what_is_wanted_of_a_producer_is_told_when_it_changes() {
    let (mut rig, mut camera) = room(2);
    camera.run(&mut rig, 3);
    assert_eq!(demands(&mut rig).last(), Some(&0b001));

    rig.layer(11, 2, &[0]);
    assert_eq!(demands(&mut rig), [0b101]);
    rig.layer(12, 2, &[0]);
    assert_eq!(demands(&mut rig), [0b100]);
    camera.run(&mut rig, 30);
    camera.run_layers(&mut rig, 30, &[0, 1]);
    assert_eq!(demands(&mut rig).last(), Some(&0b101));
    rig.command(MediaCommand::ConsumerPause(ConsumerId(11)));
    rig.command(MediaCommand::ConsumerPause(ConsumerId(12)));
    assert_eq!(demands(&mut rig), [0]);
    rig.command(MediaCommand::ConsumerResume(ConsumerId(11)));
    assert_eq!(demands(&mut rig), [0b101]);
    rig.source(11, None);
    assert_eq!(demands(&mut rig), [0]);
}

#[test]
fn packets_out_of_order_around_a_change_find_their_places() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    rig.layer(11, 2, &[]);

    let mut before = camera.packets(0, false);
    let late = before.remove(1);
    camera.send(&mut rig, &before);
    let mut key = camera.packets(2, true);
    key.swap(0, 2);
    camera.send(&mut rig, &key);
    camera.send(&mut rig, &[late]);
    camera.frame += 1;
    camera.run(&mut rig, 5);

    let mut got = rig.take_rtp(1);
    got.sort_by_key(|got| got.index);
    let change = got.iter().position(|got| layer_of(got) == 2).unwrap();
    // The late one of the layer that has been left is all that is missing.
    assert_eq!(got[change - 1].index + 1, got[change].index);
    assert_eq!(got[change - 2].index + 2, got[change - 1].index);
    assert_eq!(one_stream(&got[change..]), [2]);
}

#[test]
fn what_is_lost_on_either_side_of_a_change_is_sent_again_as_it_was_or_would_have_been() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    rig.layer(11, 2, &[]);
    let mut before = camera.packets(0, false);
    let late = before.remove(1);
    camera.send(&mut rig, &before);
    let key = camera.packets(2, true);
    camera.send(&mut rig, &key);
    camera.frame += 1;
    let got = rig.take_rtp(1);
    let of_old = got.iter().rev().find(|got| layer_of(got) == 0).unwrap();
    let of_new = got.last().unwrap();
    assert_eq!(layer_of(of_new), 2);

    // The layer that was left has another subscriber, who has what was lost repaired.
    rig.add_peer(SrtpProfile::AeadAes128Gcm, true);
    rig.send(2, 12, send_video("v", 20, 21), Some(1));
    camera.send(&mut rig, &[late]);
    let lost = (of_old.index - 1) as u16;
    rig.rtcp(1, |writer| {
        writer.nack(9, 20, &[lost, of_old.header.seq, of_new.header.seq]);
    });

    let again = rig.take_rtp(1);
    let originals: Vec<u16> = again
        .iter()
        .map(|got| u16::from_be_bytes([got.payload[0], got.payload[1]]))
        .collect();
    assert_eq!(originals, [lost, of_old.header.seq, of_new.header.seq]);
    assert_eq!(again[1].payload[2..], of_old.payload[..]);
    assert_eq!(again[2].payload[2..], of_new.payload[..]);
    assert_eq!(again[0].header.timestamp, of_old.header.timestamp);
    assert_eq!(again[0].payload[4..6], of_old.payload[2..4]);
    assert_eq!(again[1].header.timestamp, of_old.header.timestamp);
}

#[test]
fn a_keyframe_that_lost_a_packet_is_repaired_in_place() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    rig.layer(11, 2, &[]);

    for lost in [0, 1] {
        let mut key = camera.packets(2, true);
        let late = key.remove(lost);
        camera.send(&mut rig, &key);
        let next = camera_frame(&mut camera, 2);
        camera.send(&mut rig, &next);
        rig.advance(ms(60));
        let nacked = rig.take_reports(0);
        assert!(
            nacked
                .iter()
                .any(|report| matches!(report, Report::Nack(_, lost) if lost.len() == 1))
        );
        camera.send(&mut rig, &[late]);
    }

    let mut got = rig.take_rtp(1);
    got.sort_by_key(|got| got.index);
    assert_eq!(one_stream(&got), [0, 2]);
}

/// The next frame of one layer, without a keyframe.
fn camera_frame(camera: &mut Camera, layer: usize) -> Vec<(Rtp<'static>, Vec<u8>)> {
    camera.frame += 1;
    let packets = camera.packets(layer, false);
    camera.frame += 1;
    packets
}

#[test]
fn a_layer_that_comes_from_another_ssrc_goes_on_with_its_keyframe() {
    let (mut rig, mut camera) = room(1);
    rig.layer(11, 2, &[]);
    camera.run(&mut rig, 30);

    camera.ssrc += 500;
    camera.seqs = [9, 9, 9];
    camera.run(&mut rig, 40);

    assert_eq!(one_stream(&rig.take_rtp(1)), [2]);
}

#[test]
fn a_source_goes_on_until_the_next_has_a_keyframe() {
    let mut rig = Rig::new(3);
    let mut cameras = [Camera::new(&mut rig, 0, 1), Camera::new(&mut rig, 1, 2)];
    rig.send(2, 11, send_video("v", 20, 21), Some(1));
    let both = |rig: &mut Rig, cameras: &mut [Camera; 2], frames: usize| {
        for _ in 0..frames {
            for camera in &mut *cameras {
                let is_key = camera.frame == 0 || rig.plis(camera.peer) > 0;
                let frames = [0, 1, 2]
                    .map(|layer| camera.packets(layer, is_key))
                    .concat();
                camera.send(rig, &frames);
                camera.frame += 1;
            }
            rig.advance(ms(33));
        }
    };
    both(&mut rig, &mut cameras, 30);
    let mut longest = 0;

    for n in 0..20u64 {
        let source = Some(ProducerId(2 - n % 2));
        let policy = Some(layer_policy((n % 3) as u8, &[]));
        rig.command(MediaCommand::ConsumerSource(ConsumerId(11), source, policy));
        for _ in 0..40 {
            let before = rig.peers[2].rtp.len();
            both(&mut rig, &mut cameras, 1);
            longest = if rig.peers[2].rtp.len() == before {
                longest + 1
            } else {
                longest
            };
        }
    }

    let got = rig.take_rtp(2);
    one_stream(&got);
    assert_eq!(longest, 0, "a frame without a picture");
    assert!(rig.media.counters().keyframe_requests_out <= 20);
    assert_in_time(&got);
}

#[test]
fn a_source_that_is_replaced_by_one_without_a_picture_ends_after_a_second() {
    let (mut rig, mut camera) = room(1);
    rig.receive(1, 2, recv_video("0", 77, 78));
    camera.run(&mut rig, 10);

    rig.source(11, Some(2));
    camera.run(&mut rig, 29);
    assert_eq!(rig.take_rtp(1).len() as u64, 39 * PACKETS);
    camera.run(&mut rig, 10);

    assert!(rig.take_rtp(1).len() as u64 <= 2 * PACKETS);
    assert_eq!(told(&mut rig, 11), [Some(0), None]);
}

#[test]
fn a_source_that_pauses_or_ends_while_it_is_replaced_is_gone() {
    for is_paused in [true, false] {
        let (mut rig, mut camera) = room(1);
        rig.receive(1, 2, recv_video("0", 77, 78));
        camera.run(&mut rig, 10);
        rig.source(11, Some(2));
        rig.take_rtp(1);

        rig.command(match is_paused {
            true => MediaCommand::ProducerPause(ProducerId(1)),
            false => MediaCommand::ProducerClose(ProducerId(1)),
        });
        camera.run(&mut rig, 2);
        assert!(rig.take_rtp(1).is_empty());
        rig.rtp(1, video(77, 1, KEY));

        assert_eq!(rig.take_rtp(1).len(), 1);
    }
}

#[test]
fn no_source_cuts_at_once_though_another_was_to_begin() {
    let (mut rig, mut camera) = room(1);
    rig.receive(1, 2, recv_video("0", 77, 78));
    camera.run(&mut rig, 10);
    rig.source(11, Some(2));
    rig.take_rtp(1);

    rig.source(11, None);
    camera.run(&mut rig, 2);

    assert!(rig.take_rtp(1).is_empty());
}

#[test]
fn a_source_that_is_taken_back_before_it_was_replaced_has_never_stopped() {
    let (mut rig, mut camera) = room(1);
    rig.receive(1, 2, recv_video("0", 77, 78));
    camera.run(&mut rig, 10);

    rig.source(11, Some(2));
    camera.run(&mut rig, 5);
    rig.source(11, Some(1));
    camera.run(&mut rig, 60);

    assert_eq!(rig.take_rtp(1).len() as u64, 75 * PACKETS);
}

#[test]
fn sender_reports_tell_the_clock_of_the_layer_that_is_forwarded() {
    let (mut rig, mut camera) = room(1);
    camera.run(&mut rig, 10);
    let report = |rig: &mut Rig, camera: &Camera, layer: u32| {
        // All layers are stamped by one clock: frame 0 was at second 1000.
        let rtp = (camera.frame as u32 * 3000) + 1_000_000 * layer;
        let ntp = (1000u64 << 32) + (((camera.frame * 3000) << 32) / 90_000);
        rig.rtcp(0, |writer| {
            let info = SenderInfo {
                ssrc: camera.ssrc + layer,
                ntp,
                rtp,
                ..SenderInfo::default()
            };
            writer.sender_report(&info, &[]);
        });
    };
    let told = |rig: &mut Rig| {
        rig.advance(ms(1));
        let reports = rig.take_reports(1);
        let last = reports.into_iter().rev().find_map(|report| match report {
            Report::Sender { ntp, rtp, .. } => Some((ntp, rtp)),
            _ => None,
        });
        last.unwrap()
    };
    report(&mut rig, &camera, 0);
    let before = told(&mut rig);
    report(&mut rig, &camera, 2);

    rig.layer(11, 2, &[]);
    camera.run(&mut rig, 10);
    report(&mut rig, &camera, 2);
    rig.advance(ms(3000));
    let after = told(&mut rig);

    // The two clocks tell the same time of the one stream.
    let passed = ((after.0 - before.0) as u128 * 90_000) >> 32;
    let told = after.1.wrapping_sub(before.1);
    assert!(told.abs_diff(passed as u32) <= 3, "{told}, not {passed}");
}

#[test]
fn temporal_layers_above_the_limit_are_left_out_without_a_trace() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    // Two packets a frame; the layers of the frames are 0, 2, 1, 2.
    let mut n = 0u64;
    let mut frame = |rig: &mut Rig, is_key: bool, is_sync: bool, lost: Option<usize>| {
        let picture = n as u8 & 0x7f;
        let layer = [0u8, 2, 1, 2][n as usize % 4];
        let tid = layer << 6 | u8::from(is_sync) << 5 | 1;
        let index = (n / 4) as u8;
        for part in 0..2 {
            let first = if part == 0 { 0x90 } else { 0x80 };
            let payload = [first, 0xf0, picture, index, tid, u8::from(!is_key)];
            if lost == Some(part) {
                continue;
            }
            let rtp = Rtp {
                timestamp: (n * 3000) as u32,
                marker: part == 1,
                payload: &payload,
                ..video(10, 1000 + 2 * n + part as u64, MORE)
            };
            rig.rtp(0, rtp);
        }
        n += 1;
    };
    frame(&mut rig, true, false, None);
    for _ in 1..8 {
        frame(&mut rig, false, false, None);
    }
    assert_eq!(rig.take_rtp(1).len(), 16);

    rig.command(MediaCommand::ConsumerPolicy(
        ConsumerId(2),
        LayerPolicy {
            max_temporal: Some(1),
            ..LayerPolicy::default()
        },
    ));
    for _ in 8..16 {
        frame(&mut rig, false, false, None);
    }
    let got = rig.take_rtp(1);
    assert_eq!(got.len(), 8);
    for pair in got.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1);
        let is_new = pair[1].payload[0] == 0x90;
        assert_eq!(pair[1].payload[2], pair[0].payload[2] + u8::from(is_new));
    }
    assert!(got.iter().all(|got| got.payload[4] >> 6 < 2));
    assert_eq!(got.iter().filter(|got| got.header.marker).count(), 4);
    assert_eq!(rig.media.counters().drop_temporal, 8);

    // Up again at a layer sync, and not before.
    rig.layer(2, 0, &[]);
    for _ in 16..20 {
        frame(&mut rig, false, false, None);
    }
    assert_eq!(rig.take_rtp(1).len(), 4);
    frame(&mut rig, false, false, None);
    frame(&mut rig, false, true, None);
    assert_eq!(rig.take_rtp(1).len(), 4);
}

#[test]
fn h264_changes_layers_at_a_keyframe_with_its_payload_untouched() {
    let h264 = |pt: u8, rtx_pt: u8| CodecSpec {
        pt,
        name: "H264".into(),
        fmtp: "packetization-mode=1;profile-level-id=42e01f".into(),
        rtx_pt: Some(rtx_pt),
        ..vp8()
    };
    let mut rig = Rig::new(2);
    let spec = RecvSpec {
        codecs: vec![h264(VP8, VP8_RTX)],
        ..simulcast("0")
    };
    rig.receive(0, 1, spec);
    let spec = SendSpec {
        codecs: vec![h264(120, 121)],
        ..send_video("v", 20, 21)
    };
    rig.send(1, 2, spec, Some(1));
    let mut n = 0;
    let mut frame = |rig: &mut Rig, is_key: bool| {
        for (layer, rid) in [(0u8, "q"), (1, "h")] {
            let payload = match is_key {
                true => [0x67, layer, 1],
                false => [0x41, layer, 1],
            };
            let rtp = Rtp {
                marker: true,
                extensions: vec![(MID_EXT, b"0".to_vec()), (RID_EXT, rid.as_bytes().to_vec())],
                payload: &payload,
                ..video(30 + u32::from(layer), 1000 * u64::from(layer) + n, MORE)
            };
            rig.rtp(0, rtp);
        }
        n += 1;
        rig.advance(ms(33));
    };

    frame(&mut rig, true);
    rig.layer(2, 1, &[]);
    frame(&mut rig, false);
    frame(&mut rig, true);
    frame(&mut rig, false);

    let got = rig.take_rtp(1);
    let payloads: Vec<[u8; 2]> = got
        .iter()
        .map(|got| [got.payload[0], got.payload[1]])
        .collect();
    // Of the keyframe at the change the layer that is left still gets its own.
    assert_eq!(payloads[..2], [[0x67, 0], [0x41, 0]]);
    assert_eq!(payloads[payloads.len() - 2..], [[0x67, 1], [0x41, 1]]);
    assert!(
        got.windows(2)
            .all(|pair| pair[1].index == pair[0].index + 1)
    );
}
