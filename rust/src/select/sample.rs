//! Samples: some distinct eligible positions, drawn by weight, of which a strategy keeps the cheapest.
//!
//! Why a sample: with `d` of `n` a wrong signal attracts `d/n` of the traffic at most, with a scan all of it. An endpoint that
//! fails within milliseconds looks idle; in a pool of 16 it draws 24 % with four choices and above 80 % with a scan.
//!
//! Why by weight: two draws of an even sample cannot carry a pool in which one position has most of the capacity.
//!
//! Draws that hit an ineligible position, or one drawn already, are rejected. When that goes on too long, the rest of the
//! sample is taken by a scan that follows the same law, so that a pool with one live endpoint in ten thousand still answers.

use super::View;
use super::alias::Alias;
use crate::rng::Rng;

/// Largest sample. Beyond it the gain over a scan is gone, and the sample would not fit into two cache lines.
pub(crate) const CHOICES_MAX: usize = 16;

/// Least part of the picks that a position gets while it is idle, as long as the pool has at most 16: 0.5 %, out of 2^64.
const EXPLORED_EACH: u64 = u64::MAX / 200;

/// Largest part of the picks that explore: 8 % of a fair share each in a large pool.
const EXPLORED_TOTAL: u64 = u64::MAX / 100 * 8;

/// Part of the picks that look for a position of which nothing was heard for a second: about one probe a second for each of ten at 150
/// requests a second, and never more than this.
const EXPLORED_STALE: u64 = u64::MAX / 16;

/// Positions drawn so far, the first one first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    at: [u16; CHOICES_MAX],
    len: usize,
}

impl Drawn {
    const EMPTY: Self = Self { at: [0; CHOICES_MAX], len: 0 };

    fn positions(&self) -> &[u16] {
        &self.at[..self.len]
    }

    fn push(&mut self, at: usize) {
        self.at[self.len] = at as u16;
        self.len += 1;
    }
}

/// Draws from one pool.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    weights: Box<[u32]>,
    alias: Alias,
    /// Size of a sample; 0 = all positions.
    choices: usize,
    /// Chance that a pick explores, out of 2^64.
    explored: u64,
}

impl Sampler {
    /// Draws `choices` positions at a time, 0 = all of them.
    pub(crate) fn new(weights: &[u32], choices: usize) -> Self {
        let alias = Alias::new(weights);
        let live = alias.len();
        let explored = if live > 1 { EXPLORED_EACH.saturating_mul(live as u64).min(EXPLORED_TOTAL) } else { 0 };
        Self { weights: weights.into(), alias, choices: if choices >= live { 0 } else { choices }, explored }
    }

    /// Positions that can be drawn at all.
    pub(crate) fn live(&self) -> usize {
        self.alias.len()
    }

    /// Weight of a position, as a divisor of loads.
    pub(crate) fn weight(&self, at: usize) -> f64 {
        f64::from(self.weights[at])
    }

    /// One eligible position, by weight.
    pub(crate) fn one(&self, view: &dyn View, rng: &mut Rng) -> Option<usize> {
        self.draw(1, view, rng).positions().first().map(|&at| usize::from(at))
    }

    /// One eligible position, by weight, found by a scan.
    pub(crate) fn one_by_scan(&self, view: &dyn View, rng: &mut Rng) -> Option<usize> {
        let mut drawn = Drawn::EMPTY;
        self.scan(1, &mut drawn, view, rng);
        drawn.positions().first().map(|&at| usize::from(at))
    }

    /// Now and then an idle position, whatever is known of it: what was learned of an endpoint ages when nothing is sent there.
    ///
    /// One with requests in flight is being learned of already, so exploring never adds to a queue or to a hanging endpoint.
    pub(crate) fn explore(&self, view: &dyn View, rng: &mut Rng) -> Option<usize> {
        let draw = rng.next_u64();
        if draw >= self.explored.max(EXPLORED_STALE) || self.explored == 0 {
            return None;
        }
        let at = self.alias.draw_evenly(rng);
        let is_due = draw < self.explored || view.is_stale(at);
        (is_due && view.in_flight(at) == 0 && view.is_eligible(at)).then_some(at)
    }

    /// The cheapest position of a sample: `cost(at, estimate)`, where `estimate` is `learned(at)`, or the mean of what is
    /// known of the others when nothing usable is. Of equals, one drawn by weight.
    pub(crate) fn cheapest(
        &self,
        view: &dyn View,
        rng: &mut Rng,
        learned: impl Fn(usize) -> Option<f32>,
        cost: impl Fn(usize, f64) -> f64,
    ) -> Option<(usize, f64)> {
        if self.choices == 0 {
            let unknown = mean((0..self.weights.len()).filter_map(|at| usable(learned(at))));
            return self.cheapest_of_all(view, rng, |at| cost(at, usable(learned(at)).unwrap_or(unknown)));
        }
        let drawn = self.draw(self.choices, view, rng);
        let mut estimates = [0.0; CHOICES_MAX];
        for (estimate, &at) in estimates.iter_mut().zip(drawn.positions()) {
            *estimate = usable(learned(usize::from(at))).unwrap_or(0.0);
        }
        let estimates = &mut estimates[..drawn.len];
        if estimates.contains(&0.0) {
            let unknown = mean(estimates.iter().copied().filter(|&estimate| estimate > 0.0));
            estimates.iter_mut().filter(|estimate| **estimate == 0.0).for_each(|estimate| *estimate = unknown);
        }
        let (mut best, mut least) = (drawn.positions().first().copied(), f64::INFINITY);
        for (&at, &estimate) in drawn.positions().iter().zip(&*estimates) {
            let found = cost(usize::from(at), estimate);
            // A tie keeps the first draw, which went by weight already.
            best = if found < least { Some(at) } else { best };
            least = if found < least { found } else { least };
        }
        best.map(|at| (usize::from(at), least))
    }

    fn cheapest_of_all(&self, view: &dyn View, rng: &mut Rng, cost: impl Fn(usize) -> f64) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        let mut tied = 0u64;
        for (at, &weight) in self.weights.iter().enumerate() {
            if weight == 0 || !view.is_eligible(at) {
                continue;
            }
            let found = cost(at);
            let least = best.map_or(f64::INFINITY, |(_, least)| least);
            if best.is_none() || found < least {
                (best, tied) = (Some((at, found)), u64::from(weight));
            } else if found <= least {
                // A tie goes to each by its weight: the newcomer replaces the holder with its part of the tied weight.
                tied += u64::from(weight);
                if rng.below(tied as usize) < weight as usize {
                    best = Some((at, found));
                }
            }
        }
        best
    }

    /// Up to `wanted` distinct eligible positions; fewer only when there are no more.
    fn draw(&self, wanted: usize, view: &dyn View, rng: &mut Rng) -> Drawn {
        let mut drawn = Drawn::EMPTY;
        if self.alias.len() == 0 {
            return drawn;
        }
        // With half of the pool out, less than one pick in a thousand needs the scan.
        for _ in 0..8 + 4 * wanted {
            let at = self.alias.draw(rng);
            if !drawn.positions().contains(&(at as u16)) && view.is_eligible(at) {
                drawn.push(at);
                if drawn.len == wanted {
                    return drawn;
                }
            }
        }
        self.scan(wanted, &mut drawn, view, rng);
        drawn
    }

    /// Fills up a sample without rejections (Efraimidis, Spirakis 2006): every position draws a waiting time with its weight
    /// as the rate, and the earliest ones make the sample. Drawing on after rejections follows the same law.
    fn scan(&self, wanted: usize, drawn: &mut Drawn, view: &dyn View, rng: &mut Rng) {
        let kept = drawn.len;
        let mut waits = [f64::INFINITY; CHOICES_MAX];
        for (at, &weight) in self.weights.iter().enumerate() {
            if weight == 0 || drawn.at[..kept].contains(&(at as u16)) || !view.is_eligible(at) {
                continue;
            }
            let wait = -(1.0 - rng.unit()).ln() / f64::from(weight);
            let place = (kept..drawn.len).find(|&place| wait < waits[place]).unwrap_or(drawn.len);
            if place == wanted {
                continue;
            }
            drawn.len = wanted.min(drawn.len + 1);
            waits.copy_within(place..drawn.len - 1, place + 1);
            drawn.at.copy_within(place..drawn.len - 1, place + 1);
            (waits[place], drawn.at[place]) = (wait, at as u16);
        }
    }
}

/// A learned value that can be multiplied: a sample that is zero, infinite or not a number would win or lose for ever.
pub(super) fn usable(learned: Option<f32>) -> Option<f64> {
    learned.filter(|value| value.is_finite() && *value > 0.0).map(f64::from)
}

/// Mean of what is known. When nothing is, any constant will do: it is the same for all.
pub(super) fn mean(known: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = known.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 1.0 } else { sum / f64::from(count) }
}
