//! Histograms on the board, and what metrics and the admin page read of it.
//!
//! A snapshot is read while others write: each number is exact, two numbers may be some microseconds apart.

use std::sync::atomic::Ordering::Relaxed;

use crate::board::{Board, Columns, Words};
use crate::limit::inflight;
use crate::units::Nanos;

/// Upper bounds of the time to first token, us: OpenTelemetry's `gen_ai.server.time_to_first_token`, without its first two, up to a minute.
pub const FIRST_TOKEN_US: [u64; 16] = [
    5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
/// Upper bounds of a request's duration, us: OpenTelemetry's `gen_ai.client.operation.duration`, up to the default deadline.
pub const DURATION_US: [u64; 17] = [
    10_000,
    20_000,
    40_000,
    80_000,
    160_000,
    320_000,
    640_000,
    1_280_000,
    2_560_000,
    5_120_000,
    10_240_000,
    20_480_000,
    40_960_000,
    81_920_000,
    163_840_000,
    327_680_000,
    655_360_000,
];
/// Upper bounds of our own time per request, us: around the 20 us that we aim at, up to where something is wrong.
pub const OVERHEAD_US: [u64; 15] =
    [10, 20, 30, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];

/// The word of a histogram that holds the sum, ns. Buckets stand before it, the last of them without bound.
const SUM: usize = 23;

/// Counts one value, a span in nanoseconds.
pub fn observe(words: Words<'_>, bounds_us: &[u64], span: Nanos) {
    words.at(bounds_us.partition_point(|bound| bound * 1_000 < span.0)).fetch_add(1, Relaxed);
    words.at(SUM).fetch_add(span.0, Relaxed);
}

/// One histogram: counts per bucket, not cumulated, the last one without bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// One more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of the values, ns.
    pub sum_ns: u64,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Requests in flight.
    pub in_flight: u64,
    /// Prompt tokens that wait for their first token.
    pub prefill_tokens: u64,
    /// Output tokens still owed.
    pub decode_tokens: u64,
    /// Half-open probes on their way.
    pub probes: u64,
    /// Attempts by failure number.
    pub attempts: Vec<u64>,
    /// Attempts that were retries.
    pub retries: u64,
    /// Times that its breaker opened.
    pub trips: u64,
    /// Requests that it got in spite of its breaker.
    pub panics: u64,
    /// Malformed events of its streams that were left out.
    pub dropped: u64,
    /// Checks that passed, and that failed.
    pub checks: Vec<u64>,
    /// Input, output, cached.
    pub tokens: Vec<u64>,
    /// Attempts in the ledger, in the order of [`crate::board::BOOKINGS`].
    pub booked: Vec<u64>,
    /// What they cost, picodollars.
    pub cost: Vec<u64>,
    /// What translations could not say, in the order of [`crate::board::LEFT_OUT`].
    pub left_out: Vec<u64>,
    /// Credentials that were had for it, and that were not.
    pub renewals: Vec<u64>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests refused by its limits.
    pub refused: u64,
    /// Requests of users for whom no cell was free.
    pub overflows: u64,
    /// Input, output, cached.
    pub tokens: Vec<u64>,
    /// What was delivered, picodollars.
    pub cost: u64,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait.
    pub queued: u64,
    /// Requests by outcome: a failure number, or [`crate::engine::REFUSED`].
    pub outcomes: Vec<u64>,
    /// Answers given more than once, in the order of [`crate::engine::SHARED`].
    pub shared: Vec<u64>,
    /// How long requests waited for a place, of those that got one.
    pub waits: Histogram,
    /// What its attempts in the ledger cost, picodollars, in the order of [`crate::board::BOOKINGS`].
    pub cost: Vec<u64>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Retries that its budget refused.
    pub exhausted: u64,
    /// Hedges, in the order of [`crate::engine::HEDGES`].
    pub hedges: Vec<u64>,
}

/// One model on one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Time to first token.
    pub first_token: Histogram,
    /// Time to the end of the answer.
    pub duration: Histogram,
}

fn held(board: &Board, line: &Columns) -> u64 {
    inflight::load(line, board.sizes().workers as usize)
}

fn words(words: Words<'_>) -> Vec<u64> {
    (0..words.len()).map(|at| words.at(at).load(Relaxed)).collect()
}

fn histogram(row: Words<'_>, bounds: usize) -> Histogram {
    let words = words(row);
    Histogram { counts: words[..=bounds].to_vec(), sum_ns: words[SUM] }
}

fn counters(cells: &[std::sync::atomic::AtomicU64]) -> Vec<u64> {
    cells.iter().map(|cell| cell.load(Relaxed)).collect()
}

/// Reads an endpoint's row.
#[must_use]
pub fn endpoint(board: &Board, slot: usize) -> Endpoint {
    let row = board.endpoint(slot);
    Endpoint {
        in_flight: held(board, row.in_flight()),
        prefill_tokens: held(board, row.prefill()),
        decode_tokens: held(board, row.decode()),
        probes: held(board, row.probes()),
        attempts: words(row.attempts()),
        retries: row.retries().load(Relaxed),
        trips: row.trips().load(Relaxed),
        panics: row.panics().load(Relaxed),
        dropped: row.dropped().load(Relaxed),
        checks: counters(row.checks()),
        tokens: counters(row.tokens()),
        booked: counters(row.booked()),
        cost: counters(row.cost()),
        left_out: counters(row.left_out()),
        renewals: counters(row.renewals()),
    }
}

/// Reads a key's row.
#[must_use]
pub fn key(board: &Board, slot: usize) -> Key {
    let row = board.key(slot);
    Key {
        in_flight: held(board, row.in_flight()),
        requests: row.requests().load(Relaxed),
        refused: row.refused().load(Relaxed),
        overflows: row.overflows().load(Relaxed),
        tokens: counters(row.tokens()),
        cost: row.cost().load(Relaxed),
    }
}

/// Reads a model's row.
#[must_use]
pub fn model(board: &Board, slot: usize) -> Model {
    let row = board.model(slot);
    Model {
        in_flight: held(board, row.in_flight()),
        queued: held(board, row.queued()),
        outcomes: words(row.outcomes()),
        shared: counters(row.shared()),
        waits: histogram(row.waits(), FIRST_TOKEN_US.len()),
        cost: counters(row.cost()),
    }
}

/// Reads a pool's row.
#[must_use]
pub fn pool(board: &Board, slot: usize) -> Pool {
    let row = board.pool(slot);
    Pool { exhausted: row.exhausted().load(Relaxed), hedges: counters(row.hedges()) }
}

/// Reads a pair's row.
#[must_use]
pub fn pair(board: &Board, slot: usize) -> Pair {
    let row = board.pair(slot);
    Pair {
        first_token: histogram(row.first_token(), FIRST_TOKEN_US.len()),
        duration: histogram(row.duration(), DURATION_US.len()),
    }
}

/// Reads the overhead histogram.
#[must_use]
pub fn overhead(board: &Board) -> Histogram {
    histogram(board.overhead(), OVERHEAD_US.len())
}
