//! Sick endpoints: sinkholes, hangs, slow ones, recovery, panic. Small simulations on the engine itself, by a virtual clock.
#![expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "counts and instants of a test")]

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::*;
use crate::rng::{Rng, mix};

const MS: u64 = 1_000_000;

pub(super) fn pool_of(count: usize, strategy: &str, choices: u32) -> Arc<Engine> {
    let board = Arc::new(Board::heap(Sizes { endpoints: 16, pairs: 16, ..SIZES }).unwrap());
    let mut tables = tables(&vec![Spec::default(); count]);
    tables.pools[0].strategy = strategy.into();
    tables.pools[0].choices = choices;
    Arc::new(Engine::new(&board, 0, &tables).unwrap())
}

/// What was seen at each endpoint.
#[derive(Default)]
pub(super) struct Seen {
    /// Starts, ms.
    starts: BTreeMap<u16, Vec<u64>>,
    /// Requests that no retry helped.
    pub(super) lost: usize,
    pub(super) requests: usize,
}

impl Seen {
    fn share(&self, slot: u16, span: std::ops::Range<u64>) -> f64 {
        let count = |starts: &Vec<u64>| starts.iter().filter(|start| span.contains(start)).count();
        let all: usize = self.starts.values().map(count).sum();
        self.starts.get(&slot).map_or(0, count) as f64 / all as f64
    }

    pub(super) fn starts(&self, slot: u16) -> usize {
        self.starts.get(&slot).map_or(0, Vec::len)
    }
}

/// A request under way.
#[derive(Default)]
struct Job {
    tried: u128,
    tries: u32,
    running: Option<(Lease, Failure)>,
}

/// Instants at random, about `per_s` a second, us.
fn arrivals(per_s: u64, seconds: u64, rng: &mut Rng) -> Vec<u64> {
    let mut at = 0.0;
    let step = || {
        at -= (1.0 - rng.unit()).ln() * 1e6 / per_s as f64;
        Some(at as u64)
    };
    std::iter::from_fn(step).take_while(|us| *us < seconds * 1_000_000).collect()
}

/// Serves requests. `behave` tells what an endpoint does with one at a time, ms: how it ends and after how many ms; `None`: never.
/// A failed one is tried at once elsewhere, three times in all.
pub(super) fn run(
    engine: &Engine,
    per_s: u64,
    seconds: u64,
    behave: &dyn Fn(u16, u64) -> Option<(Failure, u64)>,
) -> Seen {
    let (pool, mut rng, mut seen) = (engine.pool(0).unwrap(), Rng::new(7), Seen::default());
    let arrivals = arrivals(per_s, seconds, &mut rng);
    let mut jobs: Vec<Job> = arrivals.iter().map(|_| Job::default()).collect();
    // What is due: arrivals, and the ends of attempts.
    let mut due: BinaryHeap<_> = arrivals.into_iter().zip(0..).map(Reverse).collect();
    seen.requests = jobs.len();
    while let Some(Reverse((us, at))) = due.pop() {
        let job: &mut Job = &mut jobs[at];
        if let Some((lease, failure)) = job.running.take() {
            lease.settle(&ending(failure, us * 1_000));
            if failure == Failure::None {
                continue;
            }
        }
        let tokens = Use { input: 500 + (mix(us) % 1_000) as u32, output: 50, cached: 0 };
        let wish = Wish { tokens, draw: rng.next_u64(), tried: job.tried, ..wish(us * 1_000) };
        let taken = pool.acquire(&wish).or_else(|_| pool.acquire(&Wish { tried: 0, ..wish }));
        let Some(lease) = taken.ok().filter(|_| job.tries < 3) else {
            seen.lost += 1;
            continue;
        };
        (job.tried, job.tries) = (job.tried | 1 << lease.position(), job.tries + 1);
        seen.starts.entry(lease.slot()).or_default().push(us / 1_000);
        match behave(lease.slot(), us / 1_000) {
            Some((failure, after_ms)) => {
                due.push(Reverse((us + after_ms * 1_000, at)));
                job.running = Some((lease, failure));
            }
            None => std::mem::forget(lease),
        }
    }
    seen
}

#[test]
fn a_sinkhole_draws_next_to_nothing() {
    for (count, strategy) in [(2, "least_work"), (16, "least_work"), (2, "least_connections"), (16, "round_robin")] {
        let seen = run(&pool_of(count, strategy, 2), 100, 60, &|slot, ms| match slot {
            0 => Some((Failure::Server, 5)),
            _ => Some((Failure::None, 300 + mix(ms) % 100)),
        });
        assert_eq!(seen.lost, 0, "{strategy} over {count}");
        assert!(
            seen.starts(0) * 200 <= seen.requests,
            "{strategy} over {count}: {} of {}",
            seen.starts(0),
            seen.requests
        );
    }
}

#[test]
fn who_hangs_is_left_alone_while_it_hangs() {
    for (count, strategy) in [(2, "least_work"), (16, "least_work"), (2, "peak_ewma"), (16, "peak_ewma")] {
        let hang_from = |slot, ms: u64| (slot != 0 || ms < 20_000).then(|| (Failure::None, 300 + mix(ms) % 100));
        let seen = run(&pool_of(count, strategy, 4), 50, 80, &hang_from);
        let hung = seen.starts[&0].iter().filter(|ms| **ms >= 20_000).count();
        assert!(hung * 100 <= 60 * 50, "{strategy} over {count}: {hung}");
    }
}

#[test]
fn who_slows_down_is_asked_less_within_five_seconds_and_fully_within_ten_of_healing() {
    let (slow, free) = (20_000..50_000, RefCell::new([0; 4]));
    let seen = run(&pool_of(4, "least_work", 4), 60, 80, &move |slot, ms| {
        // One after another, 25 a second.
        let free = &mut free.borrow_mut()[usize::from(slot)];
        *free = ms.max(*free) + if slot == 0 && slow.contains(&ms) { 200 } else { 40 };
        Some((Failure::None, *free - ms))
    });
    // Its fair share is a fifth of the others': 1/16.
    let during = seen.share(0, 25_000..50_000);
    assert!(during < 2.0 / 16.0 && during > 0.005, "{during}");
    let after = seen.share(0, 60_000..80_000);
    // Shares of equal ones differ by a fifth over twenty seconds anyway: who is busier looks a little faster per token.
    assert!(after > 0.75 / 4.0, "{after}");
}

#[test]
fn who_comes_back_starts_slowly_also_where_loads_are_compared() {
    let engine = pool_of(4, "least_connections", 0);
    break_it(&engine, 0, 0);
    let seen = run(&engine, 100, 30, &|_, ms| Some((Failure::None, 300 + mix(ms) % 100)));
    let early = seen.share(0, 1_000..3_000);
    assert!(early > 0.01 && early < 0.2, "{early}");
    assert!((seen.share(0, 15_000..30_000) - 0.25).abs() < 0.03);
}

#[test]
fn a_pool_of_one_cools_down_and_is_tried_once_a_second() {
    let engine = pool_of(1, "round_robin", 0);
    let seen = run(&engine, 100, 60, &|_, _| Some((Failure::Connect, 1)));
    assert!((50..=90).contains(&seen.starts(0)), "{}", seen.starts(0));
    let refusal = acquire(&engine, 60 * NS_PER_S + 1).err().unwrap();
    assert_eq!(refusal.why, Refusal::BREAKER);
    assert!(refusal.retry_after.unwrap() <= NS_PER_S);
    let panics = snapshot::endpoint(&engine.board, 0).panics;
    assert!(panics > 40, "{panics}");
}

#[test]
fn the_wait_of_a_pool_that_cools_down_is_exact() {
    let engine = pool_of(1, "round_robin", 0);
    break_it(&engine, 0, 0);
    let lease = acquire(&engine, 1).ok().unwrap();
    assert!(lease.is_panic());
    lease.settle(&ending(Failure::Connect, 2));
    let wait = acquire(&engine, 2).err().unwrap().retry_after.unwrap();
    assert_eq!(acquire(&engine, 1 + wait).err().unwrap().retry_after, Some(1));
    assert!(acquire(&engine, 2 + wait).is_ok());
}

#[test]
fn breakers_give_way_only_when_less_than_half_of_the_pool_is_usable_and_full() {
    let mut specs = vec![Spec::default(); 4];
    specs[3] = places(1);
    let engine = engine(&specs);
    break_it(&engine, 0, 0);
    break_it(&engine, 1, 0);
    engine.board.endpoint(2).not_before().store(START + NS_PER_S, Relaxed);
    let held = acquire(&engine, 1).ok().unwrap();
    assert_eq!((held.slot(), held.is_panic()), (3, false));
    // Half of the breakers are closed: no panic, though there is no room.
    assert!(acquire(&engine, 2).is_err());
    break_it(&engine, 2, 3);
    let taken: Vec<_> = (3..10).map_while(|ns| acquire(&engine, ns).ok()).collect();
    assert!(taken.len() == 2 && taken.iter().all(Lease::is_panic));
}

#[test]
fn a_first_token_is_enough_to_close_a_breaker() {
    let engine = engine(&[Spec::default(); 2]);
    break_it(&engine, 0, 0);
    let later = 2 * NS_PER_S;
    let probe = (0..9).find_map(|turn| acquire(&engine, later + turn).ok().filter(|lease| lease.slot() == 0)).unwrap();
    assert_eq!(snapshot::endpoint(&engine.board, 0).probes, 1);
    probe.first_byte(Nanos(START + later + 100 * MS));
    assert_eq!(snapshot::endpoint(&engine.board, 0).probes, 0);
    assert_eq!(engine.gauges(Nanos(START + later + 100 * MS))[0].breaker, State::Closed);
    probe.settle(&ending(Failure::None, later + 200 * MS));
    assert_eq!(snapshot::endpoint(&engine.board, 0).probes, 0);
}

#[test]
fn who_fails_more_than_the_others_is_ejected_and_never_all_of_them() {
    let engine = pool_of(4, "round_robin", 0);
    // A third of its requests fails, which no rule of its own forbids.
    let seen = run(&engine, 100, 20, &|slot, ms| {
        let fails = slot == 0 && mix(ms).is_multiple_of(3);
        Some((if fails { Failure::Server } else { Failure::None }, 50))
    });
    let trips = |slot| snapshot::endpoint(&engine.board, slot).trips;
    assert!(trips(0) >= 1 && (1..4).all(|slot| trips(slot) == 0));
    assert!(seen.share(0, 2_000..20_000) < 0.2);

    let (engine, turns) = (pool_of(4, "round_robin", 0), RefCell::new([0; 4]));
    run(&engine, 100, 20, &move |slot, _| {
        let turn = &mut turns.borrow_mut()[usize::from(slot)];
        *turn += 1;
        Some((if *turn % 3 == 0 { Failure::Server } else { Failure::None }, 50))
    });
    assert_eq!((0..4).map(|slot| snapshot::endpoint(&engine.board, slot).trips).sum::<u64>(), 0);
}

#[test]
fn what_a_reload_adds_starts_slowly_and_what_was_there_does_not() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let first = engine_on(&board, 0, &[Spec::default(); 2]);
    let shares = |engine: &Engine, from: u64| {
        let mut starts = [0; 3];
        for turn in 0..600 {
            let lease = acquire(engine, from + turn * 2 * MS).ok().unwrap();
            starts[usize::from(lease.slot())] += 1;
            lease.settle(&ending(Failure::None, from + turn * 2 * MS));
        }
        starts
    };
    assert!(shares(&first, 0)[..2].iter().all(|starts| *starts > 200));
    let second = engine_on(&board, 0, &[Spec::default(); 3]);
    let starts = shares(&second, 5 * NS_PER_S);
    assert!(starts[2] < 60 && starts[0] > 200 && starts[1] > 200, "{starts:?}");
    assert!(shares(&second, 30 * NS_PER_S)[2] > 150);
}
