//! Laws of the bucket, against an oracle in exact fractions.

use std::sync::atomic::AtomicU64;
use std::thread;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60 * NS_PER_S;
const START: u64 = 1 << 50;

/// A bucket in exact fractions: instants and costs in ticks, times the limit.
struct Oracle {
    limit: i128,
    burst: i128,
    minute: i128,
    full_at: i128,
    admitted: i128,
}

impl Oracle {
    fn new(limit: u64, burst_s: f64) -> Self {
        let burst = i128::from(seconds(burst_s));
        let minute = i128::from(MINUTE * TICKS) + burst;
        Self { limit: limit.into(), burst, minute, full_at: 0, admitted: 0 }
    }

    /// How far `units` would be over the burst, in ticks times the limit; not above 0: they fit.
    fn over(&self, units: u64, now: u64) -> i128 {
        let now = i128::from(now) * i128::from(TICKS) * self.limit;
        let cost = i128::from(units) * self.minute;
        (self.full_at - now).max(0) + cost - (self.burst * self.limit).max(cost)
    }

    fn take(&mut self, units: u64, now: u64) {
        let now = i128::from(now) * i128::from(TICKS) * self.limit;
        self.full_at = self.full_at.max(now) + i128::from(units) * self.minute;
        self.admitted += 1;
    }
}

/// Steps in ns, and units.
fn traces() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let step = prop_oneof![Just(0), 0..1_000u64, 0..10_000_000u64, 0..2 * NS_PER_S];
    prop::collection::vec((step, prop_oneof![Just(1u64), 1..50u64, 1..5_000u64]), 1..400)
}

proptest! {
    #[test]
    fn nothing_passes_that_the_oracle_refuses_and_hardly_anything_less(
        limit in prop_oneof![1..100u64, 1..1_000_000u64, 1..200_000_000_000u64],
        burst_s in 0.1f64..60.0,
        trace in traces(),
    ) {
        let (rate, cell, mut oracle) = (Rate::per_minute(limit, burst_s), AtomicU64::new(0), Oracle::new(limit, burst_s));
        let mut now = START;
        for (step, units) in trace {
            now += step;
            let over = oracle.over(units, now);
            if take(&cell, &rate, units, Nanos(now)).is_ok() {
                prop_assert!(over <= 0);
                oracle.take(units, now);
            } else {
                // Each request is rounded up by less than two ticks.
                prop_assert!(over + 2 * (oracle.admitted + 1) * oracle.limit > 0);
            }
        }
    }

    #[test]
    fn no_minute_exceeds_the_limit(limit in 100..100_000u64, burst_s in 0.5f64..10.0, trace in traces()) {
        let (rate, cell) = (Rate::per_minute(limit, burst_s), AtomicU64::new(0));
        let capacity = remaining(&cell, &rate, Nanos(START));
        let (mut now, mut taken) = (START, Vec::new());
        for (step, units) in trace {
            now += step;
            let units = units.min(capacity);
            if units > 0 && take(&cell, &rate, units, Nanos(now)).is_ok() {
                taken.push((now, units));
            }
        }
        for (first, _) in &taken {
            let minute: u64 = taken.iter().filter(|(at, _)| (*first..*first + MINUTE).contains(at)).map(|(_, units)| units).sum();
            prop_assert!(minute <= limit);
        }
    }

    #[test]
    fn a_refusal_names_the_exact_instant(limit in 1..1_000_000_000u64, burst_s in 0.1f64..10.0, trace in traces()) {
        let (rate, cell) = (Rate::per_minute(limit, burst_s), AtomicU64::new(0));
        let mut now = START;
        for (step, units) in trace {
            now += step;
            if let Err(wait) = take(&cell, &rate, units, Nanos(now)) {
                prop_assert!(wait > 0);
                prop_assert!(peek(&cell, &rate, units, Nanos(now + wait - 1)).is_err());
                prop_assert!(peek(&cell, &rate, units, Nanos(now + wait)).is_ok());
            }
        }
    }

    #[test]
    fn giving_back_undoes_taking_and_never_fills_beyond_full(limit in 1..1_000_000u64, trace in traces()) {
        let (rate, cell) = (Rate::per_minute(limit, 1.0), AtomicU64::new(0));
        let full = remaining(&cell, &rate, Nanos(START));
        let mut now = START;
        for (step, units) in trace {
            now += step;
            let before = ahead(cell.load(Relaxed), Nanos(now));
            if take(&cell, &rate, units, Nanos(now)).is_ok() {
                give_back(&cell, &rate, units, Nanos(now));
                prop_assert_eq!(ahead(cell.load(Relaxed), Nanos(now)), before);
            }
            give_back(&cell, &rate, units, Nanos(now));
            prop_assert!(remaining(&cell, &rate, Nanos(now)) <= full);
            charge(&cell, &rate, units, Nanos(now));
        }
    }

    #[test]
    fn the_clock_may_stand_anywhere_even_at_the_wrap(limit in 1..1_000_000u64, offset in any::<u64>(), trace in traces()) {
        let rate = Rate::per_minute(limit, 1.0);
        let wrap = (1u64 << 56) - NS_PER_S;
        let cells = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
        let starts = [START, wrap, offset >> 8];
        let mut passed = 0;
        for (step, units) in trace {
            passed += step;
            let answers = [0, 1, 2].map(|at: usize| take(&cells[at], &rate, units, Nanos(starts[at] + passed)));
            prop_assert_eq!(answers[0], answers[1]);
            prop_assert_eq!(answers[0], answers[2]);
        }
    }
}

#[test]
fn a_steady_stream_at_the_rate_is_never_refused() {
    let (rate, cell) = (Rate::per_minute(6_000, 1.0), AtomicU64::new(0));
    // 61 s / 6,000, rounded up.
    assert!((0..20_000u64).all(|turn| take(&cell, &rate, 1, Nanos(START + turn * 10_166_667)).is_ok()));
}

#[test]
fn saturation_uses_98_percent_of_the_limit() {
    let (rate, cell) = (Rate::per_minute(6_000, 1.0), AtomicU64::new(0));
    let admitted = (0..600_000u64).filter(|ms| take(&cell, &rate, 1, Nanos(START + ms * 1_000_000)).is_ok()).count();
    assert!((58_980..=60_000).contains(&admitted), "{admitted} in ten minutes");
}

#[test]
fn a_hundred_billion_tokens_a_minute_are_neither_free_nor_charged_double() {
    let (rate, cell) = (Rate::per_minute(100_000_000_000, 1.0), AtomicU64::new(0));
    let admitted: u64 = (0..1_000_000u64)
        .filter(|us| take(&cell, &rate, 10_000, Nanos(START + us * 1_000)).is_ok())
        .map(|_| 10_000)
        .sum();
    // A second's worth and a full bucket: two parts of 61.
    let exact = 200_000_000_000u64 / 61;
    assert!(admitted.abs_diff(exact) < exact / 10_000, "{admitted}");
}

#[test]
fn more_than_the_burst_passes_alone_on_a_full_bucket() {
    let (rate, cell) = (Rate::per_minute(60, 1.0), AtomicU64::new(0));
    assert_eq!(remaining(&cell, &rate, Nanos(START)), 0);
    assert!(take(&cell, &rate, 100, Nanos(START)).is_ok());
    let wait = take(&cell, &rate, 1, Nanos(START)).unwrap_err();
    assert!(wait > 100 * NS_PER_S);
    assert!(take(&cell, &rate, 100, Nanos(START + wait)).is_ok());
}

#[test]
fn a_bucket_in_debt_refuses_until_it_is_paid() {
    let (rate, cell) = (Rate::per_minute(6_000, 1.0), AtomicU64::new(0));
    charge(&cell, &rate, 6_000, Nanos(START));
    let wait = take(&cell, &rate, 1, Nanos(START)).unwrap_err();
    assert!((60 * NS_PER_S..61 * NS_PER_S).contains(&wait), "{wait}");
    for _ in 0..100 {
        charge(&cell, &rate, u64::MAX, Nanos(START));
    }
    assert!(peek(&cell, &rate, 1, Nanos(START)).is_err());
}

#[test]
fn threads_take_exactly_what_is_there() {
    let (rate, cell) = (Rate::per_minute(600_000, 1.0), AtomicU64::new(0));
    let exact = remaining(&cell, &rate, Nanos(START));
    let taken: u64 = thread::scope(|scope| {
        let worker = || (0..20_000).filter(|_| take(&cell, &rate, 1, Nanos(START)).is_ok()).count() as u64;
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, exact);
}

#[test]
fn no_limit_is_no_limit() {
    assert!(Rate::per_minute(0, 1.0).is_off());
    assert!(!Rate::per_minute(u64::MAX, 1.0).is_off());
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Take(u64),
    Undo(usize),
    Keep(usize),
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1..5_000u64).prop_map(Move::Take),
        2 => any::<usize>().prop_map(Move::Undo),
        1 => any::<usize>().prop_map(Move::Keep),
    ]
}

proptest! {
    /// Whatever is taken back, and when: of any window no more is kept than a bucket lets through. Of N that hang and fail together, too.
    #[test]
    fn what_is_kept_of_any_window_is_what_a_bucket_lets_through(
        limit in 100..100_000u64,
        burst_s in 0.5f64..10.0,
        moves in prop::collection::vec((prop_oneof![Just(0), 0..10_000_000u64, 0..2 * NS_PER_S], a_move()), 1..400),
    ) {
        let (rate, cell) = (Rate::per_minute(limit, burst_s), AtomicU64::new(0));
        let capacity = remaining(&cell, &rate, Nanos(START));
        let (mut now, mut alive, mut kept) = (START, Vec::new(), Vec::new());
        for (step, what) in moves {
            now += step;
            match what {
                Move::Take(units) if capacity > 0 && take(&cell, &rate, units.min(capacity), Nanos(now)).is_ok() => {
                    alive.push((now, units.min(capacity)));
                }
                Move::Undo(at) if !alive.is_empty() => {
                    let (then, units) = alive.swap_remove(at % alive.len());
                    undo(&cell, &rate, units, Nanos(now - then), Nanos(now));
                }
                Move::Keep(at) if !alive.is_empty() => kept.push(alive.swap_remove(at % alive.len())),
                _ => {}
            }
        }
        kept.append(&mut alive);
        for (first, _) in &kept {
            for (last, _) in kept.iter().filter(|(last, _)| last >= first) {
                let inside = kept.iter().filter(|(at, _)| (*first..=*last).contains(at));
                let cost: u64 = inside.map(|(_, units)| rate.cost(*units)).sum();
                prop_assert!(cost <= (last - first) * TICKS + rate.burst);
            }
        }
    }
}
