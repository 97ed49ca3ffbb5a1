//! `Pieces` and `Merges`: two ways to cut a text into tokens.

use std::collections::HashMap;

use pyo3::prelude::*;

use crate::tokens::{self, Numbers};

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Pieces>()?;
    module.add_class::<Merges>()
}

#[pyclass(frozen, module = "dispatch._core")]
struct Pieces {
    inner: tokens::Pieces,
}

#[pymethods]
impl Pieces {
    #[new]
    #[pyo3(signature = (starts, rest, /, *, unknown, lowered, longest))]
    const fn new(
        starts: HashMap<String, u32>,
        rest: HashMap<String, u32>,
        unknown: u32,
        lowered: bool,
        longest: usize,
    ) -> Self {
        Self { inner: tokens::Pieces { starts, rest, unknown, lowered, longest } }
    }

    #[pyo3(signature = (text, /))]
    fn cut(&self, text: &str) -> Option<Vec<u32>> {
        self.inner.cut(text)
    }
}

#[pyclass(frozen, module = "dispatch._core")]
struct Merges {
    inner: tokens::Merges,
}

#[pymethods]
impl Merges {
    #[new]
    #[pyo3(signature = (chars, octets, pairs, /))]
    const fn new(chars: Numbers<char, u32>, octets: Vec<u32>, pairs: Numbers<(u32, u32), (u32, u32)>) -> Self {
        Self { inner: tokens::Merges { chars, bytes: octets, pairs } }
    }

    #[pyo3(signature = (text, /))]
    fn cut(&self, text: &str) -> Option<Vec<u32>> {
        self.inner.cut(text)
    }
}
