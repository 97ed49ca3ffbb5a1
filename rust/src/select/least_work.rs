//! Least work left, the default: where would this request wait for the shortest time, by the tokens that stand before it and
//! by the pace that the endpoint has shown?
//!
//! ```text
//! cost = pace * (P + own + g * D) / weight + owed
//! ```
//!
//! `P`: prompt tokens sent there that wait for their first token; `own`: those of this request; `D`: output tokens still owed;
//! `pace`: learned seconds per token of that sum. Requests are no measure of work where one prompt has 16 tokens and the next
//! 16,000. In simulation, p99 of the time to first token is half of that of two choices by count, and with four choices within
//! 5 to 19 % of a scan.
//!
//! `owed`: seconds until the endpoint's limits have their whole burst again. A hosted provider answers as fast with a thousand requests as with
//! one, so its pace tells chance from chance, and whichever account looked fastest would be used up while the others idle; then what needs a whole
//! burst waits everywhere. What an account owes is a line as well, and it is counted in the same seconds.
//!
//! `own` is at least one token, so that no cost is 0 and pace counts on idle endpoints too. A pace not learned yet is taken as
//! the mean of the sample. An idle position is tried now and then whatever its pace (`Sampler::explore`): a replica that was
//! slow once would otherwise never be asked again.
//!
//! Cost: three board lines for each of four draws, no allocation, whatever the size of the pool.

use super::sample::Sampler;
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

/// `g`, a token owed in tokens of prompt. 30 to 300 prompt tokens for each request in flight differ by a few percent in p99,
/// only 0 is worse; with answers of 200 to 400 tokens a quarter lies in the middle of that.
pub(crate) const DECODE_PART: f64 = 0.25;

/// Also what the hash strategies do with a request that has no key.
pub(super) struct LeastWork(Sampler);

impl LeastWork {
    pub(super) fn new(weights: &[u32], choices: usize) -> Self {
        Self(Sampler::new(weights, choices))
    }
}

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(LeastWork::new(spec.weights, spec.choices))
}

impl Strategy for LeastWork {
    #[expect(clippy::cast_precision_loss, reason = "tokens beyond 2^53 compare as equal")]
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize> {
        let own = f64::from(ask.tokens.max(1));
        self.0.explore(view, rng).or_else(|| {
            let cost = |at, pace_s: f64| {
                let (queued, due, owed_s) = view.line(at);
                let work = queued as f64 + own + DECODE_PART * due as f64;
                pace_s * work / self.0.weight(at) + owed_s
            };
            self.0.cheapest(view, rng, |at| view.pace_s(at), cost)
        })
    }
}
