//! Which call a method and a path mean. Pure: no headers, no body.
//!
//! Users write base URLs with and without a version segment, and every SDK appends its own paths, so the same call
//! arrives under several: an OpenAI SDK with `http://HOST` posts to `/chat/completions`, an Anthropic SDK with
//! `http://HOST/v1` to `/v1/v1/messages`, a Google SDK with `http://HOST/v1beta` to `/v1beta/v1beta/models/…`. Any run of
//! leading version segments is therefore skipped; what remains names the call. The model of a Gemini path is split off
//! at the *last* colon, because ids may hold colons, and percent-decoded once, as one path segment.
//!
//! It decides no policy: whether a model exists or a caller may use it is asked elsewhere.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::dialect::{Family, Framing, Surface};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A call for a model.
    Call(Endpoint),
    /// The list of models.
    ListModels(ModelList),
    /// One entry of it.
    GetModel {
        /// In whose shape.
        list: ModelList,
        /// The model id, decoded.
        id: String,
    },
    /// `GET` or `HEAD` on the base URL itself; answered with 200 and nothing (protocols 5, case 33).
    Probe,
}

/// A call's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which call.
    pub surface: Surface,
    /// The model, where the path names it (Gemini).
    pub model: Option<String>,
    /// How the answer is to arrive, where the path says it (Gemini).
    pub framing: Option<Framing>,
    /// What of the query is passed on to an upstream of the dialect.
    pub query: Option<&'static str>,
    /// Whether the query held parameters that mean nothing here and go nowhere.
    pub unknown_query: bool,
}

/// Whose shape a list of models has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelList {
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

impl ModelList {
    /// The shape once headers are known: `/v1/models` is one path for three vendors. Anthropic's clients send
    /// `anthropic-version`, Google's send `x-goog-api-key`.
    #[must_use]
    pub const fn with_headers(self, anthropic_version: bool, goog_api_key: bool) -> Self {
        match self {
            Self::OpenAi if anthropic_version => Self::Anthropic,
            Self::OpenAi if goog_api_key => Self::Gemini,
            list => list,
        }
    }

    /// The family whose error shape goes with it.
    pub const fn family(self) -> Family {
        match self {
            Self::OpenAi => Family::OpenAi,
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
    let (prefix, rest) = strip_versions(path);
    if rest.is_empty() {
        return match method {
            "GET" | "HEAD" => Ok(Inbound::Probe),
            _ => Err(NoSuchPath::MethodNotAllowed { family: prefix.family(), allow: "GET, HEAD" }),
        };
    }
    if let Some(surface) = by_body(rest) {
        return post_only(method, surface.family(), Inbound::Call(endpoint(surface, query)));
    }
    if let Some(inbound) = models(prefix, rest, query) {
        return match (&inbound, method) {
            (Inbound::Call(endpoint), _) => post_only(method, endpoint.surface.family(), inbound),
            (_, "GET" | "HEAD") => Ok(inbound),
            _ => Err(NoSuchPath::MethodNotAllowed { family: prefix.family(), allow: "GET, HEAD" }),
        };
    }
    Err(NoSuchPath::NotFound { family: family_of(prefix, rest) })
}

/// The version segments that a path began with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    /// None, or one `v1`.
    V1,
    /// `v1/v1`: only Anthropic's SDK appends `/v1` to a base URL that has it. (Google's does as well, and its
    /// calls show by their verb.)
    DoubleV1,
    /// At least one `v1beta` or another of Google's versions.
    Google,
}

impl Prefix {
    const fn family(self) -> Family {
        match self {
            Self::V1 => Family::OpenAi,
            Self::DoubleV1 => Family::Anthropic,
            Self::Google => Family::Gemini,
        }
    }
}

fn strip_versions(path: &str) -> (Prefix, &str) {
    let (mut rest, mut ones, mut google) = (path.trim_matches('/'), 0, false);
    loop {
        let (segment, tail) = rest.split_once('/').unwrap_or((rest, ""));
        match segment {
            "v1" => ones += 1,
            "v1beta" | "v1alpha" | "v1beta1" => google = true,
            _ => break,
        }
        rest = tail.trim_start_matches('/');
    }
    let prefix = if google {
        Prefix::Google
    } else if ones > 1 {
        Prefix::DoubleV1
    } else {
        Prefix::V1
    };
    (prefix, rest)
}

/// Calls whose model is in the body.
fn by_body(rest: &str) -> Option<Surface> {
    Some(match rest {
        "chat/completions" => Surface::ChatCompletions,
        "responses" => Surface::Responses,
        "responses/input_tokens" => Surface::ResponsesInputTokens,
        "embeddings" => Surface::Embeddings,
        "messages" => Surface::Messages,
        "messages/count_tokens" => Surface::MessagesCountTokens,
        _ => return None,
    })
}

/// `models`, `models/{id}` and Google's `{resource}:{verb}`.
fn models(prefix: Prefix, rest: &str, query: Option<&str>) -> Option<Inbound> {
    let list = match prefix {
        Prefix::Google => ModelList::Gemini,
        Prefix::DoubleV1 => ModelList::Anthropic,
        Prefix::V1 if parameters(query).any(|(name, _)| matches!(name, "pageSize" | "pageToken")) => ModelList::Gemini,
        Prefix::V1 => ModelList::OpenAi,
    };
    if rest == "models" {
        return Some(Inbound::ListModels(list));
    }
    if let Some((resource, verb)) = rest.rsplit_once(':')
        && let Some((surface, streams)) = verb_surface(verb)
    {
        let framing = match (streams, wants_sse(query)) {
            (false, _) => Framing::Whole,
            (true, true) => Framing::Sse,
            (true, false) => Framing::JsonArray,
        };
        let model = Some(model_of(resource)?);
        return Some(Inbound::Call(Endpoint { model, framing: Some(framing), ..endpoint(surface, query) }));
    }
    let id = rest.strip_prefix("models/")?;
    (!id.is_empty()).then(|| Inbound::GetModel { list, id: percent_decoded(id).into_owned() })
}

fn verb_surface(verb: &str) -> Option<(Surface, bool)> {
    Some(match verb {
        "generateContent" => (Surface::GenerateContent, false),
        "streamGenerateContent" => (Surface::GenerateContent, true),
        "embedContent" => (Surface::EmbedContent, false),
        "batchEmbedContents" => (Surface::BatchEmbedContents, false),
        "countTokens" => (Surface::CountTokens, false),
        _ => return None,
    })
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
fn endpoint(surface: Surface, query: Option<&str>) -> Endpoint {
    let (query, unknown_query) = sort_query(surface.family(), query);
    Endpoint { surface, model: None, framing: None, query, unknown_query }
}

/// What of a query is passed on to an upstream of the same dialect, and whether there was anything else beside what the
/// gateway reads itself. The list is closed, because parameters steer a vendor's server under our key: Google's
/// front end alone takes `$httpMethod`, `callback`, `fields`, `key`, `access_token` and `userProject` on every path.
///
/// Anthropic's SDKs and Claude Code append `beta=true` to beta calls (protocols 1.3); no other SDK sends a parameter that
/// an upstream needs. `alt` is the gateway's own to set, see [`crate::upstream_path`].
fn sort_query(family: Family, query: Option<&str>) -> (Option<&'static str>, bool) {
    let (mut passed, mut unknown) = (None, false);
    for (name, value) in parameters(query).filter(|(name, _)| !name.is_empty()) {
        match (family, percent_decoded(name).as_ref()) {
            (Family::Anthropic, "beta") if value == "true" => passed = Some("beta=true"),
            (_, "key" | "alt" | "$alt") => {}
            _ => unknown = true,
        }
    }
    (passed, unknown)
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn post_only(method: &str, family: Family, inbound: Inbound) -> Result<Inbound, NoSuchPath> {
    if method == "POST" { Ok(inbound) } else { Err(NoSuchPath::MethodNotAllowed { family, allow: "POST" }) }
}

fn family_of(prefix: Prefix, rest: &str) -> Family {
    if rest.starts_with("messages") {
        Family::Anthropic
    } else if rest.starts_with("tunedModels") || rest.contains(':') {
        Family::Gemini
    } else {
        prefix.family()
    }
}

/// Undoes percent-encoding once. What is not an escape, or would not be UTF-8, stays as it is.
pub(crate) fn percent_decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, query: Option<&str>) -> Endpoint {
        match route("POST", path, query) {
            Ok(Inbound::Call(endpoint)) => endpoint,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn every_base_url_leads_to_the_same_call() {
        let cases = [
            (Surface::ChatCompletions, &["/chat/completions", "/v1/chat/completions", "//v1/chat/completions/"][..]),
            (Surface::Responses, &["/responses", "/v1/responses"]),
            (Surface::ResponsesInputTokens, &["/responses/input_tokens", "/v1/responses/input_tokens"]),
            (Surface::Embeddings, &["/embeddings", "/v1/embeddings"]),
            (Surface::Messages, &["/v1/messages", "/v1/v1/messages", "/messages"]),
            (Surface::MessagesCountTokens, &["/v1/messages/count_tokens", "/v1/v1/messages/count_tokens"]),
        ];
        for (surface, paths) in cases {
            for path in paths {
                assert_eq!(call(path, None).surface, surface, "{path}");
            }
        }
    }

    #[test]
    fn gemini_paths_name_model_and_framing() {
        for prefix in ["/v1beta", "/v1", "/v1beta/v1beta", "/v1/v1beta", "/v1beta/v1", "/v1/v1", ""] {
            let whole = call(&format!("{prefix}/models/gemini-x:generateContent"), None);
            assert_eq!((whole.surface, whole.model.as_deref()), (Surface::GenerateContent, Some("gemini-x")));
            assert_eq!(whole.framing, Some(Framing::Whole));
        }
        let stream = |query| call("/v1beta/models/m:streamGenerateContent", query).framing;
        assert_eq!(stream(Some("alt=sse&key=sk-1")), Some(Framing::Sse));
        assert_eq!(stream(Some("key=sk-1")), Some(Framing::JsonArray));
        assert_eq!(call("/v1beta/models/m:batchEmbedContents", None).surface, Surface::BatchEmbedContents);
        assert_eq!(call("/v1beta/models/m:embedContent", None).surface, Surface::EmbedContent);
        assert_eq!(call("/v1beta/models/m:countTokens", None).surface, Surface::CountTokens);
    }

    #[test]
    fn models_split_at_the_last_colon_and_decode_once() {
        let model = |path| call(path, None).model.unwrap_or_default();
        assert_eq!(model("/v1beta/models/org%2Fname:tag:generateContent"), "org/name:tag");
        assert_eq!(model("/v1beta/models/a%252Fb:generateContent"), "a%2Fb");
        assert_eq!(model("/v1beta/models/bad%zz:generateContent"), "bad%zz");
        assert_eq!(model("/v1beta/tunedModels/mine:generateContent"), "tunedModels/mine");
        assert_eq!(model("/v1/projects/p/locations/l/publishers/google/models/m:generateContent"), "m");
    }

    #[test]
    fn of_a_query_only_what_is_known_goes_on() {
        let sorted = |path: &str, query: &str| {
            let endpoint = call(path, Some(query));
            (endpoint.query, endpoint.unknown_query)
        };
        assert_eq!(sorted("/v1/messages", "beta=true"), (Some("beta=true"), false));
        assert_eq!(sorted("/v1/messages/count_tokens", "a=b&beta=true"), (Some("beta=true"), true));
        assert_eq!(sorted("/v1/messages", "beta=true%26x=1"), (None, true));
        assert_eq!(sorted("/v1/chat/completions", "beta=true"), (None, true));
        let gemini = |query: &str| sorted("/v1beta/models/m:streamGenerateContent", query);
        assert_eq!(gemini("key=sk-1&alt=sse&k%65y=sk-2&%24alt=json"), (None, false));
        for name in [
            "$httpMethod",
            "%24httpMethod",
            "callback",
            "userProject",
            "$userProject",
            "%24key",
            "$key",
            "access_token",
            "oauth_token",
            "upload_protocol",
            "uploadType",
            "fields",
            "$fields",
            "quotaUser",
            "prettyPrint",
            "$.xgafv",
        ] {
            assert_eq!(gemini(&format!("alt=sse&{name}=x")), (None, true), "{name}");
        }
    }

    #[test]
    fn lists_probes_and_refusals() {
        assert_eq!(route("GET", "/v1/models", Some("limit=1000")), Ok(Inbound::ListModels(ModelList::OpenAi)));
        assert_eq!(route("GET", "/models", None), Ok(Inbound::ListModels(ModelList::OpenAi)));
        assert_eq!(route("GET", "/v1/v1/models", None), Ok(Inbound::ListModels(ModelList::Anthropic)));
        assert_eq!(route("GET", "/v1beta/models", None), Ok(Inbound::ListModels(ModelList::Gemini)));
        assert_eq!(route("GET", "/v1/models", Some("pageSize=5")), Ok(Inbound::ListModels(ModelList::Gemini)));
        assert_eq!(ModelList::OpenAi.with_headers(true, false), ModelList::Anthropic);
        let one = Inbound::GetModel { list: ModelList::OpenAi, id: "org/m:1".into() };
        assert_eq!(route("GET", "/v1/models/org%2Fm:1", None), Ok(one));
        for path in ["/", "", "/v1", "/v1beta/"] {
            assert_eq!(route("HEAD", path, None), Ok(Inbound::Probe), "{path}");
        }
        let not_post = NoSuchPath::MethodNotAllowed { family: Family::Anthropic, allow: "POST" };
        assert_eq!(route("GET", "/v1/messages", None), Err(not_post));
        assert_eq!(route("POST", "/v1/nothing", None), Err(NoSuchPath::NotFound { family: Family::OpenAi }));
        assert_eq!(route("POST", "/v1beta/nothing", None), Err(NoSuchPath::NotFound { family: Family::Gemini }));
        assert_eq!(
            route("POST", "/v1/messages/batches", None),
            Err(NoSuchPath::NotFound { family: Family::Anthropic })
        );
    }
}
