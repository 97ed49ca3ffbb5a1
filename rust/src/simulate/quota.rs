//! What a hosted provider enforces, in the three ways seen in the wild; the same three as `dispatch mock` plays.
//!
//! - `bucket`: refills evenly, holds `burst_s` seconds' worth;
//! - `sliding_60s`: what was admitted in any trailing 60 s counts;
//! - `per_second`: the minute's limit cut into seconds of the clock, each on its own.

use std::collections::VecDeque;

use super::scenario::{Enforce, Quota as Spec};
use crate::units::{NS_PER_S, Nanos};

const MINUTE: u64 = 60 * NS_PER_S;

/// One counter.
#[derive(Clone, Debug)]
enum Meter {
    Bucket { per_s: f64, size: f64, level: f64, at: Nanos },
    Sliding { limit: u64, used: u64, events: VecDeque<(Nanos, u64)> },
    PerSecond { share: u64, second: u64, used: u64 },
}

#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "tokens and spans, not negative")]
impl Meter {
    fn new(limit: u64, spec: &Spec) -> Self {
        match spec.enforce {
            Enforce::Bucket => {
                let per_s = limit as f64 / 60.0;
                let size = (per_s * spec.burst_s).max(1.0);
                Self::Bucket { per_s, size, level: size, at: Nanos(0) }
            }
            Enforce::Sliding => Self::Sliding { limit, used: 0, events: VecDeque::new() },
            Enforce::PerSecond => Self::PerSecond { share: (limit / 60).max(1), second: 0, used: 0 },
        }
    }

    /// Nanoseconds until `cost` fits: 0 for now. What never fits waits a minute.
    fn wait(&mut self, cost: u64, now: Nanos) -> u64 {
        match self {
            Self::Bucket { per_s, size, level, at } => {
                *level = size.min(*level + now.since(*at).0 as f64 / NS_PER_S as f64 * *per_s);
                *at = now;
                let missing = cost as f64 - *level;
                // The level is a sum of many small parts: a thousandth of a unit is nothing.
                if missing <= 1e-3 { 0 } else { (missing / *per_s * NS_PER_S as f64).ceil().max(1.0) as u64 }
            }
            Self::Sliding { limit, used, events } => {
                while events.front().is_some_and(|(then, _)| now.since(*then).0 >= MINUTE) {
                    *used -= events.pop_front().map_or(0, |(_, past)| past);
                }
                let mut free = limit.saturating_sub(*used);
                let mut leaving = events.iter();
                let mut wait = 0;
                while free < cost {
                    let Some((then, past)) = leaving.next() else { return MINUTE };
                    free += past;
                    wait = then.plus(Nanos(MINUTE)).since(now).0;
                }
                wait
            }
            Self::PerSecond { share, second, used } => {
                let current = now.0 / NS_PER_S;
                if current != *second {
                    (*second, *used) = (current, 0);
                }
                if *used + cost <= *share || *used == 0 { 0 } else { (current + 1) * NS_PER_S - now.0 }
            }
        }
    }

    fn take(&mut self, cost: u64, now: Nanos) {
        match self {
            Self::Bucket { level, .. } => *level -= cost as f64,
            Self::Sliding { used, events, .. } => {
                *used += cost;
                events.push_back((now, cost));
            }
            Self::PerSecond { used, .. } => *used += cost,
        }
    }
}

/// The counters of one account.
pub(super) struct Quota {
    requests: Option<Meter>,
    tokens: Option<Meter>,
}

impl Quota {
    pub(super) fn new(spec: &Spec) -> Self {
        let meter = |limit| (limit > 0).then(|| Meter::new(limit, spec));
        Self { requests: meter(spec.requests_per_min), tokens: meter(spec.tokens_per_min) }
    }

    /// Takes one request of `tokens`.
    ///
    /// # Errors
    /// The nanoseconds after which it would be taken. Nothing was.
    pub(super) fn admit(&mut self, tokens: u64, now: Nanos) -> Result<(), u64> {
        match self.wait(tokens, now) {
            0 => {}
            wait => return Err(wait),
        }
        for (meter, cost) in [(&mut self.requests, 1), (&mut self.tokens, tokens)] {
            if let Some(meter) = meter {
                meter.take(cost, now);
            }
        }
        Ok(())
    }

    /// Nanoseconds until one request of `tokens` is taken: 0 for now.
    pub(super) fn wait(&mut self, tokens: u64, now: Nanos) -> u64 {
        let meters = [(&mut self.requests, 1), (&mut self.tokens, tokens)];
        meters.into_iter().filter_map(|(meter, cost)| Some(meter.as_mut()?.wait(cost, now))).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(enforce: Enforce, burst_s: f64) -> Quota {
        Quota::new(&Spec { requests_per_min: 0, tokens_per_min: 6_000, enforce, burst_s })
    }

    const fn at(ms: u64) -> Nanos {
        Nanos(1_000 * NS_PER_S + ms * 1_000_000)
    }

    #[test]
    fn a_bucket_refills_evenly() {
        let mut quota = quota(Enforce::Bucket, 1.0);
        assert_eq!(quota.admit(100, at(0)), Ok(()));
        assert_eq!(quota.admit(50, at(0)), Err(500_000_000));
        assert_eq!(quota.admit(50, at(500)), Ok(()));
    }

    #[test]
    fn a_window_slides() {
        let mut quota = quota(Enforce::Sliding, 1.0);
        assert_eq!(quota.admit(4_000, at(0)), Ok(()));
        assert_eq!(quota.admit(2_000, at(1_000)), Ok(()));
        assert_eq!(quota.admit(4_100, at(2_000)), Err(59 * NS_PER_S));
        assert_eq!(quota.admit(4_000, at(60_000)), Ok(()));
    }

    #[test]
    fn a_second_has_its_sixtieth_and_one_large_request_passes_alone() {
        let mut quota = quota(Enforce::PerSecond, 1.0);
        assert_eq!(quota.admit(500, at(0)), Ok(()));
        assert_eq!(quota.admit(1, at(250)), Err(750_000_000));
        assert_eq!(quota.admit(100, at(1_000)), Ok(()));
    }
}
