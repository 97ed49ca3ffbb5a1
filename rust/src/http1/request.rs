//! Requests of one client connection, in order, one at a time.
//!
//! A request that lies in one piece of input is kept as that piece and ranges into it. Bytes beyond it wait: after an
//! answer [`RequestReader::advance`] goes on with them.

use std::ops::Range;

use super::body::{Collector, Framing, too_large};
use super::fields::{Framed, same};
use super::head::{self, Head, Limits, Measure, Names};
use super::{Fault, Message, Store};
use crate::json::Span;

/// Pipelined input that is kept while an answer runs (CONTRACT 1).
pub const MAX_PIPELINED: usize = 64 << 10;
/// What is reserved at once for a body of a declared length: a promise costs the promiser nothing, so it buys little.
const MAX_RESERVE: u64 = 256 << 10;

/// Bits of [`Request::flags`].
pub mod flag {
    /// The body is whole. Set by whoever holds head and body together.
    pub const COMPLETE: u32 = 1;
    /// The connection may be used again.
    pub const KEEP_ALIVE: u32 = 1 << 1;
    /// The client waits for `100 Continue`.
    pub const EXPECT_CONTINUE: u32 = 1 << 2;
    /// A body is announced, even an empty one.
    pub const HAS_BODY: u32 = 1 << 3;
    /// `Content-Type: application/json`.
    pub const JSON: u32 = 1 << 4;
    /// `x-dispatch-deadline-ms`.
    pub const HAS_DEADLINE: u32 = 1 << 5;
    /// `x-request-id`.
    pub const HAS_REQUEST_ID: u32 = 1 << 6;
    /// `traceparent`.
    pub const HAS_TRACEPARENT: u32 = 1 << 7;
    /// `x-dispatch-session`.
    pub const HAS_SESSION: u32 = 1 << 8;
    /// `Origin`.
    pub const HAS_ORIGIN: u32 = 1 << 9;
    /// `Content-Encoding` other than `identity`.
    pub const HAS_ENCODING: u32 = 1 << 10;
    /// `Content-Type: multipart/...`.
    pub const MULTIPART: u32 = 1 << 11;
    /// Any other `x-dispatch-...` but the key.
    pub const HAS_DISPATCH: u32 = 1 << 12;
}

/// The head of a request, with its body if that came with it.
#[derive(Debug)]
pub struct Request<B> {
    /// Bytes, fields, body.
    pub message: Message<B>,
    /// Bits of [`flag`].
    pub flags: u32,
    /// `Content-Length`; `None` for chunks; 0 without a body.
    pub length: Option<u64>,
    method: Span,
    path: Span,
    query: Span,
}

/// What a piece of input led to.
#[derive(Debug)]
pub enum Arrival<B> {
    /// A head; the body is whole iff `COMPLETE` is set.
    Request(Request<B>),
    /// The body of the request whose head was handed out before: in one piece, but for a large form.
    Body(Vec<Vec<u8>>),
}

#[derive(Debug)]
enum State {
    Head(Measure),
    Body(Collector),
    /// A request is being answered.
    Busy,
}

/// The requests of one connection.
#[derive(Debug)]
pub struct RequestReader {
    limits: Limits,
    max_body_bytes: usize,
    state: State,
    /// Bytes of a head that is not whole, or beyond the current request.
    kept: Vec<u8>,
}

impl RequestReader {
    /// A reader before the first byte.
    #[must_use]
    pub fn new(limits: Limits, max_body_bytes: usize) -> Self {
        Self { limits, max_body_bytes, state: State::Head(Measure::default()), kept: Vec::new() }
    }

    /// Takes a piece of input.
    ///
    /// # Errors
    /// When the request is not valid or too large, or too much is pipelined: the connection must be closed then.
    pub fn feed<B: AsRef<[u8]>>(&mut self, data: B) -> Result<Option<Arrival<B>>, Fault> {
        match &mut self.state {
            State::Head(_) => {
                let store = Store::after(&mut self.kept, data);
                self.head(store)
            }
            State::Body(_) => self.body(data.as_ref()),
            State::Busy => {
                self.kept.extend_from_slice(data.as_ref());
                self.check_pipelined().map(|()| None)
            }
        }
    }

    /// Goes on after an answer, with the bytes that were kept. Does nothing while a body is still awaited.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn advance<B: AsRef<[u8]>>(&mut self) -> Result<Option<Arrival<B>>, Fault> {
        if !matches!(self.state, State::Busy) {
            return Ok(None);
        }
        self.state = State::Head(Measure::default());
        if self.kept.is_empty() {
            return Ok(None);
        }
        let kept = std::mem::take(&mut self.kept);
        self.head(Store::Own(kept))
    }

    /// Bytes held: of an unfinished request, and beyond the current one.
    #[must_use]
    pub fn pending(&self) -> usize {
        let body = if let State::Body(collector) = &self.state { collector.held() } else { 0 };
        self.kept.len() + body
    }

    fn check_pipelined(&self) -> Result<(), Fault> {
        if self.kept.len() > MAX_PIPELINED {
            return Err(Fault { status: 0, code: "invalid_request", message: "too much is pipelined" });
        }
        Ok(())
    }

    fn head<B: AsRef<[u8]>>(&mut self, store: Store<B>) -> Result<Option<Arrival<B>>, Fault> {
        let State::Head(measure) = &mut self.state else { return Ok(None) };
        let Some(end) = measure.advance(store.as_ref(), 0, self.limits)? else {
            self.kept = store.into_rest(0);
            return Ok(None);
        };
        let (line, head) = head::parse_request(store.as_ref(), 0, end)?;
        let facts = Facts::read(store.as_ref(), &head)?;
        let (path, query) = target(store.as_ref(), &line, facts.host)?;
        let (flags, framing) = facts.close(head.minor)?;
        let length = match framing {
            Framing::Sized(length) => Some(length),
            Framing::Chunked | Framing::UntilEnd => None,
        };
        let message = Message { store, head, body: end..end, joined: None };
        let request = Request { message, flags, length, method: line.method, path, query };
        self.attach(request, framing, end).map(Some)
    }

    /// Puts the body to the head as far as it is there, and keeps what lies beyond.
    fn attach<B: AsRef<[u8]>>(
        &mut self,
        mut request: Request<B>,
        framing: Framing,
        end: usize,
    ) -> Result<Arrival<B>, Fault> {
        let bytes = request.message.store.as_ref();
        let there = bytes.len() - end;
        if let Framing::Sized(length) = framing {
            let length = usize::try_from(length).ok().filter(|&length| length <= self.max_body_bytes);
            let length = length.ok_or_else(too_large)?;
            if length <= there {
                self.kept = bytes[end + length..].to_vec();
                request.message.body = end..end + length;
                return self.complete(request);
            }
        }
        let is_form = request.flags & flag::MULTIPART != 0;
        let mut collector = Collector::new(framing, self.max_body_bytes).in_pieces(is_form);
        if let Framing::Sized(length) = framing {
            collector.body.reserve_exact(usize::try_from(length.min(MAX_RESERVE)).unwrap_or(0));
        }
        let used = collector.feed(&bytes[end..])?;
        if collector.decoder.is_done() {
            self.kept = bytes[end + used..].to_vec();
            request.message.joined = Some(collector.take().concat());
            return self.complete(request);
        }
        self.state = State::Body(collector);
        Ok(Arrival::Request(request))
    }

    fn complete<B>(&mut self, mut request: Request<B>) -> Result<Arrival<B>, Fault> {
        self.state = State::Busy;
        self.check_pipelined()?;
        request.flags |= flag::COMPLETE;
        Ok(Arrival::Request(request))
    }

    fn body<B>(&mut self, data: &[u8]) -> Result<Option<Arrival<B>>, Fault> {
        let State::Body(collector) = &mut self.state else { return Ok(None) };
        let used = collector.feed(data)?;
        if !collector.decoder.is_done() {
            return Ok(None);
        }
        let body = collector.take();
        self.kept.extend_from_slice(&data[used..]);
        self.state = State::Busy;
        self.check_pipelined()?;
        Ok(Some(Arrival::Body(body)))
    }
}

impl<B: AsRef<[u8]>> Request<B> {
    /// Method, a space, and the path as sent.
    #[must_use]
    pub fn line(&self) -> (&[u8], &[u8]) {
        let bytes = self.message.store.as_ref();
        (self.method.of(bytes), self.path.of(bytes))
    }

    /// What follows the question mark.
    #[must_use]
    pub fn query(&self) -> &[u8] {
        self.query.of(self.message.store.as_ref())
    }

    /// The allowed fields as lines.
    #[must_use]
    pub fn lines(&self, names: &Names) -> Vec<u8> {
        let mut lines = Vec::with_capacity(256);
        self.message.head.write_lines(self.message.store.as_ref(), names, &mut lines);
        lines
    }
}

/// What the fields of a request say about its framing and its flags.
#[derive(Default)]
struct Facts<'a> {
    host: Option<&'a [u8]>,
    flags: u32,
    framed: Framed,
}

impl<'a> Facts<'a> {
    fn read(bytes: &'a [u8], head: &Head) -> Result<Self, Fault> {
        let mut facts = Self::default();
        for field in &head.fields {
            let name = field.name.of(bytes);
            if !facts.framing(name, field.value.of(bytes))? {
                facts.flags |= flags_of(name, field.value.of(bytes));
            }
        }
        Ok(facts)
    }

    /// Takes a field that decides about framing or connection; `false` when it does not.
    fn framing(&mut self, name: &[u8], value: &'a [u8]) -> Result<bool, Fault> {
        if !same(name, b"host") {
            return self.framed.take(name, value);
        }
        if self.host.replace(value).is_some() {
            return Err(Fault::bad("Host is given twice"));
        }
        Ok(true)
    }

    /// Checks what only the whole head can tell.
    fn close(self, minor: u8) -> Result<(u32, Framing), Fault> {
        if minor >= 1 && self.host.is_none() {
            return Err(Fault::bad("Host is missing"));
        }
        let framed = self.framed;
        if framed.is_chunked && minor == 0 {
            return Err(Fault::bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        if framed.is_chunked && framed.length.is_some() {
            return Err(Fault::bad("Content-Length and Transfer-Encoding exclude each other"));
        }
        let mut flags = self.flags;
        if framed.stays(minor) {
            flags |= flag::KEEP_ALIVE;
        }
        if minor == 0 {
            // RFC 9110 10.1.1: a server ignores the expectation of an HTTP/1.0 client.
            flags &= !flag::EXPECT_CONTINUE;
        }
        if framed.is_chunked || framed.length.is_some() {
            flags |= flag::HAS_BODY;
        }
        let framing = if framed.is_chunked { Framing::Chunked } else { Framing::Sized(framed.length.unwrap_or(0)) };
        Ok((flags, framing))
    }
}

/// The flags that one field sets.
fn flags_of(name: &[u8], value: &[u8]) -> u32 {
    let is = |known: &[u8]| same(name, known);
    match name.len() {
        6 if is(b"expect") && value.eq_ignore_ascii_case(b"100-continue") => flag::EXPECT_CONTINUE,
        6 if is(b"origin") => flag::HAS_ORIGIN,
        11 if is(b"traceparent") => flag::HAS_TRACEPARENT,
        12 if is(b"content-type") => content_type(value),
        12 if is(b"x-request-id") => flag::HAS_REQUEST_ID,
        16 if is(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") => flag::HAS_ENCODING,
        11.. if same(&name[..11], b"x-dispatch-") => dispatch_flag(&name[11..]),
        _ => 0,
    }
}

fn dispatch_flag(rest: &[u8]) -> u32 {
    let is = |known: &[u8]| same(rest, known);
    match rest.len() {
        3 if is(b"key") => 0,
        7 if is(b"session") => flag::HAS_SESSION,
        11 if is(b"deadline-ms") => flag::HAS_DEADLINE,
        _ => flag::HAS_DISPATCH,
    }
}

fn content_type(value: &[u8]) -> u32 {
    // What nearly all requests say.
    if value == b"application/json" {
        return flag::JSON;
    }
    let kind = value.split(|&byte| byte == b';').next().unwrap_or(value).trim_ascii_end();
    let multipart = kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    match (kind.eq_ignore_ascii_case(b"application/json"), multipart) {
        (true, _) => flag::JSON,
        (_, true) => flag::MULTIPART,
        _ => 0,
    }
}

/// Path and query of a target in origin, absolute or asterisk form.
fn target(bytes: &[u8], line: &head::RequestLine, host: Option<&[u8]>) -> Result<(Span, Span), Fault> {
    let target = line.target.of(bytes);
    if memchr::memchr(b'#', target).is_some() {
        return Err(Fault::bad("the target has a fragment"));
    }
    let skipped = if target.starts_with(b"/") { 0 } else { authority(target, line.method.of(bytes), host)? };
    let rest = skipped..target.len();
    let question = memchr::memchr(b'?', &target[rest.clone()]).map(|offset| skipped + offset);
    let at = |range: Range<usize>| Span { start: line.target.start + range.start, end: line.target.start + range.end };
    let path = at(skipped..question.unwrap_or(rest.end));
    let query = question.map_or(Span::default(), |question| at(question + 1..rest.end));
    Ok((path, query))
}

/// The length of `http://host` before the path of a target in absolute form. The host must be that of the Host field:
/// two names for one request are one too many.
fn authority(target: &[u8], method: &[u8], host: Option<&[u8]>) -> Result<usize, Fault> {
    if target == b"*" && method == b"OPTIONS" || method == b"CONNECT" {
        return Ok(0);
    }
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let starts = |scheme: &&&[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(scheme) = schemes.iter().find(starts).map(|scheme| scheme.len()) else {
        return Err(Fault::bad("the target is not a path"));
    };
    let length = memchr::memchr3(b'/', b'?', b'#', &target[scheme..]).unwrap_or(target.len() - scheme);
    let named = &target[scheme..scheme + length];
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(named)) {
        return Err(Fault::bad("the target names another host than Host"));
    }
    Ok(scheme + length)
}
