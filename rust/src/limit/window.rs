//! What was taken in the last minute, for requests larger than a bucket's burst.
//!
//! A bucket keeps any 60 s within its limit as long as no request costs more than its burst. A larger one comes on top of a minute that may have
//! been full: a provider that counts the last 60 s refuses it, and rightly so. So such a request passes only if the last minute has room for it.
//! What was taken is counted in slots of half a second, and a slot counts until the whole of it is a minute old: never less than the
//! truth, and at most half a second's worth more.
//!
//! While a large request waits for room its bucket is full and would lose what flows over, and lose as much again when that request then leaves
//! it in debt. So what flowed over pays for it, down to an empty bucket. For a minute after that the bucket alone proves nothing, and small
//! requests need room in the last minute too.
//!
//! Nothing is counted until a bucket meets its first large request: who never sends one pays for a load. What was taken before is then known
//! from the bucket: all that it lets through, less the time for which it has been full. Two workers may be wrong by what the other takes in
//! between: some nanoseconds of demand.
//!
//! A slot's bits: round of the ring 16 | taken 48, ns of the bucket. The word: 0 not counted yet; 1 counted; else when something that flowed over was used.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::gcra::{self, Rate, TICKS};
use crate::board::{MinuteRow, Words};
use crate::units::{NS_PER_S, Nanos};

const MINUTE: u64 = 60 * NS_PER_S;
/// Slots of the ring: those of a minute, and the present one.
const SLOTS: u64 = 128;
/// Length of a slot, ns.
const SLOT: u64 = MINUTE.div_ceil(SLOTS - 1);
const TAKEN_BITS: u32 = 48;
const MOST_TAKEN: u64 = (1 << TAKEN_BITS) - 1;
const COUNTED: u64 = 1;

/// The count of one kind of tokens at one endpoint.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    minute: MinuteRow<'a>,
    kind: usize,
}

impl<'a> Window<'a> {
    /// That of a kind of [`super::KINDS`], but not of requests.
    #[must_use]
    #[inline]
    pub const fn new(minute: MinuteRow<'a>, kind: usize) -> Self {
        Self { minute, kind }
    }

    #[inline]
    fn word(self) -> &'a AtomicU64 {
        &self.minute.words()[self.kind & 7]
    }

    #[inline]
    fn is_counted(self) -> bool {
        self.word().load(Relaxed) != 0
    }

    /// Whether the bucket was given what had flowed over in the last minute.
    fn is_lenient(self, now: Nanos) -> bool {
        let word = self.word().load(Relaxed);
        word > COUNTED && now.since(Nanos(word)).0 <= MINUTE + SLOT
    }

    fn ring(self) -> Words<'a> {
        self.minute.ring(self.kind)
    }

    /// Begins to count.
    fn begin(self, bucket: &AtomicU64, now: Nanos) {
        if self.word().compare_exchange(0, COUNTED, Relaxed, Relaxed).is_err() {
            return;
        }
        let (debt, idle) = gcra::balance(bucket, now);
        // It has been full since then, and nothing was taken.
        let until = now.0.saturating_sub(idle / TICKS);
        let present = now.0 / SLOT;
        for slot in present.saturating_sub(SLOTS - 1)..=present {
            let (from, to) = (slot * SLOT, ((slot + 1) * SLOT).min(now.0).min(until));
            self.add(slot, to.saturating_sub(from));
        }
        self.add(present, debt.div_ceil(TICKS));
    }

    fn add(self, slot: u64, taken: u64) {
        self.change(slot, |before| before.saturating_add(taken).min(MOST_TAKEN));
    }

    /// Changes a slot, which counts from 0 in each round of the ring.
    fn change(self, slot: u64, next: impl Fn(u64) -> u64) {
        let round = round(slot);
        let step = |word: u64| {
            Some(round << TAKEN_BITS | next(if word >> TAKEN_BITS == round { word & MOST_TAKEN } else { 0 }))
        };
        let _always = self.ring().at((slot % SLOTS) as usize).fetch_update(Relaxed, Relaxed, step);
    }

    fn taken(self, slot: u64) -> u64 {
        let word = self.ring().at((slot % SLOTS) as usize).load(Relaxed);
        if word >> TAKEN_BITS == round(slot) { word & MOST_TAKEN } else { 0 }
    }

    /// Nanoseconds until `cost` fits into the last minute, if nobody else takes any.
    fn wait(self, rate: &Rate, cost: u64, now: Nanos) -> u64 {
        let present = now.0 / SLOT;
        let slots = present.saturating_sub(SLOTS - 1)..=present;
        // More than a minute's worth passes alone.
        let room = (rate.allowance() / TICKS).saturating_sub(cost.div_ceil(TICKS).min(MINUTE));
        let mut used = slots.clone().fold(0u64, |sum, slot| sum.saturating_add(self.taken(slot)));
        if used <= room {
            return 0;
        }
        let last = slots.into_iter().find(|slot| {
            used -= self.taken(*slot).min(used);
            used <= room
        });
        (last.unwrap_or(present) + SLOTS) * SLOT - now.0
    }
}

/// Takes `units` from a bucket, as [`gcra::take`], within the last minute.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any. Nothing was taken.
#[inline]
pub fn take(bucket: &AtomicU64, window: Window<'_>, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    let cost = rate.cost(units);
    if !window.is_counted() && cost <= rate.burst() {
        return gcra::take_cost(bucket, rate, cost, now);
    }
    take_counted(bucket, window, rate, cost, now)
}

#[cold]
fn take_counted(bucket: &AtomicU64, window: Window<'_>, rate: &Rate, cost: u64, now: Nanos) -> Result<(), u64> {
    window.begin(bucket, now);
    look(bucket, window, rate, cost, now)?;
    if cost > rate.burst() {
        // What is more than a minute's worth pays for itself.
        let payable = if cost > MINUTE * TICKS { 0 } else { cost };
        if gcra::take_whole(bucket, rate, cost, payable, now)? {
            window.word().store(now.0, Relaxed);
        }
    } else {
        gcra::take_cost(bucket, rate, cost, now)?;
    }
    window.add(now.0 / SLOT, cost.div_ceil(TICKS));
    Ok(())
}

/// Whether `units` would fit now.
///
/// # Errors
/// The nanoseconds after which they fit, if nobody else takes any.
pub fn peek(bucket: &AtomicU64, window: Window<'_>, rate: &Rate, units: u64, now: Nanos) -> Result<(), u64> {
    let cost = rate.cost(units);
    if cost > rate.burst() {
        window.begin(bucket, now);
    }
    look(bucket, window, rate, cost, now)
}

fn look(bucket: &AtomicU64, window: Window<'_>, rate: &Rate, cost: u64, now: Nanos) -> Result<(), u64> {
    let is_large = cost > rate.burst();
    // A large one may find the bucket empty, but not in debt.
    let full = gcra::peek_cost(bucket, rate, if is_large { 0 } else { cost }, now).err().unwrap_or(0);
    let room = if is_large || window.is_lenient(now) { window.wait(rate, cost, now) } else { 0 };
    match full.max(room) {
        0 => Ok(()),
        wait => Err(wait),
    }
}

/// Counts units that are charged to the bucket by [`gcra::charge`].
pub fn charge(window: Window<'_>, rate: &Rate, units: u64, now: Nanos) {
    if window.is_counted() {
        window.add(now.0 / SLOT, rate.cost(units).div_ceil(TICKS));
    }
}

/// Does not count units any more that were taken at `reserved`.
pub fn give_back(window: Window<'_>, rate: &Rate, units: u64, reserved: Nanos, now: Nanos) {
    let slot = reserved.0 / SLOT;
    if window.is_counted() && (now.0 / SLOT).saturating_sub(slot) < SLOTS {
        let given = rate.cost(units) / TICKS;
        window.change(slot, |before| before.saturating_sub(given));
    }
}

/// Gives units back that were taken at `reserved` and never used, as [`gcra::undo`].
pub fn undo(bucket: &AtomicU64, window: Window<'_>, rate: &Rate, units: u64, reserved: Nanos, now: Nanos) {
    give_back(window, rate, units, reserved, now);
    // Of a large one that was paid by what had flowed over, the bucket is given more than it lent.
    if rate.cost(units) > rate.burst() && window.is_lenient(reserved) {
        window.word().store(now.0, Relaxed);
    }
    gcra::undo(bucket, rate, units, now.since(reserved), now);
}

/// The round of the ring that a slot belongs to, as far as it is kept: 45 days.
const fn round(slot: u64) -> u64 {
    (slot / SLOTS) & 0xFFFF
}

#[cfg(test)]
mod tests;
