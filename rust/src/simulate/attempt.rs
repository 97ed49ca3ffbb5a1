//! The tries of one request, as `dispatch.attempt` makes them: acquire, send, and what follows from what is said.

use super::boards::clock;
use super::job::{Job, Signal};
use super::line::Waiter;
use super::record::Ended;
use super::retry::{BUDGET_POLL_S, Failed, Pauses, judge, pause_s, place_wait_s};
use super::scenario::Client;
use super::world::{Event, World};
use super::{seconds, span};
use crate::engine::Outcome;
use crate::engine::{Ending, Lease, Refusal, Wish};
use crate::health::Failure;
use crate::limit::Use;
use crate::rng::mix;
use crate::units::Nanos;

/// Timers of an event loop may be early by this.
const TIMER_GRAIN: Nanos = Nanos(1_000_000);

impl World {
    pub(super) fn acquire(&mut self, slot: usize, now: Nanos) -> Result<Lease, Refusal> {
        let call = self.calls.get(slot);
        let (tokens, hash) = (call.request.estimate, call.request.hash);
        let wish = Wish { tried: call.tried, tokens, now: clock(now), draw: self.draws.next_u64(), hash, request: 0 };
        self.boards.pool(call.worker).acquire(&wish)
    }

    const fn pauses(&self) -> Pauses {
        let Client { attempts, base_s, cap_s, .. } = self.client;
        Pauses { attempts, base_s, cap_s }
    }

    /// Makes a try, or lets it wait for a place.
    pub(super) fn attempt(&mut self, slot: usize, now: Nanos) {
        let mut taken = self.acquire(slot, now);
        let most = self.client.attempts;
        let call = self.calls.get_mut(slot);
        // Tries beyond their number are for those that were not asked, and for nobody else.
        if taken.is_err() && call.error.is_some() && call.attempts < most {
            // Nothing is free that was not tried: what was tried may do, but not without its wait.
            call.asked |= std::mem::take(&mut call.tried);
            if std::mem::take(&mut call.is_hurried) {
                let attempts = call.attempts;
                let after_s = pause_s(attempts, self.draws.unit(), &self.pauses());
                return self.try_in(slot, after_s, now);
            }
            taken = self.acquire(slot, now);
        }
        match taken {
            Ok(lease) => self.send(slot, lease, now),
            Err(refusal) => self.on_refusal(slot, refusal, now),
        }
    }

    fn try_in(&mut self, slot: usize, after_s: f64, now: Nanos) {
        let due = if after_s > 0.0 { now.plus(span(after_s)).plus(TIMER_GRAIN) } else { now };
        self.agenda.plan(due, Event::Again(self.calls.waiter(slot)));
    }

    pub(super) fn send(&mut self, slot: usize, lease: Lease, now: Nanos) {
        let id = self.calls.number_attempt(slot);
        let call = self.calls.get_mut(slot);
        let at = lease.position();
        let is_retry = call.attempts > 0;
        if is_retry {
            lease.mark_retry();
        }
        call.tried |= 1 << (at % 128);
        call.attempts += 1;
        (call.id, call.site, call.lease) = (id, at, Some(lease));
        let (request, is_measured, attempts) = (call.request, call.is_measured, call.attempts);
        self.seconds.sent(now, at, is_retry);
        self.report.attempts += u64::from(is_measured);
        self.report.retries += u64::from(is_measured && is_retry);
        self.report.endpoints[at].attempts += 1;
        let patience_s = self.patience_s(slot, now);
        self.agenda.plan(now.plus(span(patience_s)), Event::Silence { id });
        let job = Job {
            id,
            input: request.input,
            output: request.output,
            parts: request.parts,
            luck: mix(request.luck ^ u64::from(attempts)),
        };
        self.at_site(at, now, |site, out| site.send(job, now, out));
    }

    fn on_refusal(&mut self, slot: usize, refusal: Refusal, now: Nanos) {
        let waiter = self.calls.waiter(slot);
        let Some(error) = self.calls.get(slot).error else {
            if self.client.queue_s <= 0.0 {
                return self.turn_away(slot, now);
            }
            self.join(waiter, now);
            if let Some(wait) = refusal.retry_after {
                self.wake_in(wait, now);
            }
            return;
        };
        let first = *self.calls.get_mut(slot).refused.get_or_insert(now);
        let wait_s = match refusal.retry_after {
            Some(wait) => seconds(Nanos(wait)),
            None => place_wait_s(refusal.why, seconds(now.since(first)), self.draws.unit(), &self.pauses()),
        };
        if (0.0..self.left_s(slot, now)).contains(&wait_s) {
            self.try_in(slot, wait_s, now);
        } else {
            self.finish(slot, error, now);
        }
    }

    /// No place for a request that was never sent.
    fn turn_away(&mut self, slot: usize, now: Nanos) {
        self.note_quota(slot, now);
        let call = self.calls.remove(slot);
        call.ticket.settle(&outcome(Failure::RateLimited, Use::default(), now));
        if call.is_measured {
            *self.report.ended.entry("refused").or_insert(0) += 1;
        }
    }

    /// Counts a client that gets a 429 although some endpoint has quota left.
    fn note_quota(&mut self, slot: usize, now: Nanos) {
        let request = self.calls.get(slot).request;
        let tokens = u64::from(request.input) + u64::from(request.output);
        let has_quota = self.sites.iter_mut().any(|site| site.has_quota(tokens, now));
        self.report.lost_with_quota += u64::from(has_quota && self.calls.get(slot).is_measured);
    }

    pub(super) fn on_signal(&mut self, site: usize, id: u64, signal: Signal, now: Nanos) {
        if signal != Signal::Done || self.calls.of_attempt(id).is_some() {
            self.hear(site, id, signal, now);
        }
        if !matches!(signal, Signal::First { .. }) {
            self.sites[site].forget(id);
        }
        if !self.line.is_empty() && !matches!(signal, Signal::First { .. }) {
            self.serve_line(now);
        }
    }

    fn hear(&mut self, site: usize, id: u64, signal: Signal, now: Nanos) {
        let Some(slot) = self.calls.of_attempt(id) else { return };
        match signal {
            Signal::First { cached } => {
                let call = self.calls.get_mut(slot);
                call.cached = cached;
                call.first.get_or_insert(now);
                if let Some(lease) = &call.lease {
                    lease.first_byte(clock(now));
                }
            }
            Signal::Done => self.on_whole(slot, now),
            Signal::Failed { failure, cool_ms } => {
                if failure == Failure::RateLimited {
                    self.report.endpoints[site].refused += 1;
                    self.calls.get_mut(slot).saw_429 = true;
                }
                let is_broken = failure == Failure::UnknownExecution && self.calls.get(slot).first.is_some();
                self.fail(slot, if is_broken { Failure::Broken } else { failure }, cool_ms, now);
            }
        }
    }

    fn on_whole(&mut self, slot: usize, now: Nanos) {
        let call = self.calls.get_mut(slot);
        let used = Use { input: call.request.input, output: call.request.output, cached: call.cached };
        if let Some(lease) = call.lease.take() {
            lease.settle(&Ending { failure: Failure::None, now: clock(now), used, cool_ms: 0 });
        }
        self.report.endpoints[call.site].whole += 1;
        self.finish(slot, Failure::None, now);
    }

    /// An attempt has failed: again, or not.
    fn fail(&mut self, slot: usize, failure: Failure, cool_ms: u64, now: Nanos) {
        let (left_s, draw, all) = (self.left_s(slot, now), self.draws.unit(), self.all());
        let call = self.calls.get_mut(slot);
        call.id = 0;
        call.error = Some(failure);
        let own = 1 << (call.site % 128);
        // A 429 speaks for all endpoints of its account.
        let is_of_account = failure == Failure::RateLimited;
        let here = call.lease.as_ref().filter(|_| is_of_account).map_or(own, Lease::account);
        call.tried |= here;
        if let Some(lease) = call.lease.take() {
            lease.settle(&Ending { failure, now: clock(now), used: Use::default(), cool_ms });
        }
        #[expect(clippy::cast_precision_loss, reason = "at most some minutes")]
        let failed = Failed {
            failure,
            attempt: call.attempts,
            committed: call.first.is_some(),
            left_s,
            draw,
            retry_after_s: cool_ms as f64 / 1e3,
            others: all & !call.tried != 0,
            elsewhere: all & !here != 0,
            fresh: all & !(call.tried | call.asked) != 0,
        };
        match judge(&failed, &self.pauses()) {
            Some(after_s) => self.again(slot, after_s, failed.others, now),
            None => self.finish(slot, failure, now),
        }
    }

    /// Has the next try made if the budget has one, now or soon.
    fn again(&mut self, slot: usize, after_s: f64, others: bool, now: Nanos) {
        let call = self.calls.get_mut(slot);
        call.is_hurried = others;
        let pool = self.boards.pool(call.worker);
        if pool.retry_allowed(clock(now)) {
            self.try_in(slot, after_s, now);
        } else {
            self.await_budget(slot, now.plus(span(self.client.cap_s)), now);
        }
    }

    /// Waits for the budget while an endpoint that was not tried seems to work.
    fn await_budget(&mut self, slot: usize, until: Nanos, now: Nanos) {
        let call = self.calls.get(slot);
        if now >= until || !self.boards.pool(call.worker).has_sound(call.tried, clock(now)) {
            return self.finish(slot, call.error.unwrap_or(Failure::Server), now);
        }
        let waiter = self.calls.waiter(slot);
        let due = now.plus(span(BUDGET_POLL_S * (0.5 + self.draws.unit())));
        self.agenda.plan(due, Event::Budget { waiter, until });
    }

    pub(super) fn on_budget(&mut self, waiter: Waiter, until: Nanos, now: Nanos) {
        if !self.calls.is_alive(waiter) {
            return;
        }
        let call = self.calls.get(waiter.slot);
        let pool = self.boards.pool(call.worker);
        let is_sound = now < until && pool.has_sound(call.tried, clock(now));
        if is_sound && pool.retry_allowed(clock(now)) {
            self.attempt(waiter.slot, now);
        } else {
            self.await_budget(waiter.slot, until, now);
        }
    }

    /// The end of a request.
    fn finish(&mut self, slot: usize, failure: Failure, now: Nanos) {
        if failure == Failure::RateLimited {
            self.note_quota(slot, now);
        }
        let call = self.calls.remove(slot);
        let used = if failure == Failure::None {
            Use { input: call.request.input, output: call.request.output, cached: call.cached }
        } else {
            Use::default()
        };
        call.ticket.settle(&outcome(failure, used, now));
        let ended = Ended::new(&call, failure, now);
        let second = self.seconds.at(call.arrived);
        second.whole += u32::from(ended.is_whole);
        second.good += u32::from(ended.is_good);
        if let Some(first_s) = ended.first_s {
            self.seconds.first_token(call.arrived, first_s);
        }
        if call.is_measured {
            self.report.count(&call, failure, &ended);
        }
    }

    pub(super) fn on_silence(&mut self, id: u64, now: Nanos) {
        let Some(slot) = self.calls.of_attempt(id).filter(|slot| self.calls.get(*slot).first.is_none()) else { return };
        let site = self.calls.get(slot).site;
        self.at_site(site, now, |site, out| site.cancel(id, now, out));
        self.fail(slot, Failure::FirstTokenTimeout, 0, now);
        self.serve_line(now);
    }

    pub(super) fn on_deadline(&mut self, waiter: Waiter, now: Nanos) {
        if !self.calls.is_alive(waiter) {
            return;
        }
        let call = self.calls.get_mut(waiter.slot);
        let (id, site) = (std::mem::take(&mut call.id), call.site);
        if let Some(lease) = call.lease.take() {
            let ending = Ending { failure: Failure::Deadline, now: clock(now), used: Use::default(), cool_ms: 0 };
            lease.settle(&ending);
            self.at_site(site, now, |site, out| site.cancel(id, now, out));
        }
        self.finish(waiter.slot, Failure::Deadline, now);
        self.serve_line(now);
    }

    pub(super) fn on_impatience(&mut self, waiter: Waiter, now: Nanos) {
        // One that was sent has a place, and one that failed waits for its turn like any other retry.
        if self.calls.is_alive(waiter) && self.calls.get(waiter.slot).attempts == 0 {
            self.turn_away(waiter.slot, now);
        }
    }

    /// How long a try may take to its first token: while another one could be asked, at most half of the time that is left.
    fn patience_s(&self, slot: usize, now: Nanos) -> f64 {
        let (call, left_s) = (self.calls.get(slot), self.left_s(slot, now));
        let has_others = call.attempts < self.client.attempts && self.all() & !call.tried != 0;
        self.client.first_token_s.min(if has_others { left_s / 2.0 } else { left_s })
    }

    /// All positions.
    fn all(&self) -> u128 {
        u128::MAX >> (128 - self.sites.len().min(128))
    }

    fn left_s(&self, slot: usize, now: Nanos) -> f64 {
        self.client.deadline_s - seconds(now.since(self.calls.get(slot).arrived))
    }
}

const fn outcome(failure: Failure, used: Use, now: Nanos) -> Outcome {
    Outcome { failure, now: clock(now), overhead: Nanos(0), used }
}
