//! A place on an endpoint, from the decision to the end of the attempt. Settled exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Relaxed};

use super::pool::{Pool, Wish};
use crate::health::breaker;
use crate::health::ewma::{self, Mode};
use crate::health::{Failure, Verdict};
use crate::limit::{self, Use, inflight};
use crate::snapshot::{self, DURATION_US, FIRST_TOKEN_US};
use crate::units::{NS_PER_S, Nanos};

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
    /// In spite of it, since all breakers of the pool held back.
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
    phase: AtomicU8,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, at: usize, trial: Trial, wish: &Wish) -> Self {
        let work = pool.work(at, wish.tokens.input);
        let row = pool.endpoint(at);
        inflight::add(row.prefill(), pool.column, wish.tokens.input.min(MOST_PREFILL));
        inflight::add(row.decode(), pool.column, wish.tokens.output.min(MOST_DECODE));
        Self { at, trial, reserved: wish.now, tokens: wish.tokens, work, phase: AtomicU8::new(WAITING), pool }
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

    /// Whether it was given out although the endpoint's breaker held it back.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.trial == Trial::Relaxed
    }

    /// Counts this attempt as a retry.
    pub fn mark_retry(&self) {
        self.pool.endpoint(self.at).retries().fetch_add(1, Relaxed);
    }

    /// The first token came: its prompt is no longer queued, and its latency is known. Only the first call counts.
    pub fn first_byte(&self, now: Nanos) {
        if self.phase.compare_exchange(WAITING, ANSWERING, AcqRel, Relaxed).is_ok() {
            self.leave_prefill();
            self.sample(now);
        }
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
        if is_whole {
            let pair = self.pool.board.pair(self.pool.places[self.at].pair as usize);
            snapshot::observe(pair.duration(), &DURATION_US, ending.now.since(self.reserved));
        }
        self.pool.freed(self.at);
        true
    }

    /// Gives back what is held: the place, the queued tokens, the probe.
    fn release(&self, phase: u8) {
        if phase == WAITING {
            self.leave_prefill();
        }
        let row = self.pool.endpoint(self.at);
        inflight::sub(row.decode(), self.pool.column, self.tokens.output.min(MOST_DECODE));
        if self.trial == Trial::Probe {
            inflight::sub(row.probes(), self.pool.column, 1);
        }
        limit::release(self.pool.gate(self.at));
    }

    fn leave_prefill(&self) {
        let row = self.pool.endpoint(self.at);
        inflight::sub(row.prefill(), self.pool.column, self.tokens.input.min(MOST_PREFILL));
    }

    fn sample(&self, now: Nanos) {
        let row = self.pool.endpoint(self.at);
        let waited = now.since(self.reserved);
        let waited_s = seconds(waited);
        ewma::observe(row.latency(), waited_s, Mode::Peak, now);
        ewma::observe(row.pace(), waited_s / self.work, Mode::Mean, now);
        let pair = self.pool.board.pair(self.pool.places[self.at].pair as usize);
        snapshot::observe(pair.first_token(), &FIRST_TOKEN_US, waited);
    }

    fn settle_limits(&self, ending: &Ending) {
        let (limits, gate) = (&self.pool.places[self.at].limits, self.pool.gate(self.at));
        if ending.failure == Failure::None {
            limits.reconcile(gate, self.tokens, ending.used.or(self.tokens), ending.now);
        } else {
            // An attempt that used tokens was a request as well.
            let used = (ending.used != Use::default()).then_some(ending.used);
            limits.refund(gate, self.tokens, used, self.reserved, ending.now);
        }
    }

    /// Tells breaker and averages, and keeps the pause that was asked for.
    fn judge(&self, ending: &Ending) {
        let row = self.pool.endpoint(self.at);
        let verdict = ending.failure.verdict();
        if breaker::record(row.breaker(), verdict, self.trial != Trial::None, ending.now) {
            row.trips().fetch_add(1, Relaxed);
        }
        if verdict == Verdict::Bad {
            let penalty_s = seconds(ending.now.since(self.reserved)).max(PENALTY_S);
            ewma::penalize(row.latency(), penalty_s, Mode::Peak, ending.now);
            ewma::penalize(row.pace(), penalty_s / self.work, Mode::Mean, ending.now);
        }
        let pause_ms =
            if ending.cool_ms == 0 { ending.failure.cool_ms() } else { ending.cool_ms.min(LONGEST_PAUSE_MS) };
        if pause_ms > 0 {
            row.not_before().fetch_max(ending.now.plus(Nanos(pause_ms * 1_000_000)).0, Relaxed);
        }
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

#[expect(clippy::cast_precision_loss, reason = "a duration in seconds has no use for its last bits")]
fn seconds(span: Nanos) -> f32 {
    span.0 as f32 / NS_PER_S as f32
}
