//! Maglev's lookup table (Eisenbud et al. 2016, NSDI, section 3.4): nodes take turns in claiming entries, each along its own
//! permutation of the table.
//!
//! Entries are even to one turn, a lookup is one array access, and most entries keep their node when another comes or goes:
//! without one of 1,000 nodes 0.7 % of the keys move at 65,537 entries, where 0.1 % had to.
//!
//! Weights go by turns, as in Envoy: in the round `r` a node claims an entry if it has not yet had `r w / w_max`. Rounds in
//! which nobody but the heaviest has a turn are not walked: a heap knows whose turn is next.
//!
//! Cost: 2 bytes an entry; building takes `M ln M` probes and `M ln n` steps of the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::rng::mix;

/// Entries of a table for up to 655 nodes: a prime, and a hundred entries for each.
pub const SIZE_SMALL: u64 = 65_537;

/// Entries of a table for more nodes. Both sizes are the paper's.
pub const SIZE_LARGE: u64 = 655_373;

/// Entries that a node should have at least, so that one turn is a percent of its share.
const ENTRIES_EACH: u64 = 100;

/// Tells the step of a permutation from its start.
const STEP_SALT: u64 = 0x6D61_676C_6576_0001;

/// A finished table.
#[derive(Clone, Debug)]
pub struct Maglev(Box<[u16]>);

/// The way of one node through the table: a start and a step, which in a table of prime size visit every entry.
struct Walk {
    at: u64,
    step: u64,
    weight: u64,
    owner: u16,
    /// Turns taken.
    turns: u64,
}

impl Maglev {
    /// A table of nodes, given by their hashes, of the size that their number asks for. Weight 0 leaves a node out.
    pub fn new(nodes: &[u64], weights: &[u32]) -> Self {
        let live = weights.iter().filter(|&&weight| weight > 0).count() as u64;
        Self::with_size(nodes, weights, if live * ENTRIES_EACH < SIZE_SMALL { SIZE_SMALL } else { SIZE_LARGE })
    }

    /// A table of `size` entries, which is a prime. With more than `size` nodes some get nothing.
    pub fn with_size(nodes: &[u64], weights: &[u32], size: u64) -> Self {
        let mut walks = walks(nodes, weights, size);
        let Some(heaviest) = walks.iter().map(|walk| walk.weight).max() else {
            return Self(Box::default());
        };
        let mut turns: BinaryHeap<Reverse<(u64, usize)>> = (0..walks.len()).map(|rank| Reverse((0, rank))).collect();
        let mut table: Vec<Option<u16>> = vec![None; size as usize];
        for _ in 0..size {
            let Some(mut turn) = turns.peek_mut() else { break };
            let walk = &mut walks[turn.0.1];
            while table[walk.at as usize].is_some() {
                walk.at = (walk.at + walk.step) % size;
            }
            table[walk.at as usize] = Some(walk.owner);
            walk.turns += 1;
            turn.0.0 = (walk.turns * heaviest).div_ceil(walk.weight);
        }
        Self(table.into_iter().flatten().collect())
    }

    /// The position that `key` belongs to; `None` for an empty table.
    pub fn owner(&self, key: u64) -> Option<usize> {
        let entry = (u128::from(mix(key)) * self.0.len() as u128) >> 64;
        self.0.get(entry as usize).map(|&owner| usize::from(owner))
    }
}

/// All that have a weight, in the order of their hashes: the order of the pool must not matter.
fn walks(nodes: &[u64], weights: &[u32], size: u64) -> Vec<Walk> {
    let mut live: Vec<(u64, u16, u32)> =
        (0..=u16::MAX).zip(nodes).zip(weights).map(|((at, &node), &weight)| (node, at, weight)).collect();
    live.retain(|&(.., weight)| weight > 0);
    live.sort_unstable();
    let walk = |(node, owner, weight): (u64, u16, u32)| Walk {
        at: mix(node) % size,
        step: mix(node ^ STEP_SALT) % (size - 1) + 1,
        weight: weight.into(),
        owner,
        turns: 0,
    };
    live.into_iter().map(walk).collect()
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "shares are compared to a percent")]
mod tests {
    use super::*;

    fn nodes(count: u64) -> Vec<u64> {
        (1..=count).map(|node| mix(node << 32)).collect()
    }

    fn entries(table: &Maglev, nodes: usize) -> Vec<usize> {
        let mut entries = vec![0; nodes];
        for &owner in &table.0 {
            entries[usize::from(owner)] += 1;
        }
        entries
    }

    #[test]
    fn entries_are_even_to_one_turn_and_few_move_with_a_node() {
        let nodes = nodes(1_000);
        let mut weights = vec![1; 1_000];
        let all = Maglev::with_size(&nodes, &weights, SIZE_SMALL);
        let counts = entries(&all, 1_000);
        assert!(*counts.iter().min().unwrap() as f64 >= 0.98 * *counts.iter().max().unwrap() as f64);

        // Shares of keys that move, without k of 1,000 nodes: measured for the paper's algorithm, +-15 %.
        for (gone, expected) in [(10, 0.034), (100, 0.136)] {
            weights[..gone].fill(0);
            let without = Maglev::with_size(&nodes, &weights, SIZE_SMALL);
            let moved = all.0.iter().zip(&without.0).filter(|(before, after)| before != after).count() as f64;
            let moved = moved / SIZE_SMALL as f64;
            assert!((moved / expected - 1.0).abs() < 0.15, "without {gone}: {moved} for {expected}");
        }
    }

    #[test]
    fn weights_one_and_two_give_the_entries_of_envoy() {
        assert_eq!(entries(&Maglev::new(&nodes(2), &[1, 2]), 2), [21_846, 43_691]);
        assert_eq!(entries(&Maglev::new(&nodes(2), &[50, 100]), 2), [21_846, 43_691]);
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter() {
        let nodes = nodes(50);
        let weights: Vec<u32> = (0..50).map(|at| at % 4).collect();
        let (turned, heavy): (Vec<u64>, Vec<u32>) = nodes.iter().zip(&weights).rev().unzip();
        let (one, other) = (Maglev::new(&nodes, &weights), Maglev::new(&turned, &heavy));
        assert!(one.0.iter().zip(&other.0).all(|(&one, &other)| one == 49 - other));
    }

    #[test]
    fn a_featherweight_has_an_entry_and_the_heavy_one_is_not_walked_for_ever() {
        let mut weights = vec![1; 200];
        weights[0] = u32::MAX;
        let counts = entries(&Maglev::new(&nodes(200), &weights), 200);
        assert!(counts[1..].iter().all(|&count| count == 1));
        assert_eq!(counts[0], SIZE_SMALL as usize - 199);
    }

    #[test]
    fn the_size_follows_the_number_of_nodes() {
        assert_eq!(Maglev::new(&nodes(655), &[1; 655]).0.len() as u64, SIZE_SMALL);
        assert_eq!(Maglev::new(&nodes(656), &[1; 656]).0.len() as u64, SIZE_LARGE);
        assert_eq!(Maglev::new(&[], &[]).owner(7), None);
        assert_eq!(Maglev::new(&nodes(2), &[0, 0]).owner(7), None);
    }
}
