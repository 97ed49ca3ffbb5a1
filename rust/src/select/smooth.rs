//! The order of nginx's smooth weighted round robin (`ngx_http_upstream_get_peer`), as a table of one period.
//!
//! nginx adds to every peer its weight, picks the largest sum (the first of equals) and takes the total weight off the winner:
//! `{5, 1, 1}` gives `a a b a c a a`, not `a a a a a b c`. Any prefix of `k` picks holds `k w / W` of each, give or take 2.
//! The order repeats after `W / gcd` picks.
//!
//! Cost of building: nginx compares all peers for each pick. Peers of equal weight take turns in the order of their positions,
//! so it is enough to compare one peer for each distinct weight, and a period of 65,536 has at most 361 distinct weights.

use std::collections::BTreeMap;

/// Longest period: 128 KiB of table. Longer ones are scaled down to it.
pub(super) const PERIOD_MAX: u64 = 1 << 16;

/// Positions of one weight.
struct Class {
    weight: i64,
    members: Vec<u16>,
    /// Picks that went to the class so far.
    picks: u32,
}

impl Class {
    /// Who is next in turn.
    fn next(&self) -> u16 {
        self.members[self.picks as usize % self.members.len()]
    }

    /// nginx's `current_weight` of the next member after `step` additions: each earlier pick of it took `total` off.
    fn current(&self, step: i64, total: i64) -> i64 {
        step * self.weight - i64::from(self.picks / self.members.len() as u32) * total
    }
}

/// Positions in the order of one period; empty when all weights are 0.
pub(super) fn order(weights: &[u32]) -> Box<[u16]> {
    let weights = reduced(weights);
    let mut members: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
    for (at, &weight) in (0..=u16::MAX).zip(&weights).filter(|&(_, &weight)| weight > 0) {
        members.entry(weight).or_default().push(at);
    }
    let mut classes: Vec<Class> =
        members.into_iter().map(|(weight, members)| Class { weight: weight.into(), members, picks: 0 }).collect();
    let total: i64 = weights.iter().copied().map(i64::from).sum();
    let turn = |step: i64| {
        let best = classes.iter_mut().reduce(|best, other| {
            let (held, found) = (best.current(step, total), other.current(step, total));
            // nginx keeps the first of equals.
            if found > held || (found == held && other.next() < best.next()) { other } else { best }
        })?;
        let at = best.next();
        best.picks += 1;
        Some(at)
    };
    (1..=total).map_while(turn).collect()
}

/// The same proportions with a sum of at most [`PERIOD_MAX`].
///
/// Divided by the greatest common divisor the shares stay exact. If that does not suffice they are rounded to whole turns of
/// a period of `PERIOD_MAX - n`, at least one turn each: a share is off by half a turn in 65,536, and who is due less than a
/// turn gets one.
fn reduced(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let exact: Vec<u32> = weights.iter().map(|&weight| weight / divisor).collect();
    let total: u64 = exact.iter().copied().map(u64::from).sum();
    if total <= PERIOD_MAX {
        return exact;
    }
    let live = exact.iter().filter(|&&weight| weight > 0).count() as u64;
    // Rounding adds at most one turn to each, so the sum stays within the period.
    let turns = PERIOD_MAX - live;
    let scaled = |weight: u32| ((u64::from(weight) * turns + total / 2) / total) as u32;
    exact.iter().map(|&weight| scaled(weight).max(weight.min(1))).collect()
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of turns fit exactly")]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The loop of `ngx_http_upstream_get_peer`, with all peers up.
    fn nginx(weights: &[u32], picks: usize) -> Vec<u16> {
        let total: i64 = weights.iter().copied().map(i64::from).sum();
        let mut current = vec![0i64; weights.len()];
        let mut pick = || {
            let mut best: Option<usize> = None;
            for (at, &weight) in weights.iter().enumerate().filter(|&(_, &weight)| weight > 0) {
                current[at] += i64::from(weight);
                if best.is_none_or(|best| current[at] > current[best]) {
                    best = Some(at);
                }
            }
            let best = best.expect("a weight above 0");
            current[best] -= total;
            best as u16
        };
        (0..picks).map(|_| pick()).collect()
    }

    fn random_weights(rng: &mut Rng) -> Vec<u32> {
        let largest = [1, 2, 5, 20, 100][rng.below(5)];
        let mut weights: Vec<u32> = (0..=rng.below(12)).map(|_| rng.below(largest + 1) as u32).collect();
        weights.push(1 + rng.below(largest) as u32);
        weights
    }

    #[test]
    fn a_thousand_random_weight_vectors_give_the_order_of_nginx() {
        let mut rng = Rng::new(7);
        for _ in 0..1_000 {
            let weights = random_weights(&mut rng);
            let order = order(&weights);

            assert_eq!(*order, nginx(&weights, order.len()), "{weights:?}");
        }
    }

    #[test]
    fn the_example_of_nginx() {
        assert_eq!(*order(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*order(&[50, 10, 10]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_prefix_is_within_two_picks_of_its_share() {
        let mut rng = Rng::new(8);
        for _ in 0..200 {
            let weights = random_weights(&mut rng);
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let mut counts = vec![0.0; weights.len()];
            for (picks, &at) in (1u32..).zip(&order(&weights)) {
                counts[usize::from(at)] += 1.0;
                for (count, &weight) in counts.iter().zip(&weights) {
                    assert!((count - f64::from(picks) * f64::from(weight) / total).abs() < 2.0, "{weights:?}");
                }
            }
        }
    }

    #[test]
    fn a_period_too_long_is_scaled_and_forgets_nobody() {
        let weights: Vec<u32> = (0..300).map(|at| 1_000_003 * at + at % 7).chain([0, 1, u32::MAX]).collect();
        let order = order(&weights);
        assert!(order.len() as u64 <= PERIOD_MAX && order.len() as u64 > PERIOD_MAX - 1_000);

        let total: f64 = weights.iter().copied().map(f64::from).sum();
        for (at, &weight) in (0..=u16::MAX).zip(&weights) {
            let turns = order.iter().filter(|&&turn| turn == at).count();
            let due = f64::from(weight) / total * order.len() as f64;
            assert_eq!(turns > 0, weight > 0, "position {at}");
            assert!((turns as f64 - due).abs() <= 1.0 + due * 0.005, "position {at}: {turns} turns for {due}");
        }
    }

    #[test]
    fn a_full_pool_has_a_turn_for_everyone() {
        let order = order(&vec![u32::MAX; usize::from(u16::MAX) + 1]);
        assert_eq!(order.len(), 65_536);
        assert!((0..=u16::MAX).zip(&order).all(|(turn, &at): (u16, _)| turn == at));
        assert!(super::order(&[0, 0]).is_empty() && super::order(&[]).is_empty());
    }
}
