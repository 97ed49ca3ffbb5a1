//! Where the requests of a session went last: one word for each session, in sets of eight, on the board.
//!
//! A session may be forgotten at any time, when a set is full: then the one that was quiet for the longest goes. Nothing depends on a session
//! but where its next request goes, so no word is claimed, and the last writer wins.
//!
//! ```text
//! tag 20 | endpoint slot 16 | tokens / 256: 12 | second of the last request, wrapping: 16
//! ```
//!
//! After 18 hours a second comes again: a session that is as old as that may look young, and goes where it was.

use std::sync::atomic::Ordering::Relaxed;

use crate::board::Board;
use crate::rng::mix;
use crate::units::{NS_PER_S, Nanos};

const TOKENS_STEP: u32 = 256;
const TOKENS_MOST: u32 = (1 << 12) - 1;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    /// The endpoint.
    pub(super) slot: u16,
    /// Tokens of the prompt, rounded down to 256.
    pub(super) tokens: u32,
    /// Seconds since then.
    pub(super) age_s: u32,
}

/// Where a session of a pool was.
pub(super) fn find(board: &Board, pool: usize, key: u64, now: Nanos) -> Option<Stay> {
    let (set, tag) = place(board, pool, key)?;
    let words = board.sessions(set).iter().map(|cell| cell.load(Relaxed));
    words.filter(|word| word >> 44 == tag).map(|word| read(word, now)).min_by_key(|stay| stay.age_s)
}

/// Remembers where a session of a pool goes.
pub(super) fn keep(board: &Board, pool: usize, key: u64, slot: u16, tokens: u32, now: Nanos) {
    let Some((set, tag)) = place(board, pool, key) else { return };
    let cells = board.sessions(set);
    let own = cells.iter().find(|cell| cell.load(Relaxed) >> 44 == tag);
    let oldest = || cells.iter().max_by_key(|cell| rank(cell.load(Relaxed), now));
    let steps = u64::from((tokens / TOKENS_STEP).min(TOKENS_MOST));
    if let Some(cell) = own.or_else(oldest) {
        cell.store((tag << 44) | (u64::from(slot) << 28) | (steps << 16) | second(now), Relaxed);
    }
}

/// The set of a session and its tag, which is never 0; `None` on a board without sessions.
fn place(board: &Board, pool: usize, key: u64) -> Option<(usize, u64)> {
    let sets = u64::from(board.sizes().sessions);
    let hash = mix(key ^ mix(pool as u64 + 1));
    let set = hash.checked_rem(sets)? as usize;
    Some((set, (hash >> 44).max(1)))
}

fn read(word: u64, now: Nanos) -> Stay {
    Stay { slot: (word >> 28) as u16, tokens: ((word >> 16) & 0xFFF) as u32 * TOKENS_STEP, age_s: age_s(word, now) }
}

fn age_s(word: u64, now: Nanos) -> u32 {
    u32::from((second(now) as u16).wrapping_sub(word as u16))
}

/// Empty cells first, then by age.
fn rank(word: u64, now: Nanos) -> u32 {
    if word == 0 { u32::MAX } else { age_s(word, now) }
}

const fn second(now: Nanos) -> u64 {
    (now.0 / NS_PER_S) & 0xFFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Sizes;

    const SIZES: Sizes =
        Sizes { workers: 1, endpoints: 1, keys: 1, models: 1, pairs: 1, pools: 1, users: 0, sessions: 4 };
    const NOW: Nanos = Nanos(5 * NS_PER_S);

    #[test]
    fn a_session_is_found_where_it_was_left_and_in_its_pool_only() {
        let board = Board::heap(SIZES).unwrap();
        assert_eq!(find(&board, 0, 7, NOW), None);
        keep(&board, 0, 7, 3, 1_000, NOW);
        let later = NOW.plus(Nanos(90 * NS_PER_S));
        assert_eq!(find(&board, 0, 7, later), Some(Stay { slot: 3, tokens: 768, age_s: 90 }));
        assert_eq!(find(&board, 1, 7, NOW), None);
        keep(&board, 0, 7, 65_535, u32::MAX, later);
        assert_eq!(find(&board, 0, 7, later), Some(Stay { slot: 65_535, tokens: 4_095 * 256, age_s: 0 }));
    }

    #[test]
    fn a_full_set_forgets_the_one_that_was_quiet_for_the_longest() {
        let board = Board::heap(Sizes { sessions: 1, ..SIZES }).unwrap();
        let at = |second: u64| Nanos(second * NS_PER_S);
        for key in 0..8 {
            keep(&board, 0, key, key as u16, 0, at(10 + key));
        }
        keep(&board, 0, 0, 0, 0, at(20));
        keep(&board, 0, 99, 9, 0, at(21));
        let known: Vec<u64> = (0..8).filter(|key| find(&board, 0, *key, at(21)).is_some()).collect();
        assert_eq!(known, [0, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_board_without_room_for_sessions_forgets_them() {
        let board = Board::heap(Sizes { sessions: 0, ..SIZES }).unwrap();
        keep(&board, 0, 7, 3, 1_000, NOW);
        assert_eq!(find(&board, 0, 7, NOW), None);
    }
}
