//! `ResponseReader` and `Answer`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::{decimal, joined, limits};
use crate::http1::Names;
use crate::http1::response as http1;
use crate::json::{self, Usage};
use crate::limit::Use;
use crate::sse::{
    ANTHROPIC, CHAT, COHERE, CONVERSE, Dialect, FRAMED, FRAMED_ANTHROPIC, MEDIA, OLLAMA, Output, RAW, RESPONSES,
};

/// Input, output, cached and reasoning tokens.
type Tokens = (u64, u64, u64, u64);

const fn tokens(usage: Usage) -> Tokens {
    (usage.input, usage.output, usage.cached, usage.reasoning)
}

/// Answers of one upstream connection.
#[pyclass(module = "dispatch._core")]
pub(super) struct ResponseReader {
    inner: http1::ResponseReader<PyBackedBytes>,
    forward: Arc<Names>,
}

#[pymethods]
impl ResponseReader {
    #[new]
    fn new(max_head_bytes: usize, max_fields: usize, max_answer_bytes: usize, forward: Vec<Vec<u8>>) -> PyResult<Self> {
        Ok(Self {
            inner: http1::ResponseReader::new(limits(max_head_bytes, max_fields)?, max_answer_bytes),
            forward: Arc::new(Names::new(forward)),
        })
    }

    fn expect(&mut self) {
        self.inner.expect();
    }

    #[pyo3(signature = (data, /))]
    fn feed(&mut self, data: PyBackedBytes) -> PyResult<Option<Answer>> {
        let mut answer = self.inner.feed(data)?;
        if let Some(whole) = &mut answer {
            whole.flags |= self.inner.verdict(whole);
        }
        Ok(answer.map(|inner| Answer { inner, forward: self.forward.clone() }))
    }

    fn eof(&mut self) -> PyResult<Option<Answer>> {
        let answer = self.inner.eof()?;
        Ok(answer.map(|inner| Answer { inner, forward: self.forward.clone() }))
    }

    #[getter]
    fn has_bytes(&self) -> bool {
        self.inner.has_bytes()
    }

    #[getter]
    fn is_reusable(&self) -> bool {
        self.inner.is_reusable()
    }

    #[getter]
    fn keep_alive_s(&self) -> i64 {
        self.inner.keep_alive_s().map_or(-1, i64::from)
    }

    #[pyo3(signature = (inject, chunked, dialect, /))]
    fn start_stream(&mut self, inject: bool, chunked: bool, dialect: u8) -> PyResult<()> {
        self.inner.start_stream(inject, chunked, named(dialect)?);
        Ok(())
    }

    #[pyo3(signature = (data, /))]
    fn forward<'py>(&mut self, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        let py = data.py();
        let kept = self.inner.take_kept();
        let Some(relay) = self.inner.relay_mut() else { return Ok(PyBytes::new(py, b"")) };
        if kept.is_empty() {
            return given(py, &relay.forward(data.as_bytes()), Some(data));
        }
        let all = [&kept, data.as_bytes()].concat();
        given(py, &relay.forward(&all), Some(&PyBytes::new(py, &all)))
    }

    fn release<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let relay = self.inner.relay_mut();
        given(py, &relay.map_or(Output::Nothing, |relay| relay.release()), None)
    }

    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let relay = self.inner.relay_mut();
        given(py, &relay.map_or(Output::Nothing, |relay| relay.finish()), None)
    }

    #[getter]
    fn state(&self) -> u32 {
        self.inner.relay().map_or(0, |relay| relay.stream.state)
    }

    #[getter]
    fn usage(&self) -> Tokens {
        tokens(self.inner.relay().map(|relay| relay.stream.usage).unwrap_or_default())
    }

    #[getter]
    fn deltas(&self) -> u64 {
        self.inner.relay().map_or(0, |relay| relay.stream.deltas)
    }

    #[getter]
    fn text(&self) -> u64 {
        self.inner.relay().map_or(0, |relay| relay.stream.text)
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.inner.relay().map_or(0, |relay| relay.stream.dropped)
    }

    #[getter]
    fn error_event(&self) -> &[u8] {
        self.inner.relay().map_or(b"", |relay| &relay.stream.error_event)
    }
}

/// The dialect of this number in `dispatch.wire.sse`.
pub(super) fn named(dialect: u8) -> PyResult<&'static Dialect> {
    match dialect {
        0 => Ok(&CHAT),
        1 => Ok(&RESPONSES),
        2 => Ok(&ANTHROPIC),
        3 => Ok(&RAW),
        4 => Ok(&OLLAMA),
        5 => Ok(&COHERE),
        6 => Ok(&CONVERSE),
        7 => Ok(&FRAMED_ANTHROPIC),
        8 => Ok(&MEDIA),
        9 => Ok(&FRAMED),
        other => Err(pyo3::exceptions::PyValueError::new_err(format!("no dialect has the number {other}"))),
    }
}

/// The output as `bytes`: the very input where nothing changed.
fn given<'py>(
    py: Python<'py>,
    output: &Output<'_>,
    data: Option<&Bound<'py, PyBytes>>,
) -> PyResult<Bound<'py, PyBytes>> {
    match (output, data) {
        (Output::Same, Some(data)) => Ok(data.clone()),
        (Output::Nothing | Output::Same, _) => Ok(PyBytes::new(py, b"")),
        (Output::Frame(frame), _) => joined(py, &frame.pieces()),
    }
}

/// One answer.
#[pyclass(frozen, module = "dispatch._core")]
pub(in crate::py) struct Answer {
    inner: http1::Answer<PyBackedBytes>,
    forward: Arc<Names>,
}

impl Answer {
    /// What it says that it cost.
    pub(in crate::py) fn used(&self) -> Use {
        let narrow = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        self.inner.usage.map_or_else(Use::default, |usage| Use {
            input: narrow(usage.input),
            output: narrow(usage.output),
            cached: narrow(usage.cached),
        })
    }

    /// The whole answer for a client.
    pub(in crate::py) fn composed<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        write_more: impl FnOnce(&mut Vec<u8>),
        overhead_us: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut lines = Vec::with_capacity(640);
        let message = &self.inner.message;
        lines.extend_from_slice(head);
        message.head.write_lines(message.store.as_ref(), &self.forward, &mut lines);
        write_more(&mut lines);
        lines.extend_from_slice(b"x-dispatch-overhead-us: ");
        let (digits, first) = decimal(overhead_us);
        lines.extend_from_slice(&digits[first..]);
        lines.extend_from_slice(b"\r\ncontent-length: ");
        let (digits, first) = decimal(message.body().len());
        lines.extend_from_slice(&digits[first..]);
        lines.extend_from_slice(b"\r\n\r\n");
        joined(py, &[&lines, message.body()])
    }
}

#[pymethods]
impl Answer {
    #[getter]
    const fn status(&self) -> u16 {
        self.inner.status
    }

    #[getter]
    const fn flags(&self) -> u32 {
        self.inner.flags
    }

    #[getter]
    const fn is_stream(&self) -> bool {
        self.inner.flags & http1::flag::STREAM != 0
    }

    #[getter]
    fn head<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut lines = Vec::with_capacity(256);
        let message = &self.inner.message;
        message.head.write_lines(message.store.as_ref(), &self.forward, &mut lines);
        PyBytes::new(py, &lines)
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.message.body())
    }

    #[getter]
    fn usage(&self) -> Option<Tokens> {
        self.inner.usage.map(tokens)
    }

    #[pyo3(signature = (name, /))]
    fn header<'py>(&self, py: Python<'py>, name: &[u8]) -> Option<Bound<'py, PyBytes>> {
        self.inner.message.header(name).map(|value| PyBytes::new(py, value))
    }

    #[pyo3(signature = (head, extra, overhead_us, /))]
    fn compose<'py>(
        &self,
        py: Python<'py>,
        head: &[u8],
        extra: &[u8],
        overhead_us: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.composed(py, head, |lines| lines.extend_from_slice(extra), overhead_us)
    }
}

/// Whether a body is JSON, and what it says that it cost: for bodies that had to be decoded first.
#[pyfunction]
#[pyo3(signature = (body, /))]
pub(super) fn read_answer(body: &[u8]) -> (bool, Option<Tokens>) {
    json::read_answer(body).map_or((false, None), |usage| (true, usage.map(tokens)))
}
