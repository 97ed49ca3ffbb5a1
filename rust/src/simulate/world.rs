//! The run: takes what is planned in its order, asks the engine, and plans what follows.

use super::agenda::Agenda;
use super::boards::{Boards, clock};
use super::call::{Call, Calls};
use super::job::{Out, Signal};
use super::line::{Line, Waiter};
use super::record::{NEVER_S, Report, Seconds};
use super::scenario::{Client, Fault, Scenario};
use super::site::Site;
use super::span;
use super::traffic::Traffic;
use crate::error::TableError;
use crate::limit::Use;
use crate::rng::{Rng, mix};
use crate::units::Nanos;

/// What is planned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The next request.
    Arrive,
    /// A server goes on.
    Tick { site: usize },
    /// A server says something.
    Signal { site: usize, id: u64, signal: Signal },
    /// An attempt has waited long enough for its first token.
    Silence { id: u64 },
    /// A request has waited long enough.
    Deadline(Waiter),
    /// A request has waited long enough for a place.
    Impatience(Waiter),
    /// A pause is over.
    Again(Waiter),
    /// A retry asks again whether the budget has one, until an instant.
    Budget { waiter: Waiter, until: Nanos },
    /// Somebody in the line may have a place now.
    Wake,
    /// A fault begins.
    Break { fault: usize },
    /// It ends.
    Heal { fault: usize },
}

/// Everything.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) boards: Boards,
    pub(super) agenda: Agenda<Event>,
    pub(super) sites: Vec<Site>,
    pub(super) calls: Calls,
    pub(super) line: Line,
    pub(super) draws: Rng,
    pub(super) report: Report,
    pub(super) seconds: Seconds,
    traffic: Traffic,
    faults: Vec<Fault>,
    warm: Nanos,
    /// Whether the report has the wait of each request.
    each: bool,
}

impl World {
    pub(super) fn new(scenario: &Scenario) -> Result<Self, TableError> {
        let mut world = Self {
            client: scenario.client,
            boards: Boards::new(scenario)?,
            agenda: Agenda::new(),
            sites: (0..)
                .zip(&scenario.endpoints)
                .map(|(at, endpoint)| Site::new(&endpoint.server, Rng::new(mix(scenario.seed ^ (100 + at)))))
                .collect(),
            calls: Calls::default(),
            line: Line::new(scenario.tenants.len(), scenario.client.fair),
            draws: Rng::new(mix(scenario.seed ^ 3)),
            report: Report::default(),
            seconds: Seconds::new(scenario.endpoints.len()),
            traffic: Traffic::new(scenario),
            faults: scenario.faults.clone(),
            warm: span(scenario.warmup_s),
            each: scenario.each,
        };
        world.report.endpoints.resize_with(scenario.endpoints.len(), Default::default);
        world.report.tenants.resize_with(scenario.tenants.len(), Default::default);
        for (fault, row) in scenario.faults.iter().enumerate() {
            world.agenda.plan(span(row.from_s), Event::Break { fault });
            world.agenda.plan(span(row.to_s), Event::Heal { fault });
        }
        Ok(world)
    }

    /// Runs until nothing is planned any more.
    pub(super) fn run(mut self) -> Report {
        if let Some(first) = self.traffic.next_at() {
            self.agenda.plan(first, Event::Arrive);
        }
        while let Some((now, event)) = self.agenda.next() {
            self.report.events += 1;
            self.take(event, now);
        }
        self.report.held = self.boards.held();
        (self.report.seconds, self.report.retry_rate) = self.seconds.finish();
        for (row, site) in self.report.endpoints.iter_mut().zip(self.sites) {
            (row.tokens, row.worst_minute, row.worst_minute_requests) =
                (site.tokens.total, site.tokens.worst, site.requests.worst);
            (row.largest, row.minutes) = (site.tokens.largest, site.tokens.minutes);
        }
        self.report
    }

    fn take(&mut self, event: Event, now: Nanos) {
        match event {
            Event::Arrive => self.arrive(now),
            Event::Tick { site } => self.at_site(site, now, |site, out| site.tick(now, out)),
            Event::Signal { site, id, signal } => self.on_signal(site, id, signal, now),
            Event::Silence { id } => self.on_silence(id, now),
            Event::Deadline(waiter) => self.on_deadline(waiter, now),
            Event::Impatience(waiter) => self.on_impatience(waiter, now),
            Event::Again(waiter) => {
                if self.calls.is_alive(waiter) {
                    self.attempt(waiter.slot, now);
                }
            }
            Event::Budget { waiter, until } => self.on_budget(waiter, until, now),
            Event::Wake => {
                if self.line.wakes.is_some_and(|at| at <= now) {
                    self.line.wakes = None;
                    self.serve_line(now);
                }
            }
            Event::Break { fault } => {
                let fault = self.faults[fault];
                self.at_site(fault.endpoint, now, |site, out| site.break_down(&fault, now, out));
            }
            Event::Heal { fault } => {
                let fault = self.faults[fault];
                self.at_site(fault.endpoint, now, |site, out| site.heal(now, out));
            }
        }
    }

    /// Does something at a site and takes note of what it says.
    pub(super) fn at_site(&mut self, at: usize, now: Nanos, act: impl FnOnce(&mut Site, &mut Out)) {
        let mut out = Out::default();
        act(&mut self.sites[at], &mut out);
        for due in out.timers {
            self.agenda.plan(due, Event::Tick { site: at });
        }
        for (due, id, signal) in out.later {
            self.agenda.plan(due, Event::Signal { site: at, id, signal });
        }
        for (id, signal) in out.signals {
            self.on_signal(at, id, signal, now);
        }
    }

    fn arrive(&mut self, now: Nanos) {
        let request = self.traffic.draw();
        if let Some(next) = self.traffic.next_at() {
            self.agenda.plan(next.max(now), Event::Arrive);
        }
        let worker = self.draws.below(self.boards.workers());
        let is_measured = now >= self.warm;
        self.seconds.at(now).arrived += 1;
        if self.each {
            self.report.waits.push(NEVER_S);
        }
        if is_measured {
            self.report.arrived += 1;
            self.report.tenants[request.tenant].arrived += 1;
        }
        let key = u16::try_from(request.tenant).ok();
        let Ok(ticket) = self.boards.engine(worker).admit(0, key, request.estimate, clock(now)) else {
            if is_measured {
                *self.report.ended.entry("refused").or_insert(0) += 1;
            }
            return;
        };
        let waiter = self.calls.add(Call::new(request, worker, is_measured, ticket, now));
        self.agenda.plan(now.plus(span(self.client.deadline_s)), Event::Deadline(waiter));
        if self.line.is_empty() {
            self.attempt(waiter.slot, now);
        } else {
            self.join(waiter, now);
        }
    }

    /// Lets it wait for a place.
    pub(super) fn join(&mut self, waiter: Waiter, now: Nanos) {
        let tenant = self.calls.get(waiter.slot).request.tenant;
        self.line.join(tenant, waiter);
        self.agenda.plan(now.plus(span(self.client.queue_s)), Event::Impatience(waiter));
    }

    /// The line is looked at in `wait`, if not earlier.
    pub(super) fn wake_in(&mut self, wait: u64, now: Nanos) {
        let due = now.plus(Nanos(wait.max(1)));
        if self.line.wakes.is_none_or(|at| due < at) {
            self.line.wakes = Some(due);
            self.agenda.plan(due, Event::Wake);
        }
    }

    /// Gives places to those who wait, in turn, until one does not get any.
    pub(super) fn serve_line(&mut self, now: Nanos) {
        while let Some(waiter) = self.line.first() {
            if !self.calls.is_alive(waiter) || self.calls.get(waiter.slot).id != 0 {
                self.line.leave(0);
                continue;
            }
            let Use { input, output, .. } = self.calls.get(waiter.slot).request.estimate;
            match self.acquire(waiter.slot, now) {
                Ok(lease) => {
                    self.line.leave(u64::from(input) + u64::from(output));
                    self.send(waiter.slot, lease, now);
                }
                Err(refusal) => {
                    if let Some(wait) = refusal.retry_after {
                        self.wake_in(wait, now);
                    }
                    return;
                }
            }
        }
    }
}
