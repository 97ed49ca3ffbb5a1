//! What a model's requests turn out to be: tokens of a prompt for each that was guessed from its length, and tokens of an answer.
//!
//! Text has three to five bytes to a token, by script, vocabulary and how much of it is code; a guess of four is off by as much as the
//! model's vocabulary is, and always to the same side. So each answer whose usage is reported moves two averages by an eighth, that of the
//! prompt by less if it was short: of a prompt of ten tokens the frame around it is most of the count. Both stand in one word, and a
//! sample that another worker overwrites is no loss.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Use;

/// Weight of a sample.
const WEIGHT: f32 = 0.125;
/// A guess from which on a prompt counts in full.
const LONG: f32 = 256.0;
/// Least share of that weight, so that a model which only ever gets short prompts is learned too.
const LEAST_SHARE: f32 = 0.125;
/// No text is further off than this; what is (an image beside two words) would spoil the guess for others.
const RATIO: (f32, f32) = (0.25, 4.0);
/// Longest answer that is remembered.
const MOST_OUTPUT: f32 = 1_048_576.0;

/// What was learned of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Tokens of a prompt for each that was guessed.
    pub ratio: f32,
    /// Mean tokens of an answer; 0 for nothing known.
    pub output: f32,
}

impl Default for Learned {
    fn default() -> Self {
        Self { ratio: 1.0, output: 0.0 }
    }
}

impl Learned {
    /// What the word says.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
    pub fn read(cell: &AtomicU64) -> Self {
        match cell.load(Relaxed) {
            0 => Self::default(),
            word => Self { ratio: f32::from_bits((word >> 32) as u32), output: f32::from_bits(word as u32) },
        }
    }

    fn write(self, cell: &AtomicU64) {
        cell.store(u64::from(self.ratio.to_bits()) << 32 | u64::from(self.output.to_bits()), Relaxed);
    }

    /// The tokens of a prompt, by what was guessed from its length; at least 1.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate of tokens"
    )]
    pub fn input(self, guess: u64) -> u32 {
        ((guess as f32 * self.ratio).ceil() as u32).max(1)
    }

    /// The tokens of an answer: the mean, or `usual` while none is known, and not above `most` if that is not 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of tokens")]
    pub fn output(self, most: u64, usual: u64) -> u64 {
        let expected = if self.output > 0.0 { self.output.ceil() as u64 } else { usual };
        if most == 0 { expected } else { most.min(expected) }
    }

    /// Takes an answer into account.
    ///
    /// `guess` is that of the prompt's length alone, `used` what was reported, where 0 is unknown; `speaks` for answers that are
    /// written token by token.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub fn learn(cell: &AtomicU64, guess: f32, used: Use, speaks: bool) {
        let mut learned = Self::read(cell);
        if used.input > 0 && guess >= 1.0 {
            let sample = (used.input as f32 / guess).clamp(RATIO.0, RATIO.1);
            learned.ratio += (sample - learned.ratio) * WEIGHT * (guess / LONG).clamp(LEAST_SHARE, 1.0);
        }
        if used.output > 0 && speaks {
            let sample = (used.output as f32).min(MOST_OUTPUT);
            learned.output =
                if learned.output > 0.0 { learned.output + (sample - learned.output) * WEIGHT } else { sample };
        }
        learned.write(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cell: &AtomicU64, times: usize, guess: f32, input: u32, output: u32) {
        for _ in 0..times {
            Learned::learn(cell, guess, Use { input, output, cached: 0 }, true);
        }
    }

    #[test]
    fn nothing_learned_is_the_guess_itself() {
        let learned = Learned::read(&AtomicU64::new(0));

        assert_eq!(learned.input(1_000), 1_000);
        assert_eq!((learned.output(0, 256), learned.output(64, 256)), (256, 64));
    }

    #[test]
    fn a_model_whose_text_has_more_tokens_is_expected_to_have_more() {
        let cell = AtomicU64::new(0);
        told(&cell, 40, 1_000.0, 1_400, 90);

        let learned = Learned::read(&cell);
        assert!((1_380..=1_401).contains(&learned.input(1_000)), "{learned:?}");
        assert_eq!((learned.output(0, 256), learned.output(64, 256)), (90, 64));
    }

    #[test]
    fn a_short_prompt_says_less_than_a_long_one() {
        let (short, long) = (AtomicU64::new(0), AtomicU64::new(0));
        told(&short, 4, 10.0, 20, 1);
        told(&long, 4, 1_000.0, 2_000, 1);

        assert!(Learned::read(&short).ratio < 1.1);
        assert!(Learned::read(&long).ratio > 1.3);
    }

    #[test]
    fn an_image_beside_two_words_does_not_spoil_the_guess() {
        let cell = AtomicU64::new(0);
        told(&cell, 1_000, 10.0, 100_000, 1);

        assert!(Learned::read(&cell).ratio <= RATIO.1);
    }

    #[test]
    fn what_is_not_reported_changes_nothing() {
        let cell = AtomicU64::new(0);
        Learned::learn(&cell, 100.0, Use::default(), true);
        Learned::learn(&cell, 100.0, Use { input: 0, output: 50, cached: 0 }, false);

        assert_eq!(Learned::read(&cell), Learned::default());
    }
}
