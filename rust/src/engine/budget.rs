//! The retry budget of a pool: so many retries in vain for each hundred requests, and so many a second besides.
//!
//! A bucket that fills by itself, and by a fifth of a retry with each request. Why a budget and not only "at most 3 attempts": when an
//! endpoint fails every request, three attempts each triple the load on what is left, exactly then (Finagle, linkerd, tower).
//!
//! A retry that ends in a whole answer gives back what it took: the request needed that answer, and no other retry gets it one. So a crowd
//! whose endpoint has died goes over to one that lives as fast as that one answers, never more at once than the bucket holds, while retries
//! in vain stay within the budget: over any span of L seconds with n requests at most `percent * n / 100 + per_s * (L + 1)`.

use std::sync::atomic::AtomicU64;

use crate::limit::gcra::{self, Rate};
use crate::units::Nanos;

/// Hundredths of a retry that one retry costs.
const RETRY: u64 = 100;

/// How fast retries may be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    rate: Rate,
    percent: u64,
}

impl Budget {
    /// `percent` of requests, and `per_s` in each second. A `per_s` of 0 is taken as 1, so that a quiet pool can retry at all.
    #[must_use]
    pub(super) fn new(percent: u32, per_s: u32) -> Self {
        let retries_per_s = u64::from(per_s.max(1)) * RETRY;
        // A second's worth, and what the last of them gets back by its own deposit.
        let burst_s = 1.0 + f64::from(percent) / f64::from(per_s.max(1)) / 100.0;
        Self { rate: Rate::per_second(retries_per_s, burst_s), percent: u64::from(percent) }
    }

    /// An attempt is made. Reads only, while the bucket is full.
    pub(super) fn deposit(&self, cell: &AtomicU64, now: Nanos) {
        gcra::give_back(cell, &self.rate, self.percent, now);
    }

    /// Spends one retry, if there is one, and what it will deposit as an attempt: only first attempts earn.
    #[must_use]
    pub(super) fn spend(&self, cell: &AtomicU64, now: Nanos) -> bool {
        gcra::take(cell, &self.rate, RETRY + self.percent, now).is_ok()
    }

    /// A retry ended in a whole answer.
    pub(super) fn earn_back(&self, cell: &AtomicU64, now: Nanos) {
        gcra::give_back(cell, &self.rate, RETRY, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_fifth_of_the_requests_and_ten_a_second() {
        let (budget, cell) = (Budget::new(20, 10), AtomicU64::new(0));
        let mut retries = 0;
        for request in 0..10_000u64 {
            let now = Nanos(1 + request * 1_000_000);
            budget.deposit(&cell, now);
            if budget.spend(&cell, now) {
                budget.deposit(&cell, now);
                retries += 1;
            }
        }
        // 10 s: 2,000 of the requests, 100 by time, 10 of the first full bucket.
        assert!((2_090..=2_110).contains(&retries), "{retries}");
    }

    #[test]
    fn retries_of_use_are_free_but_only_so_many_at_once() {
        let (budget, cell, now) = (Budget::new(20, 10), AtomicU64::new(0), Nanos(1));
        let spend = || {
            let allowed = budget.spend(&cell, now);
            if allowed {
                budget.deposit(&cell, now);
            }
            allowed
        };
        let at_once = (0..1000).filter(|_| spend()).count();
        assert!((10..=12).contains(&at_once), "{at_once}");
        for _ in 0..1000 {
            budget.earn_back(&cell, now);
            assert!(spend());
            assert!(!spend(), "one given back is one more");
        }
    }
}
