//! Framings of a body: a length, chunks, or the end of the connection.
//!
//! [`Decoder::next`] names the next piece of payload in the input instead of copying it; a stream is forwarded and a body
//! in one piece is read without a copy. Chunk sizes are read by `httparse::parse_chunk_size` from a whole line, after
//! the checks that it leaves out (it takes no digits for zero, white space after the size, and a bare LF in an extension).

use std::ops::Range;

use httparse::Status;

use super::Fault;

/// Longest line of a chunk's size with its extensions, and longest trailer section, in bytes. Nobody sends either at length.
const MAX_LINE: usize = 8 << 10;
/// Bytes of chunk extensions in one message. Each may be legal and still all of them a way to keep a parser busy (CVE-2023-39326).
const MAX_EXTENSIONS: usize = 16 << 10;
/// Fields that a trailer section may have.
const MAX_TRAILERS: usize = 32;

/// Least size of a piece of a body that is kept in pieces, in bytes.
pub const PIECE: usize = 256 << 10;

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By a number of bytes.
    Sized(u64),
    /// By the chunks' own sizes.
    Chunked,
    /// By the end of the connection.
    UntilEnd,
}

#[derive(Debug)]
enum State {
    Sized(u64),
    Size,
    Data(u64),
    /// Bytes of the line end after a chunk that were seen.
    DataEnd(u8),
    Trailers,
    UntilEnd,
    Done,
}

/// Takes the framing off a body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The beginning of a size line or of the trailers that is not whole yet.
    line: Vec<u8>,
    extensions: usize,
}

impl Decoder {
    /// At the beginning of a body.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Sized(0) => State::Done,
            Framing::Sized(length) => State::Sized(length),
            Framing::Chunked => State::Size,
            Framing::UntilEnd => State::UntilEnd,
        };
        Self { state, line: Vec::new(), extensions: 0 }
    }

    /// Whether the body is whole.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether only the end of the connection ends the body.
    #[must_use]
    pub const fn is_until_end(&self) -> bool {
        matches!(self.state, State::UntilEnd)
    }

    /// The connection ended: returns whether the body is whole now.
    pub fn on_end(&mut self) -> bool {
        if self.is_until_end() {
            self.state = State::Done;
        }
        self.is_done()
    }

    /// Whether the next byte begins a chunk's size line.
    #[must_use]
    pub fn is_at_size(&self) -> bool {
        matches!(self.state, State::Size) && self.line.is_empty()
    }

    /// The next piece of payload in `input` from `*at` on, which is moved past what was used; `None`: all used, or done.
    ///
    /// # Errors
    /// When the framing is not valid.
    #[inline]
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, Fault> {
        while *at < input.len() {
            match self.state {
                State::Sized(left) | State::Data(left) => return Ok(Some(self.take(left, input, at))),
                State::Size => self.size(input, at)?,
                State::DataEnd(seen) => self.data_end(seen, input[*at], at)?,
                State::Trailers => self.trailers(input, at)?,
                State::UntilEnd => {
                    let all = *at..input.len();
                    *at = input.len();
                    return Ok(Some(all));
                }
                State::Done => return Ok(None),
            }
        }
        Ok(None)
    }

    fn take(&mut self, left: u64, input: &[u8], at: &mut usize) -> Range<usize> {
        let there = (input.len() - *at) as u64;
        let piece = *at..*at + usize::try_from(left.min(there)).unwrap_or(input.len() - *at);
        *at = piece.end;
        let left = left - piece.len() as u64;
        self.state = match (&self.state, left) {
            (State::Data(_), 0) => State::DataEnd(0),
            (State::Data(_), _) => State::Data(left),
            (_, 0) => State::Done,
            (_, _) => State::Sized(left),
        };
        piece
    }

    fn data_end(&mut self, seen: u8, byte: u8, at: &mut usize) -> Result<(), Fault> {
        if byte != [b'\r', b'\n'][usize::from(seen)] {
            return Err(Fault::bad("a chunk is longer than its size"));
        }
        *at += 1;
        self.state = if seen == 0 { State::DataEnd(1) } else { State::Size };
        Ok(())
    }

    /// The rest of a line from `*at`, with its `LF`; `None` after keeping what is there of it.
    fn line<'a>(&mut self, input: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, Fault> {
        let rest = &input[*at..];
        let newline = memchr::memchr(b'\n', rest);
        let piece = &rest[..newline.map_or(rest.len(), |offset| offset + 1)];
        if self.line.len() + piece.len() > MAX_LINE {
            return Err(Fault::bad("a line of the chunk framing is too long"));
        }
        *at += piece.len();
        if newline.is_some() {
            return Ok(Some(piece));
        }
        self.line.extend_from_slice(piece);
        Ok(None)
    }

    fn size(&mut self, input: &[u8], at: &mut usize) -> Result<(), Fault> {
        let Some(piece) = self.line(input, at)? else {
            return check_size_so_far(&self.line);
        };
        let (size, extension) = if self.line.is_empty() {
            chunk_size(piece)?
        } else {
            self.line.extend_from_slice(piece);
            chunk_size(&std::mem::take(&mut self.line))?
        };
        self.extensions += extension;
        if self.extensions > MAX_EXTENSIONS {
            return Err(Fault::bad("the chunk extensions are too long"));
        }
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(())
    }

    /// Reads the trailers up to their empty line, and forgets them.
    fn trailers(&mut self, input: &[u8], at: &mut usize) -> Result<(), Fault> {
        let Some(piece) = self.line(input, at)? else { return Ok(()) };
        let line_start = memchr::memrchr(b'\n', &self.line).map_or(0, |newline| newline + 1);
        self.line.extend_from_slice(piece);
        let line = &self.line[line_start..];
        if !line.ends_with(b"\r\n") {
            return Err(Fault::bad("a trailer ends in a bare LF"));
        }
        if line.len() == 2 {
            let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
            if httparse::parse_headers(&self.line, &mut fields).is_err() {
                return Err(Fault::bad("the trailers are not valid"));
            }
            self.line = Vec::new();
            self.state = State::Done;
        }
        Ok(())
    }
}

/// The size that a whole size line names, and the length of its extensions.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), Fault> {
    let bad = Fault::bad("a chunk size is not valid");
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // 16 digits would still fit, but their sum with an offset would not.
    if digits == 0 || digits > 15 || !matches!(line[digits], b'\r' | b';') {
        return Err(bad);
    }
    let extension = &line[digits..line.len() - 2];
    if extension.iter().any(|&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
        return Err(bad);
    }
    match httparse::parse_chunk_size(line) {
        Ok(Status::Complete((end, size))) if end == line.len() => Ok((size, extension.len())),
        _ => Err(bad),
    }
}

/// Refuses at once what no later byte can turn into a size line.
fn check_size_so_far(line: &[u8]) -> Result<(), Fault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match &line[digits..] {
        _ if digits > 15 => Err(Fault::bad("a chunk size is not valid")),
        [] => Ok(()),
        [b'\r'] | [b';', ..] if digits > 0 => Ok(()),
        _ => Err(Fault::bad("a chunk size is not valid")),
    }
}

/// A body that is being put together.
#[derive(Debug)]
pub struct Collector {
    /// The framing.
    pub decoder: Decoder,
    /// The payload so far, or the last piece of it.
    pub body: Vec<u8>,
    /// What came before `body`, where a large payload is kept in pieces.
    pieces: Vec<Vec<u8>>,
    in_pieces: bool,
    most: usize,
}

impl Collector {
    /// An empty body of at most `most` bytes.
    #[must_use]
    pub const fn new(framing: Framing, most: usize) -> Self {
        Self { decoder: Decoder::new(framing), body: Vec::new(), pieces: Vec::new(), in_pieces: false, most }
    }

    /// Keeps the payload in pieces of some [`PIECE`] bytes: one that is large is never copied whole.
    #[must_use]
    pub const fn in_pieces(mut self, yes: bool) -> Self {
        self.in_pieces = yes;
        self
    }

    /// Bytes of payload so far.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum::<usize>() + self.body.len()
    }

    /// Takes the payload out, one piece at least.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        let mut pieces = std::mem::take(&mut self.pieces);
        let last = std::mem::take(&mut self.body);
        if pieces.is_empty() || !last.is_empty() {
            pieces.push(last);
        }
        pieces
    }

    /// Takes what belongs to the body from `input`; returns how much that was.
    ///
    /// # Errors
    /// 413 when the body grows too large, 400 when the framing is not valid.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while let Some(piece) = self.decoder.next(input, &mut at)? {
            if self.held() + piece.len() > self.most {
                return Err(too_large());
            }
            self.body.extend_from_slice(&input[piece]);
            if self.in_pieces && self.body.len() >= PIECE {
                self.pieces.push(std::mem::take(&mut self.body));
            }
        }
        Ok(at)
    }
}

/// The fault of a body over its limit.
#[must_use]
pub const fn too_large() -> Fault {
    Fault { status: 413, code: "request_too_large", message: "the body is too large" }
}
