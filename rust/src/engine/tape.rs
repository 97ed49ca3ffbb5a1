//! What a strategy read, in the order in which it read it, so that it can be made to choose again.
//!
//! A strategy is a function of its draws and of what its view answers. So the answers alone are kept, one after the other and without saying
//! what was asked: the same strategy asks the same again, and what stands where on the tape is told by its questions. That costs a store for
//! each answer, on memory that is there already; a tape that is too short for what was read is no proof, and says so.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::refusal::{Refusal, place_of, why_at};
use super::view::PoolView;
use crate::board::region::Line;
use crate::rng::Rng;
use crate::select::{Ask, Home, Strategy, View};

/// Answers to "may it be picked" in one word, two bits each.
const CHECKS: usize = 32;
/// Other answers in one line.
const UNITS: usize = 16;

/// What is on the tape for a value that is not known yet: no number that arithmetic makes.
const UNKNOWN: u32 = u32::MAX;
/// The end of a question to the strategy that found nobody.
const NOBODY: u32 = u32::MAX;

/// Why a position may not be picked, as far as a strategy is told: two bits. `YES`: it may.
const YES: u64 = 0;
const OUT: u64 = 1;
const COOLING: u64 = 2;
const BREAKER: u64 = 3;

/// A tape that is being written.
pub(super) struct Tape<'a> {
    checks: &'a [AtomicU64],
    units: &'a [Line],
    checked: Cell<usize>,
    used: Cell<usize>,
}

impl<'a> Tape<'a> {
    /// An empty tape over this memory, whatever it holds.
    pub(super) const fn over(checks: &'a [AtomicU64], units: &'a [Line]) -> Self {
        Self { checks, units, checked: Cell::new(0), used: Cell::new(0) }
    }

    /// How many checks and units were written; `None`: more than there is room for.
    pub(super) fn written(&self) -> Option<(usize, usize)> {
        let (checked, used) = (self.checked.get(), self.used.get());
        if checked <= self.checks.len() * CHECKS && used <= self.units.len() * UNITS {
            Some((checked, used))
        } else {
            None
        }
    }

    #[inline]
    fn check(&self, code: u64) {
        let at = self.checked.replace(self.checked.get() + 1);
        if let Some(word) = self.checks.get(at / CHECKS) {
            let shift = at % CHECKS * 2;
            word.store(word.load(Relaxed) & !(0b11 << shift) | code << shift, Relaxed);
        }
    }

    #[inline]
    fn unit(&self, value: u32) {
        let at = self.used.replace(self.used.get() + 1);
        if let Some(line) = self.units.get(at / UNITS) {
            line.narrow()[at % UNITS].store(value, Relaxed);
        }
    }

    #[inline]
    fn tokens(&self, value: u64) {
        u32::try_from(value).map_or_else(|_| self.give_up(), |value| self.unit(value));
    }

    #[inline]
    fn pair(&self, value: u64) {
        self.unit(value as u32);
        self.unit((value >> 32) as u32);
    }

    #[inline]
    fn known(&self, value: Option<f32>) {
        self.unit(value.map_or(UNKNOWN, f32::to_bits));
    }

    /// What came now is no answer of a view: the tape is none any more.
    #[cold]
    pub(super) fn give_up(&self) {
        self.used.set(self.units.len() * UNITS + 1);
    }

    /// The strategy has answered.
    #[inline]
    pub(super) fn chose(&self, view: &PoolView<'_>, chosen: Option<usize>, is_taken: bool) {
        let mark = match (chosen, is_taken) {
            (None, _) => NOBODY,
            (Some(at), true) => (at as u32) << 8,
            (Some(at), false) => (at as u32) << 8 | held(view, at),
        };
        self.unit(mark);
    }
}

/// The number of what keeps a position from being taken.
#[cold]
fn held(view: &PoolView<'_>, at: usize) -> u32 {
    place_of(view.hold(at).map_or(Refusal::LOST, |refusal| refusal.why)).into()
}

/// A view that writes down what it answers.
pub(super) struct Noting<'a> {
    pub(super) view: &'a PoolView<'a>,
    pub(super) tape: &'a Tape<'a>,
}

impl View for Noting<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        let may = self.view.is_eligible(at);
        self.tape.check(if may { YES } else { code(self.view.why_not(at)) });
        may
    }
    fn in_flight(&self, at: usize) -> u32 {
        let value = self.view.in_flight(at);
        self.tape.unit(value);
        value
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        let value = self.view.prefill_tokens(at);
        self.tape.tokens(value);
        value
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        let value = self.view.decode_tokens(at);
        self.tape.tokens(value);
        value
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        let value = self.view.latency_s(at);
        self.tape.known(value);
        value
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        let value = self.view.pace_s(at);
        self.tape.known(value);
        value
    }
    fn is_metered(&self) -> bool {
        self.view.is_metered()
    }
    fn owed_s(&self, at: usize) -> f64 {
        let value = self.view.owed_s(at);
        self.tape.pair(value.to_bits());
        value
    }
    /// In the order of the parts that it is made of, as which it is read again.
    fn line(&self, at: usize) -> (u64, u64, f64) {
        let line = self.view.line(at);
        self.tape.tokens(line.0);
        self.tape.tokens(line.1);
        if self.view.is_metered() {
            self.tape.pair(line.2.to_bits());
        }
        line
    }
    fn is_stale(&self, at: usize) -> bool {
        let is_stale = self.view.is_stale(at);
        self.tape.check(u64::from(is_stale));
        is_stale
    }
    fn next_turn(&self) -> u64 {
        let turn = self.view.next_turn();
        self.tape.pair(turn);
        turn
    }
    fn cache_gain(&self) -> f64 {
        let gain = self.view.cache_gain();
        self.tape.pair(gain.to_bits());
        gain
    }
    fn home(&self, key: u64) -> Option<Home> {
        let home = self.view.home(key);
        self.tape.unit(home.map_or(NOBODY, |home| home.at as u32));
        if let Some(Home { tokens, age_s, .. }) = home {
            self.tape.unit(tokens);
            self.tape.unit(age_s);
        }
        home
    }
    fn keep(&self, key: u64, at: usize, tokens: u32) {
        self.view.keep(key, at, tokens);
    }
}

#[cold]
fn code(why: &'static str) -> u64 {
    match why {
        Refusal::COOLING => COOLING,
        Refusal::BREAKER => BREAKER,
        _ => OUT,
    }
}

/// What was read of one position; nothing of what was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whether it might be picked.
    pub is_eligible: Option<bool>,
    /// What its breaker or a pause held back; nothing: it was left out, because it was tried or drains.
    pub held: Option<&'static str>,
    /// Requests in flight.
    pub in_flight: Option<u32>,
    /// Prompt tokens before their first token.
    pub prefill_tokens: Option<u64>,
    /// Output tokens owed.
    pub decode_tokens: Option<u64>,
    /// Learned time to first token.
    pub latency_s: Option<Option<f32>>,
    /// Learned time per token of work.
    pub pace_s: Option<Option<f32>>,
    /// Until its limits have their whole burst again.
    pub owed_s: Option<f64>,
    /// Whether nothing was heard of it for a second.
    pub is_stale: Option<bool>,
}

/// A question to the strategy and its answer, to be shown.
#[derive(Debug, Default)]
pub struct Told {
    /// The position, if there was one.
    pub chosen: Option<usize>,
    /// Whether its limits had room.
    pub is_taken: bool,
    /// What it had no room for.
    pub held: &'static str,
    /// Where the session was.
    pub home: Option<Home>,
    /// Turns of the pool's cursor.
    pub turns: Vec<u64>,
    /// What was read, by position.
    pub seen: BTreeMap<usize, Facts>,
}

/// What a tape belongs to, and what is on it.
pub(super) struct Recorded<'a> {
    pub(super) strategy: &'a dyn Strategy,
    pub(super) len: usize,
    pub(super) is_metered: bool,
    pub(super) ask: Ask,
    pub(super) draw: u64,
    pub(super) checks: &'a [u64],
    pub(super) checked: usize,
    pub(super) units: &'a [u32],
}

impl Recorded<'_> {
    /// Makes the choices again. Returns each with what it read, and whether all came out the same, to the end of the tape.
    pub(super) fn replayed(&self) -> (Vec<Told>, bool) {
        let mut rng = Rng::new(self.draw);
        let again = Again { tape: self, checked: Cell::new(0), used: Cell::new(0), told: RefCell::default() };
        let (mut picks, mut is_same) = (Vec::new(), true);
        while is_same && again.used.get() < self.units.len() {
            let chosen = self.strategy.select(&again, &self.ask, &mut rng);
            let mark = again.unit();
            let was = (mark != NOBODY).then_some((mark >> 8) as usize);
            is_same = chosen == was && again.used.get() <= self.units.len();
            let held = why_at((mark & 0xFF) as u8);
            let is_taken = was.is_some() && held.is_empty();
            let held = if was.is_some() { held } else { "" };
            picks.push(Told { chosen: was, is_taken, held, ..again.told.take() });
        }
        (picks, is_same && again.checked.get() == self.checked)
    }
}

/// The pool as a decision saw it.
struct Again<'a> {
    tape: &'a Recorded<'a>,
    checked: Cell<usize>,
    used: Cell<usize>,
    told: RefCell<Told>,
}

impl Again<'_> {
    fn check(&self) -> u64 {
        let at = self.checked.replace(self.checked.get() + 1);
        let word = self.tape.checks.get(at / CHECKS).filter(|_| at < self.tape.checked);
        word.map_or(OUT, |word| word >> (at % CHECKS * 2) & 0b11)
    }
    fn unit(&self) -> u32 {
        let at = self.used.replace(self.used.get() + 1);
        self.tape.units.get(at).copied().unwrap_or(0)
    }
    fn pair(&self) -> u64 {
        u64::from(self.unit()) | u64::from(self.unit()) << 32
    }
    fn known(&self) -> Option<f32> {
        Some(self.unit()).filter(|bits| *bits != UNKNOWN).map(f32::from_bits)
    }
    fn seen<T: Copy>(&self, at: usize, field: fn(&mut Facts) -> &mut Option<T>, value: T) -> T {
        *field(self.told.borrow_mut().seen.entry(at).or_default()) = Some(value);
        value
    }
}

impl View for Again<'_> {
    fn len(&self) -> usize {
        self.tape.len
    }
    fn is_eligible(&self, at: usize) -> bool {
        let code = self.check();
        let why =
            [(COOLING, Refusal::COOLING), (BREAKER, Refusal::BREAKER)].into_iter().find(|(held, _)| *held == code);
        if let Some((_, why)) = why {
            self.seen(at, |facts| &mut facts.held, why);
        }
        self.seen(at, |facts| &mut facts.is_eligible, code == YES)
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.seen(at, |facts| &mut facts.in_flight, self.unit())
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.seen(at, |facts| &mut facts.prefill_tokens, self.unit().into())
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.seen(at, |facts| &mut facts.decode_tokens, self.unit().into())
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.seen(at, |facts| &mut facts.latency_s, self.known())
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.seen(at, |facts| &mut facts.pace_s, self.known())
    }
    fn is_metered(&self) -> bool {
        self.tape.is_metered
    }
    fn owed_s(&self, at: usize) -> f64 {
        self.seen(at, |facts| &mut facts.owed_s, f64::from_bits(self.pair()))
    }
    fn is_stale(&self, at: usize) -> bool {
        let is_stale = self.check() != 0;
        self.seen(at, |facts| &mut facts.is_stale, is_stale)
    }
    fn next_turn(&self) -> u64 {
        let turn = self.pair();
        self.told.borrow_mut().turns.push(turn);
        turn
    }
    fn cache_gain(&self) -> f64 {
        f64::from_bits(self.pair())
    }
    fn home(&self, _key: u64) -> Option<Home> {
        let at = self.unit();
        let home = (at != NOBODY).then(|| Home { at: at as usize, tokens: self.unit(), age_s: self.unit() });
        self.told.borrow_mut().home = home;
        home
    }
}
