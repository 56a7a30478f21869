//! Producers and consumers: an id each, and what can be asked of it.

use std::sync::Arc;

use parley_sfu::media::MediaCommand;
use parley_sfu::spec::{ConsumerId, ProducerId};
use pyo3::prelude::*;

use crate::convert;
use crate::error::raised;

#[pyclass(frozen, module = "parley._native")]
pub struct Producer {
    engine: Arc<parley_sfu::Engine>,
    id: ProducerId,
}

impl Producer {
    pub fn new(engine: Arc<parley_sfu::Engine>, id: ProducerId) -> Self {
        Producer { engine, id }
    }

    fn ask(&self, command: MediaCommand) -> PyResult<()> {
        self.engine.media(command).map_err(raised)
    }
}

#[pymethods]
impl Producer {
    #[getter]
    fn id(&self) -> u64 {
        self.id.0
    }

    fn pause(&self) -> PyResult<()> {
        self.ask(MediaCommand::ProducerPause(self.id))
    }

    fn resume(&self) -> PyResult<()> {
        self.ask(MediaCommand::ProducerResume(self.id))
    }

    #[pyo3(signature = (layer = None))]
    fn request_keyframe(&self, layer: Option<u8>) -> PyResult<()> {
        self.ask(MediaCommand::ProducerKeyframe(self.id, layer))
    }

    fn set_policy(&self, policy: &Bound<'_, PyAny>) -> PyResult<()> {
        let policy = convert::producer_policy(policy)?;
        self.ask(MediaCommand::ProducerPolicy(self.id, policy))
    }
}

#[pyclass(frozen, module = "parley._native")]
pub struct Consumer {
    engine: Arc<parley_sfu::Engine>,
    id: ConsumerId,
}

impl Consumer {
    pub fn new(engine: Arc<parley_sfu::Engine>, id: ConsumerId) -> Self {
        Consumer { engine, id }
    }

    fn ask(&self, command: MediaCommand) -> PyResult<()> {
        self.engine.media(command).map_err(raised)
    }
}

#[pymethods]
impl Consumer {
    #[getter]
    fn id(&self) -> u64 {
        self.id.0
    }

    #[pyo3(signature = (source, policy = None))]
    fn set_source(
        &self,
        source: Option<PyRef<'_, Producer>>,
        policy: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let source = source.map(|producer| producer.id);
        let policy = policy.map(convert::layer_policy).transpose()?;
        self.ask(MediaCommand::ConsumerSource(self.id, source, policy))
    }

    fn set_policy(&self, policy: &Bound<'_, PyAny>) -> PyResult<()> {
        let policy = convert::layer_policy(policy)?;
        self.ask(MediaCommand::ConsumerPolicy(self.id, policy))
    }

    fn pause(&self) -> PyResult<()> {
        self.ask(MediaCommand::ConsumerPause(self.id))
    }

    fn resume(&self) -> PyResult<()> {
        self.ask(MediaCommand::ConsumerResume(self.id))
    }

    fn request_keyframe(&self) -> PyResult<()> {
        self.ask(MediaCommand::ConsumerKeyframe(self.id))
    }
}
