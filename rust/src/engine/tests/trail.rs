//! A decision that is told is the decision that is made, and comes out the same from its notes.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::select::{Affinity, Rate, STRATEGIES};

/// Two boards with the same history: one is asked, the other one asked and told.
fn twins(strategy: &str, room: &[u32], is_modified: bool) -> Vec<Arc<Engine>> {
    let specs: Vec<Spec> = room.iter().map(|room| places(*room)).collect();
    let mut tables = tables(&specs);
    tables.pools[0].strategy = strategy.into();
    if is_modified {
        let affinity = Affinity { ttl_s: 300, kept: 0.9, least_tokens: 50, second: 1e9 };
        let rates = (0..room.len() as u64).map(|at| Rate { input: at, cached: 0, output: at }).collect();
        tables.pools[0].modifiers =
            Modifiers { rates, affinity: Some(affinity), lowest_cost: Some(0.5), ..Modifiers::default() };
    }
    let board = || Arc::new(Board::heap(SIZES).unwrap());
    (0..2).map(|_| Arc::new(Engine::new(&board(), 0, &tables).unwrap())).collect()
}

/// The number of a request that is noted.
fn noted(engine: &Arc<Engine>) -> u64 {
    let number = engine.records().begin();
    engine.records().admitted(number, 0, None, Nanos(1), None);
    number
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_told_is_what_is_done_and_can_be_done_again(
        strategy in prop::sample::select(STRATEGIES),
        room in prop::collection::vec(0u32..4, 1..8),
        draws in prop::collection::vec((any::<u64>(), any::<bool>(), 0u64..4), 1..40),
        is_modified in any::<bool>(),
    ) {
        let engines = twins(strategy.0, &room, is_modified);
        let mut held = Vec::new();
        let mut trails = Vec::new();
        for (step, (draw, ends, key)) in draws.into_iter().enumerate() {
            let wish = Wish { draw, hash: Some(key + 1), ..wish(step as u64 * 1_000_000) };
            let number = noted(&engines[0]);
            let plain = engines[0].pool(0).unwrap().acquire(&Wish { request: number, ..wish });
            let (choices, is_all) = engines[0].records().choices(number);
            let brief = engines[0].pool(0).unwrap().trail(&choices[0]);
            prop_assert!(is_all && choices.len() == 1);
            prop_assert!(brief.replays() != Some(false), "all of it, or no proof");
            prop_assert_eq!(choices[0].at.map(usize::from), plain.as_ref().ok().map(Lease::position));
            let (told, trail) = engines[1].pool(0).unwrap().acquire_told(&wish);
            let slot = |found: &Result<Lease, Refusal>| found.as_ref().ok().map(Lease::position);
            prop_assert_eq!(slot(&plain), slot(&told));
            prop_assert_eq!(trail.replays(), Some(true));
            let (picks, _) = trail.told().unwrap();
            let last = picks.last().and_then(|told| told.chosen.filter(|_| told.is_taken));
            prop_assert_eq!(last, slot(&told));
            trails.push(trail);
            for lease in [plain, told].into_iter().flatten() {
                if ends {
                    let _ended = lease.settle(&ending(Failure::None, step as u64 * 1_000_000 + 500));
                } else {
                    held.push(lease);
                }
            }
        }
        // What has become of the board since changes nothing.
        prop_assert!(trails.iter().all(|trail| trail.replays() == Some(true)));
        for lease in held {
            let _ended = lease.settle(&ending(Failure::None, 1_000_000_000));
        }
    }
}

#[test]
fn who_could_not_take_it_is_told_with_the_reason() {
    let engine = engine(&[places(1), places(1)]);
    let first = acquire(&engine, 0).unwrap();
    let (second, trail) = engine.pool(0).unwrap().acquire_told(&wish(1));
    assert_eq!(trail.held, [(first.position(), "concurrency")]);
    let (none, trail) = engine.pool(0).unwrap().acquire_told(&Wish { tried: 1, ..wish(2) });
    assert!(none.is_err() && trail.replays() == Some(true) && !trail.is_soft);
    assert_eq!(trail.held, [(0, Refusal::TRIED), (1, "concurrency")]);
    for lease in [Ok(first), second].into_iter().flatten() {
        let _ended = lease.settle(&ending(Failure::None, 3));
    }
}
