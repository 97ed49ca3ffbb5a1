//! The choice of a learned route: the most expected quality, less its cost at the present price.

/// Candidates: where each stands in the router, and what a call of it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    rows: Vec<usize>,
    costs: Vec<f64>,
    /// The greatest cost: the price is that of the dearest candidate.
    most: f64,
}

impl Weights {
    /// Candidates by their rows among a router's models, and their costs in any unit; None unless there are as many of both.
    #[must_use]
    pub fn new(rows: Vec<usize>, costs: Vec<f64>) -> Option<Self> {
        if rows.is_empty() || rows.len() != costs.len() {
            return None;
        }
        let most = costs.iter().copied().fold(0.0, f64::max);
        Some(Self { rows, costs, most: if most > 0.0 { most } else { 1.0 } })
    }

    /// The best candidate and what each is worth; the first of equals. Who is not there is passed over, unless nobody is.
    ///
    /// None where nothing is expected of a candidate, or nothing is said of it: a prompt without text has no scores.
    #[must_use]
    pub fn weigh(&self, expected: &[f32], price: f64, bias: &[f64], is_there: &[bool]) -> Option<(usize, Vec<f64>)> {
        if bias.len() != self.rows.len() || is_there.len() != self.rows.len() {
            return None;
        }
        let worth = |((row, cost), bias): ((&usize, &f64), &f64)| {
            expected.get(*row).map(|score| f64::from(*score) + bias - price * cost / self.most)
        };
        let worth: Vec<f64> = self.rows.iter().zip(&self.costs).zip(bias).map(worth).collect::<Option<_>>()?;
        let is_nobody = !is_there.contains(&true);
        let there = worth.iter().zip(is_there).enumerate().filter(|(_, (_, is_there))| is_nobody || **is_there);
        let best = there.reduce(|best, one| if one.1.0 > best.1.0 { one } else { best });
        best.map(|(at, _)| at).map(|at| (at, worth))
    }
}

#[cfg(test)]
mod tests {
    use super::Weights;

    #[test]
    fn the_price_decides_what_quality_is_worth() {
        let weights = Weights::new(vec![1, 0], vec![4.0, 1.0]).expect("two of both");
        let chosen =
            |price, there: [bool; 2]| weights.weigh(&[0.5, 0.75], price, &[0.0; 2], &there).map(|found| found.0);

        assert_eq!(chosen(0.0, [true; 2]), Some(0));
        assert_eq!(chosen(1.0, [true; 2]), Some(1));
        assert_eq!(chosen(1.0, [true, false]), Some(0), "the better one is away");
        assert_eq!(chosen(1.0, [false; 2]), Some(1), "nobody is there: its pool knows best");
    }

    #[test]
    fn the_first_of_equals_is_taken_and_no_text_has_no_choice() {
        let weights = Weights::new(vec![0, 0], vec![0.0, 0.0]).expect("two of both");

        assert_eq!(weights.weigh(&[0.5], 3.0, &[0.0; 2], &[true; 2]), Some((0, vec![0.5, 0.5])));
        assert_eq!(weights.weigh(&[], 3.0, &[0.0; 2], &[true; 2]), None);
    }
}
