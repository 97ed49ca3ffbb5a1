//! What the hash strategies share: a key has a home, and a way to go when its home may not take the request.
//!
//! - No key: [`LeastWork`]. A hash of the empty string would send all such requests to one endpoint.
//! - Home not eligible, or full under `bounded_load`: on to the next in the key's own order of all endpoints (`rendezvous.rs`).
//!   Walking on to the neighbour in the table instead would pour everything that one endpoint sheds over the next one.
//! - `bounded_load: c` (Mirrokni, Thorup, Zadimoghaddam 2018, "Consistent hashing with bounded loads"): with `m` requests in
//!   flight, endpoint `i` may hold `ceil(c (m + 1) w_i / W)`, the new one included, so that somebody always has room for
//!   `c >= 1`. `m` and `W` are taken over the endpoints that are eligible now. Another worker may take the last place between
//!   our reading and our reservation; what is exceeded then is the bound, by the requests that are being placed at this moment.
//!
//! Cost: the table's, and one question to the view; a spill or a bound reads all positions.

use super::least_work::LeastWork;
use super::rendezvous::Order;
use super::{Ask, Spec, Strategy, View};
use crate::rng::{Rng, mix};

/// Where "bounded" means nothing any more. Precedents: `HAProxy` and Envoy recommend 1.25 to 2.
pub(super) const BOUND_MAX: f64 = 100.0;

/// The choices that `least_work` has by default.
const KEYLESS_CHOICES: usize = 4;

/// Parts that one is counted in. Whole numbers keep the bound exact to the request.
const MICRO: u32 = 1_000_000;

/// A table of homes.
pub(super) trait Homes: Send + Sync {
    /// Where `key` lives while everybody is up; `None` when the table is empty, or leaves all to the key's order.
    fn home(&self, key: u64) -> Option<usize>;
}

/// A hash strategy.
pub(super) struct Hashed<H> {
    homes: H,
    order: Order,
    weights: Box<[u32]>,
    /// `bounded_load` in millionths; 0 = off.
    bound_micro: u64,
    keyless: LeastWork,
}

/// Builds the strategy around a table, made from one hash for each position.
pub(super) fn build<H: Homes + 'static>(spec: &Spec<'_>, homes: impl FnOnce(&[u64], &[u32]) -> H) -> Box<dyn Strategy> {
    let nodes: Vec<u64> = spec.names.iter().map(|name| hash_of(name, spec.seed)).collect();
    Box::new(Hashed {
        homes: homes(&nodes, spec.weights),
        order: Order::new(&nodes, spec.weights),
        weights: spec.weights.into(),
        #[expect(clippy::cast_sign_loss, reason = "checked: 0, or at least 1")]
        bound_micro: (spec.bounded_load * f64::from(MICRO)).round() as u64,
        keyless: LeastWork::new(spec.weights, KEYLESS_CHOICES, &[]),
    })
}

impl<H: Homes> Strategy for Hashed<H> {
    fn select(&self, view: &dyn View, ask: &Ask, rng: &mut Rng) -> Option<usize> {
        let Some(key) = ask.hash else {
            return self.keyless.select(view, ask, rng);
        };
        let may_take = |at: usize| view.is_eligible(at);
        if self.bound_micro == 0 {
            return self.place(key, may_take);
        }
        let room = self.room(view);
        self.place(key, |at| room.is_free(view.in_flight(at), self.weights[at]) && may_take(at))
            // Somebody had room when the loads were summed up; if others took it since, the bound yields, not the request.
            .or_else(|| self.place(key, may_take))
    }
}

impl<H: Homes> Hashed<H> {
    /// The home of `key`, else the first in its order that `may_take` it.
    fn place(&self, key: u64, may_take: impl Fn(usize) -> bool) -> Option<usize> {
        self.homes.home(key).filter(|&home| may_take(home)).or_else(|| self.order.first(key, may_take))
    }

    fn room(&self, view: &dyn View) -> Room {
        let mut total = Room { share: self.bound_micro.into(), weight: 0 };
        let mut in_flight = 0;
        for (at, &weight) in self.weights.iter().enumerate() {
            if weight > 0 && view.is_eligible(at) {
                in_flight += u64::from(view.in_flight(at));
                total.weight += u64::from(weight);
            }
        }
        total.share *= u128::from(in_flight + 1);
        total
    }
}

/// How much an endpoint may hold at this moment.
struct Room {
    /// `c (m + 1)`, in millionths.
    share: u128,
    /// `W`.
    weight: u64,
}

impl Room {
    /// Whether one more fits: `q + 1 <= ceil(c (m + 1) w / W)`, which for whole `q` is `q W < c (m + 1) w`.
    fn is_free(&self, in_flight: u32, weight: u32) -> bool {
        u128::from(in_flight) * u128::from(self.weight) * u128::from(MICRO) < self.share * u128::from(weight)
    }
}

/// 64 bits of a name. Part of the placement of keys: a change moves every session once.
pub(super) fn hash_of(name: &str, seed: u64) -> u64 {
    name.as_bytes().chunks(8).fold(mix(!seed ^ name.len() as u64), |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hashed_as_ever() {
        // Computed apart, from the definition: other values move the keys of every pool at the next start.
        assert_eq!(hash_of("", 0), RECORDED[0]);
        assert_eq!(hash_of("gpt4o-east", 0), RECORDED[1]);
        assert_eq!(hash_of("gpt4o-east", 1), RECORDED[2]);
    }

    const RECORDED: [u64; 3] = [0xB4D0_55FC_F2CB_BD7B, 0x2C9F_10C1_4599_A007, 0x2631_BA8F_9145_E616];

    #[test]
    fn room_is_the_ceiling_of_the_share_to_the_request() {
        for (share_micro, held, weight, total) in
            [(1_250_000u64, 7u64, 1u32, 10u64), (1_100_000, 9, 1, 11), (2_000_000, 4, 3, 7)]
        {
            let room = Room { share: u128::from(share_micro) * u128::from(held + 1), weight: total };
            let capacity = (share_micro * (held + 1) * u64::from(weight)).div_ceil(total * 1_000_000) as u32;
            assert!(room.is_free(capacity - 1, weight));
            assert!(!room.is_free(capacity, weight));
        }
    }
}
