//! A client's request on its key and its model, from admission to its end. Settled exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use super::{Engine, Refused, Whose, turns};
use crate::health::Failure;
use crate::limit::estimate::Learned;
use crate::limit::{self, Use};
use crate::snapshot::{self, OVERHEAD_US};
use crate::units::Nanos;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// [`Failure::None`] when the answer was delivered.
    pub failure: Failure,
    /// When.
    pub now: Nanos,
    /// Our own time on it.
    pub overhead: Nanos,
    /// Tokens delivered; 0 is unknown.
    pub used: Use,
}

/// Who asks: a key, none, or one of a key's users.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    /// The key's slot.
    pub key: Option<u16>,
    /// The user, by a hash under a secret; counts where the users of the key have limits.
    pub user: Option<u128>,
}

impl From<Option<u16>> for Who {
    fn from(key: Option<u16>) -> Self {
        Self { key, user: None }
    }
}

/// Whose limits a request was charged to: slots of model and key, the row of the user's cell.
#[derive(Clone, Copy)]
pub(super) struct Charged {
    pub(super) model: u16,
    pub(super) key: Option<u16>,
    pub(super) user: Option<usize>,
}

impl Charged {
    /// Whose the limits at a place of `Engine::gates` are. The model is in the middle: what stands around it is the key's.
    pub(super) fn whose(&self, place: usize) -> Whose {
        if place == usize::from(self.key.is_some()) { Whose::Model } else { Whose::Key }
    }
}

/// A request let in. Dropped unsettled it counts as cancelled, without a refund.
pub struct Ticket {
    engine: Arc<Engine>,
    charged: Charged,
    tokens: Use,
    /// Tokens of its prompt, by its length alone.
    guess: f32,
    admitted: Nanos,
    /// Whether 0 tokens are none, and not unknown.
    exact: AtomicBool,
    settled: AtomicBool,
    /// The number of the request in the records; 0: nobody notes it.
    request: u64,
}

impl Ticket {
    #[expect(clippy::cast_precision_loss, reason = "an estimate of tokens")]
    pub(super) fn new(engine: Arc<Engine>, charged: Charged, tokens: Use, admitted: Nanos) -> Self {
        let guess = tokens.input as f32 / engine.learned(charged.model).ratio;
        Self {
            engine,
            charged,
            tokens,
            guess,
            admitted,
            exact: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            request: 0,
        }
    }

    /// The same for a request that is noted.
    pub(super) const fn noted(mut self, request: u64) -> Self {
        self.request = request;
        self
    }

    /// Writes the lines of a head that name a request: see [`super::Records::write_lines`].
    pub fn write_lines(&self, request: u64, out: &mut Vec<u8>) {
        self.engine.records.write_lines(request, self.request != 0, out);
    }

    /// From here on what is settled is what was used: no tokens are none, and not unknown. For a request that shares an answer.
    pub fn count_exactly(&self) {
        self.exact.store(true, Relaxed);
    }

    /// Ends it: the key pays for what was delivered and for nothing else. False, without effect, when it has ended already.
    pub fn settle(&self, outcome: &Outcome) -> bool {
        if self.settled.swap(true, AcqRel) {
            return false;
        }
        self.release(outcome.failure);
        if self.request != 0 {
            self.engine.records.settled(self.request, outcome);
        }
        let is_exact = self.exact.load(Relaxed);
        let used = if is_exact { outcome.used } else { outcome.used.or(self.tokens) };
        let delivered = (outcome.failure == Failure::None).then_some(used);
        for (limits, gate) in self.engine.gates(self.charged) {
            match delivered {
                Some(used) => limits.reconcile(gate, self.tokens, used, self.admitted, outcome.now),
                None => limits.refund(gate, self.tokens, self.admitted, outcome.now),
            }
        }
        if delivered.is_some() && !is_exact {
            let cell = self.engine.board.model(usize::from(self.charged.model)).learned();
            Learned::learn(cell, self.guess, outcome.used, self.tokens.output > 0);
        }
        if let (Some(key), Some(used)) = (self.charged.key, delivered) {
            super::count_tokens(self.engine.board.key(usize::from(key)).tokens(), used);
        }
        snapshot::observe(self.engine.board.overhead(), &OVERHEAD_US, outcome.overhead);
        turns::freed(&self.engine.board, &[self.charged.model]);
        if self.charged.key.is_some() {
            turns::key_freed(&self.engine.board);
        }
        true
    }

    /// Charges what a part has used of something that lasts and is paid as it goes on; nothing once it has ended.
    ///
    /// # Errors
    /// A limit of tokens that is spent now: no further part should begin. What was used is charged all the same.
    pub fn charge(&self, used: Use, now: Nanos) -> Result<(), Refused> {
        if self.settled.load(Acquire) {
            return Ok(());
        }
        let mut spent = Ok(());
        for (place, (limits, gate)) in self.engine.gates(self.charged).enumerate() {
            limits.reconcile(gate, Use::default(), used, self.admitted, now);
            if let (Ok(()), Err(block)) = (&spent, limits.peek_tokens(gate, now)) {
                spent = Err((block.into(), self.charged.whose(place)));
            }
        }
        if let Some(key) = self.charged.key {
            super::count_tokens(self.engine.board.key(usize::from(key)).tokens(), used);
        }
        spent
    }

    /// Gives everything back as if it had not been let in: no endpoint may take it now. False when it has ended already.
    pub fn withdraw(&self, now: Nanos) -> bool {
        if self.settled.swap(true, AcqRel) {
            return false;
        }
        for (limits, gate) in self.engine.gates(self.charged) {
            limits.refund(gate, self.tokens, self.admitted, now);
            limit::release(gate);
        }
        true
    }

    fn release(&self, failure: Failure) {
        for (_, gate) in self.engine.gates(self.charged) {
            limit::release(gate);
        }
        self.engine.count(self.charged.model, failure as usize);
        if let Some(key) = self.charged.key {
            self.engine.board.key(usize::from(key)).requests().fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !*self.settled.get_mut() {
            self.release(Failure::Cancelled);
        }
    }
}
