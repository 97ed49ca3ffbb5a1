//! `RequestReader` and `Inbound`.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use sha2::{Digest, Sha256};

use super::scan::Scan;
use super::{joined, limits};
use crate::http1::Names;
use crate::http1::request::{self as http1, Arrival, Request, flag};

/// Requests of one client connection.
#[pyclass(module = "dispatch._core")]
pub(super) struct RequestReader {
    inner: http1::RequestReader,
    forward: Arc<Names>,
    /// The request whose body is not whole.
    unfinished: Option<Py<Inbound>>,
}

#[pymethods]
impl RequestReader {
    #[new]
    fn new(max_head_bytes: usize, max_fields: usize, max_body_bytes: usize, forward: Vec<Vec<u8>>) -> PyResult<Self> {
        Ok(Self {
            inner: http1::RequestReader::new(limits(max_head_bytes, max_fields)?, max_body_bytes),
            forward: Arc::new(Names::new(forward)),
            unfinished: None,
        })
    }

    #[pyo3(signature = (data, /))]
    fn feed(&mut self, py: Python<'_>, data: PyBackedBytes) -> PyResult<Option<Py<Inbound>>> {
        let arrival = self.inner.feed(data)?;
        self.hand_out(py, arrival)
    }

    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Py<Inbound>>> {
        let arrival = self.inner.advance()?;
        self.hand_out(py, arrival)
    }

    #[getter]
    fn pending(&self) -> usize {
        self.inner.pending()
    }
}

impl RequestReader {
    fn hand_out(&mut self, py: Python<'_>, arrival: Option<Arrival<PyBackedBytes>>) -> PyResult<Option<Py<Inbound>>> {
        match arrival {
            None => Ok(None),
            Some(Arrival::Body(body)) => {
                let inbound = self.unfinished.take();
                if let Some(inbound) = &inbound {
                    inbound.get().complete(py, body)?;
                }
                Ok(inbound)
            }
            Some(Arrival::Request(request)) => {
                let is_whole = request.flags & flag::COMPLETE != 0;
                let inbound =
                    Inbound { request, forward: self.forward.clone(), late: OnceLock::new(), pieces: OnceLock::new() };
                let inbound = Py::new(py, inbound)?;
                self.unfinished = (!is_whole).then(|| inbound.clone_ref(py));
                Ok(Some(inbound))
            }
        }
    }
}

/// One request.
#[pyclass(frozen, module = "dispatch._core")]
pub(in crate::py) struct Inbound {
    pub(in crate::py) request: Request<PyBackedBytes>,
    forward: Arc<Names>,
    /// The body, where it came after the head was handed out.
    late: OnceLock<Vec<u8>>,
    /// The same, where it is large: then `late` is empty.
    pieces: OnceLock<Py<PyList>>,
}

impl Inbound {
    /// Takes the body that came after the head. The reader hands out one per request; a second would be ignored here.
    fn complete(&self, py: Python<'_>, mut body: Vec<Vec<u8>>) -> PyResult<()> {
        if body.len() > 1 {
            // Each goes when it was copied: there is never more than one twice.
            let pieces = PyList::new(py, body.into_iter().map(|piece| PyBytes::new(py, &piece)))?;
            let _ = self.pieces.set(pieces.unbind());
            body = Vec::new();
        }
        let _ = self.late.set(body.pop().unwrap_or_default());
        Ok(())
    }

    /// The fields to copy upstream, as lines.
    pub(super) fn forward_lines(&self) -> Vec<u8> {
        self.request.lines(&self.forward)
    }

    /// The flags as they are now.
    pub(in crate::py) fn all_flags(&self) -> u32 {
        let late = if self.late.get().is_some() { flag::COMPLETE } else { 0 };
        self.request.flags | late
    }

    /// The body as far as it is whole.
    pub(super) fn body_bytes(&self) -> &[u8] {
        self.late.get().map_or_else(|| self.request.message.body(), Vec::as_slice)
    }
}

#[pymethods]
impl Inbound {
    #[getter]
    fn line<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (method, path) = self.request.line();
        joined(py, &[method, b" ", path])
    }

    #[getter]
    fn query(&self) -> &[u8] {
        self.request.query()
    }

    #[getter]
    fn minor(&self) -> u8 {
        self.request.message.head.minor
    }

    #[getter]
    fn flags(&self) -> u32 {
        self.all_flags()
    }

    #[getter]
    fn is_complete(&self) -> bool {
        self.flags() & flag::COMPLETE != 0
    }

    #[getter]
    fn forward<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.forward_lines())
    }

    #[pyo3(signature = (name, /))]
    fn header<'py>(&self, py: Python<'py>, name: &[u8]) -> Option<Bound<'py, PyBytes>> {
        self.request.message.header(name).map(|value| PyBytes::new(py, value))
    }

    fn key_digest<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.dispatch_key().map(|key| PyBytes::new(py, &Sha256::digest(&key)))
    }

    fn credential<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.request.credential().map(|key| PyBytes::new(py, &key))
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.body_bytes())
    }

    fn pieces<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.pieces.get().map_or_else(|| PyList::new(py, [self.body(py)]), |pieces| Ok(pieces.bind(py).clone()))
    }

    #[getter]
    fn content_length(&self) -> i64 {
        self.request.length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX))
    }

    fn scan(slf: &Bound<'_, Self>) -> PyResult<Scan> {
        Scan::of_request(slf)
    }
}
