//! The engine's refusals as the exceptions that `parley.engine.errors` declares.

use parley_sfu::Error;
use pyo3::PyErr;

mod declared {
    pyo3::import_exception!(parley.engine.errors, EngineBusy);
    pyo3::import_exception!(parley.engine.errors, EngineClosed);
    pyo3::import_exception!(parley.engine.errors, EngineRefused);
    pyo3::import_exception!(parley.engine.errors, BadValue);
}

/// The exception for a refusal; nothing has changed when it is raised.
pub fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Busy { .. } => declared::EngineBusy::new_err(text),
        Error::Closed => declared::EngineClosed::new_err(text),
        Error::TooManyTransports { .. }
        | Error::TooManyInGroup { .. }
        | Error::TooManyPending { .. }
        | Error::TooManyLinks { .. }
        | Error::Start { .. } => declared::EngineRefused::new_err(text),
        Error::Config { .. } | Error::Channel { .. } => declared::BadValue::new_err(text),
    }
}

/// A value that cannot be used. `path` names it as Python code would.
pub fn bad_value(path: &str, reason: &str) -> PyErr {
    declared::BadValue::new_err(format!("{path}: {reason}"))
}
