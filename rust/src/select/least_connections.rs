//! Fewest requests in flight for its weight, out of a sample: the power of `d` choices.
//!
//! `n` requests on `n` endpoints fill the fullest one with `ln ln n / ln d + O(1)`; with a single random draw each it holds
//! about `ln n / ln ln n` (Mitzenmacher 2001, IEEE TPDS 12:10): two draws have nearly all of the gain. `choices: 0` compares all positions: the best balance, and the
//! worst answer to an endpoint that fails fast, because it always looks idle.
//!
//! Loads are divided by weights. Equal loads go by weight, so that an idle pool is shared by weight too.
//!
//! Cost: `d` board lines, no allocation, whatever the size of the pool; a scan reads all of them.

use super::sample::Sampler;
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

struct LeastConnections(Sampler);

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(LeastConnections(Sampler::new(spec.weights, spec.choices)))
}

impl Strategy for LeastConnections {
    fn select(&self, view: &dyn View, _ask: &Ask, rng: &mut Rng) -> Option<usize> {
        // Division is correctly rounded, so that equal fractions compare equal.
        self.0
            .cheapest(view, rng, |_| None, |at, _| f64::from(view.in_flight(at)) / self.0.weight(at))
            .map(|(at, _)| at)
    }
}
