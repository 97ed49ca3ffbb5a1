//! Reservation, reconciliation, refund.

use super::*;

#[test]
fn all_limits_are_taken_or_none() {
    let mut spec = limits(0, 6_000);
    spec.per_minute[1] = 10_000;
    let engine = engine(&[spec]);
    // 10,000 tokens in 61 s: one such request at a time.
    let first = acquire(&engine, 0).ok().unwrap();
    for _ in 0..1_000 {
        assert_eq!(acquire(&engine, 0).err().unwrap().why, "tokens_per_min");
    }
    let requests = engine.gauges(Nanos(START))[0].remaining[0];
    assert_eq!(requests, ("requests_per_min", 97));
    assert_eq!(snapshot::endpoint(&engine.board, 0).in_flight, 1);
    first.settle(&ending(Failure::None, 1));
}

#[test]
fn a_success_is_reconciled_in_both_directions() {
    let engine = engine(&[limits(1, 600_000)]);
    let left = |ns| engine.gauges(Nanos(START + ns))[0].remaining[0].1;
    let full = left(0);
    let (low, high) = (acquire(&engine, 0).ok().unwrap(), acquire(&engine, 0).ok().unwrap());
    let used = |input, output| Ending { used: Use { input, output, cached: 0 }, ..ending(Failure::None, 0) };
    low.settle(&used(10, 10));
    assert_eq!(left(0), full - 20 - 150);
    high.settle(&used(1_000, 1_000));
    assert_eq!(left(0), full - 20 - 2_000);
}

#[test]
fn a_failure_is_refunded_while_it_is_young_and_not_after() {
    let engine = engine(&[limits(1, 600_000)]);
    let left = |ns| engine.gauges(Nanos(START + ns))[0].remaining[0].1;
    let full = left(0);
    acquire(&engine, 0).ok().unwrap().settle(&ending(Failure::Connect, 1));
    assert_eq!(left(1), full);

    let old = acquire(&engine, 0).ok().unwrap();
    let later = 2 * NS_PER_S;
    let _young: Vec<_> = (0..10).map(|_| acquire(&engine, later).ok().unwrap()).collect();
    old.settle(&ending(Failure::Connect, later));
    assert_eq!(left(later), full - 1_500);
}

#[test]
fn hanging_requests_that_fail_together_do_not_lift_the_limit() {
    let engine = engine(&[limits(0, 600)]);
    let (mut hanging, mut starts) = (Vec::new(), Vec::new());
    // A minute of saturated demand that hangs, then all of it fails at once; demand goes on for another minute.
    for ms in 0..120_000u64 {
        if ms == 59_000 {
            for lease in hanging.drain(..) {
                let lease: Lease = lease;
                lease.settle(&ending(Failure::FirstTokenTimeout, ms * 1_000_000));
            }
            engine.board.endpoint(0).breaker().store(0, Relaxed);
        }
        if let Ok(lease) = acquire(&engine, ms * 1_000_000) {
            starts.push(ms);
            hanging.push(lease);
        }
    }
    let worst =
        starts.iter().map(|first| starts.iter().filter(|at| (*first..first + 60_000).contains(at)).count()).max();
    // Two bursts of ten may have been given back: what was younger than a burst.
    assert!(worst.unwrap() <= 620, "{worst:?}");
}
