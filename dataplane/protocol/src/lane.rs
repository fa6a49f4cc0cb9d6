//! The two ways an answer travels: as it is, or through the neutral representation.

mod members;
mod observe;
pub(crate) mod passthrough;
pub(crate) mod raw;
mod strip_usage;
pub(crate) mod terminal;
mod to_events;
pub(crate) mod translated;
mod unsupported;
pub(crate) mod whole;

use std::fmt;

use crate::{
    codec::{self, Codec, field},
    dialect::Operation,
    problem::{Problem, ProblemKind},
};

/// The two codecs of a translation.
#[derive(Clone, Copy)]
pub(crate) struct Codecs {
    pub(crate) upstream: &'static dyn Codec,
    pub(crate) client: &'static dyn Codec,
}

impl Codecs {
    /// Both codecs, if both dialects can be translated.
    pub(crate) fn between(upstream: Operation, client: Operation) -> Option<Self> {
        Some(Self { upstream: codec::codec(upstream)?, client: codec::codec(client)? })
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Codecs")
    }
}

/// Names the field to blame as the client knows it: an upstream of another dialect names its own.
pub(crate) fn in_clients_words(problem: &mut Problem, client: Operation) {
    if let Some(param) = problem.param.take() {
        problem.param = field::translated(&param, client);
    }
}

/// The upstream's body ended before its answer did.
fn truncated() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream closed the stream before the answer was complete")
}

/// The upstream's answer is not what it should be.
fn unreadable(what: &'static str) -> Problem {
    Problem::new(ProblemKind::Upstream, what)
}

#[cfg(test)]
mod tests;
