//! A place on an endpoint, from the decision to the end of the attempt. Settled exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use super::pool::{Pool, Wish};
use super::view::bit;
use super::warmth::{self, Visit};
use crate::board::EndpointRow;
use crate::health::breaker::{self, Ended};
use crate::health::{Failure, Verdict, ewma, outlier};
use crate::limit::found::{self, Cut};
use crate::limit::{Told, Use, inflight};
use crate::select::LONG_S;
use crate::snapshot::{self, DURATION_US, FIRST_TOKEN_US};
use crate::units::{NS_PER_S, Nanos};

/// An endpoint is overloaded when it is this many times slower than usual, by time to first token as well as per token of work...
const OVERLOADED: f32 = 4.0;
/// ... and that means seconds: what is merely full is healthy.
const OVERLOADED_S: f32 = 5.0;
/// Fewer requests than this overload nobody.
const OVERLOADING: u64 = 16;
/// A failure counts as an answer at least this slow, s. linkerd's default for responses that say "too much".
const PENALTY_S: f32 = 5.0;
/// Longest pause that a provider may ask for (gRPC and linkerd agree on 300 s).
const LONGEST_PAUSE_MS: u64 = 300_000;
/// Longest prompt and longest answer that a column is charged with, so that a `max_tokens` of 2^31 cannot overflow it.
const MOST_PREFILL: u32 = 1 << 24;
/// See above.
const MOST_DECODE: u32 = 1 << 20;

/// Phases of a lease: no token yet; the first token has come; ended.
const WAITING: u8 = 0;
const ANSWERING: u8 = 1;
const SETTLED: u8 = 2;

/// How a request got past the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// It was closed.
    None,
    /// Half-open: holds one of the probes.
    Probe,
    /// In spite of it: the pool is in panic.
    Relaxed,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The kind.
    pub failure: Failure,
    /// When.
    pub now: Nanos,
    /// Tokens used; 0 is unknown.
    pub used: Use,
    /// The pause that the provider asked for, ms; 0 for none.
    pub cool_ms: u64,
}

/// A place taken. Dropped unsettled it counts as cancelled, without a refund, since nobody says how old it is.
pub struct Lease {
    pool: Arc<Pool>,
    at: usize,
    trial: Trial,
    reserved: Nanos,
    tokens: Use,
    work: f32,
    visit: Visit,
    phase: AtomicU8,
    retry: AtomicBool,
    /// Its place in the records; 0: none.
    note: u32,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, at: usize, trial: Trial, wish: &Wish, note: u32) -> Self {
        let work = pool.work(at, wish.tokens.input, wish.now);
        let row = pool.endpoint(at);
        if trial == Trial::Relaxed {
            row.panics().fetch_add(1, Relaxed);
        }
        inflight::add(row.prefill(), pool.column, wish.tokens.input.min(MOST_PREFILL));
        inflight::add(row.decode(), pool.column, wish.tokens.output.min(MOST_DECODE));
        Self {
            at,
            trial,
            reserved: wish.now,
            tokens: wish.tokens,
            work,
            visit: if wish.hash.is_some() && is_long(row, work) { Visit::Elsewhere } else { Visit::Unwatched },
            phase: AtomicU8::new(WAITING),
            retry: AtomicBool::new(false),
            note,
            pool,
        }
    }

    /// Whether it may wait for long while its prompt is cached somewhere.
    pub(super) fn is_watched(&self) -> bool {
        self.visit != Visit::Unwatched
    }

    /// Takes note of whether it is at home.
    #[cold]
    pub(super) fn visit(&mut self, home: Option<usize>) {
        self.visit = match home {
            None => Visit::Unwatched,
            Some(at) if at == self.at => Visit::Home,
            Some(_) => Visit::Elsewhere,
        };
    }

    /// The endpoint's slot on the board.
    #[must_use]
    pub fn slot(&self) -> u16 {
        self.pool.slot(self.at)
    }

    /// The place in the pool.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The positions of the pool on its account, its own included: what a 429 here speaks for.
    #[must_use]
    pub fn account(&self) -> u128 {
        self.mates().fold(0, |mask, at| mask | bit(at))
    }

    fn mates(&self) -> impl Iterator<Item = usize> {
        let places = &self.pool.places;
        (0..places.len()).filter(|at| places[*at].owner == places[self.at].owner)
    }

    /// Whether it was given out although the endpoint's breaker held it back.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.trial == Trial::Relaxed
    }

    /// Counts this attempt as a retry. One that ends in a whole answer gives back what it took from the retry budget.
    pub fn mark_retry(&self) {
        self.retry.store(true, Relaxed);
        self.pool.records.retried(self.note);
        self.pool.endpoint(self.at).retries().fetch_add(1, Relaxed);
    }

    /// Counts malformed events of its stream that were left out.
    pub fn drop_events(&self, count: u64) {
        self.pool.endpoint(self.at).dropped().fetch_add(count, Relaxed);
    }

    /// The first token came: its prompt is no longer queued, its latency is known, and a probe has succeeded, whatever comes after.
    /// Only the first call counts.
    pub fn first_byte(&self, now: Nanos) {
        if self.phase.compare_exchange(WAITING, ANSWERING, AcqRel, Relaxed).is_ok() {
            self.leave_prefill();
            self.sample(now);
            if self.trial != Trial::None {
                self.leave_probe();
                self.tell_breaker(Verdict::Good, 0, now);
                self.pool.freed(self.at);
            }
        }
    }

    /// Takes over what the provider says of its limits. When nothing is left until an instant, the endpoint is left alone until then.
    pub fn learn(&self, told: &Told, now: Nanos) {
        let limits = &self.pool.places[self.at].limits;
        limits.learn(self.pool.gate(self.at), told, self.pool.found(self.at), now);
        if told.remaining == 0 && told.reset > Nanos(0) {
            let pause = told.reset.min(Nanos(LONGEST_PAUSE_MS * 1_000_000));
            self.pool.endpoint(self.at).not_before().fetch_max(now.plus(pause).0, Relaxed);
        }
    }

    /// Charges what a part has used of something that lasts; nothing once it has ended.
    pub fn charge(&self, used: Use, now: Nanos) {
        if self.phase.load(Acquire) == SETTLED {
            return;
        }
        let limits = &self.pool.places[self.at].limits;
        limits.reconcile(self.pool.gate(self.at), Use::default(), used, self.reserved, now);
        super::count_tokens(self.pool.endpoint(self.at).tokens(), used);
        self.pool.records.charged(self.note, used);
    }

    /// Ends it. False, without effect, when it has ended already.
    pub fn settle(&self, ending: &Ending) -> bool {
        let phase = self.phase.swap(SETTLED, AcqRel);
        if phase == SETTLED {
            return false;
        }
        let is_whole = ending.failure == Failure::None;
        if is_whole && phase == WAITING {
            self.sample(ending.now);
        }
        self.release(phase);
        self.settle_limits(ending);
        self.judge(ending);
        self.count(ending);
        if self.note != 0 {
            self.pool.records.ended(self.note, ending);
        }
        if is_whole {
            let pair = self.pool.board.pair(self.pool.places[self.at].pair as usize);
            snapshot::observe(pair.duration(), &DURATION_US, ending.now.since(self.reserved));
            if self.visit != Visit::Unwatched {
                warmth::learn(self.pool.row(), self.visit, ending.used, ending.now);
            }
            if self.retry.load(Relaxed) {
                self.pool.earn_back(ending.now);
            }
        }
        self.pool.freed(self.at);
        true
    }

    /// Gives back what is held: the place, the queued tokens, the probe.
    fn release(&self, phase: u8) {
        if phase == WAITING {
            self.leave_prefill();
            self.leave_probe();
        }
        let row = self.pool.endpoint(self.at);
        inflight::sub(row.decode(), self.pool.column, self.tokens.output.min(MOST_DECODE));
        inflight::sub(row.in_flight(), self.pool.column, 1);
    }

    fn leave_probe(&self) {
        if self.trial == Trial::Probe {
            inflight::sub(self.pool.endpoint(self.at).probes(), self.pool.column, 1);
        }
    }

    fn leave_prefill(&self) {
        let row = self.pool.endpoint(self.at);
        inflight::sub(row.prefill(), self.pool.column, self.tokens.input.min(MOST_PREFILL));
    }

    fn sample(&self, now: Nanos) {
        let row = self.pool.endpoint(self.at);
        let waited = now.since(self.reserved);
        let waited_s = seconds(waited);
        row.sign().store(now.0, Relaxed);
        ewma::observe(row.latency(), waited_s, ewma::LATENCY, now);
        ewma::observe(row.pace(), waited_s / self.work, ewma::PACE, now);
        if ewma::is_due(row.usual_pace().load(Relaxed), now) && !self.pool.places[self.at].account.is_empty() {
            self.compare(row, now);
        }
        let pair = self.pool.board.pair(self.pool.places[self.at].pair as usize);
        snapshot::observe(pair.first_token(), &FIRST_TOKEN_US, waited);
    }

    /// Once a second: how fast it is beside how fast it usually is.
    #[cold]
    fn compare(&self, row: EndpointRow<'_>, now: Nanos) {
        let read = |cell: &AtomicU64| ewma::value(cell.load(Relaxed)).unwrap_or(0.0);
        let (pace, latency) = (read(row.pace()), read(row.latency()));
        let (usual_pace, usual) = (read(row.usual_pace()), read(row.usual_latency()));
        ewma::observe(row.usual_pace(), pace, ewma::USUAL, now);
        ewma::observe(row.usual_latency(), latency, ewma::USUAL, now);
        let is_slow = usual > 0.0 && pace > OVERLOADED * usual_pace && latency > (OVERLOADED * usual).max(OVERLOADED_S);
        let in_flight = self.pool.in_flight(self.at);
        if is_slow && in_flight >= OVERLOADING {
            self.cut(Cut::Slow(in_flight), now);
        } else if latency < OVERLOADED_S.max(2.0 * usual) {
            self.lift(in_flight, now);
        }
    }

    fn lift(&self, in_flight: u64, now: Nanos) {
        if let Some(cell) = self.pool.found(self.at).filter(|cell| cell.load(Relaxed) != 0) {
            found::lift(cell, in_flight, now);
        }
    }

    fn cut(&self, what: Cut, now: Nanos) {
        if let Some(cell) = self.pool.found(self.at) {
            found::cut(cell, what, self.reserved, now);
        }
    }

    fn settle_limits(&self, ending: &Ending) {
        let (limits, gate) = (&self.pool.places[self.at].limits, self.pool.gate(self.at));
        if ending.failure == Failure::None {
            limits.reconcile(gate, self.tokens, ending.used.or(self.tokens), self.reserved, ending.now);
        } else if ending.failure.is_uncounted() || ending.now <= self.reserved {
            limits.refund(gate, self.tokens, self.reserved, ending.now);
        }
    }

    /// Tells breaker and averages, and keeps the pause that was asked for.
    fn judge(&self, ending: &Ending) {
        let row = self.pool.endpoint(self.at);
        let verdict = ending.failure.verdict();
        self.tell_breaker(verdict, ending.cool_ms, ending.now);
        if verdict == Verdict::Bad {
            let penalty_s = seconds(ending.now.since(self.reserved)).max(PENALTY_S);
            ewma::penalize(row.latency(), penalty_s, ewma::LATENCY, ending.now);
            ewma::penalize(row.pace(), penalty_s / self.work, ewma::PACE, ending.now);
        }
        if ending.failure == Failure::RateLimited {
            // Its own place is given back already.
            self.cut(self.refused(ending.now), ending.now);
        }
        let pause_ms =
            if ending.cool_ms == 0 { ending.failure.cool_ms() } else { ending.cool_ms.min(LONGEST_PAUSE_MS) };
        if pause_ms > 0 {
            self.pause(ending.failure, ending.now.plus(Nanos(pause_ms * 1_000_000)));
        }
    }

    /// What a 429 says is too much.
    #[cold]
    fn refused(&self, now: Nanos) -> Cut {
        let (pool, row) = (&self.pool, self.pool.endpoint(self.at));
        let limits = &pool.places[self.at].limits;
        if !limits.has_rates() {
            return Cut::Places(pool.in_flight(self.at) + 1);
        }
        let found = found::read(pool.found_word(self.at, row), now).share;
        let is_large = found.map_or(*limits, |share| limits.slowed(share)).is_beyond_burst(&self.tokens.units());
        if is_large { Cut::Large } else { Cut::Rates }
    }

    /// Leaves the endpoint alone until then; after a refusal for want of quota all of its account, which shares it.
    #[cold]
    fn pause(&self, failure: Failure, until: Nanos) {
        let is_quota = matches!(failure, Failure::RateLimited | Failure::QuotaExhausted);
        for at in self.mates().filter(|at| is_quota || *at == self.at) {
            self.pool.endpoint(at).not_before().fetch_max(until.0, Relaxed);
        }
    }

    fn tell_breaker(&self, verdict: Verdict, pause_ms: u64, now: Nanos) {
        let (pool, row) = (&self.pool, self.pool.endpoint(self.at));
        let ended = Ended { verdict, probe: self.trial != Trial::None, pause_ms, now };
        let policy = &pool.health.breaker;
        let opened = breaker::record(row.breaker(), policy, &ended)
            || verdict == Verdict::Bad && self.is_outlier(now) && breaker::eject(row.breaker(), policy, &ended);
        if opened {
            row.trips().fetch_add(1, Relaxed);
        }
    }

    /// Whether its failures stand out among those of the pool.
    fn is_outlier(&self, now: Nanos) -> bool {
        let (pool, policy) = (&self.pool, &self.pool.health);
        let own = breaker::counts(pool.endpoint(self.at).breaker().load(Relaxed), &policy.breaker, now);
        if own.0 < policy.breaker.min_requests {
            return false;
        }
        let (others, open) = pool.others(self.at, now);
        outlier::may_eject(open, pool.len(), &policy.pool)
            && outlier::is_outlier(own, others, policy.breaker.min_requests, &policy.pool)
    }

    fn count(&self, ending: &Ending) {
        let row = self.pool.endpoint(self.at);
        row.attempts().at(ending.failure as usize).fetch_add(1, Relaxed);
        let used = if ending.failure == Failure::None { ending.used.or(self.tokens) } else { ending.used };
        super::count_tokens(row.tokens(), used);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let phase = *self.phase.get_mut();
        if phase != SETTLED {
            self.release(phase);
            self.pool.endpoint(self.at).attempts().at(Failure::Cancelled as usize).fetch_add(1, Relaxed);
            self.pool.freed(self.at);
        }
    }
}

/// Whether so much work takes long, by the pace that was learned.
fn is_long(row: EndpointRow<'_>, work: f32) -> bool {
    ewma::value(row.pace().load(Relaxed)).is_some_and(|pace| f64::from(pace * work) >= LONG_S)
}

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds has no use for its last bits")]
fn seconds(span: Nanos) -> f32 {
    span.0 as f32 / NS_PER_S as f32
}
