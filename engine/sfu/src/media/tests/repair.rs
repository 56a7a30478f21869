use super::peers::{Call, Kind};
use super::rig::*;

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
    let repair = Rtp {
        pt: VP8_RTX,
        payload: &[0, 3, 0x00, 0x55],
        ..video(11, 700, MORE)
    };
    rig.rtp(0, repair);

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
    let repair = Rtp {
        pt: VP8_RTX,
        payload: &[0, 1, 0x10, 0x00],
        ..video(11, 700, MORE)
    };
    rig.rtp(0, repair);

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
fn what_was_sent_of_an_earlier_source_is_not_mixed_up_with_the_next() {
    let mut rig = Rig::new(3);
    rig.receive(0, 1, recv_video("0", 10, 11));
    rig.receive(1, 2, recv_video("0", 10, 11));
    rig.send(2, 3, send_video("v", 20, 21), Some(1));
    rig.rtp(0, video(10, 1, KEY));
    rig.rtp(1, video(10, 1, KEY));
    let seq = rig.take_rtp(2)[0].header.seq;

    rig.source(3, Some(2));
    rig.rtp(1, video(10, 2, KEY));
    rig.take_rtp(2);
    rig.rtcp(2, |writer| {
        writer.nack(9, 20, &[seq]);
    });

    assert!(rig.take_rtp(2).is_empty());
    assert_eq!(rig.media.counters().nack_missed, 1);
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
    assert_eq!(asked.count(), 10);
    assert!(reports.contains(&Report::Pli(10)));
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
fn reordering_and_duplicates_lose_nothing_and_ask_for_little() {
    let outcome = Call::new(Kind::Video, 9)
        .with_jitter(ms(4))
        .with_duplicates(5.0)
        .run(ms(20_000));

    assert_eq!(outcome.missing, 0, "{outcome:?}");
    assert!(outcome.nacks_out * 100 < outcome.expected, "{outcome:?}");
}
