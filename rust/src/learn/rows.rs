//! The weights of a router, laid out for prediction: all that one word says stands together.
//!
//! A prompt of 400 characters has some 150 words and pairs, anywhere in a table that no near cache holds. So a row has the word's own weight
//! and, beside it, one weight of eight bits for each head: ten models and what they share are sixteen bytes, a quarter of a cache line.

/// Heads that are added up at once.
const LANES: usize = 4;
type Quad = [u8; LANES];

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// Heads of a row.
    heads: usize,
    /// Of each row first the word's weight, then four heads each, the last ones filled up with zeros.
    quads: Vec<Quad>,
}

impl Rows {
    /// No rows yet.
    pub(super) const fn new(heads: usize) -> Self {
        Self { heads, quads: Vec::new() }
    }

    /// Adds a row: the weight of its word, and that of each head. Returns its place.
    #[expect(clippy::cast_possible_truncation, reason = "fewer rows than buckets and counts")]
    pub(super) fn add(&mut self, idf: f32, weights: impl Iterator<Item = i8>) -> u32 {
        let place = self.quads.len() / self.stride();
        self.quads.push(idf.to_le_bytes());
        let weights: Vec<u8> = weights.flat_map(i8::to_le_bytes).collect();
        self.quads.extend(weights.chunks(LANES).map(|some| {
            let mut quad = Quad::default();
            quad[..some.len()].copy_from_slice(some);
            quad
        }));
        place as u32
    }

    /// The weights of all rows, as they were added.
    pub(super) fn weights(&self) -> impl Iterator<Item = u8> {
        self.quads.chunks_exact(self.stride()).flat_map(|row| row[1..].as_flattened()[..self.heads].iter().copied())
    }

    /// The weight of a row's word.
    #[inline]
    pub(super) fn idf(&self, place: u32) -> f32 {
        f32::from_le_bytes(self.quads[place as usize * self.stride()])
    }

    /// For each head, the sum of its weights in some rows, each times the row's value, in order.
    pub(super) fn sums(&self, rows: impl Iterator<Item = (u32, f32)>) -> Vec<f32> {
        let mut sums = match self.stride() - 1 {
            1 => self.few::<1>(rows),
            2 => self.few::<2>(rows),
            3 => self.few::<3>(rows),
            4 => self.few::<4>(rows),
            _ => self.many(rows),
        };
        sums.truncate(self.heads);
        sums
    }

    /// Sums that stay in registers.
    fn few<const QUADS: usize>(&self, rows: impl Iterator<Item = (u32, f32)>) -> Vec<f32> {
        let mut sums = [[0.0; LANES]; QUADS];
        rows.for_each(|(place, value)| {
            if let Some(row) = self.row(place).first_chunk::<QUADS>() {
                for (sum, quad) in sums.iter_mut().zip(row) {
                    add(sum, *quad, value);
                }
            }
        });
        sums.as_flattened().to_vec()
    }

    fn many(&self, rows: impl Iterator<Item = (u32, f32)>) -> Vec<f32> {
        let mut sums = vec![[0.0; LANES]; self.stride() - 1];
        rows.for_each(|(place, value)| {
            for (sum, quad) in sums.iter_mut().zip(self.row(place)) {
                add(sum, *quad, value);
            }
        });
        sums.into_flattened()
    }

    fn row(&self, place: u32) -> &[Quad] {
        let start = place as usize * self.stride();
        &self.quads[start + 1..start + self.stride()]
    }

    const fn stride(&self) -> usize {
        1 + self.heads.div_ceil(LANES)
    }
}

#[inline]
fn add(sums: &mut [f32; LANES], quad: Quad, value: f32) {
    for (sum, weight) in sums.iter_mut().zip(quad) {
        *sum += value * f32::from(i8::from_le_bytes([weight]));
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;

    #[test]
    fn every_head_has_the_sum_of_its_own_weights() {
        for heads in [1, 3, 4, 11, 16, 17, 40] {
            let mut rows = Rows::new(heads);
            let of = |row: i8| (0..40_i8).take(heads).map(move |head| head - 20 * row);
            assert_eq!([rows.add(0.5, of(0)), rows.add(2.0, of(1)), rows.add(1.0, of(2))], [0, 1, 2]);

            let sums = rows.sums([(2, 1.0), (0, -0.5)].into_iter());
            let wanted: Vec<f32> =
                of(2).zip(of(0)).map(|(one, other)| f32::from(one) - 0.5 * f32::from(other)).collect();

            assert_eq!(sums, wanted, "{heads} heads");
            assert_eq!(rows.idf(1).to_bits(), 2.0_f32.to_bits());
            assert_eq!(rows.weights().count(), 3 * heads);
        }
    }
}
