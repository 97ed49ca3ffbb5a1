//! A share: what may be spent beside something else, as a part of it.
//!
//! The word is a debt. Spending is allowed while there is none and makes one; each thing done beside pays off its part. So over any span,
//! whatever comes in bursts, what is spent is at most the share of what was done, and one spending more. It is a bucket (see
//! [`super::gcra`]) whose clock is the work done instead of the time, so that a quiet hour saves up nothing for a busy minute.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pays `part` of the debt off. Reads only, while there is none.
pub fn earn(cell: &AtomicU64, part: u64) {
    if part > 0 {
        // `None` leaves the word as it is, which is a result and not a failure.
        let _unchanged = cell.fetch_update(Relaxed, Relaxed, |debt| (debt > 0).then(|| debt.saturating_sub(part)));
    }
}

/// Spends `cost`, if nothing is owed.
#[must_use]
pub fn spend(cell: &AtomicU64, cost: u64) -> bool {
    cell.compare_exchange(0, cost, Relaxed, Relaxed).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_spent_is_the_share_and_one_more_over_any_span(
            steps in prop::collection::vec((1u64..1_000, 0u64..5_000), 1..200), from in 0usize..200,
        ) {
            let cell = AtomicU64::new(0);
            let (mut done, mut spent, mut dearest) = (0, 0, 0);
            for (at, (work, cost)) in steps.iter().enumerate() {
                earn(&cell, work * 2);
                let is_spent = spend(&cell, *cost);
                if at >= from {
                    done += work * 2;
                    if is_spent {
                        spent += cost;
                        dearest = dearest.max(*cost);
                    }
                }
                prop_assert!(spent <= done + dearest, "{spent} beside {done}");
            }
        }
    }

    #[test]
    fn workers_that_spend_at_once_spend_once() {
        let cell = AtomicU64::new(0);
        let spent: usize = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..1_000).filter(|_| spend(&cell, 5)).count())).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });

        assert_eq!(spent, 1);
    }
}
