//! AWS event streams, turned into server-sent events as they come.
//!
//! A frame is: its length, the length of its headers, the CRC-32 of these two, the headers, the payload, the CRC-32 of all before it,
//! numbers big-endian (<https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html>, smithy's `eventstream` specification).
//! Out of each comes one event with its name and, under that name, its payload: `{"messageStop":{...}}`. What the payload only wraps
//! (`chunk` of `InvokeModel`: base64) is unwrapped, and an exception becomes an `error` event, so that the readers of
//! [`super::stream`] need to know nothing of frames. A frame that is not whole is kept until it is; one that is wrong ends the stream,
//! since nothing after it can be trusted.

use std::borrow::Cow;

use super::stream::MAX_HELD;
use crate::json::Cursor;

/// Lengths, and the CRC of them.
const PRELUDE: usize = 12;
/// The CRC of all.
const TRAILER: usize = 4;

/// The fault of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

type Result<T> = std::result::Result<T, BadFrame>;

/// Reads the frames of one stream.
#[derive(Debug, Default)]
pub struct Frames {
    /// The frame that is not whole.
    tail: Vec<u8>,
}

/// What the headers of a frame say.
#[derive(Debug, Default)]
struct Headers<'a> {
    /// `event`, `exception` or `error`.
    message: &'a [u8],
    event: &'a [u8],
    exception: &'a [u8],
    code: &'a [u8],
    text: &'a [u8],
}

impl Frames {
    /// Takes a piece of the stream, and writes the events of all frames that are whole now to `text`.
    ///
    /// # Errors
    /// When a frame is wrong. Events before it are written.
    pub fn push(&mut self, piece: &[u8], text: &mut Vec<u8>) -> Result<()> {
        if self.tail.is_empty() {
            let used = frames(piece, text)?;
            self.tail.extend_from_slice(&piece[used..]);
            return Ok(());
        }
        self.tail.extend_from_slice(piece);
        let tail = std::mem::take(&mut self.tail);
        let used = frames(&tail, text)?;
        self.tail = tail;
        self.tail.drain(..used);
        Ok(())
    }
}

/// Writes the events of all whole frames that `bytes` begins with; returns the length of these frames.
fn frames(bytes: &[u8], text: &mut Vec<u8>) -> Result<usize> {
    let mut at = 0;
    while let Some(length) = length(&bytes[at..])? {
        let Some(frame) = bytes.get(at..at + length) else { break };
        write(frame, text)?;
        at += length;
    }
    Ok(at)
}

/// The length of the frame that `bytes` begins with; `None` while its prelude is not whole.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    let (length, headers) = (number(prelude, 0), number(prelude, 4));
    if crc32(&prelude[..8]) != number(prelude, 8) {
        return Err(BadFrame);
    }
    let (length, headers) = (length as usize, headers as usize);
    if length > MAX_HELD || headers > length.saturating_sub(PRELUDE + TRAILER) || length < PRELUDE + TRAILER {
        return Err(BadFrame);
    }
    Ok(Some(length))
}

/// Writes the event of one frame.
fn write(frame: &[u8], text: &mut Vec<u8>) -> Result<()> {
    let (body, trailer) = frame.split_at(frame.len() - TRAILER);
    if crc32(body) != number(trailer, 0) {
        return Err(BadFrame);
    }
    let (headers, payload) = body[PRELUDE..].split_at(number(frame, 4) as usize);
    let headers = Headers::read(headers)?;
    match headers.message {
        b"event" if headers.event == b"chunk" => write_chunk(payload, text),
        b"event" if headers.event == b"initial-response" => {}
        b"event" if is_name(headers.event) => write_event(headers.event, payload, text),
        b"exception" if is_name(headers.exception) => write_error(headers.exception, payload, text),
        b"error" if is_name(headers.code) => write_error(headers.code, headers.text, text),
        _ => return Err(BadFrame),
    }
    Ok(())
}

impl<'a> Headers<'a> {
    fn read(mut bytes: &'a [u8]) -> Result<Self> {
        let mut headers = Self::default();
        while let Some((&length, rest)) = bytes.split_first() {
            let (name, rest) = take(rest, length as usize)?;
            let (&kind, rest) = rest.split_first().ok_or(BadFrame)?;
            let (value, rest) = value(kind, rest)?;
            bytes = rest;
            match (kind, name) {
                (7, b":message-type") => headers.message = value,
                (7, b":event-type") => headers.event = value,
                (7, b":exception-type") => headers.exception = value,
                (7, b":error-code") => headers.code = value,
                (7, b":error-message") => headers.text = value,
                _ => {}
            }
        }
        Ok(headers)
    }
}

/// The value of a header of this type, and what follows it.
fn value(kind: u8, bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    match kind {
        0 | 1 => take(bytes, 0),
        2 => take(bytes, 1),
        3 => take(bytes, 2),
        4 => take(bytes, 4),
        5 | 8 => take(bytes, 8),
        6 | 7 => {
            let (length, rest) = take(bytes, 2)?;
            take(rest, usize::from(u16::from_be_bytes([length[0], length[1]])))
        }
        9 => take(bytes, 16),
        _ => Err(BadFrame),
    }
}

fn take(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(length).ok_or(BadFrame)
}

/// What may stand in a line and in JSON as it is.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn write_event(name: &[u8], payload: &[u8], text: &mut Vec<u8>) {
    let payload = if payload.is_empty() { b"{}" } else { payload };
    text.extend_from_slice(b"event: ");
    text.extend_from_slice(name);
    text.extend_from_slice(b"\ndata: {\"");
    text.extend_from_slice(name);
    text.extend_from_slice(b"\":");
    put_line(payload, text);
    text.extend_from_slice(b"}\n\n");
}

/// The event of a model, base64 in `bytes`, under its own `type`; without one, under its only member's name.
fn write_chunk(payload: &[u8], text: &mut Vec<u8>) {
    let inside = member(payload, b"bytes").and_then(|encoded| decode(&encoded));
    let inside = inside.unwrap_or_default();
    if let Some(name) = name_of(&inside) {
        text.extend_from_slice(b"event: ");
        text.extend_from_slice(&name);
        text.push(b'\n');
    }
    text.extend_from_slice(b"data: ");
    put_line(&inside, text);
    text.extend_from_slice(b"\n\n");
}

/// An exception by its name. `said` is its payload, or a sentence.
fn write_error(name: &[u8], said: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(b"event: error\ndata: {\"__type\":\"");
    text.extend_from_slice(name);
    text.extend_from_slice(b"\",\"error\":");
    if said.trim_ascii_start().starts_with(b"{") && is_json(said) {
        put_line(said, text);
    } else {
        text.extend_from_slice(b"{\"message\":");
        let sentence = serde_json::to_vec(&String::from_utf8_lossy(said)).unwrap_or_default();
        text.extend_from_slice(&sentence);
        text.push(b'}');
    }
    text.extend_from_slice(b"}\n\n");
}

/// JSON on one line: a line end can only stand between its tokens.
fn put_line(json: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    text.extend_from_slice(json);
    for byte in &mut text[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn is_json(text: &[u8]) -> bool {
    Cursor::new(text).is_ok_and(|mut cursor| cursor.skip().is_ok() && cursor.end().is_ok())
}

/// A text among the members of an object.
fn member<'a>(object: &'a [u8], wanted: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut cursor = Cursor::new(object).ok()?;
    if cursor.peek().ok()? != b'{' {
        return None;
    }
    cursor.open().ok()?;
    let mut first = true;
    while let Some(key) = cursor.key(first).ok()? {
        first = false;
        if key.decode(object).as_deref() == Some(wanted) && cursor.peek().ok()? == b'"' {
            return cursor.string().ok()?.decode(object);
        }
        cursor.skip().ok()?;
    }
    None
}

fn name_of(object: &[u8]) -> Option<Cow<'_, [u8]>> {
    let name = member(object, b"type").or_else(|| {
        let mut cursor = Cursor::new(object).ok()?;
        (cursor.peek().ok()? == b'{').then(|| cursor.open().ok())??;
        cursor.key(true).ok()??.decode(object)
    });
    name.filter(|name| is_name(name))
}

/// Base64 (RFC 4648, section 4); `None` for what is none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | u32::from(sextet(digit)?);
        }
        let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => bytes.extend_from_slice(&[a, b, c]),
            3 => bytes.extend_from_slice(&[a, b]),
            2 => bytes.push(a),
            _ => return None,
        }
    }
    Some(bytes)
}

const fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// CRC-32 as in gzip (RFC 1952, section 8), a table of the bytes' remainders.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ REMAINDERS[usize::from(crc as u8 ^ byte)])
}

static REMAINDERS: [u32; 256] = remainders();

const fn remainders() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xEDB8_8320 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}
