//! Texts as rows of a sparse matrix, in the form that training and prediction share.

use crate::signal::{BUCKETS, SURFACE, Words, surface};

/// Columns of the matrix: buckets, then surface counts, then a constant.
pub(super) const COLUMNS: usize = BUCKETS + SURFACE + 1;
/// Length of the surface part of a row, beside words of length one: chosen on training folds.
const SURFACE_LENGTH: f32 = 0.3;
/// Scaled counts are cut here, so that one freak of a prompt does not decide by its length alone.
const MOST_DEVIATIONS: f32 = 4.0;

/// What makes a text into a row, learned from the training texts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scales {
    /// Weight of each bucket: rare words say more (inverse document frequency).
    pub(super) idf: Vec<f32>,
    /// Mean of each count.
    pub(super) mean: [f32; SURFACE],
    /// Its standard deviation.
    pub(super) deviation: [f32; SURFACE],
}

/// One text: its buckets with their values, and its counts.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) buckets: Vec<u32>,
    pub(super) values: Vec<f32>,
    pub(super) counts: [f32; SURFACE],
}

impl Scales {
    /// Learns them from raw rows, whose values are not set yet.
    #[expect(clippy::cast_precision_loss, reason = "numbers of texts")]
    pub(super) fn learn(rows: &[Row]) -> Self {
        let mut seen = vec![0_u32; BUCKETS];
        for bucket in rows.iter().flat_map(|row| &row.buckets) {
            seen[*bucket as usize] += 1;
        }
        let all = rows.len() as f32;
        // The root: words of one or two texts, most of them pairs, would take half of a row's length for what they hardly say again.
        let idf = seen.iter().map(|count| (((all + 1.0) / (*count as f32 + 1.0)).ln() + 1.0).sqrt()).collect();
        let mut mean = [0.0; SURFACE];
        let mut deviation = [0.0; SURFACE];
        for at in 0..SURFACE {
            mean[at] = rows.iter().map(|row| row.counts[at]).sum::<f32>() / all;
            let variance = rows.iter().map(|row| (row.counts[at] - mean[at]).powi(2)).sum::<f32>() / all;
            deviation[at] = variance.sqrt().max(1e-3);
        }
        Self { idf, mean, deviation }
    }

    /// Sets a raw row's values: words of length one together, counts in deviations.
    pub(super) fn apply(&self, row: &mut Row) {
        row.values.clear();
        row.values.extend(row.buckets.iter().map(|bucket| self.idf[*bucket as usize]));
        let length = row.values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        for value in &mut row.values {
            *value /= length;
        }
        row.counts = self.scaled(row.counts);
    }

    /// Counts in deviations.
    pub(super) fn scaled(&self, mut counts: [f32; SURFACE]) -> [f32; SURFACE] {
        #[expect(clippy::cast_precision_loss, reason = "sixteen")]
        let scale = SURFACE_LENGTH / (SURFACE as f32).sqrt();
        for (at, count) in counts.iter_mut().enumerate() {
            let deviations = (*count - self.mean[at]) / self.deviation[at];
            *count = deviations.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS) * scale;
        }
        counts
    }
}

impl Row {
    /// A text's buckets and counts, not scaled yet.
    pub(super) fn raw(text: &str, words: &mut Words) -> Self {
        Self { buckets: words.of(text).to_vec(), values: Vec::new(), counts: surface(text) }
    }

    /// Its product with a column of weights.
    pub(super) fn dot(&self, weights: &[f32]) -> f32 {
        let words: f32 = self.entries().map(|(at, value)| value * weights[at]).sum();
        words + weights[COLUMNS - 1]
    }

    /// Adds it, times `factor`, to a column of weights.
    pub(super) fn add_to(&self, weights: &mut [f32], factor: f32) {
        for (at, value) in self.entries() {
            weights[at] += value * factor;
        }
        weights[COLUMNS - 1] += factor;
    }

    fn entries(&self) -> impl Iterator<Item = (usize, f32)> {
        let words = self.buckets.iter().map(|bucket| *bucket as usize).zip(self.values.iter().copied());
        words.chain(self.counts.iter().enumerate().map(|(at, count)| (BUCKETS + at, *count)))
    }
}
