//! `Scan`, and the hash that ties requests together.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::request::Inbound;
use super::{decimal, joined};
use crate::json;

/// Whoever keeps the body alive.
enum Body {
    Request(Py<Inbound>),
    Bytes(PyBackedBytes),
    /// Another body under the fields of a request.
    Changed(Py<Inbound>, PyBackedBytes),
}

/// A name for one execution of one body: a changed body may not claim it.
const EXECUTION: &[u8] = b"idempotency-key:";

/// What was read of a body.
#[pyclass(frozen, module = "dispatch._core")]
pub(in crate::py) struct Scan {
    pub(in crate::py) inner: json::Scan,
    body: Body,
}

impl Scan {
    /// Scans the body of a request, without a copy of it.
    pub(in crate::py) fn of_request(request: &Bound<'_, Inbound>) -> PyResult<Self> {
        let inner = json::Scan::new(request.get().body_bytes())?;
        Ok(Self { inner, body: Body::Request(request.clone().unbind()) })
    }

    /// The whole request for the upstream.
    pub(in crate::py) fn composed<'py>(
        &self,
        py: Python<'py>,
        prefix: &[u8],
        model: &[u8],
        inject_usage: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let body = self.bytes();
        let lines = self.lines();
        let forward = &*lines;
        let splice = self.inner.splice(model, inject_usage);
        let (digits, first) = decimal(splice.length(body.len()));
        let [before, edit, between, other, after] = splice.pieces(body);
        let length = [b"content-length: ", &digits[first..], b"\r\n\r\n"];
        joined(py, &[prefix, forward, length[0], length[1], length[2], before, edit, between, other, after])
    }

    /// The client's fields to pass on. A body without a request has its type alone.
    fn lines(&self) -> Cow<'static, [u8]> {
        match &self.body {
            Body::Request(request) => Cow::Owned(request.get().forward_lines()),
            Body::Bytes(_) => Cow::Borrowed(b"content-type: application/json\r\n"),
            Body::Changed(request, _) => Cow::Owned(without_execution(&request.get().forward_lines())),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Request(request) => request.get().body_bytes(),
            Body::Bytes(bytes) | Body::Changed(_, bytes) => bytes,
        }
    }
}

#[pymethods]
impl Scan {
    #[new]
    #[pyo3(signature = (body, /))]
    fn new(body: PyBackedBytes) -> PyResult<Self> {
        let inner = json::Scan::new(&body)?;
        Ok(Self { inner, body: Body::Bytes(body) })
    }

    #[getter]
    fn model(&self) -> &str {
        &self.inner.model
    }

    #[getter]
    const fn stream(&self) -> bool {
        self.inner.stream
    }

    #[getter]
    const fn flags(&self) -> u32 {
        self.inner.flags
    }

    #[getter]
    const fn text_bytes(&self) -> u64 {
        self.inner.text_bytes
    }

    #[getter]
    const fn max_tokens(&self) -> u64 {
        self.inner.max_tokens
    }

    #[getter]
    const fn n(&self) -> u64 {
        self.inner.n
    }

    #[getter]
    const fn affinity(&self) -> u64 {
        self.inner.affinity
    }

    #[getter]
    fn facts(&self) -> (&str, bool, u32, u64, u64, u64, u64) {
        let scan = &self.inner;
        (&scan.model, scan.stream, scan.flags, scan.text_bytes, scan.max_tokens, scan.n, scan.affinity)
    }

    #[pyo3(signature = (prefix, model, inject_usage, /))]
    fn compose<'py>(
        &self,
        py: Python<'py>,
        prefix: &[u8],
        model: &[u8],
        inject_usage: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.composed(py, prefix, model, inject_usage)
    }

    #[pyo3(signature = (body, /))]
    fn rewritten(&self, py: Python<'_>, body: PyBackedBytes) -> PyResult<Self> {
        let inner = json::Scan::new(&body)?;
        let body = match &self.body {
            Body::Request(request) | Body::Changed(request, _) => Body::Changed(request.clone_ref(py), body),
            Body::Bytes(_) => Body::Bytes(body),
        };
        Ok(Self { inner, body })
    }

    #[pyo3(signature = (model, inject_usage, /))]
    fn body<'py>(&self, py: Python<'py>, model: &[u8], inject_usage: bool) -> PyResult<Bound<'py, PyBytes>> {
        joined(py, &self.inner.splice(model, inject_usage).pieces(self.bytes()))
    }
}

/// Header lines but those that name an execution.
fn without_execution(lines: &[u8]) -> Vec<u8> {
    let is_other = |line: &&[u8]| !line.get(..EXECUTION.len()).is_some_and(|name| name.eq_ignore_ascii_case(EXECUTION));
    lines.split_inclusive(|&byte| byte == b'\n').filter(is_other).flatten().copied().collect()
}

/// The hash by which requests of one user or session find the same endpoint; 0 for an empty value, which is none.
#[pyfunction]
#[pyo3(signature = (value, /))]
pub(super) fn affinity(value: &[u8]) -> u64 {
    if value.is_empty() { 0 } else { json::affinity(value) }
}
