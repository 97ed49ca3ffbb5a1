//! A seeded generator. The caller brings the randomness, so that a decision can be replayed bit for bit.
//!
//! SplitMix64 (Steele, Lea, Flood 2014, OOPSLA): one multiplication chain per draw, passes `BigCrush`, any seed is good.

/// Draws from one seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose draws depend on `seed` alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 uniform bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in `0..n` without a division (Lemire 2019); its bias is below `n / 2^64`. `n` is at least 1.
    pub const fn below(&mut self, n: usize) -> usize {
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }

    /// Two distinct places in `0..n`, each ordered pair equally likely. `n` is at least 2.
    pub const fn pick_two(&mut self, n: usize) -> (usize, usize) {
        let first = self.below(n);
        let second = self.below(n - 1);
        // Skips `first` instead of moving on to its neighbour, which would favour the neighbour.
        (first, if second >= first { second + 1 } else { second })
    }

    /// Uniform in `[0, 1)`, 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    pub const fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Spreads the bits of `x` over the whole word: the finaliser of `SplitMix64`.
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
