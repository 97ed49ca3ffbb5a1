//! A decision with what it was made of, so that it can be shown and made again, bit for bit.
//!
//! The board goes on changing, and a later look cannot tell what a decision saw. So what the strategy reads is noted as it reads it, with the
//! state of its randomness, and nothing else; the same strategy over the notes then takes the same way. A decision without a trail
//! (`Pool::acquire`) runs none of this.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::lease::Lease;
use super::pool::{PICKS, Pool, Wish};
use super::refusal::Refusal;
use super::view::{PoolView, bit};
use crate::rng::Rng;
use crate::select::{Ask, Home, View};

/// What was read of one position; nothing of what was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whether it might be picked.
    pub is_eligible: Option<bool>,
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

/// What one question to the strategy read.
#[derive(Clone, Debug, Default)]
struct Notes {
    len: usize,
    is_metered: bool,
    seen: BTreeMap<usize, Facts>,
    turns: Vec<u64>,
    home: Option<Home>,
    cache_gain: f64,
}

/// One question to the strategy.
struct Pick {
    rng: Rng,
    notes: Notes,
    chosen: Option<usize>,
    is_taken: bool,
}

/// A question and its answer, to be shown.
#[derive(Debug)]
pub struct Told<'a> {
    /// The position, if there was one.
    pub chosen: Option<usize>,
    /// Whether its limits had room.
    pub is_taken: bool,
    /// Where the session was.
    pub home: Option<Home>,
    /// Turns of the pool's cursor.
    pub turns: &'a [u64],
    /// What was read, by position.
    pub seen: &'a BTreeMap<usize, Facts>,
}

/// How one decision was made.
pub struct Trail {
    pool: Arc<Pool>,
    ask: Ask,
    picks: Vec<Pick>,
    /// Why positions could not take it, as far as they could not.
    pub held: Vec<(usize, &'static str)>,
    /// Whether slow starts or breakers gave way in the end, which no question tells.
    pub is_soft: bool,
}

impl Pool {
    /// As `acquire`, with how it came to it.
    pub fn acquire_told(self: &Arc<Self>, wish: &Wish) -> (Result<Lease, Refusal>, Trail) {
        let mut view = PoolView::new(self, wish, wish.tokens.units());
        let held = (0..self.len()).filter_map(|at| view.hold(at).map(|refusal| (at, refusal.why))).collect();
        let ask = Ask { tokens: wish.tokens.input, output: wish.tokens.output, hash: wish.hash, now: wish.now };
        let mut trail = Trail { pool: Arc::clone(self), ask, picks: Vec::new(), held, is_soft: false };
        let mut rng = Rng::new(wish.draw);
        while trail.picks.len() < PICKS {
            let before = rng.clone();
            let noting = Noting { view: &view, notes: RefCell::default() };
            let chosen = self.strategy.select(&noting, &ask, &mut rng);
            let notes = Notes { len: self.len(), is_metered: view.is_metered(), ..noting.notes.into_inner() };
            let trial = chosen.and_then(|at| view.reserve(at));
            trail.picks.push(Pick { rng: before, notes, chosen, is_taken: trial.is_some() });
            match (chosen, trial) {
                (Some(at), Some(trial)) => return (Ok(self.granted(&view, at, trial)), trail),
                (Some(at), None) => view.excluded |= bit(at),
                (None, _) => break,
            }
        }
        let decision = self.acquire(wish);
        trail.is_soft = decision.is_ok();
        (decision, trail)
    }
}

impl Trail {
    /// The questions, in order.
    pub fn told(&self) -> impl Iterator<Item = Told<'_>> {
        self.picks.iter().map(|pick| {
            let Pick { chosen, is_taken, notes, .. } = pick;
            let Notes { home, turns, seen, .. } = notes;
            Told { chosen: *chosen, is_taken: *is_taken, home: *home, turns, seen }
        })
    }

    /// Makes the choices again from what was noted. Whether each came out the same.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.picks.iter().all(|pick| {
            let again = Again { notes: &pick.notes, turn: Cell::new(0) };
            self.pool.strategy.select(&again, &self.ask, &mut pick.rng.clone()) == pick.chosen
        })
    }
}

/// A view that notes what is read of it. What was read once is the same when it is read again.
struct Noting<'a> {
    view: &'a dyn View,
    notes: RefCell<Notes>,
}

impl Noting<'_> {
    fn noted<T: Copy>(&self, at: usize, field: fn(&mut Facts) -> &mut Option<T>, read: impl FnOnce() -> T) -> T {
        let known = *field(self.notes.borrow_mut().seen.entry(at).or_default());
        known.unwrap_or_else(|| {
            let value = read();
            *field(self.notes.borrow_mut().seen.entry(at).or_default()) = Some(value);
            value
        })
    }
}

impl View for Noting<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.noted(at, |facts| &mut facts.is_eligible, || self.view.is_eligible(at))
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.noted(at, |facts| &mut facts.in_flight, || self.view.in_flight(at))
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.noted(at, |facts| &mut facts.prefill_tokens, || self.view.prefill_tokens(at))
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.noted(at, |facts| &mut facts.decode_tokens, || self.view.decode_tokens(at))
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.noted(at, |facts| &mut facts.latency_s, || self.view.latency_s(at))
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.noted(at, |facts| &mut facts.pace_s, || self.view.pace_s(at))
    }
    fn is_metered(&self) -> bool {
        self.view.is_metered()
    }
    fn owed_s(&self, at: usize) -> f64 {
        self.noted(at, |facts| &mut facts.owed_s, || self.view.owed_s(at))
    }
    fn is_stale(&self, at: usize) -> bool {
        self.noted(at, |facts| &mut facts.is_stale, || self.view.is_stale(at))
    }
    fn next_turn(&self) -> u64 {
        let turn = self.view.next_turn();
        self.notes.borrow_mut().turns.push(turn);
        turn
    }
    fn cache_gain(&self) -> f64 {
        let gain = self.view.cache_gain();
        self.notes.borrow_mut().cache_gain = gain;
        gain
    }
    fn home(&self, key: u64) -> Option<Home> {
        let home = self.view.home(key);
        self.notes.borrow_mut().home = home;
        home
    }
    fn keep(&self, key: u64, at: usize, tokens: u32) {
        self.view.keep(key, at, tokens);
    }
}

/// The pool as a decision saw it. What it did not read is as of a position that does nothing.
struct Again<'a> {
    notes: &'a Notes,
    turn: Cell<usize>,
}

impl Again<'_> {
    fn fact<T>(&self, at: usize, field: fn(&Facts) -> Option<T>) -> Option<T> {
        self.notes.seen.get(&at).and_then(field)
    }
}

impl View for Again<'_> {
    fn len(&self) -> usize {
        self.notes.len
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.fact(at, |facts| facts.is_eligible).unwrap_or(false)
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.fact(at, |facts| facts.in_flight).unwrap_or(0)
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.fact(at, |facts| facts.prefill_tokens).unwrap_or(0)
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.fact(at, |facts| facts.decode_tokens).unwrap_or(0)
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.fact(at, |facts| facts.latency_s).flatten()
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.fact(at, |facts| facts.pace_s).flatten()
    }
    fn is_metered(&self) -> bool {
        self.notes.is_metered
    }
    fn owed_s(&self, at: usize) -> f64 {
        self.fact(at, |facts| facts.owed_s).unwrap_or(0.0)
    }
    fn is_stale(&self, at: usize) -> bool {
        self.fact(at, |facts| facts.is_stale).unwrap_or(false)
    }
    fn next_turn(&self) -> u64 {
        let turn = self.turn.replace(self.turn.get() + 1);
        self.notes.turns.get(turn).copied().unwrap_or(0)
    }
    fn cache_gain(&self) -> f64 {
        self.notes.cache_gain
    }
    fn home(&self, _key: u64) -> Option<Home> {
        self.notes.home
    }
}
