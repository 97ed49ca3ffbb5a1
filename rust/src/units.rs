//! The units that the core counts in. Each is a number with a name, so that none stands in for another.

/// A point in time or a span: nanoseconds on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// A row of the board: an endpoint, a key or a model keeps its slot by name as long as it is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

impl Nanos {
    /// The span from `earlier` to `self`; zero when the order is the other one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The later of the two instants `self + span`, saturating.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Whole milliseconds, wrapping at 32 bits (49.7 days): the form in which the board packs instants.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "wraps by contract")]
    pub const fn millis32(self) -> u32 {
        (self.0 / 1_000_000) as u32
    }
}

impl Slot {
    /// As an index into a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
