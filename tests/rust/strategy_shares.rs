//! What a strategy gives to each position: shares by chi-square (alpha 1e-6), and the arithmetic of costs.

use std::cell::RefCell;

use _core::rng::Rng;
use _core::select::rows::{Row, Rows};
use _core::select::{Ask, Strategy, View, build};
use _core::units::Nanos;

/// Enough to tell shares that differ by a few percent; a release build can afford more.
const PICKS: u64 = if cfg!(debug_assertions) { 40_000 } else { 1_000_000 };

fn strategy(name: &str, weights: &[u32], choices: usize) -> Box<dyn Strategy> {
    let names: Vec<String> = (0..weights.len()).map(|at| format!("endpoint-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    build(name, weights, choices, 0.0, &names, 1).expect("a pool without faults")
}

fn ask(hash: Option<u64>) -> Ask {
    Ask { tokens: 100, output: 0, hash, now: Nanos(0) }
}

/// Picks for each position of a view that does not change.
fn counts(strategy: &dyn Strategy, view: &dyn View, picks: u64, seed: u64) -> Vec<u64> {
    let (mut counts, mut rng, mut keys) = (vec![0; view.len()], Rng::new(seed), Rng::new(!seed));
    for _ in 0..picks {
        let at = strategy.select(view, &ask(Some(keys.next_u64())), &mut rng);
        counts[at.expect("somebody is eligible")] += 1;
    }
    counts
}

/// Whether `counts` may come from `due` (any scale): below the chi-square quantile of 1 - 1e-6, by Wilson and Hilferty.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn fits(counts: &[u64], due: &[f64]) -> bool {
    let scale = counts.iter().sum::<u64>() as f64 / due.iter().sum::<f64>();
    let cells = || counts.iter().zip(due).map(|(&count, due)| (count as f64, due * scale));
    if cells().any(|(count, due)| due == 0.0 && count > 0.0) {
        return false;
    }
    let live = || cells().filter(|&(_, due)| due > 0.0);
    let chi_square: f64 = live().map(|(count, due)| (count - due).powi(2) / due).sum();
    let freedom = live().count() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    freedom < 1.0 || chi_square < freedom * (1.0 - spread + 4.753_4 * spread.sqrt()).powi(3)
}

/// Weights as shares, of the positions that are eligible.
fn due(weights: &[u32], is_eligible: &[bool]) -> Vec<f64> {
    weights.iter().zip(is_eligible).map(|(&weight, &may)| if may { f64::from(weight) } else { 0.0 }).collect()
}

/// All subsets of `len` positions, but the empty one.
fn subsets(len: usize) -> impl Iterator<Item = Vec<bool>> {
    (1..1usize << len).map(move |bits| (0..len).map(|at| bits >> at & 1 == 1).collect())
}

#[test]
fn random_draws_are_uniform_and_alias_draws_go_by_weight() {
    let weights: Vec<u32> = (0..50).map(|at| at * at % 23).collect();
    for seed in 0..20 {
        let view = Rows::idle(50);
        let live: Vec<f64> = weights.iter().map(|&weight| f64::from(weight.min(1))).collect();
        assert!(fits(&counts(&*strategy("random", &weights, 0), &view, PICKS, seed), &live), "seed {seed}");
        let weighted = due(&weights, &[true; 50]);
        assert!(
            fits(&counts(&*strategy("weighted_random", &weights, 0), &view, PICKS, seed), &weighted),
            "seed {seed}"
        );
    }
}

#[test]
fn shares_go_by_weight_for_every_set_of_eligible_positions() {
    let weights = [1, 2, 3, 4, 10];
    for (name, choices) in
        [("random", 0), ("weighted_random", 0), ("rendezvous", 0), ("least_connections", 0), ("least_connections", 2)]
    {
        let strategy = strategy(name, &weights, choices);
        for (seed, is_eligible) in (0..).zip(subsets(weights.len())) {
            let due = due(if name == "random" { &[1; 5] } else { &weights }, &is_eligible);
            let counts = counts(&*strategy, &Rows::only(&is_eligible), PICKS / 4, seed);
            assert!(fits(&counts, &due), "{name}/{choices} of {is_eligible:?}: {counts:?}");
        }
    }
}

/// Tables are even to their own precision, a ring to 8 %, so that a chi-square would tell them from the ideal.
#[test]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn tables_come_close_to_weights_for_every_set_of_eligible_positions() {
    let weights = [1, 2, 3, 4, 10];
    for (name, tolerance) in [("maglev", 0.12), ("ring_hash", 0.35)] {
        let strategy = strategy(name, &weights, 4);
        for (seed, is_eligible) in (0..).zip(subsets(weights.len())) {
            let due = due(&weights, &is_eligible);
            let counts = counts(&*strategy, &Rows::only(&is_eligible), PICKS / 4, seed);
            for (&count, due_each) in counts.iter().zip(&due) {
                let due_each = due_each / due.iter().sum::<f64>() * (PICKS / 4) as f64;
                assert!(
                    (count as f64 - due_each).abs() <= tolerance * due_each,
                    "{name} of {is_eligible:?}: {counts:?}"
                );
            }
        }
    }
}

/// Turns are exact: over a period, everyone who is eligible gets its weight, whoever else is out.
#[test]
fn turns_are_exact_over_a_period_for_every_set_of_eligible_positions() {
    for (name, weights) in
        [("weighted", [1, 2, 3, 4, 2]), ("round_robin", [1, 1, 1, 1, 1]), ("weighted", [3, 1, 1, 0, 2])]
    {
        let strategy = strategy(name, &weights, 0);
        let total = u64::from(weights.iter().sum::<u32>());
        for is_eligible in subsets(weights.len()) {
            let due = due(&weights, &is_eligible);
            // Less than a quarter of the turns: gaps of more than 2n turns may occur, after which a pick is drawn.
            if due.iter().sum::<f64>() * 4.0 < f64::from(weights.iter().sum::<u32>()) {
                continue;
            }
            let (view, mut rng) = (Rows::only(&is_eligible), Rng::new(1));
            let mut counts = [0u32; 5];
            while let Some(at) = strategy.select(&view, &ask(None), &mut rng) {
                if view.turns.load(std::sync::atomic::Ordering::Relaxed) > 3 * total {
                    break;
                }
                counts[at] += 1;
            }
            let counts = counts.map(|count| f64::from(count) / 3.0);
            assert_eq!(counts.to_vec(), due, "{name} {weights:?} of {is_eligible:?}");
        }
    }
}

#[test]
fn when_only_light_positions_are_left_they_are_drawn_by_weight() {
    let strategy = strategy("weighted", &[1_000, 1, 3, 0], 0);
    let counts = counts(&*strategy, &Rows::only(&[false, true, true, true]), PICKS / 4, 5);
    assert!(fits(&counts, &[0.0, 1.0, 3.0, 0.0]), "{counts:?}");
}

#[test]
fn workers_that_share_a_cursor_keep_one_order() {
    let weights = [5u32, 1, 1, 3];
    let strategy = strategy("weighted", &weights, 0);
    let view = Rows::idle(4);
    let worker = || counts(&*strategy, &view, 500, 1);
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (at, weight) in weights.into_iter().enumerate() {
        assert_eq!(counts.iter().map(|counts| counts[at]).sum::<u64>(), 400 * u64::from(weight));
    }
}

/// Notes whose load is read: the sample.
struct Noting {
    rows: Rows,
    read: RefCell<Vec<usize>>,
}

impl View for Noting {
    fn len(&self) -> usize {
        self.rows.len()
    }
    fn is_eligible(&self, at: usize) -> bool {
        self.rows.is_eligible(at)
    }
    fn in_flight(&self, at: usize) -> u32 {
        self.read.borrow_mut().push(at);
        0
    }
    fn prefill_tokens(&self, _at: usize) -> u64 {
        0
    }
    fn decode_tokens(&self, _at: usize) -> u64 {
        0
    }
    fn latency_s(&self, _at: usize) -> Option<f32> {
        None
    }
    fn pace_s(&self, _at: usize) -> Option<f32> {
        None
    }
    fn is_stale(&self, _at: usize) -> bool {
        false
    }
    fn next_turn(&self) -> u64 {
        0
    }
}

/// In the small pool pairs come from rejected draws; with 10 of 1,000 eligible most are filled up by the scan.
#[test]
fn two_choices_are_a_uniform_pair_however_they_are_found() {
    for (len, live) in [(20, 20), (1_000, 10)] {
        let strategy = strategy("least_connections", &vec![1; len], 2);
        let is_eligible: Vec<bool> = (0..len).map(|at| at % (len / live) == 0).collect();
        let view = Noting { rows: Rows::only(&is_eligible), read: RefCell::default() };
        let mut pairs = vec![0; live * live];
        let mut rng = Rng::new(11);
        for _ in 0..PICKS / 2 {
            strategy.select(&view, &ask(None), &mut rng);
            let read = view.read.take();
            let [one, other] = read[..] else { panic!("{read:?} is no pair") };
            let (low, high) = (one.min(other) / (len / live), one.max(other) / (len / live));
            pairs[low * live + high] += 1;
        }
        let due: Vec<f64> = (0..live * live).map(|pair| if pair / live < pair % live { 1.0 } else { 0.0 }).collect();
        assert!(fits(&pairs, &due), "{live} of {len}");
    }
}

/// A birth-death chain of exponential servers, looked at one event at a time: the mean time in the system against the
/// fixed point `sum lambda^((d^i - d) / (d - 1))`, which for 100 servers and two choices is 2.67 instead of 2.61.
#[test]
fn two_choices_wait_as_long_as_theory_says() {
    const SERVERS: usize = 100;
    let strategy = strategy("least_connections", &[1; SERVERS], 2);
    let (mut view, mut rng) = (Rows::idle(SERVERS), Rng::new(4));
    let (mut held, mut sum, mut seen) = (0u32, 0.0, 0.0);
    for event in 0..900_000 {
        if rng.unit() < 0.9 / 1.9 {
            let at = strategy.select(&view, &ask(None), &mut rng).unwrap();
            view.rows[at].in_flight += 1;
            held += 1;
        } else {
            let row = &mut view.rows[rng.below(SERVERS)];
            held -= row.in_flight.min(1);
            row.in_flight = row.in_flight.saturating_sub(1);
        }
        if event > 100_000 {
            sum += f64::from(held);
            seen += 1.0;
        }
    }
    let sojourn = sum / seen / 100.0 / 0.9;
    assert!((sojourn / 2.67 - 1.0).abs() < 0.05, "{sojourn}");
}

#[test]
fn loads_are_compared_by_weight() {
    let strategy = strategy("least_connections", &[1, 3, 2], 0);
    let mut view = Rows::idle(3);
    for (in_flight, expected) in [([1, 2, 2], 1), ([1, 4, 1], 2), ([0, 1, 1], 0)] {
        for (row, in_flight) in view.rows.iter_mut().zip(in_flight) {
            row.in_flight = in_flight;
        }
        assert_eq!(strategy.select(&view, &ask(None), &mut Rng::new(1)), Some(expected));
    }
}

/// The position picked most of the time; exploring takes a few percent.
fn usual(strategy: &dyn Strategy, view: &dyn View) -> usize {
    let counts = counts(strategy, view, 500, 1);
    (0..counts.len()).max_by_key(|&at| counts[at]).expect("a pool")
}

#[test]
fn work_is_prompt_tokens_and_a_part_of_what_is_owed_at_the_pace_shown() {
    let strategy = strategy("least_work", &[1, 1, 2, 1], 0);
    let idle = Row { pace_s: Some(1e-4), in_flight: 1, ..Row::default() };
    let rows = |changed: [Row; 4]| Rows { rows: changed.to_vec(), ..Rows::default() };

    let by_tokens = [900, 300, 1_000, 500].map(|prefill_tokens| Row { prefill_tokens, ..idle });
    assert_eq!(usual(&*strategy, &rows(by_tokens)), 1);
    let by_weight = [900, 600, 1_000, 500].map(|prefill_tokens| Row { prefill_tokens, ..idle });
    assert_eq!(usual(&*strategy, &rows(by_weight)), 2);
    let by_debt = [10, 9, 200, 400].map(|decode_tokens| Row { prefill_tokens: 200, decode_tokens, ..idle });
    assert_eq!(usual(&*strategy, &rows(by_debt)), 2);
    let by_pace = [1e-4, 9e-5, 3e-4, f32::NAN].map(|pace_s| Row { pace_s: Some(pace_s), ..idle });
    assert_eq!(usual(&*strategy, &rows(by_pace)), 1);
}

#[test]
fn what_is_not_known_counts_as_the_mean_of_what_is() {
    for (name, known, loads) in [
        ("least_work", [Some(1.0), None, Some(3.0)], [300, 101, 33]),
        ("peak_ewma", [Some(1.0), None, Some(3.0)], [5, 1, 2]),
    ] {
        let strategy = strategy(name, &[1; 3], 0);
        let row = |(value, load): (Option<f32>, u32)| Row {
            pace_s: value,
            latency_s: value,
            in_flight: load,
            prefill_tokens: load.into(),
            ..Row::default()
        };
        let mut view = Rows { rows: known.into_iter().zip(loads).map(row).collect(), ..Rows::default() };
        // 3 * (33 + 100) = 399 and 1 * (300 + 100) = 400 against 2 * (101 + 100) = 402; 6 and 9 against 4.
        assert_eq!(usual(&*strategy, &view), if name == "least_work" { 2 } else { 1 });
        view.rows[1].prefill_tokens = 98;
        // 2 * (98 + 100) = 396. A value that cannot be a measure is not known either.
        for value in [None, Some(f32::NAN), Some(f32::INFINITY), Some(0.0), Some(-2.0)] {
            (view.rows[1].pace_s, view.rows[1].latency_s) = (value, value);
            assert_eq!(usual(&*strategy, &view), 1, "{name}: {value:?}");
        }
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn a_slow_endpoint_is_asked_now_and_then_while_it_is_idle_and_not_while_it_hangs() {
    for name in ["least_work", "peak_ewma"] {
        for (len, choices, floor) in [(2, 0, 0.005), (16, 4, 0.005), (16, 0, 0.005), (100, 4, 0.0008)] {
            let strategy = strategy(name, &vec![1; len], choices);
            let mut view = Rows::idle(len);
            for row in &mut view.rows {
                (row.pace_s, row.latency_s, row.in_flight) = (Some(1e-4), Some(0.1), 1);
            }
            view.rows[0] = Row { pace_s: Some(1.0), latency_s: Some(1e3), ..Row::default() };
            let share = counts(&*strategy, &view, PICKS, 1)[0] as f64 / PICKS as f64;
            assert!((share / floor - 1.0).abs() < 0.6, "{name} of {len}: {share}");

            view.rows[0].in_flight = 1;
            assert_eq!(counts(&*strategy, &view, PICKS / 4, 1)[0], 0, "{name} of {len}");
        }
    }
}
