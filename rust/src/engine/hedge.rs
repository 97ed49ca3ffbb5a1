//! Hedges of a pool: second sends of requests whose first answer is late, as a share of its requests and of their cost.
//!
//! Both caps are debts on the board, so that all workers keep them together (`limit::share`).

use std::sync::atomic::Ordering::Relaxed;

use super::Pool;
use crate::limit::share;

/// How a hedge ended, in the order of its words on the board.
pub const HEDGES: [&str; 6] = ["won", "lost", "failed", "cancelled", "capped", "no_place"];
/// The place of those that a cap refused.
const CAPPED: usize = 4;
/// What one hedge costs of the share of the requests.
const ONE: u64 = 1_000_000;

impl Pool {
    /// A request was asked of the pool, which allows for so many millionths of a hedge; or was answered, which allows for so much cost.
    pub fn hedge_earn(&self, millionths: u64, cost: u64) {
        let row = self.row();
        share::earn(row.hedge_debt(), millionths);
        share::earn(row.hedge_cost_debt(), cost);
    }

    /// Spends a hedge of this cost, if both shares allow it. A refusal is counted.
    #[must_use]
    pub fn hedge_spend(&self, cost: u64) -> bool {
        let row = self.row();
        let is_spent = share::spend(row.hedge_debt(), ONE) && {
            let is_spent = share::spend(row.hedge_cost_debt(), cost);
            if !is_spent {
                share::earn(row.hedge_debt(), ONE);
            }
            is_spent
        };
        if !is_spent {
            self.hedge_count(CAPPED);
        }
        is_spent
    }

    /// Gives back what was spent on a hedge that found no place.
    pub fn hedge_return(&self, cost: u64) {
        self.hedge_earn(ONE, cost);
    }

    /// Counts a hedge by its place in [`HEDGES`].
    pub fn hedge_count(&self, outcome: usize) {
        if let Some(word) = self.row().hedges().get(outcome) {
            word.fetch_add(1, Relaxed);
        }
    }
}
