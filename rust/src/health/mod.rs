//! How well an endpoint does: averages of its speed, a circuit breaker, and what each way of ending an attempt means for both.

pub mod breaker;
pub mod check;
pub mod ewma;
pub mod outlier;
pub mod silence;

/// How a pool deals with endpoints that do not do well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Of the breakers.
    pub breaker: breaker::Policy,
    /// Of the pool.
    pub pool: PoolPolicy,
}

/// What concerns a pool as a whole, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolPolicy {
    /// By how much an endpoint's share of failures may lie above that of the others.
    pub outlier_permille: u32,
    /// Most of the pool that may be ejected as outliers, though at least one endpoint.
    pub ejected_permille: u32,
    /// When less of the pool is usable, breakers give way to need.
    pub panic_permille: u32,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self { outlier_permille: 250, ejected_permille: 340, panic_permille: 500 }
    }
}

/// How an attempt ended. The numbers and names are those of `dispatch.errors.Failure`; a test compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Failure {
    /// A whole answer.
    None = 0,
    /// The client left, or the answer was not needed any more.
    Cancelled,
    /// No connection: nothing was sent.
    Connect,
    /// Sent, and the connection ended without an answer byte.
    UnknownExecution,
    /// No first token in time.
    FirstTokenTimeout,
    /// Silence between two chunks.
    Stalled,
    /// 429 with a chance later.
    RateLimited,
    /// 429 without one: the account is empty.
    QuotaExhausted,
    /// Any 5xx that is not named otherwise.
    Server,
    /// 503 or 529.
    Overloaded,
    /// 401, 402, 403 of our credential.
    Credential,
    /// The request itself is at fault.
    BadRequest,
    /// The prompt is too long for the model.
    ContextLength,
    /// The provider will not answer this.
    ContentFilter,
    /// Not what status and type promise.
    Malformed,
    /// The answer stopped in the middle.
    Broken,
    /// The client's deadline passed.
    Deadline,
    /// Longer than we take.
    TooLarge,
    /// A stream below the speed that its model is held to.
    Slow,
}

/// All of them, by number, with the names that metrics use.
pub const FAILURES: [(Failure, &str); 19] = [
    (Failure::None, "none"),
    (Failure::Cancelled, "cancelled"),
    (Failure::Connect, "connect"),
    (Failure::UnknownExecution, "unknown_execution"),
    (Failure::FirstTokenTimeout, "first_token_timeout"),
    (Failure::Stalled, "stalled"),
    (Failure::RateLimited, "rate_limited"),
    (Failure::QuotaExhausted, "quota_exhausted"),
    (Failure::Server, "server"),
    (Failure::Overloaded, "overloaded"),
    (Failure::Credential, "credential"),
    (Failure::BadRequest, "bad_request"),
    (Failure::ContextLength, "context_length"),
    (Failure::ContentFilter, "content_filter"),
    (Failure::Malformed, "malformed"),
    (Failure::Broken, "broken"),
    (Failure::Deadline, "deadline"),
    (Failure::TooLarge, "too_large"),
    (Failure::Slow, "slow"),
];

/// What an ended attempt tells the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint works.
    Good,
    /// The endpoint is at fault.
    Bad,
    /// It says nothing about the endpoint.
    Silent,
}

impl Verdict {
    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Silent => "silent",
        }
    }
}

impl Failure {
    /// By its number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        FAILURES.get(usize::from(number)).map(|(failure, _)| *failure)
    }

    /// What the breaker learns. A 429 is not a failure, and neither is a request at fault; a refused credential is, though its status
    /// begins with 4: the endpoint answers every request that way, fast, and would draw the whole load.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::None => Verdict::Good,
            Self::Connect
            | Self::UnknownExecution
            | Self::FirstTokenTimeout
            | Self::Stalled
            | Self::Server
            | Self::Overloaded
            | Self::Credential
            | Self::Malformed
            | Self::Broken
            | Self::Slow => Verdict::Bad,
            Self::Cancelled
            | Self::RateLimited
            | Self::QuotaExhausted
            | Self::BadRequest
            | Self::ContextLength
            | Self::ContentFilter
            | Self::Deadline
            | Self::TooLarge => Verdict::Silent,
        }
    }

    /// Whether the provider has not counted the request against its limits: it never had it, or said no to it. What becomes of the rest is
    /// not known, and a request that hangs, breaks or was left is counted by all that count when it comes.
    #[must_use]
    pub const fn is_uncounted(self) -> bool {
        matches!(self, Self::Connect | Self::RateLimited | Self::QuotaExhausted | Self::Credential)
    }

    /// For how long the endpoint is left alone when the provider names no time, ms. Without it a rate-limited endpoint, which answers
    /// in milliseconds and so has the fewest requests in flight, is asked again at once.
    #[must_use]
    pub const fn cool_ms(self) -> u64 {
        match self {
            Self::RateLimited => 1_000,
            Self::QuotaExhausted => 60_000,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_stands_at_its_number() {
        for (number, (failure, _)) in FAILURES.iter().enumerate() {
            assert_eq!(*failure as usize, number);
            assert_eq!(Failure::from_number(u8::try_from(number).unwrap()), Some(*failure));
        }
        assert_eq!(Failure::from_number(19), None);
    }
}
