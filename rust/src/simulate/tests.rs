//! The simulation against what queueing theory knows, and against itself.

mod laws;
mod theory;

use super::record::Report;
use super::run;
use super::scenario::Batching;
use super::scenario::{
    Affinity, Arrivals, Client, Endpoint, Enforce, Fault, Limits, Policy, Quota, Requests, Scenario, Server, Spread,
    Tenant, What,
};

const NO_LIMITS: Limits = Limits { requests_per_min: 0, tokens_per_min: 0, concurrency: 0, burst_s: 1.0 };

/// The replica of the shipped scenarios.
const BATCHING: Batching = Batching {
    speed: 1.0,
    step_ms: 8.0,
    prefill_ms: 0.04,
    decode_ms: 0.05,
    chunk: 2_048,
    sequences: 128,
    memory_tokens: 0,
    cache_tokens: 0,
};

/// One token in, one token out.
const ONE_TOKEN: Requests = Requests {
    prompt: Spread::Constant { a: 1.0 },
    output: Spread::Constant { a: 1.0 },
    estimate_sigma: 0.0,
    output_estimate: 0,
    prefixes: 0,
    zipf: 0.0,
    prefix_tokens: 0,
    turns: 1,
    sessions: 0,
    affinity: Affinity::None,
};

fn endpoints(count: usize, server: &Server) -> Vec<Endpoint> {
    vec![Endpoint { weight: 1, limits: NO_LIMITS, rates: (0, 0, 0), tier: 0, server: server.clone() }; count]
}

fn p2c() -> Policy {
    Policy {
        strategy: "least_connections".into(),
        choices: 2,
        bounded_load: 0.0,
        priority: false,
        lowest_cost: None,
        lowest_latency: None,
        affinity: None,
    }
}

/// One request a token, a plain client, `least_connections` out of two.
fn scenario(rate_per_s: f64, seconds: f64, endpoints: Vec<Endpoint>) -> Scenario {
    Scenario {
        seed: 1,
        seconds,
        warmup_s: seconds / 10.0,
        policy: p2c(),
        workers: 1,
        shared: true,
        each: false,
        arrivals: Arrivals {
            rate_per_s,
            burst: 1.0,
            burst_s: 0.0,
            calm_s: 0.0,
            modulated: false,
            ramp: 1.0,
            together: 0,
        },
        requests: ONE_TOKEN,
        tenants: vec![Tenant { share: 1.0, limits: NO_LIMITS }],
        endpoints,
        faults: Vec::new(),
        client: Client {
            attempts: 3,
            base_s: 0.25,
            cap_s: 8.0,
            retry_percent: 20,
            retry_per_s: 10,
            first_token_s: 1e6,
            deadline_s: 1e6,
            queue_s: 0.0,
            fair: false,
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn mean_s(report: &Report) -> f64 {
    report.first_token.sum_s / report.first_token.counts.values().sum::<u64>() as f64
}

fn run_checked(scenario: &Scenario) -> Report {
    let report = run(scenario).expect("a scenario without faults");
    let ended: u64 = report.ended.values().sum();
    assert_eq!(report.arrived, report.whole + ended, "every request ends once");
    assert_eq!(report.held, 0, "nothing is held in the end");
    report
}
