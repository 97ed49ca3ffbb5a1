//! `Vectors`: dense vectors, and those nearest to one.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::vectors;

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Vectors>()
}

#[pyclass(frozen, module = "dispatch._core")]
struct Vectors {
    inner: vectors::Vectors,
}

#[pymethods]
impl Vectors {
    #[new]
    #[pyo3(signature = (rows, dims, /))]
    fn new(rows: &[u8], dims: usize) -> PyResult<Self> {
        let made = vectors::Vectors::new(rows, dims);
        made.map(|inner| Self { inner })
            .ok_or_else(|| PyValueError::new_err(format!("{} bytes are no rows of {dims} floats", rows.len())))
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    #[pyo3(signature = (query, most, /))]
    fn nearest(&self, py: Python<'_>, query: &[u8], most: usize) -> PyResult<Vec<(usize, f32)>> {
        let found = py.detach(|| self.inner.nearest(query, most));
        found.ok_or_else(|| PyValueError::new_err("the query has another size than the rows"))
    }
}
