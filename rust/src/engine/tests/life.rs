//! Tickets, death of a worker, reload.

use super::*;

#[test]
fn a_key_pays_for_what_was_delivered_and_for_nothing_else() {
    let engine = engine(&[Spec::default()]);
    let outcome = |failure, ns| Outcome {
        failure,
        now: Nanos(START + ns),
        overhead: Nanos(20_000),
        used: Use { input: 7, output: 3, cached: 2 },
    };
    let first = engine.admit(0, Some(1), TOKENS, Nanos(START)).ok().unwrap();
    let second = engine.admit(0, Some(1), TOKENS, Nanos(START)).ok().unwrap();
    assert_eq!(engine.admit(0, Some(1), TOKENS, Nanos(START)).err().unwrap().0.why, "concurrency");
    engine.refuse(0, Some(1));
    assert!(first.settle(&outcome(Failure::None, 1)));
    assert!(!first.settle(&outcome(Failure::None, 1)));
    assert!(second.settle(&outcome(Failure::Server, 1)));

    let (key, model) = (snapshot::key(&engine.board, 1), snapshot::model(&engine.board, 0));
    assert_eq!((key.in_flight, key.requests, key.refused, key.tokens), (0, 2, 1, vec![7, 3, 2]));
    assert_eq!((model.in_flight, model.outcomes[0], model.outcomes[REFUSED]), (0, 1, 1));
    assert_eq!(model.outcomes[Failure::Server as usize], 1);
    assert_eq!(snapshot::overhead(&engine.board).counts[1], 2);
}

#[test]
fn a_key_is_not_charged_when_its_model_refuses() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let mut tables = tables(&[Spec::default()]);
    tables.models[0].limits = limits(0, 60);
    let engine = Arc::new(Engine::new(&board, 0, &tables).unwrap());
    let held = engine.admit(0, Some(1), TOKENS, Nanos(START)).ok().unwrap();
    for _ in 0..100 {
        assert_eq!(engine.admit(0, Some(1), TOKENS, Nanos(START)).err().unwrap().0.why, "requests_per_min");
    }
    drop(held);
    assert!(engine.admit(0, Some(1), TOKENS, Nanos(START + NS_PER_S * 2)).is_ok());
}

#[test]
fn a_dead_worker_is_undone_and_its_counters_stay() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let (dead, alive) = (engine_on(&board, 2, &[Spec::default()]), engine_on(&board, 1, &[Spec::default()]));
    acquire(&dead, 0).ok().unwrap().settle(&ending(Failure::None, 1));
    std::mem::forget(acquire(&dead, 2));
    std::mem::forget(dead.admit(0, Some(1), TOKENS, Nanos(START)));
    dead.turns(0).join(1);
    let kept = acquire(&alive, 3).ok().unwrap();
    board.reclaim(2);

    let state = snapshot::endpoint(&board, 0);
    assert_eq!((state.in_flight, state.prefill_tokens, state.attempts[0]), (1, 100, 1));
    assert_eq!((snapshot::key(&board, 1).in_flight, snapshot::model(&board, 0).queued), (0, 0));
    kept.settle(&ending(Failure::None, 4));
    assert_eq!(snapshot::endpoint(&board, 0).in_flight, 0);
    board.reclaim(99);
}

#[test]
fn a_reload_carries_everything_over() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let before = engine_on(&board, 0, &[limits(0, 60), Spec::default()]);
    let lease = before.pool(0).unwrap().acquire(&Wish { tried: 0b10, ..wish(0) }).ok().unwrap();
    break_it(&before, 1, 0);
    let after = engine_on(&board, 0, &[limits(0, 60), Spec::default()]);
    drop(before);
    // The limit holds back the first for a little more than a second, the breaker the second for a little less.
    let refusal = acquire(&after, 1).err().unwrap();
    assert!(refusal.why == Refusal::BREAKER && refusal.retry_after.unwrap() <= NS_PER_S, "{refusal:?}");
    assert_eq!(snapshot::endpoint(&board, 0).in_flight, 1);
    assert!(lease.settle(&ending(Failure::None, 2)));
    assert_eq!(snapshot::endpoint(&board, 0).in_flight, 0);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_their_place() {
    let board = Arc::new(Board::heap(SIZES).unwrap());
    let path = |change: &dyn Fn(&mut Tables)| {
        let mut tables = tables(&[Spec::default(); 2]);
        change(&mut tables);
        Engine::new(&board, 0, &tables).err().unwrap().path
    };
    assert_eq!(path(&|tables| tables.keys[0].slot = 2), "keys[0].slot");
    assert_eq!(path(&|tables| tables.pools[0].pairs[0] = 8), "pools[0].pairs");
    assert_eq!(path(&|tables| tables.pools[0].endpoints[1] = 0), "pools[0].endpoints[1]");
    assert_eq!(path(&|tables| tables.pools[0].endpoints[1] = 7), "pools[0].endpoints[1]");
    assert_eq!(path(&|tables| tables.pools[0].strategy = "best".into()), "pools[0].strategy");
    assert_eq!(Engine::new(&board, 4, &tables(&[Spec::default()])).err().unwrap().path, "worker");
}
