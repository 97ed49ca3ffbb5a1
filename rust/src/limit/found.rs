//! Capacity that is found by asking, where what is configured is not true, or nothing is.
//!
//! One word per endpoint, or per account: a share of the configured rates, a number of places, and when they were cut. The word 0 is "nothing
//! was found": then nothing is limited, so an endpoint that never refuses is never throttled.
//!
//! - A 429 cuts the rates to nine tenths, where rates are configured; else the places to nine tenths of what was in flight. Additive
//!   increase, multiplicative decrease (Chiu, Jain 1989), one cut for all attempts that began before it: they were let in by the old limit.
//!   Rates are cut twice a minute at most, since a provider that counts a minute goes on refusing until that is over, whatever we do.
//! - Growth is a function of the time since the cut, so nobody has to write it: rates by 1.5 % of the limit a minute, places by a tenth a
//!   minute and at least one. A cut costs a refused request or two, and with a tenth in six minutes less than one request in a hundred
//!   sees one, from two requests a second on.
//! - A time to first token that is four times the usual one, per token of work as well, and seconds long, cuts the places too: what
//!   waits inside an engine waits in no order and for no deadline. The bar is high on purpose: an engine that is merely full is healthy.
//!   Such places grow by a quarter in each second that it is as fast as usual: here a wrong guess costs no refused request, but a cut that
//!   stays costs many. (In simulation, the rush at the end of an outage cut all of 16 replicas, which then idled for minutes while a fifth
//!   of the load was turned away.)
//!
//! Bits: stamp 32 (of the cut, ms) | share 12 (of 4096; 0 for all) | slow 1 | places 19 (0 for no limit).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::inflight;
use crate::board::Columns;
use crate::units::Nanos;

/// What a share is counted in.
pub const WHOLE: u32 = 1 << 12;
/// Least share: what is refused at a sixteenth of its limits has another fault.
const LEAST_SHARE: u32 = WHOLE / 16;
/// Least share that is learned from requests larger than the burst: a provider whose burst is smaller than ours refuses them all.
const LEAST_LARGE: u32 = WHOLE / 4 * 3;
/// Growth of the share, in parts of `WHOLE` a minute.
const SHARE_PER_MIN: u64 = 61;
/// Least time between two cuts of rates.
const RATES_APART_MS: u32 = 30_000;
/// After so long without a cut a limit on places is forgotten.
const FORGOTTEN_MS: u32 = 30 * 60_000;
/// How far the clocks of two workers' readings may lie apart.
const TIE_MS: u32 = 10_000;
const MOST_PLACES: u32 = SLOW - 1;
/// The bit of places that were cut for slowness.
const SLOW: u32 = 1 << 19;

/// What to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The configured rates.
    Rates,
    /// The same, but what was refused is larger than the burst: maybe for that, whatever the rate.
    Large,
    /// The places, of which so many were taken, since one more was refused.
    Places(u64),
    /// The places, of which so many were taken, since all were slow.
    Slow(u64),
}

/// What is found of an endpoint or an account now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of the configured rates, in parts of [`WHOLE`]; `None` for all.
    pub share: Option<u32>,
    /// Requests at once; `None` for any number.
    pub places: Option<u32>,
}

/// Reads the word.
#[must_use]
pub fn read(word: u64, now: Nanos) -> Found {
    let (stamp, share, marked) = unpack(word);
    let (age, places) = (age_ms(stamp, now), marked & MOST_PLACES);
    let grown = share + (u64::from(age) * SHARE_PER_MIN / 60_000) as u32;
    let more = (u64::from(places) * u64::from(age) / 600_000).max(u64::from(age / 60_000)) as u32;
    Found {
        share: (share != 0 && grown < WHOLE).then_some(grown),
        places: (places != 0 && age < FORGOTTEN_MS).then(|| places.saturating_add(more).min(MOST_PLACES)),
    }
}

/// Cuts by a tenth, unless the attempt began before the last cut. True if it did.
pub fn cut(cell: &AtomicU64, what: Cut, began: Nanos, now: Nanos) -> bool {
    change(cell, now, |word, found| {
        let (stamp, ..) = unpack(word);
        // The wrapped difference is negative where it began before.
        let is_known = began.millis32().wrapping_sub(stamp) > u32::MAX / 2;
        let (is_rates, is_large) = (matches!(what, Cut::Rates | Cut::Large), what == Cut::Large);
        let is_soon = is_rates && found.share.is_some() && age_ms(stamp, now) < RATES_APART_MS;
        let is_low = is_large && found.share.is_some_and(|share| share <= LEAST_LARGE);
        if word != 0 && (is_known || is_soon || is_low) {
            return None;
        }
        let tenth_off = |of: u32| of - of.div_ceil(10);
        Some(match what {
            Cut::Rates | Cut::Large => {
                let least = if is_large { LEAST_LARGE } else { LEAST_SHARE };
                let share = tenth_off(found.share.unwrap_or(WHOLE)).max(least);
                pack(now, share, kept(word, found))
            }
            Cut::Places(taken) | Cut::Slow(taken) => {
                let taken = u32::try_from(taken).unwrap_or(u32::MAX).min(found.places.unwrap_or(MOST_PLACES));
                let mark = if matches!(what, Cut::Slow(_)) { SLOW } else { 0 };
                pack(now, found.share.unwrap_or(0), tenth_off(taken).max(1) | mark)
            }
        })
    })
}

/// It is as fast as usual: places that were cut for slowness grow by a quarter, and are forgotten where nobody comes near them.
pub fn lift(cell: &AtomicU64, taken: u64, now: Nanos) {
    change(cell, now, |word, found| {
        let places = found.places.filter(|_| unpack(word).2 & SLOW != 0)?;
        let places = places.saturating_add(places.div_ceil(4)).min(MOST_PLACES);
        let is_far = u64::from(places) > 4 * taken.max(16);
        Some(match (found.share, is_far) {
            (None, true) => 0,
            (share, is_far) => pack(now, share.unwrap_or(0), if is_far { 0 } else { places | SLOW }),
        })
    });
}

/// Takes a share over that the provider names, if it is less than what is thought now. True if it was.
pub fn lower(cell: &AtomicU64, share: u32, now: Nanos) -> bool {
    let share = share.max(LEAST_SHARE);
    change(cell, now, |word, found| (share < found.share.unwrap_or(WHOLE)).then(|| pack(now, share, kept(word, found))))
}

/// Whether one more request fits on the lines of an account.
#[must_use]
pub fn has_place<'a>(lines: impl Iterator<Item = &'a Columns>, workers: usize, places: Option<u32>) -> bool {
    places.is_none_or(|places| lines.map(|line| inflight::load(line, workers)).sum::<u64>() < u64::from(places))
}

/// The places as they are now, with their mark.
fn kept(word: u64, found: Found) -> u32 {
    found.places.map_or(0, |places| places | unpack(word).2 & SLOW)
}

fn change(cell: &AtomicU64, now: Nanos, next: impl Fn(u64, Found) -> Option<u64>) -> bool {
    cell.fetch_update(Relaxed, Relaxed, |word| next(word, read(word, now))).is_ok()
}

fn age_ms(stamp: u32, now: Nanos) -> u32 {
    let age = now.millis32().wrapping_sub(stamp);
    if age > u32::MAX - TIE_MS { 0 } else { age }
}

const fn pack(now: Nanos, share: u32, places: u32) -> u64 {
    (now.millis32() as u64) << 32 | (share as u64) << 20 | places as u64
}

const fn unpack(word: u64) -> (u32, u32, u32) {
    ((word >> 32) as u32, (word >> 20) as u32 & 0xFFF, word as u32 & (MOST_PLACES | SLOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Nanos {
        Nanos(s * 1_000_000_000)
    }

    fn shares(cell: &AtomicU64, instants: &[u64]) -> Vec<Option<u32>> {
        instants.iter().map(|s| read(cell.load(Relaxed), at(*s)).share).collect()
    }

    #[test]
    fn nothing_found_is_no_limit() {
        assert_eq!(read(0, at(5)), Found::default());
        assert!(has_place([Columns::default()].iter(), 16, None));
    }

    #[test]
    fn rates_are_cut_by_a_tenth_and_grow_back_with_time() {
        let cell = AtomicU64::new(0);
        assert!(cut(&cell, Cut::Rates, at(99), at(100)));
        assert_eq!(shares(&cell, &[100, 160, 220]), [Some(3_686), Some(3_747), Some(3_808)]);
        assert_eq!(shares(&cell, &[100 + 8 * 60]), [None]);
    }

    #[test]
    fn those_that_began_before_a_cut_do_not_cut_again() {
        let cell = AtomicU64::new(0);
        assert!(cut(&cell, Cut::Rates, at(99), at(100)));
        assert!(!cut(&cell, Cut::Rates, at(99), at(101)));
        assert!(!cut(&cell, Cut::Rates, at(101), at(129)));
        assert!(cut(&cell, Cut::Rates, at(101), at(130)));
        assert!(shares(&cell, &[130])[0].unwrap() < 3_400);
    }

    #[test]
    fn places_are_cut_to_what_was_taken_less_a_tenth_and_forgotten_in_the_end() {
        let cell = AtomicU64::new(0);
        let places = |s| read(cell.load(Relaxed), at(s)).places;
        assert!(cut(&cell, Cut::Places(50), at(99), at(100)));
        assert_eq!([100, 160, 700].map(places), [Some(45), Some(49), Some(90)]);
        assert!(cut(&cell, Cut::Places(500), at(700), at(701)));
        assert_eq!(places(701), Some(81));
        assert_eq!(places(701 + 1_800), None);
        assert!(cut(&cell, Cut::Places(1), at(5_000), at(5_000)));
        assert_eq!([5_000, 5_120].map(places), [Some(1), Some(3)]);
    }

    #[test]
    fn places_that_were_cut_for_slowness_grow_while_it_is_fast_and_are_forgotten() {
        let cell = AtomicU64::new(0);
        let places = |s| read(cell.load(Relaxed), at(s)).places;
        assert!(cut(&cell, Cut::Slow(20), at(99), at(100)));
        assert_eq!([100, 160].map(places), [Some(18), Some(19)]);
        lift(&cell, 18, at(101));
        assert_eq!(places(101), Some(23));
        (102..110).for_each(|s| lift(&cell, 18, at(s)));
        assert_eq!(cell.load(Relaxed), 0);
        assert!(cut(&cell, Cut::Places(20), at(201), at(202)));
        lift(&cell, 18, at(203));
        assert_eq!([202, 212].map(places), [Some(18), Some(18)]);
    }

    #[test]
    fn what_the_provider_names_is_taken_if_it_is_less() {
        let cell = AtomicU64::new(0);
        assert!(lower(&cell, WHOLE / 2, at(10)));
        assert!(!lower(&cell, WHOLE * 3 / 4, at(11)));
        assert!(!lower(&AtomicU64::new(0), WHOLE, at(11)));
        assert_eq!(shares(&cell, &[10]), [Some(WHOLE / 2)]);
    }

    #[test]
    fn it_is_right_across_the_wrap_of_milliseconds() {
        let cell = AtomicU64::new(0);
        let wrap = (1u64 << 32) / 1_000;
        assert!(cut(&cell, Cut::Places(100), at(wrap - 60), at(wrap - 30)));
        assert!(!cut(&cell, Cut::Places(100), at(wrap - 40), at(wrap + 10)));
        assert!(cut(&cell, Cut::Places(100), at(wrap + 20), at(wrap + 30)));
        assert_eq!(read(cell.load(Relaxed), at(wrap + 30)).places, Some(89));
    }
}
