//! Where an event ends: at an empty line, with lines ended by `CR LF`, `LF` or `CR`.
//!
//! A `CR` at the end of what is there stays undecided until the next byte, so that a cut inside `CR LF` cannot make two line
//! ends of it. The search goes on where it stopped, so that an event that comes byte by byte is still read once.

use crate::json::Span;

/// An event, or a block without one, as offsets from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Length, with the empty line.
    pub length: usize,
    /// Lines with data.
    pub data_lines: u32,
    /// Value of the first data line.
    pub data: Span,
    /// Value of the last `event` line.
    pub name: Span,
    /// Whether a line is neither data nor comment.
    pub has_other: bool,
}

/// The search within one block, offsets from its first byte.
#[derive(Debug, Default)]
pub struct Splitter {
    block: Block,
    /// Where the current line begins.
    line: usize,
    /// What was looked at.
    at: usize,
    /// Whether each line is an event.
    is_lines: bool,
}

impl Splitter {
    /// A search for lines instead of blocks: each is an event, all of it data.
    #[must_use]
    pub fn of_lines(is_lines: bool) -> Self {
        Self { is_lines, ..Self::default() }
    }

    /// The block that `bytes` begins with, once it is whole; call again with the bytes after it, or with more bytes.
    /// `is_end`: no byte will follow, so that a `CR` at the end is decided.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], is_end: bool) -> Option<Block> {
        while let Some(found) = memchr::memchr2(b'\n', b'\r', bytes.get(self.at..)?) {
            let end = self.at + found;
            let next = match (bytes[end], bytes.get(end + 1)) {
                (b'\r', Some(b'\n')) => end + 2,
                (b'\r', None) if !is_end => {
                    self.at = end;
                    return None;
                }
                _ => end + 1,
            };
            let line = Span { start: self.line, end };
            self.line = next;
            self.at = next;
            if self.is_lines {
                self.block = Block { data_lines: 1, data: line, ..Block::default() };
                return Some(self.take(next));
            }
            if line.is_empty() {
                return Some(self.take(next));
            }
            self.block.take_line(bytes, line);
        }
        self.at = bytes.len();
        None
    }

    /// The rest of the stream as a block, as if its empty line had come.
    pub fn rest(&mut self, bytes: &[u8]) -> Block {
        let line = Span { start: self.line, end: bytes.len() };
        if self.is_lines {
            self.block = Block { data_lines: 1, data: line, ..Block::default() };
        } else if !line.is_empty() {
            self.block.take_line(bytes, line);
        }
        self.take(bytes.len())
    }

    fn take(&mut self, length: usize) -> Block {
        let block = Block { length, ..self.block };
        *self = Self::of_lines(self.is_lines);
        block
    }
}

impl Block {
    fn take_line(&mut self, bytes: &[u8], line: Span) {
        let text = line.of(bytes);
        if let Some(start) = value_start(text, b"data") {
            if self.data_lines == 0 {
                self.data = Span { start: line.start + start, end: line.end };
            }
            self.data_lines += 1;
        } else if text[0] != b':' {
            self.has_other = true;
            if let Some(start) = value_start(text, b"event") {
                self.name = Span { start: line.start + start, end: line.end };
            }
        }
    }

    /// The data of an event with several data lines, joined as the standard says.
    #[must_use]
    #[cold]
    pub fn joined(&self, block: &[u8]) -> Vec<u8> {
        let mut data = Vec::with_capacity(block.len());
        for line in block.split(|&byte| byte == b'\n' || byte == b'\r') {
            if let Some(start) = value_start(line, b"data") {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend_from_slice(&line[start..]);
            }
        }
        data
    }
}

/// Where the value of a line begins, if the line is of this field: after a colon and one space.
#[inline]
fn value_start(line: &[u8], field: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(field)?;
    match rest {
        [b':', b' ', ..] => Some(field.len() + 2),
        [b':', ..] => Some(field.len() + 1),
        [] => Some(field.len()),
        _ => None,
    }
}
