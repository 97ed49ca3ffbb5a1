//! Laws of the count of a minute, beside every request that was let through.

use proptest::prelude::*;

use super::*;
use crate::board::{Board, Sizes};

const START: u64 = 1 << 50;

struct Cells {
    bucket: AtomicU64,
    board: Board,
    rate: Rate,
}

impl Cells {
    fn new(limit: u64, burst_s: f64) -> Self {
        let sizes = Sizes { workers: 1, endpoints: 2, keys: 1, models: 1, pairs: 1, pools: 1, users: 0, sessions: 0 };
        Self { bucket: AtomicU64::new(0), board: Board::heap(sizes).unwrap(), rate: Rate::per_minute(limit, burst_s) }
    }

    fn window(&self) -> Window<'_> {
        Window::new(self.board.minute(1), 4)
    }

    fn take(&self, units: u64, now: u64) -> Result<(), u64> {
        take(&self.bucket, self.window(), &self.rate, units, Nanos(now))
    }

    fn undo(&self, units: u64, reserved: u64, now: u64) {
        undo(&self.bucket, self.window(), &self.rate, units, Nanos(reserved), Nanos(now));
    }
}

/// The most in any 60 s.
fn worst(taken: &[(u64, u64)]) -> u64 {
    let minute = |first: u64| taken.iter().filter(move |(at, _)| (first..first + MINUTE).contains(at));
    taken.iter().map(|(first, _)| minute(*first).map(|(_, units)| units).sum()).max().unwrap_or(0)
}

/// Steps in ns, and parts of the limit in thousandths: small ones, and large ones up to a half of it.
fn traces() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let step = prop_oneof![4 => Just(0), 4 => 0..NS_PER_S, 2 => 0..10 * NS_PER_S, 1 => 0..50 * NS_PER_S];
    prop::collection::vec((step, prop_oneof![5 => 1..17u64, 2 => 17..100u64, 1 => 100..500u64]), 1..300)
}

proptest! {
    #[test]
    fn no_minute_exceeds_the_limit_however_large_its_requests_are(
        limit in 1_000..10_000_000u64, burst_s in 0.2f64..5.0, trace in traces(), is_patient in any::<bool>(),
    ) {
        let (cells, mut now, mut taken) = (Cells::new(limit, burst_s), START, Vec::new());
        for (step, thousandths) in trace {
            now += step;
            let units = (limit * thousandths / 1_000).max(1);
            if let Err(wait) = cells.take(units, now) {
                prop_assert!(wait > 0);
                if !is_patient {
                    continue;
                }
                // One who comes when it was told to, and whom nobody forestalls, is let through soon.
                let mut left = wait;
                for turn in 0.. {
                    prop_assert!(turn < 4, "refused {turn} times");
                    now += left;
                    match cells.take(units, now) {
                        Ok(()) => break,
                        Err(more) => left = more,
                    }
                }
            }
            taken.push((now, units));
        }
        prop_assert!(worst(&taken) <= limit, "{}", worst(&taken));
    }

    #[test]
    fn what_is_kept_of_any_minute_does_not_exceed_the_limit_whatever_is_given_back(
        limit in 1_000..10_000_000u64, burst_s in 0.2f64..5.0, trace in traces(), gone in prop::collection::vec((0..3u8, any::<prop::sample::Index>()), 300),
    ) {
        let (cells, mut now, mut kept) = (Cells::new(limit, burst_s), START, Vec::new());
        for ((step, thousandths), (how_many, which)) in trace.into_iter().zip(gone) {
            now += step;
            let units = (limit * thousandths / 1_000).max(1);
            while let Err(wait) = cells.take(units, now) {
                now += wait;
            }
            kept.push((now, units));
            for _ in 1..how_many {
                let (reserved, units) = kept.swap_remove(which.index(kept.len()));
                cells.undo(units, reserved, now);
                if kept.is_empty() {
                    break;
                }
            }
            prop_assert!(worst(&kept) <= limit, "{}", worst(&kept));
        }
    }

    #[test]
    fn a_look_says_what_taking_would(limit in 1_000..10_000_000u64, trace in traces()) {
        let (cells, mut now) = (Cells::new(limit, 1.0), START);
        for (step, thousandths) in trace {
            now += step;
            let units = (limit * thousandths / 1_000).max(1);
            let look = peek(&cells.bucket, cells.window(), &cells.rate, units, Nanos(now));
            prop_assert_eq!(look, cells.take(units, now));
        }
    }
}

#[test]
fn requests_that_are_all_large_use_the_whole_limit() {
    // 2,000 of 10,000: five in each minute are all there can be.
    let (cells, mut taken) = (Cells::new(10_000, 1.0), Vec::new());
    for ms in (0..1_200_000u64).step_by(20) {
        if cells.take(2_000, START + ms * 1_000_000).is_ok() {
            taken.push((START + ms * 1_000_000, 2_000));
        }
    }
    assert!(worst(&taken) <= 10_000 && taken.len() >= 98, "{} in twenty minutes", taken.len());
}

#[test]
fn a_large_request_finds_room_where_a_third_is_free() {
    let (cells, mut refused) = (Cells::new(60_000, 1.0), 0);
    // 70 % of the limit in small requests, and every ten seconds one of two seconds' worth.
    for ms in (0..600_000u64).step_by(70) {
        let now = START + ms * 1_000_000;
        if ms % 10_010 == 0 {
            refused += u32::from(cells.take(2_000, now).is_err());
        }
        let _queued_for_a_moment = cells.take(42, now);
    }
    assert!(refused < 20, "{refused} of 60 at their first try");
}

#[test]
fn what_is_larger_than_the_limit_passes_alone() {
    let cells = Cells::new(1_000, 1.0);
    assert_eq!(cells.take(5_000, START), Ok(()));
    let wait = cells.take(5_000, START).unwrap_err();
    assert!(wait >= 5 * MINUTE);
    let mut now = START + wait;
    while let Err(more) = cells.take(5_000, now) {
        now += more;
    }
    assert!(now < START + 8 * MINUTE);
}

#[test]
fn what_is_given_back_is_free_again_in_its_own_minute() {
    let cells = Cells::new(60_000, 1.0);
    let start = START / MINUTE * MINUTE;
    assert_eq!(cells.take(30_000, start), Ok(()));
    let later = start + 31 * NS_PER_S;
    assert!(cells.take(31_000, later).is_err());
    give_back(cells.window(), &cells.rate, 30_000, Nanos(start), Nanos(later));
    assert_eq!(cells.take(31_000, later), Ok(()));
}

#[test]
fn a_large_request_that_is_given_back_does_not_return_what_had_flowed_over() {
    // 1,000 a second, and a second's worth at once. Both large ones are paid by what flowed over before them.
    let (cells, mut kept) = (Cells::new(61_000, 1.0), Vec::new());
    let at = |tenths: u64| START + tenths * NS_PER_S / 10;
    assert_eq!(cells.take(20_000, at(0)), Ok(()));
    assert_eq!(cells.take(5_000, at(50)), Ok(()));
    for ms in 5_000..90_000u64 {
        let now = START + ms * 1_000_000;
        if ms == 6_000 {
            cells.undo(20_000, at(0), now);
        }
        if ms == 7_500 {
            cells.undo(5_000, at(50), now);
        }
        while cells.take(10, now).is_ok() {
            kept.push((now, 10));
        }
    }
    assert!(worst(&kept[..6_500]) <= 61_000, "{}", worst(&kept[..6_500]));
}
