//! Requests under way.

use super::line::Waiter;
use super::traffic::Request;
use crate::engine::{Lease, Ticket};
use crate::health::Failure;
use crate::units::Nanos;

/// Bits of an attempt's number that name its call's slot.
const SLOT_BITS: u32 = 24;

/// One request.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) worker: usize,
    pub(super) is_measured: bool,
    pub(super) ticket: Ticket,
    pub(super) arrived: Nanos,
    /// The attempt under way; 0: none.
    pub(super) id: u64,
    pub(super) site: usize,
    pub(super) lease: Option<Lease>,
    /// Positions tried in this round, and those on accounts that said 429 in it.
    pub(super) tried: u128,
    /// Those of earlier rounds.
    pub(super) asked: u128,
    /// It is tried again without a wait, since somebody else might take it.
    pub(super) is_hurried: bool,
    pub(super) attempts: u32,
    /// When a retry found no place first.
    pub(super) refused: Option<Nanos>,
    /// How the last attempt ended.
    pub(super) error: Option<Failure>,
    /// When the client had its first token.
    pub(super) first: Option<Nanos>,
    /// Prompt tokens that were known.
    pub(super) cached: u32,
    pub(super) saw_429: bool,
    number: u64,
}

impl Call {
    pub(super) const fn new(
        request: Request,
        worker: usize,
        is_measured: bool,
        ticket: Ticket,
        arrived: Nanos,
    ) -> Self {
        Self {
            request,
            worker,
            is_measured,
            ticket,
            arrived,
            id: 0,
            site: 0,
            lease: None,
            tried: 0,
            asked: 0,
            is_hurried: false,
            attempts: 0,
            refused: None,
            error: None,
            first: None,
            cached: 0,
            saw_429: false,
            number: 0,
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Option<Call>>,
    free: Vec<usize>,
    numbers: u64,
}

impl Calls {
    pub(super) fn add(&mut self, mut call: Call) -> Waiter {
        self.numbers += 1;
        call.number = self.numbers;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(call);
        Waiter { slot, number: self.numbers }
    }

    pub(super) fn is_alive(&self, waiter: Waiter) -> bool {
        self.slots[waiter.slot].as_ref().is_some_and(|call| call.number == waiter.number)
    }

    pub(super) fn get(&self, slot: usize) -> &Call {
        self.slots[slot].as_ref().expect("whoever holds a slot has asked whether its call is alive")
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> &mut Call {
        self.slots[slot].as_mut().expect("whoever holds a slot has asked whether its call is alive")
    }

    pub(super) fn waiter(&self, slot: usize) -> Waiter {
        Waiter { slot, number: self.get(slot).number }
    }

    pub(super) fn remove(&mut self, slot: usize) -> Call {
        self.free.push(slot);
        self.slots[slot].take().expect("whoever holds a slot has asked whether its call is alive")
    }

    /// A number for a new attempt of the call in `slot`.
    pub(super) fn number_attempt(&mut self, slot: usize) -> u64 {
        self.numbers += 1;
        self.numbers << SLOT_BITS | slot as u64
    }

    /// The slot of the call whose attempt under way this is.
    pub(super) fn of_attempt(&self, id: u64) -> Option<usize> {
        let slot = (id & ((1 << SLOT_BITS) - 1)) as usize;
        self.slots.get(slot)?.as_ref().filter(|call| call.id == id).map(|_| slot)
    }
}
