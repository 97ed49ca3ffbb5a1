//! What a pool's caches are worth: the part of what has to be read of a prompt that need not be where its key is at home.
//!
//! Nobody says what a provider caches, or whether an affinity key names prompts that begin alike; what answers report of cached tokens does.
//! Two averages a pool, of answers that had to wait (`select::LONG_S`): of those at their key's home, and of all others. The gain, `1 - (1 - home) / (1 - elsewhere)`, is
//! what going home saves of the reading, and 0 where nothing is reported, where nothing begins alike, and where everything is cached everywhere.
//!
//! A home that nobody went to has nothing cached and would look worthless for ever. So where something is cached at all, homes begin with
//! the benefit of the doubt, which lasts for some seconds of answers, and with each new spell of waiting again.

use std::sync::atomic::Ordering::Relaxed;

use crate::board::PoolRow;
use crate::health::ewma::{self, Average, Mode};
use crate::limit::Use;
use crate::units::Nanos;

/// Long enough for some answers, short beside a spell of waiting.
const PART: Average = Average { mode: Mode::Mean, tau_s: 10.0 };
/// What is older says nothing: prompts change.
const FRESH_S: f32 = 60.0;
/// What a home is thought to save until it was tried.
const HOPED: f32 = 0.5;
/// Less than this is no cache.
const LEAST: f32 = 0.01;

/// Whether a request that waits is where its prompt may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// Nobody looks: it waits for little, or it has no home.
    Unwatched,
    /// It is.
    Home,
    /// It is not.
    Elsewhere,
}

/// Learns from an answer.
#[cold]
#[expect(clippy::cast_precision_loss, reason = "a part")]
pub(super) fn learn(row: PoolRow<'_>, visit: Visit, used: Use, now: Nanos) {
    if visit == Visit::Unwatched || used.input == 0 {
        return;
    }
    let part = used.cached.min(used.input) as f32 / used.input as f32;
    let (cells, [home, elsewhere]) = (row.cached(), known(row, now));
    let is_untried = home.is_none() && elsewhere.unwrap_or(0.0).max(part) > LEAST;
    let (cell, doubt) = match visit {
        Visit::Home => (cells[0], if is_untried { HOPED } else { 0.0 }),
        _ => (cells[1], 0.0),
    };
    // An average of nothing but zeros is one, too.
    ewma::observe(cell, (part + doubt * (1.0 - part)).max(f32::MIN_POSITIVE), PART, now);
}

/// The part of the reading of a prompt that going home saves, 0 to 1.
#[cold]
pub(super) fn gain(row: PoolRow<'_>, now: Nanos) -> f64 {
    let gain = match known(row, now) {
        [Some(home), elsewhere] => 1.0 - (1.0 - home) / (1.0 - elsewhere.unwrap_or(0.0)).max(LEAST),
        [None, Some(elsewhere)] if elsewhere > LEAST => HOPED,
        _ => 0.0,
    };
    f64::from(gain.clamp(0.0, 1.0))
}

/// What was cached lately, at home and elsewhere.
fn known(row: PoolRow<'_>, now: Nanos) -> [Option<f32>; 2] {
    row.cached().map(|cell| ewma::fresh(cell.load(Relaxed), FRESH_S, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Board, Sizes};

    const START: Nanos = Nanos(1 << 44);

    fn board() -> Board {
        let sizes = Sizes { workers: 1, endpoints: 1, keys: 1, models: 1, pairs: 1, pools: 1, users: 0, sessions: 0 };
        Board::heap(sizes).expect("sizes are within bounds")
    }

    const fn at(ms: u64) -> Nanos {
        START.plus(Nanos(ms * 1_000_000))
    }

    /// Answers for half a minute, from `from_ms` on; what is cached at home and elsewhere, of 1,000 tokens.
    fn answers(row: PoolRow<'_>, from_ms: u64, home: u32, elsewhere: u32) -> Nanos {
        for ms in (from_ms..from_ms + 30_000).step_by(100) {
            let used = |cached| Use { input: 1_000, output: 1, cached };
            learn(row, Visit::Home, used(home), at(ms));
            learn(row, Visit::Elsewhere, used(elsewhere), at(ms));
        }
        at(from_ms + 30_000)
    }

    #[test]
    fn homes_are_worth_what_they_save_beyond_what_is_cached_everywhere() {
        for (home, elsewhere, expected) in [(800, 200, 0.75), (300, 300, 0.0), (0, 0, 0.0), (100, 400, 0.0)] {
            let board = board();
            let now = answers(board.pool(0), 0, home, elsewhere);
            let found = gain(board.pool(0), now);
            assert!((found - expected).abs() < 0.05, "{found} for {home} and {elsewhere}");
        }
    }

    #[test]
    fn a_home_has_the_benefit_of_the_doubt_only_where_something_is_cached() {
        let (warm, cold) = (board(), board());
        for (board, cached) in [(&warm, 200), (&cold, 0)] {
            learn(board.pool(0), Visit::Elsewhere, Use { input: 1_000, output: 1, cached }, at(0));
        }
        assert!(gain(warm.pool(0), at(0)) > 0.49 && gain(cold.pool(0), at(0)) < 0.01);
        // Its first answer does not take it away, thousands of them do.
        learn(warm.pool(0), Visit::Home, Use { input: 1_000, output: 1, cached: 200 }, at(100));
        assert!(gain(warm.pool(0), at(100)) > 0.4);
        let now = answers(warm.pool(0), 200, 200, 200);
        assert!(gain(warm.pool(0), now) < 0.05);
    }

    #[test]
    fn what_a_spell_of_waiting_taught_is_forgotten_after_a_minute() {
        let board = board();
        answers(board.pool(0), 0, 200, 200);
        let later = 120_000;
        assert!(gain(board.pool(0), at(later)) < 0.01);
        learn(board.pool(0), Visit::Elsewhere, Use { input: 1_000, output: 1, cached: 200 }, at(later));
        assert!(gain(board.pool(0), at(later)) > 0.49);
    }

    #[test]
    fn answers_that_say_nothing_teach_nothing() {
        let board = board();
        learn(board.pool(0), Visit::Elsewhere, Use::default(), at(0));
        learn(board.pool(0), Visit::Unwatched, Use { input: 10, output: 1, cached: 10 }, at(0));
        assert!(board.pool(0).cached().iter().all(|cell| cell.load(Relaxed) == 0));
    }
}
