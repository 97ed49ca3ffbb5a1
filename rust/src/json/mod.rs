//! JSON without a tree: one pass that validates everything and remembers where a few things stand.
//!
//! A passthrough needs `model`, `stream` and some sizes of a request, and `usage` of an answer; the rest must be known to
//! be JSON (RFC 8259, UTF-8, at most [`MAX_DEPTH`] containers deep, nothing after it) and then travels untouched.
//! A tree would cost an allocation per value; a pull cursor costs none.
//!
//! - [`cursor`]: the validator that the readers below pull from;
//! - [`scan`]: what routing reads of a request, with `weigh` for its text and [`splice`] for the changed copy;
//! - [`usage`]: what accounting reads of an answer.

pub mod cursor;
pub mod scan;
mod specials;
pub mod splice;
#[cfg(test)]
mod tests;
mod text;
pub mod usage;
mod weigh;

pub use cursor::{Cursor, MAX_DEPTH};
pub use scan::{BodyError, Scan, flag};
pub use text::{Text, affinity};
pub use usage::{Usage, read_answer, read_whole};

/// A range of bytes of the text under the cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes of `text` that it names.
    #[must_use]
    pub fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start..self.end]
    }

    /// How many bytes it names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it names none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Offset of the byte at fault.
    pub at: usize,
    /// What is wrong there, as the end of a sentence.
    pub what: &'static str,
}
