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
//! Where the least cost is half a second or more, so that whoever comes waits, and answers tell that prompts with the same affinity key are
//! cached where that key is at home (`View::cache_gain`), a request goes home if the line there, counted by what has to be read, costs no more:
//!
//! ```text
//! cost at home = pace * ((1 - gain) * (P + own) + g * D) / weight + owed  <=  least cost
//! ```
//!
//! A prompt that need not be read makes the line shorter for all who stand behind it, so its own wait is not the measure; `gain * P` is what they
//! save where prompts are alike. The pace is one per token whether cached or not, and `gain` is a part of what has to be read at it. Without this, replicas that could bear the load with warm caches are overloaded for ever once their caches are cold:
//! in simulation 200 conversations over eight replicas had half of their requests unanswered, and have all answered, with p99 of 1.4 s for 130 s.
//! As long as nobody waits nothing changes: then a home that fails fast attracts no more than any other position of a sample.
//!
//! Cost: three board lines for each of four draws, no allocation, whatever the size of the pool; while everybody waits, a hash for each position.

use super::hashed::hash_of;
use super::rendezvous::Order;
use super::sample::{Sampler, usable};
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

/// `g`, a token owed in tokens of prompt. 30 to 300 prompt tokens for each request in flight differ by a few percent in p99,
/// only 0 is worse; with answers of 200 to 400 tokens a quarter lies in the middle of that.
pub(crate) const DECODE_PART: f64 = 0.25;

/// Who has to wait for so long for a first token, wherever it goes, may rather go where its prompt is cached, s.
pub(crate) const LONG_S: f64 = 0.5;
/// Less than this of a prompt is not worth a detour.
const LEAST_GAIN: f64 = 0.05;

/// Also what the hash strategies do with a request that has no key.
pub(super) struct LeastWork {
    sampler: Sampler,
    order: Order,
}

impl LeastWork {
    pub(super) fn new(weights: &[u32], choices: usize, nodes: &[u64]) -> Self {
        Self { sampler: Sampler::new(weights, choices), order: Order::new(nodes, weights) }
    }
}

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    let nodes: Vec<u64> = spec.names.iter().map(|name| hash_of(name, spec.seed)).collect();
    Box::new(LeastWork::new(spec.weights, spec.choices, &nodes))
}

impl Strategy for LeastWork {
    #[expect(clippy::cast_precision_loss, reason = "tokens beyond 2^53 compare as equal")]
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize> {
        let own = f64::from(ask.tokens.max(1));
        self.sampler.explore(view, rng).or_else(|| {
            let cost = |at, pace_s: f64| {
                let (queued, due, owed_s) = view.line(at);
                let work = queued as f64 + own + DECODE_PART * due as f64;
                pace_s * work / self.sampler.weight(at) + owed_s
            };
            let (at, least_s) = self.sampler.cheapest(view, rng, |at| view.pace_s(at), cost)?;
            if least_s < LONG_S { Some(at) } else { Some(self.at_home(view, ask, at, least_s)) }
        })
    }

    fn home(&self, view: &dyn View, key: u64) -> Option<usize> {
        self.order.first(key, |at| view.is_eligible(at))
    }
}

impl LeastWork {
    /// Everybody waits: where the prompt need not be read again, if the line there is worth it; else at the `best` of the sample.
    #[cold]
    #[expect(clippy::cast_precision_loss, reason = "tokens beyond 2^53 compare as equal")]
    fn at_home(&self, view: &dyn View, ask: &Ask, best: usize, least_s: f64) -> usize {
        let Some(key) = ask.hash else { return best };
        let gain = view.cache_gain();
        if gain < LEAST_GAIN {
            return best;
        }
        let home = self.home(view, key).and_then(|at| Some((at, usable(view.pace_s(at))?)));
        let Some((home, pace_s)) = home else { return best };
        let (queued, due, owed_s) = view.line(home);
        let read = (1.0 - gain) * (queued as f64 + f64::from(ask.tokens.max(1)));
        let cost_s = pace_s * (read + DECODE_PART * due as f64) / self.sampler.weight(home) + owed_s;
        if cost_s <= least_s { home } else { best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::mix;
    use crate::select::rows::{Row, Rows};
    use crate::units::Nanos;

    const KEYS: u64 = 200;

    /// Eight positions at which everybody waits for as long; the first with a line of its own.
    fn waiting(prefill: u64, first: u64, cache_gain: f64) -> Rows {
        let row = |prefill_tokens| Row { in_flight: 9, prefill_tokens, pace_s: Some(1e-4), ..Row::default() };
        let rows = (0..8).map(|at| row(if at == 0 { first } else { prefill })).collect();
        Rows { rows, cache_gain, ..Rows::default() }
    }

    /// Where each key goes, and where it is at home.
    fn went(view: &Rows) -> Vec<(usize, usize)> {
        let names: Vec<String> = (0..view.len()).map(|at| format!("endpoint-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let weights = vec![1; view.len()];
        let spec = Spec { weights: &weights, choices: 4, bounded_load: 0.0, names: &names, seed: 0 };
        let (strategy, mut rng) = (build(&spec), Rng::new(1));
        let ask = |key| Ask { tokens: 1_000, output: 100, hash: Some(mix(key)), now: Nanos(0) };
        let all = (0..KEYS).map(|key| {
            let at = strategy.select(view, &ask(key), &mut rng).expect("all are eligible");
            (at, strategy.home(view, mix(key)).expect("all are eligible"))
        });
        all.collect()
    }

    fn at_home(view: &Rows) -> usize {
        went(view).into_iter().filter(|(at, home)| at == home).count()
    }

    #[test]
    fn who_has_to_wait_anyway_goes_where_its_prompt_is_cached() {
        assert_eq!(at_home(&waiting(50_000, 50_000, 0.6)), KEYS as usize);
        for view in [waiting(50_000, 50_000, 0.0), waiting(500, 500, 0.6)] {
            assert!(at_home(&view) < KEYS as usize / 3, "no gain, or nobody waits");
        }
    }

    #[test]
    fn a_home_is_left_where_its_line_is_longer_than_what_the_cache_saves() {
        let of_first = |first| {
            let all = went(&waiting(50_000, first, 0.5));
            all.into_iter().filter(|(at, home)| (*at, *home) == (0, 0)).count()
        };
        assert!(of_first(95_000) > 0);
        assert_eq!(of_first(110_000), 0);
    }
}
