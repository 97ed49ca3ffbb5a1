//! The requests of a run: when each comes, from whom, and what it asks for. Depends on seed and scenario alone, never on what dispatch
//! does, so that all strategies are given the same ones.

use super::chance::{Popularity, exponential, normal};
use super::job::Part;
use super::scenario::{Affinity, Arrivals, Requests, Scenario};
use super::span;
use crate::limit::Use;
use crate::rng::{Rng, mix};
use crate::units::Nanos;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Prompt tokens, with everything before the new ones.
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) parts: [Part; 2],
    /// Prompt tokens that earlier requests had.
    pub(super) knowable: u32,
    /// What dispatch thinks that it uses.
    pub(super) estimate: Use,
    pub(super) hash: Option<u64>,
    pub(super) tenant: usize,
    /// Its place in the order of arrival.
    pub(super) number: usize,
    /// See [`super::job::Job`].
    pub(super) luck: u64,
}

/// A conversation: how it goes on.
#[derive(Clone, Copy, Default)]
struct Session {
    text: u64,
    prefix: usize,
    turns: u32,
    tokens: u32,
}

/// See the module.
pub(super) struct Traffic {
    arrivals: Arrivals,
    requests: Requests,
    seconds: f64,
    clock: Rng,
    draws: Rng,
    seed: u64,
    drawn: usize,
    tenants: Popularity,
    prefixes: Popularity,
    sessions: Vec<Session>,
    begun: u64,
    /// The next change between calm and burst, s.
    change_s: f64,
    is_burst: bool,
    at_s: f64,
    together: u32,
}

impl Traffic {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let requests = scenario.requests;
        let popularity = (1..=requests.prefixes).map(|rank| f64::from(rank).powf(-requests.zipf));
        let mut traffic = Self {
            arrivals: scenario.arrivals,
            requests,
            seconds: scenario.seconds,
            clock: Rng::new(mix(scenario.seed ^ 1)),
            draws: Rng::new(mix(scenario.seed ^ 2)),
            seed: mix(scenario.seed ^ 4),
            drawn: 0,
            tenants: Popularity::new(scenario.tenants.iter().map(|tenant| tenant.share)),
            prefixes: Popularity::new(popularity),
            sessions: vec![Session::default(); requests.sessions as usize],
            begun: 0,
            change_s: f64::INFINITY,
            is_burst: false,
            at_s: 0.0,
            together: scenario.arrivals.together,
        };
        if scenario.arrivals.burst_s > 0.0 {
            traffic.change_s = traffic.length_s(scenario.arrivals.calm_s);
        }
        traffic
    }

    /// The instant of the next request after the last one; none when arrivals are over.
    pub(super) fn next_at(&mut self) -> Option<Nanos> {
        if self.together > 0 {
            self.together -= 1;
            return Some(Nanos(0));
        }
        let mut work = exponential(&mut self.clock);
        loop {
            let rate = self.rate();
            if rate <= 0.0 && self.change_s.is_infinite() {
                return None;
            }
            let span_s = work / rate;
            // Without memory, so what is left of the wait goes on at the new rate.
            if self.at_s + span_s <= self.change_s {
                self.at_s += span_s;
                break;
            }
            work -= (self.change_s - self.at_s) * rate;
            self.at_s = self.change_s;
            self.is_burst = !self.is_burst;
            let mean_s = if self.is_burst { self.arrivals.burst_s } else { self.arrivals.calm_s };
            self.change_s += self.length_s(mean_s);
        }
        (self.at_s < self.seconds).then(|| span(self.at_s))
    }

    fn rate(&self) -> f64 {
        let arrivals = &self.arrivals;
        let ramp = 1.0 + (arrivals.ramp - 1.0) * (self.at_s / self.seconds).min(1.0);
        arrivals.rate_per_s * ramp * if self.is_burst { arrivals.burst } else { 1.0 }
    }

    fn length_s(&mut self, mean_s: f64) -> f64 {
        if self.arrivals.modulated { mean_s * exponential(&mut self.clock) } else { mean_s }
    }

    /// What the next request is.
    pub(super) fn draw(&mut self) -> Request {
        let tenant = self.tenants.draw(&mut self.draws);
        let new = self.requests.prompt.count(&mut self.draws);
        let output = self.requests.output.count(&mut self.draws);
        let error = (self.requests.estimate_sigma * normal(&mut self.draws)).exp();
        let parts = self.parts(new, output);
        let shared = parts[0].tokens + parts[1].tokens;
        let knowable = if parts[1].tokens > 0 { shared - new } else { shared };
        let input = knowable + new;
        #[expect(clippy::cast_sign_loss, reason = "not negative")]
        let estimate = Use {
            input: (f64::from(input) * error).round().clamp(1.0, 1e7) as u32,
            output: if self.requests.output_estimate > 0 { self.requests.output_estimate } else { output },
            cached: 0,
        };
        let hash = match self.requests.affinity {
            Affinity::None => None,
            Affinity::Prefix => Some(mix(parts[0].text)),
            Affinity::Session => Some(mix(parts[1].text)),
        };
        let (number, luck) = (self.drawn, mix(self.seed.wrapping_add(self.drawn as u64)));
        self.drawn += 1;
        Request { input, output, parts, knowable, estimate, hash, tenant, number, luck }
    }

    /// The shared prefix and the conversation that the prompt begins with.
    fn parts(&mut self, new: u32, output: u32) -> [Part; 2] {
        if self.sessions.is_empty() {
            let prefix = self.prefixes.draw(&mut self.draws);
            return [self.prefix(prefix), Part::default()];
        }
        let at = self.draws.below(self.sessions.len());
        let mut session = self.sessions[at];
        if session.turns == 0 {
            self.begun += 1;
            let prefix = self.prefixes.draw(&mut self.draws);
            // Below 2^32 are the prefixes.
            session = Session { text: self.begun << 32, prefix, turns: self.requests.turns, tokens: 0 };
        }
        session.turns -= 1;
        session.tokens += new;
        let parts = [self.prefix(session.prefix), Part { text: session.text, tokens: session.tokens }];
        session.tokens += output;
        self.sessions[at] = session;
        parts
    }

    fn prefix(&self, at: usize) -> Part {
        let tokens = if self.requests.prefixes > 0 { self.requests.prefix_tokens } else { 0 };
        Part { text: at as u64 + 1, tokens }
    }
}
