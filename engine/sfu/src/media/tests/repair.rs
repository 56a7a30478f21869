use super::peers::{Call, Kind};
use super::rig::*;

/// Of one of the publisher's packets: its number, then its payload.
fn repair(seq: u64, payload: &[u8]) -> Rtp<'_> {
    Rtp {
        pt: VP8_RTX,
        payload,
        ..video(11, seq, MORE)
    }
}

/// As libwebrtc pads without RTX.
fn padding(seq: u64, timestamp: u32) -> Rtp<'static> {
    Rtp {
        timestamp,
        payload: &[],
        padding: 224,
        ..video(10, seq, MORE)
    }
}

fn video_call() -> Rig {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig
}

#[test]
fn a_gap_is_asked_for_and_its_retransmission_forwarded_as_the_original() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 4, DELTA));
    rig.take_reports(0);

    rig.advance(ms(6));
    assert_eq!(rig.take_reports(0), [Report::Nack(10, vec![2, 3])]);
    rig.rtp(0, repair(700, &[0, 3, 0x00, 0x55]));

    let got = rig.take_rtp(1);
    let base = got[0].index;
    assert_eq!(got[2].index - base, 2);
    assert_eq!(got[2].payload, [0x00, 0x55]);
    assert_eq!((got[2].header.ssrc, got[2].header.pt), (20, 120));
    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(
        (stats.producers[0].repaired, stats.producers[0].lost),
        (1, 1)
    );
}

#[test]
fn a_retransmission_of_what_had_arrived_is_dropped() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, repair(700, &[0, 1, 0x10, 0x00]));

    assert_eq!(rig.take_rtp(1).len(), 1);
    assert_eq!(rig.media.counters().drop_duplicate, 1);
}

#[test]
fn a_padding_probe_on_the_repair_stream_is_counted_only() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));

    let probe = Rtp {
        pt: VP8_RTX,
        payload: &[],
        padding: 224,
        ..video(11, 700, MORE)
    };
    rig.rtp(0, probe);

    assert_eq!(rig.take_rtp(1).len(), 1);
    assert_eq!(rig.media.counters().padding_in, 1);
}

#[test]
fn a_subscriber_gets_what_it_asks_for_on_the_repair_stream() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 2, MORE));
    let original = rig.take_rtp(1)[1].clone();

    rig.rtcp(1, |writer| {
        writer.nack(9, 20, &[original.header.seq]);
    });

    let repair = rig.take_rtp(1).pop().unwrap();
    assert_eq!((repair.header.ssrc, repair.header.pt), (21, 121));
    assert_eq!(repair.payload[..2], original.header.seq.to_be_bytes());
    assert_eq!(repair.payload[2..], original.payload);
    assert_eq!(repair.header.timestamp, original.header.timestamp);
}

#[test]
fn a_question_repeated_within_a_round_trip_is_not_answered_twice() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    let seq = rig.take_rtp(1)[0].header.seq;
    rig.advance(ms(100));
    let ask = |rig: &mut Rig| {
        rig.rtcp(1, |writer| {
            writer.nack(9, 20, &[seq]);
        });
    };

    ask(&mut rig);
    rig.advance(ms(10));
    ask(&mut rig);
    assert_eq!(rig.take_rtp(1).len(), 1);
    assert_eq!(rig.media.counters().nack_repeated, 1);

    rig.advance(ms(60));
    ask(&mut rig);
    assert_eq!(rig.take_rtp(1).len(), 1);
}

#[test]
fn without_rtx_the_same_datagram_is_sent_again() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 2, send_audio("a", 20), Some(1));
    for n in 0..100 {
        rig.rtp(0, audio(10, n));
        rig.advance(ms(20));
    }
    let seq = rig.peers[1].rtp[60].header.seq;
    let original = rig.peers[1].datagrams[60].clone();

    rig.rtcp(1, |writer| {
        writer.nack(9, 20, &[seq]);
    });

    assert_eq!(rig.peers[1].datagrams.last(), Some(&original));
    assert_eq!(rig.media.counters().retransmitted, 1);
}

#[test]
fn what_was_sent_of_an_earlier_source_is_sent_again_from_there() {
    let mut rig = Rig::new(3);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.receive(1, 2, recv_video("0", 10, 11));
    rig.send(2, 3, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(1, video(10, 1, KEY));
    let first = rig.take_rtp(2).remove(0);
    let seq = first.header.seq;

    rig.source(3, Some(2));
    rig.rtp(1, video(10, 2, DELTA));
    rig.rtp(1, video(10, 3, KEY));
    rig.take_rtp(2);
    rig.rtcp(2, |writer| {
        writer.nack(9, 20, &[seq]);
    });

    let again = rig.take_rtp(2);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].payload, [&seq.to_be_bytes()[..], KEY].concat());
    assert_eq!(again[0].header.timestamp, first.header.timestamp);
}

#[test]
fn what_cannot_be_repaired_becomes_a_keyframe_request() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 3, MORE));
    rig.take_reports(0);

    rig.advance(ms(3000));

    let reports = rig.take_reports(0);
    let asked = reports.iter().filter(|r| matches!(r, Report::Nack(..)));
    assert_eq!(asked.count(), 7);
    let keyframes = reports.iter().filter(|r| matches!(r, Report::Pli(10)));
    assert_eq!(keyframes.count(), 1);
    assert_eq!(rig.media.counters().given_up, 1);
}

#[test]
fn nobody_is_asked_for_a_keyframe_that_nobody_watches() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.source(2, None);
    rig.take_reports(0);

    rig.rtp(0, video(10, 3, MORE));
    rig.advance(ms(3000));

    assert_eq!(rig.plis(0), 0);
}

#[test]
fn a_keyframe_that_has_come_makes_up_for_what_is_given_up() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 3, MORE));
    rig.take_reports(0);
    rig.advance(ms(600));

    rig.rtp(0, video(10, 4, KEY));
    rig.advance(ms(2000));

    assert_eq!(rig.media.counters().given_up, 1);
    assert_eq!(rig.plis(0), 0);
}

#[test]
fn a_burst_is_asked_for_in_one_packet() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 65_533, KEY));
    rig.rtp(0, video(10, 65_539, DELTA));
    rig.take_reports(0);
    let before = rig.media.counters().rtcp_out;

    rig.advance(ms(6));

    let lost = vec![65_534, 65_535, 0, 1, 2];
    assert_eq!(rig.take_reports(0), [Report::Nack(10, lost)]);
    assert_eq!(rig.media.counters().rtcp_out, before + 1);
}

#[test]
fn what_does_not_fit_one_question_goes_into_the_next() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1000, KEY));
    // Too far apart to share an entry.
    let held: Vec<u64> = (1..400).map(|n| 1000 + 20 * n).collect();
    rig.take_reports(0);
    for seq in &held {
        for n in 1..20 {
            rig.rtp(0, video(10, seq - 20 + n, MORE));
        }
    }
    rig.rtp(0, video(10, 8981, MORE));

    rig.advance(ms(6));

    let asked: Vec<u16> = rig
        .take_reports(0)
        .into_iter()
        .filter_map(|report| match report {
            Report::Nack(10, lost) => Some(lost),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(asked.len(), 399);
}

#[test]
fn an_original_that_comes_after_its_repair_is_a_duplicate() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 3, MORE));
    let late = rig.sealed(0, &video(10, 2, MORE));
    rig.advance(ms(6));
    rig.rtp(0, repair(700, &[0, 2, 0x00, 0x55]));

    rig.deliver(0, late);

    assert_eq!(rig.take_rtp(1).len(), 3);
    assert_eq!(rig.media.counters().drop_duplicate, 1);
    let stats = &rig.media.stats(rig.peers[0].transport).unwrap().producers[0];
    assert_eq!((stats.packets, stats.lost), (3, 0));
}

#[test]
fn a_retransmission_out_of_all_proportion_is_ignored() {
    for original in [1000u16, 30_000] {
        let mut rig = video_call();
        for n in 0..1100 {
            rig.rtp(0, video(10, 1000 + n, if n == 0 { KEY } else { MORE }));
        }
        let [hi, lo] = original.to_be_bytes();
        rig.take_rtp(1);

        rig.rtp(0, repair(700, &[hi, lo, 0x00, 0x55]));
        rig.rtp(0, video(10, 2100, MORE));

        let got: Vec<_> = rig.take_rtp(1).into_iter().map(|got| got.payload).collect();
        assert_eq!(got, [MORE], "{original}");
        assert_eq!(rig.media.counters().drop_duplicate, 1);
    }
}

#[test]
fn a_probe_lost_on_the_repair_stream_is_nobodys_loss() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.take_reports(0);
    for seq in [700, 705, 709] {
        let probe = Rtp {
            pt: VP8_RTX,
            payload: &[],
            padding: 224,
            ..video(11, seq, MORE)
        };
        rig.rtp(0, probe);
    }

    rig.advance(ms(900));

    assert_eq!(rig.take_reports(0), []);
    assert_eq!(rig.media.counters().nacks_out, 0);
}

#[test]
fn padding_lost_behind_a_frame_is_not_asked_for_and_leaves_no_gap() {
    let mut rig = video_call();
    let end = Rtp {
        marker: true,
        ..video(10, 1, KEY)
    };
    rig.rtp(0, end.clone());
    rig.take_reports(0);

    // Padding 2 and 4 to 6 are lost.
    for seq in [3, 7] {
        rig.rtp(0, padding(seq, end.timestamp));
    }
    rig.rtp(0, video(10, 8, DELTA));
    rig.advance(ms(900));

    assert_eq!(rig.take_reports(0), []);
    let got = rig.take_rtp(1);
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].index, got[0].index + 1);
}

#[test]
fn what_may_be_media_is_asked_for_though_padding_told_of_it() {
    let mut rig = video_call();
    // The frame goes on: its end may be what is missing.
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, padding(3, 3000));
    rig.rtp(0, padding(5, 3000));
    rig.take_reports(0);

    rig.advance(ms(6));

    assert_eq!(rig.take_reports(0), [Report::Nack(10, vec![2])]);
}

#[test]
fn padding_that_comes_late_fills_its_number_with_an_empty_packet() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    let late = rig.sealed(0, &padding(2, 3000));
    rig.rtp(0, video(10, 3, MORE));
    let base = rig.take_rtp(1)[0].index;

    rig.deliver(0, late);

    let [empty] = &rig.take_rtp(1)[..] else {
        panic!("not one packet");
    };
    assert_eq!(empty.index, base + 1);
    assert_eq!(empty.payload, []);

    // Lost on its way it can be asked for, as any other.
    rig.advance(ms(200));
    rig.rtcp(1, |writer| {
        writer.nack(9, 20, &[(base + 1) as u16]);
    });
    let [again] = &rig.take_rtp(1)[..] else {
        panic!("not one packet");
    };
    assert_eq!(again.payload, ((base + 1) as u16).to_be_bytes());
}

#[test]
fn what_a_subscriber_asks_for_before_it_is_there_is_sent_once_when_it_comes() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(0, video(10, 3, MORE));
    let base = rig.take_rtp(1)[0].index;
    let ask = |rig: &mut Rig| {
        rig.rtcp(1, |writer| {
            writer.nack(9, 20, &[(base + 1) as u16]);
        });
    };
    rig.advance(ms(6));
    ask(&mut rig);
    assert!(rig.take_rtp(1).is_empty());
    assert_eq!(rig.media.counters().nack_ahead, 1);
    assert_eq!(rig.media.counters().nack_missed, 0);

    rig.advance(ms(40));
    rig.rtp(0, repair(700, &[0, 2, 0x00, 0x55]));
    rig.advance(ms(10));
    ask(&mut rig);

    let [late] = &rig.take_rtp(1)[..] else {
        panic!("not one packet");
    };
    assert_eq!((late.header.ssrc, late.index), (20, base + 1));

    // That one was lost as well.
    rig.advance(ms(60));
    ask(&mut rig);
    assert_eq!(rig.take_rtp(1).len(), 1);
}

#[test]
fn audio_asked_for_before_it_is_there_is_sent_once_when_it_comes() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 2, send_audio("a", 20), Some(1));
    rig.rtp(0, audio(10, 1));
    let late = rig.sealed(0, &audio(10, 2));
    rig.rtp(0, audio(10, 3));
    let base = rig.take_rtp(1)[0].index;
    let ask = |rig: &mut Rig| {
        rig.rtcp(1, |writer| {
            writer.nack(9, 20, &[(base + 1) as u16]);
        });
    };
    rig.advance(ms(6));
    ask(&mut rig);
    assert_eq!(rig.media.counters().nack_ahead, 1);

    rig.deliver(0, late);
    ask(&mut rig);

    assert_eq!(rig.peers[1].datagrams.len(), 3);
    assert_eq!(rig.take_rtp(1).len(), 1);
    assert_eq!(rig.media.counters().nack_repeated, 1);
}

#[test]
fn retransmissions_stay_within_their_budget() {
    let mut rig = video_call();
    rig.rtp(0, video(10, 1, KEY));
    let big: &'static [u8] = Box::leak(vec![0x00; 1100].into_boxed_slice());
    for n in 2..60 {
        rig.rtp(0, video(10, n, big));
    }
    let got = rig.take_rtp(1);
    let sent: usize = got.iter().map(|got| got.payload.len() + 40).sum();
    let seqs: Vec<u16> = got.iter().map(|got| got.header.seq).collect();

    for _ in 0..20 {
        rig.advance(ms(100));
        rig.rtcp(1, |writer| {
            writer.nack(9, 20, &seqs);
        });
    }

    let repaired: usize = rig.take_rtp(1).iter().map(|got| got.payload.len()).sum();
    assert!(repaired <= sent + (64 << 10), "{repaired} of {sent}");
    assert!(rig.media.counters().nack_over_budget > 0);
}

#[test]
fn two_percent_loss_each_way_is_repaired_for_video() {
    let outcome = Call::new(Kind::Video, 7).with_loss(2.0).run(ms(60_000));

    assert!(outcome.expected > 10_000, "{outcome:?}");
    assert!(outcome.missing * 1000 < outcome.expected, "{outcome:?}");
    assert!(
        outcome.lost_on_the_way * 40 > outcome.expected,
        "{outcome:?}"
    );
}

#[test]
fn two_percent_loss_each_way_is_repaired_for_audio() {
    let outcome = Call::new(Kind::Audio, 8).with_loss(2.0).run(ms(60_000));

    assert!(outcome.expected > 2_900, "{outcome:?}");
    assert!(outcome.missing * 1000 <= outcome.expected, "{outcome:?}");
}

#[test]
fn bursts_of_five_are_repaired() {
    for kind in [Kind::Video, Kind::Audio] {
        let call = Call::new(kind, 10).with_loss(2.0).with_burst(5);

        let outcome = call.run(ms(60_000));

        assert!(outcome.missing * 500 <= outcome.expected, "{outcome:?}");
        assert!(outcome.lost_on_the_way * 40 > outcome.expected);
    }
}

#[test]
fn ten_percent_loss_each_way_is_repaired_without_a_storm() {
    for kind in [Kind::Video, Kind::Audio] {
        let call = Call::new(kind, 11).with_loss(10.0).with_burst(2);

        let outcome = call.run(ms(60_000));

        assert!(outcome.missing * 200 <= outcome.expected, "{outcome:?}");
        assert!(outcome.nacks_out * 5 < outcome.expected, "{outcome:?}");
        assert!(outcome.retransmitted * 5 < outcome.expected, "{outcome:?}");
        assert!(outcome.keyframe_requests <= 120, "{outcome:?}");
    }
}

#[test]
fn a_path_that_reorders_much_is_not_stormed_with_questions() {
    let call = Call::new(Kind::Video, 12).with_jitter(ms(30));

    let outcome = call.run(ms(20_000));

    assert_eq!(outcome.missing, 0, "{outcome:?}");
    assert_eq!(outcome.given_up, 0, "{outcome:?}");
    assert!(outcome.nacks_out * 100 < outcome.expected, "{outcome:?}");
}

#[test]
fn reordering_and_duplicates_lose_nothing_and_ask_for_little() {
    let outcome = Call::new(Kind::Video, 9)
        .with_jitter(ms(4))
        .with_duplicates(5.0)
        .run(ms(20_000));

    assert_eq!(outcome.missing, 0, "{outcome:?}");
    assert!(outcome.nacks_out * 100 < outcome.expected, "{outcome:?}");
}
