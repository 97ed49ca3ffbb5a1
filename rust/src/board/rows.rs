//! What stands in a row: names for its lines and words. The layout itself is drawn in [`super::layout`].

use std::sync::atomic::AtomicU64;

use super::Columns;
use super::layout::{ENDPOINT_LINES, KEY_LINES, MODEL_LINES, PAIR_LINES, POOL_LINES, USER_LINES};
use super::region::Line;

/// Adjacent wide lines as one run of words.
#[derive(Clone, Copy)]
pub struct Words<'a>(pub(super) &'a [Line]);

impl<'a> Words<'a> {
    /// The word at `index`.
    #[must_use]
    pub fn at(self, index: usize) -> &'a AtomicU64 {
        &self.0[index / 8].wide()[index % 8]
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len() * 8
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Kinds of tokens that are counted, in the order of their words.
pub const TOKEN_KINDS: [&str; 3] = ["input", "output", "cached"];

/// How an attempt can stand in the ledger, in the order of their words (`policy/booking.py`).
pub const BOOKINGS: [&str; 3] = ["delivered", "wasted", "unknown"];

/// Where a translation meets what it cannot say, in the order of their words: a request that is refused for it, fields and parts of
/// requests that are left out, parts of whole answers, and events and parts of streams.
pub const LEFT_OUT: [&str; 4] = ["refused", "request", "answer", "stream"];

/// One endpoint.
#[derive(Clone, Copy)]
pub struct EndpointRow<'a>(pub(super) &'a [Line; ENDPOINT_LINES]);

impl<'a> EndpointRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// Estimated prompt tokens that wait for their first token.
    #[must_use]
    pub const fn prefill(self) -> &'a Columns {
        self.0[1].narrow()
    }
    /// Estimated output tokens still owed.
    #[must_use]
    pub const fn decode(self) -> &'a Columns {
        self.0[2].narrow()
    }
    /// Half-open probes on their way.
    #[must_use]
    pub const fn probes(self) -> &'a Columns {
        self.0[3].narrow()
    }
    /// The five token buckets, in the order of `limit::KINDS`.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[4].wide()
    }
    /// Not to be asked before this instant, ns.
    #[must_use]
    pub const fn not_before(self) -> &'a AtomicU64 {
        &self.0[4].wide()[5]
    }
    /// The circuit breaker (`health::breaker`).
    #[must_use]
    pub const fn breaker(self) -> &'a AtomicU64 {
        &self.0[4].wide()[6]
    }
    /// When it last gave a sign of life while somebody waited for one, ns (`health::silence`).
    #[must_use]
    pub const fn sign(self) -> &'a AtomicU64 {
        &self.0[4].wide()[7]
    }
    /// Average time per token of work (`health::ewma`).
    #[must_use]
    pub const fn pace(self) -> &'a AtomicU64 {
        &self.0[5].wide()[0]
    }
    /// Average time to first token.
    #[must_use]
    pub const fn latency(self) -> &'a AtomicU64 {
        &self.0[5].wide()[1]
    }
    /// The limit that was found by asking (`limit::found`); of the first endpoint of an account, for all of them.
    #[must_use]
    pub const fn found(self) -> &'a AtomicU64 {
        &self.0[5].wide()[2]
    }
    /// What pace it shows in the long run.
    #[must_use]
    pub const fn usual_pace(self) -> &'a AtomicU64 {
        &self.0[5].wide()[3]
    }
    /// What time to first token it shows in the long run.
    #[must_use]
    pub const fn usual_latency(self) -> &'a AtomicU64 {
        &self.0[5].wide()[4]
    }
    /// Checks that passed, and that failed (`health::check`).
    #[must_use]
    pub fn checks(self) -> &'a [AtomicU64] {
        &self.0[5].wide()[5..7]
    }
    /// Attempts that were retries.
    #[must_use]
    pub const fn retries(self) -> &'a AtomicU64 {
        &self.0[6].wide()[0]
    }
    /// Times that its breaker opened.
    #[must_use]
    pub const fn trips(self) -> &'a AtomicU64 {
        &self.0[6].wide()[1]
    }
    /// Tokens used, by kind.
    #[must_use]
    pub fn tokens(self) -> &'a [AtomicU64] {
        &self.0[6].wide()[2..5]
    }
    /// Requests that it got in spite of its breaker.
    #[must_use]
    pub const fn panics(self) -> &'a AtomicU64 {
        &self.0[6].wide()[5]
    }
    /// When it last got one in spite of its breaker, ns.
    #[must_use]
    pub const fn panicked(self) -> &'a AtomicU64 {
        &self.0[6].wide()[6]
    }
    /// Malformed events of its streams that were left out.
    #[must_use]
    pub const fn dropped(self) -> &'a AtomicU64 {
        &self.0[6].wide()[7]
    }
    /// Attempts, by how they ended.
    #[must_use]
    pub fn attempts(self) -> Words<'a> {
        Words(&self.0[7..10])
    }
    /// What translations could not say, by [`LEFT_OUT`]: at the end of the last line of attempts, of which there are fewer kinds.
    #[must_use]
    pub fn left_out(self) -> &'a [AtomicU64] {
        &self.0[9].wide()[8 - LEFT_OUT.len()..]
    }
    /// Attempts in the ledger, by [`BOOKINGS`].
    #[must_use]
    pub fn booked(self) -> &'a [AtomicU64] {
        &self.0[10].wide()[..3]
    }
    /// What they cost, picodollars, by [`BOOKINGS`].
    #[must_use]
    pub fn cost(self) -> &'a [AtomicU64] {
        &self.0[10].wide()[3..6]
    }
    /// Credentials that were had for it, and that were not.
    #[must_use]
    pub fn renewals(self) -> &'a [AtomicU64] {
        &self.0[10].wide()[6..]
    }
}

/// One API key.
#[derive(Clone, Copy)]
pub struct KeyRow<'a>(pub(super) &'a [Line; KEY_LINES]);

impl<'a> KeyRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// The five token buckets.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[1].wide()
    }
    /// Requests that were let in and have ended.
    #[must_use]
    pub const fn requests(self) -> &'a AtomicU64 {
        &self.0[2].wide()[0]
    }
    /// Requests that its limits refused.
    #[must_use]
    pub const fn refused(self) -> &'a AtomicU64 {
        &self.0[2].wide()[1]
    }
    /// Tokens delivered, by kind.
    #[must_use]
    pub fn tokens(self) -> &'a [AtomicU64] {
        &self.0[2].wide()[2..5]
    }
    /// Requests of users for whom no cell was free.
    #[must_use]
    pub const fn overflows(self) -> &'a AtomicU64 {
        &self.0[2].wide()[5]
    }
    /// What was delivered to it, picodollars.
    #[must_use]
    pub const fn cost(self) -> &'a AtomicU64 {
        &self.0[2].wide()[6]
    }
}

/// One model.
#[derive(Clone, Copy)]
pub struct ModelRow<'a>(pub(super) &'a [Line; MODEL_LINES]);

impl<'a> ModelRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// Requests that wait for a place.
    #[must_use]
    pub const fn queued(self) -> &'a Columns {
        self.0[1].narrow()
    }
    /// Which flow each worker would serve next, as `engine::turns` packs it; 0 for none.
    #[must_use]
    pub const fn head(self) -> &'a Columns {
        self.0[2].narrow()
    }
    /// Since when that request waits, ms, wrapping.
    #[must_use]
    pub const fn since(self) -> &'a Columns {
        self.0[3].narrow()
    }
    /// 1 for a worker that was told of a free place and has not looked yet.
    #[must_use]
    pub const fn rung(self) -> &'a Columns {
        self.0[4].narrow()
    }
    /// The five token buckets.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[5].wide()
    }
    /// Virtual time of its queue.
    #[must_use]
    pub const fn virtual_time(self) -> &'a AtomicU64 {
        &self.0[6].wide()[0]
    }
    /// Estimated tokens of requests that left its queue for an endpoint.
    #[must_use]
    pub const fn queue_served(self) -> &'a AtomicU64 {
        &self.0[6].wide()[1]
    }
    /// Answers that were asked for once and given more than once, in the order of `engine::SHARED`.
    #[must_use]
    pub fn shared(self) -> &'a [AtomicU64] {
        &self.0[6].wide()[2..7]
    }
    /// Requests, by how they ended.
    #[must_use]
    pub fn outcomes(self) -> Words<'a> {
        Words(&self.0[7..10])
    }
    /// Histogram of the wait for a place.
    #[must_use]
    pub fn waits(self) -> Words<'a> {
        Words(&self.0[10..13])
    }
    /// What its attempts in the ledger cost, picodollars, by [`BOOKINGS`].
    #[must_use]
    pub fn cost(self) -> &'a [AtomicU64] {
        &self.0[13].wide()[..3]
    }
    /// What its prompts and answers turn out to be (`limit::estimate`).
    #[must_use]
    pub const fn learned(self) -> &'a AtomicU64 {
        &self.0[13].wide()[3]
    }
    /// For each flow, the virtual start of its next request.
    #[must_use]
    pub fn turns(self) -> Words<'a> {
        Words(&self.0[14..])
    }
}

/// One model on one endpoint.
#[derive(Clone, Copy)]
pub struct PairRow<'a>(pub(super) &'a [Line; PAIR_LINES]);

impl<'a> PairRow<'a> {
    /// Histogram of the time to the first token.
    #[must_use]
    pub fn first_token(self) -> Words<'a> {
        Words(&self.0[..3])
    }
    /// Histogram of the time to the end of the answer.
    #[must_use]
    pub fn duration(self) -> Words<'a> {
        Words(&self.0[3..])
    }
}

/// One pool.
#[derive(Clone, Copy)]
pub struct PoolRow<'a>(pub(super) &'a [Line; POOL_LINES]);

impl<'a> PoolRow<'a> {
    /// Turns given out: the shared cursor of ordered strategies.
    #[must_use]
    pub const fn cursor(self) -> &'a AtomicU64 {
        &self.0[0].wide()[0]
    }
    /// The bucket of the retry budget.
    #[must_use]
    pub const fn budget(self) -> &'a AtomicU64 {
        &self.0[0].wide()[1]
    }
    /// Retries that the budget refused.
    #[must_use]
    pub const fn exhausted(self) -> &'a AtomicU64 {
        &self.0[0].wide()[2]
    }
    /// The part of prompts that was cached, of those that waited for long: at their key's home, and elsewhere.
    #[must_use]
    pub const fn cached(self) -> [&'a AtomicU64; 2] {
        let words = self.0[0].wide();
        [&words[3], &words[4]]
    }
    /// What hedges owe to their share of the requests, in millionths of a hedge.
    #[must_use]
    pub const fn hedge_debt(self) -> &'a AtomicU64 {
        &self.0[1].wide()[0]
    }
    /// What hedges owe to their share of the money.
    #[must_use]
    pub const fn hedge_cost_debt(self) -> &'a AtomicU64 {
        &self.0[1].wide()[1]
    }
    /// How the budget of a route stands (`judge::shared`), whose row it is then, and no pool's.
    #[must_use]
    pub const fn pace(self) -> Option<&'a [AtomicU64; 4]> {
        self.0[0].wide().first_chunk()
    }
    /// Hedges, by how they ended, in the order of `engine::HEDGES`.
    #[must_use]
    pub fn hedges(self) -> &'a [AtomicU64] {
        &self.0[1].wide()[2..]
    }
}

/// One user of a key (`limit::keyed`).
#[derive(Clone, Copy)]
pub struct UserRow<'a>(pub(super) &'a [Line; USER_LINES]);

impl<'a> UserRow<'a> {
    /// Requests in flight.
    #[must_use]
    pub const fn in_flight(self) -> &'a Columns {
        self.0[0].narrow()
    }
    /// The five token buckets, in the order of `limit::KINDS`; the three words after them are `state` and `tag`.
    #[must_use]
    pub const fn buckets(self) -> &'a [AtomicU64; 8] {
        self.0[1].wide()
    }
    /// Whether it is free, being claimed or taken, and since when.
    #[must_use]
    pub const fn state(self) -> &'a AtomicU64 {
        &self.0[1].wide()[5]
    }
    /// Whose it is: 112 bits of a hash, in halves.
    #[must_use]
    pub fn tag(self) -> &'a [AtomicU64] {
        &self.0[1].wide()[6..8]
    }
}
