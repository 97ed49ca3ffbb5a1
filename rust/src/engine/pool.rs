//! One pool as this worker sees it: filter, pick, reserve.
//!
//! A decision asks the strategy for an eligible position and reserves it, all or nothing. A position whose reservation fails (another worker
//! was faster) is left out and the strategy is asked again. Limits and pauses that a provider asked for are never ignored: that is a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::budget::Budget;
use super::lease::{Lease, Trial};
use super::records::Records;
use super::refusal::Refusal;
use super::tape::{Noting, Tape};
use super::turns;
use super::view::{PoolView, bit};
use crate::board::{Board, EndpointRow, PoolRow};
use crate::health::Policy;
use crate::health::breaker::{self, State};
use crate::limit::found;
use crate::limit::{self, Block, Gate, Limits, Use, inflight};
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
    /// Endpoints of its account, whose capacity is found together, the first of them keeping it; none: it is not looked for.
    pub(super) account: Box<[u16]>,
    /// The number of its account, whether capacity is looked for or not.
    pub(super) owner: u16,
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
    pub(super) health: Policy,
    /// Whether an endpoint has limits of rate.
    pub(super) is_metered: bool,
    pub(super) records: Arc<Records>,
    /// By which records name it.
    pub(super) tag: u32,
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
    /// The number of the request in the records; 0: nobody notes it.
    pub request: u64,
}

impl Wish {
    /// Whether a position is left out.
    pub(super) const fn has_tried(&self, at: usize) -> bool {
        self.tried & bit(at) != 0
    }
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
        let mut view = PoolView::new(self, wish, wish.tokens.units());
        let slot = if wish.request == 0 { None } else { self.records.open(self.tag, wish) };
        let Some(slot) = slot else {
            let (at, trial) = self.decided(&mut view, may_panic, None)?;
            return Ok(self.granted(&view, at, trial, 0));
        };
        let tape = slot.tape();
        let found = self.decided(&mut view, may_panic, Some(&tape));
        slot.close(&tape, view.is_soft(), &found);
        found.map(|(at, trial)| self.granted(&view, at, trial, slot.serial))
    }

    /// A position on which a place was taken. What the strategy read of the view is on the tape then.
    pub(super) fn decided(
        &self,
        view: &mut PoolView<'_>,
        may_panic: bool,
        tape: Option<&Tape<'_>>,
    ) -> Result<(usize, Trial), Refusal> {
        let mut rng = Rng::new(view.wish.draw);
        let found = self.pick(view, &mut rng, tape).or_else(|| self.pick_softly(view, &mut rng, may_panic, tape));
        found.ok_or_else(|| view.refusal())
    }

    /// The lease of a position that a strategy chose; `note`: its place in the records.
    pub(super) fn granted(self: &Arc<Self>, view: &PoolView<'_>, at: usize, trial: Trial, note: u32) -> Lease {
        let mut lease = self.leased(at, trial, view.wish, note);
        if lease.is_watched() {
            lease.visit(view.wish.hash.and_then(|key| self.strategy.home(view, key)));
        }
        lease
    }

    /// The lease of a position on which a place was taken.
    fn leased(self: &Arc<Self>, at: usize, trial: Trial, wish: &Wish, note: u32) -> Lease {
        self.budget.deposit(self.row().budget(), wish.now);
        Lease::new(Arc::clone(self), at, trial, wish, note)
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

    /// Whether an endpoint beside those `tried` seems to work: its breaker is closed, and nobody asked for a pause.
    #[must_use]
    pub fn has_sound(&self, tried: u128, now: Nanos) -> bool {
        (0..self.places.len()).any(|at| {
            let row = self.endpoint(at);
            tried & bit(at) == 0
                && !self.places[at].draining
                && breaker::state(row.breaker().load(Relaxed), now) == State::Closed
                && row.not_before().load(Relaxed) <= now.0
        })
    }

    /// A retry was of use.
    #[cold]
    pub(super) fn earn_back(&self, now: Nanos) {
        self.budget.earn_back(self.row().budget(), now);
    }

    /// Number of endpoints.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// By which records name it.
    #[must_use]
    pub const fn tag(&self) -> u32 {
        self.tag
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

    fn pick(&self, view: &mut PoolView<'_>, rng: &mut Rng, tape: Option<&Tape<'_>>) -> Option<(usize, Trial)> {
        let Use { input, output, .. } = view.wish.tokens;
        let ask = Ask { tokens: input, output, hash: view.wish.hash, now: view.wish.now };
        for _ in 0..PICKS {
            let chosen = match tape {
                None => self.strategy.select(view, &ask, rng),
                Some(tape) => self.strategy.select(&Noting { view, tape }, &ask, rng),
            };
            let trial = chosen.and_then(|at| view.reserve(at));
            if let Some(tape) = tape {
                tape.chose(view, chosen, trial.is_some());
            }
            let at = chosen?;
            if let Some(trial) = trial {
                return Some((at, trial));
            }
            view.excluded |= bit(at);
        }
        if let Some(tape) = tape {
            tape.give_up();
        }
        // Others are faster than we are: take what is free, in turn from a random place.
        let first = rng.below(self.places.len());
        view.excluded = view.wish.tried;
        (0..self.places.len())
            .map(|step| (first + step) % self.places.len())
            .filter(|at| view.is_eligible(*at))
            .find_map(|at| view.reserve(at).map(|trial| (at, trial)))
    }

    /// Nothing was found. Slow starts yield first, then breakers, if the pool is in panic.
    #[cold]
    fn pick_softly(
        &self,
        view: &mut PoolView<'_>,
        rng: &mut Rng,
        may_panic: bool,
        tape: Option<&Tape<'_>>,
    ) -> Option<(usize, Trial)> {
        if view.thinned.get() {
            view.whole = true;
            view.excluded = view.wish.tried;
            if let Some(found) = self.pick(view, rng, tape) {
                return Some(found);
            }
        }
        view.relaxed = may_panic && view.is_panic();
        view.excluded = view.wish.tried;
        if view.relaxed { self.pick(view, rng, tape) } else { None }
    }

    /// Attempts and failures of the present window at all positions but one, and how many of those are open.
    pub(super) fn others(&self, at: usize, now: Nanos) -> ((u32, u32), usize) {
        let words = (0..self.places.len()).filter(|other| *other != at).map(|other| self.endpoint(other).breaker());
        words.map(|cell| cell.load(Relaxed)).fold(((0, 0), 0), |((seen, failed), open), word| {
            let (more, bad) = breaker::counts(word, &self.health.breaker, now);
            ((seen + more, failed + bad), open + usize::from(breaker::state(word, now) != State::Closed))
        })
    }

    pub(super) fn row(&self) -> PoolRow<'_> {
        self.board.pool(self.slot)
    }

    pub(super) fn endpoint(&self, at: usize) -> EndpointRow<'_> {
        self.board.endpoint(usize::from(self.places[at].slot))
    }

    pub(super) fn gate(&self, at: usize) -> Gate<'_> {
        self.gate_of(at, self.endpoint(at))
    }

    pub(super) fn gate_of<'a>(&'a self, at: usize, row: EndpointRow<'a>) -> Gate<'a> {
        let place = &self.places[at];
        let minute = place.limits.has_rates().then(|| self.board.minute(place.slot.into()));
        let (in_flight, buckets) = (row.in_flight(), row.buckets());
        Gate { in_flight, buckets, minute, workers: self.workers(), column: self.column }
    }

    /// A place or units of a position were given back.
    pub(super) fn freed(&self, at: usize) {
        turns::freed(&self.board, &self.places[at].models);
    }

    /// The word of the capacity that was found, if it is looked for.
    pub(super) fn found(&self, at: usize) -> Option<&AtomicU64> {
        self.places[at].account.first().map(|slot| self.board.endpoint(usize::from(*slot)).found())
    }

    /// Requests in flight on the account of a position.
    pub(super) fn in_flight(&self, at: usize) -> u64 {
        let lines = self.places[at].account.iter().map(|slot| self.board.endpoint(usize::from(*slot)).in_flight());
        lines.map(|line| inflight::load(line, self.workers())).sum()
    }

    /// The word of the capacity that was found; 0, of nearly all: nothing.
    #[inline]
    pub(super) fn found_word(&self, at: usize, row: EndpointRow<'_>) -> u64 {
        let place = &self.places[at];
        match place.account.first() {
            Some(keeper) if *keeper == place.slot => row.found().load(Relaxed),
            Some(keeper) => self.board.endpoint(usize::from(*keeper)).found().load(Relaxed),
            None => 0,
        }
    }

    /// The limits of a position as far as its endpoint was found to bear them.
    ///
    /// # Errors
    /// As much is in flight as it was found to bear.
    #[cold]
    pub(super) fn found_limits(&self, at: usize, word: u64, now: Nanos) -> Result<Limits, Block> {
        let (limits, found) = (&self.places[at].limits, found::read(word, now));
        if found.places.is_some_and(|places| self.in_flight(at) >= u64::from(places)) {
            return Err(limit::SATURATED);
        }
        Ok(found.share.map_or(*limits, |share| limits.slowed(share)))
    }

    pub(super) fn workers(&self) -> usize {
        self.board.sizes().workers as usize
    }

    /// Tokens that stand before a request that is about to be sent there, itself included: the sum that `least_work` multiplies by the
    /// pace. Who finds nobody waiting begins the silence that is measured (`health::silence`).
    #[expect(clippy::cast_precision_loss, reason = "an estimate of tokens")]
    pub(super) fn work(&self, at: usize, own: u32, now: Nanos) -> f32 {
        let row = self.endpoint(at);
        let queued = inflight::load(row.prefill(), self.workers());
        let owed = inflight::load(row.decode(), self.workers()) as f32;
        if queued == 0 {
            row.sign().store(now.0, Relaxed);
        }
        queued as f32 + own.max(1) as f32 + DECODE_PART as f32 * owed
    }
}
