use proptest::prelude::*;

use super::*;

fn written(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = vec![0xff; 1200];
    let mut writer = Writer::new(&mut buf);
    fill(&mut writer);
    let len = writer.len();
    buf.truncate(len);
    buf
}

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut packets = Compound::new(bytes);
    let packet = packets.next().expect("one packet");
    assert!(packets.next().is_none());
    packet
}

const REPORT: ReportBlock = ReportBlock {
    ssrc: 9,
    fraction_lost: 12,
    cumulative_lost: -3,
    highest_seq: 0x0001_ffff,
    jitter: 77,
    last_sr: 0x1234_5678,
    delay_since_last_sr: 65_536,
};

#[test]
fn a_compound_gives_back_what_was_written() {
    let info = SenderInfo {
        ssrc: 5,
        ntp: 0x0102_0304_0506_0708,
        rtp: 90_000,
        packets: 10,
        octets: 1000,
    };
    let bytes = written(|writer| {
        assert!(writer.sender_report(&info, &[REPORT]));
        assert!(writer.cname(5, "abcde"));
        assert!(writer.pli(1, 2));
        assert!(writer.bye(5));
    });

    let mut packets = Compound::new(&bytes);

    match packets.next() {
        Some(Packet::SenderReport {
            ssrc,
            ntp,
            rtp,
            packets,
            octets,
            reports,
        }) => {
            assert_eq!((ssrc, ntp, rtp), (info.ssrc, info.ntp, info.rtp));
            assert_eq!((packets, octets), (10, 1000));
            assert_eq!(reports.collect::<Vec<_>>(), [REPORT]);
        }
        other => panic!("{other:?}"),
    }
    match packets.next() {
        Some(Packet::SourceDescription(mut items)) => {
            assert_eq!(items.next(), Some((5, &b"abcde"[..])));
            assert_eq!(items.next(), None);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        packets.next(),
        Some(Packet::Pli {
            sender: 1,
            media: 2
        })
    ));
    assert!(matches!(packets.next(), Some(Packet::Bye(list)) if list.clone().eq([5])));
    assert!(packets.next().is_none());
}

#[test]
fn a_nack_names_each_lost_packet_across_the_wrap() {
    let lost = [65_530, 65_535, 0, 10, 11, 400];

    let bytes = written(|writer| assert!(writer.nack(1, 2, &lost)));

    match only(&bytes) {
        Packet::Nack { lost: read, .. } => assert_eq!(read.collect::<Vec<_>>(), lost),
        other => panic!("{other:?}"),
    }
    // 65530 carries those within 16 of it; 11 and 400 stand alone.
    assert_eq!(bytes.len(), 12 + 3 * 4);
}

#[test]
fn a_fir_names_its_media_and_command() {
    let bytes = written(|writer| assert!(writer.fir(1, 7, 3)));

    match only(&bytes) {
        Packet::Fir { entries, .. } => assert_eq!(entries.collect::<Vec<_>>(), [(7, 3)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rate_survives_remb_within_its_18_bits() {
    for rate in [
        0,
        1,
        262_143,
        262_144,
        2_500_000,
        20_000_000,
        40_000_000_000,
    ] {
        let bytes = written(|writer| assert!(writer.remb(1, rate, &[7, 8])));

        match only(&bytes) {
            Packet::Remb {
                bitrate_bps, ssrcs, ..
            } => {
                assert!(bitrate_bps <= rate && rate - bitrate_bps <= rate >> 17);
                assert_eq!(ssrcs.collect::<Vec<_>>(), [7, 8]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rate_beyond_64_bits_is_no_limit() {
    let mut bytes = written(|writer| assert!(writer.remb(1, 1, &[])));
    bytes[17..20].copy_from_slice(&[0xff; 3]);

    assert!(matches!(
        only(&bytes),
        Packet::Remb {
            bitrate_bps: u64::MAX,
            ..
        }
    ));
}

#[test]
fn a_packet_that_does_not_fit_leaves_the_compound_as_it_was() {
    let mut buf = [0; 30];
    let mut writer = Writer::new(&mut buf);
    assert!(writer.pli(1, 2));

    assert!(!writer.sender_report(&SenderInfo::default(), &[]));
    assert!(!writer.cname(1, "a name too long"));
    assert_eq!(writer.len(), 12);
    assert!(writer.pli(3, 4));
    assert_eq!(writer.len(), 24);
}

#[test]
fn a_truncated_compound_yields_its_whole_packets() {
    let bytes = written(|writer| {
        writer.receiver_report(1, &[REPORT]);
        writer.pli(1, 2);
    });

    assert_eq!(Compound::new(&bytes[..bytes.len() - 1]).count(), 1);
    assert_eq!(Compound::new(&bytes[..10]).count(), 0);
}

#[test]
fn an_unknown_packet_is_passed_by() {
    let mut bytes = vec![0x80, 204, 0, 1, 0, 0, 0, 1];
    bytes.extend(written(|writer| {
        writer.pli(1, 2);
    }));

    let mut packets = Compound::new(&bytes);

    assert!(matches!(
        packets.next(),
        Some(Packet::Other { packet_type: 204 })
    ));
    assert!(matches!(packets.next(), Some(Packet::Pli { .. })));
}

#[test]
fn a_time_of_reference_and_its_echo_are_read() {
    let delays = [1, 2].map(|n| XrDelay {
        ssrc: n,
        last_reference: 0x0203_0405,
        since: 100 * n,
    });
    let bytes = written(|writer| {
        writer.reference_time(7, 0x0001_0203_0405_0607);
        writer.delays(8, &delays);
    });
    let mut packets = Compound::new(&bytes);

    let Some(Packet::Extended {
        ssrc: 7,
        mut blocks,
    }) = packets.next()
    else {
        panic!("no time of reference");
    };
    assert!(matches!(
        blocks.next(),
        Some(XrBlock::ReferenceTime {
            ntp: 0x0001_0203_0405_0607
        })
    ));
    assert!(blocks.next().is_none());
    let Some(Packet::Extended {
        ssrc: 8,
        mut blocks,
    }) = packets.next()
    else {
        panic!("no delays");
    };
    let Some(XrBlock::Delays(read)) = blocks.next() else {
        panic!("no delays");
    };
    assert_eq!(read.collect::<Vec<_>>(), delays);
}

#[test]
fn blocks_of_an_extended_report_that_are_not_known_are_passed_by() {
    // RFC 3611 §4.7: a block of VoIP metrics, cut short; then our own kind.
    let mut bytes = vec![0x80, 207, 0, 6, 0, 0, 0, 9, 7, 0, 0, 1, 1, 2, 3, 4];
    bytes.extend([4, 0, 0, 2, 0, 0, 0, 1, 0x80, 0, 0, 0]);

    let Some(Packet::Extended { blocks, .. }) = Compound::new(&bytes).next() else {
        panic!("no extended report");
    };

    let read: Vec<_> = blocks.collect();
    assert!(
        matches!(read[..], [XrBlock::ReferenceTime { ntp: 0x1_8000_0000 }]),
        "{read:?}"
    );
}

/// Every report of what waits, read back.
fn drained(arrivals: &mut Arrivals) -> Vec<TwccStatus> {
    let mut statuses = Vec::new();
    while arrivals.is_due() {
        let bytes = written(|writer| {
            arrivals.write(writer, 1, 2);
        });
        if bytes.is_empty() {
            break;
        }
        match only(&bytes) {
            Packet::Twcc { feedback, .. } => {
                let count = usize::from(feedback.count);
                let read: Vec<_> = feedback.statuses().collect();
                assert_eq!(read.len(), count);
                statuses.extend(read);
            }
            other => panic!("{other:?}"),
        }
    }
    statuses
}

fn received(seq: u16, ticks: i64) -> TwccStatus {
    TwccStatus {
        seq,
        ticks: Some(ticks),
    }
}

fn missing(seq: u16) -> TwccStatus {
    TwccStatus { seq, ticks: None }
}

#[test]
fn feedback_states_arrivals_and_gaps_across_the_wrap() {
    let mut arrivals = Arrivals::default();
    arrivals.register(65_534, 1000);
    arrivals.register(65_535, 1004);
    arrivals.register(1, 1500);
    arrivals.register(2, 1499);

    assert_eq!(
        drained(&mut arrivals),
        [
            received(65_534, 1000),
            received(65_535, 1004),
            missing(0),
            received(1, 1500),
            received(2, 1499),
        ]
    );
    assert!(!arrivals.is_due());
}

#[test]
fn a_straggler_is_reported_after_its_neighbours_were() {
    let mut arrivals = Arrivals::default();
    arrivals.register(10, 100);
    arrivals.register(12, 110);
    drained(&mut arrivals);

    arrivals.register(11, 300);

    assert_eq!(
        drained(&mut arrivals),
        [received(11, 300), received(12, 110)]
    );
}

#[test]
fn the_reference_time_wraps_at_24_bits() {
    let mut arrivals = Arrivals::default();
    let late = (1i64 << 24) * 256 + 512;
    arrivals.register(1, late);

    assert_eq!(drained(&mut arrivals), [received(1, 512)]);
}

#[test]
fn a_pause_longer_than_a_delta_starts_another_report() {
    let mut arrivals = Arrivals::default();
    arrivals.register(1, 0);
    arrivals.register(2, 40_000);

    assert_eq!(
        drained(&mut arrivals),
        [received(1, 0), received(2, 40_000)]
    );
}

#[test]
fn reports_are_counted() {
    let mut arrivals = Arrivals::default();
    for report in 0..3 {
        arrivals.register(report, 0);
        let bytes = written(|writer| {
            arrivals.write(writer, 1, 2);
        });
        match only(&bytes) {
            Packet::Twcc { feedback, .. } => assert_eq!(feedback.report, report as u8),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn feedback_gives_back_every_arrival(
        start in any::<u16>(),
        steps in prop::collection::vec((1u16..40, -20i64..600, any::<bool>()), 1..300),
    ) {
        let mut arrivals = Arrivals::default();
        let (mut seq, mut ticks) = (start, 5_000i64);
        let mut expected = Vec::new();
        for (gap, delta, is_burst) in steps {
            let gap = if is_burst { 1 } else { gap };
            seq = seq.wrapping_add(gap);
            ticks += delta;
            arrivals.register(seq, ticks);
            expected.push(received(seq, ticks));
        }
        // Older than the window is forgotten.
        let last = seq;
        expected.retain(|s| last.wrapping_sub(s.seq) < 2048);

        let mut read = drained(&mut arrivals);
        read.retain(|s| s.ticks.is_some());

        prop_assert_eq!(read, expected);
    }

    #[test]
    fn arbitrary_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for packet in Compound::new(&bytes) {
            match packet {
                Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                    reports.for_each(drop);
                }
                Packet::SourceDescription(items) => items.for_each(drop),
                Packet::Bye(list) => list.for_each(drop),
                Packet::Nack { lost, .. } => lost.for_each(drop),
                Packet::Twcc { feedback, .. } => feedback.statuses().for_each(drop),
                Packet::Fir { entries, .. } => entries.for_each(drop),
                Packet::Remb { ssrcs, .. } => ssrcs.for_each(drop),
                Packet::Extended { blocks, .. } => {
                    for block in blocks {
                        if let XrBlock::Delays(delays) = block {
                            delays.for_each(drop);
                        }
                    }
                }
                Packet::Pli { .. } | Packet::Other { .. } => {}
            }
        }
    }
}
