//! The judgement behind a route: what a request is (`signals`), which of the written conditions hold for it (`rules`), which
//! model's expected quality is worth its cost (`weights`), and what quality may cost under a budget (`pacer`).
//!
//! One call reads all signals that a route uses and no other; everything after that works on what was read, so that a recorded decision can
//! be made again without the prompt.

pub mod pacer;
pub mod rules;
pub mod shared;
pub mod signals;
pub mod weights;

pub use pacer::Pacer;
pub use rules::{Condition, Name, Rules};
pub use shared::{Budget, Shared};
pub use signals::{Reader, Signals, Wanted};
pub use weights::Weights;
