//! One transport's handle.

use std::sync::{Arc, Mutex, PoisonError};

use parley_sfu::command::{Change, ChannelOptions};
use pyo3::prelude::*;

use crate::channel::Channel;
use crate::convert;
use crate::error::raised;
use crate::media::{Consumer, Producer};

#[pyclass(frozen, module = "parley._native")]
pub struct Transport {
    engine: Arc<parley_sfu::Engine>,
    made: parley_sfu::Transport,
    /// The ufrag and pwd of the latest generation.
    credentials: Mutex<(String, String)>,
}

impl Transport {
    pub fn new(engine: Arc<parley_sfu::Engine>, made: parley_sfu::Transport) -> Self {
        let credentials = Mutex::new((made.ufrag.clone(), made.pwd.clone()));
        Transport {
            engine,
            made,
            credentials,
        }
    }

    fn credentials(&self) -> (String, String) {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[pymethods]
impl Transport {
    #[getter]
    fn id(&self) -> u64 {
        self.made.id.0
    }

    #[getter]
    fn ufrag(&self) -> String {
        self.credentials().0
    }

    #[getter]
    fn pwd(&self) -> String {
        self.credentials().1
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        &self.made.fingerprint
    }

    #[getter]
    fn candidates(&self) -> Vec<String> {
        self.made.candidates.to_vec()
    }

    #[pyo3(signature = (*, remote = None, end = None, recv = None, send = None, data = None))]
    fn apply(
        &self,
        remote: Option<&Bound<'_, PyAny>>,
        end: Option<&Bound<'_, PyAny>>,
        recv: Option<&Bound<'_, PyAny>>,
        send: Option<&Bound<'_, PyAny>>,
        data: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Applied> {
        let change = Change {
            remote: remote.map(convert::remote_transport).transpose()?,
            end: end.map(convert::ended).transpose()?.unwrap_or_default(),
            recv: recv
                .map(convert::recv_specs)
                .transpose()?
                .unwrap_or_default(),
            send: send
                .map(convert::send_specs)
                .transpose()?
                .unwrap_or_default(),
            data: data.map(convert::data_spec).transpose()?,
        };
        let applied = self.engine.apply(self.made.id, change).map_err(raised)?;
        Ok(Applied {
            engine: self.engine.clone(),
            applied,
        })
    }

    fn add_remote_candidate(&self, candidate: &str) -> PyResult<u64> {
        self.engine
            .add_remote_candidate(self.made.id, candidate)
            .map(|request| request.0)
            .map_err(raised)
    }

    fn restart_ice(&self) -> PyResult<(String, String)> {
        let fresh = self.engine.restart_ice(self.made.id).map_err(raised)?;
        let mut slot = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slot.clone_from(&fresh);
        Ok(fresh)
    }

    #[pyo3(signature = (*, max_in_bps = None))]
    fn set_bitrate(&self, max_in_bps: Option<u64>) -> PyResult<u64> {
        self.engine
            .set_bitrate(self.made.id, max_in_bps)
            .map(|request| request.0)
            .map_err(raised)
    }

    #[pyo3(signature = (label, *, id = None, negotiated = false, ordered = true,
                        max_retransmits = None, max_lifetime_ms = None, protocol = String::new()))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of RTCDataChannelInit"
    )]
    fn open_channel(
        &self,
        label: String,
        id: Option<u16>,
        negotiated: bool,
        ordered: bool,
        max_retransmits: Option<u16>,
        max_lifetime_ms: Option<u16>,
        protocol: String,
    ) -> PyResult<Channel> {
        let options = ChannelOptions {
            label,
            protocol,
            stream: id,
            negotiated,
            ordered,
            max_retransmits,
            max_lifetime_ms,
        };
        let channel = self
            .engine
            .open_channel(self.made.id, options.clone())
            .map_err(raised)?;
        Ok(Channel::new(channel, options))
    }

    fn stats(&self) -> PyResult<u64> {
        self.engine
            .stats(self.made.id)
            .map(|request| request.0)
            .map_err(raised)
    }

    fn close(&self) -> PyResult<()> {
        self.engine.close_transport(self.made.id).map_err(raised)
    }
}

/// What an `apply` made, before its answer.
#[pyclass(frozen, module = "parley._native")]
pub struct Applied {
    engine: Arc<parley_sfu::Engine>,
    applied: parley_sfu::command::Applied,
}

#[pymethods]
impl Applied {
    #[getter]
    fn request(&self) -> u64 {
        self.applied.request.0
    }

    #[getter]
    fn producers(&self) -> Vec<Producer> {
        let made = self.applied.producers.iter();
        made.map(|(_, id)| Producer::new(self.engine.clone(), *id))
            .collect()
    }

    #[getter]
    fn consumers(&self) -> Vec<Consumer> {
        let made = self.applied.consumers.iter();
        made.map(|(_, id)| Consumer::new(self.engine.clone(), *id))
            .collect()
    }
}
