//! The engines of a run: one for each worker, on one board or on one each.

use std::sync::Arc;

use super::EPOCH;
use super::scenario::{Limits, Scenario};
use crate::board::{Board, Sizes};
use crate::engine::{EndpointTable, Engine, GateTable, Pool, PoolTable, Tables};
use crate::error::TableError;
use crate::health::Policy;
use crate::limit::Spec;
use crate::select::{Affinity, Modifiers, Rate};
use crate::snapshot;
use crate::units::Nanos;

/// Lines of eight cells in which sessions are remembered.
const SESSION_LINES: u32 = 1024;

/// See the module.
pub(super) struct Boards {
    boards: Vec<Arc<Board>>,
    engines: Vec<Arc<Engine>>,
}

impl Boards {
    pub(super) fn new(scenario: &Scenario) -> Result<Self, TableError> {
        let tables = tables(scenario);
        let workers = if scenario.shared { scenario.workers } else { 1 };
        let board = || {
            let sizes = Sizes {
                workers,
                endpoints: scenario.endpoints.len() as u32,
                keys: scenario.tenants.len() as u32,
                models: 1,
                pairs: scenario.endpoints.len() as u32,
                pools: 1,
                users: 0,
                sessions: if scenario.policy.affinity.is_some() { SESSION_LINES } else { 0 },
            };
            Board::heap(sizes).map(Arc::new).map_err(|error| TableError::new("endpoints", error.to_string()))
        };
        let boards: Vec<_> =
            (0..if scenario.shared { 1 } else { scenario.workers }).map(|_| board()).collect::<Result<_, _>>()?;
        let engines = (0..scenario.workers as usize).map(|worker| {
            let (board, column) = if scenario.shared { (&boards[0], worker) } else { (&boards[worker], 0) };
            Engine::new(board, column, &tables).map(Arc::new)
        });
        Ok(Self { engines: engines.collect::<Result<_, _>>()?, boards })
    }

    pub(super) fn engine(&self, worker: usize) -> &Arc<Engine> {
        &self.engines[worker]
    }

    pub(super) fn pool(&self, worker: usize) -> &Arc<Pool> {
        self.engines[worker].pool(0).expect("the tables have one pool")
    }

    pub(super) fn workers(&self) -> usize {
        self.engines.len()
    }

    /// All that is held: requests, tokens, probes.
    pub(super) fn held(&self) -> u64 {
        let endpoints = |board: &Board| -> u64 {
            let rows = (0..board.sizes().endpoints as usize).map(|slot| snapshot::endpoint(board, slot));
            rows.map(|row| row.in_flight + row.prefill_tokens + row.decode_tokens + row.probes).sum()
        };
        let gates = |board: &Board| -> u64 {
            let keys = (0..board.sizes().keys as usize).map(|slot| snapshot::key(board, slot).in_flight);
            keys.sum::<u64>() + snapshot::model(board, 0).in_flight
        };
        self.boards.iter().map(|board| endpoints(board) + gates(board)).sum()
    }
}

/// The engine's clock: words of the board take 0 for "never".
pub(super) const fn clock(now: Nanos) -> Nanos {
    now.plus(EPOCH)
}

fn tables(scenario: &Scenario) -> Tables {
    let slots = 0..scenario.endpoints.len() as u16;
    Tables {
        endpoints: slots
            .clone()
            .zip(&scenario.endpoints)
            .map(|(slot, endpoint)| EndpointTable {
                slot,
                name: format!("endpoint-{slot}"),
                weight: endpoint.weight,
                limits: spec(&endpoint.limits),
                draining: false,
                account: slot,
                adaptive: true,
            })
            .collect(),
        keys: (0..)
            .zip(&scenario.tenants)
            .map(|(slot, tenant)| GateTable { slot, limits: spec(&tenant.limits) })
            .collect(),
        users: Vec::new(),
        models: vec![GateTable { slot: 0, limits: Spec::default() }],
        pools: vec![PoolTable {
            slot: 0,
            model: 0,
            strategy: scenario.policy.strategy.clone(),
            choices: scenario.policy.choices,
            bounded_load: scenario.policy.bounded_load,
            pairs: slots.clone().map(u32::from).collect(),
            endpoints: slots.collect(),
            retry_percent: scenario.client.retry_percent,
            retry_per_s: scenario.client.retry_per_s,
            health: Policy::default(),
            modifiers: modifiers(scenario),
        }],
    }
}

/// What the policy narrows the choice by.
fn modifiers(scenario: &Scenario) -> Modifiers {
    let policy = &scenario.policy;
    let compares = policy.lowest_cost.is_some() || policy.affinity.is_some();
    let rate = |(input, cached, output)| Rate { input, cached, output };
    Modifiers {
        tiers: if policy.priority { scenario.endpoints.iter().map(|one| one.tier).collect() } else { Vec::new() },
        rates: if compares { scenario.endpoints.iter().map(|one| rate(one.rates)).collect() } else { Vec::new() },
        sticky_s: 0,
        affinity: policy.affinity.map(|(ttl_s, kept, least_tokens, second)| Affinity {
            ttl_s,
            kept,
            least_tokens,
            second,
        }),
        lowest_cost: policy.lowest_cost,
        lowest_latency: policy.lowest_latency,
    }
}

fn spec(limits: &Limits) -> Spec {
    Spec {
        per_minute: [limits.requests_per_min, limits.tokens_per_min, 0, 0, 0],
        concurrency: limits.concurrency,
        burst_s: limits.burst_s,
    }
}
