//! Spending a budget evenly: a controller that moves the price of quality.
//!
//! A route takes the model with the most expected quality less `price` times its cost. What the budget allows and what was spent are kept as a
//! credit; while it is positive the price falls, while it is negative the price rises, both exponentially, since a useful price may lie
//! anywhere between a thousandth and a thousand. A proportional part answers at once, an integral part finds the price of the present mix of
//! requests, so that the credit returns to zero and a whole day's spending to its budget.

/// What a credit of one window does to the price: a factor of e to this power.
const PROPORTIONAL: f64 = 3.0;
/// The same for a credit that lasted one window.
const INTEGRAL: f64 = 0.75;
/// Bounds of the logarithm of the price.
const MOST: f64 = 9.0;
/// Windows of budget that may be saved up: what nobody asked for in the night is not all spent in the morning.
const MOST_SAVED: f64 = 6.0;

/// See the module. Money and time are in units of the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacer {
    /// Allowed per unit of time.
    rate: f64,
    /// Time over which a deviation is made good.
    window: f64,
    credit: f64,
    /// Logarithm of the price at no credit.
    base: f64,
}

impl Pacer {
    /// A pacer for `rate` per unit of time, both above 0.
    #[must_use]
    pub const fn new(rate: f64, window: f64) -> Self {
        Self { rate, window, credit: 0.0, base: 0.0 }
    }

    /// Takes in that `elapsed` time went by and `spent` was spent in it. Returns the price from now on.
    pub fn tick(&mut self, elapsed: f64, spent: f64) -> f64 {
        let allowed = self.rate * self.window;
        self.credit = (self.credit + self.rate * elapsed - spent).clamp(-MOST_SAVED * allowed, MOST_SAVED * allowed);
        let windows = self.credit / allowed;
        let next = self.base - INTEGRAL * windows * (elapsed / self.window).min(1.0);
        self.base = next.clamp(-MOST, MOST);
        self.price()
    }

    /// One that stands as another one stood.
    #[must_use]
    pub fn resumed(rate: f64, window: f64, windows: f64, base: f64) -> Self {
        Self { rate, window, credit: windows * rate * window, base }
    }

    /// The price as it stands.
    #[must_use]
    pub fn price(&self) -> f64 {
        (self.base - PROPORTIONAL * self.windows()).clamp(-MOST, MOST).exp()
    }

    /// What is left of the budget, in windows of it; negative: what was spent beyond it.
    #[must_use]
    pub fn windows(&self) -> f64 {
        self.credit / (self.rate * self.window)
    }

    /// Logarithm of the price at no credit.
    #[must_use]
    pub const fn base(&self) -> f64 {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::Pacer;
    use crate::rng::Rng;

    /// Spends a day's budget on requests whose number and worth change with the hour; returns the part that was spent.
    fn day(seed: u64, dollars_per_hour: f64) -> f64 {
        const SECONDS: u64 = 86_400;
        let mut rng = Rng::new(seed);
        let mut draw = || f64::from(u32::try_from(rng.next_u64() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let mut pacer = Pacer::new(dollars_per_hour / 3600.0, 600.0);
        let (mut price, mut spent, mut pending) = (1.0, 0.0, 0.0);
        for second in 0..SECONDS {
            let hour = f64::from(u32::try_from(second / 3600).unwrap_or(0));
            // Between 0.5 and 3 requests a second; how much a strong answer gains drifts, and jumps at noon.
            let load = 1.75 + 1.25 * (hour / 24.0 * std::f64::consts::TAU).sin();
            let gain = if hour < 12.0 { 0.1 + hour * 0.01 } else { 0.5 - hour * 0.012 };
            let mut asked = load;
            while asked > draw() {
                asked -= 1.0;
                let (better, cost) = (gain * 2.0 * draw(), 0.001 + 0.003 * draw());
                if better > price * cost / 0.004 {
                    pending += cost;
                }
            }
            if second % 10 == 9 {
                price = pacer.tick(10.0, pending);
                spent += pending;
                pending = 0.0;
            }
        }
        spent / (dollars_per_hour * 24.0)
    }

    #[test]
    fn a_days_budget_is_spent_although_the_mix_shifts() {
        for seed in 0..5 {
            for dollars_per_hour in [1.5, 2.0, 3.0] {
                let part = day(seed, dollars_per_hour);
                assert!((0.98..=1.02).contains(&part), "{part} of {dollars_per_hour} an hour, seed {seed}");
            }
        }
    }
}
