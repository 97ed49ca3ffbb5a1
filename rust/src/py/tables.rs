//! The tables of a configuration, read from Python objects by attribute. Once per reload.

use pyo3::prelude::*;

use crate::board::Sizes;
use crate::engine::{EndpointTable, GateTable, PoolTable, Tables};
use crate::error::TableError;
use crate::health::{Policy, PoolPolicy, breaker};
use crate::limit::Spec;
use crate::select::{Affinity, Modifiers, Rate};

#[derive(FromPyObject)]
pub(super) struct SizesIn {
    workers: u32,
    endpoints: u32,
    keys: u32,
    models: u32,
    pairs: u32,
    pools: u32,
    users: u32,
    sessions: u32,
}

impl From<SizesIn> for Sizes {
    fn from(sizes: SizesIn) -> Self {
        let SizesIn { workers, endpoints, keys, models, pairs, pools, users, sessions } = sizes;
        Self { workers, endpoints, keys, models, pairs, pools, users, sessions }
    }
}

#[derive(FromPyObject)]
struct LimitsIn {
    requests_per_min: u64,
    tokens_per_min: u64,
    input_tokens_per_min: u64,
    uncached_input_tokens_per_min: u64,
    output_tokens_per_min: u64,
    concurrency: u32,
    burst_s: f64,
}

impl LimitsIn {
    fn checked(self, path: &str) -> Result<Spec, TableError> {
        if !(self.burst_s.is_finite() && self.burst_s > 0.0) {
            return Err(TableError::new(format!("{path}.burst_s"), format!("{} is not above 0", self.burst_s)));
        }
        let per_minute = [
            self.requests_per_min,
            self.tokens_per_min,
            self.input_tokens_per_min,
            self.uncached_input_tokens_per_min,
            self.output_tokens_per_min,
        ];
        Ok(Spec { per_minute, concurrency: self.concurrency, burst_s: self.burst_s })
    }
}

#[derive(FromPyObject)]
struct EndpointIn {
    slot: u16,
    name: String,
    weight: u32,
    draining: bool,
    limits: LimitsIn,
    account: u16,
    adaptive: bool,
}

#[derive(FromPyObject)]
struct GateIn {
    slot: u16,
    limits: LimitsIn,
}

#[derive(FromPyObject)]
struct PoolIn {
    slot: u16,
    model: u16,
    strategy: String,
    choices: u32,
    bounded_load: f64,
    endpoints: Vec<u16>,
    pairs: Vec<u32>,
    retry_percent: u32,
    retry_per_s: u32,
    health: HealthIn,
    modifiers: ModifiersIn,
}

#[derive(FromPyObject)]
struct ModifiersIn {
    tiers: Vec<u16>,
    rates: Vec<(u64, u64, u64)>,
    sticky_s: u32,
    affinity: Option<(u32, f64, u32, f64)>,
    lowest_cost: Option<f64>,
    lowest_latency: Option<f64>,
}

impl From<ModifiersIn> for Modifiers {
    fn from(found: ModifiersIn) -> Self {
        let ModifiersIn { tiers, rates, sticky_s, affinity, lowest_cost, lowest_latency } = found;
        let rates = rates.into_iter().map(|(input, cached, output)| Rate { input, cached, output }).collect();
        let affinity =
            affinity.map(|(ttl_s, kept, least_tokens, second)| Affinity { ttl_s, kept, least_tokens, second });
        Self { tiers, rates, sticky_s, affinity, lowest_cost, lowest_latency }
    }
}

#[derive(FromPyObject)]
struct HealthIn {
    consecutive: u32,
    ratio_permille: u32,
    min_requests: u32,
    window_ms: u32,
    open_ms: u32,
    longest_ms: u32,
    probes: u32,
    slow_start_ms: u32,
    outlier_permille: u32,
    ejected_permille: u32,
    panic_permille: u32,
}

impl From<HealthIn> for Policy {
    fn from(health: HealthIn) -> Self {
        Self {
            breaker: breaker::Policy {
                consecutive: health.consecutive.clamp(1, breaker::MOST_CONSECUTIVE),
                ratio_permille: health.ratio_permille,
                min_requests: health.min_requests.clamp(1, breaker::MOST_SEEN),
                window_ms: health.window_ms,
                open_ms: health.open_ms,
                longest_ms: health.longest_ms.min(breaker::LONGEST_MS),
                probes: health.probes.max(1),
                slow_start_ms: health.slow_start_ms,
            },
            pool: PoolPolicy {
                outlier_permille: health.outlier_permille,
                ejected_permille: health.ejected_permille,
                panic_permille: health.panic_permille,
            },
        }
    }
}

#[derive(FromPyObject)]
pub(super) struct TablesIn {
    endpoints: Vec<EndpointIn>,
    keys: Vec<GateIn>,
    users: Vec<GateIn>,
    models: Vec<GateIn>,
    pools: Vec<PoolIn>,
}

impl TryFrom<TablesIn> for Tables {
    type Error = TableError;

    fn try_from(tables: TablesIn) -> Result<Self, TableError> {
        let endpoint = |(at, row): (usize, EndpointIn)| {
            let limits = row.limits.checked(&format!("endpoints[{at}].limits"))?;
            let EndpointIn { slot, name, weight, draining, account, adaptive, .. } = row;
            Ok(EndpointTable { slot, name, weight, limits, draining, account, adaptive })
        };
        Ok(Self {
            endpoints: tables.endpoints.into_iter().enumerate().map(endpoint).collect::<Result<_, TableError>>()?,
            keys: gates("keys", tables.keys)?,
            users: gates("users", tables.users)?,
            models: gates("models", tables.models)?,
            pools: tables.pools.into_iter().map(PoolTable::from).collect(),
        })
    }
}

fn gates(kind: &str, rows: Vec<GateIn>) -> Result<Vec<GateTable>, TableError> {
    let gate = |(at, row): (usize, GateIn)| {
        let limits = row.limits.checked(&format!("{kind}[{at}].limits"))?;
        Ok(GateTable { slot: row.slot, limits })
    };
    rows.into_iter().enumerate().map(gate).collect()
}

impl From<PoolIn> for PoolTable {
    fn from(pool: PoolIn) -> Self {
        Self {
            slot: pool.slot,
            model: pool.model,
            strategy: pool.strategy,
            choices: pool.choices,
            bounded_load: pool.bounded_load,
            endpoints: pool.endpoints,
            pairs: pool.pairs,
            retry_percent: pool.retry_percent,
            retry_per_s: pool.retry_per_s,
            health: pool.health.into(),
            modifiers: pool.modifiers.into(),
        }
    }
}
