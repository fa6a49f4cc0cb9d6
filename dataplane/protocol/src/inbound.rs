//! Which call a method and a path mean. Pure: no headers, no body.
//!
//! Users write base URLs with and without a version segment, and every SDK appends its own paths, so the same call
//! arrives under several: an OpenAI SDK with `http://HOST` posts to `/chat/completions`, an Anthropic SDK with
//! `http://HOST/v1` to `/v1/v1/messages`, a Google SDK with `http://HOST/v1beta` to `/v1beta/v1beta/models/…`, Azure's to
//! `/openai/deployments/…`. What belongs to a base URL is therefore skipped (see [`base`]); what remains names the call.
//! The model of a Gemini path is split off at the *last* colon, because ids may hold colons, and percent-decoded once, as
//! one path segment.
//!
//! It decides no policy: whether a model exists or a caller may use it is asked elsewhere.

mod base;
mod unserved;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

pub use self::unserved::Unserved;

use self::base::Base;
use crate::{
    dialect::{CallPath, Family, Operation},
    direct::Direct,
    framing::Framing,
    stored::{StoredPath, stored_path},
};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A call for a model.
    Call(MatchedPath),
    /// A WebSocket for a model.
    Session(MatchedPath),
    /// A call about a response or a conversation that an upstream keeps.
    Stored(StoredPath),
    /// The list of models.
    ListModels(ModelList),
    /// One entry of it.
    GetModel {
        /// In whose shape.
        list: ModelList,
        /// The model id, decoded.
        id: String,
    },
    /// `GET` or `HEAD` on the base URL itself; answered with 200 and nothing (hard case 33).
    Probe,
    /// `GET` or `HEAD` by a load balancer that asks whether this process serves.
    Health,
}

/// A call's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPath {
    /// Which call.
    pub operation: Operation,
    /// The model, where the path names it (Gemini, Converse, Azure's deployments).
    pub model: Option<String>,
    /// The path below an upstream's base URL, where no endpoint of the gateway's has it. Whether such paths are passed on
    /// is the provider's decision.
    pub path: Option<String>,
    /// How the answer is to arrive, where the path says it (Gemini, Converse).
    pub framing: Option<Framing>,
    /// What of the query is passed on to an upstream of the dialect.
    pub query: Option<&'static str>,
    /// Whether the query held parameters that mean nothing here and go nowhere.
    pub unknown_query: bool,
}

/// Whose shape a list of models has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelList {
    /// OpenAI's, unless the caller's headers tell another vendor's client: `/v1/models` is one path for three.
    Shared,
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Google's.
    Gemini,
}

/// The path means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchPath {
    /// No such path.
    #[error("no such path")]
    NotFound {
        /// Whose error shape the caller most likely reads.
        family: Family,
        /// The path that was most likely meant, if it looks like one that is served.
        meant: Option<&'static str>,
    },
    /// The vendor has it, and this gateway does not.
    #[error("{} not served: {}", unserved.what, unserved.why)]
    NotServed {
        /// Whose error shape the caller most likely reads.
        family: Family,
        /// What it is, and why not.
        unserved: Unserved,
    },
    /// The path exists for another method.
    #[error("use {allow}")]
    MethodNotAllowed {
        /// Whose error shape the caller most likely reads.
        family: Family,
        /// Value of the `allow` header.
        allow: &'static str,
    },
}

impl Inbound {
    /// Whether it is a call whose path means something to an upstream at best.
    pub fn is_unlisted(&self) -> bool {
        matches!(self, Self::Call(MatchedPath { operation: Operation::Direct(Direct::Unlisted), .. }))
    }
}

impl ModelList {
    /// The shape once headers are known. Anthropic's clients send `anthropic-version`, Google's send `x-goog-api-key`.
    #[must_use]
    pub const fn with_headers(self, anthropic_version: bool, goog_api_key: bool) -> Self {
        match self {
            Self::Shared if anthropic_version => Self::Anthropic,
            Self::Shared if goog_api_key => Self::Gemini,
            Self::Shared => Self::OpenAi,
            list => list,
        }
    }

    /// The family whose error shape goes with it.
    pub const fn family(self) -> Family {
        match self {
            Self::Shared | Self::OpenAi => Family::OpenAi,
            Self::Anthropic => Family::Anthropic,
            Self::Gemini => Family::Gemini,
        }
    }
}

/// Reads a request line. `path` is as on the wire, still percent-encoded; `query` is what follows `?`.
///
/// # Errors
/// When no call has this path, or not with this method.
pub fn route(method: &str, path: &str, query: Option<&str>) -> Result<Inbound, NoSuchPath> {
    let (base, rest) = Base::strip(path);
    let family = base.family();
    if rest.is_empty() {
        return reading_only(method, family, Inbound::Probe);
    }
    if HEALTH.contains(&rest) {
        return reading_only(method, family, Inbound::Health);
    }
    if let Some(matched) = session(rest, query) {
        return match method {
            "GET" => Ok(Inbound::Session(matched)),
            _ => Err(NoSuchPath::MethodNotAllowed { family: Family::OpenAi, allow: "GET" }),
        };
    }
    if let Some(operation) = by_body(rest) {
        return post_only(method, operation.family(), Inbound::Call(matched(operation, query)));
    }
    if let Some(matched) = deployment(rest, query) {
        return post_only(method, matched.operation.family(), Inbound::Call(matched));
    }
    if let Some(found) = bedrock(rest, query) {
        let matched = found.map_err(|unserved| NoSuchPath::NotServed { family: Family::Bedrock, unserved })?;
        return post_only(method, Family::Bedrock, Inbound::Call(matched));
    }
    if let Some(inbound) = models(base, rest, query) {
        return match &inbound {
            Inbound::Call(matched) => post_only(method, matched.operation.family(), inbound),
            _ => reading_only(method, family, inbound),
        };
    }
    if family == Family::OpenAi
        && let Some(stored) = stored_path(method, rest, query, |id| percent_decoded(id).into_owned())
    {
        let not_allowed = |allow| NoSuchPath::MethodNotAllowed { family: Family::OpenAi, allow };
        return stored.map(Inbound::Stored).map_err(not_allowed);
    }
    let (family, meant) = (family_of(base, rest), meant(rest));
    match unserved::unserved(rest).filter(|_| meant.is_none()) {
        Some(unserved) => Err(NoSuchPath::NotServed { family, unserved }),
        None if method == "POST"
            && meant.is_none()
            && family == Family::OpenAi
            && base.is_openais_v1()
            && Direct::is_plain(rest) =>
        {
            let path = Some(format!("/{rest}"));
            Ok(Inbound::Call(MatchedPath { path, ..matched(Operation::Direct(Direct::Unlisted), query) }))
        }
        None => Err(NoSuchPath::NotFound { family, meant }),
    }
}

/// Where load balancers and orchestrators look whether a gateway serves; the last three are LiteLLM's.
const HEALTH: [&str; 6] = ["health", "healthz", "ping", "health/liveliness", "health/liveness", "health/readiness"];

/// Calls whose model is in the body, by their path below the base. No entry ends another one's name.
fn by_path() -> impl Iterator<Item = (&'static str, Operation)> {
    let direct = Direct::all().map(Operation::Direct);
    Operation::KNOWN.into_iter().chain(direct).filter_map(|operation| match operation.path() {
        CallPath::Fixed("") | CallPath::Verb(_) | CallPath::Action(_) => None,
        CallPath::Fixed(path) => Some((path.trim_start_matches('/'), operation)),
    })
}

fn by_body(rest: &str) -> Option<Operation> {
    let listed = by_path().find(|(path, operation)| *path == rest && !matches!(operation, Operation::Direct(_)));
    listed.map(|(_, operation)| operation).or_else(|| Direct::at(rest).map(Operation::Direct))
}

/// The call that a path ends with, longest first: a base URL in front of it was not understood, or the client was given a
/// whole call's URL as its base.
fn ending_with(rest: &str) -> Option<(&str, &'static str, Operation)> {
    let ends = by_path().filter_map(|(path, operation)| {
        let before = rest.strip_suffix(path)?.strip_suffix('/')?;
        Some((before, path, operation))
    });
    ends.max_by_key(|(_, path, _)| path.len())
}

/// Azure's `deployments/{deployment}/{call}`: the deployment's name is the model id. Its SDKs put the name there as it is,
/// slashes included.
fn deployment(rest: &str, query: Option<&str>) -> Option<MatchedPath> {
    let (before, _, operation) = ending_with(rest.strip_prefix("deployments/")?)?;
    let is_azures = operation.family() == Family::OpenAi && !before.is_empty();
    let model = percent_decoded(before).into_owned();
    is_azures.then(|| MatchedPath { model: Some(model), ..matched(operation, query) })
}

/// Bedrock's `model/{id}/{action}`; none if it is another path. SDKs write the id as one segment, percent-encoded; by hand
/// the slashes of an ARN are often left as they are.
fn bedrock(rest: &str, query: Option<&str>) -> Option<Result<MatchedPath, Unserved>> {
    let (id, action) = rest.strip_prefix("model/")?.rsplit_once('/')?;
    let (operation, framing) = match action {
        "converse" => (Operation::Converse, Framing::Whole),
        "converse-stream" => (Operation::Converse, Framing::EventStream),
        "count-tokens" => (Operation::ConverseCountTokens, Framing::Whole),
        _ => return unserved::INVOKE_ACTIONS.contains(&action).then_some(Err(unserved::INVOKE)),
    };
    let model = (!id.is_empty()).then(|| percent_decoded(id).into_owned())?;
    Some(Ok(MatchedPath { model: Some(model), framing: Some(framing), ..matched(operation, query) }))
}

/// `realtime`, whose model is a parameter. Azure calls it `deployment`, or has it in the path.
fn session(rest: &str, query: Option<&str>) -> Option<MatchedPath> {
    let operation = Operation::Direct(Direct::Realtime);
    let mut matched = match rest {
        "realtime" => matched(operation, query),
        _ => deployment(rest, query).filter(|matched| matched.operation == operation)?,
    };
    let known = ["model", "deployment", "api-version", "key", "intent"];
    matched.unknown_query = parameters(query).any(|(name, _)| !name.is_empty() && !known.contains(&name));
    let named = ["model", "deployment"].iter().find_map(|name| parameter(query, name));
    matched.model = matched.model.or(named);
    Some(matched)
}

/// The path that the caller most likely means, below the gateway's address.
fn meant(rest: &str) -> Option<&'static str> {
    let (_, _, operation) = ending_with(rest)?;
    Some(match operation {
        Operation::ChatCompletions => "/v1/chat/completions",
        Operation::Responses => "/v1/responses",
        Operation::Embeddings => "/v1/embeddings",
        Operation::Messages => "/v1/messages",
        _ => return None,
    })
}

/// `models`, `models/{id}` and Google's `{resource}:{verb}`.
fn models(base: Base, rest: &str, query: Option<&str>) -> Option<Inbound> {
    let list = match base.vendor() {
        Some(Family::OpenAi) => ModelList::OpenAi,
        Some(Family::Anthropic) => ModelList::Anthropic,
        Some(Family::Gemini) => ModelList::Gemini,
        None if parameters(query).any(|(name, _)| matches!(name, "pageSize" | "pageToken")) => ModelList::Gemini,
        // It has none of its own.
        Some(Family::Bedrock) | None => ModelList::Shared,
    };
    if rest == "models" {
        return Some(Inbound::ListModels(list));
    }
    if let Some((resource, verb)) = rest.rsplit_once(':')
        && let Some((operation, streams)) = by_verb(verb)
    {
        let framing = match (streams, wants_sse(query)) {
            (false, _) => Framing::Whole,
            (true, true) => Framing::Sse,
            (true, false) => Framing::JsonArray,
        };
        let model = Some(model_of(resource)?);
        return Some(Inbound::Call(MatchedPath { model, framing: Some(framing), ..matched(operation, query) }));
    }
    let id = rest.strip_prefix("models/")?;
    (!id.is_empty()).then(|| Inbound::GetModel { list, id: percent_decoded(id).into_owned() })
}

/// The operation that Google's verb stands for, and whether its answer streams.
fn by_verb(verb: &str) -> Option<(Operation, bool)> {
    if verb == "streamGenerateContent" {
        return Some((Operation::GenerateContent, true));
    }
    let is_meant = |operation: &Operation| matches!(operation.path(), CallPath::Verb(known) if known == verb);
    Some((Operation::KNOWN.into_iter().find(is_meant)?, false))
}

/// The model id in a resource name: `models/m`, `publishers/google/models/m` and the long form with a project mean `m`;
/// `tunedModels/t` is another name space and keeps its prefix.
fn model_of(resource: &str) -> Option<String> {
    let raw = if let Some(tuned) = resource.strip_prefix("tunedModels/") {
        return (!tuned.is_empty()).then(|| format!("tunedModels/{}", percent_decoded(tuned)));
    } else if let Some(model) = resource.strip_prefix("models/") {
        model
    } else if resource.starts_with("projects/") || resource.starts_with("publishers/") {
        resource.split_once("/models/")?.1
    } else {
        return None;
    };
    (!raw.is_empty()).then(|| percent_decoded(raw).into_owned())
}

fn wants_sse(query: Option<&str>) -> bool {
    parameters(query).any(|(name, value)| matches!(name, "alt" | "$alt" | "%24alt") && value == "sse")
}

/// A call whose path names no model.
fn matched(operation: Operation, query: Option<&str>) -> MatchedPath {
    let (query, unknown_query) = sort_query(operation.family(), query);
    MatchedPath { operation, model: None, path: None, framing: None, query, unknown_query }
}

/// What of a query is passed on to an upstream of the same dialect, and whether there was anything else beside what the
/// gateway reads itself. The list is closed, because parameters steer a vendor's server under our key: Google's
/// front end alone takes `$httpMethod`, `callback`, `fields`, `key`, `access_token` and `userProject` on every path.
///
/// Anthropic's SDKs and Claude Code append `beta=true` to beta calls (docs/protocols/messages.md); no other SDK sends a
/// parameter that an upstream needs. `alt` is the gateway's own to set, see [`crate::host`].
fn sort_query(family: Family, query: Option<&str>) -> (Option<&'static str>, bool) {
    let (mut passed, mut unknown) = (None, false);
    for (name, value) in parameters(query).filter(|(name, _)| !name.is_empty()) {
        match (family, percent_decoded(name).as_ref()) {
            (Family::Anthropic, "beta") if value == "true" => passed = Some("beta=true"),
            // Azure's version of OpenAI's API: what is spoken here does not depend on it.
            (Family::OpenAi, "api-version") | (_, "key" | "alt" | "$alt") => {}
            _ => unknown = true,
        }
    }
    (passed, unknown)
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The value of a parameter, decoded; none if it is empty.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let (_, value) = parameters(query).find(|(given, value)| *given == name && !value.is_empty())?;
    Some(percent_decoded(value).into_owned())
}

fn post_only(method: &str, family: Family, inbound: Inbound) -> Result<Inbound, NoSuchPath> {
    if method == "POST" { Ok(inbound) } else { Err(NoSuchPath::MethodNotAllowed { family, allow: "POST" }) }
}

fn reading_only(method: &str, family: Family, inbound: Inbound) -> Result<Inbound, NoSuchPath> {
    match method {
        "GET" | "HEAD" => Ok(inbound),
        _ => Err(NoSuchPath::MethodNotAllowed { family, allow: "GET, HEAD" }),
    }
}

fn family_of(base: Base, rest: &str) -> Family {
    if rest.starts_with("messages") {
        Family::Anthropic
    } else if rest.starts_with("model/") {
        Family::Bedrock
    } else if rest.starts_with("tunedModels") || rest.contains(':') {
        Family::Gemini
    } else {
        base.family()
    }
}

/// Undoes percent-encoding once. What is not an escape, or would not be UTF-8, stays as it is.
pub(crate) fn percent_decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests;
