//! The Python face of `parley-sfu`: queues, no decisions. Described in `src/parley/_native.pyi`.

#![deny(unsafe_code)]

mod channel;
mod convert;
mod engine;
mod error;
mod event;
mod media;
mod transport;

use pyo3::prelude::*;

/// The compiled media engine.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::channel::Channel;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::media::{Consumer, Producer};
    #[pymodule_export]
    use crate::transport::{Applied, Transport};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
