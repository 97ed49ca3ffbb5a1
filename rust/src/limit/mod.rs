//! What may be used of an endpoint, a key or a model: five rates and a number of places, reserved all or nothing.
//!
//! A reservation is made before anything is sent, from an estimate, and settled once when the truth is known (decision record 0018):
//! a success is reconciled in both directions; of what was never used that much is given back which the bucket has not refilled by
//! itself, for giving back more would let up to three times the limit through.

pub mod estimate;
pub mod found;
pub mod gcra;
pub mod inflight;
pub mod keyed;
pub mod share;
pub mod window;

use std::sync::atomic::AtomicU64;

use gcra::Rate;
use window::Window;

use crate::board::{Columns, MinuteRow};
use crate::units::{NS_PER_S, Nanos};

/// The names of the rates, in the order of their buckets on the board.
pub const KINDS: [&str; 5] = [
    "requests_per_min",
    "tokens_per_min",
    "input_tokens_per_min",
    "uncached_input_tokens_per_min",
    "output_tokens_per_min",
];

/// Limits as a configuration gives them. 0 is "no limit" everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// Per minute, in the order of [`KINDS`].
    pub per_minute: [u64; 5],
    /// Requests at once, over all workers.
    pub concurrency: u32,
    /// How many seconds' worth may come at once.
    pub burst_s: f64,
}

impl Default for Spec {
    fn default() -> Self {
        Self { per_minute: [0; 5], concurrency: 0, burst_s: 1.0 }
    }
}

/// What a request is thought to use, or has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Prompt tokens.
    pub input: u32,
    /// Answer tokens.
    pub output: u32,
    /// Prompt tokens that the provider had in its cache.
    pub cached: u32,
}

impl Use {
    /// Units per kind of limit, in the order of [`KINDS`].
    #[must_use]
    pub const fn units(&self) -> [u64; 5] {
        let (input, output) = (self.input as u64, self.output as u64);
        [1, input + output, input, self.input.saturating_sub(self.cached) as u64, output]
    }

    /// What was used, where 0 means that it is not known and the estimate stands.
    #[must_use]
    pub const fn or(self, estimate: Self) -> Self {
        Self {
            input: if self.input == 0 { estimate.input } else { self.input },
            output: if self.output == 0 { estimate.output } else { self.output },
            cached: self.cached,
        }
    }
}

/// What a provider says of one of its limits.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Which, by its place in [`KINDS`].
    pub kind: usize,
    /// Units left.
    pub remaining: u64,
    /// Units a minute; 0: not said.
    pub limit: u64,
    /// When it is whole again; 0: not said.
    pub reset: Nanos,
}

/// Why a reservation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name of the limit: one of [`KINDS`], `concurrency`, or `capacity` for one that was found.
    pub why: &'static str,
    /// Nanoseconds until it fits; `None` when nobody can know.
    pub wait: Option<u64>,
}

const FULL: Block = Block { why: "concurrency", wait: None };
/// As many are in flight as the endpoint was found to bear.
pub const SATURATED: Block = Block { why: "capacity", wait: None };

/// The state of one target's limits on the board.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    /// Requests in flight.
    pub in_flight: &'a Columns,
    /// The buckets, the first five words.
    pub buckets: &'a [AtomicU64; 8],
    /// Where what was taken in the last minute is counted, where somebody else counts that: a provider.
    pub minute: Option<MinuteRow<'a>>,
    /// Columns in use.
    pub workers: usize,
    /// The own column.
    pub column: usize,
}

impl<'a> Gate<'a> {
    /// The count of a kind's last minute. Requests have none: they are alike, so a minute that is full holds no more than it may.
    #[inline]
    fn window(&self, kind: usize) -> Option<Window<'a>> {
        self.minute.filter(|_| kind > 0).map(|minute| Window::new(minute, kind))
    }

    fn peek(&self, kind: usize, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
        match self.window(kind) {
            Some(window) => window::peek(&self.buckets[kind], window, rate, units, now),
            None => gcra::peek(&self.buckets[kind], rate, units, now),
        }
    }

    #[inline]
    fn take(&self, kind: usize, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
        match self.window(kind) {
            Some(window) => window::take(&self.buckets[kind], window, rate, units, now),
            None => gcra::take(&self.buckets[kind], rate, units, now),
        }
    }

    fn undo(&self, kind: usize, rate: &Rate, units: u64, reserved: Nanos, now: Nanos) {
        let bucket = &self.buckets[kind];
        match self.window(kind) {
            Some(window) => window::undo(bucket, window, rate, units, reserved, now),
            None => gcra::undo(bucket, rate, units, now.since(reserved), now),
        }
    }
}

/// Limits ready for use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    rates: [Rate; 5],
    /// The kinds that are limited; the first `active` are valid.
    kinds: [u8; 5],
    active: usize,
    concurrency: u32,
    /// As configured, in the order of [`KINDS`].
    per_minute: [u64; 5],
}

impl Limits {
    /// Limits by specification.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let rates = spec.per_minute.map(|limit| Rate::per_minute(limit, spec.burst_s));
        let (mut kinds, mut active) = ([0; 5], 0);
        for kind in (0..5u8).filter(|kind| !rates[usize::from(*kind)].is_off()) {
            kinds[active] = kind;
            active += 1;
        }
        Self { rates, kinds, active, concurrency: spec.concurrency, per_minute: spec.per_minute }
    }

    /// Whether a rate is configured.
    #[must_use]
    pub const fn has_rates(&self) -> bool {
        self.active > 0
    }

    /// The same with less of each rate: `share` of [`found::WHOLE`].
    #[must_use]
    pub fn slowed(&self, share: u32) -> Self {
        Self { rates: self.rates.map(|rate| rate.slowed(share)), ..*self }
    }

    /// Seconds until all of its buckets are full, if nobody takes any.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "a cost to compare, below 2^61")]
    pub fn owed_s(&self, buckets: &[AtomicU64; 8], now: Nanos) -> f64 {
        let kinds = self.kinds.iter().take(self.active);
        let most = kinds.map(|kind| gcra::debt(&buckets[usize::from(kind & 7)], now)).fold(0, u64::max);
        most as i64 as f64 / (NS_PER_S * gcra::TICKS) as f64
    }

    /// Whether a request of these units is larger than what may come at once. Requests themselves do not count: each is as large as any.
    #[must_use]
    pub fn is_beyond_burst(&self, units: &[u64; 5]) -> bool {
        self.limited().any(|(kind, rate)| kind > 0 && rate.cost(units[kind]) > rate.burst())
    }

    fn limited(&self) -> impl Iterator<Item = (usize, &Rate)> {
        self.kinds[..self.active].iter().map(|kind| (usize::from(*kind), &self.rates[usize::from(*kind)]))
    }

    fn has_place(&self, gate: Gate<'_>) -> bool {
        self.concurrency == 0 || inflight::load(gate.in_flight, gate.workers) < u64::from(self.concurrency)
    }

    /// Whether a request of these units would fit now; the longest wait of all limits that hold it back.
    ///
    /// # Errors
    /// The limit that holds it back longest; a full line, whose end nobody knows, comes first.
    pub fn peek(&self, gate: Gate<'_>, units: &[u64; 5], now: Nanos) -> Result<(), Block> {
        if self.has_place(gate) { self.peek_rates(gate, units, now) } else { Err(FULL) }
    }

    /// Whether another token would fit, of each kind: for somebody who has a place already.
    ///
    /// # Errors
    /// The limit that holds it back longest.
    pub fn peek_tokens(&self, gate: Gate<'_>, now: Nanos) -> Result<(), Block> {
        self.peek_rates(gate, &[0, 1, 1, 1, 1], now)
    }

    /// Units of 0 ask nothing of their kind.
    fn peek_rates(&self, gate: Gate<'_>, units: &[u64; 5], now: Nanos) -> Result<(), Block> {
        let mut block: Option<Block> = None;
        for (kind, rate) in self.limited().filter(|(kind, _)| *kind > 0 || units[0] > 0) {
            if let Err(wait) = gate.peek(kind, rate, units[kind], now) {
                let longest = block.and_then(|block| block.wait).unwrap_or(0);
                if wait > longest {
                    block = Some(Block { why: KINDS[kind], wait: Some(wait) });
                }
            }
        }
        block.map_or(Ok(()), Err)
    }

    /// Takes a place and all units, or nothing.
    ///
    /// # Errors
    /// The limit that refused.
    pub fn reserve(&self, gate: Gate<'_>, units: &[u64; 5], now: Nanos) -> Result<(), Block> {
        if !inflight::take(gate.in_flight, gate.workers, gate.column, self.concurrency) {
            return Err(FULL);
        }
        for (done, (kind, rate)) in self.limited().enumerate() {
            if let Err(wait) = gate.take(kind, rate, units[kind], now) {
                for (kind, rate) in self.limited().take(done) {
                    gate.undo(kind, rate, units[kind], now, now);
                }
                release(gate);
                return Err(Block { why: KINDS[kind], wait: Some(wait) });
            }
        }
        Ok(())
    }

    /// After a success: charges what was used beyond the estimate, gives back what was not used of what was reserved at `reserved`.
    pub fn reconcile(&self, gate: Gate<'_>, estimate: Use, used: Use, reserved: Nanos, now: Nanos) {
        let (estimate, used) = (estimate.units(), used.units());
        // The request itself was used in any case.
        for (kind, rate) in self.limited().filter(|(kind, _)| *kind > 0) {
            let bucket = &gate.buckets[kind];
            if used[kind] > estimate[kind] {
                let more = used[kind] - estimate[kind];
                gate.window(kind).inspect(|window| window::charge(*window, rate, more, now));
                gcra::charge(bucket, rate, more, now);
            } else if used[kind] < estimate[kind] {
                let less = estimate[kind] - used[kind];
                gate.window(kind).inspect(|window| window::give_back(*window, rate, less, reserved, now));
                gcra::give_back(bucket, rate, less, now);
            }
        }
    }

    /// Gives back what was reserved at `reserved` and never used, as far as it has not drained by itself.
    pub fn refund(&self, gate: Gate<'_>, estimate: Use, reserved: Nanos, now: Nanos) {
        let units = estimate.units();
        for (kind, rate) in self.limited() {
            gate.undo(kind, rate, units[kind], reserved, now);
        }
    }

    /// Takes over what the provider says: no more than `remaining` is left of a kind, out of `limit` a minute (0: not said).
    /// What is not limited here, or fuller than it is said to be, is left as it is.
    pub fn learn(&self, gate: Gate<'_>, told: &Told, found: Option<&AtomicU64>, now: Nanos) {
        let Some(rate) = self.rates.get(told.kind).filter(|rate| !rate.is_off()) else { return };
        let held = gcra::remaining(&gate.buckets[told.kind], rate, now);
        if held > told.remaining {
            gcra::charge(&gate.buckets[told.kind], rate, held - told.remaining, now);
        }
        let configured = self.per_minute[told.kind];
        if let Some(cell) = found.filter(|_| told.limit > 0 && told.limit < configured) {
            found::lower(cell, (told.limit * u64::from(found::WHOLE) / configured) as u32, now);
        }
    }

    /// Units of each limited kind that would fit now, and free places, by name.
    #[must_use]
    pub fn remaining(&self, gate: Gate<'_>, now: Nanos) -> Vec<(&'static str, u64)> {
        let mut rows: Vec<_> =
            self.limited().map(|(kind, rate)| (KINDS[kind], gcra::remaining(&gate.buckets[kind], rate, now))).collect();
        if self.concurrency != 0 {
            let taken = inflight::load(gate.in_flight, gate.workers);
            rows.push(("concurrency", u64::from(self.concurrency).saturating_sub(taken)));
        }
        rows
    }
}

/// Gives the place back.
pub fn release(gate: Gate<'_>) {
    inflight::sub(gate.in_flight, gate.column, 1);
}
