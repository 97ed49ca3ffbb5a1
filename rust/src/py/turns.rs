//! The queue of a model, as one worker sees it: `Turns`. Converts and delegates.

use pyo3::prelude::*;

use super::numbers::Count;
use crate::engine::{FLOWS, Head, Turns};
use crate::units::Nanos;

#[pyclass(frozen, name = "Turns", module = "dispatch._core")]
pub(super) struct PyTurns(pub(super) Turns);

#[pymethods]
impl PyTurns {
    #[pyo3(signature = (flow, /))]
    fn join(&self, flow: usize) {
        self.0.join(flow);
    }

    fn leave(&self) {
        self.0.leave();
    }

    #[pyo3(signature = (flow, /))]
    fn start(&self, flow: usize) -> u64 {
        self.0.start(flow)
    }

    #[pyo3(signature = (flow, since_ns, alone, /))]
    fn show(&self, flow: usize, since_ns: Count, alone: bool) {
        self.0.show(Some(Head { flow, since: Nanos(since_ns.0), alone }));
    }

    fn hide(&self) {
        self.0.show(None);
    }

    #[pyo3(signature = (flow, tokens, weight, waited_ns, /))]
    fn serve(&self, flow: usize, tokens: Count, weight: u32, waited_ns: Count) {
        self.0.serve(flow, tokens.0, weight, Nanos(waited_ns.0));
    }

    #[pyo3(signature = (more, /))]
    fn block(&self, more: i32) {
        self.0.block(more);
    }

    #[getter]
    fn is_next(&self) -> bool {
        self.0.is_next()
    }

    fn ring(&self) {
        self.0.ring();
    }

    fn take_ring(&self) -> bool {
        self.0.take_ring()
    }

    #[getter]
    fn depth(&self) -> u64 {
        self.0.depth()
    }

    #[getter]
    fn served(&self) -> u64 {
        self.0.served()
    }
}

/// Adds the class and its constant to the module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyTurns>()?;
    module.add("FLOWS", FLOWS)
}
