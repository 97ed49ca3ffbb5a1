//! "Not now": a value, not an error.

use crate::limit::{Block, KINDS};

/// At whose door a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A limit of its key.
    Key,
    /// A limit of its model.
    Model,
    /// Others wait for the model already.
    Queue,
    /// No endpoint of the pool may take it.
    Pool,
}

/// Why a request was not let in, and by whom.
pub type Refused = (Refusal, Whose);

impl Whose {
    /// As it is called outside.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Queue => "queue",
            Self::Pool => "pool",
        }
    }
}

/// Why a request got no place, and when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Nanoseconds until a place is free if nobody else takes it; `None` when waiting cannot help or nobody can know.
    pub retry_after: Option<u64>,
    /// The limit's name, or `breaker`, `cooling`, `draining`, `tried`.
    pub why: &'static str,
}

impl Refusal {
    /// The breaker is open.
    pub const BREAKER: &'static str = "breaker";
    /// The provider asked for a pause.
    pub const COOLING: &'static str = "cooling";
    /// No endpoint takes new requests.
    pub const DRAINING: &'static str = "draining";
    /// It was free, and another worker was faster.
    pub const LOST: &'static str = "lost";
    /// Others came before.
    pub const QUEUE: &'static str = "queue";
    /// Every endpoint was tried.
    pub const TRIED: &'static str = "tried";

    /// Which of two reasons tells more about a pool: the shorter known wait; then what passes by itself, then what never does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.retry_after, other.retry_after) {
            (Some(a), Some(b)) => {
                if b < a {
                    other
                } else {
                    self
                }
            }
            (Some(_), None) => self,
            (None, Some(_)) => other,
            (None, None) => {
                if other.rank() < self.rank() {
                    other
                } else {
                    self
                }
            }
        }
    }

    fn rank(&self) -> u8 {
        match self.why {
            Self::TRIED => 2,
            Self::DRAINING => 1,
            _ => 0,
        }
    }
}

impl From<Block> for Refusal {
    fn from(block: Block) -> Self {
        Self { retry_after: block.wait, why: block.why }
    }
}

/// What can be the reason, by a number that fits into a record; 0 is none.
const WHYS: [&str; 14] = [
    "",
    Refusal::LOST,
    Refusal::BREAKER,
    Refusal::COOLING,
    Refusal::DRAINING,
    Refusal::QUEUE,
    Refusal::TRIED,
    "concurrency",
    "capacity",
    KINDS[0],
    KINDS[1],
    KINDS[2],
    KINDS[3],
    KINDS[4],
];

/// The number of a reason.
pub(super) fn place_of(why: &str) -> u8 {
    WHYS.iter().position(|known| *known == why).map_or(1, |place| place as u8)
}

/// The reason of a number; empty: none.
pub(super) fn why_at(place: u8) -> &'static str {
    WHYS.get(usize::from(place)).copied().unwrap_or_default()
}
