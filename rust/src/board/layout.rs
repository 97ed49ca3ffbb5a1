//! Where each thing stands on the board: sections of equal rows, each row a whole number of cache lines.
//!
//! ```text
//! header   magic, version, sizes | overhead histogram | waiting | blocked
//! endpoint in flight | prefill | decode | probes | cells x2 | counters | attempts x3 | left out, booked | spare
//! key      in flight | cells | counters
//! model    in flight | queued | head | since | rung | cells | queue | outcomes x3 | waits x3 | cost, learned | turns x128
//! pair     time to first token x3 | duration x3        (one model on one endpoint)
//! pool     cursor, retry budget, cached parts | hedges   (or the pacer of a route's budget)
//! user     in flight | cell                            (a user of a key; after them one shared cell for each key)
//! sessions eight cells                                (where the requests of a session went last)
//! minute   words | ring x16 for each of four kinds     (what was taken of an endpoint in each half second, `limit::window`)
//! ```
//!
//! Lines up to the first `cells`, and `waiting` and `blocked`, are *held* things: sixteen u32, a column per worker, zeroed when the worker dies. The rest are u64 words
//! that all workers share: cells are state (buckets, breaker, averages), counters only grow and survive their writers.

use std::ops::Range;

/// Most workers that one board can serve: the columns of a line.
pub const COLUMNS: usize = 16;
/// Lines of the header.
pub const HEADER_LINES: usize = 8;
/// First line of the overhead histogram in the header.
pub const OVERHEAD: usize = 2;
/// The line of the header that says how many requests wait for a place, at any model.
pub const WAITING: usize = 5;
/// The line of the header that says how many keys at limits of their own have requests that wait.
pub const BLOCKED: usize = 6;
/// Lines in which a model keeps whose turn it is.
pub const TURN_LINES: usize = 128;
/// Lines of one endpoint. Twelve are found by a shift and an addition in each pick, eleven would take a multiplication.
pub const ENDPOINT_LINES: usize = 12;
/// Lines of one key.
pub const KEY_LINES: usize = 3;
/// Lines of one model.
pub const MODEL_LINES: usize = 14 + TURN_LINES;
/// Lines of one pair.
pub const PAIR_LINES: usize = 6;
/// Lines of one pool.
pub const POOL_LINES: usize = 2;
/// Lines of one user.
pub const USER_LINES: usize = 2;
/// Lines of the ring of one kind of tokens: 128 words.
pub const RING_LINES: usize = 16;
/// Lines of one endpoint's minute: a word and a ring for each kind of tokens.
pub const MINUTE_LINES: usize = 1 + 4 * RING_LINES;
/// Held lines at the start of an endpoint's, a key's, a model's and a user's row.
pub const HELD: [usize; 4] = [4, 1, 5, 1];

/// First word of every board: `dispatch` in ASCII.
pub const MAGIC: u64 = u64::from_be_bytes(*b"dispatch");
/// Grows with every change of what stands where.
pub const VERSION: u64 = 13;

/// How much room a board has. Fixed for its life; a configuration that needs more needs a new board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Columns in use: 1 to 16. A load is summed over these only.
    pub workers: u32,
    /// Rows for endpoints.
    pub endpoints: u32,
    /// Rows for keys.
    pub keys: u32,
    /// Rows for models.
    pub models: u32,
    /// Rows for (model, endpoint) pairs.
    pub pairs: u32,
    /// Rows for pools.
    pub pools: u32,
    /// Cells for users of keys; 0 when no key has limits for its users.
    pub users: u32,
    /// Lines of eight cells for sessions; 0 when no pool keeps them.
    pub sessions: u32,
}

/// First line of each section, and the number of lines in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starts {
    /// Of the endpoints.
    pub endpoints: usize,
    /// Of the keys.
    pub keys: usize,
    /// Of the models.
    pub models: usize,
    /// Of the pairs.
    pub pairs: usize,
    /// Of the pools.
    pub pools: usize,
    /// Of the users.
    pub users: usize,
    /// Of the sessions.
    pub sessions: usize,
    /// Of the rings.
    pub minutes: usize,
    /// The length of the board.
    pub end: usize,
}

impl Sizes {
    /// The sizes as the header holds them.
    #[must_use]
    pub const fn words(&self) -> [u64; 8] {
        [
            self.workers as u64,
            self.endpoints as u64,
            self.keys as u64,
            self.models as u64,
            self.pairs as u64,
            self.pools as u64,
            self.users as u64,
            self.sessions as u64,
        ]
    }

    /// Rows of the users' section: the cells, and one for each key that stands in when none of them is free.
    #[must_use]
    pub const fn user_rows(&self) -> usize {
        if self.users == 0 { 0 } else { self.users as usize + self.keys as usize }
    }

    /// What is wrong with them, if anything: slots are u16, columns are sixteen.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if !(1..=COLUMNS as u64).contains(&u64::from(self.workers)) {
            return Some(format!("workers: {} is not in 1..={COLUMNS}", self.workers));
        }
        let rows = [("endpoints", self.endpoints), ("keys", self.keys), ("models", self.models), ("pools", self.pools)];
        let slots = rows.iter().find(|(_, count)| !(1..=1 << 16).contains(count));
        if let Some((name, count)) = slots {
            return Some(format!("{name}: {count} is not in 1..=65536"));
        }
        if !(1..=1 << 20).contains(&self.pairs) {
            return Some(format!("pairs: {} is not in 1..=1048576", self.pairs));
        }
        let cells = [("users", self.users), ("sessions", self.sessions)];
        let beyond = cells.iter().find(|(_, count)| *count > 1 << 16);
        beyond.map(|(name, count)| format!("{name}: {count} is not in 0..=65536"))
    }

    /// Where the sections begin.
    #[must_use]
    pub const fn starts(&self) -> Starts {
        let endpoints = HEADER_LINES;
        let keys = endpoints + self.endpoints as usize * ENDPOINT_LINES;
        let models = keys + self.keys as usize * KEY_LINES;
        let pairs = models + self.models as usize * MODEL_LINES;
        let pools = pairs + self.pairs as usize * PAIR_LINES;
        let users = pools + self.pools as usize * POOL_LINES;
        let sessions = users + self.user_rows() * USER_LINES;
        let minutes = sessions + self.sessions as usize;
        let end = minutes + self.endpoints as usize * MINUTE_LINES;
        Starts { endpoints, keys, models, pairs, pools, users, sessions, minutes, end }
    }

    /// The held lines of every row and of the header.
    pub fn held(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let starts = self.starts();
        let sections = [
            (starts.endpoints, self.endpoints as usize, ENDPOINT_LINES, HELD[0]),
            (starts.keys, self.keys as usize, KEY_LINES, HELD[1]),
            (starts.models, self.models as usize, MODEL_LINES, HELD[2]),
            (starts.users, self.user_rows(), USER_LINES, HELD[3]),
        ];
        let rows = sections.into_iter().flat_map(|(start, rows, lines, held)| {
            (0..rows).map(move |row| start + row * lines..start + row * lines + held)
        });
        rows.chain(std::iter::once(WAITING..BLOCKED + 1))
    }
}
