//! Ridge regression on sparse rows, by conjugate gradients on the normal equations (Hestenes and Stiefel 1952): no matrix is ever built.

use super::examples::{COLUMNS, Row};

/// Steps at most; with the penalties used here the residual is small after a dozen.
const STEPS: usize = 40;
/// Stop when the residual has fallen by this factor.
const PRECISION: f64 = 1e-3;

/// Weights that minimise `|X w - target|^2 + penalty |w|^2`; the constant, which is the last weight, is penalised like the rest, so `target`
/// should have a mean of about 0.
pub(super) fn fit(rows: &[Row], target: &[f32], penalty: f32) -> Vec<f32> {
    let mut weights = vec![0.0; COLUMNS];
    let mut residual = vec![0.0; COLUMNS];
    for (row, value) in rows.iter().zip(target) {
        row.add_to(&mut residual, *value);
    }
    let mut direction = residual.clone();
    let mut square = norm(&residual);
    let enough = square * PRECISION * PRECISION;
    for _ in 0..STEPS {
        if square <= enough || square <= f64::MIN_POSITIVE {
            break;
        }
        let image = product(rows, &direction, penalty);
        let along = dot(&direction, &image);
        let step = narrow(square / along);
        add(&mut weights, &direction, step);
        add(&mut residual, &image, -step);
        let next = norm(&residual);
        let keep = narrow(next / square);
        for (at, value) in direction.iter_mut().enumerate() {
            *value = residual[at] + keep * *value;
        }
        square = next;
    }
    weights
}

/// `(X'X + penalty) v`.
fn product(rows: &[Row], vector: &[f32], penalty: f32) -> Vec<f32> {
    let mut image: Vec<f32> = vector.iter().map(|value| value * penalty).collect();
    for row in rows {
        row.add_to(&mut image, row.dot(vector));
    }
    image
}

fn add(to: &mut [f32], other: &[f32], factor: f32) {
    for (value, change) in to.iter_mut().zip(other) {
        *value += factor * change;
    }
}

fn norm(vector: &[f32]) -> f64 {
    dot(vector, vector)
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[expect(clippy::cast_possible_truncation, reason = "a step's length")]
const fn narrow(value: f64) -> f32 {
    value as f32
}
