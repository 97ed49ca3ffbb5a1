//! Smooth weighted round robin in constant time: nginx's order, computed once and walked with one shared cursor.
//!
//! The order comes from `smooth.rs`. All workers draw turns from one cursor by fetch-add, so that the merged order of all
//! processes is the smooth one, without a lock.
//!
//! An ineligible entry is skipped by drawing another turn, never by looking at the entry behind it: that entry comes up again
//! with its own turn, and the position behind a dead one would get double. So shares stay exact over a period for every set
//! of eligible positions. When only light positions are left, their turns lie far apart: after `2n` misses the position is
//! drawn at random, by weight, among the eligible.
//!
//! Cost: one fetch-add, one table entry, one question to the view.

use super::sample::Sampler;
use super::smooth::order;
use super::{Ask, Spec, Strategy, View};
use crate::rng::Rng;

/// One period of the order.
pub(super) struct Weighted {
    order: Box<[u16]>,
    /// For the draw after too many misses.
    sampler: Sampler,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        Self { order: order(weights), sampler: Sampler::new(weights, 1) }
    }
}

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(Weighted::new(spec.weights))
}

impl Strategy for Weighted {
    fn select(&self, view: &dyn View, _ask: &Ask, rng: &mut Rng) -> Option<usize> {
        for _ in 0..2 * self.sampler.live() {
            let turn = view.next_turn() % self.order.len() as u64;
            let at = usize::from(self.order[turn as usize]);
            if view.is_eligible(at) {
                return Some(at);
            }
        }
        self.sampler.one_by_scan(view, rng)
    }
}
