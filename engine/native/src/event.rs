//! The engine's events as tuples: a name, then the fields that `_native.pyi` lists.

use std::time::{Duration, Instant};

use parley_sfu::event::{Event, TransportStats};
use parley_sfu::media::{ConsumerStats, MediaEvent, ProducerStats};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::channel::Channel;

pub fn tuple(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::TransportState {
            transport,
            state,
            reason,
        } => (
            "transport_state",
            transport.0,
            state.as_str(),
            reason.map(|reason| reason.as_str()),
        )
            .into_pyobject(py),
        Event::IceSelected {
            transport,
            remote,
            protocol,
        } => ("ice_selected", transport.0, remote.to_string(), protocol).into_pyobject(py),
        Event::DtlsConnected {
            transport,
            version,
            srtp_profile,
        } => ("dtls_connected", transport.0, version, srtp_profile).into_pyobject(py),
        Event::Media(event) => media(py, event),
        Event::ChannelOpen {
            transport,
            channel,
            options,
            remote,
        } => {
            let channel = Channel::new(channel, options);
            ("channel_open", transport.0, channel, remote).into_pyobject(py)
        }
        Event::ChannelMessage {
            channel,
            data,
            text,
        } => ("channel_message", channel.0, PyBytes::new(py, &data), text).into_pyobject(py),
        Event::ChannelLow { channel, .. } => ("channel_low", channel.0).into_pyobject(py),
        Event::ChannelClosed {
            channel, reason, ..
        } => ("channel_closed", channel.0, reason.as_str()).into_pyobject(py),
        Event::Done { request, result } => {
            let failure = result.err();
            let kind = failure.as_ref().map(|failure| failure.kind());
            let why = failure.as_ref().map(ToString::to_string);
            ("done", request.0, kind, why).into_pyobject(py)
        }
        Event::Stats { request, stats, .. } => {
            ("stats", request.0, transport_stats(py, &stats)?).into_pyobject(py)
        }
        Event::Overflow { shard, lost } => ("overflow", shard, lost).into_pyobject(py),
        Event::Ended { shard } => ("ended", shard).into_pyobject(py),
        Event::InternalError { shard, transport } => {
            ("internal_error", shard, transport.map(|id| id.0)).into_pyobject(py)
        }
    }
}

fn media(py: Python<'_>, event: MediaEvent) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        MediaEvent::FirstPacket {
            producer,
            layer,
            codec,
            at,
        } => ("first_packet", producer.0, layer, codec, ago_s(at)).into_pyobject(py),
        MediaEvent::FirstForwarded { consumer, at } => {
            ("first_forwarded", consumer.0, ago_s(at)).into_pyobject(py)
        }
        MediaEvent::LayerActive {
            producer,
            layer,
            at,
        } => ("layer_active", producer.0, layer, ago_s(at)).into_pyobject(py),
        MediaEvent::LayerInactive {
            producer,
            layer,
            last_packet,
            at,
        } => (
            "layer_inactive",
            producer.0,
            layer,
            ago_s(at),
            ago_s(last_packet),
        )
            .into_pyobject(py),
        MediaEvent::ProducerPaused { producer, reason } => {
            ("producer_paused", producer.0, reason.as_str()).into_pyobject(py)
        }
        MediaEvent::ProducerResumed { producer } => {
            ("producer_resumed", producer.0).into_pyobject(py)
        }
        MediaEvent::ConsumerPaused { consumer, reason } => {
            ("consumer_paused", consumer.0, reason.as_str()).into_pyobject(py)
        }
        MediaEvent::ConsumerResumed { consumer } => {
            ("consumer_resumed", consumer.0).into_pyobject(py)
        }
        MediaEvent::ConsumerLayer { consumer, layer } => {
            ("consumer_layer", consumer.0, layer).into_pyobject(py)
        }
        MediaEvent::LayerDemand { producer, layers } => {
            ("layer_demand", producer.0, layers).into_pyobject(py)
        }
    }
}

/// An `Instant` has no number of its own, so a time crosses as its age.
fn ago_s(at: Instant) -> f64 {
    at.elapsed().as_secs_f64()
}

fn transport_stats<'py>(py: Python<'py>, stats: &TransportStats) -> PyResult<Bound<'py, PyDict>> {
    let producers = PyList::empty(py);
    for producer in &stats.media.producers {
        producers.append(producer_stats(py, producer)?)?;
    }
    let consumers = PyList::empty(py);
    for consumer in &stats.media.consumers {
        consumers.append(consumer_stats(py, consumer)?)?;
    }
    let values = PyDict::new(py);
    values.set_item("phase", stats.state.as_str())?;
    values.set_item("remote", stats.remote.map(|remote| remote.to_string()))?;
    values.set_item("srtp_profile", stats.srtp_profile)?;
    values.set_item("packets_in", stats.packets_in)?;
    values.set_item("bytes_in", stats.bytes_in)?;
    values.set_item("packets_out", stats.packets_out)?;
    values.set_item("bytes_out", stats.bytes_out)?;
    values.set_item("sctp_rtt_ms", stats.sctp_rtt.map(ms))?;
    values.set_item("channels", stats.channels)?;
    values.set_item("remb_bps", stats.media.remb_bps)?;
    values.set_item("rtt_ms", stats.media.rtt_ms)?;
    values.set_item("producers", producers)?;
    values.set_item("consumers", consumers)?;
    Ok(values)
}

fn producer_stats<'py>(py: Python<'py>, stats: &ProducerStats) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    values.set_item("id", stats.id.0)?;
    values.set_item("mid", stats.mid.as_str())?;
    values.set_item("packets", stats.packets)?;
    values.set_item("bytes", stats.bytes)?;
    values.set_item("lost", stats.lost)?;
    values.set_item("repaired", stats.repaired)?;
    values.set_item("nacks_sent", stats.nacks_sent)?;
    values.set_item("plis_sent", stats.plis_sent)?;
    values.set_item("keyframes", stats.keyframes)?;
    values.set_item("jitter_ms", stats.jitter_ms)?;
    Ok(values)
}

fn consumer_stats<'py>(py: Python<'py>, stats: &ConsumerStats) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    values.set_item("id", stats.id.0)?;
    values.set_item("mid", stats.mid.as_str())?;
    values.set_item("packets", stats.packets)?;
    values.set_item("bytes", stats.bytes)?;
    values.set_item("retransmitted", stats.retransmitted)?;
    values.set_item("nacks_received", stats.nacks_received)?;
    values.set_item("plis_received", stats.plis_received)?;
    values.set_item("lost", stats.lost)?;
    values.set_item("fraction_lost", stats.fraction_lost)?;
    values.set_item("rtt_ms", stats.rtt_ms)?;
    Ok(values)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
