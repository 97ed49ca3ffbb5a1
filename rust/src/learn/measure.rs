//! Resamples of an evaluation: the same measures over prompts drawn again with replacement (Efron 1979, Ann. Statist. 7:1).
//!
//! A table of ten thousand prompts, eight ways to choose and two hundred resamples are some 10^8 steps: a second here, minutes in Python.

use crate::rng::Rng;

/// Scores of two models, prompts in the order in which they would go to the strong one.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The weak model's.
    pub weak: Vec<f64>,
    /// The strong one's, of as many prompts.
    pub strong: Vec<f64>,
}

/// Area under PGR, and the smallest shares of strong calls that reach half and four fifths of the gap; NaN where there are none.
pub type Gap = [f64; 3];

const REACHES: [f64; 2] = [0.5, 0.8];

impl Pair {
    /// Measures `resamples` draws of as many prompts.
    #[must_use]
    pub fn resampled(&self, resamples: usize, seed: u64) -> Vec<Gap> {
        let mut rng = Rng::new(seed);
        (0..resamples).map(|_| self.gap(&drawn(self.weak.len(), &mut rng))).collect()
    }

    /// Measures the prompts, each as often as `times` says; ties keep their order.
    fn gap(&self, times: &[u32]) -> Gap {
        let gain = |at: usize| self.strong[at] - self.weak[at];
        let (whole, all) = times
            .iter()
            .enumerate()
            .fold((0.0, 0_u32), |(whole, all), (at, count)| (whole + f64::from(*count) * gain(at), all + count));
        if whole == 0.0 || all == 0 {
            return [f64::NAN; 3];
        }
        let (mut found, mut gained, mut step, mut area) = ([f64::NAN; 3], 0.0, 0_u32, 0.0);
        for (at, count) in times.iter().enumerate() {
            for _ in 0..*count {
                let before = gained / whole;
                gained += gain(at);
                step += 1;
                area += f64::midpoint(before, gained / whole);
                for (reach, share) in REACHES.iter().zip(&mut found[1..]) {
                    if share.is_nan() && gained / whole >= *reach {
                        *share = f64::from(step) / f64::from(all);
                    }
                }
            }
        }
        found[0] = area / f64::from(all);
        found
    }
}

/// What each prompt costs and scores under each price of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Scores of each prompt by model, one row after the other.
    pub scores: Vec<f64>,
    /// Cost of a call by model; not empty.
    pub costs: Vec<f64>,
    /// The model of each prompt, a row of prompts for each price.
    pub made: Vec<Vec<usize>>,
}

impl Sweep {
    /// Chooses for each prompt, at each price, the model with the most expected quality less cost; at an infinite price the cheapest.
    #[must_use]
    pub fn of(expected: &[f64], scores: Vec<f64>, costs: Vec<f64>, prices: &[f64]) -> Self {
        let dearest = costs.iter().copied().fold(0.0, f64::max);
        let unit = if dearest > 0.0 { dearest } else { 1.0 };
        let cheapest = first_most(costs.iter().map(|cost| -cost));
        let row = |price: &f64| {
            let pick =
                |row: &[f64]| first_most(row.iter().zip(&costs).map(|(value, cost)| value - price * cost / unit));
            let rows = expected.chunks_exact(costs.len());
            if price.is_infinite() { rows.map(|_| cheapest).collect() } else { rows.map(pick).collect() }
        };
        let made = prices.iter().map(row).collect();
        Self { scores, costs, made }
    }

    /// Mean cost and score at each price: of all prompts, then of each of `resamples` draws of as many.
    #[must_use]
    pub fn points(&self, resamples: usize, seed: u64) -> Vec<Vec<(f64, f64)>> {
        let count = self.scores.len() / self.costs.len();
        let mut rng = Rng::new(seed);
        let mut all = vec![self.means(&vec![1; count])];
        all.extend((0..resamples).map(|_| self.means(&drawn(count, &mut rng))));
        all
    }

    fn means(&self, times: &[u32]) -> Vec<(f64, f64)> {
        let all: f64 = times.iter().map(|count| f64::from(*count)).sum();
        let mean = |made: &Vec<usize>| {
            let (mut cost, mut score) = (0.0, 0.0);
            for ((model, count), row) in made.iter().zip(times).zip(self.scores.chunks_exact(self.costs.len())) {
                cost += f64::from(*count) * self.costs[*model];
                score += f64::from(*count) * row[*model];
            }
            (cost / all, score / all)
        };
        self.made.iter().map(mean).collect()
    }
}

/// How often each of `count` is drawn in as many draws with replacement.
fn drawn(count: usize, rng: &mut Rng) -> Vec<u32> {
    let mut times = vec![0; count];
    for _ in 0..count {
        times[rng.below(count)] += 1;
    }
    times
}

/// Place of the largest value, the first of equal ones.
fn first_most(values: impl Iterator<Item = f64>) -> usize {
    let keep = |best: (usize, f64), (at, value)| if value > best.1 { (at, value) } else { best };
    values.enumerate().fold((0, f64::NEG_INFINITY), keep).0
}

#[cfg(test)]
mod tests {
    use super::{Pair, Sweep};

    #[test]
    fn a_straight_way_is_a_half_in_each_resample() {
        let pair = Pair { weak: vec![0.0; 100], strong: vec![1.0; 100] };

        for [area, half, most] in pair.resampled(20, 7) {
            assert!((area - 0.5).abs() < 1e-9 && (half - 0.5).abs() < 1e-9 && (most - 0.8).abs() < 1e-9);
        }
        assert_eq!(pair.resampled(3, 7), pair.resampled(3, 7));
    }

    #[test]
    fn two_equal_models_have_no_gap() {
        let pair = Pair { weak: vec![1.0; 5], strong: vec![1.0; 5] };

        assert!(pair.resampled(2, 7).iter().flatten().all(|value| value.is_nan()));
        assert!(Pair::default().resampled(1, 7)[0][0].is_nan());
    }

    #[test]
    fn the_price_moves_prompts_from_the_best_to_the_cheapest() {
        let expected = [0.2, 0.9, 0.8, 0.9];
        let sweep = Sweep::of(&expected, vec![0.0, 1.0, 1.0, 1.0], vec![1.0, 4.0], &[0.0, 0.5, f64::INFINITY]);

        assert_eq!(sweep.made, [[1, 1], [1, 0], [0, 0]]);
        assert_eq!(sweep.points(0, 7), [[(4.0, 1.0), (2.5, 1.0), (1.0, 0.5)]]);
        assert!((sweep.points(2, 7)[1][2].0 - 1.0).abs() < 1e-9);
    }
}
