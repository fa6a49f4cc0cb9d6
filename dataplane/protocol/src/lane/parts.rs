//! What the lanes share: which of them an answer takes, what a whole one is made of and made into, and the faults that any of
//! them may meet.

use std::{collections::HashSet, fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    codec::{self, ClientCodec, NameMap, UpstreamCodec, field, request_echo::RequestEcho},
    dialect::Operation,
    problem::{Problem, ProblemKind},
    response_stats::ResponseStats,
    stored::StoredCall,
};

/// The content type of whole answers that are made here.
pub(crate) const JSON: &str = "application/json";

/// How the answer travels.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    /// As it is. `hide_usage`: usage was asked for by the gateway and not by the client.
    Passthrough { hide_usage: bool },
    /// As it is, of whatever content type.
    Raw,
    /// What an upstream keeps, as it is but for ids.
    Stored(StoredCall),
    /// Generated content, through the neutral representation, with the client's tool names restored.
    Generate {
        codecs: Codecs,
        names: Arc<NameMap>,
        custom_tools: Arc<HashSet<String>>,
        /// What the answer repeats of the request (Responses).
        echo: Option<Arc<RequestEcho>>,
    },
    /// How many tokens a prompt has.
    Count,
    /// Vectors for so many texts, in base64 or as numbers.
    Embed { texts: usize, base64: bool },
}

/// A whole answer for the client.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The body.
    pub body: Bytes,
    /// Its content type, where `changed`; the upstream's own otherwise.
    pub content_type: &'static str,
    /// What was seen in it.
    pub stats: ResponseStats,
    /// Whether the body is not the upstream's, so that its length and encoding headers no longer hold.
    pub changed: bool,
}

/// What an upstream answered to one of several calls that are one request together.
#[derive(Clone, Debug)]
pub struct AnswerPart {
    /// A piece of the client's list.
    pub(crate) elements: String,
    /// What was seen in it.
    pub stats: ResponseStats,
}

impl AnswerPart {
    /// Bytes that are held of it.
    pub fn held(&self) -> usize {
        self.elements.len()
    }
}

/// An upstream's whole answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: Bytes,
}

/// The two codecs of a translation.
#[derive(Clone, Copy)]
pub(crate) struct Codecs {
    pub(crate) upstream: &'static dyn UpstreamCodec,
    pub(crate) client: &'static dyn ClientCodec,
}

impl Codecs {
    /// Both codecs, if both dialects can be translated.
    pub(crate) fn between(upstream: Operation, client: Operation) -> Option<Self> {
        Some(Self { upstream: codec::upstream_codec(upstream)?, client: codec::client_codec(client)? })
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
pub(crate) fn truncated() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream closed the stream before the answer was complete")
}

/// The upstream's answer is not what it should be.
pub(crate) fn unreadable(what: &'static str) -> Problem {
    Problem::new(ProblemKind::Upstream, what)
}
