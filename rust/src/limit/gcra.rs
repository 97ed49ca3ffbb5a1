//! The generic cell rate algorithm: a token bucket in one word.
//!
//! The word is the instant at which the bucket will be full again (ITU-T I.371 calls it the theoretical arrival time), in ticks
//! of 1/256 ns. `n` units cost `n * period`; they fit if the instant does not move further ahead of now than the burst. Refusing reads
//! only; taking is one compare-and-swap, so there is no lost update and no double grant, between threads and processes alike.
//!
//! Invariants:
//! - Over any window of 60 s the units taken cost at most 60 s + burst, which is the limit, since a bucket of `limit` per minute runs at
//!   `limit / (60 + burst_s)` per second. The one exception: a request larger than the burst passes
//!   on a full bucket; [`super::window`] closes it where a provider counts.
//! - A refusal's wait is tight: one nanosecond earlier it would still be refused, at the instant it fits.
//! - The period is kept to 2^-32 ticks and a cost is rounded up to a whole tick once per request, so 1e11 units a minute are neither free
//!   nor charged double.
//! - Ticks wrap after 834 days of uptime; instants are compared by their wrapped difference, so only a bucket that nobody touched for
//!   417 days is misread. The word 0 is a bucket that was never used.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::units::{NS_PER_S, Nanos};

/// Ticks in a nanosecond.
pub(super) const TICKS: u64 = 256;
/// No cost and no debt is longer than this (104 days), so that wrapped differences stay unambiguous.
const LONGEST: u64 = 1 << 61;
/// Fraction bits of a period.
const FRACTION: u32 = 32;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time per unit: whole ticks. With `part` 0: no limit.
    whole: u64,
    /// And 2^-32 ticks, rounded up.
    part: u32,
    /// Time to fill the empty bucket, in ticks.
    burst: u64,
}

impl Rate {
    /// No limit at all.
    pub const OFF: Self = Self { whole: 0, part: 0, burst: 0 };

    /// `limit` units in any 60 s, of which about `limit * burst_s / 60` may come at once. A limit of 0 is none.
    #[must_use]
    pub fn per_minute(limit: u64, burst_s: f64) -> Self {
        let burst = seconds(burst_s);
        Self::new(limit, 60 * NS_PER_S * TICKS + burst, burst)
    }

    /// `limit` units a second on average, of which `burst_s` seconds' worth may come at once. A limit of 0 is none.
    #[must_use]
    pub fn per_second(limit: u64, burst_s: f64) -> Self {
        Self::new(limit, NS_PER_S * TICKS, seconds(burst_s))
    }

    fn new(limit: u64, span: u64, burst: u64) -> Self {
        if limit == 0 {
            return Self::OFF;
        }
        let period = (u128::from(span) << FRACTION).div_ceil(u128::from(limit));
        Self { whole: (period >> FRACTION) as u64, part: period as u32, burst }
    }

    /// The same with less of it: `share` of [`super::found::WHOLE`].
    #[must_use]
    pub(super) fn slowed(self, share: u32) -> Self {
        let period = u128::from(self.whole) << FRACTION | u128::from(self.part);
        let longer = (period * u128::from(super::found::WHOLE)).div_ceil(u128::from(share.max(1)));
        Self { whole: (longer >> FRACTION) as u64, part: longer as u32, burst: self.burst }
    }

    /// Whether it lets everything through.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.whole == 0 && self.part == 0
    }

    /// Time to fill the empty bucket, in ticks.
    pub(super) const fn burst(&self) -> u64 {
        self.burst
    }

    /// What may be taken in any 60 s, in ticks.
    pub(super) const fn allowance(&self) -> u64 {
        60 * NS_PER_S * TICKS + self.burst
    }

    /// What `units` cost, in ticks, rounded up.
    pub(super) fn cost(&self, units: u64) -> u64 {
        let parts = u128::from(units) * u128::from(self.part) + u128::from(u32::MAX);
        let ticks = u128::from(units) * u128::from(self.whole) + (parts >> FRACTION);
        ticks.min(u128::from(LONGEST)) as u64
    }
}

/// Whether `units` would fit now.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any.
pub fn peek(cell: &AtomicU64, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    peek_cost(cell, rate, rate.cost(units), now)
}

/// The same for what costs so many ticks.
pub(super) fn peek_cost(cell: &AtomicU64, rate: &Rate, cost: u64, now: Nanos) -> Result<(), u64> {
    admit(cell.load(Relaxed), rate, cost, now).map(|_| ())
}

/// Takes `units`.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any. Nothing was taken.
#[inline]
pub fn take(cell: &AtomicU64, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    take_cost(cell, rate, rate.cost(units), now)
}

/// The same for what costs so many ticks.
#[inline]
pub(super) fn take_cost(cell: &AtomicU64, rate: &Rate, cost: u64, now: Nanos) -> Result<(), u64> {
    let mut word = cell.load(Relaxed);
    loop {
        let next = admit(word, rate, cost, now)?;
        match cell.compare_exchange_weak(word, next, Relaxed, Relaxed) {
            Ok(_) => return Ok(()),
            Err(seen) => word = seen,
        }
    }
}

/// Takes `units` whether they fit or not: what a request used beyond its estimate. The bucket may go into debt.
pub fn charge(cell: &AtomicU64, rate: &Rate, units: u64, now: Nanos) {
    let cost = rate.cost(units);
    update(cell, |word| {
        let ahead = ahead(word, now);
        (ahead < LONGEST).then(|| instant(now, ahead + cost.min(LONGEST - ahead)))
    });
}

/// Gives `units` back. A bucket is never fuller than full.
pub fn give_back(cell: &AtomicU64, rate: &Rate, units: u64, now: Nanos) {
    give_back_cost(cell, rate.cost(units), now);
}

/// Gives `units` back that were taken `age` ago and never used: what of them has not drained by itself, had nobody else taken any.
///
/// So whatever is taken and given back, what was kept of any window is what a bucket lets through. Reservations that were alive at some
/// instant have, counted this way, no more left together than the bucket then owed: each drains as fast as the bucket does.
pub fn undo(cell: &AtomicU64, rate: &Rate, units: u64, age: Nanos, now: Nanos) {
    give_back_cost(cell, rate.cost(units).saturating_sub(age.0.saturating_mul(TICKS)), now);
}

fn give_back_cost(cell: &AtomicU64, cost: u64, now: Nanos) {
    update(cell, |word| {
        let ahead = ahead(word, now);
        (ahead > 0).then(|| instant(now, ahead.saturating_sub(cost)))
    });
}

/// Whether a bucket equals one that was never used, whatever its rate.
#[must_use]
pub fn is_full(cell: &AtomicU64, now: Nanos) -> bool {
    ahead(cell.load(Relaxed), now) == 0
}

/// Units that fit at once now.
#[must_use]
pub fn remaining(cell: &AtomicU64, rate: &Rate, now: Nanos) -> u64 {
    let room = rate.burst.saturating_sub(ahead(cell.load(Relaxed), now));
    let period = u128::from(rate.whole) << FRACTION | u128::from(rate.part);
    let units = (u128::from(room) << FRACTION).checked_div(period).unwrap_or(u128::MAX);
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// Ticks that a bucket owes.
#[inline]
pub(super) fn debt(cell: &AtomicU64, now: Nanos) -> u64 {
    ahead(cell.load(Relaxed), now)
}

/// Takes what costs more than the burst, unless the bucket is in debt beyond it. What has flowed over since it was full pays for `cost`
/// down to an empty bucket, though of no more than `payable`. Whether any did.
///
/// # Errors
/// The nanoseconds after which it may be taken.
pub(super) fn take_whole(cell: &AtomicU64, rate: &Rate, cost: u64, payable: u64, now: Nanos) -> Result<bool, u64> {
    let mut word = cell.load(Relaxed);
    loop {
        admit(word, rate, 0, now)?;
        let (debt, idle) = balance_of(word, now);
        let paid = idle.min(payable.saturating_sub(rate.burst));
        match cell.compare_exchange_weak(word, instant(now, debt + cost - paid), Relaxed, Relaxed) {
            Ok(_) => return Ok(paid > 0),
            Err(seen) => word = seen,
        }
    }
}

/// Ticks that a bucket owes, and ticks for which it has been full. One of them is 0.
pub(super) fn balance(cell: &AtomicU64, now: Nanos) -> (u64, u64) {
    balance_of(cell.load(Relaxed), now)
}

fn balance_of(word: u64, now: Nanos) -> (u64, u64) {
    match word {
        0 => (0, LONGEST),
        word => match ahead(word, now) {
            0 => (0, now.0.wrapping_mul(TICKS).wrapping_sub(word)),
            debt => (debt, 0),
        },
    }
}

/// The word after taking what costs so much, or the nanoseconds to wait.
#[inline]
fn admit(word: u64, rate: &Rate, cost: u64, now: Nanos) -> Result<u64, u64> {
    let ahead = ahead(word, now);
    // What is larger than the burst waits for a full bucket.
    let over = (ahead + cost).saturating_sub(rate.burst.max(cost));
    if over == 0 { Ok(instant(now, ahead + cost)) } else { Err(over.div_ceil(TICKS)) }
}

/// Ticks from now until the bucket is full.
#[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "the sign of a wrapped difference")]
fn ahead(word: u64, now: Nanos) -> u64 {
    if word == 0 {
        return 0;
    }
    let difference = word.wrapping_sub(now.0.wrapping_mul(TICKS)) as i64;
    if difference > 0 { difference as u64 } else { 0 }
}

/// The word for a bucket that is full `ahead` ticks after now.
fn instant(now: Nanos, ahead: u64) -> u64 {
    now.0.wrapping_mul(TICKS).wrapping_add(ahead).max(1)
}

fn update(cell: &AtomicU64, change: impl Fn(u64) -> Option<u64>) {
    // `None` leaves the word as it is, which is a result and not a failure.
    let _unchanged = cell.fetch_update(Relaxed, Relaxed, change);
}

/// Seconds of a configuration as ticks; what is not a positive number counts as 0, more than a day as a day.
#[expect(clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "not negative; both fit 53 bits")]
fn seconds(value: f64) -> u64 {
    let clamped = if value > 0.0 { value.min(86_400.0) } else { 0.0 };
    (clamped * (NS_PER_S * TICKS) as f64) as u64
}

#[cfg(test)]
mod tests;
