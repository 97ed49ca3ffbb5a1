//! What was taken in the last minute, for requests larger than a bucket's burst.
//!
//! A bucket keeps any 60 s within its limit as long as no request costs more than its burst. A larger one that passes on a full bucket comes
//! on top of a minute that may have been full: a provider that counts the last 60 s refuses it, and rightly so. So such a request passes only
//! if the last minute has room for it, debt of the bucket included. What was taken is counted by the minute of the clock, the present one and
//! the one before; of that one no more counts than a bucket can have let through in the part of it that is less than 60 s ago. That
//! is never less than the truth, and near it both where the bucket is saturated and where it is not.
//!
//! One word a bucket, 0 until it first meets a large request: who never sends one pays for a load. That first one knows of the past only what
//! the bucket tells: full since when. Two workers may be wrong by what the other takes in between: some nanoseconds of demand.
//!
//! Bits: minute 16 | taken in the minute before 24 | taken in this one 24, in parts of the burst and a minute that just fit.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::gcra::{self, Rate, TICKS};
use crate::units::{NS_PER_S, Nanos};

const MINUTE: u64 = 60 * NS_PER_S;
/// Ticks of a minute.
const WIDTH: u64 = MINUTE * TICKS;
const COUNT: u64 = (1 << 24) - 1;

/// The word, read at an instant: what follows is in ticks, rounded against whoever wants more.
#[derive(Clone, Copy)]
struct Window {
    minute: u64,
    before: u64,
    taken: u64,
}

impl Window {
    /// Reads the word as it is now, whenever it was written. `bucket` is the bucket before anything is taken.
    fn read(word: u64, bucket: &AtomicU64, rate: &Rate, now: Nanos) -> Self {
        let (minute, shift) = ((now.0 / MINUTE) & 0xFFFF, shift(rate));
        let past = Self { minute: word >> 48, before: (word >> 24 & COUNT) << shift, taken: (word & COUNT) << shift };
        let (debt, idle) = gcra::balance(bucket, now);
        if word == 0 {
            // All that a bucket lets through in a minute, less the time for which it has been full.
            let most = (WIDTH + debt).saturating_sub(idle);
            let taken = most.min(since(now));
            return Self { minute, before: most - taken, taken };
        }
        if past.minute == minute {
            return past;
        }
        let before = if past.minute == minute.wrapping_sub(1) & 0xFFFF { past.taken } else { 0 };
        // What it owed beyond its burst when the minute began counts as taken now: the end of the minute before held so much more.
        let owed = (debt + since(now)).saturating_sub(idle);
        Self { minute, before, taken: owed.saturating_sub(rate.burst()) }
    }

    fn word(self, rate: &Rate) -> u64 {
        let shift = shift(rate);
        let part = |ticks: u64| ticks.div_ceil(1 << shift).min(COUNT);
        // Never 0, which is "not counted yet".
        self.minute << 48 | part(self.before) << 24 | part(self.taken).max(1)
    }

    /// Most that was taken in the 60 s up to an instant of the present minute, if nothing is taken until then.
    fn used(self, rate: &Rate, since: u64) -> u64 {
        self.taken + self.before.min(rate.allowance().saturating_sub(since))
    }

    /// Ticks until `cost` fits.
    fn wait(self, rate: &Rate, cost: u64, now: Nanos) -> u64 {
        let (room, since) = (rate.allowance(), since(now));
        // More than a minute's worth passes alone.
        let cost = cost.min(WIDTH);
        if self.used(rate, since) + cost <= room {
            return 0;
        }
        // The minute before goes by as the present one does; then the present one is the one before.
        let later = self.taken + cost;
        if later < WIDTH {
            return later - since;
        }
        WIDTH - since + if later <= room { 0 } else { cost }
    }
}

/// Takes `units` from a bucket, as [`gcra::take`], within the last minute.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any. Nothing was taken.
#[inline]
pub fn take(bucket: &AtomicU64, word: &AtomicU64, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    let cost = rate.cost(units);
    if word.load(Relaxed) == 0 && cost <= rate.burst() {
        return gcra::take_cost(bucket, rate, cost, now);
    }
    take_counted(bucket, word, rate, cost, now)
}

#[cold]
fn take_counted(bucket: &AtomicU64, word: &AtomicU64, rate: &Rate, cost: u64, now: Nanos) -> Result<(), u64> {
    let window = Window::read(word.load(Relaxed), bucket, rate, now);
    if cost > rate.burst() {
        let wait = window.wait(rate, cost, now);
        if wait > 0 {
            return Err(wait.div_ceil(TICKS).max(gcra::peek_cost(bucket, rate, cost, now).err().unwrap_or(0)));
        }
    }
    let before = bucket.load(Relaxed);
    gcra::take_cost(bucket, rate, cost, now)?;
    change(word, &AtomicU64::new(before), rate, now, |window| Window { taken: window.taken + cost, ..window });
    Ok(())
}

/// Whether `units` would fit now.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any.
pub fn peek(bucket: &AtomicU64, word: &AtomicU64, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    let cost = rate.cost(units);
    let full = gcra::peek_cost(bucket, rate, cost, now);
    if cost <= rate.burst() {
        return full;
    }
    let window = Window::read(word.load(Relaxed), bucket, rate, now);
    match window.wait(rate, cost, now).div_ceil(TICKS).max(full.err().unwrap_or(0)) {
        0 => Ok(()),
        wait => Err(wait),
    }
}

/// Counts units that are charged to the bucket by [`gcra::charge`].
pub fn charge(bucket: &AtomicU64, word: &AtomicU64, rate: &Rate, units: u64, now: Nanos) {
    if word.load(Relaxed) != 0 {
        change(word, bucket, rate, now, |window| Window { taken: window.taken + rate.cost(units), ..window });
    }
}

/// Does not count units any more that were taken at `reserved`.
pub fn give_back(bucket: &AtomicU64, word: &AtomicU64, rate: &Rate, units: u64, reserved: Nanos, now: Nanos) {
    if word.load(Relaxed) == 0 {
        return;
    }
    let (cost, age) = (rate.cost(units), now.0 / MINUTE - (reserved.0 / MINUTE).min(now.0 / MINUTE));
    change(word, bucket, rate, now, |window| match age {
        0 => Window { taken: window.taken.saturating_sub(cost), ..window },
        1 => Window { before: window.before.saturating_sub(cost), ..window },
        _ => window,
    });
}

fn change(word: &AtomicU64, bucket: &AtomicU64, rate: &Rate, now: Nanos, next: impl Fn(Window) -> Window) {
    let step = |seen| Some(next(Window::read(seen, bucket, rate, now)).word(rate));
    let _always = word.fetch_update(Relaxed, Relaxed, step);
}

/// Ticks since the minute began.
const fn since(now: Nanos) -> u64 {
    now.0 % MINUTE * TICKS
}

/// Bits of a tick count that a count of 24 bits leaves out.
const fn shift(rate: &Rate) -> u32 {
    (64 - rate.allowance().leading_zeros()).saturating_sub(23)
}

#[cfg(test)]
mod tests;
