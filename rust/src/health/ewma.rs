//! Moving averages by time, each in one word: an f32 value and the u32 millisecond of its last change.
//!
//! The weight of a sample is `1 - e^(-dt/tau)`, so the average does not depend on how often samples come. *Peak* mode (Finagle's
//! peak-EWMA) takes a sample above the average as the average: an endpoint that slows is noticed at once and forgiven with time.
//! Value and stamp change together by compare-and-swap; two atomics would tear.
//!
//! Several samples in one millisecond: only one that raises a peak counts, the others have weight zero. No sample makes the value
//! NaN, infinite or negative. Milliseconds wrap after 49.7 days and are compared by their wrapped difference: up to [`TIE_MS`] back
//! is another process's clock reading a moment ago, anything beyond is a very old stamp.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::units::Nanos;

/// What is averaged how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// How a sample above the average counts.
    pub mode: Mode,
    /// Time constant.
    pub tau_s: f32,
}

/// Of the time to first token. linkerd's time constant.
pub const LATENCY: Average = Average { mode: Mode::Peak, tau_s: 10.0 };
/// Of the time per token of work. An endpoint that is asked once in two seconds has forgotten 95 % of it after six: a slow one is found,
/// and a healed one is back, within ten.
pub const PACE: Average = Average { mode: Mode::Mean, tau_s: 2.0 };
/// Of what both are in the long run: slower than any spell of trouble that should be noticed.
pub const USUAL: Average = Average { mode: Mode::Mean, tau_s: 300.0 };
/// Least value: keeps the word different from 0, which means "no sample yet".
const LEAST: f32 = 1e-9;
/// Largest value, a day.
const MOST: f32 = 86_400.0;
/// How far the clocks of two workers' readings may lie apart.
const TIE_MS: u32 = 10_000;

/// How a sample above the average counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As any other.
    Mean,
    /// It becomes the average.
    Peak,
}

/// The value as it was last changed; `None` before the first sample.
#[must_use]
pub fn value(word: u64) -> Option<f32> {
    (word != 0).then(|| unpack(word).0)
}

/// The value let down by `e^(-age/tau)`: an endpoint that nobody asked for a while is forgiven, and tried again.
#[must_use]
pub fn faded(word: u64, average: Average, now: Nanos) -> Option<f32> {
    let (value, stamp) = (word != 0).then(|| unpack(word))?;
    Some((value * (-elapsed_s(stamp, now) / average.tau_s).exp()).max(LEAST))
}

/// The value, unless its last sample is older than `most_s`.
#[must_use]
pub fn fresh(word: u64, most_s: f32, now: Nanos) -> Option<f32> {
    let (value, stamp) = (word != 0).then(|| unpack(word))?;
    (elapsed_s(stamp, now) <= most_s).then_some(value)
}

/// Whether its last sample is a second old, or there was none: what is averaged over minutes need not be written more often.
#[must_use]
pub fn is_due(word: u64, now: Nanos) -> bool {
    word == 0 || elapsed_s(unpack(word).1, now) >= 1.0
}

/// Takes a sample into account. One that is not a positive number is ignored.
pub fn observe(cell: &AtomicU64, sample: f32, average: Average, now: Nanos) {
    if !sample.is_finite() || sample <= 0.0 {
        return;
    }
    let sample = sample.clamp(LEAST, MOST);
    // `None` means that nothing changes, which is not a failure.
    let _unchanged = cell.fetch_update(Relaxed, Relaxed, |word| merge(word, sample, average, now));
}

/// Records a failure: at least `penalty`, never less than what is known, since a fast failure is not a fast answer.
pub fn penalize(cell: &AtomicU64, penalty: f32, average: Average, now: Nanos) {
    let current = value(cell.load(Relaxed)).unwrap_or(0.0);
    observe(cell, penalty.max(current), average, now);
}

fn merge(word: u64, sample: f32, average: Average, now: Nanos) -> Option<u64> {
    if word == 0 {
        return Some(pack(sample, now.millis32()));
    }
    let (value, stamp) = unpack(word);
    if average.mode == Mode::Peak && sample > value {
        return Some(pack(sample, now.millis32()));
    }
    let dt = elapsed_s(stamp, now);
    if dt <= 0.0 {
        return None;
    }
    let keep = (-dt / average.tau_s).exp();
    Some(pack((value * keep + sample * (1.0 - keep)).clamp(LEAST, MOST), now.millis32()))
}

/// Seconds since `stamp`: 0 for a stamp a moment ahead, see the module.
#[expect(clippy::cast_precision_loss, reason = "a difference this long has no use for its last bits")]
fn elapsed_s(stamp: u32, now: Nanos) -> f32 {
    let ms = now.millis32().wrapping_sub(stamp);
    if ms > u32::MAX - TIE_MS { 0.0 } else { ms as f32 / 1e3 }
}

const fn pack(value: f32, stamp: u32) -> u64 {
    (value.to_bits() as u64) << 32 | stamp as u64
}

#[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
const fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOW: Average = Average { mode: Mode::Mean, tau_s: 10.0 };

    const fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn read(cell: &AtomicU64) -> f32 {
        value(cell.load(Relaxed)).unwrap()
    }

    #[test]
    fn the_first_sample_is_the_average() {
        let cell = AtomicU64::new(0);
        assert_eq!(value(0), None);
        observe(&cell, 0.25, SLOW, at(5));
        assert!((read(&cell) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_step_is_followed_by_63_percent_after_one_time_constant() {
        let cell = AtomicU64::new(0);
        observe(&cell, 1.0, SLOW, at(0));
        for ms in 1..=10_000 {
            observe(&cell, 2.0, SLOW, at(ms));
        }
        assert!((read(&cell) - (2.0 - (-1.0f32).exp())).abs() < 1e-3, "{}", read(&cell));
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgiven_with_time() {
        let cell = AtomicU64::new(0);
        observe(&cell, 0.1, LATENCY, at(1));
        observe(&cell, 3.0, LATENCY, at(1));
        assert!((read(&cell) - 3.0).abs() < 1e-6);
        let faded = faded(cell.load(Relaxed), LATENCY, at(10_001)).unwrap();
        assert!((faded - 3.0 * (-1.0f32).exp()).abs() < 1e-3);
    }

    #[test]
    fn a_fast_failure_is_not_a_fast_answer() {
        let cell = AtomicU64::new(0);
        observe(&cell, 9.0, LATENCY, at(1));
        penalize(&cell, 5.0, LATENCY, at(5_000));
        assert!(read(&cell) >= 8.99);
    }

    #[test]
    fn ages_are_right_across_the_wrap_of_milliseconds() {
        let cell = AtomicU64::new(0);
        let wrap = 1u64 << 32;
        observe(&cell, 1.0, SLOW, at(wrap - 5_000));
        let faded = faded(cell.load(Relaxed), LATENCY, at(wrap + 5_000)).unwrap();
        assert!((faded - (-1.0f32).exp()).abs() < 1e-3);
        observe(&cell, 2.0, SLOW, at(wrap + 5_000));
        assert!((read(&cell) - (2.0 - (-1.0f32).exp())).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn no_sample_poisons_the_average(samples in prop::collection::vec((any::<f32>(), any::<u32>(), any::<bool>()), 1..50)) {
            let cell = AtomicU64::new(0);
            for (sample, ms, peak) in samples {
                let average = if peak { LATENCY } else { SLOW };
                observe(&cell, sample, average, at(u64::from(ms)));
                penalize(&cell, sample, average, at(u64::from(ms)));
                let word = cell.load(Relaxed);
                prop_assert!(value(word).is_none_or(|v| v > 0.0 && v <= MOST));
                prop_assert!(faded(word, LATENCY, at(77)).is_none_or(|v| v > 0.0 && v <= MOST));
            }
        }

        #[test]
        fn a_peak_is_never_below_its_last_sample(samples in prop::collection::vec((1e-6f32..100.0, 0u64..5_000), 1..50)) {
            let (cell, mut ms) = (AtomicU64::new(0), 0);
            for (sample, step) in samples {
                ms += step;
                observe(&cell, sample, LATENCY, at(ms));
                prop_assert!(read(&cell) >= sample * 0.9999);
            }
        }
    }
}
