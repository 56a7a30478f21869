//! Python's frozen dataclasses as the engine's values.
//!
//! Reading is by attribute, so any object of the right shape will do. A value that does not fit is
//! refused by its path (`recv[0].codecs[1].pt`) and never quoted when it may be a secret.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use parley_sfu::command::{OnFull, RemoteTransport, Setup};
use parley_sfu::config::{Announce, EngineConfig};
use parley_sfu::spec::{
    CodecSpec, DataSpec, ExtensionIds, Feedback, Flow, LayerPolicy, MAX_LAYERS, MediaKind, Mid,
    ProducerPolicy, RecvSpec, Rid, SendSpec, SsrcGroup, SsrcSemantics,
};
use pyo3::prelude::*;

use crate::error::bad_value;

/// A Python value and the path that led to it.
struct Node<'py> {
    value: Bound<'py, PyAny>,
    path: String,
}

impl<'py> Node<'py> {
    fn new(value: &Bound<'py, PyAny>, path: impl Into<String>) -> Self {
        Node {
            value: value.clone(),
            path: path.into(),
        }
    }

    fn field(&self, name: &str) -> PyResult<Node<'py>> {
        let path = format!("{}.{name}", self.path);
        match self.value.getattr(name) {
            Ok(value) => Ok(Node { value, path }),
            Err(_) => Err(bad_value(&path, "is missing")),
        }
    }

    fn items(&self) -> PyResult<Vec<Node<'py>>> {
        let items = self
            .value
            .try_iter()
            .map_err(|_| bad_value(&self.path, "is not a sequence"))?;
        items
            .enumerate()
            .map(|(index, item)| {
                Ok(Node {
                    value: item?,
                    path: format!("{}[{index}]", self.path),
                })
            })
            .collect()
    }

    fn some(self) -> Option<Node<'py>> {
        (!self.value.is_none()).then_some(self)
    }

    fn text(&self) -> PyResult<String> {
        self.value
            .extract()
            .map_err(|_| bad_value(&self.path, "is not text"))
    }

    fn flag(&self) -> PyResult<bool> {
        self.value
            .extract()
            .map_err(|_| bad_value(&self.path, "is neither True nor False"))
    }

    /// A whole number from `least` to `most`.
    fn number<T>(&self, least: T, most: T) -> PyResult<T>
    where
        T: Copy + Display + PartialOrd + TryFrom<i64>,
    {
        let wide: i64 = self
            .value
            .extract()
            .map_err(|_| bad_value(&self.path, "is not a whole number of 64 bits"))?;
        match T::try_from(wide) {
            Ok(value) if least <= value && value <= most => Ok(value),
            _ => Err(bad_value(
                &self.path,
                &format!("{wide} is outside {least} to {most}"),
            )),
        }
    }

    /// A duration of at most a day, from seconds.
    fn seconds(&self) -> PyResult<Duration> {
        let value: f64 = self
            .value
            .extract()
            .map_err(|_| bad_value(&self.path, "is not a number"))?;
        if value > 0.0 && value <= 86_400.0 {
            Ok(Duration::from_secs_f64(value))
        } else {
            Err(bad_value(
                &self.path,
                &format!("{value} s is not above 0 and at most 86400"),
            ))
        }
    }

    /// The value of an `enum.Enum` member whose values are text.
    fn choice(&self) -> PyResult<String> {
        self.value
            .getattr("value")
            .and_then(|value| value.extract())
            .map_err(|_| bad_value(&self.path, "is not a member of its enum"))
    }

    fn unknown<T>(&self, choice: &str) -> PyResult<T> {
        Err(bad_value(
            &self.path,
            &format!("{choice:?} cannot be used here"),
        ))
    }

    fn mid(&self) -> PyResult<Mid> {
        let text = self.text()?;
        // RFC 8843 §9.3: the header extension that carries it holds 1 to 255 bytes.
        if text.is_empty() || text.len() > 255 {
            return Err(bad_value(&self.path, "has not between 1 and 255 bytes"));
        }
        Ok(text.into())
    }

    fn flow(&self) -> PyResult<Flow> {
        match self.choice()?.as_str() {
            "recv" => Ok(Flow::Recv),
            "send" => Ok(Flow::Send),
            other => self.unknown(other),
        }
    }

    fn kind(&self) -> PyResult<MediaKind> {
        match self.choice()?.as_str() {
            "audio" => Ok(MediaKind::Audio),
            "video" => Ok(MediaKind::Video),
            other => self.unknown(other),
        }
    }

    fn codec(&self) -> PyResult<CodecSpec> {
        Ok(CodecSpec {
            pt: self.field("pt")?.number(0, 127)?,
            name: self.field("name")?.text()?,
            clock_hz: self.field("clock_hz")?.number(1, 10_000_000)?,
            channels: self.field("channels")?.number(0, 255)?,
            fmtp: self.field("fmtp")?.text()?,
            rtx_pt: self.optional_payload_type("rtx_pt")?,
            red_pt: self.optional_payload_type("red_pt")?,
        })
    }

    fn optional_payload_type(&self, name: &str) -> PyResult<Option<u8>> {
        self.field(name)?
            .some()
            .map(|node| node.number(0, 127))
            .transpose()
    }

    fn codecs(&self) -> PyResult<Vec<CodecSpec>> {
        let codecs = self.field("codecs")?;
        let items = codecs.items()?;
        if items.is_empty() {
            return Err(bad_value(&codecs.path, "is empty"));
        }
        items.iter().map(Node::codec).collect()
    }

    fn extensions(&self) -> PyResult<ExtensionIds> {
        let mut ids = ExtensionIds::default();
        for extension in self.field("extensions")?.items()? {
            let id = extension.field("id")?.number(1, 255)?;
            let uri = extension.field("uri")?.text()?;
            if let Some(slot) = extension_slot(&mut ids, &uri) {
                *slot = Some(id);
            }
        }
        Ok(ids)
    }

    fn ssrcs(&self) -> PyResult<Vec<u32>> {
        self.items()?
            .iter()
            .map(|ssrc| ssrc.number(0, u32::MAX))
            .collect()
    }

    fn groups(&self) -> PyResult<Vec<SsrcGroup>> {
        let mut groups = Vec::new();
        for group in self.field("ssrc_groups")?.items()? {
            let semantics = match group.field("semantics")?.text()?.as_str() {
                "FID" => SsrcSemantics::Fid,
                "SIM" => SsrcSemantics::Sim,
                // Forward error correction is not asked for, so its groups say nothing here.
                _ => continue,
            };
            groups.push(SsrcGroup {
                semantics,
                ssrcs: group.field("ssrcs")?.ssrcs()?,
            });
        }
        Ok(groups)
    }

    fn feedback(&self) -> PyResult<Feedback> {
        match self.choice()?.as_str() {
            "remb" => Ok(Feedback::Remb),
            "twcc" => Ok(Feedback::Twcc),
            "none" => Ok(Feedback::None),
            other => self.unknown(other),
        }
    }

    fn recv_spec(&self) -> PyResult<RecvSpec> {
        Ok(RecvSpec {
            mid: self.field("mid")?.mid()?,
            kind: self.field("kind")?.kind()?,
            codecs: self.codecs()?,
            extensions: self.extensions()?,
            ssrcs: self.field("ssrcs")?.ssrcs()?,
            groups: self.groups()?,
            rids: self
                .field("rids")?
                .items()?
                .iter()
                .map(|rid| rid.text().map(Rid::from))
                .collect::<PyResult<_>>()?,
            nack: self.field("nack")?.flag()?,
            twcc: self.field("twcc")?.flag()?,
            remb: self.field("remb")?.flag()?,
        })
    }

    fn send_spec(&self) -> PyResult<SendSpec> {
        Ok(SendSpec {
            mid: self.field("mid")?.mid()?,
            kind: self.field("kind")?.kind()?,
            ssrc: self.field("ssrc")?.number(0, u32::MAX)?,
            rtx_ssrc: self
                .field("rtx_ssrc")?
                .some()
                .map(|ssrc| ssrc.number(0, u32::MAX))
                .transpose()?,
            codecs: self.codecs()?,
            extensions: self.extensions()?,
            cname: self.field("cname")?.text()?,
            nack: self.field("nack")?.flag()?,
            feedback: self.field("estimator")?.feedback()?,
        })
    }
}

fn extension_slot<'a>(ids: &'a mut ExtensionIds, uri: &str) -> Option<&'a mut Option<u8>> {
    match uri {
        "urn:ietf:params:rtp-hdrext:sdes:mid" => Some(&mut ids.mid),
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" => Some(&mut ids.rid),
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" => Some(&mut ids.repaired_rid),
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level" => Some(&mut ids.audio_level),
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time" => {
            Some(&mut ids.abs_send_time)
        }
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" => {
            Some(&mut ids.transport_cc)
        }
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension" => {
            Some(&mut ids.dependency_descriptor)
        }
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time" => {
            Some(&mut ids.abs_capture_time)
        }
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" => {
            Some(&mut ids.playout_delay)
        }
        _ => None,
    }
}

/// `parley.engine.specs.RecvSpec`, several.
pub fn recv_specs(value: &Bound<'_, PyAny>) -> PyResult<Vec<RecvSpec>> {
    let items = Node::new(value, "recv").items()?;
    items.iter().map(Node::recv_spec).collect()
}

/// `parley.engine.specs.SendSpec`, several.
pub fn send_specs(value: &Bound<'_, PyAny>) -> PyResult<Vec<SendSpec>> {
    let items = Node::new(value, "send").items()?;
    items.iter().map(Node::send_spec).collect()
}

/// Pairs of a mid and a `parley.engine.specs.Flow`.
pub fn ended(value: &Bound<'_, PyAny>) -> PyResult<Vec<(Mid, Flow)>> {
    let mut ended = Vec::new();
    for pair in Node::new(value, "end").items()? {
        match pair.items()?.as_slice() {
            [mid, flow] => ended.push((mid.mid()?, flow.flow()?)),
            _ => return Err(bad_value(&pair.path, "is not a pair of mid and flow")),
        }
    }
    Ok(ended)
}

/// `parley.engine.specs.DataSpec`.
pub fn data_spec(value: &Bound<'_, PyAny>) -> PyResult<DataSpec> {
    let node = Node::new(value, "data");
    Ok(DataSpec {
        port: node.field("port")?.number(0, u16::MAX)?,
        max_message_size: node.field("max_message_size")?.number(0, u32::MAX)?,
        streams: node.field("streams")?.number(1, u16::MAX)?,
    })
}

/// `parley.engine.specs.RemoteTransport`.
pub fn remote_transport(value: &Bound<'_, PyAny>) -> PyResult<RemoteTransport> {
    let node = Node::new(value, "remote");
    let setup = node.field("setup")?;
    Ok(RemoteTransport {
        ufrag: node.field("ufrag")?.text()?,
        pwd: node.field("pwd")?.text()?,
        fingerprint: node.field("fingerprint")?.text()?,
        setup: match setup.choice()?.as_str() {
            "active" => Setup::Active,
            "passive" => Setup::Passive,
            "actpass" => Setup::ActPass,
            other => return setup.unknown(other),
        },
        begins_anew: node.field("begins_anew")?.flag()?,
        controls: node.field("controls")?.flag()?,
        candidates: node
            .field("candidates")?
            .items()?
            .iter()
            .map(Node::text)
            .collect::<PyResult<_>>()?,
    })
}

/// `parley.engine.specs.ProducerPolicy`.
pub fn producer_policy(value: &Bound<'_, PyAny>) -> PyResult<ProducerPolicy> {
    let node = Node::new(value, "policy");
    Ok(ProducerPolicy {
        keyframe_gap_ms: node
            .field("keyframe_gap_ms")?
            .items()?
            .iter()
            .map(|gap| gap.number(0, 3_600_000))
            .collect::<PyResult<_>>()?,
        max_layer: node
            .field("max_layer")?
            .some()
            .map(|layer| layer.number(0, 255))
            .transpose()?,
    })
}

/// `parley.engine.specs.LayerPolicy`.
pub fn layer_policy(value: &Bound<'_, PyAny>) -> PyResult<LayerPolicy> {
    let node = Node::new(value, "policy");
    let when_missing = node.field("when_missing")?;
    let layers = when_missing.items()?;
    if layers.len() > MAX_LAYERS {
        return Err(bad_value(
            &when_missing.path,
            &format!("has more than {MAX_LAYERS} layers"),
        ));
    }
    Ok(LayerPolicy {
        target: node.field("target")?.number(0, 255)?,
        when_missing: layers
            .iter()
            .map(|layer| layer.number(0, 255))
            .collect::<PyResult<_>>()?,
        max_temporal: node
            .field("max_temporal")?
            .some()
            .map(|layer| layer.number(0, 3))
            .transpose()?,
    })
}

/// `parley.engine.engine.OnFull`.
pub fn on_full(value: &Bound<'_, PyAny>) -> PyResult<OnFull> {
    let node = Node::new(value, "on_full");
    match node.choice()?.as_str() {
        "drop_new" => Ok(OnFull::DropNew),
        "drop_old" => Ok(OnFull::DropOld),
        "close" => Ok(OnFull::Close),
        other => node.unknown(other),
    }
}

/// `parley.engine.specs.EngineConfig`.
pub fn config(value: &Bound<'_, PyAny>) -> PyResult<EngineConfig> {
    let node = Node::new(value, "config");
    let queue = 1 << 24;
    Ok(EngineConfig {
        bind: address(&node.field("bind")?)?,
        udp_port: node.field("udp_port")?.number(0, u16::MAX)?,
        announce: node
            .field("announce")?
            .items()?
            .iter()
            .map(announce)
            .collect::<PyResult<_>>()?,
        mtu_bytes: node.field("mtu_bytes")?.number(0, 65_535)?,
        rtx_cache: Duration::from_millis(node.field("rtx_cache_ms")?.number(1, 60_000)?),
        disconnected: node.field("disconnected_s")?.seconds()?,
        failed: node.field("failed_s")?.seconds()?,
        sr_interval: node.field("sr_interval_s")?.seconds()?,
        stun_rate: node.field("stun_rate")?.number(1, u32::MAX)?,
        max_pending: node.field("max_pending")?.number(1, queue)?,
        max_transports: node.field("max_transports")?.number(1, queue)?,
        max_transports_per_group: node.field("max_transports_per_group")?.number(1, queue)?,
        sctp_window_bytes: node.field("sctp_window_bytes")?.number(0, u32::MAX)?,
        max_message_bytes: node.field("max_message_bytes")?.number(0, u32::MAX)?,
        channel_limit_bytes: node.field("channel_limit_bytes")?.number(0, 1 << 30)?,
        command_queue: node.field("command_queue")?.number(1, queue)?,
        event_queue: node.field("event_queue")?.number(1, queue)?,
    })
}

fn address(node: &Node<'_>) -> PyResult<IpAddr> {
    let text = node.text()?;
    text.parse()
        .map_err(|_| bad_value(&node.path, &format!("{text:?} is not an IP address")))
}

/// `ip`, `ip:port` or, for IPv6 with a port, `[ip]:port`.
fn announce(node: &Node<'_>) -> PyResult<Announce> {
    let text = node.text()?;
    if let Ok(ip) = text.parse() {
        return Ok(Announce { ip, port: None });
    }
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Announce {
            ip: address.ip(),
            port: Some(address.port()),
        }),
        _ => Err(bad_value(
            &node.path,
            &format!("{text:?} is neither ip nor ip:port"),
        )),
    }
}
