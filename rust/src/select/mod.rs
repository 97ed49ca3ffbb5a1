//! Strategies: each picks one endpoint of a pool. One file each, one line in [`STRATEGIES`].
//!
//! A strategy sees a pool as positions `0..len` through a [`View`]. Whether a position may be taken is asked lazily, so that
//! a sample of four out of ten thousand reads four rows. Laws that every strategy keeps (`tests/rust/strategy_laws.rs`):
//! it returns only eligible positions, `None` if and only if there is none, and the same seed and view give the same choice.
//! A position of weight 0 drains: it counts as not eligible, everywhere.

mod alias;
mod cache_aware;
mod hashed;
mod least_connections;
mod least_work;
mod maglev;
mod modified;
mod peak_ewma;
mod random;
mod rendezvous;
mod ring_hash;
mod round_robin;
pub mod rows;
mod sample;
mod smooth;
mod weighted;
mod weighted_random;

pub(crate) use least_work::{DECODE_PART, LONG_S};
pub use modified::{Affinity, Home, Modifiers, Rate, modified};

use crate::error::TableError;
use crate::rng::Rng;
use crate::units::Nanos;

/// What a strategy may read of its pool. Implemented over the board by the engine, over plain vectors by [`rows::Rows`].
pub trait View {
    /// Number of positions.
    fn len(&self) -> usize;
    /// Whether the pool has no position at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether `at` may be picked now: not tried, not draining, not cooling, its breaker lets it, its limits have room.
    fn is_eligible(&self, at: usize) -> bool;
    /// Requests in flight on it, over all workers.
    fn in_flight(&self, at: usize) -> u32;
    /// Estimated prompt tokens sent to it that wait for their first token, over all workers.
    fn prefill_tokens(&self, at: usize) -> u64;
    /// Estimated output tokens it still owes, over all workers.
    fn decode_tokens(&self, at: usize) -> u64;
    /// Learned time to first token, seconds; `None` before the first sample.
    fn latency_s(&self, at: usize) -> Option<f32>;
    /// Learned pace, seconds per token of work at dispatch; `None` before the first sample.
    fn pace_s(&self, at: usize) -> Option<f32>;
    /// Whether a position has limits of rate, so that `owed_s` is worth asking for.
    fn is_metered(&self) -> bool {
        false
    }
    /// How long its limits take to have their whole burst again, seconds.
    fn owed_s(&self, _at: usize) -> f64 {
        0.0
    }
    /// All that stands before a request: what the three above say, in one look where that is cheaper.
    fn line(&self, at: usize) -> (u64, u64, f64) {
        (self.prefill_tokens(at), self.decode_tokens(at), if self.is_metered() { self.owed_s(at) } else { 0.0 })
    }
    /// Whether nothing was heard of it for a second: what is known of it grows old.
    fn is_stale(&self, at: usize) -> bool;
    /// The next turn of the pool's shared cursor: one fetch-add, common to all workers.
    fn next_turn(&self) -> u64;
    /// Where the requests with this affinity key went last, if that is remembered.
    fn home(&self, _key: u64) -> Option<Home> {
        None
    }
    /// The part of what has to be read of a prompt that need not be where its key is at home, as far as answers tell; 0: nothing is known.
    fn cache_gain(&self) -> f64 {
        0.0
    }
    /// Remembers where a request with this affinity key and so many tokens goes.
    fn keep(&self, _key: u64, _at: usize, _tokens: u32) {}
}

/// What is known of the request that wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Estimated prompt tokens.
    pub tokens: u32,
    /// Expected tokens of the answer.
    pub output: u32,
    /// Hash of the affinity key; `None` when the request has none.
    pub hash: Option<u64>,
    /// Now, on the caller's clock.
    pub now: Nanos,
}

/// One way to pick.
pub trait Strategy: Send + Sync {
    /// A position of the view that may take the request, or `None` when no position is eligible.
    ///
    /// The view has as many positions as the strategy was built with.
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize>;

    /// Where requests with this affinity key rather go while everybody waits; `None` for strategies that do not care.
    fn home(&self, _view: &dyn View, _key: u64) -> Option<usize> {
        None
    }
}

/// What a strategy is built from: one pool of the configuration, checked by [`build`].
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// One weight for each position; 0 drains it.
    pub weights: &'a [u32],
    /// Positions to draw and compare, 0 = all of them. Strategies that compare nothing leave it unread.
    pub choices: usize,
    /// Longest queue that a hash may build up, as a multiple of the fair one, at least 1; 0 = unbounded.
    pub bounded_load: f64,
    /// Names of the endpoints. Hashes are taken from them, so that every worker and every reload has the same tables.
    pub names: &'a [&'a str],
    /// Salt of the hashes: pools with different seeds place the same key independently.
    pub seed: u64,
}

/// Makes a strategy out of a checked pool.
pub type Build = fn(&Spec<'_>) -> Box<dyn Strategy>;

/// Every strategy by its canonical name.
pub const STRATEGIES: &[(&str, Build)] = &[
    ("cache_aware", cache_aware::build),
    ("least_connections", least_connections::build),
    ("least_work", least_work::build),
    ("maglev", maglev::build),
    ("peak_ewma", peak_ewma::build),
    ("random", random::build),
    ("rendezvous", rendezvous::build),
    ("ring_hash", ring_hash::build),
    ("round_robin", round_robin::build),
    ("weighted", weighted::build),
    ("weighted_random", weighted_random::build),
];

/// Names that users of other balancers know, and what they are called here.
pub const ALIASES: &[(&str, &str)] =
    &[("least_request", "least_connections"), ("p2c", "least_connections"), ("weighted_round_robin", "weighted")];

/// Strategies that `bounded_load` can modify.
const HASHES: [&str; 3] = ["maglev", "rendezvous", "ring_hash"];

/// Largest pool. A slot of the board is 16 bits and a pool names no slot twice, so that tables hold positions in 16 bits too.
pub const POSITIONS_MAX: usize = 1 << 16;

/// Builds the strategy called `name`, which may be an alias.
///
/// `choices`: how many positions are drawn and compared, 0 for all. `bounded_load`: 0 switches it off.
///
/// # Errors
///
/// Names the field (`strategy`, `weights`, `choices`, `bounded_load`, `endpoints`) that does not fit, without the path of the pool.
pub fn build(
    name: &str,
    weights: &[u32],
    choices: usize,
    bounded_load: f64,
    names: &[&str],
    seed: u64,
) -> Result<Box<dyn Strategy>, TableError> {
    let canonical = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |&(_, canonical)| canonical);
    let Some((_, build)) = STRATEGIES.iter().find(|(known, _)| *known == canonical) else {
        let known: Vec<&str> = STRATEGIES.iter().map(|&(known, _)| known).collect();
        return Err(TableError::new("strategy", format!("unknown strategy {name:?}; known are {}", known.join(", "))));
    };
    let spec = Spec { weights, choices, bounded_load, names, seed };
    check(canonical, &spec)?;
    Ok(build(&spec))
}

/// Refuses what no strategy could work with.
fn check(canonical: &str, spec: &Spec<'_>) -> Result<(), TableError> {
    let positions = spec.weights.len();
    if positions > POSITIONS_MAX {
        return Err(TableError::new(
            "endpoints",
            format!("{positions} endpoints; a pool holds at most {POSITIONS_MAX}"),
        ));
    }
    if spec.names.len() != positions {
        let names = spec.names.len();
        return Err(TableError::new(
            "weights",
            format!("{positions} weights for {names} endpoints; one each is expected"),
        ));
    }
    if spec.choices > sample::CHOICES_MAX {
        let reason = format!("{} choices; expected 0 (all endpoints) to {}", spec.choices, sample::CHOICES_MAX);
        return Err(TableError::new("choices", reason));
    }
    if canonical == "cache_aware" || HASHES.contains(&canonical) {
        check_names(spec)?;
    }
    if HASHES.contains(&canonical) {
        check_bound(spec)
    } else if spec.bounded_load == 0.0 {
        Ok(())
    } else {
        let reason = format!("only with a hash ({}), not with {canonical}", HASHES.join(", "));
        Err(TableError::new("bounded_load", reason))
    }
}

/// Refuses a bound that no hash could keep.
fn check_bound(spec: &Spec<'_>) -> Result<(), TableError> {
    let bound = spec.bounded_load;
    if bound != 0.0 && !(1.0..=hashed::BOUND_MAX).contains(&bound) {
        let reason = format!("{bound} found; expected 0 (off) or 1 to {}", hashed::BOUND_MAX);
        return Err(TableError::new("bounded_load", reason));
    }
    Ok(())
}

/// Refuses names that a hash could not tell apart.
fn check_names(spec: &Spec<'_>) -> Result<(), TableError> {
    let mut names = spec.names.to_vec();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twins) => Err(TableError::new("endpoints", format!("{:?} stands there twice", twins[0]))),
        None => Ok(()),
    }
}

/// The same pool with equal weights; what drains still does.
fn even(weights: &[u32]) -> Vec<u32> {
    weights.iter().map(|&weight| weight.min(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, choices: usize, bounded_load: f64, names: &[&str]) -> String {
        let found = build(name, &[1, 1], choices, bounded_load, names, 0);
        found.err().map_or_else(|| "built".into(), |error| error.to_string())
    }

    #[test]
    fn a_wrong_table_is_refused_with_its_place() {
        let names = ["a", "b"];
        assert!(
            refusal("fastest", 2, 0.0, &names).starts_with("strategy: unknown strategy \"fastest\"; known are cache_")
        );
        assert!(refusal("random", 2, 0.0, &["a"]).starts_with("weights: 2 weights for 1 endpoints"));
        assert!(refusal("least_work", 17, 0.0, &names).starts_with("choices: 17 choices"));
        assert!(refusal("random", 2, 1.25, &names).starts_with("bounded_load: only with a hash"));
        for bound in [0.5, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refusal("maglev", 2, bound, &names).starts_with("bounded_load: "), "{bound}");
        }
        for hash in HASHES {
            assert!(refusal(hash, 2, 0.0, &["a", "a"]).starts_with("endpoints: "), "{hash}");
            assert_eq!(refusal(hash, 2, 1.25, &names), "built");
        }
    }

    #[test]
    fn every_name_and_alias_builds_and_the_table_is_sorted() {
        assert!(STRATEGIES.is_sorted_by_key(|&(name, _)| name));
        for name in STRATEGIES.iter().map(|&(name, _)| name).chain(ALIASES.iter().map(|&(alias, _)| alias)) {
            assert_eq!(refusal(name, 2, 0.0, &["a", "b"]), "built", "{name}");
        }
    }
}
