//! One published track as received: its layers, and for each what was received and what is missing.

use std::time::{Duration, Instant};

use super::cache::Cache;
use super::keyframes::Keyframes;
use super::munger::EPOCH;
use super::nack::NackList;
use super::reception::{Reception, SenderClock};
use super::unwrap::near32;
use crate::codec::Codec;
use crate::spec::{
    CodecSpec, MediaKind, Mid, ProducerId, ProducerPolicy, RecvSpec, Rid, SsrcGroup, SsrcSemantics,
};
use crate::srtp::Window;

/// Where packets of an SSRC belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binding {
    Media { producer: usize, layer: u8 },
    Rtx { producer: usize, layer: u8 },
}

impl Binding {
    pub fn producer(self) -> usize {
        match self {
            Binding::Media { producer, .. } | Binding::Rtx { producer, .. } => producer,
        }
    }
}

/// A codec of the section, and how its payload is looked into.
pub(super) struct ProducerCodec {
    pub spec: CodecSpec,
    pub codec: Codec,
}

pub(super) struct Producer {
    pub id: ProducerId,
    pub transport: usize,
    pub mid: Mid,
    pub kind: MediaKind,
    pub codecs: Vec<ProducerCodec>,
    pub nack: bool,
    pub layers: Vec<Layer>,
    /// Keys of those it is forwarded to.
    pub consumers: Vec<usize>,
    pub is_paused: bool,
    pub has_begun: bool,
    policy: ProducerPolicy,
    ssrcs: Vec<u32>,
    groups: Vec<SsrcGroup>,
}

/// Until layers are switched, the lowest declared one is forwarded.
pub(super) const FORWARDED_LAYER: u8 = 0;

impl Producer {
    pub fn new(id: ProducerId, transport: usize, spec: &RecvSpec, keep: Duration) -> Self {
        let mut producer = Producer {
            id,
            transport,
            mid: spec.mid.clone(),
            kind: spec.kind,
            codecs: Vec::new(),
            nack: false,
            layers: Vec::new(),
            consumers: Vec::new(),
            is_paused: false,
            has_begun: false,
            policy: ProducerPolicy::default(),
            ssrcs: Vec::new(),
            groups: Vec::new(),
        };
        producer.change(spec, keep);
        producer
    }

    /// Takes over a new description of the same section. True: its streams are declared differently,
    /// so their bindings are to be found anew.
    pub fn change(&mut self, spec: &RecvSpec, keep: Duration) -> bool {
        self.codecs = spec
            .codecs
            .iter()
            .map(|codec| ProducerCodec {
                spec: codec.clone(),
                codec: Codec::from_name(spec.kind, &codec.name),
            })
            .collect();
        self.nack = spec.nack;
        let rids: Vec<Option<Rid>> = match declared_layers(spec) {
            Layering::Rids(rids) => rids.iter().cloned().map(Some).collect(),
            Layering::Count(count) => vec![None; count],
        };
        let is_same = self.ssrcs == spec.ssrcs
            && self.groups == spec.groups
            && rids.iter().eq(self.layers.iter().map(|layer| &layer.rid));
        self.ssrcs.clone_from(&spec.ssrcs);
        self.groups.clone_from(&spec.groups);
        for layer in &mut self.layers {
            // The codec of the current payload type is looked up again.
            layer.current = None;
        }
        if !rids.iter().eq(self.layers.iter().map(|layer| &layer.rid)) {
            self.layers = rids
                .into_iter()
                .enumerate()
                .map(|(index, rid)| {
                    let is_forwarded = index == usize::from(FORWARDED_LAYER);
                    let cache = is_forwarded.then(|| Cache::new(spec.kind, keep));
                    Layer::new(rid, gap(&self.policy, index), keep, cache)
                })
                .collect();
        }
        !is_same
    }

    pub fn set_policy(&mut self, policy: ProducerPolicy) {
        self.policy = policy;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.keyframes.set_gap(gap(&self.policy, index));
        }
    }

    /// Whether a payload type is that of retransmissions; `None`: it is not of this section.
    pub fn is_rtx(&self, pt: u8) -> Option<bool> {
        self.codecs.iter().find_map(|codec| {
            if codec.spec.pt == pt {
                Some(false)
            } else if codec.spec.rtx_pt == Some(pt) {
                Some(true)
            } else {
                None
            }
        })
    }

    /// The payload type that retransmissions of type `rtx_pt` stand for.
    pub fn original_pt(&self, rtx_pt: u8) -> Option<u8> {
        self.codecs
            .iter()
            .find(|codec| codec.spec.rtx_pt == Some(rtx_pt))
            .map(|codec| codec.spec.pt)
    }

    pub fn layer_of_rid(&self, rid: &str) -> Option<u8> {
        self.layers
            .iter()
            .position(|layer| layer.rid.as_ref().is_some_and(|r| r.as_str() == rid))
            .map(|index| index as u8)
    }

    /// What `a=ssrc` and `a=ssrc-group` say of an SSRC (RFC 5576, RFC 4588 §8.4).
    pub fn declared(&self, key: usize, ssrc: u32) -> Option<Binding> {
        let layer_of = |ssrc: u32| {
            let sim = self
                .groups
                .iter()
                .find(|group| group.semantics == SsrcSemantics::Sim);
            match sim {
                Some(group) => group.ssrcs.iter().position(|s| *s == ssrc),
                None => self.ssrcs.contains(&ssrc).then_some(0),
            }
        };
        for group in &self.groups {
            if let (SsrcSemantics::Fid, [media, rtx, ..]) = (group.semantics, &group.ssrcs[..])
                && *rtx == ssrc
            {
                return Some(Binding::Rtx {
                    producer: key,
                    layer: layer_of(*media)? as u8,
                });
            }
        }
        // Several without a group: only the first can be the stream.
        let is_plain = self.groups.is_empty() && self.ssrcs.first() != Some(&ssrc);
        if self.layers.len() == 1 && is_plain {
            return None;
        }
        let layer = layer_of(ssrc).filter(|layer| *layer < self.layers.len())?;
        Some(Binding::Media {
            producer: key,
            layer: layer as u8,
        })
    }
}

enum Layering<'a> {
    Rids(&'a [Rid]),
    Count(usize),
}

fn declared_layers(spec: &RecvSpec) -> Layering<'_> {
    if !spec.rids.is_empty() {
        return Layering::Rids(&spec.rids);
    }
    let sim = spec
        .groups
        .iter()
        .find(|group| group.semantics == SsrcSemantics::Sim);
    Layering::Count(sim.map_or(1, |group| group.ssrcs.len()).max(1))
}

fn gap(policy: &ProducerPolicy, layer: usize) -> Duration {
    let gaps = &policy.keyframe_gap_ms;
    let gap = gaps.get(layer).or(gaps.last()).copied().unwrap_or(500);
    Duration::from_millis(u64::from(gap))
}

/// What a layer sends at the moment.
#[derive(Clone, Copy)]
pub(super) struct Current {
    pub pt: u8,
    /// Index into the producer's codecs.
    pub codec: usize,
}

/// One encoding of the track.
pub(super) struct Layer {
    pub rid: Option<Rid>,
    pub ssrc: Option<u32>,
    pub rtx_ssrc: Option<u32>,
    pub current: Option<Current>,
    pub is_active: bool,
    pub last_packet: Option<Instant>,
    pub reception: Reception,
    /// Numbers received, to tell a retransmission that came too late from one that helps.
    pub seen: Window,
    pub nack: NackList,
    pub nack_due: Option<Instant>,
    pub keyframes: Keyframes,
    pub keyframe_due: Option<Instant>,
    pub clock: Option<SenderClock>,
    /// Kept for the layer that is forwarded.
    pub cache: Option<Cache>,
    /// The highest packet ended a frame, or was of padding behind one: the timestamp it bore.
    pub ended: Option<u32>,
    timestamp: Option<u64>,
    pub stats: LayerStats,
}

#[derive(Clone, Copy, Default)]
pub(super) struct LayerStats {
    pub packets: u64,
    pub bytes: u64,
    pub repaired: u64,
    pub nacks: u64,
    pub plis: u64,
    pub keyframes: u64,
}

impl Layer {
    fn new(rid: Option<Rid>, gap: Duration, keep: Duration, cache: Option<Cache>) -> Self {
        Layer {
            rid,
            ssrc: None,
            rtx_ssrc: None,
            current: None,
            is_active: false,
            last_packet: None,
            reception: Reception::default(),
            seen: Window::default(),
            nack: NackList::new(keep),
            nack_due: None,
            keyframes: Keyframes::new(gap),
            keyframe_due: None,
            clock: None,
            cache,
            ended: None,
            timestamp: None,
            stats: LayerStats::default(),
        }
    }

    /// Another SSRC sends this layer from now on: its numbers mean nothing to the old ones.
    pub fn rebind(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        self.rtx_ssrc = None;
        self.current = None;
        self.reception = Reception::default();
        self.seen = Window::default();
        self.nack.clear();
        self.keyframes.forget_numbers();
        self.ended = None;
        self.clock = None;
        self.timestamp = None;
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    /// The 64-bit form of a timestamp of this layer.
    pub fn timestamp(&mut self, wire: u32) -> u64 {
        let near = self.timestamp.unwrap_or(EPOCH + u64::from(wire));
        let timestamp = near32(near, wire);
        self.timestamp = Some(near.max(timestamp));
        timestamp
    }

    /// As [`timestamp`](Self::timestamp), of what is not a packet; `None` before the first packet.
    pub fn timestamp_of(&self, wire: u32) -> Option<u64> {
        self.timestamp.map(|near| near32(near, wire))
    }

    pub fn is_silent(&self, now: Instant, limit: Duration) -> bool {
        self.last_packet
            .is_none_or(|at| now.saturating_duration_since(at) > limit)
    }
}
