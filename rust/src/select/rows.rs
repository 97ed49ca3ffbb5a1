//! A [`View`] over plain vectors, for tests and simulations: the same strategies as in production, without a board.

use std::sync::atomic::{AtomicU64, Ordering};

use super::View;

/// What is known of one position.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Whether it may be picked.
    pub is_eligible: bool,
    /// Requests in flight on it.
    pub in_flight: u32,
    /// Prompt tokens sent to it that wait for their first token.
    pub prefill_tokens: u64,
    /// Output tokens that it still owes.
    pub decode_tokens: u64,
    /// Learned time to first token, seconds.
    pub latency_s: Option<f32>,
    /// Learned pace, seconds per token.
    pub pace_s: Option<f32>,
    /// Whether nothing was heard of it for a second.
    pub is_stale: bool,
}

/// Eligible, idle, nothing learned.
impl Default for Row {
    fn default() -> Self {
        Self {
            is_eligible: true,
            in_flight: 0,
            prefill_tokens: 0,
            decode_tokens: 0,
            latency_s: None,
            pace_s: None,
            is_stale: false,
        }
    }
}

/// A pool in private memory.
#[derive(Debug, Default)]
pub struct Rows {
    /// One row for each position.
    pub rows: Vec<Row>,
    /// Turns given out so far.
    pub turns: AtomicU64,
    /// The part of a prompt that need not be read at its key's home.
    pub cache_gain: f64,
}

impl Rows {
    /// A pool of `len` idle, eligible positions.
    #[must_use]
    pub fn idle(len: usize) -> Self {
        Self { rows: vec![Row::default(); len], turns: AtomicU64::new(0), cache_gain: 0.0 }
    }

    /// An idle pool in which `is_eligible` tells which positions may be picked.
    #[must_use]
    pub fn only(is_eligible: &[bool]) -> Self {
        let rows = is_eligible.iter().map(|&is_eligible| Row { is_eligible, ..Row::default() }).collect();
        Self { rows, turns: AtomicU64::new(0), cache_gain: 0.0 }
    }
}

impl View for Rows {
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.rows[at].is_eligible
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.rows[at].in_flight
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.rows[at].prefill_tokens
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.rows[at].decode_tokens
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.rows[at].latency_s
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.rows[at].pace_s
    }
    fn is_stale(&self, at: usize) -> bool {
        self.rows[at].is_stale
    }
    fn cache_gain(&self) -> f64 {
        self.cache_gain
    }
    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }
}
