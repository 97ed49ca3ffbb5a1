//! A decision with what it was made of, so that it can be shown and made again, bit for bit.
//!
//! The board goes on changing, and a later look cannot tell what a decision saw. So what the strategy reads is noted as it reads it (`tape`), and
//! the same strategy over the notes then takes the same way. Every request that is noted has its choices in the worker's `records`, as far as a tape
//! of fixed length goes; who asks for more (`acquire_told`) gets a longer tape, and what holds back the positions that nobody looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::lease::Lease;
use super::pool::{Pool, Wish};
use super::records::Choice;
use super::refusal::Refusal;
use super::tape::{Recorded, Tape, Told};
use super::view::PoolView;
use crate::board::region::Line;
use crate::select::Ask;

/// Room for what is told at length: checks of 8,192 positions, and as many other answers.
const CHECKS: usize = 256;
const UNITS: usize = 512;

/// How one decision was made.
pub struct Trail {
    pool: Arc<Pool>,
    wish: Wish,
    /// What was read; `None`: more than there was room for.
    tape: Option<(usize, Vec<u64>, Vec<u32>)>,
    /// Why positions could not take it, as far as they could not and somebody looked.
    pub held: Vec<(usize, &'static str)>,
    /// Whether slow starts or breakers gave way in the end.
    pub is_soft: bool,
}

impl Pool {
    /// As `acquire`, with how it came to it.
    pub fn acquire_told(self: &Arc<Self>, wish: &Wish) -> (Result<Lease, Refusal>, Trail) {
        let mut view = PoolView::new(self, wish, wish.tokens.units());
        let held = (0..self.len()).filter_map(|at| view.hold(at).map(|refusal| (at, refusal.why))).collect();
        let checks: Vec<AtomicU64> = (0..CHECKS).map(|_| AtomicU64::new(0)).collect();
        let units: Vec<Line> = (0..UNITS).map(|_| Line::default()).collect();
        let tape = Tape::over(&checks, &units);
        let found = self.decided(&mut view, true, Some(&tape));
        let tape = tape.written().map(|(checked, used)| {
            let units = units.iter().flat_map(Line::narrow).take(used).map(|unit| unit.load(Relaxed));
            let checks = checks.iter().take(checked.div_ceil(32)).map(|word| word.load(Relaxed));
            (checked, checks.collect(), units.collect())
        });
        let trail = Trail { pool: Arc::clone(self), wish: *wish, tape, held, is_soft: view.is_soft() };
        (found.map(|(at, trial)| self.granted(&view, at, trial, 0)), trail)
    }

    /// How a choice was made that stands in the records. The pool is that of its tag.
    #[must_use]
    pub fn trail(self: &Arc<Self>, choice: &Choice) -> Trail {
        let Choice { wish, tape, is_soft, .. } = choice.clone();
        let mut trail = Trail { pool: Arc::clone(self), wish, tape, held: Vec::new(), is_soft };
        trail.held = trail.seen_held();
        trail
    }
}

impl Trail {
    /// Makes the choices again from what was noted: each question with its answer, and whether all came out the same; nothing where
    /// more was read than there was room for.
    #[must_use]
    pub fn told(&self) -> Option<(Vec<Told>, bool)> {
        let (checked, checks, units) = self.tape.as_ref()?;
        let Wish { tokens, hash, now, draw, .. } = self.wish;
        let recorded = Recorded {
            strategy: &*self.pool.strategy,
            len: self.pool.len(),
            is_metered: self.pool.is_metered,
            ask: Ask { tokens: tokens.input, output: tokens.output, hash, now },
            draw,
            checks,
            checked: *checked,
            units,
        };
        Some(recorded.replayed())
    }

    /// Whether the same comes out; `None` where more was read than there was room for.
    #[must_use]
    pub fn replays(&self) -> Option<bool> {
        self.told().map(|(_, is_same)| is_same)
    }

    /// What held back the positions that were looked at, and those that nobody had to look at.
    fn seen_held(&self) -> Vec<(usize, &'static str)> {
        let picks = self.told().map(|(picks, _)| picks).unwrap_or_default();
        let why = |at: usize| {
            let asked = |pick: &Told| pick.chosen == Some(at) && !pick.is_taken;
            if self.pool.places[at].draining {
                return Some(Refusal::DRAINING);
            }
            if self.wish.has_tried(at) {
                return Some(Refusal::TRIED);
            }
            let lost = picks.iter().find(|pick| asked(pick)).map(|pick| pick.held);
            lost.or_else(|| picks.iter().find_map(|pick| pick.seen.get(&at)?.held))
        };
        (0..self.pool.len()).filter_map(|at| why(at).map(|why| (at, why))).collect()
    }
}
