//! What was taken of an endpoint in the last minute (`limit::window`): a word and a ring of slots for each kind of tokens.

use std::sync::atomic::AtomicU64;

use super::layout::{MINUTE_LINES, RING_LINES};
use super::region::Line;
use super::rows::Words;

/// That of one endpoint.
#[derive(Clone, Copy)]
pub struct MinuteRow<'a>(pub(super) &'a [Line; MINUTE_LINES]);

impl<'a> MinuteRow<'a> {
    /// A word for each kind of limit, in the order of `limit::KINDS`.
    #[must_use]
    #[inline]
    pub const fn words(self) -> &'a [AtomicU64; 8] {
        self.0[0].wide()
    }
    /// The slots of a kind of tokens, by its place in `limit::KINDS`.
    #[must_use]
    pub fn ring(self, kind: usize) -> Words<'a> {
        Words(&self.0[1 + (kind - 1) * RING_LINES..][..RING_LINES])
    }
}
