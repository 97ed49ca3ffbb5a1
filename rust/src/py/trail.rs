//! `Trail`: how a pool's choice was made.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::engine::{Facts, Told, Trail};

/// Adds the class of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyTrail>()
}

#[pyclass(frozen, name = "Trail", module = "dispatch._core")]
pub(super) struct PyTrail(pub(super) Trail);

#[pymethods]
impl PyTrail {
    #[getter]
    fn held(&self) -> Vec<(usize, &'static str)> {
        self.0.held.clone()
    }

    #[getter]
    fn is_soft(&self) -> bool {
        self.0.is_soft
    }

    #[getter]
    fn picks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Some((picks, _)) = self.0.told() else { return Ok(None) };
        let picks = picks.iter().map(|told| shown(py, told)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, picks).map(Some)
    }

    fn replays(&self) -> Option<bool> {
        self.0.replays()
    }
}

fn shown<'py>(py: Python<'py>, told: &Told) -> PyResult<Bound<'py, PyDict>> {
    let pick = PyDict::new(py);
    pick.set_item("chosen", told.chosen)?;
    pick.set_item("taken", told.is_taken)?;
    pick.set_item("home", told.home.map(|home| (home.at, home.tokens, home.age_s)))?;
    pick.set_item("turns", &told.turns)?;
    let seen = PyDict::new(py);
    for (at, facts) in &told.seen {
        seen.set_item(at, known(py, facts)?)?;
    }
    pick.set_item("seen", seen)?;
    Ok(pick)
}

/// Only what was read: what is absent had no part in the choice.
fn known<'py>(py: Python<'py>, facts: &Facts) -> PyResult<Bound<'py, PyDict>> {
    let Facts { is_eligible, held, in_flight, prefill_tokens, decode_tokens, latency_s, pace_s, owed_s, is_stale } =
        facts;
    let dict = PyDict::new(py);
    set(&dict, "is_eligible", *is_eligible)?;
    set(&dict, "held", *held)?;
    set(&dict, "in_flight", *in_flight)?;
    set(&dict, "prefill_tokens", *prefill_tokens)?;
    set(&dict, "decode_tokens", *decode_tokens)?;
    set(&dict, "latency_s", *latency_s)?;
    set(&dict, "pace_s", *pace_s)?;
    set(&dict, "owed_s", *owed_s)?;
    set(&dict, "is_stale", *is_stale)?;
    Ok(dict)
}

fn set<'py>(dict: &Bound<'py, PyDict>, name: &str, value: Option<impl IntoPyObject<'py>>) -> PyResult<()> {
    value.map_or(Ok(()), |value| dict.set_item(name, value))
}
