//! Learning which model answers which prompt well, from a table of scores: training, the artefact, prediction.
//!
//! Everything is deterministic: the same table gives the same bytes.

mod artefact;
mod calibrate;
mod examples;
mod measure;
mod ridge;
mod router;
mod rows;
#[cfg(test)]
mod tests;
mod train;

pub use artefact::ArtefactError;
pub use measure::{Gap, Pair, Sweep};
pub use router::Router;
pub use train::{Table, TrainError, train};
