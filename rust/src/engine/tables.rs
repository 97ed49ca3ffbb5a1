//! What one generation of the configuration says, in slots of the board. Checked once, when an [`super::Engine`] is built.

use crate::board::Board;
use crate::error::TableError;
use crate::health::Policy;
use crate::limit::Spec;
use crate::select::Modifiers;

/// One endpoint.
#[derive(Clone, Debug)]
pub struct EndpointTable {
    /// Its row on the board.
    pub slot: u16,
    /// What hash strategies place it by; the same in every process and after every reload.
    pub name: String,
    /// Share of the traffic; 0 takes no new requests.
    pub weight: u32,
    /// What may be used of it.
    pub limits: Spec,
    /// Whether it takes no new requests.
    pub draining: bool,
    /// Endpoints with the same number share an account with the provider; its own slot when it shares none.
    pub account: u16,
    /// Whether limits that nobody configured are looked for.
    pub adaptive: bool,
}

/// One API key or one model.
#[derive(Clone, Debug)]
pub struct GateTable {
    /// Its row on the board.
    pub slot: u16,
    /// What may be used of it.
    pub limits: Spec,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct PoolTable {
    /// Its row on the board.
    pub slot: u16,
    /// The row of the model whose plan holds it.
    pub model: u16,
    /// The strategy's name.
    pub strategy: String,
    /// Positions to draw and compare; 0 for all.
    pub choices: u32,
    /// Most load of one endpoint, as a multiple of the mean; 0 for no bound.
    pub bounded_load: f64,
    /// Slots of its endpoints, in order. A slot stands at most once.
    pub endpoints: Vec<u16>,
    /// The pair row of the pool's model with each endpoint, in the same order.
    pub pairs: Vec<u32>,
    /// Retries allowed for each hundred requests.
    pub retry_percent: u32,
    /// Retries allowed in each second besides.
    pub retry_per_s: u32,
    /// How it deals with endpoints that do not do well.
    pub health: Policy,
    /// Whom its strategy may choose among.
    pub modifiers: Modifiers,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Every endpoint that a pool names.
    pub endpoints: Vec<EndpointTable>,
    /// Keys with their limits.
    pub keys: Vec<GateTable>,
    /// For keys whose users have limits of their own: those of each user.
    pub users: Vec<GateTable>,
    /// Models with their limits.
    pub models: Vec<GateTable>,
    /// Pools; the place in this list is what [`super::Engine::pool`] takes.
    pub pools: Vec<PoolTable>,
}

impl Tables {
    /// Refuses what does not fit the board or itself.
    ///
    /// # Errors
    /// The first thing that is wrong, by its path. What is only too large says that a restart is needed.
    pub fn check(&self, board: &Board) -> Result<(), TableError> {
        let sizes = board.sizes();
        let slots = |rows: &mut dyn Iterator<Item = u16>, kind: &str, room: u32| {
            rows.enumerate()
                .find(|(_, slot)| u32::from(*slot) >= room)
                .map_or(Ok(()), |(at, slot)| Err(full(&format!("{kind}[{at}].slot"), u64::from(slot), room)))
        };
        slots(&mut self.endpoints.iter().map(|row| row.slot), "endpoints", sizes.endpoints)?;
        if !self.users.is_empty() && sizes.users == 0 {
            return Err(TableError::new(
                "keys",
                "the board has no room for users: limits for each user need a restart",
            ));
        }
        slots(&mut self.keys.iter().map(|row| row.slot), "keys", sizes.keys)?;
        slots(&mut self.models.iter().map(|row| row.slot), "models", sizes.models)?;
        slots(&mut self.pools.iter().map(|row| row.slot), "pools", sizes.pools)?;
        slots(&mut self.pools.iter().map(|row| row.model), "models", sizes.models)?;
        self.pools
            .iter()
            .enumerate()
            .try_for_each(|(at, pool)| self.check_pool(at, pool, sizes.pairs, sizes.sessions > 0))
    }

    fn check_pool(&self, at: usize, pool: &PoolTable, pairs: u32, has_sessions: bool) -> Result<(), TableError> {
        let path = |field: &str| format!("pools[{at}].{field}");
        if pool.modifiers.keeps_sessions() && !has_sessions {
            return Err(TableError::new(path("modifiers"), "the board has no room for sessions: needs a restart"));
        }
        if pool.endpoints.is_empty() {
            return Err(TableError::new(path("endpoints"), "a pool has at least one endpoint"));
        }
        if pool.pairs.len() != pool.endpoints.len() {
            return Err(TableError::new(path("pairs"), "one for each endpoint"));
        }
        if let Some(pair) = pool.pairs.iter().find(|pair| **pair >= pairs) {
            return Err(full(&path("pairs"), u64::from(*pair), pairs));
        }
        for (place, slot) in pool.endpoints.iter().enumerate() {
            if !self.endpoints.iter().any(|endpoint| endpoint.slot == *slot) {
                return Err(TableError::new(
                    path(&format!("endpoints[{place}]")),
                    format!("slot {slot} is no endpoint"),
                ));
            }
            if pool.endpoints[..place].contains(slot) {
                return Err(TableError::new(path(&format!("endpoints[{place}]")), format!("slot {slot} stands twice")));
            }
        }
        Ok(())
    }
}

fn full(path: &str, found: u64, room: u32) -> TableError {
    TableError::new(path, format!("{found} is beyond the board's {room} rows: needs a restart"))
}
