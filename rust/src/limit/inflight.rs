//! Concurrency over columns: a place is taken by incrementing one's own column, and a load is the sum of the line.
//!
//! A cap is kept by increment-then-sum in sequentially consistent order: of two workers that take the last place at once, at least one sees
//! the other's increment, so they may both step back but never both slip through. Who steps back sums again: if there is room after
//! all, the others stepped back too. The lower column tries again at once and the higher one a moment later, so that a free place is not
//! refused to both. Whoever steps back last sees the line without anyone's attempt, so a place that stays free is found.
//!
//! Cost: one locked add and up to sixteen loads of one line.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::board::Columns;

/// How often a worker that sees room after stepping back tries again.
const TRIES: u32 = 64;
/// Turns of a spin loop per column of rank: longer than one attempt of the neighbour.
const SPINS_PER_COLUMN: usize = 16;

/// The load: the sum of the first `workers` columns.
#[must_use]
pub fn load(line: &Columns, workers: usize) -> u64 {
    line.iter().take(workers).map(|column| u64::from(column.load(Relaxed))).sum()
}

/// Whether anything is held. In one order with the changes of a column, so that who gives back and then looks, and who adds and then looks
/// for a place, cannot both see nothing.
#[must_use]
#[inline]
pub fn any(line: &Columns, workers: usize) -> bool {
    line.iter().take(workers).any(|column| column.load(SeqCst) != 0)
}

/// Takes one place if fewer than `cap` are taken; a cap of 0 is none. True when taken.
pub fn take(line: &Columns, workers: usize, column: usize, cap: u32) -> bool {
    let own = &line[column];
    if cap == 0 {
        own.fetch_add(1, Relaxed);
        return true;
    }
    for _ in 0..TRIES {
        own.fetch_add(1, SeqCst);
        if sum(line, workers) <= u64::from(cap) {
            return true;
        }
        own.fetch_sub(1, SeqCst);
        if sum(line, workers) >= u64::from(cap) {
            return false;
        }
        for _ in 0..column * SPINS_PER_COLUMN {
            std::hint::spin_loop();
        }
    }
    false
}

/// Adds `amount` to the own column.
pub fn add(line: &Columns, column: usize, amount: u32) {
    line[column].fetch_add(amount, Relaxed);
}

/// Gives `amount` back. The column is written by one worker only, which gives back what it added.
pub fn sub(line: &Columns, column: usize, amount: u32) {
    line[column].fetch_sub(amount, SeqCst);
}

fn sum(line: &Columns, workers: usize) -> u64 {
    line.iter().take(workers).map(|column| u64::from(column.load(SeqCst))).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;

    #[test]
    fn a_cap_is_never_exceeded_and_a_free_place_is_never_refused_to_all() {
        const WORKERS: usize = 4;
        let (line, barrier) = (Columns::default(), Barrier::new(WORKERS));
        let winners: [AtomicU32; 300] = std::array::from_fn(|_| AtomicU32::new(0));
        thread::scope(|scope| {
            for column in 0..WORKERS {
                let (line, barrier, winners) = (&line, &barrier, &winners);
                scope.spawn(move || {
                    for won in winners {
                        barrier.wait();
                        let taken = take(line, WORKERS, column, 1);
                        won.fetch_add(u32::from(taken), SeqCst);
                        barrier.wait();
                        if taken {
                            sub(line, column, 1);
                        }
                    }
                });
            }
        });
        assert!(winners.iter().all(|won| won.load(SeqCst) == 1));
        assert_eq!(load(&line, WORKERS), 0);
    }

    #[test]
    fn a_full_line_refuses_and_keeps_its_load() {
        let line = Columns::default();
        assert!((0..3).all(|_| take(&line, 16, 2, 3)));
        assert!(!take(&line, 16, 9, 3));
        assert_eq!(load(&line, 16), 3);
    }

    #[test]
    fn no_cap_means_no_cap() {
        let line = Columns::default();
        assert!((0..100).all(|_| take(&line, 16, 0, 0)));
        assert_eq!(load(&line, 16), 100);
    }
}
