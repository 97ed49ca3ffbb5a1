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
fn what_was_never_counted_is_given_back_less_what_has_drained() {
    let engine = engine(&[limits(1, 600_000)]);
    let left = |ns| engine.gauges(Nanos(START + ns))[0].remaining[0].1;
    // 150 tokens are 15.25 ms of the limit.
    let ms = 1_000_000;
    let cases = [
        (Failure::Connect, 0, 150),
        (Failure::RateLimited, 5 * ms, 101),
        (Failure::Connect, 16 * ms, 0),
        (Failure::FirstTokenTimeout, 5 * ms, 0),
        (Failure::Cancelled, 5 * ms, 0),
        // Nothing can have been sent at the same instant.
        (Failure::Cancelled, 0, 150),
    ];
    for (turn, (failure, age, given_back)) in (0..).zip(cases) {
        let start = turn * 10 * NS_PER_S;
        let taken = acquire(&engine, start).ok().unwrap();
        let others: Vec<_> = (0..40).map(|_| acquire(&engine, start + age).ok().unwrap()).collect();
        let before = left(start + age);
        taken.settle(&ending(failure, start + age));
        let given = left(start + age) - before;
        assert!(given.abs_diff(given_back) <= 1, "{failure:?} after {age} ns: {given}");
        for lease in others {
            assert!(lease.settle(&ending(Failure::BadRequest, start + age + 1)));
        }
        engine.board.endpoint(0).breaker().store(0, Relaxed);
    }
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
    assert!((590..=600).contains(&worst.unwrap()), "{worst:?}");
}

#[test]
fn a_request_larger_than_the_burst_waits_until_the_minute_has_room() {
    let engine = engine(&[limits(1, 60_000)]);
    let ask = |input: u32, ms: u64| {
        let tokens = Use { input, output: 0, cached: 0 };
        engine.pool(0).unwrap().acquire(&Wish { tokens, ..wish(ms * 1_000_000) })
    };
    let mut taken = Vec::new();
    for ms in 0..240_000u64 {
        // A tenth of the limit in one request, twenty seconds apart, beside all that fits in small ones; then nobody else asks for a while.
        let is_calm = ms % 20_000 > 8_000;
        let input = if ms % 20_000 > 17_000 { 6_000 } else { 50 };
        if (input == 50 && !is_calm || input == 6_000)
            && ask(input, ms).map(|lease| lease.settle(&ending(Failure::None, ms * 1_000_000))).is_ok()
        {
            taken.push((ms, u64::from(input)));
        }
    }
    let minute = |first: u64| -> u64 {
        taken.iter().filter(|(ms, _)| (first..first + 60_000).contains(ms)).map(|(_, units)| units).sum()
    };
    let worst = taken.iter().map(|(ms, _)| minute(*ms)).max().unwrap();
    let large = taken.iter().filter(|(_, units)| *units == 6_000).count();
    assert!(worst <= 60_000 && large >= 10, "{worst} with {large}");
}

#[test]
fn what_lasts_is_charged_as_it_goes_on_and_hears_when_its_tokens_are_spent() {
    let engine = engine(&[limits(1, 600_000)]);
    let left = || engine.gauges(Nanos(START))[0].remaining[0].1;
    // The key of these tables has 600,000 tokens a minute, 10,000 of them at once, and two places.
    let ticket = engine.admit(0, Some(1), Use::default(), Nanos(START)).ok().unwrap();
    let other = engine.admit(0, Some(1), Use::default(), Nanos(START)).ok().unwrap();
    let lease = acquire(&engine, 0).ok().unwrap();
    let before = left();
    let part = Use { input: 3_000, output: 1_000, cached: 500 };
    lease.charge(part, Nanos(START));
    assert_eq!(left(), before - 4_000);
    assert!(ticket.charge(part, Nanos(START)).is_ok());
    assert!(ticket.charge(part, Nanos(START)).is_ok());
    let (refusal, whose) = ticket.charge(part, Nanos(START)).err().unwrap();
    assert_eq!((refusal.why, whose), ("tokens_per_min", Whose::Key));
    // 2,000 more than there were, at ten a millisecond or a little less.
    assert!((200..230).contains(&(refusal.retry_after.unwrap() / 1_000_000)));
    let ended = Outcome { failure: Failure::None, now: Nanos(START), overhead: Nanos(0), used: Use::default() };
    assert!(ticket.settle(&ended) && other.settle(&ended) && lease.settle(&ending(Failure::None, 1)));
    lease.charge(part, Nanos(START));
    assert!(ticket.charge(part, Nanos(START)).is_ok());
    let (endpoint, key) = (snapshot::endpoint(&engine.board, 0), snapshot::key(&engine.board, 1));
    assert_eq!((key.tokens, key.requests), (vec![9_000, 3_000, 1_500], 2));
    // An answer that reports nothing counts as it was estimated.
    assert_eq!(endpoint.tokens[2], 500);
}
