//! The engine's handle.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parley_sfu::spec::GroupId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::channel::Channel;
use crate::convert;
use crate::error::{bad_value, raised};
use crate::event;
use crate::transport::Transport;

#[pyclass(frozen, module = "parley._native")]
pub struct Engine {
    inner: Arc<parley_sfu::Engine>,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config = convert::config(config)?;
        // Making a certificate and binding the socket may wait.
        let inner = py
            .detach(|| parley_sfu::Engine::start(config))
            .map_err(raised)?;
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    #[getter]
    fn local_address(&self) -> (String, u16) {
        let address = self.inner.local_addr();
        (address.ip().to_string(), address.port())
    }

    fn fileno(&self) -> RawFd {
        self.inner.fd()
    }

    #[pyo3(signature = (limit = 512))]
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let mut events = Vec::new();
        self.inner.drain(limit, &mut events);
        events
            .into_iter()
            .map(|event| event::tuple(py, event))
            .collect()
    }

    #[pyo3(signature = (commands = 1))]
    fn has_room(&self, commands: usize) -> bool {
        self.inner.has_room(commands)
    }

    #[pyo3(signature = (*, group, lite = true))]
    fn create_transport(&self, group: u64, lite: bool) -> PyResult<Transport> {
        let group = GroupId(group);
        let made = match lite {
            true => self.inner.create_transport(group),
            false => self.inner.create_full_transport(group),
        }
        .map_err(raised)?;
        Ok(Transport::new(self.inner.clone(), made))
    }

    #[pyo3(signature = (channels, data, *, text = false))]
    fn broadcast(
        &self,
        channels: Vec<PyRef<'_, Channel>>,
        data: &[u8],
        text: bool,
    ) -> PyResult<usize> {
        let channels: Vec<parley_sfu::Channel> =
            channels.iter().map(|c| c.inner().clone()).collect();
        self.inner
            .broadcast(&channels, Bytes::copy_from_slice(data), text)
            .map_err(raised)
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = PyDict::new(py);
        for (name, value) in self.inner.counters() {
            counters.set_item(name, value)?;
        }
        Ok(counters)
    }

    #[pyo3(signature = (timeout_s = 2.0))]
    fn close(&self, py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .map_err(|_| bad_value("timeout_s", &format!("{timeout_s} is no duration")))?;
        Ok(py.detach(|| self.inner.close(timeout)))
    }
}
