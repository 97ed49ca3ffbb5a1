//! What holds whatever is simulated.

use super::super::job::{Job, Out, Part, Signal, Work};
use super::super::replica::Replica;
use super::super::seconds;
use super::*;
use crate::rng::Rng;
use crate::units::Nanos;

fn lognormal(mean: f64) -> Spread {
    Spread::Lognormal { a: mean * (-0.5f64).exp(), b: 1.0 }
}

/// Chat on replicas.
fn chat(rate_per_s: f64, seconds: f64, replicas: usize) -> Scenario {
    let mut chat = scenario(rate_per_s, seconds, endpoints(replicas, &Server::Replica(BATCHING)));
    chat.requests.prompt = lognormal(1_150.0);
    chat.requests.output = lognormal(210.0);
    chat.client.first_token_s = 60.0;
    chat.client.deadline_s = 600.0;
    chat
}

#[test]
fn the_same_seed_gives_the_same_report_to_the_last_bit() {
    let mut run = chat(60.0, 20.0, 4);
    run.faults = vec![Fault { endpoint: 1, from_s: 5.0, to_s: 10.0, what: What::Outage, amount: 0.0 }];
    run.workers = 3;
    let json = |scenario: &Scenario| serde_json::to_string(&run_checked(scenario)).unwrap();
    assert_eq!(json(&run), json(&run));
    let other = Scenario { seed: 2, ..run.clone() };
    assert_ne!(json(&run), json(&other));
}

#[test]
fn a_full_replica_works_as_fast_as_its_step_allows() {
    const JOBS: u32 = 4_000;
    let (mut replica, mut out, mut rng, mut now) = (Replica::new(BATCHING), Out::default(), Rng::new(1), Nanos(0));
    for id in 0..JOBS {
        let (input, output) = (lognormal(1_150.0).count(&mut rng), lognormal(210.0).count(&mut rng));
        replica.send(Job { id: u64::from(id), input, output, parts: [Part::default(); 2], luck: 0 }, now, &mut out);
    }
    while let Some(due) = out.timers.pop() {
        now = due;
        replica.tick(now, &mut out);
    }
    assert_eq!(out.signals.iter().filter(|(_, signal)| *signal == Signal::Done).count(), JOBS as usize);
    // A step gives 128 sequences a token and reads the prompts of those that it replaces: a request costs its prompt, and for each
    // token of its answer its own time and a 128th of a step's.
    let due_s = f64::from(JOBS) * (1_150.0 * 0.04 + 210.0 * (0.05 + 8.0 / 128.0)) / 1e3;
    assert!((seconds(now) / due_s - 1.0).abs() < 0.05, "{} for {due_s}", seconds(now));
}

#[test]
fn a_hang_is_left_and_nothing_is_lost() {
    let mut run = chat(30.0, 60.0, 4);
    run.client.first_token_s = 5.0;
    run.faults = vec![Fault { endpoint: 0, from_s: 10.0, to_s: 40.0, what: What::Hang, amount: 0.0 }];
    let report = run_checked(&run);
    assert!(report.retries > 0 && report.whole * 100 >= report.arrived * 97, "{report:?}");
}

#[test]
fn a_known_limit_is_never_refused_upstream() {
    let quota = Quota { requests_per_min: 0, tokens_per_min: 600_000, enforce: Enforce::Sliding, burst_s: 60.0 };
    let server = Server::Hosted { first_token_s: lognormal(0.4), tokens_per_s: 80.0, quota };
    let mut run = chat(20.0, 200.0, 2);
    run.endpoints = endpoints(2, &server);
    for endpoint in &mut run.endpoints {
        endpoint.limits.tokens_per_min = 600_000;
    }
    run.client.queue_s = 30.0;
    let report = run_checked(&run);
    assert_eq!(report.endpoints.iter().map(|endpoint| endpoint.refused).sum::<u64>(), 0);
    for endpoint in &report.endpoints {
        assert!(endpoint.worst_minute <= 600_000 && endpoint.worst_minute > 570_000, "{endpoint:?}");
    }
}

#[test]
fn tenants_take_turns_in_a_fair_line() {
    let mut run = chat(25.0, 60.0, 1);
    run.endpoints[0].limits.concurrency = 60;
    run.tenants = [10.0, 1.0].map(|share| Tenant { share, limits: NO_LIMITS }).to_vec();
    run.client.queue_s = 20.0;
    let served = |run: &Scenario| {
        let tenants = run_checked(run).tenants;
        #[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
        let share = tenants[1].whole as f64 / tenants[1].arrived as f64;
        share
    };
    let plain = served(&run);
    run.client.fair = true;
    assert!(served(&run) > 0.99 && plain < 0.8, "{plain}");
}

#[test]
fn whoever_has_quota_is_found_however_many_accounts_have_none() {
    let quota = Quota { requests_per_min: 0, tokens_per_min: 1, enforce: Enforce::Sliding, burst_s: 60.0 };
    let hosted = |quota| Server::Hosted { first_token_s: lognormal(0.4), tokens_per_s: 80.0, quota };
    for seed in 1..10 {
        let mut run = chat(1.0, 10.0, 0);
        run.seed = seed;
        run.endpoints = endpoints(5, &hosted(quota));
        run.endpoints.extend(endpoints(1, &hosted(Quota { tokens_per_min: 0, ..quota })));
        assert_eq!(run_checked(&run).ended.len(), 0);
    }
}

#[test]
fn a_crowd_whose_endpoint_is_gone_waits_for_the_budget_and_goes_over() {
    let mut run = chat(1.0, 10.0, 2);
    run.warmup_s = 0.0;
    run.arrivals.together = 60;
    run.faults = vec![Fault { endpoint: 0, from_s: 0.0, to_s: 20.0, what: What::Outage, amount: 0.0 }];
    let report = run_checked(&run);
    assert!(report.ended.is_empty() && report.retries > 20, "{:?} {}", report.ended, report.retries);
}
