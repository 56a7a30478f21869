//! One data channel's handle.

use bytes::Bytes;
use parley_sfu::command::{ChannelOptions, Hear};
use pyo3::prelude::*;

use crate::convert;
use crate::error::{bad_value, raised};

#[pyclass(frozen, module = "parley._native")]
pub struct Channel {
    inner: parley_sfu::Channel,
    options: ChannelOptions,
}

impl Channel {
    pub fn new(inner: parley_sfu::Channel, options: ChannelOptions) -> Self {
        Channel { inner, options }
    }

    pub fn inner(&self) -> &parley_sfu::Channel {
        &self.inner
    }
}

#[pymethods]
impl Channel {
    #[getter]
    fn id(&self) -> u64 {
        self.inner.id().0
    }

    #[getter]
    fn label(&self) -> &str {
        &self.options.label
    }

    #[getter]
    fn protocol(&self) -> &str {
        &self.options.protocol
    }

    #[getter]
    fn ordered(&self) -> bool {
        self.options.ordered
    }

    #[getter]
    fn max_retransmits(&self) -> Option<u16> {
        self.options.max_retransmits
    }

    #[getter]
    fn max_lifetime_ms(&self) -> Option<u16> {
        self.options.max_lifetime_ms
    }

    #[getter]
    fn stream(&self) -> Option<u16> {
        self.options.stream
    }

    #[getter]
    fn buffered(&self) -> usize {
        self.inner.buffered()
    }

    #[pyo3(signature = (*, once = false))]
    fn listen(&self, once: bool) {
        self.inner.listen(if once { Hear::One } else { Hear::Each });
    }

    fn ignore(&self) {
        self.inner.listen(Hear::Nothing);
    }

    fn link(&self, to: &Channel) -> PyResult<()> {
        self.inner.link(&to.inner).map_err(raised)
    }

    fn unlink(&self, to: &Channel) -> PyResult<()> {
        self.inner.unlink(&to.inner).map_err(raised)
    }

    #[pyo3(signature = (data, *, text = false))]
    fn send(&self, data: &[u8], text: bool) -> PyResult<bool> {
        self.inner
            .send(Bytes::copy_from_slice(data), text)
            .map_err(raised)
    }

    fn set_limit(&self, limit_bytes: usize, on_full: &Bound<'_, PyAny>) -> PyResult<()> {
        if limit_bytes == 0 {
            return Err(bad_value("limit_bytes", "0 is not above 0"));
        }
        self.inner
            .set_limit(limit_bytes, convert::on_full(on_full)?);
        Ok(())
    }

    fn close(&self) -> PyResult<()> {
        self.inner.close().map_err(raised)
    }
}
