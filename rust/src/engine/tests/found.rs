//! Capacity that nobody configured, and limits that are not what they are said to be.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::health::{pool_of, run};
use super::*;
use crate::rng::mix;

fn refusals(engine: &Engine) -> usize {
    snapshot::endpoint(&engine.board, 0).attempts[Failure::RateLimited as usize] as usize
}

/// A provider that takes so many requests in any minute and refuses the others at once.
fn per_minute(limit: usize) -> impl Fn(u16, u64) -> Option<(Failure, u64)> {
    let taken = RefCell::new(VecDeque::new());
    move |_, ms| {
        let mut taken = taken.borrow_mut();
        while taken.front().is_some_and(|first| first + 60_000 <= ms) {
            taken.pop_front();
        }
        if taken.len() >= limit {
            return Some((Failure::RateLimited, 5));
        }
        taken.push_back(ms);
        Some((Failure::None, 800 + mix(ms) % 400))
    }
}

#[test]
fn a_limit_a_fifth_below_the_configured_one_is_found_at_the_price_of_one_refusal_in_a_hundred() {
    let engine = engine(&[limits(0, 600)]);
    let seen = run(&engine, 12, 1_800, &per_minute(480));
    let (refused, asked) = (refusals(&engine), seen.starts(0));
    assert!(refused * 100 <= asked, "{refused} of {asked}");
    assert!(asked - refused > 1_800 * 8 * 9 / 10, "{asked}");
    assert!(engine.gauges(Nanos(START + 1_800 * NS_PER_S))[0].found.share.is_some());
}

#[test]
fn places_are_found_where_no_limit_is_configured() {
    let (engine, ends) = (engine(&[Spec::default()]), RefCell::new(Vec::new()));
    let seen = run(&engine, 40, 600, &|_, ms| {
        let mut ends = ends.borrow_mut();
        ends.retain(|end| *end > ms);
        if ends.len() >= 30 {
            return Some((Failure::RateLimited, 5));
        }
        ends.push(ms + 1_000);
        Some((Failure::None, 1_000))
    });
    let (refused, asked) = (refusals(&engine), seen.starts(0));
    assert!(refused * 100 <= asked, "{refused} of {asked}");
    assert!(asked - refused > 600 * 30 * 8 / 10, "{asked}");
    let found = engine.gauges(Nanos(START + 600 * NS_PER_S))[0].found;
    assert!(found.share.is_none() && found.places.is_some_and(|places| (20..=34).contains(&places)), "{found:?}");
}

#[test]
fn who_never_refuses_is_never_throttled_however_its_speed_changes() {
    let engine = pool_of(2, "least_work", 0);
    let seen = run(&engine, 60, 300, &|_, ms| {
        // From a quarter of a second to two, and back.
        Some((Failure::None, 250 + (ms % 60_000) / 34))
    });
    assert_eq!(seen.lost, 0);
    assert!(engine.gauges(Nanos(START + 300 * NS_PER_S)).iter().all(|gauge| gauge.found == Found::default()));
}

#[test]
fn who_queues_inside_for_seconds_gets_no_more_than_it_serves() {
    // One after another, ten a second; from the hundredth second on, two.
    let (engine, free) = (pool_of(1, "round_robin", 0), RefCell::new(0));
    let seen = run(&engine, 8, 200, &|_, ms| {
        let free = &mut *free.borrow_mut();
        *free = ms.max(*free) + if ms < 100_000 { 100 } else { 500 };
        Some((Failure::None, *free - ms))
    });
    let found = engine.gauges(Nanos(START + 200 * NS_PER_S))[0].found;
    assert!(found.places.is_some_and(|places| places < 100), "{found:?}");
    assert!(seen.lost > 100, "{}", seen.lost);
}

#[test]
fn endpoints_of_one_account_find_their_capacity_together() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let mut tables = tables(&[Spec::default(); 3]);
    tables.endpoints[1].account = 0;
    let engine = Arc::new(Engine::new(&board, 0, &tables).unwrap());
    let held: Vec<Lease> = (0..30).map(|ns| acquire(&engine, ns).ok().unwrap()).collect();
    let of_account = |slot: u16| held.iter().filter(move |lease| lease.slot() == slot);
    of_account(0).next().unwrap().settle(&Ending { cool_ms: 1, ..ending(Failure::RateLimited, NS_PER_S) });
    // Twenty places of the two, cut to eighteen: none is free there, all are at the third.
    let later = 2 * NS_PER_S;
    let more: Vec<Lease> = (0..30).map(|ns| acquire(&engine, later + ns).ok().unwrap()).collect();
    assert!(more.iter().all(|lease| lease.slot() == 2));
    let found: Vec<_> = engine.gauges(Nanos(START + later)).iter().map(|gauge| gauge.found.places).collect();
    assert_eq!(found, [Some(18), Some(18), None]);
    let refusal = engine.pool(0).unwrap().acquire(&Wish { tried: 0b100, ..wish(later + 99) }).err().unwrap();
    assert_eq!((refusal.why, refusal.retry_after), ("capacity", None));
    for slot in [0, 1] {
        assert!(of_account(slot).skip(1).take(4).all(|lease| lease.settle(&ending(Failure::None, later + 100))));
    }
    assert_ne!(acquire(&engine, later + 200).ok().unwrap().slot(), 2);
}

#[test]
fn a_429_leaves_the_whole_account_alone_and_names_it() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let mut tables = tables(&[Spec::default(); 4]);
    (tables.endpoints[2].account, tables.endpoints[2].adaptive) = (0, false);
    let engine = Arc::new(Engine::new(&board, 0, &tables).unwrap());
    let held: Vec<Lease> = (0..4).map(|ns| acquire(&engine, ns).ok().unwrap()).collect();
    let of = |slot: u16| held.iter().find(|lease| lease.slot() == slot).unwrap();
    assert_eq!([0, 1, 2, 3].map(|slot| of(slot).account()), [0b101, 0b10, 0b101, 0b1000]);
    of(2).settle(&Ending { cool_ms: 500, ..ending(Failure::RateLimited, 10) });
    of(1).settle(&Ending { cool_ms: 500, ..ending(Failure::Overloaded, 10) });
    let cooling: Vec<bool> = engine.gauges(Nanos(START + 11)).iter().map(|gauge| gauge.cooling > Nanos(0)).collect();
    assert_eq!(cooling, [true, true, true, false]);
}
