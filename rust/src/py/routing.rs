//! The routing classes: `Engine`, `Pool`, `Lease`, `Ticket`, `Refusal`. Converts and delegates.
//!
//! Hot calls take positional integers and make one object. All classes are frozen: what changes in them are atomics.

use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::board::PyBoard;
use super::numbers::{Asker, Count, Mask, estimate, spent};
use super::records::{PyChoice, PyRecords};
use super::state;
use super::tables::TablesIn;
use super::trail::PyTrail;
use super::turns::PyTurns;
use crate::engine::{self, Ending, Outcome, Refused, Who, Whose, Wish};
use crate::error::TableError;
use crate::health::Failure;
use crate::limit::{Told, Use};
use crate::units::Nanos;

import_exception!(dispatch.errors, ConfigError);

/// The routing of one configuration.
#[pyclass(frozen, name = "Engine", module = "dispatch._core")]
pub(super) struct PyEngine(pub(super) Arc<engine::Engine>);

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (board, worker, tables, records=None, /))]
    fn new(board: &PyBoard, worker: usize, tables: TablesIn, records: Option<&PyRecords>) -> PyResult<Self> {
        let tables = tables.try_into().map_err(config_error)?;
        let engine = match records {
            Some(records) => engine::Engine::recording(&board.0, worker, &tables, &records.0),
            None => engine::Engine::new(&board.0, worker, &tables),
        };
        let engine = engine.map_err(config_error)?;
        Ok(Self(Arc::new(engine)))
    }

    #[pyo3(signature = (index, /))]
    fn pool(&self, index: usize) -> PyResult<PyPool> {
        let pool = self.0.pool(index).ok_or_else(|| PyIndexError::new_err(format!("no pool {index}")))?;
        Ok(PyPool(Arc::clone(pool)))
    }

    #[pyo3(signature = (model, key, tokens_in, tokens_out, now_ns, request=Count(0), /))]
    #[expect(clippy::too_many_arguments, reason = "a hot call: positional integers instead of an object")]
    fn admit(
        &self,
        py: Python<'_>,
        model: u16,
        key: Asker,
        tokens_in: Count,
        tokens_out: Count,
        now_ns: Count,
        request: Count,
    ) -> PyResult<Py<PyAny>> {
        self.check_model(model)?;
        let (who, now) = (self.check_key(key)?, Nanos(now_ns.0));
        let result = self.0.admit(model, who, estimate(tokens_in, tokens_out), now);
        admitted(py, self.0.noted(request.0, model, who, now, result))
    }

    #[pyo3(signature = (model, key, tokens_in, tokens_out, now_ns, request=Count(0), /))]
    #[expect(clippy::too_many_arguments, reason = "a hot call: positional integers instead of an object")]
    fn admit_next(
        &self,
        py: Python<'_>,
        model: u16,
        key: Asker,
        tokens_in: Count,
        tokens_out: Count,
        now_ns: Count,
        request: Count,
    ) -> PyResult<Py<PyAny>> {
        self.check_model(model)?;
        let (who, now) = (self.check_key(key)?, Nanos(now_ns.0));
        let result = self.0.admit_next(model, who, estimate(tokens_in, tokens_out), now);
        admitted(py, self.0.noted(request.0, model, who, now, result))
    }

    #[pyo3(signature = (model, guess, most, usual, choices, /))]
    fn expect(&self, model: u16, guess: Count, most: Count, usual: Count, choices: Count) -> PyResult<(u32, u64)> {
        self.check_model(model)?;
        let learned = self.0.learned(model);
        Ok((learned.input(guess.0), learned.output(most.0, usual.0).saturating_mul(choices.0.max(1))))
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

    #[pyo3(signature = (model, at, /))]
    fn share(&self, model: u16, at: usize) -> PyResult<()> {
        self.check_model(model)?;
        if at >= engine::SHARED.len() {
            return Err(PyValueError::new_err(format!("no kind {at}")));
        }
        self.0.share(model, at);
        Ok(())
    }

    #[pyo3(signature = (model, key, /))]
    fn refuse(&self, model: u16, key: Asker) -> PyResult<()> {
        self.check_model(model)?;
        self.0.refuse(model, self.check_key(key)?.key);
        Ok(())
    }

    #[pyo3(signature = (model, /))]
    fn turns(&self, model: u16) -> PyResult<PyTurns> {
        self.check_model(model)?;
        Ok(PyTurns(self.0.turns(model)))
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

    /// Who asks, if the key is configured.
    fn check_key(&self, asker: Asker) -> PyResult<Who> {
        let unknown = asker.0.key.filter(|slot| !self.0.has_key(*slot));
        unknown.map_or(Ok(asker.0), |slot| Err(PyIndexError::new_err(format!("no key in slot {slot}"))))
    }
}

/// One pool.
#[pyclass(frozen, name = "Pool", module = "dispatch._core")]
pub(super) struct PyPool(pub(super) Arc<engine::Pool>);

#[pymethods]
impl PyPool {
    #[pyo3(signature = (tried, tokens_in, tokens_out, now_ns, draw, hash, request=Count(0), /))]
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
        request: Count,
    ) -> PyResult<Py<PyAny>> {
        let wish = wish(tried, estimate(tokens_in, tokens_out), now_ns, draw, hash);
        chosen(py, self.0.acquire(&Wish { request: request.0, ..wish }))
    }

    #[pyo3(signature = (tried, tokens_in, tokens_out, now_ns, draw, hash, /))]
    #[expect(clippy::too_many_arguments, reason = "as of acquire")]
    fn acquire_told(
        &self,
        py: Python<'_>,
        tried: Mask,
        tokens_in: Count,
        tokens_out: Count,
        now_ns: Count,
        draw: u64,
        hash: u64,
    ) -> PyResult<(Py<PyAny>, PyTrail)> {
        let wish = wish(tried, estimate(tokens_in, tokens_out), now_ns, draw, hash);
        let (decision, trail) = self.0.acquire_told(&wish);
        chosen(py, decision).map(|taken| (taken, PyTrail(trail)))
    }

    #[pyo3(signature = (now_ns, /))]
    fn retry_allowed(&self, now_ns: Count) -> bool {
        self.0.retry_allowed(Nanos(now_ns.0))
    }

    #[pyo3(signature = (tried, now_ns, /))]
    fn has_sound(&self, tried: Mask, now_ns: Count) -> bool {
        self.0.has_sound(tried.0, Nanos(now_ns.0))
    }

    #[pyo3(signature = (choice, /))]
    fn trail(&self, choice: &PyChoice) -> PyTrail {
        PyTrail(self.0.trail(&choice.0))
    }

    #[getter]
    fn tag(&self) -> u32 {
        self.0.tag()
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
    fn account(&self) -> u128 {
        self.0.account()
    }

    #[getter]
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn mark_retry(&self) {
        self.0.mark_retry();
    }

    #[pyo3(signature = (count, /))]
    fn drop_events(&self, count: Count) {
        self.0.drop_events(count.0);
    }

    #[pyo3(signature = (now_ns, /))]
    fn first_byte(&self, now_ns: Count) {
        self.0.first_byte(Nanos(now_ns.0));
    }

    #[pyo3(signature = (kind, remaining, limit, reset_ns, now_ns, /))]
    fn learn(&self, kind: usize, remaining: Count, limit: Count, reset_ns: Count, now_ns: Count) {
        let told = Told { kind, remaining: remaining.0, limit: limit.0, reset: Nanos(reset_ns.0) };
        self.0.learn(&told, Nanos(now_ns.0));
    }

    #[pyo3(signature = (now_ns, tokens_in, tokens_out, tokens_cached, /))]
    fn charge(&self, now_ns: Count, tokens_in: Count, tokens_out: Count, tokens_cached: Count) {
        let used = spent(tokens_in, tokens_out, tokens_cached);
        self.0.charge(used, Nanos(now_ns.0));
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
        let used = spent(tokens_in, tokens_out, tokens_cached);
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
        let used = spent(tokens_in, tokens_out, tokens_cached);
        let (now, overhead) = (Nanos(now_ns.0), Nanos(overhead_ns.0));
        Ok(self.0.settle(&Outcome { failure: known(outcome)?, now, overhead, used }))
    }

    #[pyo3(signature = (now_ns, tokens_in, tokens_out, tokens_cached, /))]
    fn charge(&self, now_ns: Count, tokens_in: Count, tokens_out: Count, tokens_cached: Count) -> Option<PyRefusal> {
        let used = spent(tokens_in, tokens_out, tokens_cached);
        self.0.charge(used, Nanos(now_ns.0)).err().map(|(refusal, whose)| PyRefusal(refusal, whose))
    }

    fn count_exactly(&self) {
        self.0.count_exactly();
    }

    #[pyo3(signature = (now_ns, /))]
    fn withdraw(&self, now_ns: Count) -> bool {
        self.0.withdraw(Nanos(now_ns.0))
    }
}

/// Not now.
#[pyclass(frozen, name = "Refusal", module = "dispatch._core")]
pub(super) struct PyRefusal(pub(super) engine::Refusal, pub(super) Whose);

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

    #[getter]
    fn whose<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        PyString::intern(py, self.1.name())
    }

    fn __repr__(&self) -> String {
        format!("Refusal(why={:?}, retry_after_ns={})", self.0.why, self.retry_after_ns())
    }
}

/// What is asked of a pool; a hash of 0 is none.
#[inline]
pub(super) fn wish(tried: Mask, tokens: Use, now_ns: Count, draw: u64, hash: u64) -> Wish {
    Wish { tried: tried.0, tokens, now: Nanos(now_ns.0), draw, hash: (hash != 0).then_some(hash), request: 0 }
}

/// A lease or a refusal.
pub(super) fn chosen(py: Python<'_>, decision: Result<engine::Lease, engine::Refusal>) -> PyResult<Py<PyAny>> {
    match decision {
        Ok(lease) => Ok(Py::new(py, PyLease(lease))?.into_any()),
        Err(refusal) => Ok(Py::new(py, PyRefusal(refusal, Whose::Pool))?.into_any()),
    }
}

fn admitted(py: Python<'_>, result: Result<engine::Ticket, Refused>) -> PyResult<Py<PyAny>> {
    match result {
        Ok(ticket) => Ok(Py::new(py, PyTicket(ticket))?.into_any()),
        Err((refusal, whose)) => Ok(Py::new(py, PyRefusal(refusal, whose))?.into_any()),
    }
}

fn known(number: u8) -> PyResult<Failure> {
    Failure::from_number(number).ok_or_else(|| PyValueError::new_err(format!("no failure {number}")))
}

fn config_error(error: TableError) -> PyErr {
    ConfigError::new_err((error.path, error.reason))
}

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyEngine>()?;
    module.add_class::<PyPool>()?;
    module.add_class::<PyLease>()?;
    module.add_class::<PyTicket>()?;
    module.add_class::<PyRefusal>()
}
