//! What is given back, and to whom.

use super::*;

#[test]
fn a_retry_of_use_earns_another_one_and_a_first_try_does_not() {
    let engine = engine(&[Spec::default()]);
    let (pool, now) = (engine.pool(0).unwrap(), Nanos(START));
    while pool.retry_allowed(now) {}
    let allowed = |is_retry: bool, failure| {
        let tries = (0..20).filter(|_| {
            let lease = acquire(&engine, 0).unwrap();
            if is_retry {
                lease.mark_retry();
            }
            assert!(lease.settle(&ending(failure, 0)));
            pool.retry_allowed(now)
        });
        tries.count()
    };
    // Each request brings a fifth of a retry besides.
    let (first, lost) = (allowed(false, Failure::None), allowed(true, Failure::Cancelled));
    let of_use = allowed(true, Failure::None);
    assert!(first <= 4 && lost <= 4 && of_use >= 19, "{first}, {lost} and {of_use} of 20");
}

#[test]
fn who_is_withdrawn_has_used_nothing_of_its_key() {
    let engine = engine(&[Spec::default()]);
    let large = Use { input: 9_000, output: 0, cached: 0 };
    let admit = || engine.admit(0, Some(1), large, Nanos(START));
    for _ in 0..3 {
        assert!(admit().is_ok_and(|ticket| ticket.withdraw(Nanos(START))));
    }
    let kept = admit();
    assert!(kept.is_ok() && admit().is_err());
}
