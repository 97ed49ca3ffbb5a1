//! What a configuration may get wrong, as the core sees it.

use std::fmt;

/// A table that the core refuses, with the place in it and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Where, in the words of the configuration: `pools[2].weights`.
    pub path: String,
    /// What was found and what is expected.
    pub reason: String,
}

impl TableError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for TableError {}
