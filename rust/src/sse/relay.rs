//! A stream from one HTTP message into another: the upstream's framing comes off, the client's goes on.
//!
//! When nothing changes, and both sides use chunks, and the input is exactly one of them, the output *is* the input.

use super::dialect::{Dialect, Framing};
use super::frames::Frames;
use super::out::Out;
use super::stream::{Stream, state};
use crate::http1::body::Decoder;
use crate::json::Span;

/// The last chunk of a message.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What one call gives out.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// Nothing.
    Nothing,
    /// The input, byte for byte.
    Same,
    /// These bytes.
    Frame(Frame<'a>),
}

/// Bytes with their framing.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    size_line: [u8; 18],
    size_length: usize,
    body: &'a [u8],
    after: &'static [u8],
}

impl<'a> Frame<'a> {
    /// Size line, payload, and what ends the chunk and perhaps the message.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.size_line[..self.size_length], self.body, self.after]
    }

    /// Length of all pieces.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.size_length + self.body.len() + self.after.len()
    }

    const fn plain(body: &'a [u8]) -> Self {
        Self { size_line: [0; 18], size_length: 0, body, after: b"" }
    }

    fn chunk(body: &'a [u8], is_last: bool) -> Self {
        if body.is_empty() {
            return Self { after: LAST_CHUNK, ..Self::plain(body) };
        }
        let (size_line, size_length) = size_line(body.len());
        Self { size_line, size_length, body, after: if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" } }
    }
}

/// `length` in hexadecimal digits, and a line end.
fn size_line(length: usize) -> ([u8; 18], usize) {
    let mut line = [0; 18];
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1) as usize;
    for (place, byte) in line[..digits].iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[length >> (4 * (digits - 1 - place)) & 15];
    }
    line[digits] = b'\r';
    line[digits + 1] = b'\n';
    (line, digits + 2)
}

/// Takes a piece of a stream of frames; what they hold are whole events.
fn unframe(frames: &mut Frames, piece: &[u8], stream: &mut Stream, out: &mut Out) {
    let mut text = Vec::new();
    let read = frames.push(piece, &mut text);
    stream.push(&text, out);
    out.settle(&text);
    if read.is_err() {
        stream.state |= state::BAD_FRAMING;
    }
}

/// One stream between two connections.
#[derive(Debug)]
pub struct Relay {
    decoder: Decoder,
    /// Of a stream whose events come in frames.
    frames: Option<Box<Frames>>,
    /// What is known of the stream.
    pub stream: Stream,
    chunked: bool,
    out: Out,
    /// Whether `out` was handed to the caller already.
    is_given: bool,
    is_dirty: bool,
}

impl Relay {
    /// A relay before the first byte of the body. `chunked`: that the client's message is in chunks.
    #[must_use]
    pub fn new(decoder: Decoder, inject: bool, chunked: bool, dialect: &'static Dialect) -> Self {
        let stream = Stream::new(inject, dialect);
        let frames = (dialect.framing == Framing::Frames).then(Box::default);
        Self { decoder, frames, stream, chunked, out: Out::default(), is_given: false, is_dirty: false }
    }

    /// Whether the upstream's message has ended by its own rules.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        // What follows a broken frame is not read, and it may stand anywhere in the last piece.
        self.decoder.is_done() && self.stream.state & state::BAD_FRAMING == 0
    }

    /// Whether bytes came after it.
    #[must_use]
    pub const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Takes a piece of input; returns what may go to the client now.
    pub fn forward<'a>(&'a mut self, data: &'a [u8]) -> Output<'a> {
        self.clear_given();
        let was_at_size = self.decoder.is_at_size();
        let (mut at, mut last) = (0, Span::default());
        let mut pieces = 0;
        while let Some(piece) = self.next_piece(data, &mut at) {
            self.out.settle(last.of(data));
            last = piece;
            pieces += 1;
            match &mut self.frames {
                None => self.stream.push(piece.of(data), &mut self.out),
                Some(frames) => unframe(frames, piece.of(data), &mut self.stream, &mut self.out),
            }
        }
        if self.is_over() && self.stream.state & state::ENDED == 0 {
            self.out.settle(last.of(data));
            self.stream.end(&mut self.out);
            self.stream.state |= state::ENDED;
        }
        self.is_dirty |= self.is_over() && at < data.len();
        let is_last = self.closes();
        let is_whole =
            pieces == 1 && self.out.copied.is_empty() && self.out.run == (Span { start: 0, end: last.len() });
        if is_whole && !is_last && self.is_same_framing(data, last, was_at_size) {
            self.is_given = true;
            return Output::Same;
        }
        self.output(last.of(data), is_last)
    }

    /// The connection ended. What was held in the middle of an event waits for [`Self::finish`].
    pub fn on_end(&mut self) {
        self.clear_given();
        if self.decoder.is_done() || self.stream.state & state::BAD_FRAMING != 0 {
            return;
        }
        if self.decoder.on_end() {
            self.stream.end(&mut self.out);
            self.stream.state |= state::ENDED;
        } else {
            self.stream.state |= state::BAD_FRAMING;
        }
    }

    /// Gives out the comments that are held, and from now on each as it comes.
    pub fn release(&mut self) -> Output<'_> {
        self.clear_given();
        self.stream.release(&mut self.out);
        self.output(b"", false)
    }

    /// Gives out everything that is held, and ends the client's message if the stream is complete.
    pub fn finish(&mut self) -> Output<'_> {
        self.clear_given();
        self.stream.commit(&mut self.out);
        self.stream.is_closing |= self.stream.is_complete();
        let is_last = self.closes();
        self.output(b"", is_last)
    }

    fn clear_given(&mut self) {
        if std::mem::take(&mut self.is_given) {
            self.out.copied.clear();
            self.out.run = Span::default();
        }
    }

    fn next_piece(&mut self, data: &[u8], at: &mut usize) -> Option<Span> {
        if self.stream.state & state::BAD_FRAMING != 0 {
            return None;
        }
        let Ok(piece) = self.decoder.next(data, at) else {
            self.stream.state |= state::BAD_FRAMING;
            return None;
        };
        piece.map(|piece| Span { start: piece.start, end: piece.end })
    }

    /// Whether the client's message ends with this call's output; says so once.
    fn closes(&mut self) -> bool {
        let stream = &mut self.stream;
        let is_over = stream.is_closing || stream.state & state::ENDED != 0;
        if !is_over
            || !stream.is_complete()
            || stream.state & state::COMMITTED == 0
            || stream.state & state::CLOSED != 0
        {
            return false;
        }
        stream.state |= state::CLOSED;
        true
    }

    /// Whether `data` frames the piece as we would.
    fn is_same_framing(&self, data: &[u8], piece: Span, was_at_size: bool) -> bool {
        if !self.chunked {
            return piece.len() == data.len();
        }
        let (before, after) = (&data[..piece.start], &data[piece.end..]);
        was_at_size
            && after == b"\r\n"
            && before.strip_suffix(b"\r\n").is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }

    fn output<'a>(&'a mut self, piece: &'a [u8], is_last: bool) -> Output<'a> {
        self.is_given = true;
        if !self.out.copied.is_empty() {
            self.out.settle(piece);
        }
        let body = if self.out.copied.is_empty() { self.out.run.of(piece) } else { &self.out.copied };
        if !self.chunked {
            return if body.is_empty() { Output::Nothing } else { Output::Frame(Frame::plain(body)) };
        }
        if body.is_empty() && !is_last { Output::Nothing } else { Output::Frame(Frame::chunk(body, is_last)) }
    }
}
