//! Pools as tables describe them, ready for use.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::pool::{Place, Pool};
use super::records::Records;
use super::{EndpointTable, PoolTable, Tables, budget};
use crate::board::Board;
use crate::error::TableError;
use crate::health::FAILURES;
use crate::health::breaker;
use crate::limit::Limits;
use crate::select::{self, Strategy};

/// The pool at a place of the tables.
pub(super) fn pool(
    board: &Arc<Board>,
    column: usize,
    tables: &Tables,
    at: usize,
    records: &Arc<Records>,
) -> Result<Arc<Pool>, TableError> {
    let table = &tables.pools[at];
    let rows: Vec<&EndpointTable> = table
        .endpoints
        .iter()
        .filter_map(|slot| tables.endpoints.iter().find(|endpoint| endpoint.slot == *slot))
        .collect();
    let places = rows.iter().zip(&table.pairs).map(|(row, pair)| Place {
        owner: row.account,
        slot: row.slot,
        pair: *pair,
        limits: Limits::new(&row.limits),
        draining: row.draining || row.weight == 0,
        account: account_of(tables, row),
        models: models_on(tables, row.slot),
    });
    let within = |error: TableError| TableError::new(format!("pools[{at}].{}", error.path), error.reason);
    Ok(Arc::new(Pool {
        board: Arc::clone(board),
        column,
        slot: usize::from(table.slot),
        strategy: strategy_of(table, &rows).map_err(within)?,
        places: places.collect(),
        budget: budget::Budget::new(table.retry_percent, table.retry_per_s),
        health: table.health,
        is_metered: rows.iter().any(|row| Limits::new(&row.limits).has_rates()),
        tag: records.tag(),
        records: Arc::clone(records),
    }))
}

/// The endpoints whose capacity is found together with that of one.
pub(super) fn account_of(tables: &Tables, row: &EndpointTable) -> Box<[u16]> {
    let shared = tables.endpoints.iter().filter(|other| other.adaptive && other.account == row.account);
    if row.adaptive { shared.map(|other| other.slot).collect() } else { Box::default() }
}

/// The models that a place on an endpoint may serve.
fn models_on(tables: &Tables, endpoint: u16) -> Box<[u16]> {
    let mut models: Vec<u16> =
        tables.pools.iter().filter(|pool| pool.endpoints.contains(&endpoint)).map(|pool| pool.model).collect();
    models.sort_unstable();
    models.dedup();
    models.into()
}

/// Marks rows that were never used: those of the first generation as known, those that a reload adds for a slow start.
pub(super) fn greet(board: &Board, tables: &Tables) {
    let rows = || tables.endpoints.iter().map(|endpoint| board.endpoint(usize::from(endpoint.slot)));
    let is_in_use = rows().any(|row| (0..FAILURES.len()).any(|ending| row.attempts().at(ending).load(Relaxed) > 0));
    let mark = if is_in_use { breaker::ADDED } else { breaker::KNOWN };
    for row in rows() {
        // Another worker may have been first.
        let _marked = row.breaker().compare_exchange(0, mark, Relaxed, Relaxed);
    }
}

fn strategy_of(table: &PoolTable, rows: &[&EndpointTable]) -> Result<Box<dyn Strategy>, TableError> {
    let weights: Vec<u32> = rows.iter().map(|row| row.weight).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    // One seed for all pools: a session's key goes to the same endpoint through whichever pool it comes.
    let inner = select::build(&table.strategy, &weights, table.choices as usize, table.bounded_load, &names, 0)?;
    select::modified(inner, &table.modifiers, &weights)
}
