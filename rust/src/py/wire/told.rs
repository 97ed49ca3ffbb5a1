//! `Told`.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::response::named;
use crate::sse;

/// What a client has of a stream, and how another answer goes on from there.
#[pyclass(module = "dispatch._core")]
pub(super) struct Told {
    inner: sse::Told,
}

#[pymethods]
impl Told {
    #[new]
    #[pyo3(signature = (dialect, max_bytes, /))]
    fn new(dialect: u8, max_bytes: usize) -> PyResult<Self> {
        Ok(Self { inner: sse::Told::new(named(dialect)?, max_bytes) })
    }

    #[pyo3(signature = (events, /))]
    fn take<'py>(&mut self, events: &Bound<'py, PyBytes>) -> Bound<'py, PyBytes> {
        match self.inner.take(events.as_bytes()) {
            Cow::Borrowed(_) => events.clone(),
            Cow::Owned(out) => PyBytes::new(events.py(), &out),
        }
    }

    #[pyo3(signature = (tokens_in, tokens_out, /))]
    fn restart(&mut self, tokens_in: u64, tokens_out: u64) {
        self.inner.restart((tokens_in, tokens_out));
    }

    #[pyo3(signature = (sent, tokens_in, tokens_out, /))]
    fn resume(&mut self, sent: usize, tokens_in: u64, tokens_out: u64) {
        self.inner.resume(sent, (tokens_in, tokens_out));
    }

    #[getter]
    fn content(&self) -> &[u8] {
        self.inner.content()
    }

    #[getter]
    const fn deltas(&self) -> u64 {
        self.inner.deltas
    }

    #[getter]
    fn size(&self) -> usize {
        self.inner.size()
    }

    #[getter]
    const fn is_opaque(&self) -> bool {
        self.inner.is_opaque
    }

    #[getter]
    fn is_prose(&self) -> bool {
        self.inner.is_prose()
    }

    #[getter]
    fn is_aligned(&self) -> bool {
        self.inner.is_aligned()
    }

    #[getter]
    const fn has_diverged(&self) -> bool {
        self.inner.has_diverged
    }
}
