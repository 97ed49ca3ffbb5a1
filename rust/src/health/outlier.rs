//! Ejection by comparison: an endpoint that fails clearly more often than the others of its pool is opened before it fails by itself.
//!
//! Envoy compares success rates by mean and deviation, over at least five hosts with a hundred requests each in ten seconds; pools of
//! language models have two or three endpoints and a few requests a second, where that never runs. So: the share of failures in the
//! window of one against that of all others together, each with enough requests to mean something, and a fixed distance between them.
//! At most a part of a pool is ejected this way, though at least one: if all do badly, none is an outlier.

use super::PoolPolicy;

/// Attempts and failures of a window.
pub type Counts = (u32, u32);

/// Whether an endpoint's counts lie so far above those of the others together; `enough` is the least number of attempts of each side.
#[must_use]
pub fn is_outlier(own: Counts, others: Counts, enough: u32, policy: &PoolPolicy) -> bool {
    if own.0 < enough || others.0 < enough {
        return false;
    }
    let permille = |(seen, failed): Counts| u64::from(failed) * 1_000 / u64::from(seen.max(1));
    permille(own) >= permille(others) + u64::from(policy.outlier_permille)
}

/// Whether one more endpoint of a pool may be ejected while `ejected` are.
#[must_use]
pub const fn may_eject(ejected: usize, endpoints: usize, policy: &PoolPolicy) -> bool {
    ejected == 0 && endpoints > 1 || (ejected + 1) * 1_000 <= endpoints * policy.ejected_permille as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_does_worse_than_the_others_is_an_outlier() {
        let policy = PoolPolicy::default();
        assert!(is_outlier((20, 6), (100, 2), 20, &policy));
        assert!(!is_outlier((20, 6), (100, 20), 20, &policy));
        assert!(!is_outlier((19, 9), (100, 0), 20, &policy));
        assert!(!is_outlier((100, 30), (19, 0), 20, &policy));
        assert!(!is_outlier((0, 0), (0, 0), 0, &policy));
    }

    #[test]
    fn one_may_be_ejected_always_and_a_third_at_most() {
        let policy = PoolPolicy::default();
        let most = |endpoints| (0..endpoints).take_while(|ejected| may_eject(*ejected, endpoints, &policy)).count();
        assert_eq!([1, 2, 3, 6, 16].map(most), [0, 1, 1, 2, 5]);
    }
}
