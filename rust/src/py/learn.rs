//! `LearnedRouter`: training, artefact and prediction.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::learn::{Router, Table, train};

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
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
