//! What was seen. Durations are counted in buckets that are half a percent wide, so that runs can be added up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::call::Call;
use super::seconds;
use crate::health::{FAILURES, Failure};
use crate::units::{NS_PER_S, Nanos};

/// Least duration that is told from 0, s. `dispatch.simulate.histogram` reads the buckets.
pub const LEAST_S: f64 = 1e-5;
/// Width of a bucket.
pub const GROWTH: f64 = 1.005;

/// The wait of a request that had no token.
pub const NEVER_S: f32 = -1.0;

/// Counts of durations by bucket: those in `[LEAST_S * GROWTH^k, LEAST_S * GROWTH^(k + 1))` are in `k`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Histogram {
    /// By bucket.
    pub counts: BTreeMap<u32, u64>,
    /// Of all, s.
    pub sum_s: f64,
}

impl Histogram {
    #[expect(clippy::cast_sign_loss, reason = "the logarithm of at least 1")]
    pub(super) fn add(&mut self, value_s: f64) {
        let bucket = (value_s.max(LEAST_S) / LEAST_S).ln() / GROWTH.ln();
        *self.counts.entry(bucket as u32).or_insert(0) += 1;
        self.sum_s += value_s;
    }
}

/// What became of the requests that arrived in one second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Second {
    /// All.
    pub arrived: u32,
    /// Whole answers.
    pub whole: u32,
    /// Whole answers with a first token within a second, and 50 ms for each further one.
    pub good: u32,
    /// Median time to first token, s.
    pub p50_s: f32,
    /// 99th percentile.
    pub p99_s: f32,
    /// Attempts in this second that were retries.
    pub retries: u32,
    /// Attempts in this second by endpoint; empty for pools of more than 64.
    pub sent: Vec<u32>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Endpoint {
    /// Attempts.
    pub attempts: u64,
    /// Whole answers.
    pub whole: u64,
    /// 429s.
    pub refused: u64,
    /// Tokens sent there, prompt and answer.
    pub tokens: u64,
    /// Most of them in any 60 s.
    pub worst_minute: u64,
    /// And requests.
    pub worst_minute_requests: u64,
    /// The largest request, in tokens.
    pub largest: u64,
    /// Tokens sent in each minute of the run.
    pub minutes: Vec<u64>,
}

/// One tenant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tenant {
    /// Requests.
    pub arrived: u64,
    /// Whole answers.
    pub whole: u64,
    /// Times to first token.
    pub first_token: Histogram,
}

/// A run. Everything but `seconds` and `endpoints` is about requests that arrived after the warm-up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Requests.
    pub arrived: u64,
    /// Whole answers.
    pub whole: u64,
    /// Those fast enough, as in [`Second`].
    pub good: u64,
    /// Requests that ended otherwise, by how: a failure's name, or `refused` for those that got no place.
    pub ended: BTreeMap<&'static str, u64>,
    /// Requests that a provider answered 429 at least once.
    pub saw_429: u64,
    /// Requests that ended in a 429 although another endpoint would have taken them.
    pub lost_with_quota: u64,
    /// Attempts.
    pub attempts: u64,
    /// Those that were retries.
    pub retries: u64,
    /// Most retries beyond a fifth of the requests in any span of 10 s, in 1/s.
    pub retry_rate: f64,
    /// Times to first token, from the arrival, of all that had one.
    pub first_token: Histogram,
    /// The same of each request in the order of arrival, [`NEVER_S`] where there was none or it was not measured; empty unless asked for.
    pub waits: Vec<f32>,
    /// Times per further token, by answer.
    pub per_token: Histogram,
    /// Times to the end of whole answers.
    pub whole_s: Histogram,
    /// Prompt tokens of answers begun that earlier requests had.
    pub knowable_tokens: u64,
    /// Those of them that were known there.
    pub known_tokens: u64,
    /// By place.
    pub endpoints: Vec<Endpoint>,
    /// By place.
    pub tenants: Vec<Tenant>,
    /// By second of the arrival.
    pub seconds: Vec<Second>,
    /// What is held on the boards at the end, in requests and tokens: 0, or something is lost.
    pub held: u64,
    /// Events of the simulation.
    pub events: u64,
}

/// A first token within this, and further ones within that, are good, s.
const GOOD_FIRST_S: f64 = 1.0;
/// See above.
const GOOD_NEXT_S: f64 = 0.05;

/// How a request ended, in numbers.
pub(super) struct Ended {
    /// From its arrival to its first token, s.
    pub(super) first_s: Option<f64>,
    /// For each further one, s.
    next_s: f64,
    whole_s: f64,
    pub(super) is_whole: bool,
    pub(super) is_good: bool,
}

impl Ended {
    pub(super) fn new(call: &Call, failure: Failure, now: Nanos) -> Self {
        let first_s = call.first.map(|first| seconds(first.since(call.arrived)));
        let further = f64::from((call.request.output - 1).max(1));
        let next_s = call.first.map_or(0.0, |first| seconds(now.since(first)) / further);
        let is_whole = failure == Failure::None;
        let is_good = is_whole && first_s.is_some_and(|wait_s| wait_s < GOOD_FIRST_S) && next_s < GOOD_NEXT_S;
        Self { first_s, next_s, whole_s: seconds(now.since(call.arrived)), is_whole, is_good }
    }
}

impl Report {
    /// Counts a request that has ended.
    pub(super) fn count(&mut self, call: &Call, failure: Failure, ended: &Ended) {
        self.saw_429 += u64::from(call.saw_429);
        let tenant = &mut self.tenants[call.request.tenant];
        if let Some(first_s) = ended.first_s {
            self.first_token.add(first_s);
            if let Some(wait_s) = self.waits.get_mut(call.request.number) {
                *wait_s = first_s as f32;
            }
            tenant.first_token.add(first_s);
            self.knowable_tokens += u64::from(call.request.knowable);
            self.known_tokens += u64::from(call.cached);
        }
        if !ended.is_whole {
            *self.ended.entry(FAILURES[failure as usize].1).or_insert(0) += 1;
            return;
        }
        tenant.whole += 1;
        self.whole += 1;
        self.good += u64::from(ended.is_good);
        self.whole_s.add(ended.whole_s);
        if call.request.output > 1 {
            self.per_token.add(ended.next_s);
        }
    }
}

/// A sum over the last 60 s, and the largest that it was.
#[derive(Default)]
pub(super) struct Minute {
    events: std::collections::VecDeque<(Nanos, u64)>,
    sum: u64,
    pub(super) worst: u64,
    pub(super) total: u64,
    pub(super) largest: u64,
    /// By minute of the run.
    pub(super) minutes: Vec<u64>,
}

impl Minute {
    pub(super) fn add(&mut self, amount: u64, now: Nanos) {
        while self.events.front().is_some_and(|(then, _)| now.since(*then).0 >= 60 * NS_PER_S) {
            self.sum -= self.events.pop_front().map_or(0, |(_, past)| past);
        }
        self.events.push_back((now, amount));
        self.sum += amount;
        self.total += amount;
        self.worst = self.worst.max(self.sum);
        self.largest = self.largest.max(amount);
        let minute = (now.0 / (60 * NS_PER_S)) as usize;
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, 0);
        }
        self.minutes[minute] += amount;
    }
}

/// The seconds of a run while it goes on.
#[derive(Default)]
pub(super) struct Seconds {
    rows: Vec<(Second, Vec<f32>)>,
    endpoints: usize,
}

impl Seconds {
    pub(super) fn new(endpoints: usize) -> Self {
        Self { rows: Vec::new(), endpoints: if endpoints > 64 { 0 } else { endpoints } }
    }

    pub(super) fn at(&mut self, now: Nanos) -> &mut Second {
        &mut self.row(now).0
    }

    pub(super) fn first_token(&mut self, arrived: Nanos, wait_s: f64) {
        self.row(arrived).1.push(wait_s as f32);
    }

    pub(super) fn sent(&mut self, now: Nanos, endpoint: usize, is_retry: bool) {
        let second = self.at(now);
        second.retries += u32::from(is_retry);
        if let Some(count) = second.sent.get_mut(endpoint) {
            *count += 1;
        }
    }

    fn row(&mut self, now: Nanos) -> &mut (Second, Vec<f32>) {
        let at = (now.0 / NS_PER_S) as usize;
        while self.rows.len() <= at {
            self.rows.push((Second { sent: vec![0; self.endpoints], ..Second::default() }, Vec::new()));
        }
        &mut self.rows[at]
    }

    /// The rows, and the most retries beyond a fifth of the requests in 10 s, per second.
    pub(super) fn finish(self) -> (Vec<Second>, f64) {
        let seconds: Vec<Second> = self.rows.into_iter().map(|(second, waits)| summed(second, waits)).collect();
        let excess = |span: &[Second]| {
            let (retries, arrived) = span.iter().fold((0, 0), |(a, b), row| (a + row.retries, b + row.arrived));
            (f64::from(retries) - 0.2 * f64::from(arrived)) / 10.0
        };
        let worst = seconds.windows(10).map(excess).fold(0.0, f64::max);
        (seconds, worst)
    }
}

fn summed(mut second: Second, mut waits: Vec<f32>) -> Second {
    waits.sort_unstable_by(f32::total_cmp);
    let quantile = |share: usize| waits.get((waits.len() * share).div_ceil(100).max(1) - 1).copied().unwrap_or(0.0);
    (second.p50_s, second.p99_s) = (quantile(50), quantile(99));
    second
}
