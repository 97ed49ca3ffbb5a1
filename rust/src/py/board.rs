//! The board: `Board`. Converts and delegates.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use super::state;
use super::tables::SizesIn;
use crate::board::Board;
use crate::health::check;
use crate::units::Nanos;

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

    #[pyo3(signature = (fds, /))]
    #[expect(clippy::needless_pass_by_value, reason = "read from a Python list")]
    fn hang_bells(&self, fds: Vec<i32>) -> PyResult<()> {
        self.0.hang_bells(&fds).map_err(io_error)
    }

    #[pyo3(signature = (worker, /))]
    fn reclaim(&self, worker: usize) {
        self.0.reclaim(worker);
    }

    #[pyo3(signature = (slot, passed, /))]
    fn count_check(&self, slot: usize, passed: bool) -> PyResult<()> {
        state::check(slot, self.0.sizes().endpoints)?;
        check::count(self.0.endpoint(slot), passed);
        Ok(())
    }

    #[pyo3(signature = (slot, issued, /))]
    fn count_renewal(&self, slot: usize, issued: bool) -> PyResult<()> {
        state::check(slot, self.0.sizes().endpoints)?;
        self.0.endpoint(slot).renewals()[usize::from(!issued)].fetch_add(1, Relaxed);
        Ok(())
    }

    #[pyo3(signature = (endpoint, model, key, outcome, cost_pico, /))]
    fn book(&self, endpoint: usize, model: usize, key: Option<usize>, outcome: usize, cost_pico: u64) -> PyResult<()> {
        let sizes = self.0.sizes();
        state::check(endpoint, sizes.endpoints)?;
        state::check(model, sizes.models)?;
        key.map_or(Ok(()), |slot| state::check(slot, sizes.keys))?;
        if self.0.book(endpoint, model, key, outcome, cost_pico) {
            Ok(())
        } else {
            Err(PyValueError::new_err(format!("no outcome {outcome}")))
        }
    }

    #[pyo3(signature = (slot, place, count, /))]
    fn leave_out(&self, slot: usize, place: usize, count: u64) -> PyResult<()> {
        state::check(slot, self.0.sizes().endpoints)?;
        if self.0.leave_out(slot, place, count) {
            Ok(())
        } else {
            Err(PyIndexError::new_err(format!("no place {place}")))
        }
    }

    #[pyo3(signature = (slot, time_ms, now_ns, /))]
    fn lose(&self, slot: usize, time_ms: u32, now_ns: u64) -> PyResult<()> {
        state::check(slot, self.0.sizes().endpoints)?;
        check::lose(self.0.endpoint(slot), time_ms, Nanos(now_ns));
        Ok(())
    }

    #[pyo3(signature = (slot, now_ns, /))]
    fn find(&self, slot: usize, now_ns: u64) -> PyResult<()> {
        state::check(slot, self.0.sizes().endpoints)?;
        check::find(self.0.endpoint(slot), Nanos(now_ns));
        Ok(())
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

    #[pyo3(signature = (slot, /))]
    fn pool(&self, slot: usize) -> PyResult<state::PoolState> {
        state::pool(&self.0, slot)
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

/// `OSError` with its number for what the system refuses, `ValueError` for what is no board.
fn io_error(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(_) => error.into(),
        None => PyValueError::new_err(error.to_string()),
    }
}

/// Adds the class.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyBoard>()
}
