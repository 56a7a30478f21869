use super::rig::*;
use crate::media::*;
use crate::spec::*;
use crate::srtp::SrtpProfile;

/// Peer 0 publishes, peer 1 subscribes.
fn audio_call() -> Rig {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 2, send_audio("a", 20), Some(1));
    rig
}

fn video_call() -> Rig {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig
}

fn numbers(got: &[Got]) -> Vec<u64> {
    let first = got[0].index;
    got.iter().map(|got| got.index - first).collect()
}

#[test]
fn audio_is_forwarded_from_the_first_packet_with_numbers_of_its_own() {
    for profile in [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80,
    ] {
        let mut rig = Rig::with_profile(2, profile);
        rig.receive(0, 1, recv_audio("0", 10));
        rig.send(1, 2, send_audio("a", 20), Some(1));

        for n in 0..5 {
            rig.rtp(
                0,
                Rtp {
                    marker: n == 0,
                    extensions: vec![(LEVEL_EXT, vec![0x85]), (CAPTURE_EXT, vec![9; 8])],
                    ..audio(10, 1000 + n)
                },
            );
        }

        let got = rig.take_rtp(1);
        assert_eq!(numbers(&got), [0, 1, 2, 3, 4]);
        assert!(got[0].header.marker && !got[1].header.marker);
        for got in &got {
            assert_eq!((got.header.ssrc, got.header.pt), (20, OPUS));
            assert_eq!(got.payload, b"opus");
            assert_eq!(got.extension(LEVEL_EXT), Some(&[0x85][..]));
            assert_eq!(got.extension(CAPTURE_EXT), Some(&[9; 8][..]));
            assert_eq!(got.extension(MID_EXT), Some(&b"a"[..]));
        }
        let steps: Vec<u32> = got
            .windows(2)
            .map(|w| w[1].header.timestamp.wrapping_sub(w[0].header.timestamp))
            .collect();
        assert_eq!(steps, [960; 4]);
    }
}

#[test]
fn video_waits_for_a_keyframe_and_asks_for_it_once() {
    let mut rig = video_call();

    rig.rtp(0, video(10, 1, DELTA));
    rig.rtp(0, video(10, 2, DELTA));
    assert!(rig.take_rtp(1).is_empty());
    assert_eq!(rig.plis(0), 1);

    rig.rtp(0, video(10, 3, KEY));
    rig.rtp(0, video(10, 4, MORE));
    rig.rtp(0, video(10, 5, DELTA));

    let got = rig.take_rtp(1);
    assert_eq!(numbers(&got), [0, 1, 2]);
    assert_eq!(got[0].payload, KEY);
    assert_eq!((got[0].header.pt, got[0].header.ssrc), (120, 20));
    assert_eq!(got[0].extension(SEND_TIME_EXT).map(<[u8]>::len), Some(3));
}

#[test]
fn a_first_packet_is_told_once_on_each_side() {
    let mut rig = video_call();

    for n in 1..5 {
        rig.rtp(0, video(10, n, KEY));
    }

    let at = rig.now;
    rig.events
        .retain(|event| !matches!(event, MediaEvent::LayerDemand { .. }));
    assert_eq!(
        rig.events,
        [
            MediaEvent::FirstPacket {
                producer: ProducerId(1),
                layer: 0,
                codec: "VP8".into(),
                at
            },
            MediaEvent::LayerActive {
                producer: ProducerId(1),
                layer: 0,
                at
            },
            MediaEvent::ConsumerLayer {
                consumer: ConsumerId(2),
                layer: Some(0)
            },
            MediaEvent::FirstForwarded {
                consumer: ConsumerId(2),
                at
            },
        ]
    );
}

#[test]
fn a_layer_that_falls_silent_is_told_and_told_again_when_it_returns() {
    let mut rig = audio_call();
    rig.rtp(0, audio(10, 1));
    let last_packet = rig.now;
    rig.events.clear();

    rig.advance(ms(3100));
    rig.rtp(0, audio(10, 2));

    assert!(matches!(
        rig.events[..],
        [
            MediaEvent::LayerInactive { producer: ProducerId(1), layer: 0, last_packet: last, .. },
            MediaEvent::LayerActive { producer: ProducerId(1), layer: 0, .. },
        ] if last == last_packet
    ));
}

#[test]
fn packets_out_of_order_keep_their_places() {
    let mut rig = audio_call();

    for n in [10, 12, 11, 13, 15, 14] {
        rig.rtp(0, audio(10, n));
    }

    let got = rig.take_rtp(1);
    assert_eq!(numbers(&got), [0, 2, 1, 3, 5, 4]);
    let (first, base) = (got[0].index, got[0].header.timestamp);
    for got in got {
        let place = got.index - first;
        let time = got.header.timestamp.wrapping_sub(base);
        assert_eq!(u64::from(time), place * 960);
    }
}

#[test]
fn a_replayed_or_forged_packet_is_dropped_quietly() {
    let mut rig = audio_call();
    let datagram = rig.sealed(0, &audio(10, 1));
    let mut forged = rig.sealed(0, &audio(10, 2));
    *forged.last_mut().unwrap() ^= 1;

    assert!(rig.deliver(0, datagram.clone()));
    assert!(!rig.deliver(0, datagram));
    assert!(!rig.deliver(0, forged));

    assert_eq!(rig.take_rtp(1).len(), 1);
    let counters = rig.media.counters();
    assert_eq!((counters.drop_replayed, counters.drop_forged), (1, 1));
}

#[test]
fn padding_alone_is_counted_and_leaves_no_gap() {
    let mut rig = audio_call();

    rig.rtp(0, audio(10, 1));
    for n in 2..4 {
        rig.rtp(
            0,
            Rtp {
                payload: b"",
                padding: 200,
                ..audio(10, n)
            },
        );
    }
    rig.rtp(0, audio(10, 4));

    assert_eq!(numbers(&rig.take_rtp(1)), [0, 1]);
    assert_eq!(rig.media.counters().padding_in, 2);
}

#[test]
fn a_paused_consumer_goes_on_with_the_next_number_and_its_own_time() {
    let mut rig = audio_call();
    rig.rtp(0, audio(10, 1));
    rig.command(MediaCommand::ConsumerPause(ConsumerId(2)));
    for n in 2..50 {
        rig.rtp(0, audio(10, n));
    }
    rig.command(MediaCommand::ConsumerResume(ConsumerId(2)));
    rig.rtp(0, audio(10, 50));

    let got = rig.take_rtp(1);
    assert_eq!(numbers(&got), [0, 1]);
    let step = got[1]
        .header
        .timestamp
        .wrapping_sub(got[0].header.timestamp);
    assert_eq!(step, 49 * 960);
}

#[test]
fn a_paused_producer_forwards_nothing_and_begins_again_with_a_keyframe() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.command(MediaCommand::ProducerPause(ProducerId(1)));
    rig.rtp(0, video(10, 2, KEY));
    rig.take_reports(0);
    rig.advance(ms(1000));

    rig.command(MediaCommand::ProducerResume(ProducerId(1)));
    rig.rtp(0, video(10, 3, DELTA));
    assert_eq!(rig.plis(0), 1);
    rig.rtp(0, video(10, 4, KEY));

    let got = rig.take_rtp(1);
    assert_eq!(numbers(&got), [0, 1]);
    assert_eq!(rig.media.counters().drop_paused, 1);
}

#[test]
fn another_source_continues_the_numbers_and_the_time() {
    let mut rig = Rig::new(3);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.receive(1, 2, recv_audio("0", 10));
    rig.send(2, 3, send_audio("a", 20), Some(1));
    rig.rtp(0, audio(10, 500));

    rig.source(3, Some(2));
    rig.advance(ms(40));
    rig.rtp(0, audio(10, 501));
    rig.rtp(1, audio(10, 90));
    rig.rtp(1, audio(10, 91));

    let got = rig.take_rtp(2);
    assert_eq!(numbers(&got), [0, 1, 2]);
    let stamps: Vec<u32> = got.iter().map(|got| got.header.timestamp).collect();
    assert_eq!(stamps[1].wrapping_sub(stamps[0]), 40 * 48);
    assert_eq!(stamps[2].wrapping_sub(stamps[1]), 960);
}

#[test]
fn a_consumer_without_a_source_keeps_its_numbers_for_the_next() {
    let mut rig = audio_call();
    rig.rtp(0, audio(10, 1));

    rig.source(2, None);
    rig.rtp(0, audio(10, 2));
    rig.source(2, Some(1));
    rig.rtp(0, audio(10, 3));

    assert_eq!(numbers(&rig.take_rtp(1)), [0, 1]);
    assert!(rig.events.contains(&MediaEvent::ConsumerPaused {
        consumer: ConsumerId(2),
        reason: PauseReason::Source
    }));
}

#[test]
fn a_source_of_another_codec_is_not_forwarded_and_that_is_told_once() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    let mut spec = send_video("v", 20, 21);
    spec.codecs[0].name = "H264".into();
    rig.send(1, 2, spec, Some(1));

    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 2, KEY));

    assert!(rig.take_rtp(1).is_empty());
    let told = rig.events.iter().filter(|event| {
        matches!(
            event,
            MediaEvent::ConsumerPaused {
                reason: PauseReason::Codec,
                ..
            }
        )
    });
    assert_eq!(told.count(), 1);
}

#[test]
fn a_keyframe_whose_first_packet_comes_late_is_still_forwarded_whole() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, DELTA));
    for n in [3, 4] {
        rig.rtp(0, video(10, n, MORE));
    }
    assert!(rig.take_rtp(1).is_empty());

    rig.rtp(0, video(10, 2, KEY));

    let got = rig.take_rtp(1);
    assert_eq!(numbers(&got), [0, 1, 2]);
    assert_eq!(got[0].payload, KEY);
}

#[test]
fn every_subscriber_has_numbers_of_its_own() {
    let mut rig = Rig::new(4);
    rig.receive(0, 1, recv_audio("0", 10));
    for peer in 1..4 {
        let id = 10 + peer as u64;
        rig.send(peer, id, send_audio("a", 20), Some(1));
    }

    for n in 0..3 {
        rig.rtp(0, audio(10, n));
    }

    let firsts: Vec<u64> = (1..4).map(|peer| rig.peers[peer].rtp[0].index).collect();
    assert!(firsts[0] != firsts[1] && firsts[1] != firsts[2]);
    assert!((1..4).all(|peer| numbers(&rig.peers[peer].rtp) == [0, 1, 2]));
}

#[test]
fn the_mid_is_sent_until_a_report_shows_that_the_stream_is_known() {
    let mut rig = audio_call();
    rig.rtp(0, audio(10, 1));
    rig.rtcp(1, |writer| {
        let report = crate::rtcp::ReportBlock {
            ssrc: 20,
            ..Default::default()
        };
        writer.receiver_report(7, &[report]);
    });
    rig.rtp(0, audio(10, 2));

    let got = rig.take_rtp(1);
    assert_eq!(got[0].extension(MID_EXT), Some(&b"a"[..]));
    assert_eq!(got[1].extension(MID_EXT), None);
}

#[test]
fn a_closed_transport_takes_its_producers_away() {
    let mut rig = audio_call();
    rig.rtp(0, audio(10, 1));
    rig.events.clear();

    let transport = rig.peers[0].transport;
    rig.media.close(transport, rig.now, &mut rig.events);
    let datagram = rig.sealed(0, &audio(10, 2));

    assert!(!rig.deliver(0, datagram));
    assert_eq!(
        rig.events,
        [MediaEvent::ConsumerPaused {
            consumer: ConsumerId(2),
            reason: PauseReason::Source
        }]
    );
    assert!(rig.media.stats(transport).is_none());
    rig.advance(ms(5000));
}

#[test]
fn a_subscriber_begins_once_it_can_be_reached() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.rtp(0, video(10, 1, KEY));
    rig.add_peer(SrtpProfile::AeadAes128Gcm, false);
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 2, KEY));
    rig.advance(ms(2000));
    assert_eq!(rig.plis(0), 0);

    rig.connect(1, SrtpProfile::AeadAes128Gcm);
    rig.advance(ms(1));
    assert_eq!(rig.plis(0), 1);
    rig.rtp(0, video(10, 3, DELTA));
    rig.rtp(0, video(10, 4, KEY));

    let got = rig.take_rtp(1);
    assert_eq!((got.len(), &got[0].payload[..]), (1, KEY));
    assert_eq!(rig.media.counters().drop_unsent, 0);
}

#[test]
fn nothing_is_opened_or_sent_without_keys() {
    let mut rig = audio_call();
    let bare = TransportId(999);
    rig.media.open(bare, GroupId(1));

    let mut datagram = rig.sealed(0, &audio(10, 1));
    let is_taken =
        rig.media
            .on_datagram(bare, rig.now, &mut datagram, &mut rig.sent, &mut rig.events);

    assert!(!is_taken);
    assert_eq!(rig.media.counters().drop_no_keys, 1);
}
