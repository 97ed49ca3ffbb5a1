//! `c` servers and one line, first come, first served: M/M/c of the textbooks, for the validation of everything around it.

use std::collections::VecDeque;

use super::job::{Job, Out, Signal, Work};
use super::scenario::Spread;
use super::span;
use crate::rng::Rng;
use crate::units::Nanos;

/// See the module. Its times are drawn when service begins. "First token" is the end, so that what is measured is the sojourn.
pub(super) struct Servers {
    free: u32,
    service_s: Spread,
    rng: Rng,
    line: VecDeque<Job>,
    /// Jobs being served, and when each ends.
    served: Vec<(Nanos, u64)>,
    slowness: f64,
}

impl Servers {
    pub(super) const fn new(servers: u32, service_s: Spread, rng: Rng) -> Self {
        Self { free: servers, service_s, rng, line: VecDeque::new(), served: Vec::new(), slowness: 1.0 }
    }

    fn begin(&mut self, now: Nanos, out: &mut Out) {
        while self.free > 0 {
            let Some(job) = self.line.pop_front() else { return };
            self.free -= 1;
            let end = now.plus(span(self.service_s.draw(&mut self.rng) * self.slowness));
            self.served.push((end, job.id));
            out.timers.push(end);
        }
    }
}

impl Work for Servers {
    fn send(&mut self, job: Job, now: Nanos, out: &mut Out) {
        self.line.push_back(job);
        self.begin(now, out);
    }

    fn tick(&mut self, now: Nanos, out: &mut Out) {
        self.served.retain(|(end, id)| {
            if *end <= now {
                self.free += 1;
                out.signals.extend([(*id, Signal::First { cached: 0 }), (*id, Signal::Done)]);
            }
            *end > now
        });
        self.begin(now, out);
    }

    fn cancel(&mut self, id: u64, now: Nanos, out: &mut Out) {
        self.line.retain(|job| job.id != id);
        let before = self.served.len();
        self.served.retain(|(_, served)| *served != id);
        self.free += (before - self.served.len()) as u32;
        self.begin(now, out);
    }

    fn slow(&mut self, times: f64, _now: Nanos, _out: &mut Out) {
        // Nobody simulates faults of textbook servers; what is being served ends as it was drawn.
        self.slowness = times.min(1e6);
    }

    fn reset(&mut self, all: bool) {
        if all {
            self.line.clear();
            self.free += self.served.len() as u32;
            self.served.clear();
        }
    }
}
