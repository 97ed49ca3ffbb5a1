//! A simulation of what dispatch does to traffic: events in virtual time, around the same engine that routes requests in production.
//!
//! Strategies, limits, breakers, averages, retry budget and board are not modelled, they are called: [`crate::engine`] has no clock and
//! no chance of its own, so it does not notice. Modelled are the traffic (`traffic.rs`), what stands behind the endpoints (`replica.rs`,
//! `hosted.rs`, `servers.rs`), what goes wrong (`site.rs`), and the loop of retries that lives in Python (`attempt.rs`, `retry.rs`).
//!
//! The same scenario and seed give the same report, bit for bit. Workers take turns in one thread: races between processes are what
//! the tests of the board are for; here it matters what each worker sees.

mod agenda;
mod attempt;
mod boards;
mod cache;
mod call;
mod chance;
mod hosted;
mod job;
mod line;
mod quota;
pub mod record;
mod replica;
pub mod retry;
pub mod scenario;
mod servers;
mod site;
mod traffic;
mod world;

use record::Report;
use scenario::Scenario;

use crate::error::TableError;
use crate::units::{NS_PER_S, Nanos};

/// The engine's clock at the beginning of a run: words of the board take 0 for "never".
const EPOCH: Nanos = Nanos(1 << 44);

/// Runs a scenario.
///
/// # Errors
/// What is wrong with it.
pub fn run(scenario: &Scenario) -> Result<Report, TableError> {
    scenario.check()?;
    Ok(world::World::new(scenario)?.run())
}

/// A scenario and its report as JSON.
///
/// # Errors
/// What is wrong with the scenario.
pub fn run_json(scenario: &str) -> Result<String, TableError> {
    let scenario: Scenario =
        serde_json::from_str(scenario).map_err(|error| TableError::new("scenario", error.to_string()))?;
    serde_json::to_string(&run(&scenario)?).map_err(|error| TableError::new("report", error.to_string()))
}

/// Seconds as a span.
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "spans of a run, not negative")]
fn span(value_s: f64) -> Nanos {
    Nanos((value_s.max(0.0) * NS_PER_S as f64) as u64)
}

/// A span in seconds.
#[expect(clippy::cast_precision_loss, reason = "spans of a run")]
fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / NS_PER_S as f64
}

#[cfg(test)]
mod tests;
