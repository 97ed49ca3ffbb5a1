//! What of a piece of a stream goes out, copied only where it must be.

use crate::json::Span;

/// Collects what goes out. Bytes that follow each other in the input stay a range of it until they cannot.
#[derive(Debug, Default)]
pub struct Out {
    /// What was copied.
    pub copied: Vec<u8>,
    /// What follows it, in the current input.
    pub run: Span,
}

impl Out {
    /// Takes `span` of `input`.
    #[inline]
    pub(super) fn keep(&mut self, input: &[u8], span: Span) {
        if span.start == self.run.end && !self.run.is_empty() {
            self.run.end = span.end;
        } else {
            self.settle(input);
            self.run = span;
        }
    }

    /// Copies the run, because other bytes follow or its input goes.
    pub fn settle(&mut self, input: &[u8]) {
        self.copied.extend_from_slice(self.run.of(input));
        self.run = Span::default();
    }
}
