//! Cache aware: least work, where what an endpoint has read before need not be read again.
//!
//! Prompts that belong together (a conversation, a common system prompt: those with the same affinity key, see `hash_on`) begin alike, and
//! a server that has read one of them has its beginning in its cache. Which servers those are needs no memory and no word between workers:
//! each key has its own order of the endpoints (`rendezvous.rs`), and goes as far along it as it has to.
//!
//! ```text
//! cost = pace * (KEPT * P + own * (KEPT at the first, 1 at others) + g * D) / weight, times the rank from the third on
//! ```
//!
//! `KEPT` is the part of a prompt that has to be read where its key is at home; the other letters are those of `least_work`. So a key stays
//! at its first endpoint until the line there costs more than reading everything at the second one, and goes to the third one only where
//! both have twice the work. A key that one endpoint can bear is in one cache, a key that is a half of all traffic is everywhere.
//! The factor is there for stability: where everything is full, every prompt that is read at one more endpoint makes
//! them fuller. Without it, in simulation, eight replicas at 80 % of their load never found out of a queue of a minute.
//!
//! Against a hash with bounded load, which counts requests and spills what costs nothing at home: p99 of the time to first token 0.77x with
//! shared prefixes, 0.68x with conversations, 0.4x where one key has all traffic (least work alone: a seventh of that, since everything is
//! cached everywhere then).
//!
//! Cost: one hash for each position, three board lines for each of up to 16, no allocation.

use super::hashed::hash_of;
use super::least_work::{DECODE_PART, LeastWork};
use super::rendezvous::Order;
use super::sample::{CHOICES_MAX, mean, usable};
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

/// Part of a prompt that is read although its key is at home. Between a fifth and two fifths p99 differs by a sixth: less holds conversations
/// together, more lets prefixes that many share spread; conversations and common prompts of agents have a fifth to a third of new text.
const KEPT: f64 = 0.3;

/// The choices that `least_work` has by default.
const KEYLESS_CHOICES: usize = 4;

struct CacheAware {
    order: Order,
    weights: Box<[u32]>,
    keyless: LeastWork,
}

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    let nodes: Vec<u64> = spec.names.iter().map(|name| hash_of(name, spec.seed)).collect();
    Box::new(CacheAware {
        order: Order::new(&nodes, spec.weights),
        weights: spec.weights.into(),
        keyless: LeastWork::new(spec.weights, KEYLESS_CHOICES, &[]),
    })
}

impl Strategy for CacheAware {
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize> {
        let Some(key) = ask.hash else {
            return self.keyless.select(view, ask, rng);
        };
        let mut homes = [0; CHOICES_MAX];
        let found = self.order.ranked(key, &mut homes, |at| view.is_eligible(at));
        let paces = |at: &u16| usable(view.pace_s(usize::from(*at)));
        let unknown = mean(homes[..found].iter().filter_map(paces));
        let (mut best, mut least) = (None, f64::INFINITY);
        for (rank, at) in homes[..found].iter().enumerate() {
            let cost = paces(at).unwrap_or(unknown) * self.work(view, usize::from(*at), ask, rank);
            // The first of equals, which is nearer to home; also where costs are beyond numbers.
            if best.is_none() || cost < least {
                (best, least) = (Some(usize::from(*at)), cost);
            }
        }
        best
    }
}

impl CacheAware {
    /// Tokens to be read and written before the first token, in shares of the weight.
    #[expect(clippy::cast_precision_loss, reason = "tokens beyond 2^53 compare as equal")]
    fn work(&self, view: &dyn View, at: usize, ask: &Ask, rank: usize) -> f64 {
        let own = f64::from(ask.tokens.max(1)) * if rank == 0 { KEPT } else { 1.0 };
        let line = KEPT * view.prefill_tokens(at) as f64 + own + DECODE_PART * view.decode_tokens(at) as f64;
        line * rank.max(1) as f64 / f64::from(self.weights[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::mix;
    use crate::select::rows::Rows;
    use crate::units::Nanos;

    fn picks(view: &Rows, tokens: u32) -> Vec<usize> {
        let names: Vec<String> = (0..view.len()).map(|at| format!("endpoint-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let spec = Spec { weights: &vec![1; view.len()], choices: 0, bounded_load: 0.0, names: &names, seed: 0 };
        let (strategy, mut rng) = (build(&spec), Rng::new(1));
        (0..100u64)
            .map(|key| {
                let ask = Ask { tokens, output: 0, hash: Some(mix(key)), now: Nanos(0) };
                strategy.select(view, &ask, &mut rng).expect("all are eligible")
            })
            .collect()
    }

    fn changed(before: &[usize], after: &[usize]) -> usize {
        before.iter().zip(after).filter(|(a, b)| a != b).count()
    }

    #[test]
    fn a_key_stays_at_home_while_the_line_there_is_shorter_than_reading_it_elsewhere() {
        let mut view = Rows::idle(8);
        let home = picks(&view, 1_000);
        view.rows[3].prefill_tokens = 2_000;
        assert_eq!(changed(&home, &picks(&view, 1_000)), 0);
        view.rows[3].prefill_tokens = 2_500;
        let moved = picks(&view, 1_000);
        assert!(home.contains(&3) && !moved.contains(&3));
        assert_eq!(changed(&home, &moved), home.iter().filter(|at| **at == 3).count());
    }

    #[test]
    fn a_third_endpoint_is_asked_where_two_have_twice_the_work() {
        let mut view = Rows::idle(3);
        let home = picks(&view, 1_000);
        for prefill in [3_000, 9_000] {
            view.rows[0].prefill_tokens = prefill;
            view.rows[1].prefill_tokens = prefill;
            let found = picks(&view, 1_000);
            // Home at 0, next home at 1 or the other way round: those whose third is 2.
            let stayed = found.iter().zip(&home).filter(|(at, home)| **at == **home && **home != 2).count();
            assert_eq!(stayed > 0, prefill == 3_000, "{prefill}");
        }
    }
}
