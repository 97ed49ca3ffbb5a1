//! What of a stream may go to the client now.
//!
//! Until the first delta everything is held: another endpoint may still answer instead (CONTRACT 4, "committed"). Bytes of
//! events are never written anew; they are passed on, cut, or left out.

use super::dialect::{DONE, Dialect, Framing, effect};
use super::event::Facts;
use super::out::Out;
use super::split::{Block, Splitter};
use super::tools::Calls;
use crate::json::{Span, Usage};

/// Most bytes of one event, and of events held before the first delta.
pub const MAX_HELD: usize = 1 << 20;

/// Bits of [`Stream::state`].
pub mod state {
    /// A delta, or a finished answer without one, was given out.
    pub const COMMITTED: u32 = 1;
    /// Every choice seen has its finish reason.
    pub const FINISHED: u32 = 1 << 1;
    /// The final usage was seen.
    pub const USAGE: u32 = 1 << 2;
    /// The dialect's terminator was seen.
    pub const TERMINATED: u32 = 1 << 3;
    /// An error event was seen: nothing is given out from there on.
    pub const ERROR: u32 = 1 << 4;
    /// The HTTP message ended by its own rules.
    pub const ENDED: u32 = 1 << 5;
    /// The HTTP message is broken or cut, or an event too large: nothing is given out from there on.
    pub const BAD_FRAMING: u32 = 1 << 6;
    /// The client's message was ended.
    pub const CLOSED: u32 = 1 << 7;
    /// The stream is over in a way that may end cleanly.
    pub const COMPLETE: u32 = FINISHED | TERMINATED;
    /// A choice finished with a tool call whose arguments are cut: nothing is given out from there on.
    pub const CUT_CALL: u32 = 1 << 8;
    /// Nothing more goes out.
    pub const MUTE: u32 = ERROR | BAD_FRAMING | CLOSED | CUT_CALL;
}

/// One stream.
#[expect(clippy::struct_excessive_bools, reason = "two are settings, two are steps that come in any order")]
#[derive(Debug)]
pub struct Stream {
    dialect: &'static Dialect,
    /// Whether the usage event was asked for by us alone.
    inject: bool,
    splitter: Splitter,
    /// The block that is not whole.
    tail: Vec<u8>,
    is_begun: bool,
    /// Events before the first delta.
    held: Vec<u8>,
    /// Comments before the first delta, and whether they still wait.
    comments: Vec<u8>,
    holds_comments: bool,
    seen: u128,
    finished: u128,
    calls: Calls,
    /// The last event was given out: what follows is left out.
    pub is_closing: bool,
    /// Bits of [`state`].
    pub state: u32,
    /// Tokens so far.
    pub usage: Usage,
    /// Malformed events that were left out.
    pub dropped: u64,
    /// Events with a part of the answer's substance.
    pub deltas: u64,
    /// Bytes of it, as they are written in JSON.
    pub text: u64,
    /// The data of the error event.
    pub error_event: Vec<u8>,
}

/// What becomes of a block.
enum Verdict {
    Pass,
    /// Pass without these bytes.
    Cut(Span),
    Comment,
    Leave,
}

impl Stream {
    /// A stream before its first byte.
    #[must_use]
    pub fn new(inject: bool, dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            inject,
            splitter: Splitter::of_lines(dialect.framing == Framing::Lines),
            tail: Vec::new(),
            is_begun: false,
            held: Vec::new(),
            comments: Vec::new(),
            holds_comments: true,
            seen: 0,
            finished: 0,
            calls: Calls::default(),
            is_closing: false,
            state: 0,
            usage: Usage::default(),
            dropped: 0,
            deltas: 0,
            text: 0,
            error_event: Vec::new(),
        }
    }

    /// Takes a piece of the stream; afterwards `out.run` is a range of `piece`.
    pub fn push(&mut self, piece: &[u8], out: &mut Out) {
        if self.dialect.framing == Framing::Raw {
            return out.keep(piece, Span { start: 0, end: piece.len() });
        }
        if !self.tail.is_empty() {
            return self.push_through_tail(piece, out);
        }
        let used = self.begin(piece).map_or(0, |start| self.blocks(piece, start, false, out));
        self.tail.extend_from_slice(&piece[used..]);
        self.check_size(self.tail.len());
    }

    /// The stream ended: what is left is taken as an event of its own.
    pub fn end(&mut self, out: &mut Out) {
        let mut tail = std::mem::take(&mut self.tail);
        let used = self.blocks(&tail, 0, true, out);
        out.settle(&tail);
        if used < tail.len() {
            tail.drain(..used);
            let mut block = self.splitter.rest(&tail);
            tail.extend_from_slice(self.dialect.end_of_event());
            block.length = tail.len();
            self.block(&tail, 0, block, out);
            out.settle(&tail);
        }
    }

    /// Gives out the comments that are held, and holds none from now on (the keep-alive of CONTRACT 4).
    pub fn release(&mut self, out: &mut Out) {
        self.holds_comments = false;
        out.copied.append(&mut self.comments);
    }

    /// Gives out all that is held: nobody else will answer.
    pub fn commit(&mut self, out: &mut Out) {
        self.state |= state::COMMITTED;
        out.copied.append(&mut self.comments);
        out.copied.append(&mut self.held);
    }

    /// Whether the stream may end cleanly: its terminator, or every finish reason, and no error.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.state & state::COMPLETE != 0 && self.state & (state::ERROR | state::CUT_CALL) == 0
    }

    fn push_through_tail(&mut self, piece: &[u8], out: &mut Out) {
        let mut tail = std::mem::take(&mut self.tail);
        tail.extend_from_slice(piece);
        let used = self.begin(&tail).map_or(0, |start| self.blocks(&tail, start, false, out));
        out.settle(&tail);
        tail.drain(..used);
        self.tail = tail;
        self.check_size(self.tail.len());
    }

    /// The length of a byte order mark at the beginning; `None` while it may still become one.
    fn begin(&mut self, bytes: &[u8]) -> Option<usize> {
        const MARK: &[u8] = b"\xEF\xBB\xBF";
        if self.is_begun {
            return Some(0);
        }
        if bytes.len() < MARK.len() && MARK.starts_with(bytes) {
            return None;
        }
        self.is_begun = true;
        Some(if bytes.starts_with(MARK) { MARK.len() } else { 0 })
    }

    /// Takes all whole blocks of `input` from `at` on; returns where the rest begins.
    fn blocks(&mut self, input: &[u8], mut at: usize, is_end: bool, out: &mut Out) -> usize {
        while let Some(block) = self.splitter.next(&input[at..], is_end) {
            self.block(input, at, block, out);
            at += block.length;
        }
        at
    }

    /// Refuses what grows without end. Counted per block, so that it does not depend on the cuts either.
    fn check_size(&mut self, length: usize) {
        if length > self.dialect.max_held {
            self.state |= state::BAD_FRAMING;
            self.tail = Vec::new();
            self.held = Vec::new();
            self.comments = Vec::new();
        }
    }

    fn block(&mut self, input: &[u8], at: usize, block: Block, out: &mut Out) {
        self.check_size(block.length);
        if self.state & state::MUTE != 0 || self.is_closing {
            return;
        }
        let whole = Span { start: at, end: at + block.length };
        match self.judge(whole.of(input), &block) {
            Verdict::Leave => {}
            Verdict::Comment => self.give(input, whole, true, out),
            Verdict::Pass => self.give(input, whole, false, out),
            Verdict::Cut(cut) => {
                self.give(input, Span { start: at, end: at + cut.start }, false, out);
                self.give(input, Span { start: at + cut.end, end: whole.end }, false, out);
            }
        }
    }

    /// Gives out a part of a block, or holds it.
    #[inline]
    fn give(&mut self, input: &[u8], span: Span, is_comment: bool, out: &mut Out) {
        if self.state & state::COMMITTED != 0 {
            if !self.held.is_empty() || !self.comments.is_empty() {
                out.settle(input);
                out.copied.append(&mut self.comments);
                out.copied.append(&mut self.held);
            }
            out.keep(input, span);
        } else if is_comment && !self.holds_comments {
            out.keep(input, span);
        } else {
            let place = if is_comment { &mut self.comments } else { &mut self.held };
            place.extend_from_slice(span.of(input));
            self.check_size(self.held.len() + self.comments.len());
        }
    }

    fn judge(&mut self, block: &[u8], parts: &Block) -> Verdict {
        if parts.data_lines == 0 {
            return self.judge_bare(block, parts);
        }
        let joined = if parts.data_lines > 1 { Some(parts.joined(block)) } else { None };
        let data = joined.as_deref().unwrap_or(parts.data.of(block));
        match data.trim_ascii() {
            // Not JSON either: an SDK that decodes every event ends with an exception here.
            b"" => {
                self.dropped += 1;
                return Verdict::Leave;
            }
            DONE => {
                if self.calls.finish(!0, 0) {
                    self.state |= state::CUT_CALL;
                    return Verdict::Leave;
                }
                self.note(effect::TERMINATOR | effect::CLOSE);
                return Verdict::Pass;
            }
            _ => {}
        }
        let Ok(facts) = self.dialect.read(data) else {
            self.dropped += 1;
            return Verdict::Leave;
        };
        let verdict = self.judge_facts(data, parts.name.of(block), &facts);
        match verdict {
            // Offsets in joined data are not those of the block; null fields of such an event stay.
            Verdict::Cut(_) if joined.is_some() => Verdict::Pass,
            Verdict::Cut(cut) => {
                let start = parts.data.start;
                Verdict::Cut(Span { start: start + cut.start, end: start + cut.end })
            }
            other => other,
        }
    }

    /// A block without data: comments, or an error that forgot to be an event (Gemini sends such).
    fn judge_bare(&mut self, block: &[u8], parts: &Block) -> Verdict {
        if parts.has_other
            && block.trim_ascii_start().starts_with(b"{")
            && Facts::read(block).is_ok_and(|facts| facts.has_error)
        {
            self.fail(block.trim_ascii());
            return Verdict::Leave;
        }
        Verdict::Comment
    }

    fn judge_facts(&mut self, data: &[u8], name: &[u8], facts: &Facts) -> Verdict {
        let mut effects = if self.dialect.has_choices {
            self.chunk_effects(facts)
        } else {
            let kind = facts.kind.and_then(|kind| kind.decode(data));
            self.dialect.effects(kind.as_deref().unwrap_or(name)) | facts.end
        };
        if facts.has_error || name == b"error" {
            effects |= effect::ERROR;
        }
        if effects & effect::FINISH_IF_STOPPED != 0 && facts.has_stop_reason {
            effects |= effect::FINISH;
        }
        if effects & effect::ERROR != 0 {
            self.fail(data.trim_ascii());
            return Verdict::Leave;
        }
        if (facts.tools.is_some() || facts.piece.is_some() || !self.calls.is_empty())
            && self.is_call_cut(data, facts, effects)
        {
            self.state |= state::CUT_CALL;
            return Verdict::Leave;
        }
        if let Some(usage) = facts.usage {
            self.usage = self.usage.max(usage);
        } else {
            effects &= !effect::USAGE;
        }
        self.text += facts.text as u64;
        self.note(effects);
        self.shape(facts)
    }

    fn is_call_cut(&mut self, data: &[u8], facts: &Facts, effects: u32) -> bool {
        if let Some(place) = facts.tools {
            self.calls.take(place.choice, place.calls.of(data));
        }
        if let Some(piece) = facts.piece.filter(|_| effects & effect::ARGUMENTS != 0) {
            self.calls.take_piece(facts.index, piece, data, effects & effect::WHOLE != 0);
        }
        let all = |bit: u32| if effects & bit == 0 { 0 } else { !0 };
        let finished = if self.dialect.has_choices { facts.finished } else { all(effect::FINISH) };
        finished != 0 && self.calls.finish(finished, facts.limited | all(effect::LIMITED))
    }

    /// Effects of a chunk in the dialect whose events have no type.
    fn chunk_effects(&mut self, facts: &Facts) -> u32 {
        self.seen |= facts.seen;
        self.finished |= facts.finished;
        let mut effects = effect::USAGE;
        if facts.has_delta {
            effects |= effect::DELTA;
        }
        if self.seen != 0 && self.finished == self.seen {
            effects |= effect::FINISH | facts.end;
        } else {
            // A choice that was not seen before may come after all others have finished.
            self.state &= !state::FINISHED;
        }
        effects
    }

    fn note(&mut self, effects: u32) {
        const PAIRS: [(u32, u32); 5] = [
            (effect::DELTA, state::COMMITTED),
            // An answer may finish without a delta; it is whole then, and nobody else is asked.
            (effect::FINISH, state::FINISHED | state::COMMITTED),
            (effect::USAGE, state::USAGE),
            (effect::TERMINATOR, state::TERMINATED),
            (effect::ERROR, state::ERROR),
        ];
        for (effect, bits) in PAIRS {
            if effects & effect != 0 {
                self.state |= bits;
            }
        }
        self.deltas += u64::from(effects & effect::DELTA != 0);
        // A terminator after nothing is no answer that anybody should get before somebody decided so.
        self.is_closing = effects & effect::CLOSE != 0 && self.state & state::COMMITTED != 0;
    }

    /// What our own question for usage put into an event, the client does not see.
    fn shape(&self, facts: &Facts) -> Verdict {
        if !self.inject || !self.dialect.has_choices {
            return Verdict::Pass;
        }
        if facts.has_no_choices && facts.usage.is_some() && !facts.has_payload {
            return Verdict::Leave;
        }
        facts.null_usage.map_or(Verdict::Pass, Verdict::Cut)
    }

    fn fail(&mut self, data: &[u8]) {
        self.state |= state::ERROR;
        self.error_event = data.to_vec();
    }
}
