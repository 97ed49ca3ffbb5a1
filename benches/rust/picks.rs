//! Nanoseconds for one pick of each strategy over a view in plain vectors: the strategies' own cost, without the board's.
//!
//! `cargo bench --bench picks`, or with `--profile dev-release` for a faster build. Best of seven runs.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use std::hint::black_box;
use std::time::Instant;

use _core::rng::Rng;
use _core::select::rows::Rows;
use _core::select::{Ask, STRATEGIES, Strategy, build};
use _core::units::Nanos;

const SIZES: [usize; 3] = [16, 1_000, 10_000];
const RUNS: usize = 7;

fn main() {
    println!("ns per pick, and ms to build the largest, by size of the pool");
    println!("{:<28}{:>10}{:>10}{:>10}{:>10}", "", SIZES[0], SIZES[1], SIZES[2], "build");
    for &(name, _) in STRATEGIES {
        row(name, 0.0, false);
    }
    row("ring_hash", 1.25, false);
    row("rendezvous", 0.0, true);
    row("weighted", 0.0, true);
}

fn row(name: &str, bounded_load: f64, is_uneven: bool) {
    let times = SIZES.map(|size| best(name, bounded_load, is_uneven, size));
    let bound = if bounded_load > 0.0 { " bounded" } else { "" };
    let uneven = if is_uneven { " uneven" } else { "" };
    let [small, middle, (large, build)] = times;
    println!("{:<28}{:>10.1}{:>10.1}{large:>10.1}{build:>10.1}", format!("{name}{bound}{uneven}"), small.0, middle.0);
}

/// Best time of a pick, in ns, and the time of building, in ms.
fn best(name: &str, bounded_load: f64, is_uneven: bool, size: usize) -> (f64, f64) {
    let names: Vec<String> = (0..size).map(|at| format!("endpoint-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let weights: Vec<u32> = (0..8).cycle().take(size).map(|at| if is_uneven { 1 + at } else { 1 }).collect();
    let choices = if name == "least_work" { 4 } else { 2 };
    let start = Instant::now();
    let strategy = build(name, &weights, choices, bounded_load, &names, 1).expect("a pool without faults");
    let build_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut view = Rows::idle(size);
    let mut rng = Rng::new(1);
    for row in &mut view.rows {
        row.prefill_tokens = rng.next_u64() % 4_000;
        row.decode_tokens = rng.next_u64() % 4_000;
        (row.in_flight, row.pace_s, row.latency_s) = (rng.below(8) as u32, Some(1e-4), Some(0.1));
    }
    let picks = if size > 16 && (bounded_load > 0.0 || name == "rendezvous") { 2_000 } else { 100_000 };
    ((0..RUNS).map(|_| timed(&*strategy, &view, picks)).fold(f64::INFINITY, f64::min), build_ms)
}

fn timed(strategy: &dyn Strategy, view: &Rows, picks: u32) -> f64 {
    let mut rng = Rng::new(2);
    let start = Instant::now();
    for key in 0..u64::from(picks) {
        let ask = Ask { tokens: 1_000, output: 256, hash: Some(key), now: Nanos(0) };
        assert!(black_box(strategy.select(black_box(view), &ask, &mut rng)).is_some());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(picks)
}
