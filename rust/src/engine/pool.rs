//! One pool as this worker sees it: filter, pick, reserve.
//!
//! A decision asks the strategy for an eligible position and reserves it, all or nothing. A position whose reservation fails (another worker
//! was faster) is left out and the strategy is asked again. When the breakers alone hold back everything, they are ignored once: a probe of
//! a bad endpoint is better than no answer. Limits and pauses that a provider asked for are never ignored: that is a refusal.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::budget::Budget;
use super::lease::{Lease, Trial};
use super::refusal::Refusal;
use super::turns;
use crate::board::{Board, EndpointRow, PoolRow};
use crate::health::breaker::{self, State};
use crate::health::ewma;
use crate::limit::{Gate, Limits, Use, inflight};
use crate::rng::Rng;
use crate::select::{Ask, DECODE_PART, Strategy, View};
use crate::units::Nanos;

/// How often the strategy is asked before every position is looked at in turn.
const PICKS: usize = 64;

/// One endpoint's place in the pool.
pub(super) struct Place {
    pub(super) slot: u16,
    pub(super) pair: u32,
    pub(super) limits: Limits,
    pub(super) draining: bool,
    /// The models that a place here may serve: who waits for one of them hears of it.
    pub(super) models: Box<[u16]>,
}

/// A pool ready for use. Leases keep it alive after a reload.
pub struct Pool {
    pub(super) board: Arc<Board>,
    pub(super) column: usize,
    pub(super) slot: usize,
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) places: Box<[Place]>,
    pub(super) budget: Budget,
}

/// What is asked of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Positions to leave out: bit `position % 128`.
    pub tried: u128,
    /// Estimated tokens.
    pub tokens: Use,
    /// Now.
    pub now: Nanos,
    /// Randomness.
    pub draw: u64,
    /// Hash of the affinity key.
    pub hash: Option<u64>,
}

impl Pool {
    /// Chooses an endpoint and takes a place on it and on each of its limits.
    ///
    /// # Errors
    /// A refusal, with the time after which a place is free if one knows.
    pub fn acquire(self: &Arc<Self>, wish: &Wish) -> Result<Lease, Refusal> {
        self.choose(wish, true)
    }

    /// The same, but breakers are kept whatever they hold back: for an attempt that is not needed.
    ///
    /// # Errors
    /// As of `acquire`.
    pub fn acquire_calm(self: &Arc<Self>, wish: &Wish) -> Result<Lease, Refusal> {
        self.choose(wish, false)
    }

    fn choose(self: &Arc<Self>, wish: &Wish, may_panic: bool) -> Result<Lease, Refusal> {
        let units = wish.tokens.units();
        let mut view = PoolView { pool: self, wish, units, excluded: wish.tried, relaxed: false };
        let mut rng = Rng::new(wish.draw);
        let mut found = self.pick(&mut view, &mut rng);
        if found.is_none() && may_panic && view.is_held_by_breakers() {
            view.relaxed = true;
            view.excluded = wish.tried;
            found = self.pick(&mut view, &mut rng);
        }
        let (at, trial) = found.ok_or_else(|| view.refusal())?;
        self.budget.deposit(self.row().budget(), wish.now);
        Ok(Lease::new(Arc::clone(self), at, trial, wish))
    }

    /// Whether the retry budget has one left, which is spent.
    #[must_use]
    pub fn retry_allowed(&self, now: Nanos) -> bool {
        let allowed = self.budget.spend(self.row().budget(), now);
        if !allowed {
            self.row().exhausted().fetch_add(1, Relaxed);
        }
        allowed
    }

    /// Number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none, which `Tables::check` refuses.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The board slot of the endpoint at a position.
    #[must_use]
    pub fn slot(&self, at: usize) -> u16 {
        self.places[at].slot
    }

    fn pick(&self, view: &mut PoolView<'_>, rng: &mut Rng) -> Option<(usize, Trial)> {
        let ask = Ask { tokens: view.wish.tokens.input, hash: view.wish.hash, now: view.wish.now };
        for _ in 0..PICKS {
            let at = self.strategy.select(view, &ask, rng)?;
            if let Some(trial) = view.reserve(at) {
                return Some((at, trial));
            }
            view.excluded |= bit(at);
        }
        // Others are faster than we are: take what is free, in turn from a random place.
        let first = rng.below(self.places.len());
        view.excluded = view.wish.tried;
        (0..self.places.len())
            .map(|step| (first + step) % self.places.len())
            .filter(|at| view.is_eligible(*at))
            .find_map(|at| view.reserve(at).map(|trial| (at, trial)))
    }

    pub(super) fn row(&self) -> PoolRow<'_> {
        self.board.pool(self.slot)
    }

    pub(super) fn endpoint(&self, at: usize) -> EndpointRow<'_> {
        self.board.endpoint(usize::from(self.places[at].slot))
    }

    pub(super) fn gate(&self, at: usize) -> Gate<'_> {
        self.gate_of(self.endpoint(at))
    }

    fn gate_of<'a>(&self, row: EndpointRow<'a>) -> Gate<'a> {
        Gate { in_flight: row.in_flight(), buckets: row.buckets(), workers: self.workers(), column: self.column }
    }

    /// A place or units of a position were given back.
    pub(super) fn freed(&self, at: usize) {
        turns::freed(&self.board, &self.places[at].models);
    }

    pub(super) fn workers(&self) -> usize {
        self.board.sizes().workers as usize
    }

    /// Tokens that stand before a request that is about to be sent there, itself included: the sum that `least_work` multiplies by the pace.
    #[expect(clippy::cast_precision_loss, reason = "an estimate of tokens")]
    pub(super) fn work(&self, at: usize, own: u32) -> f32 {
        let row = self.endpoint(at);
        let queued = inflight::load(row.prefill(), self.workers()) as f32;
        let owed = inflight::load(row.decode(), self.workers()) as f32;
        queued + own.max(1) as f32 + DECODE_PART as f32 * owed
    }
}

/// A pool through the eyes of a strategy, for one request.
struct PoolView<'a> {
    pool: &'a Pool,
    wish: &'a Wish,
    units: [u64; 5],
    excluded: u128,
    relaxed: bool,
}

impl PoolView<'_> {
    /// Takes everything at a position, or nothing.
    fn reserve(&self, at: usize) -> Option<Trial> {
        let (pool, wish) = (self.pool, self.wish);
        let row = pool.endpoint(at);
        let trial = match breaker::state(row.breaker().load(Relaxed), wish.now) {
            State::Closed => Trial::None,
            State::HalfOpen if inflight::take(row.probes(), pool.workers(), pool.column, breaker::PROBES) => {
                Trial::Probe
            }
            State::Open(_) | State::HalfOpen if self.relaxed => Trial::Relaxed,
            State::Open(_) | State::HalfOpen => return None,
        };
        if pool.places[at].limits.reserve(pool.gate_of(row), &self.units, wish.now).is_ok() {
            return Some(trial);
        }
        if trial == Trial::Probe {
            inflight::sub(row.probes(), pool.column, 1);
        }
        None
    }

    /// Whether there are candidates, and each of them is held back by its breaker.
    fn is_held_by_breakers(&self) -> bool {
        let mut candidates = (0..self.pool.places.len()).filter_map(|at| self.hold(at)).peekable();
        let is_candidate = |hold: &Refusal| ![Refusal::TRIED, Refusal::DRAINING].contains(&hold.why);
        let mut any = false;
        candidates.all(|hold| {
            !is_candidate(&hold) || {
                any = true;
                hold.why == Refusal::BREAKER
            }
        }) && any
    }

    /// The answer when nothing was found: the shortest wait over all positions.
    fn refusal(&self) -> Refusal {
        let lost = Refusal { retry_after: Some(0), why: "concurrency" };
        // A position that is free now was taken and given back by another worker while we looked.
        (0..self.pool.places.len()).map(|at| self.hold(at).unwrap_or(lost)).reduce(Refusal::or).unwrap_or(lost)
    }

    /// What holds a position back, if anything does.
    fn hold(&self, at: usize) -> Option<Refusal> {
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
        let limited = place.limits.peek(self.pool.gate_of(row), &self.units, now).err();
        if not_before > now {
            let pause = not_before.since(now).0;
            let wait = limited.map_or(Some(pause), |block| block.wait.map(|wait| wait.max(pause)));
            return because(Refusal::COOLING, wait);
        }
        if let Some(block) = limited {
            return Some(block.into());
        }
        match breaker::state(row.breaker().load(Relaxed), now) {
            _ if self.is_let_by_breaker(row) => None,
            State::Open(wait) => because(Refusal::BREAKER, Some(wait)),
            _ => because(Refusal::BREAKER, None),
        }
    }

    /// The answer of `hold` about the breaker, on the hot path.
    fn is_let_by_breaker(&self, row: EndpointRow<'_>) -> bool {
        match breaker::state(row.breaker().load(Relaxed), self.wish.now) {
            State::Closed => true,
            State::HalfOpen => self.relaxed || self.has_probe(row),
            State::Open(_) => self.relaxed,
        }
    }

    fn has_probe(&self, row: EndpointRow<'_>) -> bool {
        inflight::load(row.probes(), self.pool.workers()) < u64::from(breaker::PROBES)
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
        !place.draining && self.is_let_by_breaker(row) && row.not_before().load(Relaxed) <= self.wish.now.0
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
        ewma::faded(self.pool.endpoint(at).latency().load(Relaxed), self.wish.now)
    }

    fn pace_s(&self, at: usize) -> Option<f32> {
        ewma::value(self.pool.endpoint(at).pace().load(Relaxed))
    }

    fn next_turn(&self) -> u64 {
        self.pool.row().cursor().fetch_add(1, Relaxed)
    }
}

/// The bit of a position. Pools of more than 128 share bits: an alias of a tried position is left out with it.
const fn bit(at: usize) -> u128 {
    1 << (at % 128)
}
