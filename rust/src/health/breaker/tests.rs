use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    consecutive: 5,
    ratio_permille: 500,
    min_requests: 20,
    window_ms: 10_000,
    open_ms: 1_000,
    longest_ms: 60_000,
    probes: 2,
    slow_start_ms: 4_000,
};

const fn at(ms: u64) -> Nanos {
    Nanos(ms * 1_000_000)
}

fn tell(cell: &AtomicU64, verdict: Verdict, probe: bool, now: Nanos) -> bool {
    record(cell, &POLICY, &Ended { verdict, probe, pause_ms: 0, now })
}

fn fail(cell: &AtomicU64, times: u32, now: Nanos) {
    for _ in 0..times {
        tell(cell, Verdict::Bad, false, now);
    }
}

fn now_is(cell: &AtomicU64, now: Nanos) -> State {
    state(cell.load(Relaxed), now)
}

/// Opens it; returns the open time, ms.
fn open_ms(cell: &AtomicU64, ms: u64) -> u64 {
    match now_is(cell, at(ms)) {
        State::Open(left) => left / 1_000_000,
        other => panic!("it is {other:?}"),
    }
}

#[test]
fn five_failures_in_a_row_open_it() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive - 1, at(100_000));
    assert_eq!(now_is(&cell, at(100_000)), State::Closed);
    assert!(tell(&cell, Verdict::Bad, false, at(100_000)));
    assert!((750..=1_000).contains(&open_ms(&cell, 100_000)));
    assert_eq!(now_is(&cell, at(101_000)), State::HalfOpen);
}

#[test]
fn a_success_between_them_breaks_the_row_but_not_the_ratio() {
    let cell = AtomicU64::new(0);
    for turn in 0..POLICY.min_requests {
        assert_eq!(now_is(&cell, at(100_000)), State::Closed, "{turn}");
        let verdict = if turn % 2 == 0 { Verdict::Good } else { Verdict::Bad };
        tell(&cell, verdict, false, at(100_000));
    }
    assert!(matches!(now_is(&cell, at(100_000)), State::Open(_)));
}

#[test]
fn failures_of_an_old_window_are_forgotten() {
    let cell = AtomicU64::new(0);
    for window in 0..10u64 {
        for _ in 0..9 {
            tell(&cell, Verdict::Bad, false, at(100_000 + window * 20_000));
            tell(&cell, Verdict::Good, false, at(100_000 + window * 20_000));
        }
    }
    assert_eq!(now_is(&cell, at(300_000)), State::Closed);
    assert_eq!(counts(cell.load(Relaxed), &POLICY, at(300_000)), (0, 0));
}

#[test]
fn what_says_nothing_never_opens_it() {
    let cell = AtomicU64::new(0);
    for ms in 0..1_000 {
        assert!(!tell(&cell, Verdict::Silent, false, at(ms)));
    }
    assert_eq!(cell.load(Relaxed), 0);
}

#[test]
fn a_good_probe_closes_it_and_a_bad_one_opens_it_for_longer() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive, at(1_000));
    assert!(tell(&cell, Verdict::Bad, true, at(2_000)));
    assert!((3_000..=4_000).contains(&open_ms(&cell, 2_000)));
    tell(&cell, Verdict::Good, true, at(6_000));
    assert_eq!(now_is(&cell, at(6_000)), State::Closed);
}

#[test]
fn a_pause_that_the_provider_names_is_the_open_time() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive - 1, at(1_000));
    let ended = Ended { verdict: Verdict::Bad, probe: false, pause_ms: 7_500, now: at(1_000) };
    assert!(record(&cell, &POLICY, &ended));
    assert_eq!(open_ms(&cell, 1_000), 7_500);
}

#[test]
fn the_open_time_grows_to_the_longest_and_no_further() {
    let (cell, mut now) = (AtomicU64::new(0), 1_000);
    fail(&cell, POLICY.consecutive, at(now));
    for longest in [1, 4, 16, 60, 60, 60] {
        let left = open_ms(&cell, now);
        assert!((longest * 750..=longest * 1_000).contains(&left), "{left} of {longest} s");
        now += left;
        tell(&cell, Verdict::Bad, true, at(now));
    }
}

#[test]
fn open_times_of_many_are_spread_over_a_quarter() {
    let mut times: Vec<u64> = (0..100u64)
        .map(|turn| {
            let cell = AtomicU64::new(0);
            fail(&cell, POLICY.consecutive, Nanos(at(1_000).0 + turn));
            open_ms(&cell, 1_000)
        })
        .collect();
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 50 && times[times.len() - 1] - times[0] > 200, "{times:?}");
}

#[test]
fn clean_windows_bring_the_open_time_down_again() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive, at(1_000));
    tell(&cell, Verdict::Bad, true, at(2_000));
    tell(&cell, Verdict::Good, true, at(4_000));
    for window in 1..=5u64 {
        tell(&cell, Verdict::Good, false, at(4_000 + window * u64::from(POLICY.window_ms)));
    }
    fail(&cell, POLICY.consecutive, at(60_000));
    assert!(open_ms(&cell, 60_000) <= 1_000);
}

#[test]
fn attempts_from_before_it_opened_say_nothing() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive, at(0));
    let word = cell.load(Relaxed);
    tell(&cell, Verdict::Good, false, at(10));
    tell(&cell, Verdict::Bad, false, at(10));
    tell(&cell, Verdict::Bad, true, at(10));
    tell(&cell, Verdict::Bad, false, at(5_000));
    assert_eq!(cell.load(Relaxed), word);
}

#[test]
fn after_closing_its_share_grows_from_a_tenth_to_one() {
    let cell = AtomicU64::new(0);
    let share_at = |ms| share(cell.load(Relaxed), &POLICY, at(ms));
    fail(&cell, POLICY.consecutive, at(1_000));
    tell(&cell, Verdict::Good, true, at(3_000));
    assert!(!is_plain(cell.load(Relaxed)));
    let shares = [3_000, 3_400, 5_000, 7_000, 9_000].map(share_at);
    assert!(shares.iter().zip([0.1, 0.1, 0.5, 1.0, 1.0]).all(|(found, due)| (found - due).abs() < 1e-3), "{shares:?}");
    // The window after the slow start is an ordinary one.
    tell(&cell, Verdict::Good, false, at(14_000));
    assert!(is_plain(cell.load(Relaxed)));
}

#[test]
fn who_is_added_later_starts_slowly_with_its_first_request() {
    let (known, added) = (AtomicU64::new(KNOWN), AtomicU64::new(ADDED));
    assert!(is_plain(known.load(Relaxed)) && !is_plain(added.load(Relaxed)));
    assert!((share(added.load(Relaxed), &POLICY, at(1 << 40)) - LEAST_SHARE).abs() < 1e-6);
    greet(&known, at(50_000));
    greet(&added, at(50_000));
    greet(&added, at(51_000));
    assert_eq!(known.load(Relaxed), KNOWN);
    assert!((share(added.load(Relaxed), &POLICY, at(52_000)) - 0.5).abs() < 1e-3);
}

#[test]
fn an_outlier_is_opened_once_and_a_check_lets_probes_through_without_forgetting() {
    let cell = AtomicU64::new(0);
    let ended = Ended { verdict: Verdict::Bad, probe: false, pause_ms: 0, now: at(1_000) };
    half_open(&cell, at(1_000));
    assert_eq!(cell.load(Relaxed), 0);
    assert!(eject(&cell, &POLICY, &ended));
    assert!(!eject(&cell, &POLICY, &ended));
    half_open(&cell, at(1_100));
    assert_eq!(now_is(&cell, at(1_100)), State::HalfOpen);
    tell(&cell, Verdict::Bad, true, at(1_100));
    assert!(open_ms(&cell, 1_100) >= 3_000);
}

#[test]
fn what_a_check_holds_stays_open_as_long_as_it_is_said_again_and_no_longer() {
    let cell = AtomicU64::new(0);
    assert!(hold(&cell, 2_000, at(1_000)));
    assert_eq!(open_ms(&cell, 1_000), 2_000);
    assert!(!hold(&cell, 2_000, at(2_500)), "it was open: no second opening");
    assert_eq!(open_ms(&cell, 2_500), 2_000);
    assert!(!hold(&cell, 500, at(2_600)));
    assert_eq!(open_ms(&cell, 2_600), 1_900, "never shorter than what was said");
    assert_eq!(now_is(&cell, at(4_500)), State::HalfOpen);
    tell(&cell, Verdict::Good, true, at(4_600));
    assert_eq!(now_is(&cell, at(4_600)), State::Closed);
}

#[test]
fn a_check_does_not_shorten_or_forget_how_often_requests_failed() {
    let cell = AtomicU64::new(0);
    fail(&cell, POLICY.consecutive, at(1_000));
    hold(&cell, u32::MAX, at(1_000));
    assert_eq!(open_ms(&cell, 1_000), u64::from(LONGEST_MS));
    half_open(&cell, at(2_000));
    tell(&cell, Verdict::Bad, true, at(2_000));
    assert!(open_ms(&cell, 2_000) >= 3_000, "the second opening is longer than the first");
}

#[test]
fn it_opens_and_closes_across_the_wrap_of_milliseconds() {
    let (cell, wrap) = (AtomicU64::new(0), 1u64 << 32);
    fail(&cell, POLICY.consecutive, at(wrap - 500));
    assert!(matches!(now_is(&cell, at(wrap + 100)), State::Open(_)));
    assert_eq!(now_is(&cell, at(wrap + 500)), State::HalfOpen);
    // Nobody asked for weeks: its time is still up.
    assert_eq!(now_is(&cell, at(wrap + (1 << 31) + 9_000)), State::HalfOpen);
}

/// The same machine, in plain words.
#[derive(Default)]
struct Model {
    open_until: Option<u64>,
    row: u32,
}

proptest! {
    #[test]
    fn it_is_open_only_for_a_reason(steps in prop::collection::vec((0..3_000u64, any::<bool>(), any::<bool>()), 1..300)) {
        let (cell, mut model, mut now) = (AtomicU64::new(0), Model::default(), 50_000u64);
        for (step, is_bad, is_probe) in steps {
            now += step;
            let before = now_is(&cell, at(now));
            let verdict = if is_bad { Verdict::Bad } else { Verdict::Good };
            let opened = tell(&cell, verdict, is_probe, at(now));
            model.row = if is_bad { model.row + 1 } else { 0 };
            match now_is(&cell, at(now)) {
                State::Closed => prop_assert!(before == State::Closed || (!is_bad && is_probe)),
                State::Open(left) => {
                    prop_assert!(left <= u64::from(POLICY.longest_ms) * 1_000_000);
                    prop_assert!(opened || model.open_until.is_some_and(|until| until > now));
                    prop_assert!(!opened || is_bad);
                    model.open_until = Some(now + left / 1_000_000);
                }
                State::HalfOpen => prop_assert_eq!(before, State::HalfOpen),
            }
            if before == State::Closed && model.row >= POLICY.consecutive {
                prop_assert!(opened);
            }
            if opened || !is_bad {
                model.row = 0;
            }
        }
    }

    #[test]
    fn every_word_is_read_without_harm(word in any::<u64>(), ms in any::<u32>(), is_bad in any::<bool>(), probe in any::<bool>()) {
        let (cell, now) = (AtomicU64::new(word), at(u64::from(ms)));
        let verdict = if is_bad { Verdict::Bad } else { Verdict::Good };
        tell(&cell, verdict, probe, now);
        let left = match now_is(&cell, now) {
            State::Open(left) => left,
            State::Closed | State::HalfOpen => 0,
        };
        prop_assert!(left <= u64::from(LONGEST_MS) * 1_000_000);
        prop_assert!((LEAST_SHARE..=1.0).contains(&share(cell.load(Relaxed), &POLICY, now)));
        let (seen, failed) = counts(cell.load(Relaxed), &POLICY, now);
        prop_assert!(seen <= 2_047 && failed <= 2_047);
    }
}
