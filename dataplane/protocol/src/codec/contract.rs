//! What a dialect's codec does, and what it is given and gives.
//!
//! A codec is split by direction, because a dialect may be needed one way only. Its request side is a function; its stream side is a state machine without I/O: events in, bytes out, so
//! that a test can drive it at any cut of the input.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use super::request_echo::RequestEcho;
use crate::{
    dialect::Operation,
    ir::{Event, Request, Response},
    limits::{Media, ModelLimits},
    problem::Problem,
    report::Report,
    scan::Repeated,
    stored::StoredIds,
    wire::sse::Frame,
};

/// The client's body is not legal in its dialect. Displays as what the client is told: only OpenAI's errors have a place of
/// their own for the field, so that the text names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// The field to blame, in the dialect's spelling, if one is.
    pub field: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl Malformed {
    /// With a field to blame.
    pub fn of(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), message: message.into() }
    }
}

impl From<Repeated> for Malformed {
    fn from(repeated: Repeated) -> Self {
        Self { field: Some(repeated.0.to_owned()), message: repeated.to_string() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) if !self.message.contains(&format!("`{field}`")) => write!(out, "{field}: {}", self.message),
            Some(_) | None => out.write_str(&self.message),
        }
    }
}

/// What of a request stands outside its body.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The model from the path (Gemini, Converse).
    pub model: Option<String>,
    /// Whether the path asks for a stream (Gemini, Converse).
    pub stream: bool,
    /// `anthropic-version`, if sent.
    pub anthropic_version: Option<String>,
    /// All values of `anthropic-beta`, split at commas.
    pub anthropic_beta: Vec<String>,
}

/// An upstream as an encoder needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model id at the upstream.
    pub model: &'a str,
    /// The vendor's model that it is, where the id does not say so.
    pub base_model: Option<&'a str>,
    /// Most output tokens to ask for where the dialect demands a number and the client gave none (Anthropic).
    pub default_max_output: u64,
    /// What is said about the model beside the built-in tables. What it does not take is not in the request any more.
    pub limits: ModelLimits,
}

impl<'a> Target<'a> {
    /// The id to look up in a table of models.
    pub fn table_id(&self) -> &'a str {
        self.base_model.unwrap_or(self.model)
    }
}

/// A request's body for an upstream, whose path and headers are the host's ([`crate::host`]).
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    /// JSON.
    pub body: Vec<u8>,
    /// Tool names that had to change for this target.
    pub names: NameMap,
}

/// Tool names as sent, by tool names as the client wrote them, for targets with a narrower alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMap {
    forward: BTreeMap<String, String>,
    back: BTreeMap<String, String>,
}

/// What an answer's encoder must know about the request it belongs to.
#[derive(Clone, Debug, Default)]
pub struct ResponseContext {
    /// The model id as the client wrote it; answers name it.
    pub model: String,
    /// An id for the answer without a dialect's prefix; used where the upstream's own does not fit.
    pub id: String,
    /// Seconds since 1970, used where the upstream gave none.
    pub created: i64,
    /// Whether a Chat client asked for usage in its stream.
    pub include_usage: bool,
    /// The client's free-form tools ([`crate::ir::ToolKind::Custom`]): calls of them are unwrapped for it.
    pub custom_tools: Arc<HashSet<String>>,
    /// What the answer repeats of the request; none where it repeats nothing (all but Responses), or the lane does not ask.
    pub echo: Option<Arc<RequestEcho>>,
    /// What gives a Responses client its ids of stored responses; none where the upstream's go through as they are.
    pub stored_ids: Option<StoredIds>,
    /// Input tokens that the answer's head counts; none where the body does.
    pub input_tokens: Option<u64>,
    /// Most bytes of a whole answer; one byte more says that it would have been longer.
    pub most_bytes: Option<usize>,
}

/// A dialect as its clients speak it: their requests in, their answers out.
pub trait ClientCodec: Send + Sync {
    /// Reads a client's request.
    ///
    /// # Errors
    /// When the body is not legal in this dialect.
    fn decode_request(&self, body: &[u8], head: &Head) -> Result<Request, Malformed>;

    /// Writes a whole answer.
    fn encode_response(&self, response: &Response, context: &ResponseContext) -> Vec<u8>;

    /// Starts writing events as server-sent events, or in the frames of a dialect that has others (Converse).
    fn stream_encoder(&self, context: &ResponseContext) -> Box<dyn StreamEncoder>;
}

/// A dialect as its upstreams speak it: requests for them out, their answers in. Where a request goes and how the answer is
/// framed is not the dialect's but the host's ([`crate::host`]).
pub trait UpstreamCodec: Send + Sync {
    /// What the target's model reads beside text; none if unknown.
    fn media(&self, target: Target<'_>) -> Option<Media>;

    /// Writes a request, stating every change to the report. `from` is the client's operation, for the spelling of field
    /// names in the report.
    fn encode_request(&self, request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded;

    /// Reads a whole answer (status 2xx).
    ///
    /// # Errors
    /// When it is not an answer of this dialect; the problem says so in words for the client.
    fn decode_response(&self, body: &[u8]) -> Result<Response, Problem>;

    /// Starts reading events.
    fn stream_decoder(&self) -> Box<dyn StreamDecoder>;
}

/// Upstream events in, neutral events out. Keeps the contract in [`crate::ir::Event`]'s module.
pub trait StreamDecoder: Send {
    /// Takes one frame.
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>);

    /// The upstream closed its body: releases what was held, or states the truncation as an error.
    fn finish(&mut self, out: &mut Vec<Event>);

    /// How many candidates have said why they ended. What they said may be held until the answer ends.
    fn finished(&self) -> u64;
}

/// Neutral events in, one dialect's frames out.
pub trait StreamEncoder: Send {
    /// Takes one event and appends zero or more complete frames. After `End` or `Error` nothing more is written.
    fn push(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Appends what keeps an idle connection open in this dialect (docs/protocols/streaming.md), if anything is legal
    /// now.
    fn heartbeat(&mut self, out: &mut Vec<u8>);

    /// Bytes that are kept for the end of the answer, where the dialect repeats all of it there.
    fn held(&self) -> usize {
        0
    }
}

// === impl NameMap ===

impl NameMap {
    /// Notes that `name` is sent as `sent`.
    pub fn insert(&mut self, name: &str, sent: &str) {
        self.forward.insert(name.to_owned(), sent.to_owned());
        self.back.insert(sent.to_owned(), name.to_owned());
    }

    /// The name to send.
    pub fn sent<'a>(&'a self, name: &'a str) -> &'a str {
        self.forward.get(name).map_or(name, String::as_str)
    }

    /// The name as the client wrote it.
    pub fn original<'a>(&'a self, sent: &'a str) -> &'a str {
        self.back.get(sent).map_or(sent, String::as_str)
    }

    /// Whether some sent name is taken already.
    pub fn is_taken(&self, sent: &str) -> bool {
        self.back.contains_key(sent)
    }
}
