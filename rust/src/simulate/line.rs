//! Those who wait for a place: one line for all workers, by arrival or by turns of the tenants.
//!
//! By turns means start-time fair queueing (Goyal, Vin, Cheng 1996) by tokens: who was served least goes first.

use std::collections::VecDeque;

use crate::units::Nanos;

/// A request that waits, by its slot and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) slot: usize,
    pub(super) number: u64,
}

/// See the module.
pub(super) struct Line {
    /// One for each tenant, or a single one.
    lines: Vec<VecDeque<Waiter>>,
    /// Tokens served, by tenant, since it began to wait.
    served: Vec<u64>,
    len: usize,
    /// When the line is looked at again.
    pub(super) wakes: Option<Nanos>,
}

impl Line {
    pub(super) fn new(tenants: usize, is_fair: bool) -> Self {
        let lines = if is_fair { tenants } else { 1 };
        Self { lines: vec![VecDeque::new(); lines], served: vec![0; lines], len: 0, wakes: None }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn join(&mut self, tenant: usize, waiter: Waiter) {
        let at = tenant % self.lines.len();
        if self.lines[at].is_empty() {
            // Who was away has no claim on the past.
            let waiting = self.served.iter().zip(&self.lines).filter(|(_, line)| !line.is_empty());
            let least = waiting.map(|(served, _)| *served).min().unwrap_or(0);
            self.served[at] = self.served[at].max(least);
        }
        self.lines[at].push_back(waiter);
        self.len += 1;
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<Waiter> {
        self.lines[self.turn()?].front().copied()
    }

    /// Who is next has left: served with so many tokens, or gone.
    pub(super) fn leave(&mut self, tokens: u64) {
        if let Some(at) = self.turn() {
            self.lines[at].pop_front();
            self.served[at] += tokens;
            self.len -= 1;
        }
    }

    fn turn(&self) -> Option<usize> {
        let waiting = (0..self.lines.len()).filter(|at| !self.lines[*at].is_empty());
        waiting.min_by_key(|at| self.served[*at])
    }
}
