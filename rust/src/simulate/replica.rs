//! A model server with continuous batching (Orca, OSDI 2022; vLLM): in each step all running sequences get one token and some prompt
//! tokens are read, as many as a chunk holds.
//!
//! ```text
//! step = (step_ms + prefill_ms * prompt tokens + decode_ms * running) / speed
//! ```
//!
//! Sequences are admitted in the order of their arrival while there is a place for them (and memory, where it is limited). A prompt whose
//! last token is read in a step has its first token at the end of that step. Left out: preemption, network, speculative decoding.

use std::collections::VecDeque;

use super::cache::Cache;
use super::job::{Job, Out, Signal, Work};
use super::scenario::Batching;
use crate::units::Nanos;

/// A job in the batch.
struct Sequence {
    job: Job,
    /// Prompt tokens not read yet.
    unread: u32,
    /// Prompt tokens that were known.
    cached: u32,
    /// Step that gives the last token.
    last_step: u64,
}

/// See the module.
pub(super) struct Replica {
    batching: Batching,
    cache: Cache,
    waiting: VecDeque<Job>,
    reading: VecDeque<Sequence>,
    running: Vec<Sequence>,
    /// Tokens of all sequences in the batch.
    held: u64,
    steps: u64,
    /// Prompt tokens that the step under way reads, and its end; none: it stands still.
    step: Option<(u32, Nanos)>,
    slowness: f64,
}

impl Replica {
    pub(super) fn new(batching: Batching) -> Self {
        Self {
            batching,
            cache: Cache::new(batching.cache_tokens),
            waiting: VecDeque::new(),
            reading: VecDeque::new(),
            running: Vec::new(),
            held: 0,
            steps: 0,
            step: None,
            slowness: 1.0,
        }
    }

    /// Begins a step if there is anything to do.
    fn begin(&mut self, now: Nanos, out: &mut Out) {
        if self.step.is_some() || !self.slowness.is_finite() {
            return;
        }
        self.admit();
        if self.reading.is_empty() && self.running.is_empty() {
            return;
        }
        let mut room = self.batching.chunk;
        for sequence in &self.reading {
            room -= sequence.unread.min(room);
        }
        let tokens = self.batching.chunk - room;
        let end = now.plus(self.length(tokens));
        self.step = Some((tokens, end));
        out.timers.push(end);
    }

    /// How long a step takes.
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "some milliseconds, not negative")]
    fn length(&self, tokens: u32) -> Nanos {
        let batching = &self.batching;
        let ms =
            batching.step_ms + batching.prefill_ms * f64::from(tokens) + batching.decode_ms * self.running.len() as f64;
        Nanos((ms * 1e6 * self.slowness / batching.speed).max(1.0) as u64)
    }

    fn admit(&mut self) {
        while let Some(job) = self.waiting.front() {
            let need = u64::from(job.input) + u64::from(job.output);
            let is_full = self.reading.len() + self.running.len() >= self.batching.sequences as usize
                || self.batching.memory_tokens > 0 && self.held > 0 && self.held + need > self.batching.memory_tokens;
            if is_full {
                return;
            }
            let job = self.waiting.pop_front().expect("it has a front");
            // At least one token is always read: it gives the first token of the answer.
            let cached = self.cache.known(&job.parts).min(job.input.saturating_sub(1));
            self.held += need;
            self.reading.push_back(Sequence { job, unread: job.input - cached, cached, last_step: 0 });
        }
    }

    fn finish(&mut self, sequence: &Sequence, out: &mut Out) {
        self.held -= u64::from(sequence.job.input) + u64::from(sequence.job.output);
        out.signals.push((sequence.job.id, Signal::Done));
    }

    /// Ends the step: one token for each that runs, and for whose prompt is read.
    fn end(&mut self, mut tokens: u32, out: &mut Out) {
        self.steps += 1;
        let steps = self.steps;
        let running = std::mem::take(&mut self.running);
        let (ended, running): (Vec<_>, Vec<_>) = running.into_iter().partition(|sequence| sequence.last_step <= steps);
        self.running = running;
        for sequence in &ended {
            self.finish(sequence, out);
        }
        while let Some(sequence) = self.reading.front_mut() {
            let read = sequence.unread.min(tokens);
            sequence.unread -= read;
            tokens -= read;
            if sequence.unread > 0 {
                break;
            }
            let mut sequence = self.reading.pop_front().expect("it has a front");
            self.cache.keep(&sequence.job.parts);
            out.signals.push((sequence.job.id, Signal::First { cached: sequence.cached }));
            if sequence.job.output <= 1 {
                self.finish(&sequence, out);
                continue;
            }
            sequence.last_step = steps + u64::from(sequence.job.output) - 1;
            self.running.push(sequence);
        }
    }
}

impl Work for Replica {
    fn send(&mut self, job: Job, now: Nanos, out: &mut Out) {
        self.waiting.push_back(job);
        self.begin(now, out);
    }

    fn tick(&mut self, now: Nanos, out: &mut Out) {
        // One that hangs stops in the middle of its step, which begins anew when it works again: then this timer is not the step's.
        let is_over = self.slowness.is_finite() && self.step.is_some_and(|(_, end)| end <= now);
        if let Some((tokens, _)) = self.step.take_if(|_| is_over) {
            self.end(tokens, out);
            self.begin(now, out);
        }
    }

    fn cancel(&mut self, id: u64, _now: Nanos, _out: &mut Out) {
        self.waiting.retain(|job| job.id != id);
        let reading = self.reading.iter().position(|sequence| sequence.job.id == id);
        let running = || self.running.iter().position(|sequence| sequence.job.id == id);
        let gone =
            if let Some(at) = reading { self.reading.remove(at) } else { running().map(|at| self.running.remove(at)) };
        if let Some(sequence) = gone {
            self.held -= u64::from(sequence.job.input) + u64::from(sequence.job.output);
        }
    }

    fn slow(&mut self, times: f64, now: Nanos, out: &mut Out) {
        let was_hanging = !self.slowness.is_finite();
        self.slowness = times;
        if was_hanging {
            self.step = None;
            self.begin(now, out);
        }
    }

    fn reset(&mut self, all: bool) {
        self.cache = Cache::new(self.batching.cache_tokens);
        if all {
            self.waiting.clear();
            self.reading.clear();
            self.running.clear();
            self.held = 0;
        }
    }
}
