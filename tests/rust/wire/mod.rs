//! What the tests of the wire share: a connection played to a reader in pieces, and everything it said about it.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use _core::http1::body::{Decoder, Framing};
use _core::http1::request::{Arrival, RequestReader, flag as request_flag};
use _core::http1::response::{Answer, ResponseReader, flag as answer_flag};
use _core::http1::{Limits, Names};
use _core::sse::frames::crc32;
use _core::sse::{Dialect, Output, state};

pub const LIMITS: Limits = Limits { head_bytes: 2048, fields: 16 };
pub const MAX_BODY: usize = 4096;

/// A request as the server would see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: Bytes,
    pub query: Bytes,
    pub flags: u32,
    pub fields: Vec<(Bytes, Bytes)>,
    pub lines: Bytes,
    pub body: Bytes,
}

/// Bytes that a failed test shows as text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Status and code of a fault: the sentence may depend on which of two faults came to light first.
pub type Wrong = (u16, &'static str);

/// Splits `bytes` at the given places, taken modulo what is left.
pub fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in at {
        pieces.push(bytes[start..end].to_vec());
        start = end;
    }
    pieces
}

/// Whole, byte by byte, and at these places.
pub fn ways(bytes: &[u8], places: &[usize]) -> Vec<Vec<Vec<u8>>> {
    vec![vec![bytes.to_vec()], bytes.iter().map(|&byte| vec![byte]).collect(), cut(bytes, places)]
}

pub fn names() -> Names {
    Names::new(vec![b"accept".to_vec(), b"traceparent".to_vec(), b"x-a*".to_vec()])
}

/// Plays a client's side; every request is answered at once.
pub fn requests(pieces: &[Vec<u8>]) -> (Vec<Seen>, Option<Wrong>) {
    let mut reader = RequestReader::new(LIMITS, MAX_BODY);
    let mut seen = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let mut arrival = reader.feed(piece.clone());
        loop {
            match arrival {
                Err(fault) => return (whole(seen), Some((fault.status, fault.code))),
                Ok(None) => break,
                Ok(Some(arrived)) => {
                    if !note(&mut seen, arrived) {
                        break;
                    }
                }
            }
            arrival = reader.advance();
        }
        assert!(reader.pending() <= LIMITS.head_bytes + MAX_BODY, "more is kept than any limit allows");
    }
    (whole(seen), None)
}

/// Those with their bodies: only whether a head comes before its body depends on the cuts.
fn whole(mut seen: Vec<Seen>) -> Vec<Seen> {
    seen.retain(|request| request.flags & request_flag::COMPLETE != 0);
    seen
}

/// Writes down an arrival; returns whether the request is whole.
fn note(seen: &mut Vec<Seen>, arrived: Arrival<Vec<u8>>) -> bool {
    match arrived {
        Arrival::Request(request) => {
            let bytes = request.message.store.as_ref();
            let (method, path) = request.line();
            let field = |field: &_core::http1::head::Field| {
                (Bytes(field.name.of(bytes).to_vec()), Bytes(field.value.of(bytes).to_vec()))
            };
            let is_whole = request.flags & request_flag::COMPLETE != 0;
            seen.push(Seen {
                line: Bytes([method, b" ", path].concat()),
                query: Bytes(request.query().to_vec()),
                flags: request.flags,
                fields: request.message.head.fields.iter().map(field).collect(),
                lines: Bytes(request.lines(&names())),
                body: Bytes(request.message.body().to_vec()),
            });
            is_whole
        }
        Arrival::Body(body) => {
            let last = seen.last_mut().expect("a body follows its head");
            last.body = Bytes(body.concat());
            last.flags |= request_flag::COMPLETE;
            true
        }
    }
}

/// An answer as the pool would see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    pub flags: u32,
    pub fields: Vec<(Bytes, Bytes)>,
    pub body: Bytes,
    pub usage: Option<_core::json::Usage>,
    pub is_reusable: bool,
}

fn got(answer: &Answer<Vec<u8>>, is_reusable: bool) -> Got {
    let bytes = answer.message.store.as_ref();
    let field = |field: &_core::http1::head::Field| {
        (Bytes(field.name.of(bytes).to_vec()), Bytes(field.value.of(bytes).to_vec()))
    };
    Got {
        status: answer.status,
        flags: answer.flags,
        fields: answer.message.head.fields.iter().map(field).collect(),
        body: Bytes(answer.message.body().to_vec()),
        usage: answer.usage,
        is_reusable,
    }
}

/// What a stream came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// What went to the client, without chunk framing.
    pub payload: Bytes,
    /// Whether the client's message has its last chunk.
    pub is_ended: bool,
    pub state: u32,
    pub usage: _core::json::Usage,
    pub dropped: u64,
    pub error_event: Bytes,
    pub is_reusable: bool,
}

/// How a stream is relayed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub inject: bool,
    pub chunked: bool,
    pub dialect: &'static Dialect,
    /// Whether the end of the connection follows.
    pub eof: bool,
}

/// Everything one answer led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub answer: Option<Got>,
    pub told: Option<Told>,
    pub wrong: Option<Wrong>,
}

/// Plays an upstream's side after one request.
pub fn answers(pieces: &[Vec<u8>], plan: Plan) -> Answered {
    let mut reader = ResponseReader::new(LIMITS, MAX_BODY);
    reader.expect();
    let mut answered = Answered::default();
    let mut written = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        if reader.relay().is_some() {
            forward(&mut reader, piece, &mut written);
            continue;
        }
        match reader.feed(piece.clone()) {
            Err(fault) => {
                answered.wrong = Some((fault.status, fault.code));
                return answered;
            }
            Ok(None) => {}
            Ok(Some(answer)) => {
                if answer.flags & answer_flag::STREAM != 0 {
                    reader.start_stream(plan.inject, plan.chunked, plan.dialect);
                    let kept = reader.take_kept();
                    forward(&mut reader, &kept, &mut written);
                }
                answered.answer = Some(got(&answer, false));
            }
        }
    }
    finish(&mut reader, plan, &mut answered, &mut written);
    answered
}

fn finish(reader: &mut ResponseReader<Vec<u8>>, plan: Plan, answered: &mut Answered, written: &mut Vec<u8>) {
    let is_reusable = reader.is_reusable();
    if plan.eof {
        match reader.eof() {
            Err(fault) => answered.wrong = Some((fault.status, fault.code)),
            Ok(None) => {}
            Ok(Some(answer)) => answered.answer = Some(got(&answer, false)),
        }
        assert!(!reader.is_reusable(), "an ended connection is of no use");
    }
    if let Some(got) = &mut answered.answer {
        got.is_reusable = is_reusable;
    }
    let Some(relay) = reader.relay_mut() else { return };
    append(&relay.finish(), b"", written);
    let stream = &relay.stream;
    let (payload, is_ended) = if plan.chunked { unchunked(written) } else { (written.clone(), false) };
    answered.told = Some(Told {
        payload: Bytes(payload),
        is_ended,
        state: stream.state,
        usage: stream.usage,
        dropped: stream.dropped,
        error_event: Bytes(stream.error_event.clone()),
        is_reusable,
    });
}

fn forward(reader: &mut ResponseReader<Vec<u8>>, piece: &[u8], written: &mut Vec<u8>) {
    let relay = reader.relay_mut().expect("a stream was started");
    append(&relay.forward(piece), piece, written);
}

fn append(output: &Output<'_>, piece: &[u8], written: &mut Vec<u8>) {
    match output {
        Output::Nothing => {}
        Output::Same => written.extend_from_slice(piece),
        Output::Frame(frame) => {
            let pieces = frame.pieces().concat();
            assert_eq!(pieces.len(), frame.length());
            assert!(!pieces.is_empty(), "an empty frame would end a chunked message");
            written.extend_from_slice(&pieces);
        }
    }
}

/// Takes the client's framing off, which must be valid; returns whether it has its end.
pub fn unchunked(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut at, mut payload) = (0, Vec::new());
    while let Some(piece) = decoder.next(bytes, &mut at).expect("our own framing is valid") {
        payload.extend_from_slice(&bytes[piece]);
    }
    assert_eq!(at, bytes.len(), "nothing follows the last chunk");
    (payload, decoder.is_done())
}

/// `payload` in chunks of at most `size` bytes, with the last one.
pub fn chunked(payload: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in payload.chunks(size.max(1)) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// The laws that hold for the end of any stream.
pub fn check_told(told: &Told, plan: Plan) {
    let is_complete = told.state & state::COMPLETE != 0 && told.state & state::ERROR == 0;
    assert_eq!(
        told.is_ended,
        plan.chunked && is_complete,
        "the last chunk is there iff the stream is complete: {told:?}"
    );
    assert_eq!(told.state & state::CLOSED != 0, is_complete, "{told:?}");
    assert_eq!(told.state & state::ERROR != 0, !told.error_event.0.is_empty(), "{told:?}");
}

/// A frame of an AWS event stream, with whatever in it: its lengths and checksums are right.
pub fn sealed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).expect("a test's frame is short").to_be_bytes();
    let mut bytes = [number(16 + headers.len() + payload.len()), number(headers.len())].concat();
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

/// A header whose value is text.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a test's header is short");
    [&[length(name)], name.as_bytes(), &[7, 0, length(value)], value.as_bytes()].concat()
}
