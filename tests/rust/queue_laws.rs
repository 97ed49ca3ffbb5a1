//! The law of fair queueing, over workers that each know only what waits at themselves.

use std::sync::Arc;

use _core::board::{Board, Sizes};
use _core::engine::{Engine, GateTable, Head, Tables, Turns};
use _core::limit::Spec;
use _core::units::Nanos;
use proptest::prelude::*;

const WORKERS: usize = 3;

/// A key that always has something waiting: its weight, the workers that it is connected to, the sizes of its requests in turn.
#[derive(Clone, Debug)]
struct Flow {
    weight: u32,
    workers: [bool; WORKERS],
    tokens: Vec<u32>,
}

prop_compose! {
    fn flow()(
        weight in 1u32..10,
        mut workers in prop::array::uniform3(prop::bool::ANY),
        first in 0..WORKERS,
        tokens in prop::collection::vec(1u32..5_000, 1..8),
    ) -> Flow {
        workers[first] = true;
        Flow { weight, workers, tokens }
    }
}

fn queues() -> Vec<Turns> {
    let sizes =
        Sizes { workers: WORKERS as u32, endpoints: 1, keys: 1, models: 1, pairs: 1, pools: 1, users: 0, sessions: 0 };
    let board = Arc::new(Board::heap(sizes).expect("sizes in range"));
    let tables = Tables { models: vec![GateTable { slot: 0, limits: Spec::default() }], ..Tables::default() };
    (0..WORKERS).map(|column| Engine::new(&board, column, &tables).expect("tables that fit").turns(0)).collect()
}

/// The flow that a worker would serve next, among those that wait with it.
fn head(flows: &[Flow], queue: &Turns, worker: usize) -> Option<usize> {
    (0..flows.len()).filter(|at| flows[*at].workers[worker]).min_by_key(|at| queue.start(*at))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What two flows that both wait are served over any interval, each divided by its weight, differs by at most one request of each.
    /// Workers look at what they show when they serve and when they are rung, and at no other time.
    #[test]
    fn no_flow_gets_less_than_its_share_by_more_than_one_request(flows in prop::collection::vec(flow(), 2..6)) {
        check(&flows)?;
    }
}

fn check(flows: &[Flow]) -> Result<(), TestCaseError> {
    let queues = queues();
    for (worker, queue) in queues.iter().enumerate() {
        for at in (0..flows.len()).filter(|at| flows[*at].workers[worker]) {
            queue.join(at);
        }
        show(flows, queue, worker);
    }
    let (mut served, mut asked) = (vec![0.0f64; flows.len()], vec![0usize; flows.len()]);
    let mut spreads: Vec<Spread> =
        (0..flows.len()).flat_map(|one| (0..one).map(move |other| Spread::new(one, other))).collect();
    for _ in 0..600 {
        let (worker, at) = turn(flows, &queues);
        let flow = &flows[at];
        let tokens = flow.tokens[asked[at] % flow.tokens.len()];
        queues[worker].serve(at, u64::from(tokens), flow.weight, Nanos(0));
        for other in (0..WORKERS).filter(|other| *other == worker || queues[*other].take_ring()) {
            show(flows, &queues[other], other);
        }
        asked[at] += 1;
        served[at] += f64::from(tokens) / f64::from(flow.weight);
        for spread in &mut spreads {
            spread.on(&served);
        }
    }
    for spread in spreads {
        let found = spread.high - spread.low;
        prop_assert!(found <= longest(&flows[spread.one]) + longest(&flows[spread.other]) + 1e-2, "{spread:?}");
    }
    Ok(())
}

fn longest(flow: &Flow) -> f64 {
    flow.tokens.iter().map(|tokens| f64::from(*tokens) / f64::from(flow.weight)).fold(0.0, f64::max)
}

/// How far what two flows were served has been apart, in both directions.
#[derive(Debug)]
struct Spread {
    one: usize,
    other: usize,
    low: f64,
    high: f64,
}

impl Spread {
    fn new(one: usize, other: usize) -> Self {
        Self { one, other, low: 0.0, high: 0.0 }
    }

    fn on(&mut self, served: &[f64]) {
        let difference = served[self.one] - served[self.other];
        self.low = self.low.min(difference);
        self.high = self.high.max(difference);
    }
}

fn show(flows: &[Flow], queue: &Turns, worker: usize) {
    let alone = flows.iter().filter(|flow| flow.workers[worker]).count() == 1;
    queue.show(head(flows, queue, worker).map(|flow| Head { flow, since: Nanos(0), alone }));
}

/// The worker and the flow whose turn it is: as workers find it, each renewing what it shows when it is rung.
fn turn(flows: &[Flow], queues: &[Turns]) -> (usize, usize) {
    for _ in 0..=WORKERS * flows.len() {
        queues[0].ring();
        let worker = (0..WORKERS).find(|worker| queues[*worker].take_ring()).expect("somebody waits");
        show(flows, &queues[worker], worker);
        if queues[worker].is_next() {
            return (worker, head(flows, &queues[worker], worker).expect("what is shown waits"));
        }
    }
    panic!("nobody's turn");
}
