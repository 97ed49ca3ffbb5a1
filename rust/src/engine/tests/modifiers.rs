//! Modifiers where they stand in production: over limits, breakers and the board.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::select::{Affinity, Rate};

fn modified(board: &Arc<Board>, column: usize, specs: &[Spec], modifiers: Modifiers) -> Arc<Engine> {
    let mut tables = tables(specs);
    tables.pools[0].modifiers = modifiers;
    Arc::new(Engine::new(board, column, &tables).unwrap())
}

fn board() -> Arc<Board> {
    Arc::new(Board::heap(SIZES).unwrap())
}

fn asked(engine: &Engine, key: u64, tokens: u32, ns: u64) -> Lease {
    let wish = Wish { hash: Some(key), tokens: Use { input: tokens, ..TOKENS }, ..wish(ns) };
    engine.pool(0).unwrap().acquire(&wish).unwrap()
}

/// Takes a place, and ends its request at once.
fn once(engine: &Engine, key: u64, tokens: u32, ns: u64) -> u16 {
    let lease = asked(engine, key, tokens, ns);
    let slot = lease.slot();
    let _ended = lease.settle(&ending(Failure::None, ns));
    slot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A lower tier gets nothing while a higher one has capacity, and the pool as a whole loses none of its places.
    #[test]
    fn a_lower_tier_serves_only_what_the_higher_ones_cannot(
        places in prop::collection::vec((1u32..4, 0u16..3), 1..8),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..80),
    ) {
        let specs: Vec<Spec> = places.iter().map(|(places, _)| super::places(*places)).collect();
        let tiers: Vec<u16> = places.iter().map(|(_, tier)| *tier).collect();
        let engine = modified(&board(), 0, &specs, Modifiers { tiers: tiers.clone(), ..Modifiers::default() });
        let mut held: Vec<Lease> = Vec::new();
        let all: u32 = places.iter().map(|(places, _)| places).sum();
        for (step, (takes, which)) in steps.into_iter().enumerate() {
            if !takes && !held.is_empty() {
                let lease = held.swap_remove(which.index(held.len()));
                let _ended = lease.settle(&ending(Failure::None, step as u64));
                continue;
            }
            let free = |tier: u16| {
                let room: u32 = places.iter().filter(|(_, own)| *own == tier).map(|(places, _)| places).sum();
                room > held.iter().filter(|lease| tiers[lease.position()] == tier).count() as u32
            };
            let first = (0..3).find(|tier| free(*tier));
            match acquire(&engine, step as u64) {
                Ok(lease) => {
                    prop_assert_eq!(Some(tiers[lease.position()]), first);
                    held.push(lease);
                }
                Err(_) => prop_assert!(first.is_none() && held.len() as u32 == all),
            }
        }
        for lease in held {
            let _ended = lease.settle(&ending(Failure::None, 1_000));
        }
    }
}

#[test]
fn a_session_stays_at_its_endpoint_through_whichever_worker_it_comes() {
    let board = board();
    let rules = Modifiers { sticky_s: 60, ..Modifiers::default() };
    let engines: Vec<_> = (0..2).map(|column| modified(&board, column, &[Spec::default(); 8], rules.clone())).collect();
    let homes: Vec<u16> = (0..20).map(|key| once(&engines[0], key, 100, key)).collect();
    assert!(homes.iter().any(|slot| *slot != homes[0]), "all sessions are at one endpoint");
    for round in 0..5 {
        let again: Vec<u16> =
            (0..20).map(|key| once(&engines[(round % 2) as usize], key, 100, round * NS_PER_S)).collect();
        assert_eq!(again, homes);
    }
}

#[test]
fn a_session_moves_when_its_endpoint_cannot_take_it_and_stays_where_it_went() {
    let rules = Modifiers { sticky_s: 60, ..Modifiers::default() };
    let engine = modified(&board(), 0, &[places(1); 3], rules);
    let lease = asked(&engine, 7, 100, 0);
    let home = lease.slot();
    let moved = once(&engine, 7, 100, 1);
    assert_ne!(moved, home);
    let _ended = lease.settle(&ending(Failure::None, 2));
    assert_eq!((3..20).map(|ns| once(&engine, 7, 100, ns)).find(|slot| *slot != moved), None);
}

#[test]
fn a_prompt_goes_back_to_its_cache_until_the_saving_beats_it() {
    // A cached token costs a tenth. The other place is cheaper by a half: not enough for a prompt of which nine tenths are cached.
    let rates = vec![
        Rate { input: 2_000_000, cached: 200_000, output: 0 },
        Rate { input: 1_000_000, cached: 100_000, output: 0 },
    ];
    let affinity = Affinity { ttl_s: 300, kept: 0.9, least_tokens: 1_024, second: 0.0 };
    let rules = Modifiers { rates, affinity: Some(affinity), lowest_cost: Some(0.0), ..Modifiers::default() };
    let board = board();
    let dear = modified(&board, 0, &[Spec::default(), places(1)], rules.clone());
    let held = asked(&dear, 1, 100, 0);
    assert_eq!(held.slot(), 1, "a cold prompt goes to the cheapest");
    assert_eq!(once(&dear, 7, 8_192, 1), 0, "which is full now");
    let _ended = held.settle(&ending(Failure::None, 2));
    assert_eq!(once(&dear, 7, 8_192, NS_PER_S), 0, "0.19 of the price is below a half");
    assert_eq!(once(&dear, 7, 80_000, 2 * NS_PER_S), 1, "little of a long prompt is cached");
    assert_eq!(once(&dear, 7, 8_192, 3 * NS_PER_S), 1, "and there it is at home now");
    assert_eq!(once(&dear, 8, 900, 4 * NS_PER_S), 1);
}

#[test]
fn sessions_on_a_board_without_room_for_them_need_a_restart() {
    let board = Arc::new(Board::heap(Sizes { sessions: 0, ..SIZES }).unwrap());
    let mut tables = tables(&[Spec::default()]);
    tables.pools[0].modifiers = Modifiers { sticky_s: 1, ..Modifiers::default() };
    let error = Engine::new(&board, 0, &tables).err().unwrap().to_string();
    assert!(error.starts_with("pools[0].modifiers") && error.contains("needs a restart"), "{error}");
}
