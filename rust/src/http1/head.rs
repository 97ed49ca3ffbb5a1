//! Heads of messages: where they end, what they hold.
//!
//! A head is measured before it is parsed: one pass over its line ends, which goes on where it stopped when more bytes
//! come, so that a head sent byte by byte costs no more than one sent whole. Only `CR LF` ends a line here
//! (`httparse` would take a bare `LF`; RFC 9112 2.2 allows a recipient to, and allows others not to).

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};

use super::Fault;
use super::fields::same;
use crate::json::Span;

/// Most fields that a limit may allow: the table for them stands on the stack.
pub const MAX_FIELDS: usize = 256;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, with the empty line.
    pub head_bytes: usize,
    /// Fields, at most [`MAX_FIELDS`].
    pub fields: usize,
}

/// One field, as offsets into the message's store.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name as sent.
    pub name: Span,
    /// The value without the white space around it.
    pub value: Span,
}

/// A parsed head, frozen: trailers never join it.
#[derive(Debug, Default)]
pub struct Head {
    /// All fields in their order.
    pub fields: Vec<Field>,
    /// HTTP/1.`minor`.
    pub minor: u8,
}

impl Head {
    /// The first value of the field of this lowercased name.
    #[must_use]
    pub fn header<'a>(&self, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| same(field.name.of(bytes), name))?;
        Some(field.value.of(bytes))
    }

    /// Appends the allowed fields as lines with lowercased names, without those that `Connection` names as belonging to
    /// this hop alone (RFC 9110 7.6.1).
    pub fn write_lines(&self, bytes: &[u8], names: &Names, out: &mut Vec<u8>) {
        let own: Vec<&[u8]> = self.own_fields(bytes).collect();
        for field in &self.fields {
            let name = field.name.of(bytes);
            if names.allows(name) && !own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                let start = out.len();
                out.extend_from_slice(name);
                out[start..].make_ascii_lowercase();
                out.extend_from_slice(b": ");
                out.extend_from_slice(field.value.of(bytes));
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Names in `Connection`, without the options that name no field that could be forwarded.
    fn own_fields<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let connection = self.fields.iter().filter(|field| same(field.name.of(bytes), b"connection"));
        let usual = |option: &&[u8]| {
            *option == b"keep-alive"
                || [b"close" as &[u8], b"keep-alive", b"upgrade"].iter().any(|usual| option.eq_ignore_ascii_case(usual))
        };
        connection.flat_map(|field| members(field.value.of(bytes))).filter(move |option| !usual(option))
    }
}

/// An allowlist of field names.
#[derive(Debug, Default)]
pub struct Names {
    exact: Vec<Vec<u8>>,
    /// Beginnings of names, from entries that end in `*`.
    prefixes: Vec<Vec<u8>>,
    /// Bit per length of an exact name, so that most fields are passed over without a comparison.
    lengths: u64,
}

impl Names {
    /// The names given; an entry that ends in `*` allows every name that begins so.
    #[must_use]
    pub fn new(entries: Vec<Vec<u8>>) -> Self {
        let mut names = Self::default();
        for mut entry in entries {
            if entry.ends_with(b"*") {
                entry.pop();
                names.prefixes.push(entry);
            } else {
                names.lengths |= 1 << entry.len().min(63);
                names.exact.push(entry);
            }
        }
        names
    }

    fn allows(&self, name: &[u8]) -> bool {
        let by_name =
            self.lengths >> name.len().min(63) & 1 == 1 && self.exact.iter().any(|allowed| same(name, allowed));
        by_name || self.prefixes.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|start| same(start, prefix)))
    }
}

/// The search for the end of a head.
#[derive(Debug, Default)]
pub struct Measure {
    /// Bytes that were looked at.
    at: usize,
    /// Offset of the line that is not ended yet.
    line: usize,
    /// Lines that were ended, empty ones before the first not counted.
    lines: usize,
}

impl Measure {
    /// A search that begins at `start`.
    pub(super) fn from(start: usize) -> Self {
        Self { at: start, line: start, lines: 0 }
    }

    /// Looks at what is new in `bytes`; returns the offset after the empty line once it is there.
    ///
    /// # Errors
    /// 431 when the head is larger than `limits`, 400 when a line ends in a bare `LF`.
    pub(super) fn advance(&mut self, bytes: &[u8], start: usize, limits: Limits) -> Result<Option<usize>, Fault> {
        let most = start + limits.head_bytes;
        let from = self.at;
        for newline in memchr::memchr_iter(b'\n', &bytes[from..]).map(|offset| from + offset) {
            if newline >= most {
                break;
            }
            if newline == self.line || bytes[newline - 1] != b'\r' {
                return Err(Fault::bad("a line of the head ends in a bare LF"));
            }
            let is_empty = newline - 1 == self.line;
            self.line = newline + 1;
            match (is_empty, self.lines) {
                (true, 0) => {}
                (true, _) => return Ok(Some(self.line)),
                (false, _) => self.lines += 1,
            }
            // The first line is not a field.
            if self.lines > limits.fields + 1 {
                return Err(Fault { status: 431, code: "head_too_large", message: "the head has too many fields" });
            }
        }
        self.at = bytes.len();
        if bytes.len() >= most {
            return Err(Fault { status: 431, code: "head_too_large", message: "the head is too large" });
        }
        Ok(None)
    }
}

/// The start line of a request, as offsets.
#[derive(Debug, Default)]
pub(super) struct RequestLine {
    pub method: Span,
    pub target: Span,
}

/// Parses the request head that lies in `bytes[start..end]`.
pub(super) fn parse_request(bytes: &[u8], start: usize, end: usize) -> Result<(RequestLine, Head), Fault> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(&bytes[start..end], &mut fields).map_err(request_fault)?;
    let (Status::Complete(_), Some(method), Some(target), Some(minor)) =
        (status, request.method, request.path, request.version)
    else {
        return Err(Fault::bad("the head is not whole"));
    };
    let line = RequestLine { method: place(bytes, method.as_bytes()), target: place(bytes, target.as_bytes()) };
    Ok((line, Head { fields: places(bytes, request.headers), minor }))
}

/// Parses the answer head that lies in `bytes[start..end]`; the status comes first.
pub(super) fn parse_response(bytes: &[u8], start: usize, end: usize) -> Result<(u16, Head), Fault> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, &bytes[start..end], &mut fields);
    let status = parsed.map_err(|_| Fault::bad("the head of the answer is not HTTP/1.1"))?;
    let (Status::Complete(_), Some(code), Some(minor)) = (status, response.code, response.version) else {
        return Err(Fault::bad("the head of the answer is not whole"));
    };
    Ok((code, Head { fields: places(bytes, response.headers), minor }))
}

fn request_fault(error: Error) -> Fault {
    match error {
        Error::Version => {
            Fault { status: 505, code: "invalid_request", message: "only HTTP/1.1 and HTTP/1.0 are spoken here" }
        }
        Error::HeaderName => Fault::bad("a field has a name that is not a token"),
        Error::HeaderValue => Fault::bad("a field has a value with a control character"),
        Error::Token | Error::NewLine | Error::Status | Error::TooManyHeaders => {
            Fault::bad("the request line is not valid")
        }
    }
}

fn places(bytes: &[u8], headers: &[Header<'_>]) -> Vec<Field> {
    let field =
        |header: &Header<'_>| Field { name: place(bytes, header.name.as_bytes()), value: place(bytes, header.value) };
    headers.iter().map(field).collect()
}

/// Where `part`, a slice of `whole`, lies in it.
fn place(whole: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    // An empty slice may be a constant that lies elsewhere.
    if start > whole.len() { Span::default() } else { Span { start, end: start + part.len() } }
}

/// The only member of a list field's values that matter here: splits at commas, trims, skips empty ones.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Reads a `Content-Length`.
///
/// # Errors
/// 400 when it is not a plain decimal number.
pub(super) fn content_length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::bad("Content-Length is not a number"));
    }
    let digit = |number: u64, byte: &u8| number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Ok(value.iter().fold(0, digit))
}
