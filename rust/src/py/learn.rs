//! `LearnedRouter`: training, artefact and prediction.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::learn::{Gap, Pair, Router, Sweep, Table, train};

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(resampled_gaps, module)?)?;
    module.add_function(wrap_pyfunction!(priced_points, module)?)?;
    module.add_class::<LearnedRouter>()
}

#[pyclass(frozen, module = "dispatch._core")]
pub(super) struct LearnedRouter {
    pub(super) inner: Arc<Router>,
}

#[pymethods]
impl LearnedRouter {
    #[new]
    #[pyo3(signature = (artefact, /))]
    fn new(artefact: &[u8]) -> PyResult<Self> {
        let decoded = Router::decode(artefact);
        decoded.map(|inner| Self { inner: Arc::new(inner) }).map_err(|error| PyValueError::new_err(error.0))
    }

    #[staticmethod]
    #[expect(clippy::needless_pass_by_value, reason = "as Python hands it over")]
    #[pyo3(signature = (models, prompts, scores, groups, /))]
    fn train(
        py: Python<'_>,
        models: Vec<String>,
        prompts: Vec<String>,
        scores: Vec<Vec<f32>>,
        groups: Vec<String>,
    ) -> PyResult<Self> {
        if let Some(at) = scores.iter().position(|row| row.len() != models.len()) {
            let found = scores[at].len();
            return Err(PyValueError::new_err(format!(
                "prompt {at}: found {found} scores for {} models",
                models.len()
            )));
        }
        let table = Table { models, prompts, scores: scores.concat(), groups };
        let trained = py.detach(|| train(&table));
        trained.map(|inner| Self { inner: Arc::new(inner) }).map_err(|error| PyValueError::new_err(error.0))
    }

    #[getter]
    fn models(&self) -> Vec<String> {
        self.inner.models().to_vec()
    }

    #[getter]
    fn groups(&self) -> Vec<String> {
        self.inner.groups().to_vec()
    }

    #[pyo3(signature = (prompt, /))]
    fn scores(&self, prompt: &str) -> Vec<f32> {
        self.inner.scores(prompt)
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.encode())
    }
}

#[pyfunction]
#[pyo3(signature = (weak, strong, resamples, seed, /))]
fn resampled_gaps(py: Python<'_>, weak: Vec<f64>, strong: Vec<f64>, resamples: usize, seed: u64) -> PyResult<Vec<Gap>> {
    if weak.len() != strong.len() {
        return Err(PyValueError::new_err(format!("found {} and {} scores", weak.len(), strong.len())));
    }
    Ok(py.detach(|| Pair { weak, strong }.resampled(resamples, seed)))
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "as Python hands it over")]
#[pyo3(signature = (expected, scores, costs, prices, resamples, seed, /))]
fn priced_points(
    py: Python<'_>,
    expected: Vec<Vec<f64>>,
    scores: Vec<Vec<f64>>,
    costs: Vec<f64>,
    prices: Vec<f64>,
    resamples: usize,
    seed: u64,
) -> PyResult<Vec<Vec<(f64, f64)>>> {
    let fits = |rows: &[Vec<f64>]| rows.iter().all(|row| row.len() == costs.len());
    if costs.is_empty() || expected.len() != scores.len() || !fits(&expected) || !fits(&scores) {
        return Err(PyValueError::new_err("rows of different lengths"));
    }
    let points = || Sweep::of(&expected.concat(), scores.concat(), costs, &prices).points(resamples, seed);
    Ok(py.detach(points))
}
