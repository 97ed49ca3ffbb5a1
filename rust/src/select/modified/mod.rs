//! Modifiers of any strategy: whom it may choose among, for one request.
//!
//! Each narrows the positions that may take the request, and never to none; the strategy picks among those that are left. They work in this
//! order, so that what comes first is never given up for what comes later:
//!
//! 1. `priority`: the positions of the first tier that has one. A later tier gets nothing while an earlier one can take the request.
//! 2. `sticky`: where the session went last, as long as it may be picked.
//! 3. `affinity`: where the prompt is cached, until another one is worth more than the cache (`home.rs`).
//! 4. `lowest_cost`: those that cost no more than the cheapest, or little more, for the tokens of this request.
//! 5. `lowest_latency`: those whose time to first token is no longer than the shortest, or little longer.
//!
//! Cost: one look at every position, and one more for each modifier; no allocation up to 128 positions. A pool without modifiers is not wrapped.

mod home;
mod kept;
#[cfg(test)]
mod tests;

pub use home::{Affinity, Home};

use self::kept::{Among, Kept};
use super::{Ask, Strategy, View};
use crate::error::TableError;
use crate::rng::Rng;

/// Part of the choices by latency that look at a position of which nothing was heard for a second, out of 2^64: what was slow once would
/// otherwise never be asked again. The same part as that of the strategies that learn.
const EXPLORED: u64 = u64::MAX / 16;

/// What a position takes for a token, picodollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Of the prompt.
    pub input: u64,
    /// Of the prompt, where it was in the cache.
    pub cached: u64,
    /// Of the answer.
    pub output: u64,
}

/// The modifiers of one pool. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Modifiers {
    /// The tier of each position, the lowest first; empty: all are in one.
    pub tiers: Vec<u16>,
    /// What each position takes; empty: nothing.
    pub rates: Vec<Rate>,
    /// For how long a session that pauses stays where it was, seconds; 0: sessions are not kept.
    pub sticky_s: u32,
    /// What a warm cache is worth.
    pub affinity: Option<Affinity>,
    /// How much more than the cheapest a position may cost, as a part of it.
    pub lowest_cost: Option<f64>,
    /// How much later than the fastest a position may answer, as a part of its time.
    pub lowest_latency: Option<f64>,
}

impl Modifiers {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let has_rules = self.affinity.is_some() || self.lowest_cost.is_some() || self.lowest_latency.is_some();
        self.tiers.is_empty() && self.sticky_s == 0 && !has_rules
    }

    /// Whether it is remembered where a session went.
    #[must_use]
    pub const fn keeps_sessions(&self) -> bool {
        self.sticky_s > 0 || self.affinity.is_some()
    }

    /// Refuses what does not fit a pool of so many positions.
    ///
    /// # Errors
    /// Names the field, without the path of the pool.
    pub fn check(&self, positions: usize) -> Result<(), TableError> {
        for (field, len) in [("tiers", self.tiers.len()), ("rates", self.rates.len())] {
            if len != 0 && len != positions {
                return Err(TableError::new(field, format!("{len} for {positions} endpoints; one each is expected")));
            }
        }
        for (field, part) in [("lowest_cost", self.lowest_cost), ("lowest_latency", self.lowest_latency)] {
            if part.is_some_and(|part| !part.is_finite() || part < 0.0) {
                return Err(TableError::new(field, "expected a part of at least 0"));
            }
        }
        self.affinity.map_or(Ok(()), |affinity| affinity.check())
    }

    fn rate(&self, at: usize) -> Rate {
        self.rates.get(at).copied().unwrap_or_default()
    }
}

/// A strategy under modifiers.
struct Modified {
    inner: Box<dyn Strategy>,
    modifiers: Modifiers,
    /// Positions that drain.
    drained: Box<[bool]>,
}

/// Puts modifiers around a strategy, if there are any.
///
/// # Errors
/// As `Modifiers::check`.
pub fn modified(
    inner: Box<dyn Strategy>,
    modifiers: &Modifiers,
    weights: &[u32],
) -> Result<Box<dyn Strategy>, TableError> {
    modifiers.check(weights.len())?;
    if modifiers.is_empty() {
        return Ok(inner);
    }
    let drained = weights.iter().map(|&weight| weight == 0).collect();
    Ok(Box::new(Modified { inner, modifiers: modifiers.clone(), drained }))
}

impl Strategy for Modified {
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize> {
        let kept = self.narrowed(view, ask, rng)?;
        // Another worker may have taken what was left at this moment: the modifiers yield then, not the request.
        let among = self.inner.select(&Among { view, kept: &kept }, ask, rng);
        let found = among.or_else(|| self.inner.select(view, ask, rng))?;
        if let (true, Some(key)) = (self.modifiers.keeps_sessions(), ask.hash) {
            view.keep(key, found, ask.tokens);
        }
        Some(found)
    }
}

impl Modified {
    /// The positions to choose among; `None` when none may take the request.
    fn narrowed(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<Kept> {
        let rules = &self.modifiers;
        let mut kept = Kept::of(view.len(), |at| !self.drained[at] && view.is_eligible(at));
        if kept.is_empty() {
            return None;
        }
        if !rules.tiers.is_empty() {
            kept.keep_least(|at| f64::from(rules.tiers[at]), 0.0);
        }
        self.go_home(view, ask, &mut kept);
        if let Some(part) = rules.lowest_cost {
            kept.keep_least(|at| home::price(rules.rate(at), ask, 0.0), part);
        }
        if let Some(part) = rules.lowest_latency {
            keep_fastest(view, rng, &mut kept, part);
        }
        Some(kept)
    }

    /// Stays where the session was, if it had a place that is still to be had and is worth it.
    fn go_home(&self, view: &dyn View, ask: &Ask, kept: &mut Kept) {
        let rules = &self.modifiers;
        if !rules.keeps_sessions() {
            return;
        }
        let Some(home) = ask.hash.and_then(|key| view.home(key)).filter(|home| kept.has(home.at)) else {
            return;
        };
        if rules.sticky_s > 0 && home.age_s <= rules.sticky_s {
            kept.keep(|at| at == home.at);
        } else if let Some(affinity) = &rules.affinity {
            affinity.narrow(home, &|at| rules.rate(at), view, ask, kept);
        }
    }
}

/// Keeps the fastest, and those of which nothing is known yet; now and then those of which nothing was heard for long.
fn keep_fastest(view: &dyn View, rng: &mut Rng, kept: &mut Kept, part: f64) {
    if rng.next_u64() < EXPLORED && kept.keep(|at| view.is_stale(at) && view.in_flight(at) == 0) {
        return;
    }
    kept.keep_least(|at| super::sample::usable(view.latency_s(at)).unwrap_or(0.0), part);
}
