//! The routing classes: `Board`, `Engine`, `Pool`, `Lease`, `Ticket`, `Refusal`. Converts and delegates.
//!
//! Hot calls take positional integers and make one object. All classes are frozen: what changes in them are atomics.

use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::state;
use super::tables::{SizesIn, TablesIn};
use crate::board::Board;
use crate::engine::{self, Ending, Outcome, Wish};
use crate::error::TableError;
use crate::health::Failure;
use crate::limit::Use;
use crate::units::Nanos;

import_exception!(dispatch.errors, ConfigError);

/// The memory that all workers share.
#[pyclass(frozen, name = "Board", module = "dispatch._core")]
pub(super) struct PyBoard(pub(super) Arc<Board>);

#[pymethods]
impl PyBoard {
    #[staticmethod]
    fn heap(sizes: SizesIn) -> PyResult<Self> {
        Board::heap(sizes.into()).map(Self::from).map_err(io_error)
    }

    #[staticmethod]
    fn create(sizes: SizesIn) -> PyResult<Self> {
        Board::create(sizes.into()).map(Self::from).map_err(io_error)
    }

    #[staticmethod]
    #[pyo3(signature = (fd, worker, /))]
    fn attach(fd: i32, worker: usize) -> PyResult<Self> {
        let board = Board::attach(fd).map_err(io_error)?;
        if worker >= board.sizes().workers as usize {
            let columns = board.sizes().workers;
            return Err(PyValueError::new_err(format!("board: worker {worker} has no column, there are {columns}")));
        }
        Ok(board.into())
    }

    #[getter]
    fn fd(&self) -> i32 {
        self.0.fd()
    }

    #[pyo3(signature = (worker, /))]
    fn reclaim(&self, worker: usize) {
        self.0.reclaim(worker);
    }

    #[pyo3(signature = (slot, /))]
    fn endpoint(&self, slot: usize) -> PyResult<state::EndpointState> {
        state::endpoint(&self.0, slot)
    }

    #[pyo3(signature = (slot, /))]
    fn key(&self, slot: usize) -> PyResult<state::KeyState> {
        state::key(&self.0, slot)
    }

    #[pyo3(signature = (slot, /))]
    fn model(&self, slot: usize) -> PyResult<state::ModelState> {
        state::model(&self.0, slot)
    }

    #[pyo3(signature = (slot, /))]
    fn pair(&self, slot: usize) -> PyResult<state::PairState> {
        state::pair(&self.0, slot)
    }

    fn overhead(&self) -> state::Histogram {
        state::overhead(&self.0)
    }

    fn __repr__(&self) -> String {
        let sizes = self.0.sizes();
        format!(
            "Board(fd={}, workers={}, endpoints={}, keys={}, models={}, pairs={}, pools={})",
            self.0.fd(),
            sizes.workers,
            sizes.endpoints,
            sizes.keys,
            sizes.models,
            sizes.pairs,
            sizes.pools
        )
    }
}

impl From<Board> for PyBoard {
    fn from(board: Board) -> Self {
        Self(Arc::new(board))
    }
}

/// The routing of one configuration.
#[pyclass(frozen, name = "Engine", module = "dispatch._core")]
pub(super) struct PyEngine(pub(super) Arc<engine::Engine>);

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (board, worker, tables, /))]
    fn new(board: &PyBoard, worker: usize, tables: TablesIn) -> PyResult<Self> {
        let tables = tables.try_into().map_err(config_error)?;
        let engine = engine::Engine::new(&board.0, worker, &tables).map_err(config_error)?;
        Ok(Self(Arc::new(engine)))
    }

    #[pyo3(signature = (index, /))]
    fn pool(&self, index: usize) -> PyResult<PyPool> {
        let pool = self.0.pool(index).ok_or_else(|| PyIndexError::new_err(format!("no pool {index}")))?;
        Ok(PyPool(Arc::clone(pool)))
    }

    #[pyo3(signature = (model, key, tokens_in, tokens_out, now_ns, /))]
    fn admit(
        &self,
        py: Python<'_>,
        model: u16,
        key: i32,
        tokens_in: Count,
        tokens_out: Count,
        now_ns: Count,
    ) -> PyResult<Py<PyAny>> {
        self.check_model(model)?;
        let key = self.check_key(key)?;
        match self.0.admit(model, key, estimate(tokens_in, tokens_out), Nanos(now_ns.0)) {
            Ok(ticket) => Ok(Py::new(py, PyTicket(ticket))?.into_any()),
            Err(refusal) => Ok(Py::new(py, PyRefusal(refusal))?.into_any()),
        }
    }

    #[pyo3(signature = (model, outcome, /))]
    fn count(&self, model: u16, outcome: usize) -> PyResult<()> {
        self.check_model(model)?;
        if outcome > engine::REFUSED {
            return Err(PyValueError::new_err(format!("no outcome {outcome}")));
        }
        self.0.count(model, outcome);
        Ok(())
    }

    #[pyo3(signature = (model, /))]
    fn enqueue(&self, model: u16) -> PyResult<()> {
        self.check_model(model)?;
        self.0.enqueue(model);
        Ok(())
    }

    #[pyo3(signature = (model, /))]
    fn dequeue(&self, model: u16) -> PyResult<()> {
        self.check_model(model)?;
        self.0.dequeue(model);
        Ok(())
    }

    #[pyo3(signature = (now_ns, /))]
    fn gauges(&self, now_ns: Count) -> Vec<state::Gauge> {
        self.0.gauges(Nanos(now_ns.0)).into_iter().map(state::Gauge::from).collect()
    }
}

impl PyEngine {
    fn check_model(&self, slot: u16) -> PyResult<()> {
        if self.0.has_model(slot) { Ok(()) } else { Err(PyIndexError::new_err(format!("no model in slot {slot}"))) }
    }

    /// The key's slot; `None` for a negative number.
    fn check_key(&self, key: i32) -> PyResult<Option<u16>> {
        if key < 0 {
            return Ok(None);
        }
        let slot = u16::try_from(key).ok().filter(|slot| self.0.has_key(*slot));
        slot.map(Some).ok_or_else(|| PyIndexError::new_err(format!("no key in slot {key}")))
    }
}

/// One pool.
#[pyclass(frozen, name = "Pool", module = "dispatch._core")]
pub(super) struct PyPool(pub(super) Arc<engine::Pool>);

#[pymethods]
impl PyPool {
    #[pyo3(signature = (tried, tokens_in, tokens_out, now_ns, draw, hash, /))]
    #[expect(clippy::too_many_arguments, reason = "the hot call: positional integers instead of an object")]
    fn acquire(
        &self,
        py: Python<'_>,
        tried: Mask,
        tokens_in: Count,
        tokens_out: Count,
        now_ns: Count,
        draw: u64,
        hash: u64,
    ) -> PyResult<Py<PyAny>> {
        let tokens = estimate(tokens_in, tokens_out);
        let wish = Wish { tried: tried.0, tokens, now: Nanos(now_ns.0), draw, hash: (hash != 0).then_some(hash) };
        match self.0.acquire(&wish) {
            Ok(lease) => Ok(Py::new(py, PyLease(lease))?.into_any()),
            Err(refusal) => Ok(Py::new(py, PyRefusal(refusal))?.into_any()),
        }
    }

    #[pyo3(signature = (now_ns, /))]
    fn retry_allowed(&self, now_ns: Count) -> bool {
        self.0.retry_allowed(Nanos(now_ns.0))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// A place on an endpoint.
#[pyclass(frozen, name = "Lease", module = "dispatch._core")]
pub(super) struct PyLease(pub(super) engine::Lease);

#[pymethods]
impl PyLease {
    #[getter]
    fn slot(&self) -> u16 {
        self.0.slot()
    }

    #[getter]
    fn position(&self) -> usize {
        self.0.position()
    }

    #[getter]
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn mark_retry(&self) {
        self.0.mark_retry();
    }

    #[pyo3(signature = (now_ns, /))]
    fn first_byte(&self, now_ns: Count) {
        self.0.first_byte(Nanos(now_ns.0));
    }

    #[pyo3(signature = (failure, now_ns, tokens_in, tokens_out, tokens_cached, cool_ms, /))]
    fn settle(
        &self,
        failure: u8,
        now_ns: Count,
        tokens_in: Count,
        tokens_out: Count,
        tokens_cached: Count,
        cool_ms: Count,
    ) -> PyResult<bool> {
        let used = Use { cached: narrow(tokens_cached), ..estimate(tokens_in, tokens_out) };
        Ok(self.0.settle(&Ending { failure: known(failure)?, now: Nanos(now_ns.0), used, cool_ms: cool_ms.0 }))
    }
}

/// A client's request, let in.
#[pyclass(frozen, name = "Ticket", module = "dispatch._core")]
pub(super) struct PyTicket(pub(super) engine::Ticket);

#[pymethods]
impl PyTicket {
    #[pyo3(signature = (outcome, now_ns, overhead_ns, tokens_in, tokens_out, tokens_cached, /))]
    fn settle(
        &self,
        outcome: u8,
        now_ns: Count,
        overhead_ns: Count,
        tokens_in: Count,
        tokens_out: Count,
        tokens_cached: Count,
    ) -> PyResult<bool> {
        let used = Use { cached: narrow(tokens_cached), ..estimate(tokens_in, tokens_out) };
        let (now, overhead) = (Nanos(now_ns.0), Nanos(overhead_ns.0));
        Ok(self.0.settle(&Outcome { failure: known(outcome)?, now, overhead, used }))
    }
}

/// Not now.
#[pyclass(frozen, name = "Refusal", module = "dispatch._core")]
pub(super) struct PyRefusal(pub(super) engine::Refusal);

#[pymethods]
impl PyRefusal {
    #[getter]
    fn retry_after_ns(&self) -> i64 {
        self.0.retry_after.map_or(-1, |wait| i64::try_from(wait).unwrap_or(i64::MAX))
    }

    #[getter]
    fn why<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::intern(py, self.0.why)
    }

    fn __repr__(&self) -> String {
        format!("Refusal(why={:?}, retry_after_ns={})", self.0.why, self.retry_after_ns())
    }
}

fn known(number: u8) -> PyResult<Failure> {
    Failure::from_number(number).ok_or_else(|| PyValueError::new_err(format!("no failure {number}")))
}

fn estimate(tokens_in: Count, tokens_out: Count) -> Use {
    Use { input: narrow(tokens_in), output: narrow(tokens_out), cached: 0 }
}

/// Nobody has four billion tokens; who claims to have more has four billion.
fn narrow(tokens: Count) -> u32 {
    u32::try_from(tokens.0).unwrap_or(u32::MAX)
}

/// A number from 0 to `i64::MAX`. The interpreter reads a signed word in a third of the time of an unsigned one.
#[derive(Clone, Copy)]
struct Count(u64);

impl FromPyObject<'_, '_> for Count {
    type Error = PyErr;

    fn extract(number: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let signed: i64 = number.extract()?;
        u64::try_from(signed).map(Self).map_err(|_| PyOverflowError::new_err("a count is not negative"))
    }
}

/// A set of positions: 128 bits, of which nearly always the low ones are enough.
#[derive(Clone, Copy)]
struct Mask(u128);

impl FromPyObject<'_, '_> for Mask {
    type Error = PyErr;

    fn extract(bits: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        bits.extract::<Count>().map(|low| Self(low.0.into())).or_else(|_| bits.extract().map(Self))
    }
}

fn config_error(error: TableError) -> PyErr {
    ConfigError::new_err((error.path, error.reason))
}

/// `OSError` with its number for what the system refuses, `ValueError` for what is no board.
fn io_error(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(_) => error.into(),
        None => PyValueError::new_err(error.to_string()),
    }
}

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyBoard>()?;
    module.add_class::<PyEngine>()?;
    module.add_class::<PyPool>()?;
    module.add_class::<PyLease>()?;
    module.add_class::<PyTicket>()?;
    module.add_class::<PyRefusal>()
}
