//! HTTP/1.1 messages, sans IO: bytes in, one value per message out.
//!
//! `httparse` reads the fields; what it leaves open is decided here, more strictly than by most parsers, because a proxy
//! that understands a message differently from its neighbour can be made to smuggle one (RFC 9112 11.2):
//!
//! - [`head`]: where a head ends, counted before anything is parsed; fields as ranges; allowlists of names;
//! - [`body`]: the three framings, as ranges of the input, so that a body in one piece is never copied;
//! - [`request`], [`response`]: one reader per connection; [`credential`]: who asks.
//!
//! Readers are generic over the type of the input, which is kept as it is when a message lies in one piece of it.

mod answer_facts;
pub mod body;
pub mod credential;
mod fields;
pub mod head;
pub mod request;
pub mod response;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use head::{Head, Limits, Names};

/// A message that is refused; the connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status to answer with; 0: answer nothing, just close.
    pub status: u16,
    /// The machine-readable name (CONTRACT 10).
    pub code: &'static str,
    /// What is wrong, for a person.
    pub message: &'static str,
}

impl Fault {
    /// A message that breaks the rules of HTTP.
    #[must_use]
    pub const fn bad(message: &'static str) -> Self {
        Self { status: 400, code: "invalid_request", message }
    }

    /// The same fault, found in an upstream's answer: 502 whatever it was, and only its size keeps its name.
    #[must_use]
    pub fn upstream(self) -> Self {
        let code = if self.status == 413 { "answer_too_large" } else { "upstream_error" };
        Self { status: 502, code, message: self.message }
    }
}

/// Bytes that a message lies in: the caller's own object, or ours where it came in pieces.
#[derive(Debug)]
pub enum Store<B> {
    /// One piece of input.
    Given(B),
    /// Several, put together.
    Own(Vec<u8>),
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Store<B> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes.as_ref(),
            Self::Own(bytes) => bytes,
        }
    }
}

impl<B: AsRef<[u8]>> Store<B> {
    /// A piece of input behind what was kept of those before it, which is nothing as a rule; then the piece stays as it is.
    fn after(kept: &mut Vec<u8>, data: B) -> Self {
        if kept.is_empty() {
            return Self::Given(data);
        }
        kept.extend_from_slice(data.as_ref());
        Self::Own(std::mem::take(kept))
    }

    /// The bytes from `start` on, without a copy where they are ours.
    fn into_rest(self, start: usize) -> Vec<u8> {
        match self {
            Self::Given(bytes) => bytes.as_ref()[start..].to_vec(),
            Self::Own(mut bytes) => {
                bytes.drain(..start);
                bytes
            }
        }
    }
}

/// A message with its bytes.
#[derive(Debug)]
pub struct Message<B> {
    /// What the offsets of head and body point into.
    pub store: Store<B>,
    /// The parsed head.
    pub head: Head,
    /// The body, where it lies in the store as it is.
    pub body: Range<usize>,
    /// The body, where it had to be put together.
    pub joined: Option<Vec<u8>>,
}

impl<B: AsRef<[u8]>> Message<B> {
    /// The body, empty while it is not whole.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.joined.as_deref().unwrap_or(&self.store.as_ref()[self.body.clone()])
    }

    /// The first value of the field of this lowercased name.
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.head.header(self.store.as_ref(), name)
    }
}
