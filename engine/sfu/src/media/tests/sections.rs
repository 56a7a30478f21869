use super::rig::*;
use crate::media::*;
use crate::spec::*;

fn with_mid(mid: &str, rtp: Rtp<'static>) -> Rtp<'static> {
    Rtp {
        extensions: vec![(MID_EXT, mid.as_bytes().to_vec())],
        ..rtp
    }
}

fn with_rid(mid: &str, id: u8, rid: &str, rtp: Rtp<'static>) -> Rtp<'static> {
    Rtp {
        extensions: vec![
            (MID_EXT, mid.as_bytes().to_vec()),
            (id, rid.as_bytes().to_vec()),
        ],
        ..rtp
    }
}

fn undeclared(spec: RecvSpec) -> RecvSpec {
    RecvSpec {
        ssrcs: vec![],
        groups: vec![],
        ..spec
    }
}

#[test]
fn an_undeclared_ssrc_is_bound_by_its_mid() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, undeclared(recv_audio("x", 0)));
    rig.receive(0, 2, undeclared(recv_audio("y", 0)));
    rig.send(1, 3, send_audio("a", 20), Some(2));

    rig.rtp(0, with_mid("y", audio(77, 1)));
    rig.rtp(0, audio(77, 2));

    assert_eq!(rig.take_rtp(1).len(), 2);
}

#[test]
fn an_undeclared_ssrc_without_extensions_is_bound_by_a_unique_payload_type() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, undeclared(recv_audio("x", 0)));
    rig.receive(0, 2, undeclared(recv_video("y", 0, 0)));
    rig.send(1, 3, send_audio("a", 20), Some(1));

    rig.rtp(0, audio(77, 1));

    assert_eq!(rig.take_rtp(1).len(), 1);
}

#[test]
fn at_most_eight_packets_are_held_until_their_section_is_known() {
    let mut rig = Rig::new(2);
    for n in 0..10 {
        rig.rtp(0, audio(10, n));
    }
    assert_eq!(rig.media.counters().drop_unbound, 2);

    rig.apply(
        0,
        MediaChange {
            recv: vec![(ProducerId(1), recv_audio("0", 10))],
            ..MediaChange::default()
        },
    );

    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(stats.producers[0].packets, 8);
}

#[test]
fn held_packets_are_forgotten_after_a_while() {
    let mut rig = Rig::new(1);
    rig.rtp(0, audio(10, 1));
    rig.advance(ms(2100));

    rig.receive(0, 1, recv_audio("0", 10));

    let stats = rig.media.stats(rig.peers[0].transport).unwrap();
    assert_eq!(stats.producers[0].packets, 0);
    assert_eq!(rig.media.counters().drop_unbound, 1);
}

#[test]
fn of_a_simulcast_publisher_the_lowest_declared_layer_is_forwarded() {
    let mut rig = Rig::new(2);
    let spec = RecvSpec {
        rids: vec!["q".into(), "h".into(), "f".into()],
        ..undeclared(recv_video("0", 0, 0))
    };
    rig.receive(0, 1, spec);
    rig.send(1, 2, send_video("v", 20, 21), Some(1));

    for (ssrc, rid) in [(30, "q"), (31, "h"), (32, "f")] {
        for n in 0..3 {
            rig.rtp(0, with_rid("0", RID_EXT, rid, video(ssrc, 100 + n, KEY)));
        }
    }

    assert_eq!(rig.take_rtp(1).len(), 3);
    assert_eq!(rig.media.counters().drop_layer, 6);
    let active = rig
        .events
        .iter()
        .filter(|event| matches!(event, MediaEvent::LayerActive { .. }));
    assert_eq!(active.count(), 3);
}

#[test]
fn retransmissions_of_a_layer_are_bound_by_its_repaired_rid() {
    let mut rig = Rig::new(2);
    let spec = RecvSpec {
        rids: vec!["q".into(), "h".into()],
        ..undeclared(recv_video("0", 0, 0))
    };
    rig.receive(0, 1, spec);
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.rtp(0, with_rid("0", RID_EXT, "q", video(30, 1, KEY)));
    rig.rtp(0, with_rid("0", RID_EXT, "q", video(30, 3, MORE)));

    let repair = Rtp {
        pt: VP8_RTX,
        payload: &[0, 2, 0x00, 0x00],
        ..with_rid("0", REPAIRED_RID_EXT, "q", video(40, 9, MORE))
    };
    rig.rtp(0, repair);

    let mut places: Vec<u64> = rig.take_rtp(1).iter().map(|got| got.index).collect();
    places.sort();
    assert_eq!(places[2] - places[0], 2);
}

#[test]
fn layers_of_a_legacy_group_stand_in_its_order() {
    let mut rig = Rig::new(2);
    let group = |semantics, ssrcs: &[u32]| SsrcGroup {
        semantics,
        ssrcs: ssrcs.to_vec(),
    };
    let spec = RecvSpec {
        ssrcs: vec![50, 51, 52, 60, 61, 62],
        groups: vec![
            group(SsrcSemantics::Sim, &[50, 51, 52]),
            group(SsrcSemantics::Fid, &[50, 60]),
            group(SsrcSemantics::Fid, &[51, 61]),
        ],
        ..recv_video("0", 0, 0)
    };
    rig.receive(0, 1, spec);
    rig.send(1, 2, send_video("v", 20, 21), Some(1));
    rig.layer(2, 0, &[]);

    rig.rtp(0, video(52, 1, KEY));
    rig.rtp(0, video(50, 1, KEY));
    rig.rtp(0, video(50, 3, MORE));
    let repair = Rtp {
        pt: VP8_RTX,
        payload: &[0, 2, 0x00, 0x00],
        ..video(60, 9, MORE)
    };
    rig.rtp(0, repair);

    assert_eq!(rig.take_rtp(1).len(), 3);
    assert_eq!(rig.media.counters().drop_layer, 1);
}

#[test]
fn a_layer_that_changes_its_ssrc_goes_on() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, undeclared(recv_video("0", 0, 0)));
    rig.send(1, 2, send_video("v", 20, 21), Some(1));

    rig.rtp(0, with_mid("0", video(30, 1000, KEY)));
    rig.advance(ms(33));
    rig.rtp(0, with_mid("0", video(31, 7, DELTA)));
    rig.rtp(0, with_mid("0", video(31, 8, KEY)));

    let got = rig.take_rtp(1);
    assert_eq!(got.len(), 2);
    assert_eq!(got[1].index - got[0].index, 1);
    let step = got[1]
        .header
        .timestamp
        .wrapping_sub(got[0].header.timestamp);
    assert_eq!(step, 33 * 90);
}

#[test]
fn an_ended_section_starts_over_even_with_the_same_ssrc() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.rtp(0, audio(10, 1));

    rig.apply(
        0,
        MediaChange {
            end: vec![("0".into(), Flow::Recv)],
            recv: vec![(ProducerId(2), recv_audio("0", 10))],
            ..MediaChange::default()
        },
    );
    rig.rtp(0, audio(10, 2));

    let firsts: Vec<_> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            MediaEvent::FirstPacket { producer, .. } => Some(*producer),
            _ => None,
        })
        .collect();
    assert_eq!(firsts, [ProducerId(1), ProducerId(2)]);
}

#[test]
fn the_end_of_a_sender_is_told_to_its_peer() {
    let mut rig = Rig::new(2);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(1, 2, send_audio("a", 20), Some(1));
    rig.rtp(0, audio(10, 1));

    rig.apply(
        1,
        MediaChange {
            end: vec![("a".into(), Flow::Send)],
            ..MediaChange::default()
        },
    );
    rig.rtp(0, audio(10, 2));

    assert!(rig.take_reports(1).contains(&Report::Bye(20)));
    assert_eq!(rig.take_rtp(1).len(), 1);
}

#[test]
fn a_change_that_cannot_be_applied_changes_nothing() {
    let mut rig = Rig::new(1);
    rig.receive(0, 1, recv_audio("0", 10));
    rig.send(0, 2, send_audio("a", 20), None);
    let transport = rig.peers[0].transport;
    let before = rig.media.stats(transport);
    let send = |id: u64, spec: SendSpec| MediaChange {
        end: vec![("0".into(), Flow::Recv)],
        send: vec![(ConsumerId(id), spec)],
        ..MediaChange::default()
    };
    let recv = |id: u64, spec: RecvSpec| MediaChange {
        recv: vec![(ProducerId(7), recv_audio("9", 90)), (ProducerId(id), spec)],
        ..MediaChange::default()
    };
    let bad_pt = RecvSpec {
        codecs: vec![CodecSpec {
            rtx_pt: Some(200),
            ..vp8()
        }],
        ..recv_video("1", 1, 2)
    };
    let no_codec = RecvSpec {
        codecs: vec![],
        ..recv_audio("1", 1)
    };
    let mut twice = recv_audio("1", 1);
    twice.extensions.rid = twice.extensions.mid;

    let refusals = [
        (
            send(3, send_audio("b", 20)),
            "section 'b' cannot send with SSRC 20: it is in use, or the section has another",
        ),
        (
            send(2, send_audio("a", 21)),
            "section 'a' cannot send with SSRC 21: it is in use, or the section has another",
        ),
        (
            send(3, send_audio("a", 20)),
            "section 'a' already has another id in this direction",
        ),
        (
            send(2, send_audio("c", 33)),
            "the id given for section 'c' is in use elsewhere",
        ),
        (
            recv(5, recv_audio("0", 10)),
            "section '0' already has another id in this direction",
        ),
        (
            recv(5, recv_audio("9", 10)),
            "section '9' already has another id in this direction",
        ),
        (
            recv(5, bad_pt),
            "section '1' has payload type 200: 127 is the highest",
        ),
        (recv(5, no_codec), "section '1' lists no codec"),
        (
            recv(5, twice),
            "section '1' uses extension id 1 twice, or it is not 1 to 255",
        ),
    ];
    for (change, text) in refusals {
        let refused = rig
            .media
            .apply(transport, &change, rig.now, &mut rig.sent, &mut rig.events);
        assert_eq!(refused.unwrap_err().to_string(), text);
        assert_eq!(rig.media.stats(transport), before);
    }
}

#[test]
fn a_command_for_what_is_gone_is_ignored() {
    let mut rig = Rig::new(1);
    let (producer, consumer) = (ProducerId(1), ConsumerId(2));

    for command in [
        MediaCommand::ProducerPause(producer),
        MediaCommand::ProducerResume(producer),
        MediaCommand::ProducerKeyframe(producer, None),
        MediaCommand::ProducerPolicy(producer, ProducerPolicy::default()),
        MediaCommand::ProducerClose(producer),
        MediaCommand::ConsumerSource(consumer, Some(producer), None),
        MediaCommand::ConsumerPause(consumer),
        MediaCommand::ConsumerResume(consumer),
        MediaCommand::ConsumerKeyframe(consumer),
        MediaCommand::ConsumerClose(consumer),
    ] {
        rig.command(command);
    }

    assert_eq!(rig.events, []);
}
