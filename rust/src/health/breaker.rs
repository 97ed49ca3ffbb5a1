//! A circuit breaker in one word, shared by all workers.
//!
//! ```text
//!  closed --5 failures in a row, or half of >= 20 in 10 s--> open --time is up--> half-open --success--> closed
//!                                                              ^---------------failure------------'
//! ```
//!
//! Half-open is not a state of its own: it is "open, and the time is up". Then at most [`PROBES`] requests at once, over all workers, may
//! try; they are counted on the board's probe line. Attempts that began before it opened say nothing while it is open.
//! Each opening doubles the time, up to [`LONGEST_MS`]; each clean window after closing halves it again.
//!
//! Five in a row is Envoy's `consecutive_5xx`, half of twenty is Hystrix' threshold; both, since with two or three deployments the
//! statistics over hosts that Envoy adds never run. A base of 1 s instead of 30 s: a wrong guess costs two probes, hidden by a retry,
//! and a healed endpoint is back in seconds.
//!
//! Bits: stamp 32 (window's begin, or end of the open time, ms) | seen 12 | failed 11 | consecutive 4 | trips 4 | open 1.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Verdict;
use crate::units::Nanos;

/// Failures in a row that open it.
pub const CONSECUTIVE: u32 = 5;
/// Attempts in a window below which their ratio says nothing.
pub const ENOUGH: u32 = 20;
/// Length of a window.
pub const WINDOW_MS: u32 = 10_000;
/// Requests at once that may try a half-open endpoint.
pub const PROBES: u32 = 2;
/// First open time.
pub const BASE_MS: u32 = 1_000;
/// Longest open time. A stamp further ahead is a wrapped one, long past.
pub const LONGEST_MS: u32 = 60_000;
/// Doublings after which the time grows no more.
const MOST_TRIPS: u32 = 6;
/// Where the counts of a window are halved, which keeps their ratio.
const MOST_SEEN: u32 = 2_000;

/// What it lets through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, for so many nanoseconds.
    Open(u64),
    /// A few probes.
    HalfOpen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    stamp: u32,
    seen: u32,
    failed: u32,
    consecutive: u32,
    trips: u32,
    is_open: bool,
}

/// The state now.
#[must_use]
pub fn state(word: u64, now: Nanos) -> State {
    let word = unpack(word);
    if !word.is_open {
        return State::Closed;
    }
    match left_ms(word.stamp, now) {
        0 => State::HalfOpen,
        left => State::Open(u64::from(left) * 1_000_000),
    }
}

/// Takes an ended attempt into account; `probe` when it was let through half-open, or in spite of it. True if this opened the breaker.
pub fn record(cell: &AtomicU64, verdict: Verdict, probe: bool, now: Nanos) -> bool {
    if verdict == Verdict::Silent {
        return false;
    }
    let mut seen = cell.load(Relaxed);
    loop {
        let next = step(unpack(seen), verdict, probe, now);
        let packed = pack(next);
        if packed == seen {
            return false;
        }
        match cell.compare_exchange_weak(seen, packed, Relaxed, Relaxed) {
            Ok(_) => return next.is_open && verdict == Verdict::Bad,
            Err(other) => seen = other,
        }
    }
}

fn step(word: Word, verdict: Verdict, probe: bool, now: Nanos) -> Word {
    match (word.is_open, verdict) {
        (true, Verdict::Good) if probe => Word { stamp: now.millis32(), trips: word.trips, ..Word::default() },
        (true, Verdict::Bad) if probe && left_ms(word.stamp, now) == 0 => open(word, now),
        (true, _) => word,
        (false, _) => count(word, verdict, now),
    }
}

/// One more attempt while closed.
fn count(word: Word, verdict: Verdict, now: Nanos) -> Word {
    let mut word = rolled(word, now);
    let failed = verdict == Verdict::Bad;
    if word.seen >= MOST_SEEN {
        word.seen /= 2;
        word.failed /= 2;
    }
    word.seen += 1;
    word.failed += u32::from(failed);
    word.consecutive = if failed { word.consecutive + 1 } else { 0 };
    let is_bad = word.consecutive >= CONSECUTIVE || word.seen >= ENOUGH && word.failed * 2 >= word.seen;
    if failed && is_bad { open(word, now) } else { word }
}

/// A new window, if the old one is over.
fn rolled(word: Word, now: Nanos) -> Word {
    if now.millis32().wrapping_sub(word.stamp) < WINDOW_MS || is_a_moment_ahead(word.stamp, now) {
        return word;
    }
    let trips = if word.failed == 0 { word.trips.saturating_sub(1) } else { word.trips };
    Word { stamp: now.millis32(), seen: 0, failed: 0, trips, ..word }
}

fn open(word: Word, now: Nanos) -> Word {
    let time_ms = (BASE_MS << word.trips.min(MOST_TRIPS)).min(LONGEST_MS);
    Word {
        stamp: now.millis32().wrapping_add(time_ms),
        trips: (word.trips + 1).min(MOST_TRIPS),
        is_open: true,
        ..Word::default()
    }
}

/// Milliseconds until `stamp`, 0 when it has passed.
const fn left_ms(stamp: u32, now: Nanos) -> u32 {
    let left = stamp.wrapping_sub(now.millis32());
    if left > LONGEST_MS { 0 } else { left }
}

/// Another worker's clock reading was a little later than ours.
const fn is_a_moment_ahead(stamp: u32, now: Nanos) -> bool {
    stamp.wrapping_sub(now.millis32()) < WINDOW_MS
}

const fn pack(word: Word) -> u64 {
    (word.stamp as u64) << 32
        | (word.seen as u64) << 20
        | (word.failed as u64) << 9
        | (word.consecutive as u64) << 5
        | (word.trips as u64) << 1
        | word.is_open as u64
}

#[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
const fn unpack(word: u64) -> Word {
    Word {
        stamp: (word >> 32) as u32,
        seen: (word >> 20) as u32 & 0xFFF,
        failed: (word >> 9) as u32 & 0x7FF,
        consecutive: (word >> 5) as u32 & 0xF,
        trips: (word >> 1) as u32 & 0xF,
        is_open: word & 1 == 1,
    }
}

#[cfg(test)]
mod tests;
