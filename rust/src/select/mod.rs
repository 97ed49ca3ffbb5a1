//! Strategies: each picks one endpoint of a pool. One file each, one line in [`build`].
//!
//! A strategy sees a pool as positions `0..len` through a [`View`]. Whether a position may be taken is asked lazily, so that
//! a sample of four out of ten thousand reads four rows. Laws that every strategy keeps (`tests/rust/strategy_laws.rs`):
//! it returns only eligible positions, `None` if and only if there is none, and the same seed and view give the same choice.

use crate::rng::Rng;
use crate::units::Nanos;

/// What a strategy may read of its pool. Implemented over the board by the engine, and over plain vectors by tests.
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
    /// The next turn of the pool's shared cursor: one fetch-add, common to all workers.
    fn next_turn(&self) -> u64;
}

/// What is known of the request that wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Estimated prompt tokens.
    pub tokens: u32,
    /// Hash of the affinity key; `None` when the request has none.
    pub hash: Option<u64>,
    /// Now, on the caller's clock.
    pub now: Nanos,
}

/// One way to pick.
pub trait Strategy: Send + Sync {
    /// A position of the view that may take the request, or `None` when no position is eligible.
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize>;
}
