//! Rendezvous hashing (Thaler, Ravishankar 1998, Transactions on Networking 6:1): every endpoint draws a number for the key, the best wins.
//!
//! No table, perfect shares, and when an endpoint leaves only its keys move. Ordered by their draws the endpoints form the
//! key's own list of fallbacks. With weights the draw is `-ln(u) / w`, an exponential waiting time, and the earliest wins: each
//! is first with a chance of `w / W`.
//!
//! Cost: one hash for each position, and a logarithm where weights differ. The choice for pools of up to 64.

use super::hashed::{self, Homes};
use super::sample::CHOICES_MAX;
use super::{Spec, Strategy};
use crate::rng::mix;

pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    hashed::build(spec, |_, _| NoTable)
}

/// Homes are the heads of the keys' orders.
struct NoTable;

impl Homes for NoTable {
    fn home(&self, _key: u64) -> Option<usize> {
        None
    }
}

/// For each key an order of all positions; also where the other hashes go when the home of a key is not to be had.
pub(super) struct Order {
    /// Position, its hash and its weight, for all that do not drain.
    nodes: Box<[(u16, u32, u64)]>,
    is_even: bool,
}

impl Order {
    /// Orders of the positions of `weights`, drawn from their hashes.
    pub(super) fn new(nodes: &[u64], weights: &[u32]) -> Self {
        let live = (0..=u16::MAX)
            .zip(weights.iter().copied())
            .zip(nodes.iter().copied())
            .filter(|&((_, weight), _)| weight > 0);
        let nodes: Box<[_]> = live.map(|((at, weight), node)| (at, weight, node)).collect();
        let is_even = nodes.windows(2).all(|pair| pair[0].1 == pair[1].1);
        Self { nodes, is_even }
    }

    /// The first position in the order of `key` that `may_take` it. Asks only positions that beat all accepted before.
    pub(super) fn first(&self, key: u64, may_take: impl Fn(usize) -> bool) -> Option<usize> {
        if self.is_even {
            // -ln(u) falls with u: the earliest of equal weights is the one with the largest hash.
            return self.least(|node, _| !mix(key ^ node), may_take);
        }
        self.least(|node, weight| wait(mix(key ^ node), weight), may_take)
    }

    /// The first positions in the order of `key` that `may_take` it, as many as there is room for; how many they are.
    pub(super) fn ranked(&self, key: u64, room: &mut [u16], may_take: impl Fn(usize) -> bool) -> usize {
        let mut waits = [f64::INFINITY; CHOICES_MAX];
        let mut found = 0;
        for &(at, weight, node) in &self.nodes {
            let waited = wait(mix(key ^ node), weight);
            let place = waits[..found].partition_point(|other| *other <= waited);
            if place == room.len() || !may_take(usize::from(at)) {
                continue;
            }
            found = room.len().min(found + 1);
            waits.copy_within(place..found - 1, place + 1);
            room.copy_within(place..found - 1, place + 1);
            (waits[place], room[place]) = (waited, at);
        }
        found
    }

    fn least<S: PartialOrd>(&self, score: impl Fn(u64, u32) -> S, may_take: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(usize, S)> = None;
        for &(at, weight, node) in &self.nodes {
            let found = score(node, weight);
            if best.as_ref().is_none_or(|(_, least)| found < *least) && may_take(usize::from(at)) {
                best = Some((usize::from(at), found));
            }
        }
        best.map(|(at, _)| at)
    }
}

/// A waiting time with `weight` as its rate, from 53 uniform bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
fn wait(hash: u64, weight: u32) -> f64 {
    // Half a step up: a hash of 0 must not wait for ever.
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / f64::from(weight)
}
