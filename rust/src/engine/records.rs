//! What became of the last requests of one worker, and how their endpoints were chosen: rings in memory that is there before any of them.
//!
//! A request has a number; its record stands at `number % KEPT` until another one's stands there. It has its choices, each with the tape of
//! what the strategy read (`tape`), in a second ring, the last one first. Nothing here is allocated for a request, nothing is locked, and
//! memory that no request has reached yet costs none. One worker writes, on one thread: the interpreter's.
//!
//! There are numbers only: names have rows of the board for as long as that lives. Prompts and keys are nowhere.

mod choices;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::pool::Wish;
use super::refusal::{Refused, Whose, place_of, why_at};
use super::ticket::Outcome;
use crate::board::region::{Line, Region};
use crate::limit::Use;
use crate::units::Nanos;

/// Requests that are remembered (CONTRACT section 6), and choices.
pub const KEPT: u64 = 4_096;
/// Lines of a request: numbers in the first one, texts in the others.
const REQUEST: usize = 3;
/// Lines of a choice: two of numbers, the others are the tape's.
const CHOICE: usize = 5;
/// What a request says that has not ended.
const OPEN: u64 = 0xFF;
/// Nobody: of keys, and of positions.
const NONE: u64 = 0xFFFF;
/// Longest error code and longest id of a client's own that are kept, bytes.
const TEXTS: [usize; 2] = [32, 88];

/// The records of one worker.
pub struct Records {
    /// `x-request-id: req-` and `x-dispatch-decision: ` with what all ids of this worker begin with.
    lines: [Box<[u8]>; 2],
    numbers: AtomicU64,
    serials: AtomicU32,
    tags: AtomicU32,
    region: Option<Region>,
}

/// A request of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Slot of the model.
    pub model: u16,
    /// Slot of the key.
    pub key: Option<u16>,
    /// When it came.
    pub received: Nanos,
    /// When it was let in, the last time.
    pub admitted: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// Our own time on it.
    pub overhead: Nanos,
    /// A failure's number; `None`: it is under way.
    pub outcome: Option<u8>,
    /// What would not let it in, and whose that is; empty: nothing.
    pub refused: (&'static str, &'static str),
    /// How good it was, in millionths.
    pub score: Option<u32>,
    /// The code of the error that its client was told.
    pub error: Vec<u8>,
    /// Its own id, if its client gave it one.
    pub given: Vec<u8>,
}

/// One choice of a pool for it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The pool.
    pub tag: u32,
    /// What was asked.
    pub wish: Wish,
    /// The position; `None`: nobody.
    pub at: Option<u16>,
    /// What held all back, if there was nobody.
    pub refused: &'static str,
    /// Slow starts or breakers gave way.
    pub is_soft: bool,
    /// Whether this attempt followed another one.
    pub is_retry: bool,
    /// A failure's number; `None`: it is under way, or nobody was asked.
    pub outcome: Option<u8>,
    /// When it ended.
    pub ended: Nanos,
    /// Tokens used.
    pub used: Use,
    /// What was read; `None`: more than there is room for.
    pub tape: Option<(usize, Vec<u64>, Vec<u32>)>,
}

impl Records {
    /// Empty ones, of a worker whose ids all begin with `prefix`. Where there is no memory for them there will be none.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let line = |field: &str| format!("{field}{prefix}").into_bytes().into();
        Self {
            lines: [line("x-request-id: req-"), line("x-dispatch-decision: ")],
            numbers: AtomicU64::new(0),
            serials: AtomicU32::new(0),
            tags: AtomicU32::new(0),
            region: Region::private((KEPT as usize) * (REQUEST + CHOICE)).ok(),
        }
    }

    /// The number of a request that begins, from 1 on.
    pub fn begin(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }

    /// Numbers that were given.
    pub fn begun(&self) -> u64 {
        self.numbers.load(Relaxed)
    }

    /// A tag for a pool that is built.
    pub(super) fn tag(&self) -> u32 {
        self.tags.fetch_add(1, Relaxed)
    }

    /// Writes the lines of a head that name a request: its id, and that of its decision unless nobody notes it.
    pub fn write_lines(&self, number: u64, is_noted: bool, out: &mut Vec<u8>) {
        let mut digits = [b'0'; 16];
        let mut first = digits.len();
        let mut left = number;
        while first > 0 && (left > 0 || first == digits.len()) {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(left & 0xF) as usize];
            left >>= 4;
        }
        for line in &self.lines[..=usize::from(is_noted)] {
            out.extend_from_slice(line);
            out.extend_from_slice(&digits[first..]);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn lines_at(&self, first: usize, count: usize) -> &[Line] {
        self.region.as_ref().and_then(|region| region.lines().get(first..first + count)).unwrap_or_default()
    }

    fn request(&self, number: u64) -> &[Line] {
        self.lines_at((number % KEPT) as usize * REQUEST, REQUEST)
    }

    fn choice(&self, serial: u32) -> &[Line] {
        self.lines_at(KEPT as usize * REQUEST + (u64::from(serial) % KEPT) as usize * CHOICE, CHOICE)
    }

    /// The lines of a request, if they are still its own.
    fn own(&self, number: u64) -> Option<&[Line]> {
        let lines = self.request(number);
        (number != 0 && lines.first()?.wide()[0].load(Relaxed) == number).then_some(lines)
    }

    /// A request was let in or not. One that waits comes here each time that it is tried.
    pub fn admitted(&self, number: u64, model: u16, key: Option<u16>, now: Nanos, refused: Option<&Refused>) {
        let Some([first, second, ..]) = self.claimed(number) else { return };
        let words = first.wide();
        words[1].store(u64::from(model) << 16 | key.map_or(NONE, u64::from), Relaxed);
        if words[2].load(Relaxed) == 0 {
            words[2].store(now.0, Relaxed);
        }
        words[3].store(now.0, Relaxed);
        if let Some((refusal, whose)) = refused {
            let told = u64::from(place_of(refusal.why)) << 8 | (*whose as u64) << 16;
            let word = &second.wide()[0];
            word.store(word.load(Relaxed) & !0x00FF_FF00 | told, Relaxed);
        }
    }

    /// The lines of a request, emptied if they were another one's.
    fn claimed(&self, number: u64) -> Option<&[Line]> {
        let lines = self.request(number);
        let [first, second, ..] = lines else { return None };
        let words = first.wide();
        if words[0].load(Relaxed) != number {
            words[0].store(number, Relaxed);
            for word in &words[1..] {
                word.store(0, Relaxed);
            }
            second.wide()[0].store(OPEN, Relaxed);
        }
        Some(lines)
    }

    /// A request was settled.
    pub(super) fn settled(&self, number: u64, outcome: &Outcome) {
        let Some([first, second, ..]) = self.own(number) else { return };
        let words = first.wide();
        words[4].store(outcome.now.0, Relaxed);
        words[5].store(outcome.overhead.0, Relaxed);
        let word = &second.wide()[0];
        word.store(word.load(Relaxed) & !0xFF | outcome.failure as u64, Relaxed);
    }

    /// A request ended without an answer: how, and the code of its error.
    pub fn failed(&self, number: u64, outcome: u8, now: Nanos, error: &[u8]) {
        let Some([first, second, _]) = self.own(number) else { return };
        first.wide()[4].store(now.0, Relaxed);
        let word = &second.wide()[0];
        word.store(word.load(Relaxed) & !0xFF | u64::from(outcome), Relaxed);
        self.tell(number, 0, error);
    }

    /// Keeps the id that the client gave its request, before it is let in.
    pub fn named(&self, number: u64, given: &[u8]) {
        let _emptied = self.claimed(number);
        self.tell(number, 1, given);
    }

    /// Writes a text, cut to its place; lengths stand in the first word.
    fn tell(&self, number: u64, which: usize, text: &[u8]) {
        let Some([_, second, third]) = self.own(number) else { return };
        let kept = &text[..text.len().min(TEXTS[which])];
        let words = second.wide()[1..].iter().chain(third.wide()).skip(which * TEXTS[0] / 8);
        for (word, bytes) in words.zip(kept.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        let (word, shift) = (&second.wide()[0], 24 + 8 * which);
        word.store(word.load(Relaxed) & !(0xFF << shift) | (kept.len() as u64) << shift, Relaxed);
    }

    /// Keeps how good an answer was, in millionths. False: its record is gone.
    pub fn judged(&self, number: u64, score: u32) -> bool {
        let Some([_, second, ..]) = self.own(number) else { return false };
        // What is left of the word; 0 is none.
        let told = u64::from(score.min(1_000_000)) + 1;
        let word = &second.wide()[0];
        word.store(word.load(Relaxed) & !(0xFF_FFFF << 40) | told << 40, Relaxed);
        true
    }

    /// What is known of a request; `None`: it is gone, or never was.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<Request> {
        let lines = self.own(number)?;
        let [first, second, third] = lines else { return None };
        let word = |at: usize| first.wide()[at].load(Relaxed);
        let told = second.wide()[0].load(Relaxed);
        let texts: Vec<u8> =
            second.wide()[1..].iter().chain(third.wide()).flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        let text =
            |from: usize, shift: u32| texts[from..].iter().take((told >> shift) as usize & 0xFF).copied().collect();
        let score = told >> 40;
        Some(Request {
            model: (word(1) >> 16) as u16,
            key: Some(word(1) as u16).filter(|key| u64::from(*key) != NONE),
            received: Nanos(word(2)),
            admitted: Nanos(word(3)),
            ended: Nanos(word(4)),
            overhead: Nanos(word(5)),
            outcome: Some(told as u8).filter(|outcome| u64::from(*outcome) != OPEN),
            refused: refused_by((told >> 8) as u8, (told >> 16) as u8),
            score: (score > 0).then(|| (score - 1) as u32),
            error: text(0, 24),
            given: text(TEXTS[0], 32),
        })
    }
}

fn refused_by(why: u8, whose: u8) -> (&'static str, &'static str) {
    let names = [Whose::Key, Whose::Model, Whose::Queue, Whose::Pool].map(Whose::name);
    if why == 0 { ("", "") } else { (why_at(why), names.get(usize::from(whose)).copied().unwrap_or_default()) }
}
