//! `Pattern`: a regular expression of an operator, sought in the text of a model.
//!
//! The time is linear in the text whatever the pattern is (Cox 2007, <https://swtch.com/~rsc/regexp/regexp1.html>), unlike that of engines
//! that go back, which a text can keep busy for hours.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use regex::{Regex, RegexBuilder};

/// Largest compiled program: what a search costs for each byte of the text is bounded by it.
const MAX_BYTES: usize = 1 << 20;

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Pattern>()
}

#[pyclass(frozen, module = "dispatch._core")]
struct Pattern {
    inner: Regex,
}

#[pymethods]
impl Pattern {
    #[new]
    #[pyo3(signature = (pattern, /, *, by_line))]
    fn new(pattern: &str, by_line: bool) -> PyResult<Self> {
        let made = RegexBuilder::new(pattern).multi_line(by_line).size_limit(MAX_BYTES).build();
        made.map(|inner| Self { inner }).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[pyo3(signature = (text, /))]
    fn is_in(&self, py: Python<'_>, text: &str) -> bool {
        py.detach(|| self.inner.is_match(text))
    }
}
