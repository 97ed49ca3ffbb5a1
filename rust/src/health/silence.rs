//! A request that still waits says something too: whoever hangs must not look fast for as long as nothing ends.
//!
//! One word per endpoint holds the instant of the last *sign*: a first token, or the start of a request while nobody waited. As long as
//! somebody waits, the time since then is how long the endpoint has brought nothing forth. Once that exceeds the learned time to first
//! token, it counts instead. One that merely has nothing to do, or only streams under way, is not silent.
//!
//! Cost: two words that are read anyway, and one more line for endpoints that were quiet for longer than they are slow.

use crate::units::{NS_PER_S, Nanos};

/// What counts as learned where nothing is, ns.
const UNKNOWN: u64 = NS_PER_S;

/// Seconds since the last sign, if they exceed `learned_s`; `waiting` is asked only then.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a duration in seconds has no use for its last bits")]
pub fn silent_s(sign: u64, learned_s: Option<f32>, waiting: impl FnOnce() -> bool, now: Nanos) -> Option<f32> {
    let silent = now.since(Nanos(sign)).0;
    let silent_s = silent as f32 / NS_PER_S as f32;
    let is_long = learned_s.map_or(silent > UNKNOWN, |learned_s| silent_s > learned_s);
    (is_long && waiting()).then_some(silent_s)
}

/// Whether nothing was heard of it for a second, so that what is known of it grows old.
#[must_use]
pub const fn is_stale(sign: u64, now: Nanos) -> bool {
    now.since(Nanos(sign)).0 >= NS_PER_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_once_it_is_longer_than_what_was_learned_and_only_if_somebody_waits() {
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let began = at(5_000).0;
        assert_eq!(silent_s(began, Some(0.5), || true, at(5_400)), None);
        assert_eq!(silent_s(began, Some(0.5), || true, at(7_000)), Some(2.0));
        assert_eq!(silent_s(began, Some(0.5), || false, at(7_000)), None);
        assert_eq!(silent_s(began, None, || true, at(5_900)), None);
        assert_eq!(silent_s(began, None, || true, at(6_500)), Some(1.5));
        assert!(!is_stale(began, at(5_999)) && is_stale(began, at(6_000)));
    }
}
