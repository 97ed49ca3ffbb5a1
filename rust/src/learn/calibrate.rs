//! From what the heads say to an expected score: a logistic curve for each model.
//!
//! Heads add up what is easy and what suits a model as if scores had no bounds. Where most prompts are easy or hard, a difference of difficulty
//! says less than in between; how much each opinion is worth differs from model to model, too. Both are learned from what heads that never saw
//! a prompt say of it (stacking: Wolpert 1992, Neural Networks 5:2), by a few steps of Newton's method for each model.

/// What is said of one prompt and one model: by the head of all models, by its own, and by the prompt's group.
pub(super) type Opinions = [f32; 3];

/// Weight of the curve that is drawn towards: so sure of it as some 250 prompts would be.
const PRIOR: f64 = 1.0;
/// How steep it is, of the plain sum: what is learned from a few dozen prompts is worth half of what it says, as tables of 60 and of 250 show.
/// Larger tables tell it themselves.
const FAITH: f64 = 0.5;
const STEPS: usize = 25;
/// Means are kept off 0 and 1 by so much.
const EDGE: f64 = 0.02;
const TERMS: usize = 4;

/// One model's curve: its height where no opinion says anything, and what each opinion counts for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Curve(pub(super) [f32; TERMS]);

impl Curve {
    /// Numbers of one curve.
    pub(super) const TERMS: usize = TERMS;

    /// Fits one model's curve to its scores, each from 0 to 1. `mean` is theirs; `parts` is what each opinion counts for in the plain sum.
    pub(super) fn fit(opinions: &[Opinions], scores: &[f32], mean: f32, parts: Opinions) -> Self {
        let mean = f64::from(mean).clamp(EDGE, 1.0 - EDGE);
        // Where the curve is drawn towards: half as steep at the mean as the plain sum is.
        let prior: [f64; TERMS] = std::array::from_fn(|at| match at {
            0 => (mean / (1.0 - mean)).ln(),
            _ => FAITH * f64::from(parts[at - 1]) / (mean * (1.0 - mean)),
        });
        let mut weights = prior;
        for _ in 0..STEPS {
            let mut slope: [f64; TERMS] = std::array::from_fn(|at| PRIOR * (prior[at] - weights[at]));
            let mut bend = [[0.0; TERMS]; TERMS];
            for (at, row) in bend.iter_mut().enumerate() {
                row[at] = PRIOR;
            }
            for (said, score) in opinions.iter().zip(scores) {
                let terms = terms_of(*said);
                let expected = logistic(weights.iter().zip(terms).map(|(weight, term)| weight * term).sum());
                for at in 0..TERMS {
                    slope[at] += (f64::from(*score) - expected) * terms[at];
                    for other in 0..TERMS {
                        bend[at][other] += expected * (1.0 - expected) * terms[at] * terms[other];
                    }
                }
            }
            let step = solve(bend, slope);
            if step.iter().any(|value| !value.is_finite()) {
                break;
            }
            for (weight, change) in weights.iter_mut().zip(step) {
                *weight += change;
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a weight")]
        Self(weights.map(|weight| weight as f32))
    }

    /// The expected score.
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
    pub(super) fn score(self, said: Opinions) -> f32 {
        logistic(self.0.iter().zip(terms_of(said)).map(|(weight, term)| f64::from(*weight) * term).sum()) as f32
    }
}

fn terms_of(said: Opinions) -> [f64; TERMS] {
    [1.0, f64::from(said[0]), f64::from(said[1]), f64::from(said[2])]
}

fn logistic(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// Solves `matrix x = right` for a symmetric matrix that the prior makes positive: elimination needs no pivots.
fn solve(mut matrix: [[f64; TERMS]; TERMS], mut right: [f64; TERMS]) -> [f64; TERMS] {
    for at in 0..TERMS {
        for below in at + 1..TERMS {
            let factor = matrix[below][at] / matrix[at][at];
            let row = matrix[at];
            for (value, above) in matrix[below].iter_mut().zip(row) {
                *value -= factor * above;
            }
            right[below] -= factor * right[at];
        }
    }
    for at in (0..TERMS).rev() {
        let known: f64 = (at + 1..TERMS).map(|later| matrix[at][later] * right[later]).sum();
        right[at] = (right[at] - known) / matrix[at][at];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::Curve;
    use crate::rng::Rng;

    #[test]
    fn it_finds_how_much_each_opinion_is_worth() {
        let mut rng = Rng::new(3);
        let mut draw = || f32::from(u16::try_from(rng.below(2001)).unwrap_or(0)) / 1000.0 - 1.0;
        let opinions: Vec<[f32; 3]> = (0..20_000).map(|_| [draw(), draw(), draw()]).collect();
        let truth = Curve([0.5, 3.0, 0.0, -1.0]);
        let scores: Vec<f32> = opinions.iter().map(|said| truth.score(*said)).collect();

        let found = Curve::fit(&opinions, &scores, 0.6, [0.5; 3]);

        for (weight, wanted) in found.0.iter().zip(truth.0) {
            assert!((weight - wanted).abs() < 0.02, "{found:?}");
        }
    }

    #[test]
    fn opinions_that_part_all_scores_do_not_carry_it_away() {
        let opinions: Vec<[f32; 3]> = (0..40).map(|at| [if at % 2 == 0 { 1.0 } else { -1.0 }, 0.0, 0.0]).collect();
        let scores: Vec<f32> = (0..40).map(|at| f32::from(at % 2 == 0)).collect();

        let found = Curve::fit(&opinions, &scores, 0.5, [0.5; 3]);

        assert!(found.score([1.0, 0.0, 0.0]) > 0.9 && found.score([-1.0, 0.0, 0.0]) < 0.1, "{found:?}");
        assert!(found.0.iter().all(|weight| weight.abs() < 10.0), "{found:?}");
    }
}
