//! Random by weight, in constant time: an alias table (`alias.rs`).
//!
//! An ineligible draw is rejected and repeated, which leaves the others in proportion to their weights.
//!
//! Cost: one cell of a table and one question to the view, whatever the size of the pool.

use super::sample::Sampler;
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

/// The table.
pub(super) struct WeightedRandom(Sampler);

impl WeightedRandom {
    pub(super) fn new(weights: &[u32]) -> Self {
        Self(Sampler::new(weights, 1))
    }
}

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(WeightedRandom::new(spec.weights))
}

impl Strategy for WeightedRandom {
    fn select(&self, view: &dyn View, _ask: &Ask, rng: &mut Rng) -> Option<usize> {
        self.0.one(view, rng)
    }
}
