//! `LearnedRouter`: training, artefact and prediction.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::learn::{Predictor, Router, Table, train};

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LearnedRouter>()
}

#[pyclass(frozen, module = "dispatch._core")]
struct LearnedRouter {
    inner: Mutex<Predictor>,
}

impl LearnedRouter {
    fn with<T>(&self, read: impl FnOnce(&mut Predictor) -> T) -> T {
        // A prediction leaves nothing half done that the next one would not overwrite.
        read(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl LearnedRouter {
    #[new]
    #[pyo3(signature = (artefact, /))]
    fn new(artefact: &[u8]) -> PyResult<Self> {
        let router = Router::decode(artefact).map_err(|error| PyValueError::new_err(error.0))?;
        Ok(Self { inner: Mutex::new(Predictor::new(router)) })
    }

    #[staticmethod]
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
        let router = py.detach(|| train(&table)).map_err(|error| PyValueError::new_err(error.0))?;
        Ok(Self { inner: Mutex::new(Predictor::new(router)) })
    }

    #[getter]
    fn models(&self) -> Vec<String> {
        self.with(|predictor| predictor.router().models().to_vec())
    }

    #[getter]
    fn groups(&self) -> Vec<String> {
        self.with(|predictor| predictor.router().groups().to_vec())
    }

    #[pyo3(signature = (prompt, /))]
    fn scores(&self, prompt: &str) -> Vec<f32> {
        self.with(|predictor| predictor.scores(prompt))
    }

    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.with(|predictor| predictor.router().encode()))
    }
}
