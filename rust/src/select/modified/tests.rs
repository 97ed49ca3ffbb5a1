//! What each modifier promises, on random pools, by definitions written out again.

#![expect(clippy::cast_precision_loss, reason = "tokens and prices are far below 2^53")]

use std::cell::Cell;

use proptest::prelude::{
    Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_compose, prop_oneof, proptest,
};
use proptest::strategy::Strategy as Gen;

use super::*;
use crate::select::rows::{Row, Rows};
use crate::select::{DECODE_PART, build};
use crate::units::Nanos;

/// A pool that remembers where a session was.
struct Visited {
    rows: Rows,
    home: Option<Home>,
    kept: Cell<Option<(u64, usize, u32)>>,
}

impl View for Visited {
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.rows.is_eligible(at)
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.rows.in_flight(at)
    }
    fn prefill_tokens(&self, at: usize) -> u64 {
        self.rows.prefill_tokens(at)
    }
    fn decode_tokens(&self, at: usize) -> u64 {
        self.rows.decode_tokens(at)
    }
    fn latency_s(&self, at: usize) -> Option<f32> {
        self.rows.latency_s(at)
    }
    fn pace_s(&self, at: usize) -> Option<f32> {
        self.rows.pace_s(at)
    }
    fn is_stale(&self, at: usize) -> bool {
        self.rows.is_stale(at)
    }
    fn next_turn(&self) -> u64 {
        self.rows.next_turn()
    }
    fn home(&self, key: u64) -> Option<Home> {
        (key == KEY).then_some(self.home).flatten()
    }
    fn keep(&self, key: u64, at: usize, tokens: u32) {
        self.kept.set(Some((key, at, tokens)));
    }
}

const KEY: u64 = 77;

/// Strategies of every kind; those that build large tables take too long for many cases.
const NAMES: &[&str] = &[
    "cache_aware",
    "least_connections",
    "least_work",
    "peak_ewma",
    "random",
    "rendezvous",
    "round_robin",
    "weighted",
    "weighted_random",
];

#[derive(Clone, Debug)]
struct Case {
    rows: Vec<Row>,
    weights: Vec<u32>,
    rules: Modifiers,
    home: Option<Home>,
    ask: Ask,
    strategy: &'static str,
    seed: u64,
}

impl Case {
    fn run(&self) -> (Option<usize>, Visited) {
        let names: Vec<String> = (0..self.rows.len()).map(|at| format!("endpoint-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let inner = build(self.strategy, &self.weights, 2, 0.0, &names, 0).unwrap();
        let strategy = modified(inner, &self.rules, &self.weights).unwrap();
        let rows = Rows { rows: self.rows.clone(), ..Rows::default() };
        let view = Visited { rows, home: self.home, kept: Cell::new(None) };
        (strategy.select(&view, &self.ask, &mut Rng::new(self.seed)), view)
    }

    /// Who may take it, and of those the ones in the first tier.
    fn first_tier(&self) -> Vec<usize> {
        let may = |at: &usize| self.weights[*at] > 0 && self.rows[*at].is_eligible;
        let tier = |at: usize| self.rules.tiers.get(at).copied().unwrap_or(0);
        let least = (0..self.rows.len()).filter(may).map(tier).min();
        (0..self.rows.len()).filter(may).filter(|at| Some(tier(*at)) == least).collect()
    }

    fn dollars(&self, at: usize, cached: f64) -> f64 {
        let rate = self.rules.rates.get(at).copied().unwrap_or_default();
        rate.input as f64 * (f64::from(self.ask.tokens) - cached)
            + rate.cached as f64 * cached
            + rate.output as f64 * f64::from(self.ask.output)
    }
}

prop_compose! {
    fn row()(
        is_eligible in prop::bool::weighted(0.6),
        in_flight in 0u32..4,
        prefill_tokens in 0u64..20_000,
        decode_tokens in 0u64..20_000,
        latency_s in prop::option::of(0.01f32..3.0),
        pace_s in prop::option::of(1e-6f32..1e-3),
    ) -> Row {
        Row { is_eligible, in_flight, prefill_tokens, decode_tokens, latency_s, pace_s, is_stale: false }
    }
}

prop_compose! {
    fn rate()(input in 0u64..20_000_000, cached in 0u64..2_000_000, output in 0u64..60_000_000) -> Rate {
        Rate { input, cached, output }
    }
}

prop_compose! {
    fn affinity()(ttl_s in 0u32..600, kept in 0.0f64..=1.0, least_tokens in 0u32..3_000, second in 0.0f64..1e11) -> Affinity {
        Affinity { ttl_s, kept, least_tokens, second }
    }
}

prop_compose! {
    fn rules(len: usize)(
        tiers in prop_oneof![Just(Vec::new()), prop::collection::vec(0u16..3, len)],
        rates in prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(rate(), len)],
        sticky_s in prop_oneof![2 => Just(0u32), 1 => 1u32..1_000],
        affinity in prop::option::of(affinity()),
        lowest_cost in prop::option::of(0.0f64..0.5),
        lowest_latency in prop::option::of(0.0f64..0.5),
    ) -> Modifiers {
        Modifiers { tiers, rates, sticky_s, affinity, lowest_cost, lowest_latency }
    }
}

fn cases() -> impl Gen<Value = Case> {
    (1usize..140).prop_flat_map(|len| {
        (
            prop::collection::vec(row(), len),
            prop::collection::vec(prop_oneof![1 => Just(0u32), 5 => 1u32..5], len),
            rules(len),
            prop::option::of((0..len, 0u32..50_000, 0u32..1_200)),
            (1u32..50_000, 0u32..4_000, prop::bool::weighted(0.8)),
            prop::sample::select(NAMES),
            any::<u64>(),
        )
            .prop_map(|(rows, weights, rules, home, (tokens, output, has_key), strategy, seed)| Case {
                rows,
                weights,
                rules,
                home: home.map(|(at, tokens, age_s)| Home { at, tokens, age_s }),
                ask: Ask { tokens, output, hash: has_key.then_some(KEY), now: Nanos(0) },
                strategy,
                seed,
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The laws of strategies hold under any modifiers around any strategy, and an earlier tier goes before everything else.
    #[test]
    fn only_the_first_tier_that_can_take_it_is_asked(case in cases()) {
        let (found, _) = case.run();
        let first = case.first_tier();
        prop_assert_eq!(found.is_none(), first.is_empty());
        prop_assert!(found.is_none_or(|at| first.contains(&at)));
        prop_assert_eq!(case.run().0, found);
    }

    /// A session stays where it was, whatever that costs, as long as it may be picked and did not pause for too long.
    #[test]
    fn a_session_stays(mut case in cases(), sticky_s in 1u32..1_000) {
        case.rules.sticky_s = sticky_s;
        let (found, view) = case.run();
        let home = case.home.filter(|home| case.ask.hash.is_some() && home.age_s <= sticky_s);
        if let Some(home) = home.filter(|home| case.first_tier().contains(&home.at)) {
            prop_assert_eq!(found, Some(home.at));
        }
        let kept = found.filter(|_| case.ask.hash.is_some()).map(|at| (KEY, at, case.ask.tokens));
        prop_assert_eq!(view.kept.get(), kept);
    }

    /// The law of break-even, in dollars: home is left only for a place that is worth more than the lost cache, and then it is left.
    #[test]
    fn a_warm_cache_is_left_only_for_what_beats_it(mut case in cases(), affinity in affinity()) {
        (case.rules.sticky_s, case.rules.affinity) = (0, Some(affinity));
        let first = case.first_tier();
        let (Some(home), Some(_)) = (case.home.filter(|home| first.contains(&home.at)), case.ask.hash) else { return Ok(()) };
        let cached = f64::from(case.ask.tokens.min(home.tokens)) * affinity.kept;
        if home.age_s > affinity.ttl_s || cached < f64::from(affinity.least_tokens) || cached == 0.0 {
            return Ok(());
        }
        let known: Vec<f64> = first.iter().filter_map(|at| case.rows[*at].pace_s).map(f64::from).collect();
        let mean = if known.is_empty() { 0.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let total = |at: usize, cached: f64| {
            let row = &case.rows[at];
            let line = row.prefill_tokens as f64 + f64::from(case.ask.tokens) - cached + DECODE_PART * row.decode_tokens as f64;
            case.dollars(at, cached) + affinity.second * row.pace_s.map_or(mean, f64::from) * line
        };
        let at_home = total(home.at, cached);
        let found = case.run().0.unwrap();
        let better = |at: usize| at != home.at && total(at, 0.0) < at_home * (1.0 + 1e-12);
        if first.iter().any(|at| *at != home.at && total(*at, 0.0) < at_home * (1.0 - 1e-12)) {
            prop_assert!(better(found), "stayed at {} for {at_home}, {} elsewhere", home.at, total(found, 0.0));
        } else {
            prop_assert!(found == home.at || better(found));
        }
    }

    /// Without a session, nothing dearer than the cheapest and the part above it.
    #[test]
    fn the_cheapest_are_asked(mut case in cases(), part in 0.0f64..0.5) {
        (case.rules.lowest_cost, case.ask.hash) = (Some(part), None);
        let least = case.first_tier().iter().map(|at| case.dollars(*at, 0.0)).fold(f64::INFINITY, f64::min);
        if let (Some(at), _) = case.run() {
            prop_assert!(case.dollars(at, 0.0) <= least * (1.0 + part) * (1.0 + 1e-12));
        }
    }

    /// Without a session and a look at the cost, nobody slower than the fastest and the part above it; who is not known may be the fastest.
    #[test]
    fn the_fastest_are_asked(mut case in cases(), part in 0.0f64..0.5) {
        (case.rules.lowest_latency, case.rules.lowest_cost, case.ask.hash) = (Some(part), None, None);
        let latency = |at: usize| case.rows[at].latency_s.map_or(0.0, f64::from);
        let least = case.first_tier().iter().map(|at| latency(*at)).fold(f64::INFINITY, f64::min);
        if let (Some(at), _) = case.run() {
            prop_assert!(latency(at) <= least * (1.0 + part) * (1.0 + 1e-12));
        }
    }
}

#[test]
fn what_was_slow_once_is_asked_again_when_nothing_was_heard_of_it() {
    let slow = Row { latency_s: Some(5.0), is_stale: true, ..Row::default() };
    let fast = Row { latency_s: Some(0.1), ..Row::default() };
    let rules = Modifiers { lowest_latency: Some(0.0), ..Modifiers::default() };
    let strategy = modified(build("random", &[1, 1], 0, 0.0, &["a", "b"], 0).unwrap(), &rules, &[1, 1]).unwrap();
    let view = Rows { rows: vec![slow, fast], ..Rows::default() };
    let ask = Ask { tokens: 1, output: 0, hash: None, now: Nanos(0) };
    let mut rng = Rng::new(1);
    let asked = (0..16_000).filter(|_| strategy.select(&view, &ask, &mut rng) == Some(0)).count();
    assert!((900..1_100).contains(&asked), "{asked}");
}

#[test]
fn modifiers_that_do_not_fit_the_pool_are_refused_with_their_field() {
    let refused = |rules: &Modifiers| {
        modified(build("random", &[1, 1], 0, 0.0, &["a", "b"], 0).unwrap(), rules, &[1, 1])
            .err()
            .map(|error| error.to_string())
    };
    let affinity = Affinity { ttl_s: 1, kept: 0.9, least_tokens: 0, second: 0.0 };
    assert_eq!(refused(&Modifiers::default()), None);
    assert!(refused(&Modifiers { tiers: vec![0], ..Modifiers::default() }).unwrap().starts_with("tiers: 1 for 2"));
    assert!(
        refused(&Modifiers { rates: vec![Rate::default(); 3], ..Modifiers::default() })
            .unwrap()
            .starts_with("rates: 3")
    );
    for part in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(
            refused(&Modifiers { lowest_cost: Some(part), ..Modifiers::default() }).unwrap().starts_with("lowest_cost")
        );
    }
    let kept = Modifiers { affinity: Some(Affinity { kept: 1.5, ..affinity }), ..Modifiers::default() };
    assert!(refused(&kept).unwrap().starts_with("affinity.kept"));
    let second = Modifiers { affinity: Some(Affinity { second: -1.0, ..affinity }), ..Modifiers::default() };
    assert!(refused(&second).unwrap().starts_with("affinity.second"));
}
