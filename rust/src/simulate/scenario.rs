//! What is simulated, as it comes from Python: complete, since defaults and checks belong to whoever reads the file.

use serde::Deserialize;

use crate::error::TableError;

/// One run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Of all chance.
    pub seed: u64,
    /// How long requests arrive, s. What is under way then is finished.
    pub seconds: f64,
    /// Requests that arrive before this are not measured, s.
    pub warmup_s: f64,
    /// How the pool chooses.
    pub policy: Policy,
    /// Workers that requests come through; each has an engine of its own.
    pub workers: u32,
    /// Whether the workers share one board, or have one each.
    pub shared: bool,
    /// Whether the report has the wait of each request.
    pub each: bool,
    /// When requests come.
    pub arrivals: Arrivals,
    /// What they are.
    pub requests: Requests,
    /// Who sends them; at least one.
    pub tenants: Vec<Tenant>,
    /// Where they go.
    pub endpoints: Vec<Endpoint>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What dispatch does about it.
    pub client: Client,
}

/// A pool's strategy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// By name.
    pub strategy: String,
    /// Endpoints that are drawn and compared, 0 for all.
    pub choices: u32,
    /// Bound of a hash, 0 for none.
    pub bounded_load: f64,
    /// Whether endpoints have tiers.
    pub priority: bool,
    /// How much more than the cheapest an endpoint may cost.
    pub lowest_cost: Option<f64>,
    /// How much later than the fastest it may answer.
    pub lowest_latency: Option<f64>,
    /// What a warm cache is worth: how long it stays, s; the part of a prompt; the least tokens; a second of waiting, picodollars.
    pub affinity: Option<(u32, f64, u32, f64)>,
}

/// Numbers with a distribution, as `dispatch.distribution` reads them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Spread {
    /// Always the same.
    Constant {
        /// That.
        a: f64,
    },
    /// Any between two, alike.
    Uniform {
        /// Least.
        a: f64,
        /// Most.
        b: f64,
    },
    /// Without memory.
    Exponential {
        /// The mean.
        a: f64,
    },
    /// With a long tail.
    Lognormal {
        /// The median.
        a: f64,
        /// Sigma of the logarithm.
        b: f64,
    },
}

/// When requests come.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// In calm times, 1/s.
    pub rate_per_s: f64,
    /// Times the rate in a burst.
    pub burst: f64,
    /// Mean length of a burst, s; 0 for none.
    pub burst_s: f64,
    /// Mean time between two bursts, s.
    pub calm_s: f64,
    /// Whether lengths are drawn (a Markov-modulated process) or exact.
    pub modulated: bool,
    /// Rate at the end, as a multiple of that at the beginning.
    pub ramp: f64,
    /// Requests that come at once at time 0, besides.
    pub together: u32,
}

/// What requests ask for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Prompt tokens, without a shared prefix.
    pub prompt: Spread,
    /// Answer tokens.
    pub output: Spread,
    /// Sigma of the logarithm of estimate over truth, for prompts.
    pub estimate_sigma: f64,
    /// What an answer is thought to have; 0: the truth is known.
    pub output_estimate: u32,
    /// Kinds of shared prefixes; 0 for none.
    pub prefixes: u32,
    /// Popularity of the k-th: `k^-zipf`.
    pub zipf: f64,
    /// Their length, tokens.
    pub prefix_tokens: u32,
    /// Turns of a conversation, each of which has all earlier ones before it; 1 for single requests.
    pub turns: u32,
    /// Conversations at once.
    pub sessions: u32,
    /// Which hash requests bring.
    pub affinity: Affinity,
}

/// What a request is hashed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Nothing.
    None,
    /// Its prefix.
    Prefix,
    /// Its conversation.
    Session,
}

/// Who sends requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Share of the arrivals, relative to the others.
    pub share: f64,
    /// What its key allows.
    pub limits: Limits,
}

/// Limits in a configuration; 0 is none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests.
    pub requests_per_min: u64,
    /// Tokens.
    pub tokens_per_min: u64,
    /// Requests at once.
    pub concurrency: u32,
    /// Seconds' worth that may come at once.
    pub burst_s: f64,
}

/// An endpoint of the pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Share of the traffic.
    pub weight: u32,
    /// What the configuration says of it.
    pub limits: Limits,
    /// What it takes for a token of the prompt, of a cached one, of the answer, picodollars.
    pub rates: (u64, u64, u64),
    /// Its tier, the lowest first.
    pub tier: u16,
    /// Behind its address.
    pub server: Server,
}

/// What stands behind an address.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Server {
    /// A server with continuous batching.
    Replica(Batching),
    /// Servers in the sense of queueing theory: one line, first come, first served.
    Servers {
        /// How many.
        servers: u32,
        /// Time at one, s.
        service_s: Spread,
    },
    /// A hosted provider: no queue, but limits.
    Hosted {
        /// Until the first token, s.
        first_token_s: Spread,
        /// Tokens after that, 1/s.
        tokens_per_s: f64,
        /// What it enforces; its 429 comes with Retry-After.
        quota: Quota,
    },
}

/// A replica: `step = (step_ms + prefill_ms * prefill tokens + decode_ms * running) / speed`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// How fast, as a multiple.
    pub speed: f64,
    /// Of each step, ms.
    pub step_ms: f64,
    /// For each prompt token, ms.
    pub prefill_ms: f64,
    /// For each running sequence, ms.
    pub decode_ms: f64,
    /// Most prompt tokens in a step.
    pub chunk: u32,
    /// Most sequences at once.
    pub sequences: u32,
    /// Most tokens of all sequences at once, prompts and answers; 0 for no limit.
    pub memory_tokens: u64,
    /// Tokens of prefixes that are kept, the least recently used go first.
    pub cache_tokens: u64,
}

/// What a provider enforces; 0 is nothing.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests.
    pub requests_per_min: u64,
    /// Tokens, counted when a request comes.
    pub tokens_per_min: u64,
    /// How.
    pub enforce: Enforce,
    /// What a full bucket holds, s.
    pub burst_s: f64,
}

/// How a provider counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Enforce {
    /// An even refill.
    #[serde(rename = "bucket")]
    Bucket,
    /// What came in any trailing minute.
    #[serde(rename = "sliding_60s")]
    Sliding,
    /// A sixtieth in each second of the clock.
    #[serde(rename = "per_second")]
    PerSecond,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which endpoint, by its place.
    pub endpoint: usize,
    /// Since, s.
    pub from_s: f64,
    /// Until, s.
    pub to_s: f64,
    /// How.
    pub what: What,
    /// `slow`: times as slow; `sinkhole`: after so many ms.
    pub amount: f64,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Takes requests and says nothing.
    Hang,
    /// Fails fast with a 500.
    Sinkhole,
    /// Works slowly.
    Slow,
    /// Gone: connections are refused, what ran is lost.
    Outage,
    /// Replaced: new requests are refused, what runs is finished, and its cache is empty when it comes back.
    Deploy,
}

/// What dispatch does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Most attempts.
    pub attempts: u32,
    /// First wait, s.
    pub base_s: f64,
    /// Longest wait, s.
    pub cap_s: f64,
    /// Retries for each hundred requests.
    pub retry_percent: u32,
    /// Retries in each second besides.
    pub retry_per_s: u32,
    /// Longest wait of an attempt for its first token, s.
    pub first_token_s: f64,
    /// For the whole request, s.
    pub deadline_s: f64,
    /// Longest wait for a place, s; 0 refuses at once.
    pub queue_s: f64,
    /// Whether those who wait are served by turns of their tenants instead of by their arrival.
    pub fair: bool,
}

impl Scenario {
    /// Refuses what would not end or not begin. What Python has checked is not said again.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TableError> {
        let wrong = |path: &str, reason: &str| Err(TableError::new(path, reason));
        if self.endpoints.is_empty() {
            return wrong("endpoints", "expected at least one");
        }
        if self.tenants.is_empty() {
            return wrong("tenants", "expected at least one");
        }
        if !(1..=16).contains(&self.workers) {
            return wrong("workers", "expected 1 to 16");
        }
        if self.faults.iter().any(|fault| fault.endpoint >= self.endpoints.len()) {
            return wrong("faults", "no such endpoint");
        }
        let peak = self.arrivals.rate_per_s * self.arrivals.burst.max(1.0) * self.arrivals.ramp.max(1.0);
        if !(peak * self.seconds).is_finite() || peak * self.seconds > 2e7 {
            return wrong("arrivals", "more than 20 million requests");
        }
        Ok(())
    }
}
