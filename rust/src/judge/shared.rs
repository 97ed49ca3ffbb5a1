//! A pacer that several workers share: its state stands in words that all of them see.
//!
//! Each worker adds what its requests spent, and reads the price before it chooses. Whoever finds that time has gone by moves the price for all: the
//! swap of `ticked` lets one of them do so, the others read what is there. A worker that dies between that swap and its stores leaves the price
//! where it was; nothing waits for it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::Pacer;

/// Between two moves of the price of a budget per time.
const TICK_NS: u64 = 1_000_000_000;
const NS_PER_S: f64 = 1e9;
/// Where calls stand in the word of what was spent; below them their parts.
const CALLS: u32 = 32;
/// What is restored was never moved here: the smallest instant that is one.
const RESTORED: u64 = 1;

/// Words of one pacer: spent since the last move, the instant of that, windows of budget left, base of the price.
pub const WORDS: usize = 4;

/// What a budget is counted by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Units of money a second, made good over so many seconds.
    Money {
        /// Units a second.
        rate: f64,
        /// Seconds.
        window: f64,
    },
    /// Dear calls among all, made good over so many calls.
    Share {
        /// Of dear calls, above 0.
        part: f64,
        /// Calls.
        window: f64,
    },
}

/// How a pacer stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// What a unit of quality may cost.
    pub price: f64,
    /// Windows of budget that are left; negative: that were spent beyond it.
    pub windows: f64,
    /// Logarithm of the price at no credit.
    pub base: f64,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    words: &'a [AtomicU64; WORDS],
    budget: Budget,
}

impl<'a> Shared<'a> {
    /// The pacer of a budget in those words, which are all 0 at first.
    #[must_use]
    pub const fn new(words: &'a [AtomicU64; WORDS], budget: Budget) -> Self {
        Self { words, budget }
    }

    /// Adds what was spent: money, or one call that was a dear one or not (1 or 0).
    pub fn spend(&self, amount: u64) {
        let added = if matches!(self.budget, Budget::Money { .. }) { amount } else { 1 << CALLS | amount.min(1) };
        self.words[0].fetch_add(added, Relaxed);
    }

    /// Goes on from how a pacer stood before; without effect once there is a price.
    pub fn restore(&self, windows: f64, base: f64) {
        if windows.is_finite()
            && base.is_finite()
            && self.words[1].compare_exchange(0, RESTORED, AcqRel, Relaxed).is_ok()
        {
            self.store(windows, base);
        }
    }

    /// How it stands at `now_ns`; None before anything is known.
    #[must_use]
    pub fn standing(&self, now_ns: u64) -> Option<Standing> {
        let ticked = self.words[1].load(Acquire);
        let is_due = match self.budget {
            Budget::Money { .. } => ticked <= RESTORED || now_ns.saturating_sub(ticked) >= TICK_NS,
            Budget::Share { .. } => now_ns > ticked && self.words[0].load(Relaxed) > 0,
        };
        if is_due && self.words[1].compare_exchange(ticked, now_ns.max(RESTORED + 1), AcqRel, Relaxed).is_ok() {
            self.tick(if ticked <= RESTORED { now_ns } else { ticked }, now_ns);
        }
        (self.words[1].load(Acquire) > 0).then(|| self.read())
    }

    /// Moves the price by what was spent since `then`.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds, calls and money of a second")]
    fn tick(&self, then: u64, now_ns: u64) {
        let spent = self.words[0].swap(0, Relaxed);
        let (elapsed, spent) = match self.budget {
            Budget::Money { .. } => (now_ns.saturating_sub(then) as f64 / NS_PER_S, spent as f64),
            Budget::Share { .. } => ((spent >> CALLS) as f64, (spent & ((1 << CALLS) - 1)) as f64),
        };
        let mut pacer = self.pacer();
        pacer.tick(elapsed, spent);
        self.store(pacer.windows(), pacer.base());
    }

    fn pacer(&self) -> Pacer {
        let (Budget::Money { rate, window } | Budget::Share { part: rate, window }) = self.budget;
        Pacer::resumed(rate, window, self.float(2), self.float(3))
    }

    fn read(&self) -> Standing {
        let pacer = self.pacer();
        Standing { price: pacer.price(), windows: pacer.windows(), base: pacer.base() }
    }

    fn float(&self, at: usize) -> f64 {
        f64::from_bits(self.words[at].load(Relaxed))
    }

    fn store(&self, windows: f64, base: f64) {
        self.words[2].store(windows.to_bits(), Relaxed);
        self.words[3].store(base.to_bits(), Release);
    }
}

#[cfg(test)]
mod tests {
    use std::array;
    use std::sync::atomic::AtomicU64;

    use super::{Budget, Shared};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn two_workers_move_one_price() {
        let words = array::from_fn(|_| AtomicU64::new(0));
        let budget = Budget::Money { rate: 10.0, window: 60.0 };
        let (one, other) = (Shared::new(&words, budget), Shared::new(&words, budget));

        assert_eq!(one.standing(SECOND).map(|found| found.price), Some(1.0));
        one.spend(15);
        other.spend(15);
        assert_eq!(other.standing(SECOND + 1), one.standing(SECOND + 1), "not due yet");
        let found = other.standing(2 * SECOND).expect("it has begun");

        assert!((found.windows + 20.0 / 600.0).abs() < 1e-12, "30 spent where 10 were allowed: {found:?}");
        assert!(found.price > 1.0);
        assert_eq!(one.standing(2 * SECOND), Some(found), "told once");
    }

    #[test]
    fn it_goes_on_where_it_was_left_and_never_goes_back() {
        let words = array::from_fn(|_| AtomicU64::new(0));
        let pacer = Shared::new(&words, Budget::Money { rate: 10.0, window: 60.0 });

        pacer.restore(0.5, -1.0);
        pacer.restore(9.0, 9.0);
        let found = pacer.standing(7 * SECOND).expect("restored");

        assert_eq!((found.windows, found.base), (0.5, -1.0));
    }

    #[test]
    fn a_share_of_calls_moves_with_each_of_them() {
        let words = array::from_fn(|_| AtomicU64::new(0));
        let pacer = Shared::new(&words, Budget::Share { part: 0.25, window: 200.0 });

        assert_eq!(pacer.standing(5), None);
        for _ in 0..4 {
            pacer.spend(1);
        }
        let found = pacer.standing(6).expect("four calls");

        assert!((found.windows + 3.0 / 50.0).abs() < 1e-12, "{found:?}");
    }
}
