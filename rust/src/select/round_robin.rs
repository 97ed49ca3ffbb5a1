//! Round robin: positions take turns, whatever their weight; weight 0 drains.
//!
//! The cursor is shared by all workers. With one each, all of them would start at the first position and stay in step.
//!
//! Cost: one fetch-add and one question to the view.

use super::weighted::Weighted;
use super::{Spec, Strategy};

/// The weighted order of equal weights.
pub(super) fn build(spec: &Spec<'_>) -> Box<dyn Strategy> {
    Box::new(Weighted::new(&super::even(spec.weights)))
}
