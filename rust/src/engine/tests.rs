//! Laws of a decision, on a board on the heap.

use std::sync::atomic::AtomicU32;
use std::thread;

mod found;
mod health;
mod homes;
mod laws;
mod life;
mod limits;
mod modifiers;
mod records;
mod refunds;
mod trail;

use super::*;
use crate::board::Sizes;
use crate::health::breaker::Ended;
use crate::health::{Failure, Policy, Verdict};
use crate::limit::Spec;
use crate::select::Modifiers;
use crate::snapshot;
use crate::units::NS_PER_S;

const START: u64 = 1 << 50;
const SIZES: Sizes = Sizes { workers: 4, endpoints: 8, keys: 2, models: 2, pairs: 8, pools: 1, users: 4, sessions: 4 };

fn limits(kind: usize, limit: u64) -> Spec {
    let mut spec = Spec::default();
    spec.per_minute[kind] = limit;
    spec
}

fn places(concurrency: u32) -> Spec {
    Spec { concurrency, ..Spec::default() }
}

/// One pool over endpoints with these limits, one model, two keys.
fn tables(specs: &[Spec]) -> Tables {
    let slots: Vec<u16> = (0..u16::try_from(specs.len()).unwrap()).collect();
    Tables {
        endpoints: slots
            .iter()
            .zip(specs)
            .map(|(slot, limits)| EndpointTable {
                slot: *slot,
                name: format!("e{slot}"),
                weight: 1,
                limits: *limits,
                draining: false,
                account: *slot,
                adaptive: true,
            })
            .collect(),
        keys: vec![GateTable { slot: 1, limits: Spec { per_minute: [600, 600_000, 0, 0, 0], ..places(2) } }],
        users: Vec::new(),
        models: vec![GateTable { slot: 0, limits: Spec::default() }],
        pools: vec![PoolTable {
            slot: 0,
            model: 0,
            strategy: "least_connections".into(),
            choices: 0,
            bounded_load: 0.0,
            pairs: slots.iter().map(|slot| u32::from(*slot)).collect(),
            endpoints: slots,
            retry_percent: 20,
            retry_per_s: 10,
            health: Policy::default(),
            modifiers: Modifiers::default(),
        }],
    }
}

fn engine_on(board: &Arc<Board>, column: usize, specs: &[Spec]) -> Arc<Engine> {
    Arc::new(Engine::new(board, column, &tables(specs)).unwrap())
}

fn engine(specs: &[Spec]) -> Arc<Engine> {
    engine_on(&Arc::new(Board::heap(SIZES).unwrap()), 0, specs)
}

const TOKENS: Use = Use { input: 100, output: 50, cached: 0 };

fn wish(ns: u64) -> Wish {
    Wish { tried: 0, tokens: TOKENS, now: Nanos(START + ns), draw: ns, hash: None, request: 0 }
}

fn acquire(engine: &Engine, ns: u64) -> Result<Lease, Refusal> {
    engine.pool(0).unwrap().acquire(&wish(ns))
}

fn ending(failure: Failure, ns: u64) -> Ending {
    Ending { failure, now: Nanos(START + ns), used: Use::default(), cool_ms: 0 }
}

fn break_it(engine: &Engine, slot: u16, ns: u64) {
    let cell = engine.board.endpoint(usize::from(slot)).breaker();
    let ended = Ended { verdict: Verdict::Bad, probe: false, pause_ms: 0, now: Nanos(START + ns) };
    while !breaker::record(cell, &Policy::default().breaker, &ended) {}
}

#[test]
fn load_is_spread_and_gone_after_the_last_settle() {
    let engine = engine(&[Spec::default(); 4]);
    let leases: Vec<Lease> = (0..40).map(|ns| acquire(&engine, ns).ok().unwrap()).collect();
    for slot in 0..4 {
        let state = snapshot::endpoint(&engine.board, slot);
        assert_eq!((state.in_flight, state.prefill_tokens, state.decode_tokens), (10, 1_000, 500));
    }
    assert!(leases.iter().all(|lease| lease.settle(&ending(Failure::None, NS_PER_S))));
    for slot in 0..4 {
        let state = snapshot::endpoint(&engine.board, slot);
        assert_eq!((state.in_flight, state.prefill_tokens, state.decode_tokens), (0, 0, 0));
        assert_eq!((state.attempts[0], state.tokens), (10, vec![1_000, 500, 0]));
    }
}

#[test]
fn a_lease_is_settled_once_and_a_lost_one_is_a_cancelled_one() {
    let engine = engine(&[Spec::default()]);
    let lease = acquire(&engine, 0).ok().unwrap();
    assert!(lease.settle(&ending(Failure::Server, 1)));
    assert!(!lease.settle(&ending(Failure::None, 2)));
    lease.first_byte(Nanos(START + 3));
    drop(lease);
    drop(acquire(&engine, 4));

    let state = snapshot::endpoint(&engine.board, 0);
    assert_eq!((state.in_flight, state.prefill_tokens, state.decode_tokens), (0, 0, 0));
    assert_eq!(state.attempts.iter().sum::<u64>(), 2);
    assert_eq!((state.attempts[Failure::Server as usize], state.attempts[Failure::Cancelled as usize]), (1, 1));
    assert_eq!(snapshot::pair(&engine.board, 0).first_token.counts.iter().sum::<u64>(), 0);
}

#[test]
fn the_first_token_ends_prefill_and_is_sampled_once() {
    let engine = engine(&[Spec::default()]);
    let lease = acquire(&engine, 0).ok().unwrap();
    lease.first_byte(Nanos(START + NS_PER_S / 4));
    lease.first_byte(Nanos(START + NS_PER_S));
    let during = snapshot::endpoint(&engine.board, 0);
    assert_eq!((during.in_flight, during.prefill_tokens, during.decode_tokens), (1, 0, 50));
    lease.settle(&ending(Failure::None, 2 * NS_PER_S));

    let pair = snapshot::pair(&engine.board, 0);
    assert_eq!((pair.first_token.sum_ns, pair.duration.sum_ns), (NS_PER_S / 4, 2 * NS_PER_S));
    // 0.25 s is a bound, and a bound belongs to its bucket.
    assert_eq!(pair.first_token.counts[7], 1);
    let gauge = &engine.gauges(Nanos(START + NS_PER_S / 4))[0];
    assert!((gauge.latency_s.unwrap() - 0.25).abs() < 1e-4);
    assert!((gauge.pace_s.unwrap() - 0.0025).abs() < 1e-6);
}

#[test]
fn the_wait_of_a_refusal_is_the_shortest_of_all_endpoints_and_exact() {
    let engine = engine(&[limits(0, 60), limits(0, 600)]);
    let mut held = Vec::new();
    let refusal = loop {
        match acquire(&engine, 0) {
            Ok(lease) => held.push(lease),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(held.len(), 10);
    assert_eq!(refusal.why, "requests_per_min");
    let wait = refusal.retry_after.unwrap();
    assert!(wait < NS_PER_S / 5);
    assert_eq!(acquire(&engine, wait - 1).err().unwrap().retry_after, Some(1));
    assert!(acquire(&engine, wait).is_ok());
}

#[test]
fn a_full_pool_cannot_say_when_a_place_is_free() {
    let engine = engine(&[places(1), places(2)]);
    let held: Vec<_> = (0..3).map(|ns| acquire(&engine, ns).ok().unwrap()).collect();
    assert_eq!(acquire(&engine, 4).err(), Some(Refusal { retry_after: None, why: "concurrency" }));
    held[0].settle(&ending(Failure::None, 5));
    assert_eq!(acquire(&engine, 6).ok().unwrap().slot(), held[0].slot());
}

#[test]
fn a_pause_that_the_provider_asked_for_is_kept_to_the_nanosecond() {
    let engine = engine(&[Spec::default()]);
    let lease = acquire(&engine, 0).ok().unwrap();
    lease.settle(&Ending { cool_ms: 250, ..ending(Failure::RateLimited, 0) });
    assert_eq!(acquire(&engine, 249_999_999).err(), Some(Refusal { retry_after: Some(1), why: Refusal::COOLING }));
    assert!(acquire(&engine, 250_000_000).is_ok());
}

#[test]
fn nothing_but_429_never_opens_a_breaker() {
    let engine = engine(&[Spec::default()]);
    for turn in 0..100 {
        let lease = acquire(&engine, turn * 2 * NS_PER_S).ok().unwrap();
        lease.settle(&Ending { cool_ms: 1, ..ending(Failure::RateLimited, turn * 2 * NS_PER_S) });
    }
    assert_eq!(engine.gauges(Nanos(START))[0].breaker, State::Closed);
}

#[test]
fn an_open_breaker_is_left_out_and_ignored_once_all_are_open() {
    let engine = engine(&[Spec::default(); 3]);
    break_it(&engine, 0, 0);
    break_it(&engine, 1, 0);
    for turn in 1..50 {
        let lease = acquire(&engine, turn).ok().unwrap();
        assert_eq!((lease.slot(), lease.is_panic()), (2, false));
    }
    break_it(&engine, 2, 60);
    let lease = acquire(&engine, 61).ok().unwrap();
    assert!(lease.is_panic());
    lease.settle(&ending(Failure::None, 62));
    assert_eq!(acquire(&engine, 63).ok().unwrap().slot(), lease.slot());
}

#[test]
fn panic_never_relaxes_a_limit_or_a_pause() {
    let engine = engine(&[places(1), Spec::default()]);
    let held = acquire(&engine, 0).ok().unwrap();
    let held_too = acquire(&engine, 0).ok().unwrap();
    break_it(&engine, 0, 0);
    break_it(&engine, 1, 0);
    engine.board.endpoint(1).not_before().store(START + NS_PER_S, Relaxed);
    let refusal = acquire(&engine, 1).err().unwrap();
    assert_eq!(refusal, Refusal { retry_after: Some(NS_PER_S - 1), why: Refusal::COOLING });
    drop((held, held_too));
}

#[test]
fn half_open_lets_exactly_the_probes_through_over_all_workers() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let engines: Vec<_> = (0..4).map(|column| engine_on(&board, column, &[Spec::default(); 2])).collect();
    break_it(&engines[0], 0, 0);
    let later = 2 * NS_PER_S;
    let probes = AtomicU32::new(0);
    thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| {
                let leases: Vec<_> = (0..50).map(|turn| acquire(engine, later + turn).ok().unwrap()).collect();
                let mine = leases.iter().filter(|lease| lease.slot() == 0).count();
                probes.fetch_add(u32::try_from(mine).unwrap(), Relaxed);
                leases.into_iter().for_each(std::mem::forget);
            });
        }
    });
    assert_eq!(probes.into_inner(), Policy::default().breaker.probes);
    assert_eq!(snapshot::endpoint(&board, 0).probes, u64::from(Policy::default().breaker.probes));
}

#[test]
fn tried_and_draining_endpoints_are_left_out() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let mut tables = tables(&[Spec::default(); 3]);
    tables.endpoints[0].draining = true;
    tables.endpoints[1].weight = 0;
    let engine = Engine::new(&board, 0, &tables).unwrap();
    assert_eq!(acquire(&engine, 0).ok().unwrap().slot(), 2);
    let retry = Wish { tried: 0b100, ..wish(1) };
    assert_eq!(
        engine.pool(0).unwrap().acquire(&retry).err(),
        Some(Refusal { retry_after: None, why: Refusal::DRAINING })
    );
}

#[test]
fn a_retry_goes_elsewhere_and_is_counted() {
    let engine = engine(&[Spec::default(); 2]);
    let pool = engine.pool(0).unwrap();
    let retry = pool.acquire(&Wish { tried: 0b01, ..wish(0) }).ok().unwrap();
    retry.mark_retry();
    assert_eq!((retry.slot(), snapshot::endpoint(&engine.board, 1).retries), (1, 1));
    assert_eq!(
        pool.acquire(&Wish { tried: 0b11, ..wish(0) }).err(),
        Some(Refusal { retry_after: None, why: Refusal::TRIED })
    );
}

#[test]
fn a_cap_holds_under_all_workers_at_once() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let engines: Vec<_> = (0..4).map(|column| engine_on(&board, column, &[places(3)])).collect();
    let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| {
                for turn in 0..2_000 {
                    let Ok(lease) = acquire(engine, turn) else { continue };
                    most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                    now.fetch_sub(1, Relaxed);
                    lease.settle(&ending(Failure::None, turn));
                }
            });
        }
    });
    assert!((1..=3).contains(&most.into_inner()));
    assert_eq!(snapshot::endpoint(&board, 0).in_flight, 0);
}

#[test]
fn what_is_not_needed_does_not_panic() {
    let engine = engine(&[Spec::default(); 2]);
    break_it(&engine, 0, 0);
    break_it(&engine, 1, 0);
    let pool = engine.pool(0).unwrap();
    assert_eq!(pool.acquire_calm(&wish(1)).err().map(|refusal| refusal.why), Some(Refusal::BREAKER));
    assert!(pool.acquire(&wish(1)).ok().unwrap().is_panic());
}

#[test]
fn hedges_of_all_workers_share_their_caps() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let engines: Vec<_> = (0..4).map(|column| engine_on(&board, column, &[Spec::default(); 2])).collect();
    let mut spent = 0;
    for request in 0..1_000usize {
        let pool = engines[request % 4].pool(0).unwrap();
        pool.hedge_earn(20_000, 2);
        spent += usize::from(pool.hedge_spend(100));
        assert!(spent <= (request + 1) / 50 + 1, "{spent} of {request}");
    }
    assert_eq!(spent, 20);
    assert_eq!(snapshot::pool(&board, 0).hedges[4], 980);
}
