//! Draws of the distributions that scenarios name.

use super::scenario::Spread;
use crate::rng::Rng;

impl Spread {
    /// One value, not negative.
    pub(super) fn draw(&self, rng: &mut Rng) -> f64 {
        match *self {
            Self::Constant { a } => a,
            Self::Uniform { a, b } => a + (b - a) * rng.unit(),
            Self::Exponential { a } => a * exponential(rng),
            Self::Lognormal { a, b } => a * (b * normal(rng)).exp(),
        }
    }

    /// One whole number, at least 1.
    #[expect(clippy::cast_sign_loss, reason = "draws are not negative")]
    pub(super) fn count(&self, rng: &mut Rng) -> u32 {
        // Beyond a million tokens there is no request.
        self.draw(rng).round().clamp(1.0, 1e6) as u32
    }
}

/// Exponential with mean 1.
pub(super) fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

/// Normal with mean 0 and variance 1 (Box and Muller 1958).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.unit()).cos()
}

/// A position by popularity: cumulated shares, the last of them is the sum.
pub(super) struct Popularity(Vec<f64>);

impl Popularity {
    /// Of shares.
    pub(super) fn new(shares: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        Self(
            shares
                .map(|share| {
                    sum += share.max(0.0);
                    sum
                })
                .collect(),
        )
    }

    /// One of them; 0 when there is none.
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        let Some(total) = self.0.last() else { return 0 };
        let sought = rng.unit() * total;
        self.0.partition_point(|sum| *sum <= sought).min(self.0.len() - 1)
    }
}
