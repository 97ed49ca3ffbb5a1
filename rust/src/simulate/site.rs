//! An endpoint's address: what stands behind it, and what is wrong with it at the moment.

use std::collections::BTreeSet;
use std::mem::discriminant;

use super::hosted::Hosted;
use super::job::{Job, Out, Signal, Work};
use super::record::Minute;
use super::replica::Replica;
use super::scenario::{Fault, Server, What};
use super::servers::Servers;
use super::span;
use crate::health::Failure;
use crate::rng::Rng;
use crate::units::Nanos;

/// How fast a closed port says so, s.
const REFUSED_S: f64 = 0.001;

/// See the module.
pub(super) struct Site {
    work: Box<dyn Work>,
    /// What is wrong, and how much.
    fault: Option<(What, f64)>,
    /// Jobs taken and not ended.
    jobs: BTreeSet<u64>,
    /// Tokens that it was sent and did not refuse, and requests.
    pub(super) tokens: Minute,
    pub(super) requests: Minute,
}

impl Site {
    pub(super) fn new(server: &Server, rng: Rng) -> Self {
        let work: Box<dyn Work> = match server {
            Server::Replica(batching) => Box::new(Replica::new(*batching)),
            Server::Servers { servers, service_s } => Box::new(Servers::new(*servers, *service_s, rng)),
            Server::Hosted { first_token_s, tokens_per_s, quota } => {
                Box::new(Hosted::new(*first_token_s, *tokens_per_s, quota))
            }
        };
        Self { work, fault: None, jobs: BTreeSet::new(), tokens: Minute::default(), requests: Minute::default() }
    }

    pub(super) fn send(&mut self, job: Job, now: Nanos, out: &mut Out) {
        let mut fail = |after_s, failure| {
            out.later.push((now.plus(span(after_s)), job.id, Signal::Failed { failure, cool_ms: 0 }));
        };
        match self.fault {
            Some((What::Sinkhole, ms)) => fail(ms / 1e3, Failure::Server),
            Some((What::Outage | What::Deploy, _)) => fail(REFUSED_S, Failure::Connect),
            _ => {
                self.jobs.insert(job.id);
                self.work.send(job, now, out);
                let refused = Signal::Failed { failure: Failure::RateLimited, cool_ms: 0 };
                let answer = out.later.last().map(|(_, _, signal)| discriminant(signal));
                if answer != Some(discriminant(&refused)) {
                    self.tokens.add(u64::from(job.input) + u64::from(job.output), now);
                    self.requests.add(1, now);
                }
            }
        }
    }

    pub(super) fn tick(&mut self, now: Nanos, out: &mut Out) {
        self.work.tick(now, out);
    }

    /// A job has ended, or nobody waits for it.
    pub(super) fn forget(&mut self, id: u64) {
        self.jobs.remove(&id);
    }

    pub(super) fn cancel(&mut self, id: u64, now: Nanos, out: &mut Out) {
        if self.jobs.remove(&id) {
            self.work.cancel(id, now, out);
        }
    }

    /// Whether it would take a request of `tokens` now.
    pub(super) fn has_quota(&mut self, tokens: u64, now: Nanos) -> bool {
        self.fault.is_none() && self.work.has_quota(tokens, now)
    }

    /// A fault begins.
    pub(super) fn break_down(&mut self, fault: &Fault, now: Nanos, out: &mut Out) {
        self.fault = Some((fault.what, fault.amount));
        match fault.what {
            What::Hang => self.work.slow(f64::INFINITY, now, out),
            What::Slow => self.work.slow(fault.amount, now, out),
            What::Outage => {
                self.work.reset(true);
                let lost = Signal::Failed { failure: Failure::UnknownExecution, cool_ms: 0 };
                out.signals.extend(std::mem::take(&mut self.jobs).into_iter().map(|id| (id, lost)));
            }
            What::Sinkhole | What::Deploy => {}
        }
    }

    /// It ends.
    pub(super) fn heal(&mut self, now: Nanos, out: &mut Out) {
        match self.fault.take() {
            Some((What::Hang | What::Slow, _)) => self.work.slow(1.0, now, out),
            Some((What::Deploy, _)) => self.work.reset(false),
            _ => {}
        }
    }
}
