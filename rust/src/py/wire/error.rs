//! `ProtocolError` and `BodyError`: what a peer got wrong, with what to answer.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::http1::Fault;
use crate::json;

/// A message that breaks HTTP, or our limits.
#[pyclass(extends = PyException, frozen, get_all, module = "dispatch._core")]
pub(super) struct ProtocolError {
    status: u16,
    code: String,
    message: String,
}

#[pymethods]
impl ProtocolError {
    #[new]
    const fn new(status: u16, code: String, message: String) -> Self {
        Self { status, code, message }
    }

    fn __str__(&self) -> &str {
        &self.message
    }
}

impl From<Fault> for PyErr {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self::new::<ProtocolError, _>((fault.status, fault.code, fault.message))
    }
}

/// A request's body that is refused with status 400.
#[pyclass(extends = PyException, frozen, get_all, module = "dispatch._core")]
pub(super) struct BodyError {
    code: String,
    message: String,
    param: Option<String>,
}

#[pymethods]
impl BodyError {
    #[new]
    const fn new(code: String, message: String, param: Option<String>) -> Self {
        Self { code, message, param }
    }

    fn __str__(&self) -> &str {
        &self.message
    }
}

impl From<json::BodyError> for PyErr {
    #[cold]
    fn from(error: json::BodyError) -> Self {
        Self::new::<BodyError, _>((error.code, error.message, error.param))
    }
}
