//! Dense vectors and those nearest to one, exactly.
//!
//! Every row is looked at twice at most. First as whole numbers of 16 bits, which is half of the memory and eight products an instruction on
//! any x86-64: that tells each cosine to within a bound that follows from what rounding took away (Cauchy-Schwarz). Then the few rows that
//! may still be among the nearest are compared as floats. 5,000 rows of 256 dimensions take some 100 us.

/// Rows of floats, each of length 1 or 0.
pub struct Vectors {
    dims: usize,
    rows: Vec<f32>,
    coarse: Vec<i16>,
    /// Length of what rounding took away, the longest of all rows.
    lost: f32,
}

/// Of a coarse component: the square of a row's length is below 2^31, so that no sum of products leaves 32 bits.
const ONE: f32 = 32_767.0;
/// Dimensions up to which that holds: half a step of rounding each makes a row longer by half their root.
const MOST_DIMS: usize = 1 << 20;
/// What adding floats in one order or another may change.
const SLACK: f32 = 1e-5;

impl Vectors {
    /// Takes rows of little-endian floats one after the other; a row with a value that is no number is zero. None if `bytes` are no whole rows.
    #[must_use]
    pub fn new(bytes: &[u8], dims: usize) -> Option<Self> {
        let mut rows = floats(bytes)?;
        if dims == 0 || dims > MOST_DIMS || rows.len() % dims != 0 {
            return None;
        }
        rows.chunks_exact_mut(dims).for_each(normalise);
        let coarse = coarse(&rows);
        let lost = rows.chunks_exact(dims).zip(coarse.chunks_exact(dims)).map(|(row, near)| lost(row, near));
        let lost = lost.fold(0.0, f32::max);
        Some(Self { dims, rows, coarse, lost })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() / self.dims
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The `most` rows with the largest cosine to `query`, best first; of equal ones the first. None if `query` has another size.
    #[must_use]
    pub fn nearest(&self, query: &[u8], most: usize) -> Option<Vec<(usize, f32)>> {
        let mut query = floats(query)?;
        if query.len() != self.dims {
            return None;
        }
        normalise(&mut query);
        let mut scored: Vec<(usize, f32)> =
            self.candidates(&query, most).into_iter().map(|at| (at, dot(self.row(at), &query))).collect();
        scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(most);
        Some(scored)
    }

    /// The rows that may be among the `most` nearest.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "the bound has room for it")]
    fn candidates(&self, query: &[f32], most: usize) -> Vec<usize> {
        if most == 0 || most >= self.len() {
            return (0..self.len().min(most)).collect();
        }
        let near = coarse(query);
        let scores: Vec<i32> = self.coarse.chunks_exact(self.dims).map(|row| whole_dot(row, &near)).collect();
        let worst = if most == 1 {
            scores.iter().copied().max().unwrap_or(0)
        } else {
            let mut sorted = scores.clone();
            *sorted.select_nth_unstable_by(most - 1, |a, b| b.cmp(a)).1
        };
        // |x.q - x'.q'| <= |x - x'| |q| + |x'| |q - q'|
        let lost_here = lost(query, &near);
        let bound = self.lost + (1.0 + self.lost) * lost_here + SLACK;
        // By twice: one row may be better than it looks, the other worse.
        let least = (worst as f32 - 2.0 * bound * ONE * ONE) as i32;
        scores.iter().enumerate().filter(|(_, score)| **score >= least).map(|(at, _)| at).collect()
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.rows[at * self.dims..(at + 1) * self.dims]
    }
}

fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let chunks = bytes.chunks_exact(4);
    let is_whole = chunks.remainder().is_empty();
    is_whole.then(|| chunks.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn whole_dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[expect(clippy::cast_possible_truncation, reason = "components of a vector of length 1")]
fn coarse(values: &[f32]) -> Vec<i16> {
    values.iter().map(|value| (value * ONE).round() as i16).collect()
}

fn lost(row: &[f32], near: &[i16]) -> f32 {
    row.iter().zip(near).map(|(value, whole)| (value - f32::from(*whole) / ONE).powi(2)).sum::<f32>().sqrt()
}

/// Brings a row to length 1; what has no such length becomes zero.
fn normalise(row: &mut [f32]) {
    let length = dot(row, row).sqrt();
    for value in row {
        *value = if length > 0.0 && length.is_finite() { *value / length } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn the_nearest_come_first_and_length_does_not_matter() {
        let vectors = Vectors::new(&bytes(&[1.0, 0.0, 0.0, 9.0, 5.0, 5.0, 0.0, 0.0]), 2).expect("whole rows");
        assert_eq!(vectors.len(), 4);
        let found = vectors.nearest(&bytes(&[0.0, 0.1]), 3).expect("the same size");
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 2, 0]);
        assert!((found[0].1 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Vectors::new(&[0; 6], 1).is_none());
        assert!(Vectors::new(&bytes(&[1.0, 2.0, 3.0]), 2).is_none());
        assert!(Vectors::new(&[], 0).is_none());
        let none = Vectors::new(&[], 2).expect("no rows");
        assert!(none.is_empty());
        assert_eq!(none.nearest(&bytes(&[1.0, 2.0]), 3), Some(Vec::new()));
        assert_eq!(none.nearest(&bytes(&[1.0]), 3), None);
    }

    #[test]
    fn fewer_than_all_are_the_best_of_all() {
        let values: Vec<f32> = (0..400_u16).map(|n| f32::from((n * 37) % 101) - 50.0).collect();
        let vectors = Vectors::new(&bytes(&values), 4).expect("whole rows");
        let query = bytes(&[1.0, -2.0, 3.0, 0.5]);
        let all = vectors.nearest(&query, 1000).expect("all");
        for most in [0, 1, 7, 99, 100] {
            assert_eq!(vectors.nearest(&query, most).expect("some"), all[..most.min(all.len())]);
        }
    }

    /// Numbers from -1 to 1 that are everywhere the same.
    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = crate::rng::Rng::new(seed);
        (0..count).map(|_| rng.unit() as f32 * 2.0 - 1.0).collect()
    }

    #[test]
    fn what_is_looked_at_twice_gives_the_same_as_looking_at_everything() {
        for dims in [1, 2, 7, 64, 257] {
            let mut values = noise(300 * dims, dims as u64);
            // Rows that are nearly, or wholly, alike.
            let first = values[..dims].to_vec();
            for at in 100..150 {
                for (value, like) in values[at * dims..(at + 1) * dims].iter_mut().zip(&first) {
                    *value = like + *value * 1e-4 * f32::from(u8::try_from(at % 3).expect("small"));
                }
            }
            let vectors = Vectors::new(&bytes(&values), dims).expect("whole rows");
            for query in [first, noise(dims, 99)] {
                let all = vectors.nearest(&bytes(&query), 1000).expect("all");
                assert_eq!(all.len(), 300);
                for most in [1, 2, 49, 299] {
                    assert_eq!(vectors.nearest(&bytes(&query), most).expect("some"), all[..most]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_near_nothing() {
        let vectors = Vectors::new(&bytes(&[f32::NAN, 1.0, 0.0, 2.0, f32::INFINITY, 0.0]), 2).expect("whole rows");
        let found = vectors.nearest(&bytes(&[0.0, 1.0]), 3).expect("the same size");
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 0, 2]);
        assert!(found[1].1.abs() < f32::EPSILON && found[2].1.abs() < f32::EPSILON);
    }
}
