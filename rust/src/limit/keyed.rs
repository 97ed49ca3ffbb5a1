//! Users of a key, each under limits of its own, without a list of users: cells found by a hash.
//!
//! A tag (a hash under a secret of this start, so that nobody can aim at a cell) has [`PROBES`] places in the table. A cell
//! whose buckets are full and of which nothing is in flight equals a fresh one, so it is free, and no list of the least recently used is
//! needed. Live cells are never taken from their owner; when none of the places is free, the key's shared cell is charged instead, which
//! its users then share: fewer may pass than should, never more.
//!
//! Claiming: compare-and-swap the state to "being claimed", look again whether the cell is free, write the tag, publish. Using: find the
//! tag, reserve, then look whether the state is still the one that was found; otherwise give back and search again. Both put a full fence
//! between their write and their look, so that of a claimant and a user at least one sees the other. Who dies while claiming leaves a
//! cell that the next one may claim after a second.
//!
//! State: stamp 32 (of a claim, ms) | turn 30 | stage 2.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};

use super::{gcra, inflight};
use crate::board::{Board, UserRow};
use crate::units::Nanos;

/// Places that a tag may have.
pub const PROBES: usize = 8;
/// After so long a claim is one of a dead worker, ms.
const ABANDONED_MS: u32 = 1_000;
const FREE: u64 = 0;
const CLAIMING: u64 = 1;
const TAKEN: u64 = 2;
const STAGE: u64 = 3;
const TURN: u64 = 4;
const TURNS: u64 = 0xFFFF_FFFC;

/// A cell that was found, and the state in which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its row.
    pub row: usize,
    /// `None` for the shared cell of a key, which nobody claims.
    state: Option<u64>,
}

/// The cell of a user, claimed if it has none; that of the key when no place is free. Only on a board with users.
#[must_use]
pub fn find(board: &Board, key: u16, tag: u128, now: Nanos) -> Cell {
    let users = board.sizes().users as usize;
    let places = || (0..PROBES.min(users)).map(|step| (tag as usize % users + step) % users);
    let found = places().find_map(|row| owned(board, row, tag)).or_else(|| {
        let free = places().find_map(|row| claim(board, row, tag, now));
        // Another worker may have claimed one for the same user at the same time: the first place counts for both.
        free.map(|cell| places().find_map(|row| owned(board, row, tag)).unwrap_or(cell))
    });
    found.unwrap_or(Cell { row: users + usize::from(key), state: None })
}

/// Whether a cell is still that of the user for whom it was found. Asked after a reservation: from then on it stays.
#[must_use]
pub fn is_kept(board: &Board, cell: Cell) -> bool {
    fence(SeqCst);
    cell.state.is_none_or(|state| board.user(cell.row).state().load(SeqCst) == state)
}

impl Cell {
    /// Whether it is the shared one of a key.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self.state.is_none()
    }
}

fn owned(board: &Board, row: usize, tag: u128) -> Option<Cell> {
    let user = board.user(row);
    let state = user.state().load(SeqCst);
    let is_own = state & STAGE == TAKEN && read_tag(user) == tag && user.state().load(SeqCst) == state;
    is_own.then_some(Cell { row, state: Some(state) })
}

/// Takes a free cell.
fn claim(board: &Board, row: usize, tag: u128, now: Nanos) -> Option<Cell> {
    let user = board.user(row);
    let seen = user.state().load(SeqCst);
    let is_free = match seen & STAGE {
        FREE => true,
        TAKEN => is_aged(board, user, now),
        _ => now.millis32().wrapping_sub((seen >> 32) as u32) > ABANDONED_MS && is_aged(board, user, now),
    };
    let next = seen.wrapping_add(TURN) & TURNS | u64::from(now.millis32()) << 32;
    let claiming = next | CLAIMING;
    if !is_free || user.state().compare_exchange(seen, claiming, SeqCst, SeqCst).is_err() {
        return None;
    }
    fence(SeqCst);
    if !is_aged(board, user, now) {
        // Its owner came back meanwhile.
        let _kept = user.state().compare_exchange(claiming, seen, SeqCst, SeqCst);
        return None;
    }
    for bucket in &user.buckets()[..5] {
        bucket.store(0, Relaxed);
    }
    for (half, word) in user.tag().iter().zip([tag as u64, (tag >> 64) as u64]) {
        half.store(word, SeqCst);
    }
    let taken = next | TAKEN;
    let is_published = user.state().compare_exchange(claiming, taken, SeqCst, SeqCst).is_ok();
    is_published.then_some(Cell { row, state: Some(taken) })
}

/// Whether it equals a cell that was never used.
fn is_aged(board: &Board, user: UserRow<'_>, now: Nanos) -> bool {
    let is_full = |bucket: &AtomicU64| gcra::is_full(bucket, now);
    inflight::load(user.in_flight(), board.sizes().workers as usize) == 0 && user.buckets()[..5].iter().all(is_full)
}

fn read_tag(user: UserRow<'_>) -> u128 {
    let half = |at: usize| u128::from(user.tag()[at].load(SeqCst));
    half(0) | half(1) << 64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::thread;

    use super::*;
    use crate::board::Sizes;
    use crate::limit::gcra::Rate;
    use crate::limit::{Gate, Limits, Spec, release};

    const SIZES: Sizes =
        Sizes { workers: 4, endpoints: 1, keys: 2, models: 1, pairs: 1, pools: 1, users: 16, sessions: 0 };

    fn at(ms: u64) -> Nanos {
        Nanos((1 << 50) + ms * 1_000_000)
    }

    fn fill(board: &Board, cell: Cell, now: Nanos) {
        gcra::charge(&board.user(cell.row).buckets()[0], &Rate::per_minute(60, 1.0), 1, now);
    }

    #[test]
    fn a_user_keeps_its_cell_while_it_lives_and_loses_it_when_it_is_as_good_as_new() {
        let board = Board::heap(Sizes { users: 1, ..SIZES }).unwrap();
        let mine = find(&board, 0, 7, at(0));
        fill(&board, mine, at(0));
        assert_eq!(find(&board, 0, 7, at(500)), mine);
        // No place for another one: the shared cell of its key.
        let other = find(&board, 1, 8, at(500));
        assert_eq!((other.row, other.is_shared()), (2, true));
        assert!(is_kept(&board, mine) && is_kept(&board, other));
        let later = find(&board, 1, 8, at(2_000));
        assert_eq!((later.row, later.is_shared()), (0, false));
        assert!(!is_kept(&board, mine) && is_kept(&board, later));
    }

    #[test]
    fn what_is_in_flight_keeps_a_cell() {
        let board = Board::heap(Sizes { users: 1, ..SIZES }).unwrap();
        let mine = find(&board, 0, 7, at(0));
        inflight::add(board.user(mine.row).in_flight(), 0, 1);
        assert!(find(&board, 0, 8, at(1 << 30)).is_shared());
        board.reclaim(0);
        assert!(!find(&board, 0, 8, at(1 << 30)).is_shared());
    }

    #[test]
    fn a_claim_of_the_dead_is_taken_over_after_a_second() {
        let board = Board::heap(Sizes { users: 1, ..SIZES }).unwrap();
        let stamp = u64::from(at(0).millis32()) << 32;
        board.user(0).state().store(stamp | CLAIMING, SeqCst);
        assert!(find(&board, 0, 7, at(900)).is_shared());
        assert!(!find(&board, 0, 7, at(1_100)).is_shared());
    }

    proptest! {
        /// Against a map of buckets without bound: nobody gets more than its own limit, and nobody is charged for another
        /// one unless the table is full.
        #[test]
        fn cells_never_give_more_than_buckets_of_ones_own(
            steps in prop::collection::vec((0u128..24, 0u64..700), 1..400),
        ) {
            let board = Board::heap(SIZES).unwrap();
            let limits = Limits::new(&Spec { per_minute: [120, 0, 0, 0, 0], ..Spec::default() });
            let rate = Rate::per_minute(120, 1.0);
            let mut oracle: HashMap<u128, AtomicU64> = HashMap::new();
            let mut now = 0;
            for (user, step) in steps {
                now += step;
                let cell = find(&board, 1, user, at(now));
                let row = board.user(cell.row);
                let gate = Gate { in_flight: row.in_flight(), buckets: row.buckets(), minute: None, workers: 4, column: 0 };
                let passed = limits.reserve(gate, &[1, 0, 0, 0, 0], at(now)).is_ok();
                prop_assert!(is_kept(&board, cell));
                if passed {
                    release(gate);
                }
                let own = oracle.entry(user).or_insert_with(|| AtomicU64::new(0));
                let may = gcra::take(own, &rate, 1, at(now)).is_ok();
                prop_assert!(passed == may || cell.is_shared() && !passed);
                if may && !passed {
                    gcra::give_back(own, &rate, 1, at(now));
                }
            }
        }
    }

    #[test]
    fn threads_that_fight_for_few_cells_never_exceed_a_users_limit() {
        let board = Board::heap(Sizes { users: 4, ..SIZES }).unwrap();
        let limits = Limits::new(&Spec { per_minute: [600, 0, 0, 0, 0], ..Spec::default() });
        let passed: Vec<AtomicU64> = (0..12).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            for column in 0..4 {
                let (board, limits, passed) = (&board, &limits, &passed);
                scope.spawn(move || {
                    for turn in 0..6_000u64 {
                        let user = turn * 7 % 12;
                        let now = at(turn);
                        let cell = find(board, 0, u128::from(user), now);
                        let row = board.user(cell.row);
                        let gate = Gate {
                            in_flight: row.in_flight(),
                            buckets: row.buckets(),
                            minute: None,
                            workers: 4,
                            column,
                        };
                        if limits.reserve(gate, &[1, 0, 0, 0, 0], now).is_ok() {
                            if is_kept(board, cell) {
                                passed[user as usize].fetch_add(1, Relaxed);
                            }
                            release(gate);
                        }
                    }
                });
            }
        });
        // Six seconds at ten a second and a burst of ten, once from a cell of their own and once from the shared one.
        let most = passed.iter().map(|count| count.load(Relaxed)).max().unwrap();
        assert!(most <= 2 * (10 + 6 * 10) + 4 && most > 0, "{most}");
        assert!((0..5).all(|row| inflight::load(board.user(row).in_flight(), 4) == 0));
    }
}
