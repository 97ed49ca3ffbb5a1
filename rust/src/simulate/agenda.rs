//! What will happen, in its order: a heap of instants. What falls on the same instant happens in the order in which it was planned, so
//! that a run is the same every time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::units::Nanos;

/// Something planned.
struct Entry<E> {
    at: Nanos,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap keeps the greatest on top, which is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The plan.
pub(super) struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    order: u64,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }

    pub(super) fn plan(&mut self, at: Nanos, event: E) {
        self.order += 1;
        self.heap.push(Entry { at, order: self.order, event });
    }

    pub(super) fn next(&mut self) -> Option<(Nanos, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}
