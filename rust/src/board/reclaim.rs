//! What a dead worker held, given back.
//!
//! Its column of every held line is zeroed: in flight, queued tokens, half-open probes, waiters. Counters stay, since Prometheus
//! counters never fall; reserved tokens age out of their buckets by themselves. Cost: one store per held line, off the hot path.
//!
//! Only the supervisor calls it, after the worker has been reaped and before a successor gets the column: nobody else writes there then.

use std::sync::atomic::Ordering::SeqCst;

use super::Board;

impl Board {
    /// Zeroes what column `worker` holds. Does nothing for a column that the board does not have.
    pub fn reclaim(&self, worker: usize) {
        for range in self.sizes().held() {
            for line in &self.lines()[range] {
                if let Some(column) = line.narrow().get(worker) {
                    column.store(0, SeqCst);
                }
            }
        }
    }
}
