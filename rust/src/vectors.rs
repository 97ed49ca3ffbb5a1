//! Dense vectors and those nearest to one: every one is looked at, which for some tens of thousands is a few milliseconds.

/// Rows of floats, each of length 1 or 0.
pub struct Vectors {
    dims: usize,
    rows: Vec<f32>,
}

impl Vectors {
    /// Takes rows of little-endian floats one after the other. None if `bytes` are no whole rows.
    #[must_use]
    pub fn new(bytes: &[u8], dims: usize) -> Option<Self> {
        let rows = floats(bytes)?;
        if dims == 0 || rows.len() % dims != 0 {
            return None;
        }
        let mut made = Self { dims, rows };
        made.rows.chunks_exact_mut(dims).for_each(normalise);
        Some(made)
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
            self.rows.chunks_exact(self.dims).map(|row| dot(row, &query)).enumerate().collect();
        let by_score = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if most < scored.len() {
            if most > 0 {
                scored.select_nth_unstable_by(most - 1, by_score);
            }
            scored.truncate(most);
        }
        scored.sort_unstable_by(by_score);
        Some(scored)
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

fn normalise(row: &mut [f32]) {
    let length = dot(row, row).sqrt();
    if length > 0.0 && length.is_finite() {
        for value in row {
            *value /= length;
        }
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
}
