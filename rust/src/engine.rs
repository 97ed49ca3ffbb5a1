//! One call per decision: `admit` a client's request, `acquire` a place for an attempt, `settle` both.
//!
//! An engine is one generation of tables over the board. A reload builds another over the same board; leases of the old one keep its tables
//! alive, and limits, breakers, averages and loads carry over because they live in the rows that names keep.
//!
//! Time and randomness are arguments, so a decision can be replayed.

mod budget;
mod build;
mod hedge;
mod lease;
mod pool;
mod records;
mod refusal;
mod sessions;
mod tables;
mod tape;
mod ticket;
mod trail;
mod turns;
mod view;
mod warmth;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use hedge::HEDGES;
pub use lease::{Ending, Lease};
pub use pool::{Pool, Wish};
pub use records::{Choice, KEPT, Records, Request};
pub use refusal::{Refusal, Refused, Whose};
pub use tables::{EndpointTable, GateTable, PoolTable, Tables};
pub use tape::{Facts, Told};
use ticket::Charged;
pub use ticket::{Outcome, Ticket, Who};
pub use trail::Trail;
pub use turns::{FLOWS, Head, Turns};

use crate::board::{Board, LEFT_OUT};
use crate::error::TableError;
use crate::health::FAILURES;
use crate::health::breaker::{self, State};
use crate::health::ewma;
use crate::limit::estimate::Learned;
use crate::limit::found::{self, Found};
use crate::limit::{self, Gate, Limits, Use, keyed};
use crate::units::Nanos;

/// The outcome word of requests that a limit of their key or model refused: beside the failures.
pub const REFUSED: usize = FAILURES.len();

const _: () = assert!(FAILURES.len() + LEFT_OUT.len() <= 24, "they share three lines of an endpoint's row");

/// Answers of a model that were asked for once and given more than once, and those that were not, in the order of their words.
pub const SHARED: [&str; 5] = ["joined", "dropped", "hit", "miss", "bypass"];

/// The routing of one configuration, as one worker sees it.
pub struct Engine {
    board: Arc<Board>,
    column: usize,
    /// Slot, limits, and where the capacity is kept that is found, if it is looked for.
    endpoints: Vec<(u16, Limits, Option<u16>)>,
    keys: Vec<Option<Limits>>,
    /// Of each user of a key, by the key's slot.
    users: Vec<Option<Limits>>,
    models: Vec<Option<Limits>>,
    pools: Vec<Arc<Pool>>,
    records: Arc<Records>,
}

/// What an endpoint allows now, for metrics and the admin page.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauges {
    /// Its row.
    pub slot: u16,
    /// Units that fit at once now, by limit.
    pub remaining: Vec<(&'static str, u64)>,
    /// Its breaker.
    pub breaker: State,
    /// Time for which the provider asked to be left alone.
    pub cooling: Nanos,
    /// Average time to first token, s.
    pub latency_s: Option<f32>,
    /// Average time per token of work, s.
    pub pace_s: Option<f32>,
    /// What it was found to bear; nothing for endpoints that never refused.
    pub found: Found,
}

impl Engine {
    /// Tables made ready for the worker with this column.
    ///
    /// # Errors
    /// What does not fit the board, or no strategy can work with.
    pub fn new(board: &Arc<Board>, column: usize, tables: &Tables) -> Result<Self, TableError> {
        Self::recording(board, column, tables, &Arc::new(Records::new("")))
    }

    /// The same, with records that outlive it.
    ///
    /// # Errors
    /// As of `new`.
    pub fn recording(
        board: &Arc<Board>,
        column: usize,
        tables: &Tables,
        records: &Arc<Records>,
    ) -> Result<Self, TableError> {
        if column >= board.sizes().workers as usize {
            return Err(TableError::new(
                "worker",
                format!("{column} is not below the board's {}", board.sizes().workers),
            ));
        }
        tables.check(board)?;
        build::greet(board, tables);
        let built = |at| build::pool(board, column, tables, at, records);
        let pools = (0..tables.pools.len()).map(built).collect::<Result<_, _>>()?;
        Ok(Self {
            board: Arc::clone(board),
            column,
            endpoints: tables
                .endpoints
                .iter()
                .map(|row| (row.slot, Limits::new(&row.limits), build::account_of(tables, row).first().copied()))
                .collect(),
            keys: by_slot(&tables.keys),
            users: by_slot(&tables.users),
            models: by_slot(&tables.models),
            pools,
            records: Arc::clone(records),
        })
    }

    /// The pool at a place of the tables.
    #[must_use]
    pub fn pool(&self, index: usize) -> Option<&Arc<Pool>> {
        self.pools.get(index)
    }

    /// Whether a model of this slot is configured.
    #[must_use]
    pub fn has_model(&self, slot: u16) -> bool {
        limits_of(&self.models, slot).is_some()
    }

    /// Whether a key of this slot is configured.
    #[must_use]
    pub fn has_key(&self, slot: u16) -> bool {
        limits_of(&self.keys, slot).is_some()
    }

    /// Takes a client's request in: a place and units on its key and its model, all or nothing. Both have been checked to exist.
    ///
    /// Where requests of the model wait, another one is refused: it takes its turn.
    ///
    /// # Errors
    /// A refusal, and whose it is.
    pub fn admit(
        self: &Arc<Self>,
        model: u16,
        who: impl Into<Who>,
        tokens: Use,
        now: Nanos,
    ) -> Result<Ticket, Refused> {
        if turns::is_crowded(&self.board, usize::from(model)) {
            return Err((Refusal { retry_after: None, why: Refusal::QUEUE }, Whose::Queue));
        }
        self.admit_next(model, who, tokens, now)
    }

    /// The same for a request that has waited and whose turn it is.
    ///
    /// # Errors
    /// As `admit`.
    pub fn admit_next(
        self: &Arc<Self>,
        model: u16,
        who: impl Into<Who>,
        tokens: Use,
        now: Nanos,
    ) -> Result<Ticket, Refused> {
        let Who { key, user } = who.into();
        let has_users = user.filter(|_| key.is_some_and(|key| limits_of(&self.users, key).is_some()));
        let charged = match (key, has_users) {
            (Some(key), Some(tag)) => return self.admit_user(model, key, tag, tokens, now),
            _ => Charged { model, key, user: None },
        };
        self.charge(charged, tokens, now)?;
        Ok(Ticket::new(Arc::clone(self), charged, tokens, now))
    }

    /// Notes for the records how a request was let in, or was not. A number of 0 is not noted.
    ///
    /// # Errors
    /// What it is given.
    pub fn noted(
        &self,
        request: u64,
        model: u16,
        who: Who,
        now: Nanos,
        admitted: Result<Ticket, Refused>,
    ) -> Result<Ticket, Refused> {
        if request == 0 {
            return admitted;
        }
        self.records.admitted(request, model, who.key, now, admitted.as_ref().err());
        admitted.map(|ticket| ticket.noted(request))
    }

    /// Where requests are noted.
    #[must_use]
    pub const fn records(&self) -> &Arc<Records> {
        &self.records
    }

    /// The same for a user with limits of its own.
    fn admit_user(
        self: &Arc<Self>,
        model: u16,
        key: u16,
        tag: u128,
        tokens: Use,
        now: Nanos,
    ) -> Result<Ticket, Refused> {
        loop {
            let cell = keyed::find(&self.board, key, tag, now);
            let charged = Charged { model, key: Some(key), user: Some(cell.row) };
            self.charge(charged, tokens, now)?;
            if keyed::is_kept(&self.board, cell) {
                let overflows = self.board.key(usize::from(key)).overflows();
                overflows.fetch_add(u64::from(cell.is_shared()), Relaxed);
                return Ok(Ticket::new(Arc::clone(self), charged, tokens, now));
            }
            // Its cell was as good as new and went to somebody else at this moment: it finds another one.
            give_back(self.gates(charged), tokens, now);
        }
    }

    /// Takes a place and units everywhere, or nothing.
    fn charge(&self, charged: Charged, tokens: Use, now: Nanos) -> Result<(), Refused> {
        let units = tokens.units();
        for (place, (limits, gate)) in self.gates(charged).enumerate() {
            if let Err(block) = limits.reserve(gate, &units, now) {
                give_back(self.gates(charged).take(place), tokens, now);
                return Err((block.into(), charged.whose(place)));
            }
        }
        Ok(())
    }

    /// What was learned of the prompts and answers of `model`.
    #[must_use]
    pub fn learned(&self, model: u16) -> Learned {
        Learned::read(self.board.model(usize::from(model)).learned())
    }

    /// Counts a request of `model` that ended without a ticket: a failure number or [`REFUSED`].
    pub fn count(&self, model: u16, outcome: usize) {
        self.board.model(usize::from(model)).outcomes().at(outcome).fetch_add(1, Relaxed);
    }

    /// Counts an answer of `model` by its place in [`SHARED`].
    pub fn share(&self, model: u16, at: usize) {
        if let Some(word) = self.board.model(usize::from(model)).shared().get(at) {
            word.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that was refused for good: by `admit`, or because too many wait already.
    pub fn refuse(&self, model: u16, key: Option<u16>) {
        self.count(model, REFUSED);
        if let Some(key) = key {
            self.board.key(usize::from(key)).refused().fetch_add(1, Relaxed);
        }
    }

    /// The queue of a model.
    #[must_use]
    pub fn turns(&self, model: u16) -> Turns {
        Turns::new(Arc::clone(&self.board), self.column, usize::from(model))
    }

    /// What each endpoint allows now.
    #[must_use]
    pub fn gauges(&self, now: Nanos) -> Vec<Gauges> {
        self.endpoints.iter().map(|(slot, limits, account)| self.gauge(*slot, limits, *account, now)).collect()
    }

    fn gauge(&self, slot: u16, limits: &Limits, account: Option<u16>, now: Nanos) -> Gauges {
        let row = self.board.endpoint(usize::from(slot));
        let found = account.map_or(0, |slot| self.board.endpoint(usize::from(slot)).found().load(Relaxed));
        Gauges {
            slot,
            remaining: limits.remaining(self.gate(row.in_flight(), row.buckets()), now),
            breaker: breaker::state(row.breaker().load(Relaxed), now),
            cooling: Nanos(row.not_before().load(Relaxed)).since(now),
            latency_s: ewma::faded(row.latency().load(Relaxed), ewma::LATENCY, now),
            pace_s: ewma::value(row.pace().load(Relaxed)),
            found: found::read(found, now),
        }
    }

    /// Limits and state of the key, the model and the user, in the order in which they are taken.
    fn gates(&self, charged: Charged) -> impl Iterator<Item = (&Limits, Gate<'_>)> {
        let Charged { model, key, user } = charged;
        let user = user.zip(key).and_then(|(cell, key)| {
            let row = self.board.user(cell);
            Some((limits_of(&self.users, key)?, self.gate(row.in_flight(), row.buckets())))
        });
        let key = key.and_then(|slot| {
            let row = self.board.key(usize::from(slot));
            Some((limits_of(&self.keys, slot)?, self.gate(row.in_flight(), row.buckets())))
        });
        let row = self.board.model(usize::from(model));
        let model = limits_of(&self.models, model).map(|limits| (limits, self.gate(row.in_flight(), row.buckets())));
        key.into_iter().chain(model).chain(user)
    }

    fn gate<'a>(&self, in_flight: &'a crate::board::Columns, buckets: &'a [AtomicU64; 8]) -> Gate<'a> {
        Gate { in_flight, buckets, minute: None, workers: self.board.sizes().workers as usize, column: self.column }
    }
}

/// Undoes a charge at the same instant.
fn give_back<'a>(gates: impl Iterator<Item = (&'a Limits, Gate<'a>)>, tokens: Use, now: Nanos) {
    for (limits, gate) in gates {
        limits.refund(gate, tokens, now, now);
        limit::release(gate);
    }
}

/// Limits at the place of their slot.
fn by_slot(rows: &[GateTable]) -> Vec<Option<Limits>> {
    let length = rows.iter().map(|row| usize::from(row.slot) + 1).max().unwrap_or(0);
    let mut limits = vec![None; length];
    for row in rows {
        limits[usize::from(row.slot)] = Some(Limits::new(&row.limits));
    }
    limits
}

fn limits_of(limits: &[Option<Limits>], slot: u16) -> Option<&Limits> {
    limits.get(usize::from(slot))?.as_ref()
}

fn count_tokens(cells: &[AtomicU64], used: Use) {
    for (cell, tokens) in cells.iter().zip([used.input, used.output, used.cached]) {
        if tokens > 0 {
            cell.fetch_add(u64::from(tokens), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
