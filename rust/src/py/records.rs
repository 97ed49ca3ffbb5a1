//! `Records` and `Choice`: what became of the last requests of a worker. Converts and delegates.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::numbers::Count;
use crate::engine::{self, KEPT};
use crate::units::Nanos;

/// The records of one worker.
#[pyclass(frozen, name = "Records", module = "dispatch._core")]
pub(super) struct PyRecords(pub(super) Arc<engine::Records>);

#[pymethods]
impl PyRecords {
    #[new]
    #[pyo3(signature = (prefix, /))]
    fn new(prefix: &str) -> Self {
        Self(Arc::new(engine::Records::new(prefix)))
    }

    fn begin(&self) -> u64 {
        self.0.begin()
    }

    #[getter]
    fn begun(&self) -> u64 {
        self.0.begun()
    }

    #[pyo3(signature = (number, is_noted, /))]
    fn lines<'py>(&self, py: Python<'py>, number: Count, is_noted: bool) -> Bound<'py, PyBytes> {
        lines(py, |out| self.0.write_lines(number.0, is_noted, out))
    }

    #[pyo3(signature = (number, given, /))]
    fn named(&self, number: Count, given: &[u8]) {
        self.0.named(number.0, given);
    }

    #[pyo3(signature = (number, outcome, now_ns, error, /))]
    fn failed(&self, number: Count, outcome: u8, now_ns: Count, error: &str) {
        self.0.failed(number.0, outcome, Nanos(now_ns.0), error.as_bytes());
    }

    #[pyo3(signature = (number, score, /))]
    fn judged(&self, number: Count, score: u32) -> bool {
        self.0.judged(number.0, score)
    }

    #[pyo3(signature = (number, /))]
    fn find<'py>(&self, py: Python<'py>, number: Count) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.0.find(number.0).map(|found| shown(py, &found)).transpose()
    }

    #[pyo3(signature = (number, /))]
    fn choices(&self, number: Count) -> (Vec<PyChoice>, bool) {
        let (choices, is_all) = self.0.choices(number.0);
        (choices.into_iter().map(PyChoice).collect(), is_all)
    }
}

/// Header lines as `bytes`.
pub(super) fn lines(py: Python<'_>, write: impl FnOnce(&mut Vec<u8>)) -> Bound<'_, PyBytes> {
    let mut out = Vec::with_capacity(128);
    write(&mut out);
    PyBytes::new(py, &out)
}

fn shown<'py>(py: Python<'py>, found: &engine::Request) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("model", found.model)?;
    dict.set_item("key", found.key)?;
    dict.set_item("received_ns", found.received.0)?;
    dict.set_item("admitted_ns", found.admitted.0)?;
    dict.set_item("ended_ns", found.ended.0)?;
    dict.set_item("overhead_ns", found.overhead.0)?;
    dict.set_item("outcome", found.outcome)?;
    dict.set_item("refused", found.refused)?;
    dict.set_item("score", found.score)?;
    dict.set_item("error", PyBytes::new(py, &found.error))?;
    dict.set_item("given", PyBytes::new(py, &found.given))?;
    Ok(dict)
}

/// One choice of a pool for a request.
#[pyclass(frozen, name = "Choice", module = "dispatch._core")]
pub(super) struct PyChoice(pub(super) engine::Choice);

#[pymethods]
impl PyChoice {
    #[getter]
    const fn tag(&self) -> u32 {
        self.0.tag
    }

    #[getter]
    const fn position(&self) -> Option<u16> {
        self.0.at
    }

    #[getter]
    const fn refused(&self) -> &'static str {
        self.0.refused
    }

    #[getter]
    const fn outcome(&self) -> Option<u8> {
        self.0.outcome
    }

    #[getter]
    const fn draw(&self) -> u64 {
        self.0.wish.draw
    }

    #[getter]
    const fn is_soft(&self) -> bool {
        self.0.is_soft
    }

    #[getter]
    const fn is_retry(&self) -> bool {
        self.0.is_retry
    }

    #[getter]
    const fn taken_ns(&self) -> u64 {
        self.0.wish.now.0
    }

    #[getter]
    const fn ended_ns(&self) -> u64 {
        self.0.ended.0
    }

    #[getter]
    const fn used(&self) -> (u32, u32, u32) {
        (self.0.used.input, self.0.used.output, self.0.used.cached)
    }
}

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("RECORDS_KEPT", KEPT)?;
    module.add_class::<PyRecords>()?;
    module.add_class::<PyChoice>()
}
