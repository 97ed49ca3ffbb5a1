//! Numbers of tokens, from Python to the core.

use super::routing::Count;
use crate::limit::Use;

/// What a request is thought to use.
pub(super) fn estimate(tokens_in: Count, tokens_out: Count) -> Use {
    Use { input: narrow(tokens_in), output: narrow(tokens_out), cached: 0 }
}

/// What it has used.
pub(super) fn spent(tokens_in: Count, tokens_out: Count, tokens_cached: Count) -> Use {
    Use { cached: narrow(tokens_cached), ..estimate(tokens_in, tokens_out) }
}

/// Nobody has four billion tokens; who claims to have more has four billion.
fn narrow(tokens: Count) -> u32 {
    u32::try_from(tokens.0).unwrap_or(u32::MAX)
}
