//! What metrics and the admin page read: plain frozen records, made off the path that requests take.

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::board::Board;
use crate::engine::Gauges;
use crate::health::FAILURES;
use crate::health::breaker::State;
use crate::limit::found::WHOLE;
use crate::snapshot;

/// Outcomes that exist: each failure, and "refused".
const OUTCOMES: usize = crate::engine::REFUSED + 1;

#[pyclass(frozen, get_all, module = "dispatch._core")]
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    sum_ns: u64,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct EndpointState {
    in_flight: u64,
    prefill_tokens: u64,
    decode_tokens: u64,
    probes: u64,
    attempts: Vec<u64>,
    retries: u64,
    trips: u64,
    panics: u64,
    dropped: u64,
    checks: Vec<u64>,
    tokens: Vec<u64>,
    booked: Vec<u64>,
    cost: Vec<u64>,
    left_out: Vec<u64>,
    renewals: Vec<u64>,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct KeyState {
    in_flight: u64,
    requests: u64,
    refused: u64,
    overflows: u64,
    tokens: Vec<u64>,
    cost: u64,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct ModelState {
    in_flight: u64,
    queued: u64,
    outcomes: Vec<u64>,
    shared: Vec<u64>,
    waits: Histogram,
    cost: Vec<u64>,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct PoolState {
    exhausted: u64,
    hedges: Vec<u64>,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct PairState {
    first_token: Histogram,
    duration: Histogram,
}

#[pyclass(frozen, get_all, module = "dispatch._core")]
pub(super) struct Gauge {
    slot: u16,
    remaining: Vec<(&'static str, u64)>,
    breaker: &'static str,
    open_ns: u64,
    cooling_ns: u64,
    latency_s: Option<f32>,
    pace_s: Option<f32>,
    found_share: Option<f64>,
    found_places: Option<u32>,
}

impl From<snapshot::Histogram> for Histogram {
    fn from(read: snapshot::Histogram) -> Self {
        Self { counts: read.counts, sum_ns: read.sum_ns }
    }
}

/// An endpoint's row.
pub(super) fn endpoint(board: &Board, slot: usize) -> PyResult<EndpointState> {
    check(slot, board.sizes().endpoints)?;
    let read = snapshot::endpoint(board, slot);
    Ok(EndpointState {
        in_flight: read.in_flight,
        prefill_tokens: read.prefill_tokens,
        decode_tokens: read.decode_tokens,
        probes: read.probes,
        attempts: read.attempts[..FAILURES.len()].to_vec(),
        retries: read.retries,
        trips: read.trips,
        panics: read.panics,
        dropped: read.dropped,
        checks: read.checks,
        tokens: read.tokens,
        booked: read.booked,
        cost: read.cost,
        left_out: read.left_out,
        renewals: read.renewals,
    })
}

/// A key's row.
pub(super) fn key(board: &Board, slot: usize) -> PyResult<KeyState> {
    check(slot, board.sizes().keys)?;
    let snapshot::Key { in_flight, requests, refused, overflows, tokens, cost } = snapshot::key(board, slot);
    Ok(KeyState { in_flight, requests, refused, overflows, tokens, cost })
}

/// A model's row.
pub(super) fn model(board: &Board, slot: usize) -> PyResult<ModelState> {
    check(slot, board.sizes().models)?;
    let snapshot::Model { in_flight, queued, outcomes, shared, waits, cost } = snapshot::model(board, slot);
    Ok(ModelState { in_flight, queued, outcomes: outcomes[..OUTCOMES].to_vec(), shared, waits: waits.into(), cost })
}

/// A pool's row.
pub(super) fn pool(board: &Board, slot: usize) -> PyResult<PoolState> {
    check(slot, board.sizes().pools)?;
    let snapshot::Pool { exhausted, hedges } = snapshot::pool(board, slot);
    Ok(PoolState { exhausted, hedges })
}

/// A pair's row.
pub(super) fn pair(board: &Board, slot: usize) -> PyResult<PairState> {
    check(slot, board.sizes().pairs)?;
    let snapshot::Pair { first_token, duration } = snapshot::pair(board, slot);
    Ok(PairState { first_token: first_token.into(), duration: duration.into() })
}

/// The overhead histogram.
pub(super) fn overhead(board: &Board) -> Histogram {
    snapshot::overhead(board).into()
}

impl From<Gauges> for Gauge {
    fn from(read: Gauges) -> Self {
        let (breaker, open_ns) = match read.breaker {
            State::Closed => ("closed", 0),
            State::Open(left) => ("open", left),
            State::HalfOpen => ("half_open", 0),
        };
        Self {
            slot: read.slot,
            remaining: read.remaining,
            breaker,
            open_ns,
            cooling_ns: read.cooling.0,
            latency_s: read.latency_s,
            pace_s: read.pace_s,
            found_share: read.found.share.map(|share| f64::from(share) / f64::from(WHOLE)),
            found_places: read.found.places,
        }
    }
}

/// Refuses a row that is none.
pub(super) fn check(slot: usize, rows: u32) -> PyResult<()> {
    if slot < rows as usize { Ok(()) } else { Err(PyIndexError::new_err(format!("slot {slot} of {rows}"))) }
}

/// Adds the classes of this module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Histogram>()?;
    module.add_class::<EndpointState>()?;
    module.add_class::<KeyState>()?;
    module.add_class::<ModelState>()?;
    module.add_class::<PairState>()?;
    module.add_class::<PoolState>()?;
    module.add_class::<Gauge>()?;
    module.add("FIRST_TOKEN_BOUNDS_S", seconds(&snapshot::FIRST_TOKEN_US))?;
    module.add("DURATION_BOUNDS_S", seconds(&snapshot::DURATION_US))?;
    module.add("OVERHEAD_BOUNDS_S", seconds(&snapshot::OVERHEAD_US))?;
    module.add("BOOKINGS", crate::board::BOOKINGS.to_vec())?;
    module.add("LEFT_OUT", crate::board::LEFT_OUT.to_vec())?;
    module.add("SHARED", crate::engine::SHARED.to_vec())?;
    module.add("FAILURES", FAILURES.map(|(_, name)| name).to_vec())?;
    module.add("VERDICTS", FAILURES.map(|(failure, _)| (failure.verdict().name(), failure.cool_ms())).to_vec())
}

#[expect(clippy::cast_precision_loss, reason = "bounds are round numbers")]
fn seconds(bounds_us: &[u64]) -> Vec<f64> {
    bounds_us.iter().map(|bound| *bound as f64 / 1e6).collect()
}
