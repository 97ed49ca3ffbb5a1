//! A circuit breaker in one word, shared by all workers.
//!
//! ```text
//!  closed --failures in a row, or a share of a window--> open --time is up--> half-open --success--> closed, ramping
//!                                                          ^---------------failure------------'
//! ```
//!
//! Half-open is not a state of its own: it is "open, and the time is up". Then at most `probes` requests at once, over all workers, may
//! try; they are counted on the board's probe line. Attempts that began before it opened say nothing while it is open.
//! Each opening makes the time four times as long, up to `longest_ms`; each clean window after closing takes one such step back. A quarter of the time is drawn, so
//! that endpoints which failed together are not probed together. Where the provider says when to come back, that is the time instead.
//!
//! Closed again it is *ramping*: for `slow_start_ms` its endpoint takes part in a decision only with a chance that grows from
//! [`LEAST_SHARE`] to one. Weights could not do that for strategies that compare loads, where whoever comes back idle attracts everything.
//!
//! Five in a row is Envoy's `consecutive_5xx`, half of twenty is Hystrix' threshold. A base of 1 s instead of Envoy's 30 s: a wrong guess
//! costs a probe, hidden by a retry, and a healed endpoint is back in seconds; so is one that was out for long, with a longest time of 10 s.
//!
//! Bits: stamp 32 (window's begin, or end of the open time, ms) | seen 11 | failed 11 | ramping 1 | consecutive 4 | trips 4 | open 1.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Verdict;
use crate::rng::mix;
use crate::units::Nanos;

/// Longest time that a stamp may lie ahead. One further ahead is a wrapped one, long past.
pub const LONGEST_MS: u32 = 300_000;
/// Most failures in a row that can be counted.
pub const MOST_CONSECUTIVE: u32 = 15;
/// Where the counts of a window are halved, which keeps their ratio.
pub const MOST_SEEN: u32 = 2_000;
/// Chance to take part in a decision at the beginning of a slow start; Envoy's `min_weight_percent`.
pub const LEAST_SHARE: f32 = 0.1;
/// Steps after which the time grows no more.
const MOST_TRIPS: u32 = 9;
/// How far the clocks of two workers' readings may lie apart.
const TIE_MS: u32 = 10_000;
const MS: u64 = 1_000_000;
const OPEN: u64 = 1;
const RAMPING: u64 = 1 << 9;
/// Known since the board was made: no slow start when it is used for the first time.
pub const KNOWN: u64 = 1 << 32;
/// Added to a board in use: its slow start begins with its first request.
pub const ADDED: u64 = RAMPING;

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that open it, at most [`MOST_CONSECUTIVE`].
    pub consecutive: u32,
    /// Share of failures in a window that opens it, in thousandths.
    pub ratio_permille: u32,
    /// Attempts in a window below which their ratio says nothing, at most [`MOST_SEEN`].
    pub min_requests: u32,
    /// Length of a window.
    pub window_ms: u32,
    /// First open time.
    pub open_ms: u32,
    /// Longest open time, at most [`LONGEST_MS`].
    pub longest_ms: u32,
    /// Requests at once that may try a half-open endpoint.
    pub probes: u32,
    /// How long its share grows after it has closed; 0 for none.
    pub slow_start_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consecutive: 5,
            ratio_permille: 500,
            min_requests: 20,
            window_ms: 10_000,
            open_ms: 1_000,
            longest_ms: 10_000,
            probes: 2,
            slow_start_ms: 10_000,
        }
    }
}

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

/// An attempt that ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What it says.
    pub verdict: Verdict,
    /// Let through half-open, or in spite of the breaker.
    pub probe: bool,
    /// The pause that the provider asked for, ms; 0 for none.
    pub pause_ms: u64,
    /// When.
    pub now: Nanos,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    stamp: u32,
    seen: u32,
    failed: u32,
    is_ramping: bool,
    consecutive: u32,
    trips: u32,
    is_open: bool,
}

/// Whether it lets everything through and nothing more is to be known of it: the question of the hot path.
#[must_use]
#[inline]
pub const fn is_plain(word: u64) -> bool {
    word & (OPEN | RAMPING) == 0
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
        // To the nanosecond: the stamp's millisecond begins before it is over.
        left => State::Open(u64::from(left) * MS - now.0 % MS),
    }
}

/// The chance with which its endpoint takes part in a decision: one unless it is ramping.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share of some seconds")]
pub fn share(word: u64, policy: &Policy, now: Nanos) -> f32 {
    if is_plain(word) || policy.slow_start_ms == 0 {
        return 1.0;
    }
    if word == ADDED {
        return LEAST_SHARE;
    }
    let age = now.millis32().wrapping_sub(unpack(word).stamp);
    (age as f32 / policy.slow_start_ms as f32).clamp(LEAST_SHARE, 1.0)
}

/// Attempts in the present window, and how many of them failed.
#[must_use]
pub fn counts(word: u64, policy: &Policy, now: Nanos) -> (u32, u32) {
    let word = unpack(word);
    if word.is_open {
        return (0, 0);
    }
    let word = rolled(word, policy, now);
    (word.seen, word.failed)
}

/// Starts the slow start of an added endpoint.
pub fn greet(cell: &AtomicU64, now: Nanos) {
    let begun = pack(Word { stamp: now.millis32(), is_ramping: true, ..Word::default() });
    // Another worker may have been first.
    let _lost = cell.compare_exchange(ADDED, begun, Relaxed, Relaxed);
}

/// Takes an ended attempt into account. True if this opened the breaker.
pub fn record(cell: &AtomicU64, policy: &Policy, ended: &Ended) -> bool {
    if ended.verdict == Verdict::Silent {
        return false;
    }
    change(cell, |word| step(word, policy, ended)) && ended.verdict == Verdict::Bad
}

/// Opens it whatever it has counted. True if it was closed.
pub fn eject(cell: &AtomicU64, policy: &Policy, ended: &Ended) -> bool {
    change(cell, |word| if word.is_open { word } else { open(word, policy, ended) })
}

/// Keeps it open for so long at least, whatever it has counted: something other than a request found nobody there. True if it was closed.
pub fn hold(cell: &AtomicU64, time_ms: u32, now: Nanos) -> bool {
    let time_ms = time_ms.min(LONGEST_MS);
    let was_open = Cell::new(false);
    let changed = change(cell, |word| {
        was_open.set(word.is_open);
        if word.is_open && left_ms(word.stamp, now) >= time_ms {
            return word;
        }
        Word { stamp: now.millis32().wrapping_add(time_ms), trips: word.trips, is_open: true, ..Word::default() }
    });
    changed && !was_open.get()
}

/// Lets probes through at once, where it is open: something else says that the endpoint may be well again.
pub fn half_open(cell: &AtomicU64, now: Nanos) {
    change(cell, |word| if word.is_open { Word { stamp: now.millis32(), ..word } } else { word });
}

/// True if this changed it to an open one.
fn change(cell: &AtomicU64, next: impl Fn(Word) -> Word) -> bool {
    let mut seen = cell.load(Relaxed);
    loop {
        let word = next(unpack(seen));
        let packed = pack(word);
        if packed == seen {
            return false;
        }
        match cell.compare_exchange_weak(seen, packed, Relaxed, Relaxed) {
            Ok(_) => return word.is_open,
            Err(other) => seen = other,
        }
    }
}

fn step(word: Word, policy: &Policy, ended: &Ended) -> Word {
    let now = ended.now;
    match (word.is_open, ended.verdict) {
        (true, Verdict::Good) if ended.probe => {
            Word { stamp: now.millis32(), is_ramping: policy.slow_start_ms > 0, trips: word.trips, ..Word::default() }
        }
        (true, Verdict::Bad) if ended.probe && left_ms(word.stamp, now) == 0 => open(word, policy, ended),
        (true, _) => word,
        (false, _) => count(word, policy, ended),
    }
}

/// One more attempt while closed.
fn count(word: Word, policy: &Policy, ended: &Ended) -> Word {
    let mut word = rolled(word, policy, ended.now);
    let failed = ended.verdict == Verdict::Bad;
    if word.seen >= MOST_SEEN {
        word.seen /= 2;
        word.failed /= 2;
    }
    word.seen += 1;
    word.failed += u32::from(failed);
    word.consecutive = if failed { (word.consecutive + 1).min(MOST_CONSECUTIVE) } else { 0 };
    let is_bad = word.consecutive >= policy.consecutive
        || word.seen >= policy.min_requests && word.failed * 1_000 >= word.seen * policy.ratio_permille;
    if failed && is_bad { open(word, policy, ended) } else { word }
}

/// A new window, if the old one is over.
fn rolled(word: Word, policy: &Policy, now: Nanos) -> Word {
    let length = if word.is_ramping { policy.window_ms.max(policy.slow_start_ms) } else { policy.window_ms };
    if now.millis32().wrapping_sub(word.stamp) < length || is_a_moment_ahead(word.stamp, now) {
        return word;
    }
    let trips = if word.failed == 0 { word.trips.saturating_sub(1) } else { word.trips };
    Word { stamp: now.millis32(), seen: 0, failed: 0, trips, is_ramping: false, ..word }
}

fn open(word: Word, policy: &Policy, ended: &Ended) -> Word {
    let grown = (u64::from(policy.open_ms) << (2 * word.trips.min(MOST_TRIPS))).min(u64::from(policy.longest_ms));
    // The clock's last bits are drawn well enough for a quarter of a second or two.
    let drawn = grown - ((grown / 4 * (mix(ended.now.0) >> 32)) >> 32);
    let time_ms = if ended.pause_ms > 0 { ended.pause_ms.min(u64::from(LONGEST_MS)) } else { drawn };
    Word {
        stamp: ended.now.millis32().wrapping_add(time_ms as u32),
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
    stamp.wrapping_sub(now.millis32()) < TIE_MS
}

const fn pack(word: Word) -> u64 {
    (word.stamp as u64) << 32
        | (word.seen as u64) << 21
        | (word.failed as u64) << 10
        | (word.is_ramping as u64) << 9
        | (word.consecutive as u64) << 5
        | (word.trips as u64) << 1
        | word.is_open as u64
}

#[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
const fn unpack(word: u64) -> Word {
    Word {
        stamp: (word >> 32) as u32,
        seen: (word >> 21) as u32 & 0x7FF,
        failed: (word >> 10) as u32 & 0x7FF,
        is_ramping: word & RAMPING != 0,
        consecutive: (word >> 5) as u32 & 0xF,
        trips: (word >> 1) as u32 & 0xF,
        is_open: word & OPEN != 0,
    }
}

#[cfg(test)]
mod tests;
