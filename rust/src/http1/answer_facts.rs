//! What the fields of an answer's head say about its framing, its connection and its flags.

use super::Fault;
use super::body::Framing;
use super::fields::{Framed, same};
use super::head::{self, Head};
use super::response::flag;

/// Digits of a number of requests that are few.
const FEW_REQUESTS: usize = 2;
/// And of tokens.
const FEW_TOKENS: usize = 4;

/// The fields that say what is left of a limit, and how many digits are little.
const NEAR: [(&[u8], usize); 6] = [
    (b"x-ratelimit-remaining-tokens", FEW_TOKENS),
    (b"x-ratelimit-remaining-requests", FEW_REQUESTS),
    (b"anthropic-ratelimit-tokens-remaining", FEW_TOKENS),
    (b"anthropic-ratelimit-requests-remaining", FEW_REQUESTS),
    (b"anthropic-ratelimit-input-tokens-remaining", FEW_TOKENS),
    (b"anthropic-ratelimit-output-tokens-remaining", FEW_TOKENS),
];

/// What the fields of an answer say about its framing and its flags.
#[derive(Default)]
pub(super) struct Facts {
    framed: Framed,
    /// Bits of [`flag`].
    flags: u32,
    /// `Keep-Alive: timeout`, in seconds.
    pub keep_alive_s: Option<u32>,
}

impl Facts {
    /// Reads all fields.
    ///
    /// # Errors
    /// When one that decides about the framing is not valid.
    pub(super) fn read(bytes: &[u8], head: &Head) -> Result<Self, Fault> {
        let mut facts = Self::default();
        for field in &head.fields {
            let (name, value) = (field.name.of(bytes), field.value.of(bytes));
            if !facts.take_framing(name, value)? {
                facts.flags |= flags_of(name, value);
            }
        }
        Ok(facts)
    }

    /// Takes a field that decides about framing or connection; `false` when it does not.
    fn take_framing(&mut self, name: &[u8], value: &[u8]) -> Result<bool, Fault> {
        if !same(name, b"keep-alive") {
            return self.framed.take(name, value);
        }
        self.keep_alive_s = timeout(value);
        Ok(true)
    }

    /// Whether the connection may carry another answer after this one.
    pub(super) const fn stays(&self, minor: u8) -> bool {
        self.framed.stays(minor)
    }

    /// How the body is framed.
    ///
    /// # Errors
    /// When that can be read in two ways.
    pub(super) fn framing(&self, status: u16, minor: u8) -> Result<Framing, Fault> {
        if self.framed.is_chunked && (self.framed.length.is_some() || minor == 0) {
            return Err(Fault::bad("the answer's framing is ambiguous"));
        }
        Ok(match (status, self.framed.is_chunked, self.framed.length) {
            // RFC 9112 6.3: these have no body, whatever their fields say.
            (204 | 304, _, _) => Framing::Sized(0),
            (_, true, _) => Framing::Chunked,
            (_, _, Some(length)) => Framing::Sized(length),
            _ => Framing::UntilEnd,
        })
    }

    /// The flags of an answer with this status: only success is a stream.
    pub(super) const fn flags(&self, status: u16) -> u32 {
        let is_stream = status >= 200 && status < 300 && status != 204;
        if is_stream { self.flags } else { self.flags & !flag::STREAM }
    }
}

/// The flags that one field sets.
fn flags_of(name: &[u8], value: &[u8]) -> u32 {
    let is = |known: &[u8]| same(name, known);
    match name.len() {
        11 if is(b"retry-after") => flag::HAS_RETRY_AFTER,
        12 if is(b"content-type") && is_event_stream(value) => flag::STREAM,
        14 if is(b"retry-after-ms") => flag::HAS_RETRY_AFTER,
        16 if is(b"content-encoding") && !value.eq_ignore_ascii_case(b"identity") => flag::ENCODED,
        28.. => NEAR.iter().find(|(known, _)| is(known)).map_or(0, |(_, digits)| near(value, *digits)),
        _ => 0,
    }
}

/// The flag of a number of so few digits: what is left is read only where it is little, which costs most answers nothing.
fn near(value: &[u8], digits: usize) -> u32 {
    if value.len() <= digits { flag::NEAR_LIMIT } else { 0 }
}

/// Server-sent events, JSON lines of Ollama and of Cohere's first version, Bedrock's event streams.
fn is_event_stream(value: &[u8]) -> bool {
    const KINDS: [&[u8]; 4] = [
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/stream+json",
        b"application/vnd.amazon.eventstream",
    ];
    // What nearly all answers are.
    if value == b"application/json" {
        return false;
    }
    let kind = value.split(|&byte| byte == b';').next().unwrap_or(value).trim_ascii_end();
    KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// The `timeout` of a `Keep-Alive` value.
fn timeout(value: &[u8]) -> Option<u32> {
    let option = head::members(value).find_map(|option| option.strip_prefix(b"timeout="))?;
    std::str::from_utf8(option).ok()?.trim_matches('"').parse().ok()
}
