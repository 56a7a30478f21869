//! One published track as received: its layers, and for each what was received and what is missing.

use std::time::{Duration, Instant};

use slab::Slab;

use super::cache::Cache;
use super::era::{Feed, Stream};
use super::keyframes::Keyframes;
use super::nack::NackList;
use super::pictures::PictureIds;
use super::pulse::Pulse;
use super::reception::{Reception, SenderClock};
use super::timeline::EPOCH;
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
    /// Keys of those whose source it is.
    pub consumers: Vec<usize>,
    pub is_paused: bool,
    pub has_begun: bool,
    /// When layers are next held against each other.
    pub next_look: Option<Instant>,
    /// The layers that were last told to be wanted, a bit each.
    demand: u8,
    /// Counts the streams its layers have been sent by.
    epochs: u32,
    policy: ProducerPolicy,
    ssrcs: Vec<u32>,
    groups: Vec<SsrcGroup>,
}

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
            next_look: None,
            demand: 0,
            epochs: 0,
            policy: ProducerPolicy::default(),
            ssrcs: Vec::new(),
            groups: Vec::new(),
        };
        producer.change(spec, keep);
        producer
    }

    /// Whether a new description has other layers, so that the present ones end.
    pub fn has_other_layers(&self, spec: &RecvSpec) -> bool {
        !rids(spec)
            .iter()
            .eq(self.layers.iter().map(|layer| &layer.rid))
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
        let has_other_layers = self.has_other_layers(spec);
        let is_same = self.ssrcs == spec.ssrcs && self.groups == spec.groups && !has_other_layers;
        self.ssrcs.clone_from(&spec.ssrcs);
        self.groups.clone_from(&spec.groups);
        for layer in &mut self.layers {
            // The codec of the current payload type is looked up again.
            layer.current = None;
        }
        if has_other_layers {
            self.layers = rids(spec)
                .into_iter()
                .enumerate()
                .map(|(index, rid)| {
                    self.epochs += 1;
                    Layer::new(rid, gap(&self.policy, index), keep, self.epochs)
                })
                .collect();
        }
        !is_same
    }

    /// Whether a layer is accepted.
    pub fn takes(&self, layer: u8) -> bool {
        self.policy.max_layer.is_none_or(|max| layer <= max)
    }

    /// What tells a layer's packets from those of any other stream.
    pub fn stream(&self, layer: u8) -> Stream {
        let layer = self.layers.get(usize::from(layer));
        Stream {
            producer: self.id,
            epoch: layer.map_or(0, |layer| layer.epoch),
        }
    }

    /// Another SSRC sends a layer from now on.
    pub fn rebind(&mut self, layer: u8, ssrc: u32) {
        self.epochs += 1;
        let epoch = self.epochs;
        if let Some(layer) = self.layers.get_mut(usize::from(layer)) {
            layer.rebind(ssrc, epoch);
        }
    }

    /// One consumer more, or less, wants the layers of `mask`.
    pub fn count_wanted(&mut self, mask: u8, is_more: bool) {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if mask >> index & 1 == 0 {
                continue;
            }
            layer.wanted = match is_more {
                true => layer.wanted + 1,
                false => layer.wanted.saturating_sub(1),
            };
        }
    }

    /// The layers that are wanted, a bit each, if that has changed since it was last asked.
    pub fn changed_demand(&mut self) -> Option<u8> {
        let bits = self.layers.iter().enumerate();
        let wanted = bits.filter(|(_, layer)| layer.wanted > 0);
        let demand = wanted.fold(0, |mask, (index, _)| mask | 1 << index);
        (std::mem::replace(&mut self.demand, demand) != demand).then_some(demand)
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

/// The layers that are declared, each by its RID if it has one.
fn rids(spec: &RecvSpec) -> Vec<Option<Rid>> {
    if !spec.rids.is_empty() {
        return spec.rids.iter().cloned().map(Some).collect();
    }
    let sim = spec
        .groups
        .iter()
        .find(|group| group.semantics == SsrcSemantics::Sim);
    vec![None; sim.map_or(1, |group| group.ssrcs.len()).max(1)]
}

fn gap(policy: &ProducerPolicy, layer: usize) -> Duration {
    let gaps = &policy.keyframe_gap_ms;
    let gap = gaps.get(layer).or(gaps.last()).copied().unwrap_or(500);
    Duration::from_millis(u64::from(gap))
}

/// The layer that a feed names, if there is one.
pub(super) fn layer_of(producers: &Slab<Producer>, feed: Feed) -> Option<&Layer> {
    let producer = producers.get(feed.producer)?;
    producer.layers.get(usize::from(feed.layer))
}

pub(super) fn layer_of_mut(producers: &mut Slab<Producer>, feed: Feed) -> Option<&mut Layer> {
    let producer = producers.get_mut(feed.producer)?;
    producer.layers.get_mut(usize::from(feed.layer))
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
    epoch: u32,
    pub current: Option<Current>,
    pub is_active: bool,
    pub pulse: Pulse,
    /// Keys of the consumers that forward it or await it.
    pub takers: Vec<usize>,
    pub untaken_since: Option<Instant>,
    /// How many consumers want it.
    wanted: u32,
    pub last_packet: Option<Instant>,
    pub reception: Reception,
    /// Numbers received, to tell a retransmission that came too late from one that helps.
    pub seen: Window,
    pub nack: NackList,
    pub nack_due: Option<Instant>,
    pub keyframes: Keyframes,
    pub keyframe_due: Option<Instant>,
    pub clock: Option<SenderClock>,
    /// Made when it is first taken, and given up some time after nobody takes it.
    pub cache: Option<Cache>,
    pub pictures: PictureIds,
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
    fn new(rid: Option<Rid>, gap: Duration, keep: Duration, epoch: u32) -> Self {
        Layer {
            rid,
            ssrc: None,
            rtx_ssrc: None,
            epoch,
            current: None,
            is_active: false,
            pulse: Pulse::default(),
            takers: Vec::new(),
            untaken_since: None,
            wanted: 0,
            last_packet: None,
            reception: Reception::default(),
            seen: Window::default(),
            nack: NackList::new(keep),
            nack_due: None,
            keyframes: Keyframes::new(gap),
            keyframe_due: None,
            clock: None,
            cache: None,
            pictures: PictureIds::default(),
            ended: None,
            timestamp: None,
            stats: LayerStats::default(),
        }
    }

    /// Another SSRC sends this layer from now on: its numbers mean nothing to the old ones.
    fn rebind(&mut self, ssrc: u32, epoch: u32) {
        self.ssrc = Some(ssrc);
        self.epoch = epoch;
        self.rtx_ssrc = None;
        self.current = None;
        self.reception = Reception::default();
        self.seen = Window::default();
        self.nack.clear();
        self.keyframes.forget_numbers();
        self.ended = None;
        self.clock = None;
        self.pictures = PictureIds::default();
        self.timestamp = None;
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    /// Has what is received kept from now on.
    pub fn keep(&mut self, kind: MediaKind, keep: Duration) {
        self.cache.get_or_insert_with(|| Cache::new(kind, keep));
    }

    /// The 64-bit form of a timestamp of this layer.
    pub fn timestamp(&mut self, wire: u32) -> u64 {
        let near = self.timestamp.unwrap_or(EPOCH + u64::from(wire));
        let timestamp = near32(near, wire);
        self.timestamp = Some(near.max(timestamp));
        timestamp
    }

    /// Whether a timestamp is later than any before.
    pub fn is_newer(&self, wire: u32) -> bool {
        self.timestamp.is_none_or(|top| near32(top, wire) > top)
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
