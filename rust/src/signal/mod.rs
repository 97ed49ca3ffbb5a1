//! What a prompt is, in numbers that cost microseconds: hashed words and word pairs, and counts of its surface.
//!
//! Hashed n-grams with a linear model carry most of what larger text models know about how hard a prompt is for whom
//! (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

pub mod surface;
pub mod words;

pub use surface::{SURFACE, surface};
pub use words::{BUCKETS, Words};
