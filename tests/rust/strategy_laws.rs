//! Laws that every strategy keeps, whatever the pool looks like.

use _core::rng::Rng;
use _core::select::rows::{Row, Rows};
use _core::select::{Ask, STRATEGIES, Strategy as Pick, build};
use _core::units::Nanos;
use proptest::prelude::*;

const HASHES: [&str; 3] = ["maglev", "rendezvous", "ring_hash"];

fn ask(tokens: u32, hash: Option<u64>) -> Ask {
    Ask { tokens, output: 0, hash, now: Nanos(0) }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("endpoint-{at}")).collect()
}

fn strategy(name: &str, weights: &[u32], choices: usize, bounded_load: f64) -> Box<dyn Pick> {
    named(name, weights, choices, bounded_load, &names(weights.len()))
}

fn named(name: &str, weights: &[u32], choices: usize, bounded_load: f64, names: &[String]) -> Box<dyn Pick> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    build(name, weights, choices, bounded_load, &names, 1).expect("a pool without faults")
}

/// Every strategy by name, and the hashes with a bound as well.
fn all() -> impl Iterator<Item = (&'static str, f64)> {
    STRATEGIES.iter().map(|&(name, _)| (name, 0.0)).chain(HASHES.map(|name| (name, 1.25)))
}

fn learned() -> impl Strategy<Value = Option<f32>> {
    prop_oneof![
        3 => Just(None),
        3 => (1e-6f32..100.0).prop_map(Some),
        1 => prop::sample::select(vec![Some(f32::NAN), Some(f32::INFINITY), Some(0.0), Some(-1.0), Some(f32::MIN_POSITIVE)]),
    ]
}

prop_compose! {
    fn row()(
        is_eligible in prop::bool::weighted(0.4),
        in_flight in prop_oneof![0u32..5, Just(u32::MAX)],
        prefill_tokens in prop_oneof![0u64..5_000, Just(u64::MAX)],
        decode_tokens in prop_oneof![0u64..5_000, Just(u64::MAX)],
        latency_s in learned(),
        pace_s in learned(),
        is_stale in any::<bool>(),
    ) -> Row {
        Row { is_eligible, in_flight, prefill_tokens, decode_tokens, latency_s, pace_s, is_stale }
    }
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0u32), 5 => 1u32..5, 1 => Just(u32::MAX)]
}

fn pools() -> impl Strategy<Value = Vec<(u32, Row)>> {
    prop::collection::vec((weight(), row()), 0..40)
}

/// The two laws of every strategy, on one pool.
fn keep(
    strategies: impl Iterator<Item = (&'static str, f64)>,
    pool: Vec<(u32, Row)>,
    choices: usize,
    ask: Ask,
    seed: u64,
) -> Result<(), TestCaseError> {
    let (weights, rows): (Vec<u32>, Vec<Row>) = pool.into_iter().unzip();
    let may_take = |at: usize| weights[at] > 0 && rows[at].is_eligible;
    let is_any = (0..rows.len()).any(may_take);
    for (name, bounded_load) in strategies {
        let strategy = strategy(name, &weights, choices, bounded_load);
        let run = || {
            let (view, mut rng) = (Rows { rows: rows.clone(), ..Rows::default() }, Rng::new(seed));
            (0..20).map(|_| strategy.select(&view, &ask, &mut rng)).collect::<Vec<_>>()
        };
        let found = run();
        for at in &found {
            prop_assert_eq!(at.is_some(), is_any, "{}", name);
            prop_assert!(at.is_none_or(may_take), "{} took {:?}", name, at);
        }
        prop_assert_eq!(found, run(), "{}: the same seed and view", name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn only_what_is_eligible_none_if_and_only_if_nothing_is_and_the_same_for_the_same_seed(
        pool in pools(), choices in 0usize..=16, seed in any::<u64>(), tokens in any::<u32>(),
    ) {
        keep(all().filter(|(name, _)| !HASHES.contains(name)), pool, choices, ask(tokens, None), seed)?;
    }
}

proptest! {
    // Tables take their time without optimisation.
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 8 } else { 128 }))]

    #[test]
    fn hashes_keep_the_same_laws(pool in pools(), hash in any::<Option<u64>>(), seed in any::<u64>()) {
        keep(all().filter(|(name, _)| HASHES.contains(name)), pool, 4, ask(9, hash), seed)?;
    }

    #[test]
    fn a_bound_holds_at_every_admission_of_any_trace(
        weights in prop::collection::vec(0u32..5, 1..12), bound in 1_000_000u32..3_000_000, seed in any::<u64>(), leave in 0.0f64..0.6,
    ) {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        for name in HASHES {
            let (plain, strategy) = (strategy(name, &weights, 4, 0.0), strategy(name, &weights, 4, f64::from(bound) / 1e6));
            let (mut view, mut rng) = (Rows::idle(weights.len()), Rng::new(seed));
            let mut held = Vec::new();
            for _ in 0..200 {
                if rng.unit() < leave && !held.is_empty() {
                    let at: usize = held.swap_remove(rng.below(held.len()));
                    view.rows[at].in_flight -= 1;
                    continue;
                }
                // Few keys, so that homes fill up.
                let ask = ask(1, Some(rng.next_u64() % 3));
                let Some(at) = strategy.select(&view, &ask, &mut rng) else {
                    prop_assert_eq!(total, 0);
                    break;
                };
                held.push(at);
                let has_room = |at: usize| {
                    let share = u128::from(bound) * held.len() as u128 * u128::from(weights[at]);
                    u128::from(view.rows[at].in_flight) < share.div_ceil(u128::from(total) * 1_000_000)
                };
                prop_assert!(has_room(at), "{} went beyond its bound", name);
                let home = plain.select(&view, &ask, &mut rng);
                prop_assert!(home == Some(at) || !home.is_some_and(has_room), "{} left a home with room", name);
                view.rows[at].in_flight += 1;
            }
        }
    }

    #[test]
    fn who_is_out_loses_its_keys_and_nobody_else_does(
        weights in prop::collection::vec(0u32..4, 2..20), keys in prop::collection::vec(any::<u64>(), 50), out in any::<prop::sample::Index>(),
    ) {
        let out = out.index(weights.len());
        let up = Rows::idle(weights.len());
        let mut down = Rows::idle(weights.len());
        down.rows[out].is_eligible = false;
        for name in HASHES {
            let strategy = strategy(name, &weights, 4, 0.0);
            for &key in &keys {
                let before = strategy.select(&up, &ask(1, Some(key)), &mut Rng::new(1));
                let after = strategy.select(&down, &ask(1, Some(key)), &mut Rng::new(2));
                prop_assert_eq!(before == Some(out) || before.is_none(), before != after || before.is_none(), "{}", name);
            }
        }
    }

    #[test]
    fn keys_follow_names_and_not_positions(weights in prop::collection::vec(0u32..4, 2..20), keys in prop::collection::vec(any::<u64>(), 50)) {
        let names = names(weights.len());
        let turned: (Vec<u32>, Vec<String>) = weights.iter().copied().zip(names.iter().cloned()).rev().unzip();
        let view = Rows::idle(weights.len());
        for name in HASHES {
            let one = named(name, &weights, 4, 0.0, &names);
            let other = named(name, &turned.0, 4, 0.0, &turned.1);
            for &key in &keys {
                let pick = |strategy: &dyn Pick| strategy.select(&view, &ask(1, Some(key)), &mut Rng::new(1));
                prop_assert_eq!(pick(&*one).map(|at| &names[at]), pick(&*other).map(|at| &turned.1[at]), "{}", name);
            }
        }
    }
}

#[test]
fn a_request_without_a_key_goes_where_least_work_sends_it() {
    let mut view = Rows::idle(10);
    for (at, row) in view.rows.iter_mut().enumerate() {
        row.prefill_tokens = 100 * (at as u64 * 7 % 10);
    }
    let least_work = strategy("least_work", &[1; 10], 4, 0.0);
    for name in HASHES {
        for bounded_load in [0.0, 1.25] {
            let hash = strategy(name, &[1; 10], 0, bounded_load);
            let (mut one, mut other) = (Rng::new(3), Rng::new(3));
            for _ in 0..200 {
                let found = hash.select(&view, &ask(50, None), &mut one);
                assert_eq!(found, least_work.select(&view, &ask(50, None), &mut other), "{name}");
            }
        }
    }
}

#[test]
fn a_wide_bound_changes_nothing_and_what_a_full_home_sheds_is_spread() {
    for name in HASHES {
        let (plain, wide, tight) =
            (strategy(name, &[1; 20], 4, 0.0), strategy(name, &[1; 20], 4, 100.0), strategy(name, &[1; 20], 4, 1.0));
        let mut view = Rows::idle(20);
        view.rows[7].in_flight = 2;
        let mut spilled = [0; 20];
        for key in 0..4_000 {
            let pick = |strategy: &dyn Pick| strategy.select(&view, &ask(1, Some(key)), &mut Rng::new(1)).unwrap();
            let home = pick(&*plain);
            assert_eq!(home, pick(&*wide), "{name}");
            if home == 7 {
                spilled[pick(&*tight)] += 1;
            } else {
                assert_eq!(home, pick(&*tight), "{name}");
            }
        }
        let fair = spilled.iter().sum::<i32>() / 19;
        assert_eq!(spilled[7], 0, "{name}");
        assert!(spilled.iter().all(|&count| count < 4 * fair), "{name}: {spilled:?}");
        assert!(spilled.iter().filter(|&&count| count > 0).count() > 15, "{name}: {spilled:?}");
    }
}

#[test]
fn a_seed_gives_a_placement_of_its_own() {
    let view = Rows::idle(8);
    let names = names(8);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in HASHES {
        let [one, other] = [1, 2].map(|seed| build(name, &[1; 8], 4, 0.0, &names, seed).unwrap());
        let same = |key: &u64| {
            let pick = |strategy: &dyn Pick| strategy.select(&view, &ask(1, Some(*key)), &mut Rng::new(1));
            pick(&*one) == pick(&*other)
        };
        let kept = (0..2_000).filter(same).count();
        assert!((100..500).contains(&kept), "{name}: {kept} of 2000, 250 are due");
    }
}
