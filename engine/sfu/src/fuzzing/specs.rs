//! Descriptions made of bytes: nothing in them need make sense.

use super::input::Input;
use crate::command::{RemoteTransport, Setup};
use crate::media::MediaChange;
use crate::spec::{
    CodecSpec, ConsumerId, ExtensionIds, Feedback, Flow, LayerPolicy, MediaKind, Mid, ProducerId,
    RecvSpec, SendSpec, SsrcGroup, SsrcSemantics,
};

pub fn remote(input: &mut Input<'_>) -> RemoteTransport {
    RemoteTransport {
        ufrag: input.text(),
        pwd: input.text(),
        fingerprint: input.text(),
        setup: match input.below(3) {
            0 => Setup::Active,
            1 => Setup::Passive,
            _ => Setup::ActPass,
        },
        candidates: vec![input.text()],
        begins_anew: input.below(2) == 0,
        controls: input.below(2) == 0,
    }
}

/// Few mids, ids and SSRCs, so that they meet.
pub fn change(input: &mut Input<'_>) -> MediaChange {
    MediaChange {
        end: list(input, |input| (mid(input), flow(input))),
        recv: list(input, |input| {
            (ProducerId(u64::from(1 + input.below(6))), recv(input))
        }),
        send: list(input, |input| {
            (ConsumerId(u64::from(10 + input.below(6))), send(input))
        }),
    }
}

pub fn layer_policy(input: &mut Input<'_>) -> LayerPolicy {
    LayerPolicy {
        target: input.below(4),
        when_missing: list(input, |input| input.below(4)),
        max_temporal: input.is_set().then(|| input.below(4)),
    }
}

fn recv(input: &mut Input<'_>) -> RecvSpec {
    RecvSpec {
        mid: mid(input),
        kind: kind(input),
        codecs: list(input, codec),
        extensions: extensions(input),
        ssrcs: list(input, ssrc),
        groups: list(input, |input| SsrcGroup {
            semantics: if input.is_set() {
                SsrcSemantics::Fid
            } else {
                SsrcSemantics::Sim
            },
            ssrcs: list(input, ssrc),
        }),
        rids: list(input, |input| input.text().into()),
        nack: input.is_set(),
        twcc: input.is_set(),
        remb: input.is_set(),
    }
}

fn send(input: &mut Input<'_>) -> SendSpec {
    SendSpec {
        mid: mid(input),
        kind: kind(input),
        ssrc: ssrc(input),
        rtx_ssrc: input.is_set().then(|| ssrc(input)),
        codecs: list(input, codec),
        extensions: extensions(input),
        cname: input.text(),
        nack: input.is_set(),
        feedback: match input.below(3) {
            0 => Feedback::None,
            1 => Feedback::Remb,
            _ => Feedback::Twcc,
        },
    }
}

fn codec(input: &mut Input<'_>) -> CodecSpec {
    const NAMES: [&str; 6] = ["opus", "VP8", "VP9", "H264", "AV1", "red"];
    CodecSpec {
        pt: input.byte(),
        name: NAMES[usize::from(input.below(6))].into(),
        clock_hz: match input.below(3) {
            0 => 48_000,
            1 => 90_000,
            _ => input.word(),
        },
        channels: input.byte(),
        fmtp: String::new(),
        rtx_pt: input.is_set().then(|| input.byte()),
        red_pt: input.is_set().then(|| input.byte()),
    }
}

fn extensions(input: &mut Input<'_>) -> ExtensionIds {
    let mut id = || input.is_set().then(|| input.byte());
    ExtensionIds {
        mid: id(),
        rid: id(),
        repaired_rid: id(),
        audio_level: id(),
        abs_send_time: id(),
        transport_cc: id(),
        dependency_descriptor: id(),
        abs_capture_time: id(),
        playout_delay: id(),
    }
}

fn list<T>(input: &mut Input<'_>, mut item: impl FnMut(&mut Input<'_>) -> T) -> Vec<T> {
    (0..input.below(5)).map(|_| item(input)).collect()
}

fn mid(input: &mut Input<'_>) -> Mid {
    input.below(4).to_string().into()
}

fn kind(input: &mut Input<'_>) -> MediaKind {
    if input.is_set() {
        MediaKind::Audio
    } else {
        MediaKind::Video
    }
}

fn flow(input: &mut Input<'_>) -> Flow {
    if input.is_set() {
        Flow::Recv
    } else {
        Flow::Send
    }
}

fn ssrc(input: &mut Input<'_>) -> u32 {
    u32::from(input.below(8))
}
