//! What a prompt is, in numbers that cost microseconds: what its body holds, its language, its shape, personal data, and hashed words and word
//! pairs with counts of its surface for what was learned.
//!
//! Hashed n-grams with a linear model carry most of what larger text models know about how hard a prompt is for whom
//! (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).

pub mod language;
pub mod personal;
pub mod prompt;
pub mod semantic;
pub mod shape;
pub mod surface;
pub mod words;

pub use language::{language, languages};
pub use personal::{PERSONAL, personal};
pub use prompt::{MODALITIES, Prompt};
pub use semantic::Semantic;
pub use shape::{QUESTIONS, Shape, question, shape};
pub use surface::{SURFACE, surface};
pub use words::{BUCKETS, Words};
