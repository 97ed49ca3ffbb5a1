//! The positions that are left, and the pool as it looks when there are no others.

use crate::select::{Home, View};

/// A set of positions. The first 128 need no allocation.
pub(super) struct Kept {
    first: u128,
    rest: Vec<bool>,
    len: usize,
}

impl Kept {
    /// Those of `0..len` that `may_stay`.
    pub(super) fn of(len: usize, may_stay: impl Fn(usize) -> bool) -> Self {
        let first = (0..len.min(128)).filter(|&at| may_stay(at)).fold(0, |first, at| first | (1 << at));
        let rest = (128..len).map(may_stay).collect();
        Self { first, rest, len }
    }

    /// Whether a position is among them.
    pub(super) fn has(&self, at: usize) -> bool {
        if at < 128 { (self.first >> at) & 1 != 0 } else { self.rest.get(at - 128).copied().unwrap_or(false) }
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.first == 0 && !self.rest.contains(&true)
    }

    /// The positions, in order.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|&at| self.has(at))
    }

    /// Leaves only those that `may_stay`, unless that is none of them. Returns whether one was.
    pub(super) fn keep(&mut self, may_stay: impl Fn(usize) -> bool) -> bool {
        let left = Self::of(self.len, |at| self.has(at) && may_stay(at));
        let is_some = !left.is_empty();
        if is_some {
            *self = left;
        }
        is_some
    }

    /// Leaves the position with the least `value`, and those beyond it by no more than `part` of it.
    pub(super) fn keep_least(&mut self, value: impl Fn(usize) -> f64, part: f64) {
        let least = self.positions().map(&value).fold(f64::INFINITY, f64::min);
        self.keep(|at| value(at) <= least + least * part);
    }
}

/// A pool of which only some positions may be picked.
pub(super) struct Among<'a> {
    pub(super) view: &'a dyn View,
    pub(super) kept: &'a Kept,
}

impl View for Among<'_> {
    fn len(&self) -> usize {
        self.view.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.kept.has(at) && self.view.is_eligible(at)
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.view.in_flight(at)
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.view.prefill_tokens(at)
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.view.decode_tokens(at)
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.view.latency_s(at)
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.view.pace_s(at)
    }
    fn is_metered(&self) -> bool {
        self.view.is_metered()
    }
    fn owed_s(&self, at: usize) -> f64 {
        self.view.owed_s(at)
    }
    fn is_stale(&self, at: usize) -> bool {
        self.view.is_stale(at)
    }
    fn next_turn(&self) -> u64 {
        self.view.next_turn()
    }
    fn cache_gain(&self) -> f64 {
        self.view.cache_gain()
    }
    fn home(&self, key: u64) -> Option<Home> {
        self.view.home(key)
    }
}
