//! What an endpoint is given to do, and what it says about it.

use crate::health::Failure;
use crate::units::Nanos;

/// One part of a prompt that may be known from an earlier request: which text, and how long.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    pub(super) text: u64,
    pub(super) tokens: u32,
}

/// One attempt at an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    /// Unique in the run.
    pub(super) id: u64,
    /// Prompt tokens, the known parts included.
    pub(super) input: u32,
    /// Tokens of its answer, at least 1.
    pub(super) output: u32,
    /// How the prompt begins: a shared prefix, then a conversation. No tokens: none.
    pub(super) parts: [Part; 2],
    /// What chance at a server is drawn from: the same for the same try of the same request, whoever chose the server.
    pub(super) luck: u64,
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Its first token, and how many prompt tokens were known.
    First { cached: u32 },
    /// Its last.
    Done,
    /// An error, and the pause that was asked for, ms.
    Failed { failure: Failure, cool_ms: u64 },
}

/// What a server wants: signals now, and to be called again.
#[derive(Default)]
pub(super) struct Out {
    /// Said now.
    pub(super) signals: Vec<(u64, Signal)>,
    /// To be said then.
    pub(super) later: Vec<(Nanos, u64, Signal)>,
    /// When the server's own work goes on.
    pub(super) timers: Vec<Nanos>,
}

/// Something that works on jobs.
pub(super) trait Work {
    /// Takes a job.
    fn send(&mut self, job: Job, now: Nanos, out: &mut Out);
    /// Its timer is due.
    fn tick(&mut self, now: Nanos, out: &mut Out);
    /// Forgets a job, whose client does not wait any more.
    fn cancel(&mut self, id: u64, now: Nanos, out: &mut Out);
    /// Works so many times as slowly from now on; infinite: stands still.
    fn slow(&mut self, times: f64, now: Nanos, out: &mut Out);
    /// Whether the limits of its account would let a request of so many tokens through.
    fn has_quota(&mut self, _tokens: u64, _now: Nanos) -> bool {
        true
    }
    /// Forgets everything: what runs, if `all`, and what is cached.
    fn reset(&mut self, all: bool);
}
