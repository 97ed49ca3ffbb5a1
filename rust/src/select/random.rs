//! Uniform random: every eligible position has the same chance, whatever its weight; weight 0 drains.
//!
//! Knows nothing, so it never herds, and pays for it: `m = n` requests fill the fullest of `n` positions with about
//! `ln n / ln ln n`.
//!
//! Cost: one cell of a table and one question to the view.

use super::weighted_random::WeightedRandom;
use super::{Spec, Strategy};

/// A table of equal weights.
pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(WeightedRandom::new(&super::even(spec.weights)))
}
