//! Whether a failed attempt is made again: `dispatch.policy.retry`, told again for a virtual clock. A test compares the two.

use crate::health::Failure;

/// Whether a failure may be tried again at all, and at the same endpoint too.
const fn reach(failure: Failure) -> (bool, bool) {
    match failure {
        Failure::Connect
        | Failure::FirstTokenTimeout
        | Failure::Stalled
        | Failure::Slow
        | Failure::RateLimited
        | Failure::Server
        | Failure::Overloaded
        | Failure::Malformed
        | Failure::Broken => (true, true),
        Failure::QuotaExhausted | Failure::Credential => (true, false),
        _ => (false, false),
    }
}

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the facts that `dispatch.policy.retry.judge` is told")]
pub struct Failed {
    /// How.
    pub failure: Failure,
    /// Attempts made, this one included.
    pub attempt: u32,
    /// The client has content of the answer.
    pub committed: bool,
    /// Time to the deadline, s.
    pub left_s: f64,
    /// Uniform from `[0, 1)`.
    pub draw: f64,
    /// What the provider asked for, s.
    pub retry_after_s: f64,
    /// An endpoint that was not tried may take the request.
    pub others: bool,
    /// Another one than this may take it, tried or not.
    pub elsewhere: bool,
    /// One whose account was not asked at all may take it.
    pub fresh: bool,
}

/// The settings of retries.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Most attempts.
    pub attempts: u32,
    /// First wait, s.
    pub base_s: f64,
    /// Longest wait, s.
    pub cap_s: f64,
}

/// After how many seconds it is tried again; `None` for never.
#[must_use]
pub fn judge(failed: &Failed, pauses: &Pauses) -> Option<f64> {
    let (again, anywhere) = reach(failed.failure);
    let has_place = anywhere || failed.others || failed.elsewhere;
    // A 429 cost nothing: whoever has quota is found, however many have none. Who wants one try gets one.
    let is_search = failed.failure == Failure::RateLimited && failed.fresh && pauses.attempts > 1;
    let is_over = failed.attempt >= pauses.attempts && !is_search;
    if failed.committed || !again || is_over || !has_place {
        return None;
    }
    let drawn_s = pause_s(failed.attempt, failed.draw, pauses);
    let floor_s = if failed.elsewhere { 0.0 } else { failed.retry_after_s };
    let after_s = if failed.others { 0.0 } else { drawn_s.max(floor_s) };
    (after_s < failed.left_s).then_some(after_s)
}

/// How often a retry asks whether the budget has one for it, s.
pub(super) const BUDGET_POLL_S: f64 = 0.1;
/// How often a place is looked for of which nobody knows when it will be free, s.
const LOOK_S: f64 = 0.05;

/// How long a retry waits before it looks again for a place of which nobody knows when it will be free; negative: not at all.
pub(super) fn place_wait_s(why: &str, since_s: f64, draw: f64, pauses: &Pauses) -> f64 {
    let is_place = matches!(why, "capacity" | "concurrency");
    if is_place && since_s < pauses.cap_s { LOOK_S * (0.5 + draw) } else { -1.0 }
}

/// The wait after so many attempts: full jitter.
pub(super) fn pause_s(attempts: u32, draw: f64, pauses: &Pauses) -> f64 {
    draw * pauses.cap_s.min(pauses.base_s * f64::from(1u32 << (attempts - 1).min(31)))
}
