use super::rig::*;
use crate::media::*;
use crate::rtcp::{ReportBlock, SenderInfo, XrDelay};
use crate::spec::*;

fn sender_report(rig: &mut Rig, peer: usize, ssrc: u32, ntp: u64, rtp: u32) {
    rig.rtcp(peer, |writer| {
        let info = SenderInfo {
            ssrc,
            ntp,
            rtp,
            ..SenderInfo::default()
        };
        writer.sender_report(&info, &[]);
    });
}

fn sender_reports(reports: &[Report]) -> Vec<(u32, u64, u32)> {
    reports
        .iter()
        .filter_map(|report| match report {
            Report::Sender { ssrc, ntp, rtp, .. } => Some((*ssrc, *ntp, *rtp)),
            _ => None,
        })
        .collect()
}

#[test]
fn sender_reports_keep_audio_and_video_of_a_publisher_in_step() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.receive(0, 2, recv_video("1", 12, 13));
    rig.send(1, 3, send_audio("a", 20), Some(1));
    rig.send(1, 4, send_video("v", 30, 31), Some(2));
    rig.rtp(0, audio(10, 100));
    rig.rtp(0, video(12, 200, KEY));
    let (audio_out, video_out) = {
        let got = rig.take_rtp(1);
        (got[0].header.timestamp, got[1].header.timestamp)
    };

    // The publisher's clocks: one moment, 5 s after the packets for audio, 5.5 s for video.
    sender_report(&mut rig, 0, 10, 7 << 32, 100 * 960 + 5 * 48_000);
    sender_report(&mut rig, 0, 12, 9 << 32, 200 * 3000 + 495_000);
    rig.advance(ms(1));

    let told = sender_reports(&rig.take_reports(1));
    assert_eq!(
        told,
        [
            (20, 7 << 32, audio_out.wrapping_add(5 * 48_000)),
            (30, 9 << 32, video_out.wrapping_add(495_000)),
        ]
    );
}

#[test]
fn no_sender_report_is_made_up_before_the_publisher_sent_one() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 3, send_audio("a", 20), Some(1));
    for n in 0..500 {
        rig.rtp(0, audio(10, n));
        rig.advance(ms(20));
    }

    assert_eq!(sender_reports(&rig.take_reports(1)), []);
}

#[test]
fn sender_reports_come_with_a_name_every_three_seconds() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 3, send_audio("a", 20), Some(1));
    for n in 0..600 {
        rig.rtp(0, audio(10, n));
        if n % 100 == 50 {
            sender_report(&mut rig, 0, 10, n << 32, (n * 960) as u32);
        }
        rig.advance(ms(20));
    }

    let reports = rig.take_reports(1);
    assert!((4..=6).contains(&sender_reports(&reports).len()));
    assert!(reports.contains(&Report::Name(20, b"stream".to_vec())));
}

#[test]
fn sender_reports_of_many_streams_stay_within_thirty_items_each() {
    let mut rig = Rig::new(2);
    for n in 0..40u32 {
        let spec = recv_audio(&n.to_string(), 1000 + n);
        rig.receive(0, u64::from(n + 1), spec);
        let spec = send_audio(&n.to_string(), 2000 + n);
        rig.send(1, 1000 + u64::from(n), spec, Some(u64::from(n + 1)));
    }
    for n in 0..40u32 {
        rig.rtp(0, audio(1000 + n, 1));
        sender_report(&mut rig, 0, 1000 + n, 1 << 32, 960);
    }
    rig.fire();

    let compounds: Vec<usize> = rig.sent.0.iter().map(|(_, bytes)| bytes.len()).collect();
    rig.flush();

    assert!(compounds.len() >= 3);
    assert!(compounds.iter().all(|len| *len <= 1200), "{compounds:?}");
    assert_eq!(sender_reports(&rig.take_reports(1)).len(), 40);
}

#[test]
fn a_round_trip_is_measured_against_the_report_that_was_sent() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 3, send_audio("a", 20), Some(1));
    rig.rtp(0, audio(10, 1));
    sender_report(&mut rig, 0, 10, 0x0123_4567_89ab_cdef, 960);
    rig.advance(ms(0));

    rig.advance(ms(550));
    rig.rtcp(1, |writer| {
        let report = ReportBlock {
            ssrc: 20,
            fraction_lost: 64,
            cumulative_lost: 5,
            last_sr: 0x4567_89ab,
            delay_since_last_sr: 65_536 / 2,
            ..ReportBlock::default()
        };
        writer.receiver_report(7, &[report]);
    });

    let stats = rig.media.stats(rig.peers[1].transport).unwrap();
    let consumer = &stats.consumers[0];
    assert!((consumer.rtt_ms.unwrap() - 50.0).abs() < 0.1);
    assert_eq!((consumer.lost, consumer.fraction_lost), (5, 0.25));
}

#[test]
fn the_round_trip_to_a_publisher_is_known_though_nothing_is_sent_to_it() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.advance(ms(300));
    rig.rtp(0, audio(10, 1));
    rig.advance(ms(900));
    let reference = rig.take_reports(0).into_iter().find_map(|r| match r {
        Report::Reference(ssrc, ntp) => Some((ssrc, ntp)),
        _ => None,
    });
    let (ssrc, ntp) = reference.unwrap();
    let asked = rig.now;

    rig.advance(ms(70));
    rig.rtcp(0, |writer| {
        let delay = XrDelay {
            ssrc,
            last_reference: (ntp >> 16) as u32,
            since: 65_536 / 25,
        };
        let others = XrDelay { ssrc: 99, ..delay };
        writer.delays(10, &[others, delay]);
    });

    // Reported at 1 s, now 1.27 s, of which the peer took 40 ms.
    assert_eq!(asked, rig.now - ms(70));
    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert!((stats.rtt_ms.unwrap() - 230.0).abs() < 0.2, "{stats:?}");
}

#[test]
fn an_echo_from_the_future_or_of_nothing_tells_no_round_trip() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.rtp(0, audio(10, 1));
    rig.advance(ms(1100));
    let mut reports = rig.take_reports(0).into_iter();
    let ssrc = reports.find_map(|r| match r {
        Report::Reference(ssrc, _) => Some(ssrc),
        _ => None,
    });
    let echo = |last_reference, since| XrDelay {
        ssrc: ssrc.unwrap(),
        last_reference,
        since,
    };

    rig.rtcp(0, |writer| {
        writer.delays(
            10,
            &[echo(0, 0), echo(65_536, 65_536 * 5), echo(u32::MAX / 2, 0)],
        );
    });

    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(stats.rtt_ms, None);
}

#[test]
fn a_publisher_is_told_the_loss_of_the_path_though_it_was_repaired() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_video("0", 10, 11));
    for n in [1, 2, 4] {
        rig.rtp(0, video(10, n, if n == 1 { KEY } else { MORE }));
    }
    rig.rtp(
        0,
        Rtp {
            pt: VP8_RTX,
            payload: &[0, 3, 0x00, 0x55],
            ..video(11, 700, MORE)
        },
    );
    rig.advance(ms(1000));

    let block = rig.take_reports(0).into_iter().find_map(|r| match r {
        Report::Receiver(blocks) => blocks.first().copied(),
        _ => None,
    });
    let block = block.unwrap();
    assert_eq!((block.cumulative_lost, block.fraction_lost), (1, 64));
    let stats = &rig.media.stats(rig.peers[0].transport).unwrap().producers[0];
    assert_eq!((stats.lost, stats.repaired), (0, 1));
}

#[test]
fn a_publisher_is_told_how_it_is_received_every_second() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    for n in (0..50).filter(|n| n % 10 != 5) {
        rig.rtp(0, audio(10, n));
        rig.advance(ms(20));
    }
    sender_report(&mut rig, 0, 10, 0x0000_0001_8000_0000, 0);
    rig.advance(ms(1000));

    let blocks: Vec<ReportBlock> = rig
        .take_reports(0)
        .into_iter()
        .filter_map(|report| match report {
            Report::Receiver(blocks) => blocks.first().copied(),
            _ => None,
        })
        .collect();
    let last = blocks.last().unwrap();
    assert_eq!((last.ssrc, last.cumulative_lost), (10, 5));
    assert_eq!(last.highest_seq, 49);
    assert_eq!(last.last_sr, 0x0001_8000);
    assert!(last.delay_since_last_sr > 0);
}

#[test]
fn transport_wide_feedback_goes_out_every_50_ms_and_wraps() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    let start = 65_500u64;
    for n in 0..100u64 {
        let seq = start + n;
        if n % 10 != 3 {
            let number = (seq as u16).to_be_bytes().to_vec();
            rig.rtp(
                0,
                Rtp {
                    extensions: vec![(TWCC_EXT, number)],
                    ..audio(10, n)
                },
            );
        }
        rig.advance(ms(10));
    }
    rig.advance(ms(100));

    let reports: Vec<_> = rig
        .take_reports(0)
        .into_iter()
        .filter_map(|report| match report {
            Report::Twcc(media, statuses) => Some((media, statuses)),
            _ => None,
        })
        .collect();
    // An interval begins with the first packet after a report.
    assert!((15..=21).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|(media, _)| *media == 10));
    let statuses: Vec<_> = reports.into_iter().flat_map(|(_, s)| s).collect();
    let received: Vec<_> = statuses.iter().filter(|s| s.ticks.is_some()).collect();
    assert_eq!(received.len(), 90);
    for status in received {
        let n = u64::from(status.seq.wrapping_sub(start as u16));
        assert_eq!(status.ticks, Some(n as i64 * 40), "packet {n}");
    }
}

#[test]
fn a_cap_is_told_at_once_and_repeated() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.rtp(0, video(10, 1, KEY));
    let transport = rig.peers[0].transport;

    rig.media
        .set_max_in(transport, Some(250_000), rig.now, &mut rig.sent);
    rig.flush();
    let at_once = rig.take_reports(0);
    rig.advance(ms(1000));

    assert!(at_once.contains(&Report::Remb(250_000, vec![10])));
    assert!(
        rig.take_reports(0)
            .contains(&Report::Remb(250_000, vec![10]))
    );
}

#[test]
fn without_a_cap_only_a_publisher_without_transport_wide_feedback_gets_a_remb() {
    for (twcc, expected) in [(true, 0), (false, 1)] {
        let mut rig = Rig::new(1);
        let spec = RecvSpec {
            twcc,
            remb: true,
            ..recv_video("0", 10, 11)
        };
        rig.receive(0, 1, spec);
        rig.rtp(0, video(10, 1, KEY));
        rig.advance(ms(1500));

        let rembs = rig
            .take_reports(0)
            .into_iter()
            .filter(|report| matches!(report, Report::Remb(rate, _) if *rate > 10_000_000));
        assert_eq!(rembs.count(), expected);
    }
}

#[test]
fn keyframe_requests_of_many_subscribers_become_one() {
    let mut rig = Rig::new(11);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.rtp(0, video(10, 1, KEY));
    for peer in 1..11 {
        let spec = send_video("v", 20, 21);
        rig.send(peer, 100 + peer as u64, spec, Some(1));
    }
    assert_eq!(rig.plis(0), 1);

    // Late askers are remembered until the question may be repeated.
    for peer in 1..11 {
        rig.rtcp(peer, |writer| {
            writer.pli(1, 20);
        });
    }
    rig.advance(ms(299));
    assert_eq!(rig.plis(0), 0);
    rig.advance(ms(2));
    assert_eq!(rig.plis(0), 1);
    assert_eq!(rig.media.counters().keyframe_requests_in, 10);
}

#[test]
fn a_request_that_crossed_with_a_keyframe_asks_for_no_other() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 1, KEY));
    rig.take_reports(0);
    rig.advance(ms(30));
    let ask = |rig: &mut Rig| {
        rig.rtcp(1, |writer| {
            writer.pli(1, 20);
        });
    };

    ask(&mut rig);
    rig.advance(ms(900));
    assert_eq!(rig.plis(0), 0);
    assert_eq!(rig.media.counters().keyframe_requests_late, 1);

    ask(&mut rig);
    assert_eq!(rig.plis(0), 1);
}

#[test]
fn a_slow_path_to_the_publisher_spaces_keyframe_requests() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 1, DELTA));
    rig.advance(ms(1000));
    let reference = rig.take_reports(0).into_iter().find_map(|r| match r {
        Report::Reference(ssrc, ntp) => Some((ssrc, ntp)),
        _ => None,
    });
    let (ssrc, ntp) = reference.unwrap();
    rig.advance(ms(600));
    rig.rtcp(0, |writer| {
        let last_reference = (ntp >> 16) as u32;
        let echo = XrDelay {
            ssrc,
            last_reference,
            since: 0,
        };
        writer.delays(10, &[echo]);
    });
    rig.take_reports(0);

    for n in 2..122 {
        rig.rtp(0, video(10, n, DELTA));
        rig.rtcp(1, |writer| {
            writer.pli(1, 20);
        });
        rig.advance(ms(33));
    }

    // Four seconds, and the fourth question was the last at a distance of less than 900 ms.
    assert!((2..=4).contains(&rig.plis(0)));
}

#[test]
fn a_keyframe_on_its_way_answers_a_request_that_was_held_back() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.rtp(0, video(10, 1, KEY));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtcp(1, |writer| {
        writer.pli(1, 20);
    });
    assert_eq!(rig.plis(0), 1);

    rig.rtp(0, video(10, 2, KEY));
    rig.advance(ms(3000));

    assert_eq!(rig.plis(0), 0);
}

#[test]
fn a_lost_keyframe_request_is_repeated_while_somebody_waits() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    for n in 0..60 {
        rig.rtp(0, video(10, n, DELTA));
        rig.advance(ms(33));
    }

    assert_eq!(rig.plis(0), 4);
}

#[test]
fn a_repeated_fir_counts_once() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 1, KEY));
    rig.take_reports(0);
    rig.advance(ms(600));

    for command in [4, 4, 4] {
        rig.rtcp(1, |writer| {
            writer.fir(1, 20, command);
        });
    }

    assert_eq!(rig.plis(0), 1);
    assert_eq!(rig.media.counters().keyframe_requests_in, 1);
}

#[test]
fn the_policy_sets_the_gap_between_keyframe_requests() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.rtp(0, video(10, 1, KEY));
    let policy = ProducerPolicy {
        keyframe_gap_ms: vec![2000],
        ..ProducerPolicy::default()
    };
    rig.command(MediaCommand::ProducerPolicy(ProducerId(1), policy));

    for _ in 0..8 {
        rig.command(MediaCommand::ProducerKeyframe(ProducerId(1), None));
        rig.advance(ms(500));
    }

    assert_eq!(rig.plis(0), 3);
}

#[test]
fn a_peer_that_says_goodbye_is_silent_at_once() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.rtp(0, audio(10, 1));
    rig.events.clear();

    rig.rtcp(0, |writer| {
        writer.bye(10);
    });

    assert!(matches!(
        rig.events[..],
        [MediaEvent::LayerInactive { layer: 0, .. }]
    ));
}

#[test]
fn a_peers_own_estimate_is_kept() {
    let mut rig = Rig::new(1);

    rig.rtcp(0, |writer| {
        writer.remb(1, 640_000, &[20]);
    });

    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(stats.remb_bps, Some(640_000));
}
