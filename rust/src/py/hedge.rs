//! `Hedges`: second sends of a pool, within their shares. Converts and delegates.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::numbers::{Count, Mask, estimate};
use super::routing::{PyPool, chosen, wish};
use crate::engine::{self, HEDGES, Wish};

/// The hedges of one pool.
#[pyclass(frozen, name = "Hedges", module = "dispatch._core")]
struct PyHedges(Arc<engine::Pool>);

#[pymethods]
impl PyHedges {
    #[new]
    #[pyo3(signature = (pool, /))]
    fn new(pool: &PyPool) -> Self {
        Self(Arc::clone(&pool.0))
    }

    #[pyo3(signature = (tried, tokens_in, tokens_out, now_ns, draw, hash, request=Count(0), /))]
    #[expect(clippy::too_many_arguments, reason = "the face of `Pool.acquire`, for which it stands in")]
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
        chosen(py, self.0.acquire_calm(&Wish { request: request.0, ..wish }))
    }

    #[pyo3(signature = (millionths, cost, /))]
    fn earn(&self, millionths: Count, cost: Count) {
        self.0.hedge_earn(millionths.0, cost.0);
    }

    #[pyo3(signature = (cost, /))]
    fn spend(&self, cost: Count) -> bool {
        self.0.hedge_spend(cost.0)
    }

    #[pyo3(signature = (cost, /))]
    fn give_back(&self, cost: Count) {
        self.0.hedge_return(cost.0);
    }

    #[pyo3(signature = (outcome, /))]
    fn count(&self, outcome: usize) -> PyResult<()> {
        if outcome >= HEDGES.len() {
            return Err(PyValueError::new_err(format!("no outcome {outcome}")));
        }
        self.0.hedge_count(outcome);
        Ok(())
    }
}

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyHedges>()?;
    module.add("HEDGES", HEDGES.to_vec())
}
