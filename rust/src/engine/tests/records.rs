//! Records of requests: what is kept, what takes its place, and what never was.

use super::*;
use crate::engine::records::KEPT;

fn noted(engine: &Arc<Engine>, number: u64, key: Option<u16>, ns: u64) -> Ticket {
    let now = Nanos(START + ns);
    let who = Who::from(key);
    engine.noted(number, 0, who, now, engine.admit(0, who, TOKENS, now)).ok().unwrap()
}

fn over(failure: Failure, ns: u64) -> Outcome {
    let used = Use { input: 7, output: 9, cached: 3 };
    Outcome { failure, now: Nanos(START + ns), overhead: Nanos(40), used }
}

#[test]
fn a_request_and_its_tries_are_kept_as_they_were() {
    let engine = engine(&[places(1), places(1)]);
    let (pool, records) = (engine.pool(0).unwrap(), engine.records());
    let number = records.begin();
    assert_eq!((number, records.find(number)), (1, None));
    let ticket = noted(&engine, number, Some(1), 10);
    let asked = Wish { request: number, ..wish(20) };
    let first = pool.acquire(&asked).ok().unwrap();
    let _settled = first.settle(&ending(Failure::Server, 30));
    let second = pool.acquire(&Wish { tried: 1 << first.position(), ..asked }).ok().unwrap();
    second.mark_retry();
    second.charge(Use { input: 4, output: 5, cached: 1 }, Nanos(START + 40));
    assert_eq!(records.find(number).unwrap().outcome, None);
    let _settled = second.settle(&ending(Failure::None, 50));
    assert!(ticket.settle(&over(Failure::None, 60)));

    let found = records.find(number).unwrap();
    assert_eq!((found.outcome, found.key), (Some(0), Some(1)));
    assert_eq!((found.received.0, found.ended.0, found.overhead.0), (START + 10, START + 60, 40));
    let (choices, is_all) = records.choices(number);
    assert!(is_all);
    let told: Vec<_> = choices.iter().map(|one| (one.at.map(usize::from), one.outcome, one.is_retry)).collect();
    let [first, second] = [first, second].map(|lease| Some(lease.position()));
    assert_eq!(told, [(first, Some(Failure::Server as u8), false), (second, Some(0), true)]);
    assert_eq!(choices[1].used, Use { input: 4, output: 5, cached: 1 });
    let trail = pool.trail(&choices[1]);
    assert_eq!((trail.replays(), trail.held), (Some(true), vec![(first.unwrap(), Refusal::TRIED)]));
}

#[test]
fn who_waits_is_refused_often_and_noted_once() {
    let engine = engine(&[places(1)]);
    let (pool, records) = (engine.pool(0).unwrap(), engine.records());
    let held = pool.acquire(&wish(0)).ok().unwrap();
    let number = records.begin();
    let _ticket = noted(&engine, number, None, 1);
    for ns in 2..9 {
        assert!(pool.acquire(&Wish { request: number, ..wish(ns) }).is_err());
    }
    let (choices, _) = records.choices(number);
    let told: Vec<_> = choices.iter().map(|one| (one.at, one.refused, one.wish.now.0 - START)).collect();
    assert_eq!(told, [(None, "concurrency", 8)]);
    let trail = pool.trail(&choices[0]);
    assert_eq!((trail.replays(), trail.held), (Some(true), vec![(0, "concurrency")]));
    let _settled = held.settle(&ending(Failure::None, 9));
    assert!(pool.acquire(&Wish { request: number, ..wish(10) }).is_ok());
    let (choices, is_all) = records.choices(number);
    assert_eq!((choices.len(), choices[0].at, is_all), (1, Some(0), true));
}

#[test]
fn the_last_ones_are_kept_and_no_others() {
    let engine = engine(&[places(0)]);
    let (pool, records) = (engine.pool(0).unwrap(), engine.records());
    for ns in 0..KEPT + 3 {
        let number = records.begin();
        let ticket = noted(&engine, number, None, ns);
        let lease = pool.acquire(&Wish { request: number, ..wish(ns) }).ok().unwrap();
        let _settled = lease.settle(&ending(Failure::None, ns));
        assert!(ticket.settle(&over(Failure::None, ns)));
    }
    assert_eq!([3, 4].map(|number| records.find(number).is_some()), [false, true]);
    assert_eq!((records.choices(3).0.len(), records.choices(4).0.len()), (0, 1));
    // Another one that is tried often takes the places of the first choices of those before it.
    let number = records.begin();
    let _ticket = noted(&engine, number, None, 0);
    let _leases: Vec<_> = (0..9).map(|ns| pool.acquire(&Wish { request: number, ..wish(ns) })).collect();
    let (choices, is_all) = records.choices(6);
    assert!(choices.is_empty() && !is_all && records.find(6).is_some());
    assert_eq!(records.choices(number).0.len(), 9);
}

#[test]
fn what_is_more_than_there_is_room_for_is_no_proof() {
    let board = Arc::new(Board::heap(Sizes { endpoints: 64, pairs: 64, ..SIZES }).unwrap());
    let mut tables = tables(&[places(0); 60]);
    tables.pools[0].strategy = "least_connections".into();
    tables.pools[0].choices = 0;
    let engine = Arc::new(Engine::new(&board, 0, &tables).unwrap());
    let number = engine.records().begin();
    let _ticket = noted(&engine, number, None, 0);
    let pool = engine.pool(0).unwrap();
    let lease = pool.acquire(&Wish { request: number, ..wish(1) });
    let (choices, _) = engine.records().choices(number);
    let trail = pool.trail(&choices[0]);
    assert_eq!((choices[0].at.map(usize::from), trail.replays()), (lease.ok().map(|lease| lease.position()), None));
    let (_, told) = pool.acquire_told(&wish(2));
    assert_eq!(told.replays(), Some(true), "at length there is room");
}

#[test]
fn texts_and_scores_are_cut_to_their_places() {
    let engine = engine(&[places(0)]);
    let records = Arc::new(Records::new("0-abc-"));
    records.admitted(300, 0, None, Nanos(1), None);
    records.named(300, "id".repeat(99).as_bytes());
    records.failed(300, Failure::Server as u8, Nanos(9), b"no_endpoint_available");
    assert!(records.judged(300, 250_000) && !records.judged(301, 1_000_000));
    let found = records.find(300).unwrap();
    assert_eq!((found.given.len(), found.error.as_slice()), (88, b"no_endpoint_available".as_slice()));
    assert_eq!((found.outcome, found.score), (Some(Failure::Server as u8), Some(250_000)));
    let mut lines = Vec::new();
    records.write_lines(300, true, &mut lines);
    assert_eq!(lines, b"x-request-id: req-0-abc-12c\r\nx-dispatch-decision: 0-abc-12c\r\n");
    let none = Refusal { retry_after: None, why: "requests_per_min" };
    engine.records().admitted(1, 0, None, Nanos(1), Some(&(none, Whose::Key)));
    assert_eq!(engine.records().find(1).unwrap().refused, ("requests_per_min", "key"));
}
