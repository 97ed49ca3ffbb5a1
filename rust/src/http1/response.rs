//! Answers of one upstream connection: one request, one answer, then the next request.
//!
//! A connection may be used again only after exactly one complete final answer with nothing left over (CONTRACT 2): two
//! answers in one buffer are how a poisoned connection looks, and any byte while nothing is expected is a fault.

use super::answer_facts::Facts;
use super::body::{Collector, Decoder, Framing};
use super::head::{self, Head, Limits, Measure};
use super::{Fault, Message, Store};
use crate::json::{Usage, read_whole};
use crate::sse::{Dialect, Relay, tools};

/// Bits of [`Answer::flags`].
pub mod flag {
    /// The body is whole.
    pub const COMPLETE: u32 = 1;
    /// `text/event-stream` of a 2xx answer: the body is read through the relay.
    pub const STREAM: u32 = 1 << 1;
    /// The body is JSON, validated whole.
    pub const JSON_OK: u32 = 1 << 2;
    /// The connection ends with this answer.
    pub const CLOSE: u32 = 1 << 3;
    /// `retry-after` or `retry-after-ms`.
    pub const HAS_RETRY_AFTER: u32 = 1 << 4;
    /// `Content-Encoding` other than `identity`; the body is as it came.
    pub const ENCODED: u32 = 1 << 5;
    /// Status 200, a JSON body that says what it cost, and no limit near: nothing is left to ask.
    pub const GOOD: u32 = 1 << 6;
    /// The connection may carry another request, as far as one knows when the answer is whole.
    pub const REUSABLE: u32 = 1 << 7;
    /// The provider says that little is left of one of its limits.
    pub const NEAR_LIMIT: u32 = 1 << 8;
    /// A tool call's arguments are cut, and the answer does not say that it was limited.
    pub const CUT_CALL: u32 = 1 << 9;
}

/// The head of a final answer, with its body unless that is a stream.
#[derive(Debug)]
pub struct Answer<B> {
    /// Bytes, fields, body.
    pub message: Message<B>,
    /// The status code.
    pub status: u16,
    /// Bits of [`flag`].
    pub flags: u32,
    /// What the body says that it cost.
    pub usage: Option<Usage>,
}

/// A head that waits for its body.
#[derive(Debug)]
struct Started<B> {
    answer: Answer<B>,
    collector: Collector,
}

#[derive(Debug)]
enum State<B> {
    /// Nothing is expected.
    Idle,
    Head(Measure),
    Body(Box<Started<B>>),
    /// An event stream whose first bytes wait in `kept`.
    Opened(Decoder),
    Stream(Box<Relay>),
    /// The answer was whole.
    Done,
    /// Something was wrong.
    Failed,
}

/// The answers of one connection.
#[derive(Debug)]
pub struct ResponseReader<B> {
    limits: Limits,
    max_answer_bytes: usize,
    state: State<B>,
    /// Bytes of a head that is not whole, or the first ones of a stream.
    kept: Vec<u8>,
    has_bytes: bool,
    /// Whether the answer's head allows another one on this connection.
    keeps: bool,
    /// Whether bytes were left after the answer.
    is_dirty: bool,
    keep_alive_s: Option<u32>,
}

impl<B: AsRef<[u8]>> ResponseReader<B> {
    /// A reader of a new connection; nothing is expected yet.
    #[must_use]
    pub const fn new(limits: Limits, max_answer_bytes: usize) -> Self {
        Self {
            limits,
            max_answer_bytes,
            state: State::Idle,
            kept: Vec::new(),
            has_bytes: false,
            keeps: false,
            is_dirty: false,
            keep_alive_s: None,
        }
    }

    /// A request was written: its answer may come.
    pub fn expect(&mut self) {
        self.state = State::Head(Measure::default());
        self.kept.clear();
        self.has_bytes = false;
        self.keeps = false;
        self.is_dirty = false;
    }

    /// Whether a byte of the answer has come.
    #[must_use]
    pub const fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Whether the connection may carry another request.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let is_over = match &self.state {
            State::Idle | State::Done => true,
            State::Stream(relay) => relay.is_over(),
            _ => false,
        };
        is_over && self.keeps && !self.is_dirty && self.relay().is_none_or(|relay| !relay.is_dirty())
    }

    /// What can be said at once of an answer that was just handed out: [`flag::GOOD`] and [`flag::REUSABLE`].
    #[must_use]
    pub fn verdict(&self, answer: &Answer<B>) -> u32 {
        let is_plain = answer.flags & (flag::JSON_OK | flag::NEAR_LIMIT | flag::CUT_CALL) == flag::JSON_OK;
        let is_good = answer.status == 200 && is_plain && answer.usage.is_some();
        let is_whole = answer.flags & flag::COMPLETE != 0;
        (if is_good { flag::GOOD } else { 0 }) | (if is_whole && self.is_reusable() { flag::REUSABLE } else { 0 })
    }

    /// Seconds of `Keep-Alive: timeout`, as last said.
    #[must_use]
    pub const fn keep_alive_s(&self) -> Option<u32> {
        self.keep_alive_s
    }

    /// The stream under way.
    #[must_use]
    pub fn relay(&self) -> Option<&Relay> {
        if let State::Stream(relay) = &self.state { Some(relay) } else { None }
    }

    /// The stream under way, to be fed.
    pub fn relay_mut(&mut self) -> Option<&mut Relay> {
        if let State::Stream(relay) = &mut self.state { Some(relay) } else { None }
    }

    /// Takes a piece of input; `None` until the answer is whole, or its head when it is a stream.
    ///
    /// # Errors
    /// When the answer is not valid, too large, or nobody asked: the connection must be closed then.
    pub fn feed(&mut self, data: B) -> Result<Option<Answer<B>>, Fault> {
        if data.as_ref().is_empty() {
            return Ok(None);
        }
        self.has_bytes = true;
        let fed = match &mut self.state {
            State::Head(_) => {
                let store = Store::after(&mut self.kept, data);
                self.head(store)
            }
            State::Body(_) => self.body(data.as_ref()),
            State::Opened(_) => {
                self.kept.extend_from_slice(data.as_ref());
                Ok(None)
            }
            State::Idle | State::Done | State::Stream(_) | State::Failed => {
                Err(Fault::bad("bytes came while nothing was expected"))
            }
        };
        fed.map_err(|fault| self.fail(fault))
    }

    /// The connection ended: an answer that only its end completes is whole now if its JSON is. A stream takes note
    /// and keeps what it holds for [`Relay::finish`].
    ///
    /// # Errors
    /// When the answer had begun and is not whole.
    pub fn eof(&mut self) -> Result<Option<Answer<B>>, Fault> {
        self.keeps = false;
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Head(_) if self.has_bytes => Err(Fault::bad("the connection ended in the head").upstream()),
            State::Body(mut started) => {
                if !started.collector.decoder.on_end() {
                    return Err(Fault::bad("the connection ended in the body").upstream());
                }
                let answer = Self::close(*started);
                if answer.flags & flag::JSON_OK == 0 {
                    return Err(Fault::bad("the connection ended in the JSON of the body").upstream());
                }
                self.state = State::Done;
                Ok(Some(answer))
            }
            State::Stream(mut relay) => {
                relay.on_end();
                self.state = State::Stream(relay);
                Ok(None)
            }
            State::Opened(decoder) => {
                // Read first, ended later: the relay learns of the end when it is started and fed.
                self.state = State::Opened(decoder);
                Ok(None)
            }
            state => {
                self.state = state;
                Ok(None)
            }
        }
    }

    /// Starts to relay the stream whose head [`Self::feed`] returned. The bytes that came with the head wait for the first
    /// [`Relay::forward`], which may have no others.
    ///
    /// `inject`: that the stream's usage event was asked for by us and is not for the client; `chunked`: that the
    /// client speaks HTTP/1.1. Does nothing when no stream was opened.
    pub fn start_stream(&mut self, inject: bool, chunked: bool, dialect: &'static Dialect) {
        if let State::Opened(_) = self.state
            && let State::Opened(decoder) = std::mem::replace(&mut self.state, State::Failed)
        {
            self.state = State::Stream(Box::new(Relay::new(decoder, inject, chunked, dialect)));
        }
    }

    /// The bytes that came with a stream's head, once.
    pub fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    fn fail(&mut self, fault: Fault) -> Fault {
        self.state = State::Failed;
        self.keeps = false;
        fault.upstream()
    }

    fn head(&mut self, store: Store<B>) -> Result<Option<Answer<B>>, Fault> {
        let State::Head(measure) = &mut self.state else { return Ok(None) };
        let mut start = 0;
        let (status, head, end) = loop {
            let Some(end) = measure.advance(store.as_ref(), start, self.limits)? else {
                self.kept = store.into_rest(start);
                if start > 0 {
                    self.state = State::Head(Measure::default());
                }
                return Ok(None);
            };
            let (status, head) = head::parse_response(store.as_ref(), start, end)?;
            match status {
                // 101 would hand the connection to a protocol that nobody asked for.
                101 => return Err(Fault::bad("the upstream switches protocols")),
                100..200 => {
                    start = end;
                    *measure = Measure::from(start);
                }
                _ => break (status, head, end),
            }
        };
        self.answer(store, status, head, end)
    }

    fn answer(&mut self, store: Store<B>, status: u16, head: Head, end: usize) -> Result<Option<Answer<B>>, Fault> {
        let facts = Facts::read(store.as_ref(), &head)?;
        let framing = facts.framing(status, head.minor)?;
        if facts.keep_alive_s.is_some() {
            self.keep_alive_s = facts.keep_alive_s;
        }
        let mut flags = facts.flags(status);
        self.keeps = framing != Framing::UntilEnd && facts.stays(head.minor);
        if !self.keeps {
            flags |= flag::CLOSE;
        }
        let message = Message { store, head, body: end..end, joined: None };
        let answer = Answer { message, status, flags, usage: None };
        if flags & flag::STREAM != 0 {
            self.kept = answer.message.store.as_ref()[end..].to_vec();
            self.state = State::Opened(Decoder::new(framing));
            return Ok(Some(answer));
        }
        self.attach(answer, framing, end)
    }

    fn attach(&mut self, mut answer: Answer<B>, framing: Framing, end: usize) -> Result<Option<Answer<B>>, Fault> {
        let bytes = answer.message.store.as_ref();
        let there = bytes.len() - end;
        if let Framing::Sized(length) = framing {
            let length = usize::try_from(length).ok().filter(|&length| length <= self.max_answer_bytes);
            let length = length.ok_or_else(super::body::too_large)?;
            if length <= there {
                self.is_dirty = length < there;
                answer.message.body = end..end + length;
                return Ok(Some(self.complete(answer)));
            }
        }
        let mut collector = Collector::new(framing, self.max_answer_bytes);
        collector.body.reserve(there);
        let used = collector.feed(&bytes[end..])?;
        if collector.decoder.is_done() {
            self.is_dirty = end + used < bytes.len();
            answer.message.joined = Some(collector.body);
            return Ok(Some(self.complete(answer)));
        }
        self.state = State::Body(Box::new(Started { answer, collector }));
        Ok(None)
    }

    fn body(&mut self, data: &[u8]) -> Result<Option<Answer<B>>, Fault> {
        let State::Body(started) = &mut self.state else { return Ok(None) };
        let used = started.collector.feed(data)?;
        if !started.collector.decoder.is_done() {
            return Ok(None);
        }
        self.is_dirty = used < data.len();
        let State::Body(started) = std::mem::replace(&mut self.state, State::Done) else { return Ok(None) };
        Ok(Some(Self::close(*started)))
    }

    fn close(started: Started<B>) -> Answer<B> {
        let Started { mut answer, collector } = started;
        answer.message.joined = Some(collector.body);
        Self::judged(answer)
    }

    fn complete(&mut self, answer: Answer<B>) -> Answer<B> {
        self.state = State::Done;
        Self::judged(answer)
    }

    /// Reads the whole body, where it can be JSON.
    fn judged(mut answer: Answer<B>) -> Answer<B> {
        answer.flags |= flag::COMPLETE;
        if answer.flags & flag::ENCODED == 0
            && let Ok((usage, choices)) = read_whole(answer.message.body())
        {
            answer.flags |= flag::JSON_OK;
            answer.usage = usage;
            if tools::has_cut_call(choices.of(answer.message.body())) {
                answer.flags |= flag::CUT_CALL;
            }
        }
        answer
    }
}
