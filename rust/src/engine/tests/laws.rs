//! What holds whatever happens.

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Gen;

use super::{
    Arc, Board, Ending, Failure, Lease, Nanos, SIZES, START, Use, Wish, ending, engine_on, limits, places, snapshot,
    wish,
};

#[derive(Clone, Debug)]
enum Step {
    Acquire(usize, u8),
    FirstByte(usize),
    Settle(usize, u8, u32),
    Drop(usize),
    Die(usize),
}

fn steps() -> impl Gen<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4usize, any::<u8>()).prop_map(|(column, tried)| Step::Acquire(column, tried)),
        2 => any::<usize>().prop_map(Step::FirstByte),
        3 => (any::<usize>(), 0..18u8, any::<u32>()).prop_map(|(at, failure, tokens)| Step::Settle(at, failure, tokens)),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => (0..4usize).prop_map(Step::Die),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_held_in_the_end_and_every_attempt_is_counted(steps in steps()) {
        let board = Arc::new(Board::heap(SIZES).unwrap());
        let specs = [places(3), limits(0, 6_000), limits(1, 100_000)];
        let engines: Vec<_> = (0..4).map(|column| engine_on(&board, column, &specs)).collect();
        let (mut leases, mut now, mut ended) = (Vec::<(usize, Lease)>::new(), 0u64, 0u64);
        for step in steps {
            now += 50_000_000;
            match step {
                Step::Acquire(column, tried) => {
                    let wish = Wish { tried: u128::from(tried & 0b11), ..wish(now) };
                    leases.extend(engines[column].pool(0).unwrap().acquire(&wish).ok().map(|lease| (column, lease)));
                }
                Step::FirstByte(at) if !leases.is_empty() => leases[at % leases.len()].1.first_byte(Nanos(START + now)),
                Step::Settle(at, failure, tokens) if !leases.is_empty() => {
                    let (_, lease) = leases.swap_remove(at % leases.len());
                    let used = Use { input: tokens, output: tokens / 3, cached: tokens / 5 };
                    lease.settle(&Ending { used, ..ending(Failure::from_number(failure).unwrap(), now) });
                    ended += 1;
                }
                Step::Drop(at) if !leases.is_empty() => {
                    leases.swap_remove(at % leases.len());
                    ended += 1;
                }
                Step::Die(column) => {
                    leases.extract_if(.., |(owner, _)| *owner == column).for_each(std::mem::forget);
                    board.reclaim(column);
                }
                _ => {}
            }
            let held: u64 = (0..3).map(|slot| snapshot::endpoint(&board, slot).in_flight).sum();
            prop_assert_eq!(held, leases.len() as u64);
            prop_assert!(snapshot::endpoint(&board, 0).in_flight <= 3);
        }
        ended += leases.len() as u64;
        drop(leases);
        let rows: Vec<_> = (0..3).map(|slot| snapshot::endpoint(&board, slot)).collect();
        prop_assert!(rows.iter().all(|row| row.in_flight + row.prefill_tokens + row.decode_tokens + row.probes == 0));
        prop_assert_eq!(rows.iter().flat_map(|row| &row.attempts).sum::<u64>(), ended);
    }
}
