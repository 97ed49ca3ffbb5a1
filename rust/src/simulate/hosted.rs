//! A hosted provider: as many machines as it wants, and an account with limits. What exceeds them is a 429 with Retry-After.

use std::collections::BTreeSet;

use super::job::{Job, Out, Signal, Work};
use super::quota::Quota;
use super::scenario::{Quota as Spec, Spread};
use super::span;
use crate::health::Failure;
use crate::rng::Rng;
use crate::units::Nanos;

/// How fast a provider says no, s.
const REFUSAL_S: f64 = 0.02;

/// See the module.
pub(super) struct Hosted {
    first_token_s: Spread,
    tokens_per_s: f64,
    quota: Quota,
    slowness: f64,
    /// Taken while it hangs: never answered.
    lost: BTreeSet<u64>,
}

impl Hosted {
    pub(super) fn new(first_token_s: Spread, tokens_per_s: f64, quota: &Spec) -> Self {
        Self { first_token_s, tokens_per_s, quota: Quota::new(quota), slowness: 1.0, lost: BTreeSet::new() }
    }
}

impl Work for Hosted {
    fn send(&mut self, job: Job, now: Nanos, out: &mut Out) {
        let tokens = u64::from(job.input) + u64::from(job.output);
        if let Err(wait) = self.quota.admit(tokens, now) {
            let refused = Signal::Failed { failure: Failure::RateLimited, cool_ms: wait.div_ceil(1_000_000) };
            out.later.push((now.plus(span(REFUSAL_S)), job.id, refused));
            return;
        }
        if !self.slowness.is_finite() {
            self.lost.insert(job.id);
            return;
        }
        let first_s = self.first_token_s.draw(&mut Rng::new(job.luck));
        let first = now.plus(span(first_s * self.slowness));
        let rest = span(f64::from(job.output - 1) / self.tokens_per_s * self.slowness);
        out.later.push((first, job.id, Signal::First { cached: 0 }));
        out.later.push((first.plus(rest), job.id, Signal::Done));
    }

    fn tick(&mut self, _now: Nanos, _out: &mut Out) {}

    fn cancel(&mut self, id: u64, _now: Nanos, _out: &mut Out) {
        self.lost.remove(&id);
    }

    fn slow(&mut self, times: f64, _now: Nanos, _out: &mut Out) {
        self.slowness = times;
    }

    fn has_quota(&mut self, tokens: u64, now: Nanos) -> bool {
        self.quota.wait(tokens, now) == 0
    }

    fn reset(&mut self, _all: bool) {}
}
