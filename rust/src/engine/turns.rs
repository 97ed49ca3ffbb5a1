//! Whose turn it is at a model that more requests want than it has places for: start-time fair queueing over all workers.
//!
//! Requests of one key and one priority form a *flow*. A flow has a virtual start: where its next request begins on a time line on which a
//! flow of weight 1 advances by one for each token that is served to it, and one of weight 3 by a third. The smallest start is next, and
//! serving it moves that flow on by the cost of the request. A flow that comes anew begins at the virtual time, the largest start that was
//! served: it gets its share from now on and nothing for the time when it asked for nothing (Goyal, Vin, Cheng 1996, SIGCOMM).
//!
//! Law: over any interval in which two flows both wait, what each was served, divided by its weight, differs by at most one request
//! of each: `L1 / w1 + L2 / w2` (theorem 1 there). No clock and no knowledge of the capacity is needed, which for a provider nobody has.
//!
//! Each worker keeps its own waiting requests. The board holds the starts, and for each worker the flow that it would serve next and since
//! when that one waits (among equals, such as requests of one key in two workers, the oldest is next). So the worker whose turn it is can be
//! told by whoever frees a place, and what a dead worker had on the board vanishes with its columns.
//!
//! Cost: nobody waits: one look at one line, by whoever settles. Somebody waits: up to sixteen loads, and a write to a descriptor.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::board::layout::TURN_LINES;
use crate::board::{Board, ModelRow};
use crate::limit::inflight;
use crate::snapshot::{self, FIRST_TOKEN_US};
use crate::units::Nanos;

/// How many flows a model tells apart. Numbers beyond share a start with one below, and their weighted share.
pub const FLOWS: usize = TURN_LINES * 8;

/// Fractions of a token on the virtual time line, so that a large weight does not round a small request to nothing.
const PARTS: u64 = 1 << 16;

/// In a shown head: other flows wait at the same worker.
const MORE: u32 = 1 << 31;

/// What a worker would serve next.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The flow.
    pub flow: usize,
    /// Since when its first request waits.
    pub since: Nanos,
    /// Whether no other flow waits at this worker.
    pub alone: bool,
}

/// The queue of one model, as one worker sees it.
pub struct Turns {
    board: Arc<Board>,
    column: usize,
    model: usize,
}

impl Turns {
    pub(super) const fn new(board: Arc<Board>, column: usize, model: usize) -> Self {
        Self { board, column, model }
    }

    fn row(&self) -> ModelRow<'_> {
        self.board.model(self.model)
    }

    /// One more request of a flow waits here.
    pub fn join(&self, flow: usize) {
        let row = self.row();
        // The virtual time is a start that was served: nobody begins before it.
        row.turns().at(flow % FLOWS).fetch_max(row.virtual_time().load(Relaxed), Relaxed);
        row.queued()[self.column].fetch_add(1, SeqCst);
        self.board.waiting()[self.column].fetch_add(1, SeqCst);
    }

    /// One request waits here no more: it was served, or it left. Once for each `join`.
    pub fn leave(&self) {
        inflight::sub(self.row().queued(), self.column, 1);
        inflight::sub(self.board.waiting(), self.column, 1);
    }

    /// Where the next request of a flow begins.
    #[must_use]
    pub fn start(&self, flow: usize) -> u64 {
        self.row().turns().at(flow % FLOWS).load(Relaxed)
    }

    /// Tells all workers what this one would serve next.
    pub fn show(&self, head: Option<Head>) {
        let row = self.row();
        row.since()[self.column].store(head.map_or(0, |head| head.since.millis32()), Relaxed);
        row.head()[self.column].store(head.map_or(0, packed), SeqCst);
    }

    /// A request of a flow got its place: the flow moves on by what it cost.
    ///
    /// A worker that shows the same flow may have another one that comes first now: it is told to look.
    pub fn serve(&self, flow: usize, tokens: u64, weight: u32, waited: Nanos) {
        let row = self.row();
        snapshot::observe(row.waits(), &FIRST_TOKEN_US, waited);
        let cost = tokens.max(1).saturating_mul(PARTS).div_ceil(u64::from(weight.max(1)));
        let start = row.turns().at(flow % FLOWS).fetch_add(cost, Relaxed);
        row.virtual_time().fetch_max(start, Relaxed);
        row.queue_served().fetch_add(tokens, Relaxed);
        let others = (0..self.workers()).filter(|worker| *worker != self.column);
        for worker in others.filter(|worker| is_first_of_more(row.head()[*worker].load(SeqCst), flow)) {
            wake(&self.board, self.model, worker);
        }
    }

    /// So many more (or fewer) flows are left out here because their key is at a limit of its own that no time lifts.
    #[expect(clippy::cast_sign_loss, reason = "adding a negative number wraps to subtracting it")]
    pub fn block(&self, more: i32) {
        self.board.blocked()[self.column].fetch_add(more as u32, SeqCst);
    }

    /// Whether no other worker has a request that comes before the one shown here.
    #[must_use]
    pub fn is_next(&self) -> bool {
        next(&self.board, self.model).is_none_or(|worker| worker == self.column)
    }

    /// Tells the worker whose turn it is that there may be a place.
    pub fn ring(&self) {
        ring(&self.board, self.model);
    }

    /// Whether this worker was told since it last asked.
    #[must_use]
    pub fn take_ring(&self) -> bool {
        self.row().rung()[self.column].swap(0, SeqCst) != 0
    }

    /// Requests that wait, over all workers.
    #[must_use]
    pub fn depth(&self) -> u64 {
        inflight::load(self.row().queued(), self.workers())
    }

    /// Estimated tokens of all requests that were served from this queue, over all workers.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.row().queue_served().load(Relaxed)
    }

    fn workers(&self) -> usize {
        self.board.sizes().workers as usize
    }
}

/// Whether requests wait for this model: whoever comes now joins them instead of taking what becomes free.
#[inline]
pub(super) fn is_crowded(board: &Board, model: usize) -> bool {
    inflight::any(board.model(model).queued(), board.sizes().workers as usize)
}

/// Something that models wait for may be free now. Each of them hears of it, if anybody waits at all.
#[inline]
pub(super) fn freed(board: &Board, models: &[u16]) {
    if inflight::any(board.waiting(), board.sizes().workers as usize) {
        for model in models {
            ring(board, usize::from(*model));
        }
    }
}

/// A key has a place more: those who wait for one at any key look again.
#[inline]
pub(super) fn key_freed(board: &Board) {
    let workers = board.sizes().workers as usize;
    if inflight::any(board.waiting(), workers) {
        for worker in (0..workers).filter(|worker| board.blocked()[*worker].load(SeqCst) != 0) {
            board.ring_bell(worker);
        }
    }
}

/// Wakes the worker whose turn it is, unless it has been told already.
fn ring(board: &Board, model: usize) {
    if let Some(worker) = next(board, model) {
        wake(board, model, worker);
    }
}

fn wake(board: &Board, model: usize, worker: usize) {
    if board.model(model).rung()[worker].swap(1, SeqCst) == 0 {
        board.ring_bell(worker);
    }
}

/// The number of the flow and 1, and whether there are others.
fn packed(head: Head) -> u32 {
    let flow = u32::try_from(head.flow % FLOWS).unwrap_or(0) + 1;
    if head.alone { flow } else { flow | MORE }
}

/// The flow of a shown head.
fn flow_of(head: u32) -> Option<usize> {
    (head & !MORE).checked_sub(1).map(|flow| flow as usize).filter(|flow| *flow < FLOWS)
}

fn is_first_of_more(head: u32, flow: usize) -> bool {
    head & MORE != 0 && flow_of(head) == Some(flow % FLOWS)
}

fn next(board: &Board, model: usize) -> Option<usize> {
    let row = board.model(model);
    let shown = (0..board.sizes().workers as usize).filter_map(|worker| {
        let flow = flow_of(row.head()[worker].load(SeqCst))?;
        Some((row.turns().at(flow).load(Relaxed), row.since()[worker].load(Relaxed), worker))
    });
    shown.min_by(|one, other| one.0.cmp(&other.0).then_with(|| earlier(one.1, other.1))).map(|(_, _, worker)| worker)
}

/// Milliseconds that wrap: the order of two that are less than 25 days apart.
#[expect(clippy::cast_possible_wrap, reason = "the sign of a wrapped difference")]
fn earlier(one: u32, other: u32) -> Ordering {
    (one.wrapping_sub(other) as i32).cmp(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Sizes;

    const SIZES: Sizes =
        Sizes { workers: 3, endpoints: 1, keys: 1, models: 2, pairs: 1, pools: 1, users: 0, sessions: 0 };
    const MS: u64 = 1_000_000;

    fn head(flow: usize, since: Nanos) -> Head {
        Head { flow, since, alone: true }
    }

    fn queues() -> [Turns; 3] {
        let board = Arc::new(Board::heap(SIZES).unwrap());
        [0, 1, 2].map(|column| Turns::new(Arc::clone(&board), column, 1))
    }

    #[test]
    fn the_smallest_start_is_next_whichever_worker_has_it() {
        let [a, b, c] = queues();
        assert!(a.is_next());
        for (queue, flow, ms) in [(&a, 1, 5), (&b, 2, 6)] {
            queue.join(flow);
            queue.show(Some(head(flow, Nanos(ms * MS))));
        }
        assert!(a.is_next() && !b.is_next() && !c.is_next());
        a.serve(1, 100, 1, Nanos(0));
        assert!(b.is_next() && !a.is_next());
        b.serve(2, 100, 4, Nanos(0));
        assert!(b.is_next());
        // A third that comes now begins where the last one was served, not at the beginning.
        c.join(3);
        c.show(Some(head(3, Nanos(7 * MS))));
        assert_eq!(c.start(3), 0);
        b.serve(2, 100, 4, Nanos(0));
        c.join(4);
        assert_eq!((c.start(4), c.served(), c.depth()), (25 << 16, 300, 4));
    }

    #[test]
    fn among_requests_of_one_flow_the_oldest_is_next_also_where_the_clock_wraps() {
        let [a, b, _] = queues();
        let wrap = u64::from(u32::MAX) * MS;
        a.show(Some(head(1, Nanos(wrap + 3 * MS))));
        b.show(Some(head(1, Nanos(wrap - 3 * MS))));
        assert!(b.is_next() && !a.is_next());
        b.show(None);
        assert!(a.is_next());
    }

    #[test]
    fn who_is_told_is_told_once_until_it_looks() {
        let [a, b, _] = queues();
        freed(&a.board, &[1]);
        b.join(2);
        b.show(Some(head(2, Nanos(1))));
        assert!(is_crowded(&a.board, 1) && !is_crowded(&a.board, 0));
        freed(&a.board, &[0, 1]);
        assert!(b.take_ring() && !b.take_ring() && !a.take_ring());
        b.leave();
        b.show(None);
        freed(&a.board, &[1]);
        assert!(!b.take_ring() && !is_crowded(&a.board, 1));
    }

    #[test]
    fn who_shows_a_flow_that_moved_on_is_told_if_it_has_others() {
        let [a, b, c] = queues();
        b.show(Some(Head { flow: 2, since: Nanos(0), alone: false }));
        c.show(Some(head(2, Nanos(0))));
        a.serve(2, 10, 1, Nanos(0));
        assert!(b.take_ring() && !c.take_ring() && !a.take_ring());
        a.serve(3, 10, 1, Nanos(0));
        assert!(!b.take_ring());
    }

    #[test]
    fn a_dead_worker_waits_for_nothing() {
        let [a, b, _] = queues();
        b.join(2);
        b.show(Some(head(2, Nanos(MS))));
        a.join(3);
        a.show(Some(head(3, Nanos(2 * MS))));
        assert!(b.is_next());
        b.board.reclaim(1);
        assert!(a.is_next());
        assert_eq!(a.depth(), 1);
        a.leave();
        assert!(!inflight::any(a.board.waiting(), 3));
    }

    #[test]
    fn a_row_that_is_no_flow_is_nobody() {
        let [a, b, _] = queues();
        a.row().head()[1].store(u32::MAX, SeqCst);
        assert!(a.is_next() && b.is_next());
        a.join(FLOWS + 2);
        a.serve(FLOWS + 2, 0, 0, Nanos(0));
        assert_eq!(a.start(2), 1 << 16);
    }
}
