//! What an upstream's error answer means.

use super::{Problem, ProblemKind};
use crate::dialect::Family;

/// Headers of an error answer that say when to come back.
#[derive(Clone, Copy)]
pub struct RetryHints<'a> {
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Milliseconds since 1970, now; vendors name points in time.
    pub now_ms: u64,
}

/// Understands an error answer of an upstream of this family.
pub fn failure(_family: Family, status: u16, _retry: RetryHints<'_>, _body: &[u8]) -> Problem {
    Problem {
        status,
        ..Problem::new(ProblemKind::Upstream, "the upstream failed")
    }
}
