//! Faults of an upstream that no event states.

use crate::problem::{Problem, ProblemKind};

/// A second beginning is another answer: the one before was cut off, whatever comes now.
pub(crate) fn began_again() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream began its answer a second time")
}
