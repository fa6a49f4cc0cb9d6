//! What a request is prepared for, and what comes of it.

use bytes::Bytes;

use super::form::PreparedForm;
use crate::{
    codec::Malformed,
    defaults::Defaults,
    dialect::Operation,
    embed::BatchPart,
    host::{Host, Surface, Surfaces, UnsafeModel},
    limits::{ChatLimit, Feature, Features, ModelLimits},
    report::{Refusal, Warning},
    response_translation::ResponseTranslation,
};

/// An upstream, as far as preparing a request for it needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Where and how its dialects are served.
    pub host: Host,
    /// What the upstream speaks, in no order.
    pub operations: &'a [Operation],
    /// The model id at the upstream; none for the id that the client sent.
    pub model: Option<&'a str>,
    /// The vendor's model that it is, where its id does not say so.
    pub base_model: Option<&'a str>,
    /// Most output tokens to ask for where the dialect demands a number and the client gave none.
    pub default_max_output: u64,
    /// What is said about the model beside the built-in tables.
    pub limits: ModelLimits,
    /// The upstream's id of the response or conversation that the request goes on from, which takes the place of the
    /// client's id.
    pub continued: Option<&'a str>,
    /// Most bytes of a body that a client may send: what a body may become is bounded by this and by the body itself.
    pub max_body: usize,
}

/// What is left out of a request because the upstream has refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The question for usage in a Chat stream, unless the client asks it itself.
    pub usage: bool,
    /// Reasoning that is bound to an account (translated requests only).
    pub reasoning: bool,
    /// The web search that Anthropic would run for a client of another API (translated requests only).
    pub web_search: bool,
    /// Hints. Each is listed in the warnings, if it says anything.
    pub hints: Features,
    /// The name of Chat's output limit: the other one is written.
    pub chat_limit: Option<ChatLimit>,
    /// Where the host does not serve the model: it is called elsewhere.
    pub closed: Surfaces,
}

/// Why a request cannot be prepared for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprepared {
    /// The upstream speaks nothing that this call can be translated to.
    #[error("the upstream does not serve this kind of call")]
    Unreachable,
    /// The body is not legal in the client's dialect.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The upstream cannot express a field that the route does not let go.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The route's own model id for the upstream cannot stand in its path.
    #[error("the route's upstream model: {0}")]
    UnsafeModel(UnsafeModel),
}

/// A request ready to be sent, but for credentials and content type.
#[derive(Debug)]
pub struct Prepared {
    /// Path and query, below the provider's base URL.
    pub path: String,
    /// Headers that the dialect asks for; they replace the client's of the same name.
    pub headers: Vec<(&'static str, String)>,
    /// JSON. The client's own bytes, uncopied, if nothing had to change. Empty if there is a form. If there are parts, all
    /// of theirs, one behind the other: what is held for sending them.
    pub body: Bytes,
    /// The calls that are to be made in the place of one, in this order, where the upstream takes less at once than the
    /// client asks for; none where one call does. Their answers go back through [`ResponseTranslation::part`] and
    /// [`ResponseTranslation::join`].
    pub parts: Vec<BatchPart>,
    /// The form to send in the place of JSON.
    pub form: Option<PreparedForm>,
    /// What was changed or left out, for `x-routeapi-warnings`.
    pub warnings: Vec<Warning>,
    /// Whether it asks for usage in the stream although the client did not (`stream_options` of Chat).
    pub asks_usage: bool,
    /// Whether it gives reasoning back that only the account which issued it can read.
    pub returns_reasoning: bool,
    /// Whether it offers the upstream's own web search in the place of another vendor's.
    pub offers_search: bool,
    /// What the upstream is known to refuse and was left out.
    pub left_out: LeftOut,
    /// The surface that it goes to, where the host has several.
    pub surface: Option<Surface>,
    /// The answer's way back.
    pub translation: ResponseTranslation,
}

impl<'a> Destination<'a> {
    /// Whether a request for this model can be made by this operation.
    pub(super) fn speaks(&self, operation: Operation, requested: &str) -> bool {
        let model = self.base_model.or(self.model).unwrap_or(requested);
        self.operations.contains(&operation) && self.host.serves(operation, model, self.limits.closed)
    }

    /// On which surface that is, where the host has several.
    pub fn surface(&self, operation: Operation, requested: &str) -> Option<Surface> {
        let model = self.base_model.or(self.model).unwrap_or(requested);
        self.host.surface(operation, model, self.limits.closed)
    }

    /// The vendor's id of the model, where the one at the upstream does not say so.
    pub(super) fn vendors_model(&self, requested: &'a str) -> Option<&'a str> {
        let here = self.model.unwrap_or(requested);
        self.base_model.or_else(|| Some(self.host.vendors_id(here)).filter(|id| *id != here))
    }

    /// For a request without hints and names that are refused.
    pub(super) fn without(self, left_out: LeftOut) -> Self {
        let mut unsupported = self.limits.unsupported.or(left_out.hints).or(self.host.unsupported());
        if left_out.web_search {
            unsupported = unsupported.with(Feature::WebSearch);
        }
        let chat_limit = left_out.chat_limit.map(ChatLimit::other).or(self.limits.chat_limit);
        let closed = self.limits.closed.or(left_out.closed);
        Self { limits: ModelLimits { unsupported, chat_limit, closed, ..self.limits }, ..self }
    }
}

impl Prepared {
    /// Adds those members to the body that the client did not set, and says so.
    pub fn complete(&mut self, defaults: &Defaults) {
        let (body, warnings) = defaults.apply(self.translation.operation(), std::mem::take(&mut self.body));
        self.body = body;
        self.warnings.extend(warnings);
    }
}
