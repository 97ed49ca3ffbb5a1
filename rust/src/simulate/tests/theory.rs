//! Closed forms, in runs that a debug build can afford. `tests/unit/test_simulate_theory.py` holds longer ones to 2 %.

use super::*;

/// Mean time in M/M/c: service of mean 1, `load` = arrivals for each server (Erlang 1917).
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = load * f64::from(servers);
    // Erlang B by its recursion, then C from B.
    let blocked = (1..=servers).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b));
    let waits = blocked / (1.0 - load * (1.0 - blocked));
    1.0 + waits / (f64::from(servers) * (1.0 - load))
}

/// Mean time with the shorter of `d` queues, for infinitely many servers (Mitzenmacher 2001).
fn choices_mean(load: f64, choices: f64) -> f64 {
    (1..60).map(|i| load.powf((choices.powi(i) - choices) / (choices - 1.0))).sum()
}

fn sojourn(servers: usize, each: u32, load: f64, seconds: f64) -> f64 {
    let server = Server::Servers { servers: each, service_s: Spread::Exponential { a: 1.0 } };
    #[expect(clippy::cast_precision_loss, reason = "some servers")]
    let rate = load * f64::from(each) * servers as f64;
    mean_s(&run_checked(&scenario(rate, seconds, endpoints(servers, &server))))
}

#[track_caller]
fn assert_within(share: f64, found: f64, due: f64) {
    assert!((found / due - 1.0).abs() < share, "{found} for {due}");
}

#[test]
fn one_server_waits_as_in_m_m_1() {
    assert_within(0.03, sojourn(1, 1, 0.5, 100_000.0), 2.0);
}

#[test]
fn servers_with_one_line_wait_as_erlang_says() {
    assert_within(0.03, sojourn(1, 4, 0.8, 60_000.0), erlang_c(4, 0.8));
}

#[test]
fn two_choices_of_500_wait_as_the_fixed_point_says() {
    assert_within(0.0005, choices_mean(0.9, 2.0), 2.614);
    assert_within(0.03, sojourn(500, 1, 0.8, 150.0), choices_mean(0.8, 2.0));
}
