//! One decision and its end, in the core: `acquire` and `settle` of a pool of sixteen, with and without limits of rate.
//!
//! `cargo bench --bench acquire`, or with `--profile dev-release` for a faster build: nanoseconds, best of seven runs. For instructions, which
//! a busy machine does not blur, run the program under `valgrind --tool=callgrind` with a number of decisions and a case, twice, and
//! take the difference: `acquire 20000 limits`.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use std::sync::Arc;
use std::time::Instant;

use _core::board::{Board, Sizes};
use _core::engine::{Ending, EndpointTable, Engine, GateTable, PoolTable, Tables, Wish};
use _core::health::{Failure, Policy};
use _core::limit::{Spec, Use};
use _core::select::Modifiers;
use _core::units::Nanos;

const ENDPOINTS: u16 = 16;
const CASES: [(&str, [u64; 5]); 2] = [("plain", [0; 5]), ("limits", [1 << 40, 1 << 40, 0, 0, 0])];
const TOKENS: Use = Use { input: 1_000, output: 200, cached: 0 };

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|given| !given.starts_with("--")).collect();
    if let [count, name] = given.as_slice() {
        let (_, limits) = CASES.iter().find(|(case, _)| case == name).expect("plain or limits");
        return decide(&engine(*limits), 0, count.parse().expect("a number of decisions"));
    }
    for (name, limits) in CASES {
        let engine = engine(limits);
        let best = (0..7).map(|run| timed(&engine, run * 100_000)).fold(f64::INFINITY, f64::min);
        println!("{name:<10}{best:>10.1} ns for acquire and settle");
    }
}

fn timed(engine: &Engine, from: u64) -> f64 {
    let start = Instant::now();
    decide(engine, from, 100_000);
    start.elapsed().as_secs_f64() * 1e9 / 1e5
}

fn decide(engine: &Engine, from: u64, count: u64) {
    let pool = engine.pool(0).expect("one pool");
    for turn in from..from + count {
        let now = Nanos((1 << 50) + turn * 100_000);
        let wish = Wish {
            tried: 0,
            tokens: TOKENS,
            now,
            draw: turn.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            hash: None,
            request: 0,
        };
        let Ok(lease) = pool.acquire(&wish) else { panic!("there is room") };
        lease.settle(&Ending { failure: Failure::None, now: now.plus(Nanos(50_000)), used: TOKENS, cool_ms: 0 });
    }
}

fn engine(per_minute: [u64; 5]) -> Arc<Engine> {
    let sizes = Sizes { workers: 4, endpoints: 16, keys: 1, models: 1, pairs: 16, pools: 1, users: 0, sessions: 0 };
    let slots: Vec<u16> = (0..ENDPOINTS).collect();
    let row = |slot: &u16| EndpointTable {
        slot: *slot,
        name: format!("e{slot}"),
        weight: 1,
        limits: Spec { per_minute, ..Spec::default() },
        draining: false,
        account: *slot,
        adaptive: true,
    };
    let tables = Tables {
        endpoints: slots.iter().map(row).collect(),
        models: vec![GateTable { slot: 0, limits: Spec::default() }],
        pools: vec![PoolTable {
            slot: 0,
            model: 0,
            strategy: "least_work".into(),
            choices: 4,
            bounded_load: 0.0,
            pairs: slots.iter().map(|slot| u32::from(*slot)).collect(),
            endpoints: slots,
            retry_percent: 20,
            retry_per_s: 10,
            health: Policy::default(),
            modifiers: Modifiers::default(),
        }],
        ..Tables::default()
    };
    let board = Arc::new(Board::heap(sizes).expect("sizes without faults"));
    Arc::new(Engine::new(&board, 0, &tables).expect("tables without faults"))
}
