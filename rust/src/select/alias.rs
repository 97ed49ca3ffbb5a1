//! Weighted draws in constant time: an alias table, built by Vose's method (1991, IEEE TSE 17:9).
//!
//! Every cell is worth the mean weight. A light position fills its cell with a part of a heavy one, so that a draw is one
//! uniform cell and one comparison. Built with integers: nothing is lost to rounding but the last of 32 bits of a threshold.
//!
//! Cost: 8 bytes a position, one draw of the generator and one cell a pick.

use crate::rng::Rng;

/// One position's share of the table.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// The owner is drawn when the fraction, out of 2^32, lies below.
    keep_below: u32,
    /// Whose cell it is.
    owner: u16,
    /// Who has the rest of it.
    other: u16,
}

/// Positions with a weight above 0, ready to be drawn.
#[derive(Clone, Debug)]
pub(crate) struct Alias(Box<[Cell]>);

impl Alias {
    /// A table of all positions of `weights` that do not drain.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let live: Vec<(u16, u32)> =
            (0..=u16::MAX).zip(weights.iter().copied()).filter(|&(_, weight)| weight > 0).collect();
        let mean: u64 = live.iter().map(|&(_, weight)| u64::from(weight)).sum();
        // Times the number of cells, so that the mean is a whole number: both stay below 2^48.
        let mut rest: Vec<u64> = live.iter().map(|&(_, weight)| u64::from(weight) * live.len() as u64).collect();
        let mut cells: Vec<Cell> =
            live.iter().map(|&(at, _)| Cell { keep_below: u32::MAX, owner: at, other: at }).collect();
        let (mut light, mut heavy): (Vec<usize>, Vec<usize>) = (0..live.len()).partition(|&cell| rest[cell] < mean);
        while let (Some(low), Some(&high)) = (light.pop(), heavy.last()) {
            cells[low].keep_below = ((u128::from(rest[low]) << 32) / u128::from(mean)) as u32;
            cells[low].other = cells[high].owner;
            rest[high] -= mean - rest[low];
            if rest[high] < mean {
                heavy.pop();
                light.push(high);
            }
        }
        Self(cells.into())
    }

    /// How many positions can be drawn.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A position, by weight. The table must not be empty.
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        // One product gives both: its upper word is the cell, its lower one where in the cell.
        let product = u128::from(rng.next_u64()) * self.0.len() as u128;
        let cell = self.0[(product >> 64) as usize];
        usize::from(if ((product as u64) >> 32) as u32 >= cell.keep_below { cell.other } else { cell.owner })
    }

    /// A position, each with the same chance. The table must not be empty.
    pub(crate) fn draw_evenly(&self, rng: &mut Rng) -> usize {
        usize::from(self.0[rng.below(self.0.len())].owner)
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "the test allows for it")]
mod tests {
    use super::*;

    /// What each position gets of a whole table, in 2^-32 of a cell.
    fn shares(weights: &[u32]) -> Vec<u64> {
        let mut shares = vec![0u64; weights.len()];
        for cell in &Alias::new(weights).0 {
            shares[usize::from(cell.owner)] += u64::from(cell.keep_below);
            shares[usize::from(cell.other)] += (1 << 32) - u64::from(cell.keep_below);
        }
        shares
    }

    #[test]
    fn the_table_holds_every_weight_to_the_last_bits() {
        for weights in [&[1, 2, 3][..], &[1, 0, 1_000_000], &[u32::MAX, 1, u32::MAX], &[7; 100], &[5]] {
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let cells = weights.iter().filter(|&&weight| weight > 0).count() as f64 * 2f64.powi(32);
            for (&weight, share) in weights.iter().zip(shares(weights)) {
                let due = f64::from(weight) / total * cells;
                assert!((share as f64 - due).abs() <= weights.len() as f64, "{weights:?}: {share} for {due}");
            }
        }
    }

    #[test]
    fn what_drains_has_no_cell() {
        assert_eq!(Alias::new(&[0, 3, 0]).len(), 1);
        assert_eq!(Alias::new(&[0, 0]).len(), 0);
        assert_eq!(Alias::new(&[]).len(), 0);
        let mut rng = Rng::new(1);
        assert_eq!(Alias::new(&[0, 3, 0]).draw(&mut rng), 1);
        assert_eq!(Alias::new(&[0, 3, 0]).draw_evenly(&mut rng), 1);
    }
}
