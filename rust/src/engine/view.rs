//! A pool through the eyes of a strategy, for one request: who may be asked, who takes it, and what holds the others back.
//!
//! *Panic*: when less than a part of the pool is usable and what is left has no room, breakers give way, but only a little. Each endpoint
//! that is held back gets one request a second besides its probes. Envoy spreads the whole load over the sick then; where a retry elsewhere
//! costs seconds and tokens that would turn a part of an outage into a whole one. A success closes the breaker, so a pool that was down
//! is back a second after its first endpoint, and until then it cools down, also when it has only one.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::lease::Trial;
use super::pool::{Pool, Wish};
use super::refusal::Refusal;
use super::{sessions, warmth};
use crate::board::EndpointRow;
use crate::health::breaker::{self, State};
use crate::health::{ewma, silence};
use crate::limit::{Limits, inflight};
use crate::rng::mix;
use crate::select::{Home, View};
use crate::units::{NS_PER_S, Nanos};

/// How often an endpoint is tried in spite of its breaker, ns.
const PANIC_EVERY: u64 = NS_PER_S;

/// A pool through the eyes of a strategy, for one request.
pub(super) struct PoolView<'a> {
    pool: &'a Pool,
    pub(super) wish: &'a Wish,
    units: [u64; 5],
    /// Positions to leave out.
    pub(super) excluded: u128,
    /// Breakers give way.
    pub(super) relaxed: bool,
    /// Slow starts do not count.
    pub(super) whole: bool,
    /// A slow start left something out.
    pub(super) thinned: Cell<bool>,
}

impl<'a> PoolView<'a> {
    pub(super) const fn new(pool: &'a Pool, wish: &'a Wish, units: [u64; 5]) -> Self {
        let (relaxed, whole, thinned) = (false, false, Cell::new(false));
        Self { pool, wish, units, excluded: wish.tried, relaxed, whole, thinned }
    }

    /// Whether slow starts or breakers gave way.
    pub(super) const fn is_soft(&self) -> bool {
        self.whole || self.relaxed
    }

    /// Why a position may not be picked that may not.
    #[cold]
    pub(super) fn why_not(&self, at: usize) -> &'static str {
        if self.excluded & bit(at) != 0 || self.pool.places[at].draining {
            Refusal::TRIED
        } else if self.pool.endpoint(at).not_before().load(Relaxed) > self.wish.now.0 {
            Refusal::COOLING
        } else {
            Refusal::BREAKER
        }
    }

    /// Takes everything at a position, or nothing.
    pub(super) fn reserve(&self, at: usize) -> Option<Trial> {
        let (pool, wish) = (self.pool, self.wish);
        let row = pool.endpoint(at);
        let word = row.breaker().load(Relaxed);
        let trial = if breaker::is_plain(word) { Trial::None } else { self.try_on(row, word)? };
        let reserve = |limits: &Limits| limits.reserve(pool.gate_of(at, row), &self.units, wish.now);
        let taken = match pool.found_word(at, row) {
            0 => reserve(&pool.places[at].limits),
            word => pool.found_limits(at, word, wish.now).and_then(|limits| reserve(&limits)),
        };
        if taken.is_ok() {
            return Some(trial);
        }
        match trial {
            Trial::None => {}
            Trial::Probe => inflight::sub(row.probes(), pool.column, 1),
            Trial::Relaxed => row.panicked().store(0, Relaxed),
        }
        None
    }

    /// How the breaker lets a request through that is not plainly closed, if it does; takes the probe or the turn for it.
    #[cold]
    fn try_on(&self, row: EndpointRow<'_>, word: u64) -> Option<Trial> {
        let (pool, now) = (self.pool, self.wish.now);
        match breaker::state(word, now) {
            State::Closed => {
                breaker::greet(row.breaker(), now);
                Some(Trial::None)
            }
            State::HalfOpen if inflight::take(row.probes(), pool.workers(), pool.column, self.probes()) => {
                Some(Trial::Probe)
            }
            State::Open(_) | State::HalfOpen if self.relaxed => {
                let last = row.panicked().load(Relaxed);
                let is_due = self.panic_left(row) == 0;
                let won = is_due && row.panicked().compare_exchange(last, now.0, Relaxed, Relaxed).is_ok();
                won.then_some(Trial::Relaxed)
            }
            State::Open(_) | State::HalfOpen => None,
        }
    }

    /// Whether so little of the pool is usable that breakers give way.
    pub(super) fn is_panic(&self) -> bool {
        let (pool, now) = (self.pool, self.wish.now);
        let words =
            (0..pool.places.len()).filter(|at| !pool.places[*at].draining).map(|at| pool.endpoint(at).breaker());
        let (all, usable) = words.fold((0, 0), |(all, usable), cell| {
            let is_closed = breaker::state(cell.load(Relaxed), now) == State::Closed;
            (all + 1, usable + usize::from(is_closed))
        });
        usable * 1_000 < all * pool.health.pool.panic_permille as usize
    }

    /// Nanoseconds until an endpoint may be tried in spite of its breaker.
    fn panic_left(&self, row: EndpointRow<'_>) -> u64 {
        Nanos(row.panicked().load(Relaxed)).plus(Nanos(PANIC_EVERY)).since(self.wish.now).0
    }

    const fn probes(&self) -> u32 {
        self.pool.health.breaker.probes
    }

    /// The answer when nothing was found: the shortest wait over all positions.
    pub(super) fn refusal(&self) -> Refusal {
        let lost = Refusal { retry_after: Some(0), why: "concurrency" };
        // A position that is free now was taken and given back by another worker while we looked.
        (0..self.pool.places.len()).map(|at| self.hold(at).unwrap_or(lost)).reduce(Refusal::or).unwrap_or(lost)
    }

    /// What holds a position back, if anything does.
    pub(super) fn hold(&self, at: usize) -> Option<Refusal> {
        let (place, now) = (&self.pool.places[at], self.wish.now);
        let row = self.pool.endpoint(at);
        let because = |why, retry_after| Some(Refusal { retry_after, why });
        if place.draining {
            return because(Refusal::DRAINING, None);
        }
        if self.wish.tried & bit(at) != 0 {
            return because(Refusal::TRIED, None);
        }
        let not_before = Nanos(row.not_before().load(Relaxed));
        let limits = self.pool.found_limits(at, self.pool.found_word(at, row), now);
        let limited = limits.and_then(|limits| limits.peek(self.pool.gate_of(at, row), &self.units, now)).err();
        if not_before > now {
            let pause = not_before.since(now).0;
            let wait = limited.map_or(Some(pause), |block| block.wait.map(|wait| wait.max(pause)));
            return because(Refusal::COOLING, wait);
        }
        if let Some(block) = limited {
            return Some(block.into());
        }
        let turn = self.relaxed.then(|| self.panic_left(row));
        match breaker::state(row.breaker().load(Relaxed), now) {
            State::Closed => None,
            State::HalfOpen if self.has_probe(row) => None,
            _ if turn == Some(0) => None,
            State::Open(wait) => because(Refusal::BREAKER, Some(turn.map_or(wait, |turn| turn.min(wait)))),
            State::HalfOpen => because(Refusal::BREAKER, turn),
        }
    }

    /// The answer of `hold` about the breaker, on the hot path; a slow start leaves out by chance.
    #[inline]
    fn is_let_by_breaker(&self, at: usize, row: EndpointRow<'_>) -> bool {
        let word = row.breaker().load(Relaxed);
        breaker::is_plain(word) || self.is_let(at, row, word)
    }

    #[cold]
    fn is_let(&self, at: usize, row: EndpointRow<'_>, word: u64) -> bool {
        match breaker::state(word, self.wish.now) {
            State::Closed => self.whole || self.takes_part(at, word),
            State::HalfOpen if self.has_probe(row) => true,
            State::Open(_) | State::HalfOpen => self.relaxed && self.panic_left(row) == 0,
        }
    }

    /// Whether an endpoint in its slow start takes part in this decision: the same answer each time it is asked.
    #[expect(clippy::cast_precision_loss, reason = "24 bits of chance")]
    fn takes_part(&self, at: usize, word: u64) -> bool {
        let chance = (mix(self.wish.draw ^ mix(at as u64 + 1)) >> 40) as f32 / (1u32 << 24) as f32;
        let does = chance < breaker::share(word, &self.pool.health.breaker, self.wish.now);
        self.thinned.set(self.thinned.get() || !does);
        does
    }

    fn has_probe(&self, row: EndpointRow<'_>) -> bool {
        inflight::load(row.probes(), self.pool.workers()) < u64::from(self.probes())
    }

    /// Seconds for which it has let somebody wait, if that is longer than what is known of it.
    fn silent_s(&self, row: EndpointRow<'_>) -> Option<f32> {
        let learned = ewma::value(row.latency().load(Relaxed));
        let is_waiting = || inflight::load(row.prefill(), self.pool.workers()) > 0;
        silence::silent_s(row.sign().load(Relaxed), learned, is_waiting, self.wish.now)
    }
}

impl View for PoolView<'_> {
    fn len(&self) -> usize {
        self.pool.places.len()
    }

    /// Limits are not looked at: of those that a strategy compares only the winner is charged, and `reserve` is the look that counts.
    fn is_eligible(&self, at: usize) -> bool {
        if self.excluded & bit(at) != 0 {
            return false;
        }
        let (place, row) = (&self.pool.places[at], self.pool.endpoint(at));
        !place.draining && self.is_let_by_breaker(at, row) && row.not_before().load(Relaxed) <= self.wish.now.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "requests in flight")]
    fn in_flight(&self, at: usize) -> u32 {
        inflight::load(self.pool.endpoint(at).in_flight(), self.pool.workers()) as u32
    }

    fn prefill_tokens(&self, at: usize) -> u64 {
        inflight::load(self.pool.endpoint(at).prefill(), self.pool.workers())
    }

    fn decode_tokens(&self, at: usize) -> u64 {
        inflight::load(self.pool.endpoint(at).decode(), self.pool.workers())
    }

    fn latency_s(&self, at: usize) -> Option<f32> {
        let row = self.pool.endpoint(at);
        let learned = ewma::faded(row.latency().load(Relaxed), ewma::LATENCY, self.wish.now);
        self.silent_s(row).map_or(learned, |silent_s| Some(learned.map_or(silent_s, |learned| learned.max(silent_s))))
    }

    /// Who lets somebody wait for three times its time to first token is thought to be three times as slow by now.
    fn pace_s(&self, at: usize) -> Option<f32> {
        let row = self.pool.endpoint(at);
        let pace = ewma::value(row.pace().load(Relaxed))?;
        let slower = self.silent_s(row).zip(ewma::value(row.latency().load(Relaxed)));
        Some(slower.map_or(pace, |(silent_s, learned_s)| pace * (silent_s / learned_s)))
    }

    fn is_metered(&self) -> bool {
        self.pool.is_metered
    }

    fn owed_s(&self, at: usize) -> f64 {
        self.pool.places[at].limits.owed_s(self.pool.endpoint(at).buckets(), self.wish.now)
    }

    fn line(&self, at: usize) -> (u64, u64, f64) {
        let (pool, row, workers) = (self.pool, self.pool.endpoint(at), self.pool.workers());
        let owed_s = if pool.is_metered { pool.places[at].limits.owed_s(row.buckets(), self.wish.now) } else { 0.0 };
        (inflight::load(row.prefill(), workers), inflight::load(row.decode(), workers), owed_s)
    }

    fn is_stale(&self, at: usize) -> bool {
        silence::is_stale(self.pool.endpoint(at).sign().load(Relaxed), self.wish.now)
    }

    fn next_turn(&self) -> u64 {
        self.pool.row().cursor().fetch_add(1, Relaxed)
    }

    fn cache_gain(&self) -> f64 {
        warmth::gain(self.pool.row(), self.wish.now)
    }

    fn home(&self, key: u64) -> Option<Home> {
        let pool = self.pool;
        let stay = sessions::find(&pool.board, pool.slot, key, self.wish.now)?;
        let at = pool.places.iter().position(|place| place.slot == stay.slot)?;
        Some(Home { at, tokens: stay.tokens, age_s: stay.age_s })
    }

    fn keep(&self, key: u64, at: usize, tokens: u32) {
        sessions::keep(&self.pool.board, self.pool.slot, key, self.pool.slot(at), tokens, self.wish.now);
    }
}

/// The bit of a position. Pools of more than 128 share bits: an alias of a tried position is left out with it.
pub(super) const fn bit(at: usize) -> u128 {
    1 << (at % 128)
}
