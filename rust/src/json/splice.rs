//! A changed copy of a request's body without encoding it again: every byte that is not changed stays as the client sent it.

use super::{Scan, Span, flag, scan::Options};

/// At most two changes, in the order of their places.
#[derive(Clone, Copy, Debug)]
pub struct Splice<'a> {
    edits: [(Span, &'a [u8]); 2],
}

impl Scan {
    /// The changes that send the request on under another model name, with the stream's usage asked for.
    ///
    /// `model` is a JSON string with its quotes, empty to leave the name; `inject_usage` merges
    /// `stream_options.include_usage` into what the client sent, which is left alone if it is true already or if
    /// no stream is asked for (providers refuse the option then).
    #[must_use]
    pub fn splice<'a>(&self, model: &'a [u8], inject_usage: bool) -> Splice<'a> {
        let name = if model.is_empty() { (Span::default(), model) } else { (self.model_at, model) };
        let usage = if inject_usage && self.stream && self.flags & flag::INCLUDE_USAGE_TRUE == 0 {
            self.usage_edit()
        } else {
            (Span::default(), &[] as &[u8])
        };
        let edits = if name.0.start <= usage.0.start { [name, usage] } else { [usage, name] };
        Splice { edits }
    }

    fn usage_edit(&self) -> (Span, &'static [u8]) {
        let at = |place| Span { start: place, end: place };
        match self.options {
            Options::Absent => (at(self.inside), br#""stream_options":{"include_usage":true},"#),
            Options::Null(span) => (span, br#"{"include_usage":true}"#),
            Options::Given { include: Some(span), .. } => (span, b"true"),
            Options::Given { inside, is_empty: true, .. } => (at(inside), br#""include_usage":true"#),
            Options::Given { inside, .. } => (at(inside), br#""include_usage":true,"#),
        }
    }
}

impl Splice<'_> {
    /// Length of the changed copy of a body of `length` bytes.
    #[must_use]
    pub fn length(&self, length: usize) -> usize {
        self.edits.iter().fold(length, |sum, (span, with)| sum + with.len() - span.len())
    }

    /// Hands the changed copy of `body` to `sink`, piece by piece.
    pub fn pieces<'b>(&'b self, body: &'b [u8]) -> [&'b [u8]; 5] {
        let [(first, with), (second, and)] = self.edits;
        [&body[..first.start], with, &body[first.end..second.start], and, &body[second.end..]]
    }
}
