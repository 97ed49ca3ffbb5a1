//! What checks find: questions that ask an endpoint for nothing but a sign of life, cost nothing, and are no requests of clients.
//!
//! A check can close the door, but not open it: one that passes says that somebody is there, not that requests are answered. So an endpoint
//! that is found again is half-open, and requests do the rest. What keeps it closed is renewed by each failed check and runs out by itself,
//! so that nobody stays away for good because the prober died.

use std::sync::atomic::Ordering::Relaxed;

use super::breaker;
use crate::board::EndpointRow;
use crate::units::Nanos;

/// Counts a check.
pub fn count(row: EndpointRow<'_>, passed: bool) {
    row.checks()[usize::from(!passed)].fetch_add(1, Relaxed);
}

/// Nobody is there: no request for so long, if no later check says so again.
pub fn lose(row: EndpointRow<'_>, time_ms: u32, now: Nanos) {
    if breaker::hold(row.breaker(), time_ms, now) {
        row.trips().fetch_add(1, Relaxed);
    }
}

/// Somebody is there again: requests may try.
pub fn find(row: EndpointRow<'_>, now: Nanos) {
    breaker::half_open(row.breaker(), now);
}
