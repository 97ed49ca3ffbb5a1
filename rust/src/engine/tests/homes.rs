//! Where requests with a key go while everybody waits.

use super::*;
use crate::engine::trail::Trail;
use crate::engine::view::PoolView;

const SECOND: u64 = NS_PER_S;

fn waiting(key: u64, ns: u64) -> Wish {
    Wish { hash: Some(crate::rng::mix(key)), draw: crate::rng::mix(ns ^ key), ..wish(ns) }
}

fn home(engine: &Engine, wish: &Wish) -> Option<usize> {
    let pool = engine.pool(0).unwrap();
    pool.strategy.home(&PoolView::new(pool, wish, wish.tokens.units()), wish.hash.unwrap())
}

/// Rounds of 32 requests that wait for two seconds each; what their answers say was cached, at home and elsewhere. Then the last round, held.
fn played(cached: [u32; 2]) -> (Arc<Engine>, Vec<(Wish, Lease, Trail)>) {
    let mut tables = tables(&[Spec::default(); 8]);
    (tables.pools[0].strategy, tables.pools[0].choices) = ("least_work".into(), 4);
    let engine = Arc::new(Engine::new(&Arc::new(Board::heap(SIZES).unwrap()), 0, &tables).unwrap());
    let mut held: Vec<(Wish, Lease, Trail)> = Vec::new();
    for round in 0..20 {
        let begin = round * 3 * SECOND;
        for (wish, lease, _) in held.drain(..) {
            let used = Use { cached: cached[usize::from(home(&engine, &wish) != Some(lease.position()))], ..TOKENS };
            lease.first_byte(Nanos(START + begin - SECOND));
            assert!(lease.settle(&Ending { used, ..ending(Failure::None, begin - SECOND) }));
        }
        held.extend((0..32).map(|key| {
            let wish = waiting(key, begin + key);
            let (lease, trail) = engine.pool(0).unwrap().acquire_told(&wish);
            (wish, lease.unwrap(), trail)
        }));
    }
    (engine, held)
}

fn at_home(cached: [u32; 2]) -> usize {
    let (engine, held) = played(cached);
    assert!(held.iter().all(|(_, _, trail)| trail.replays() == Some(true)));
    held.iter().filter(|(wish, lease, _)| home(&engine, wish) == Some(lease.position())).count()
}

#[test]
fn who_waits_goes_home_as_far_as_answers_tell_that_it_pays() {
    let (warm, alike, cold) = (at_home([90, 20]), at_home([50, 50]), at_home([0, 0]));
    assert!(warm >= 24 && alike <= 12 && cold <= 12, "{warm}, {alike} and {cold} of 32");
}
