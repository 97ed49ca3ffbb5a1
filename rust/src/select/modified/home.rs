//! Whether a prompt goes back to where its beginning is cached: only what is worth more than the cache is a reason to leave.
//!
//! All in dollars. With `c` tokens of the prompt in the cache at home, `own` tokens in all and `out` expected ones of the answer:
//!
//! ```text
//! at home:   input (own - c) + cached c + output out  +  second * pace (P + own - c + g D)
//! elsewhere: input own                  + output out  +  second * pace (P + own     + g D)
//! ```
//!
//! with the prices and the line of each place (`P`, `D`, `g` and `pace` are those of `least_work`), and `second`: what a second of waiting is
//! worth. The request leaves where an elsewhere is below home, for one of those that are; the saving or the wait, or both together, then
//! beat the lost cache. Once it has left, it is at home there.
//!
//! `c` is the `kept` part of the shorter one of this prompt and the last one of the session, since a conversation repeats what was said;
//! nothing, where that is less than `least_tokens` (providers cache from 1,024 tokens on) or longer ago than `ttl_s`.

use super::kept::Kept;
use crate::error::TableError;
use crate::select::{Ask, DECODE_PART, Rate, View, sample};

/// Where the requests of a session went last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Home {
    /// The position.
    pub at: usize,
    /// Tokens of the last prompt.
    pub tokens: u32,
    /// How long ago that was, seconds.
    pub age_s: u32,
}

/// What a warm cache is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affinity {
    /// How long providers keep what they have read, seconds.
    pub ttl_s: u32,
    /// The part of the last prompt that is in the cache, 0 to 1.
    pub kept: f64,
    /// The shortest beginning that is cached, tokens.
    pub least_tokens: u32,
    /// What a second of waiting is worth, picodollars.
    pub second: f64,
}

impl Affinity {
    pub(super) fn check(&self) -> Result<(), TableError> {
        if !(0.0..=1.0).contains(&self.kept) {
            return Err(TableError::new("affinity.kept", format!("{} found; expected 0 to 1", self.kept)));
        }
        if !(self.second.is_finite() && self.second >= 0.0) {
            return Err(TableError::new("affinity.second", format!("{} found; expected at least 0", self.second)));
        }
        Ok(())
    }

    /// Tokens of a prompt that are in the cache at home.
    pub(super) fn cached(&self, home: &Home, own: u32) -> f64 {
        let cached = f64::from(own.min(home.tokens)) * self.kept;
        if home.age_s > self.ttl_s || cached < f64::from(self.least_tokens) { 0.0 } else { cached }
    }

    /// Leaves home alone, or those that are worth leaving it for; everything when there is no cache to lose.
    pub(super) fn narrow(&self, home: Home, rate: &dyn Fn(usize) -> Rate, view: &dyn View, ask: &Ask, kept: &mut Kept) {
        let cached = self.cached(&home, ask.tokens);
        if cached == 0.0 {
            return;
        }
        let (sum, known) = kept
            .positions()
            .filter_map(|at| sample::usable(view.pace_s(at)))
            .fold((0.0, 0.0), |(sum, known), pace_s| (sum + pace_s, known + 1.0));
        // A pace not learned yet is the mean of the others; where none is, nobody waits for anything that is known.
        let unknown = if known > 0.0 { sum / known } else { 0.0 };
        let total = |at: usize, cached: f64| {
            let pace_s = sample::usable(view.pace_s(at)).unwrap_or(unknown);
            price(rate(at), ask, cached) + self.second * pace_s * line(view, at, ask, cached)
        };
        let at_home = total(home.at, cached);
        if !kept.keep(|at| at != home.at && total(at, 0.0) < at_home) {
            kept.keep(|at| at == home.at);
        }
    }
}

/// What a request costs at a rate, with so many tokens cached, picodollars.
#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
pub(super) fn price(rate: Rate, ask: &Ask, cached: f64) -> f64 {
    let fresh = f64::from(ask.tokens) - cached;
    rate.input as f64 * fresh + rate.cached as f64 * cached + rate.output as f64 * f64::from(ask.output)
}

/// Tokens of work until the first one of the answer, as `least_work` counts them.
#[expect(clippy::cast_precision_loss, reason = "tokens beyond 2^53 compare as equal")]
fn line(view: &dyn View, at: usize, ask: &Ask, cached: f64) -> f64 {
    let before = view.prefill_tokens(at) as f64 + DECODE_PART * view.decode_tokens(at) as f64;
    before + f64::from(ask.tokens) - cached
}
