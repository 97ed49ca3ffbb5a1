//! The simulation: text in, text out, without the interpreter's lock in between.

use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;

use crate::health::Failure;
use crate::simulate::retry::{Failed, Pauses, judge};
use crate::simulate::{self, record};

import_exception!(dispatch.errors, ConfigError);

#[pyfunction]
#[pyo3(name = "simulate", signature = (scenario, /))]
fn run(py: Python<'_>, scenario: &str) -> PyResult<String> {
    py.detach(|| simulate::run_json(scenario)).map_err(|error| ConfigError::new_err((error.path, error.reason)))
}

#[pyfunction]
#[pyo3(signature = (failure, attempt, committed, left_s, draw, retry_after_s, others, elsewhere, fresh, pauses, /))]
#[expect(
    clippy::too_many_arguments,
    clippy::fn_params_excessive_bools,
    reason = "the facts of an attempt, as `dispatch.policy.retry.judge` takes them"
)]
fn simulated_retry(
    failure: u8,
    attempt: u32,
    committed: bool,
    left_s: f64,
    draw: f64,
    retry_after_s: f64,
    others: bool,
    elsewhere: bool,
    fresh: bool,
    pauses: (u32, f64, f64),
) -> PyResult<Option<f64>> {
    let failure = Failure::from_number(failure).ok_or_else(|| PyValueError::new_err("no such failure"))?;
    let (attempts, base_s, cap_s) = pauses;
    let failed = Failed { failure, attempt, committed, left_s, draw, retry_after_s, others, elsewhere, fresh };
    Ok(judge(&failed, &Pauses { attempts, base_s, cap_s }))
}

/// Adds the functions of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(simulated_retry, module)?)?;
    module.add("SIMULATED_LEAST_S", record::LEAST_S)?;
    module.add("SIMULATED_GROWTH", record::GROWTH)
}
