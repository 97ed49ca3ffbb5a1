use proptest::prelude::*;

use super::*;

const fn at(ms: u64) -> Nanos {
    Nanos(ms * 1_000_000)
}

fn fail(cell: &AtomicU64, times: u32, now: Nanos) {
    for _ in 0..times {
        record(cell, Verdict::Bad, false, now);
    }
}

fn now_is(cell: &AtomicU64, now: Nanos) -> State {
    state(cell.load(Relaxed), now)
}

#[test]
fn five_failures_in_a_row_open_it() {
    let cell = AtomicU64::new(0);
    fail(&cell, CONSECUTIVE - 1, at(100_000));
    assert_eq!(now_is(&cell, at(100_000)), State::Closed);
    assert!(record(&cell, Verdict::Bad, false, at(100_000)));
    assert_eq!(now_is(&cell, at(100_400)), State::Open(600_000_000));
    assert_eq!(now_is(&cell, at(101_000)), State::HalfOpen);
}

#[test]
fn a_success_between_them_breaks_the_row_but_not_the_ratio() {
    let cell = AtomicU64::new(0);
    for turn in 0..ENOUGH {
        assert_eq!(now_is(&cell, at(100_000)), State::Closed, "{turn}");
        let verdict = if turn % 2 == 0 { Verdict::Good } else { Verdict::Bad };
        record(&cell, verdict, false, at(100_000));
    }
    assert!(matches!(now_is(&cell, at(100_000)), State::Open(_)));
}

#[test]
fn failures_of_an_old_window_are_forgotten() {
    let cell = AtomicU64::new(0);
    for window in 0..10u64 {
        for _ in 0..9 {
            record(&cell, Verdict::Bad, false, at(100_000 + window * 20_000));
            record(&cell, Verdict::Good, false, at(100_000 + window * 20_000));
        }
    }
    assert_eq!(now_is(&cell, at(300_000)), State::Closed);
}

#[test]
fn what_says_nothing_never_opens_it() {
    let cell = AtomicU64::new(0);
    for ms in 0..1_000 {
        assert!(!record(&cell, Verdict::Silent, false, at(ms)));
    }
    assert_eq!(cell.load(Relaxed), 0);
}

#[test]
fn a_good_probe_closes_it_and_a_bad_one_doubles_the_time() {
    let cell = AtomicU64::new(0);
    fail(&cell, CONSECUTIVE, at(0));
    assert!(record(&cell, Verdict::Bad, true, at(1_000)));
    assert_eq!(now_is(&cell, at(1_000)), State::Open(2_000_000_000));
    record(&cell, Verdict::Good, true, at(3_000));
    assert_eq!(now_is(&cell, at(3_000)), State::Closed);
}

#[test]
fn the_open_time_grows_to_a_minute_and_no_further() {
    let (cell, mut now) = (AtomicU64::new(0), 1_000);
    fail(&cell, CONSECUTIVE, at(now));
    let mut times = Vec::new();
    for _ in 0..10 {
        let State::Open(left) = now_is(&cell, at(now)) else { panic!("it is open") };
        times.push(left / 1_000_000_000);
        now += left / 1_000_000;
        record(&cell, Verdict::Bad, true, at(now));
    }
    assert_eq!(times, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
}

#[test]
fn clean_windows_bring_the_open_time_down_again() {
    let cell = AtomicU64::new(0);
    fail(&cell, CONSECUTIVE, at(0));
    record(&cell, Verdict::Bad, true, at(1_000));
    record(&cell, Verdict::Good, true, at(3_000));
    for window in 1..=5u64 {
        record(&cell, Verdict::Good, false, at(3_000 + window * u64::from(WINDOW_MS)));
    }
    fail(&cell, CONSECUTIVE, at(60_000));
    assert_eq!(now_is(&cell, at(60_000)), State::Open(1_000_000_000));
}

#[test]
fn attempts_from_before_it_opened_say_nothing() {
    let cell = AtomicU64::new(0);
    fail(&cell, CONSECUTIVE, at(0));
    let word = cell.load(Relaxed);
    record(&cell, Verdict::Good, false, at(10));
    record(&cell, Verdict::Bad, false, at(10));
    record(&cell, Verdict::Bad, true, at(10));
    record(&cell, Verdict::Bad, false, at(5_000));
    assert_eq!(cell.load(Relaxed), word);
}

#[test]
fn it_opens_and_closes_across_the_wrap_of_milliseconds() {
    let (cell, wrap) = (AtomicU64::new(0), 1u64 << 32);
    fail(&cell, CONSECUTIVE, at(wrap - 500));
    assert_eq!(now_is(&cell, at(wrap - 100)), State::Open(600_000_000));
    assert_eq!(now_is(&cell, at(wrap + 100)), State::Open(400_000_000));
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
            let opened = record(&cell, verdict, is_probe, at(now));
            model.row = if is_bad { model.row + 1 } else { 0 };
            match now_is(&cell, at(now)) {
                State::Closed => prop_assert!(before == State::Closed || (!is_bad && is_probe)),
                State::Open(left) => {
                    prop_assert!(left <= u64::from(LONGEST_MS) * 1_000_000);
                    prop_assert!(opened || model.open_until.is_some_and(|until| until > now));
                    prop_assert!(!opened || is_bad);
                    model.open_until = Some(now + left / 1_000_000);
                }
                State::HalfOpen => prop_assert_eq!(before, State::HalfOpen),
            }
            if before == State::Closed && model.row >= CONSECUTIVE {
                prop_assert!(opened);
            }
            if opened || !is_bad {
                model.row = 0;
            }
        }
    }

    #[test]
    fn every_word_is_read_without_harm(word in any::<u64>(), ms in any::<u32>(), is_bad in any::<bool>(), probe in any::<bool>()) {
        let cell = AtomicU64::new(word);
        let verdict = if is_bad { Verdict::Bad } else { Verdict::Good };
        record(&cell, verdict, probe, at(u64::from(ms)));
        let left = match now_is(&cell, at(u64::from(ms))) {
            State::Open(left) => left,
            State::Closed | State::HalfOpen => 0,
        };
        prop_assert!(left <= u64::from(LONGEST_MS) * 1_000_000);
    }
}
