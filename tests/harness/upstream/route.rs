//! Which endpoint a request is for. The path decides; `/v1/models`, which three vendors share, is told apart by the
//! headers that their SDKs always send.

use super::{ask::Dialect, conversations, direct::PATHS, kept::About};
use hyper::{HeaderMap, Method, Uri};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Chat,
    Responses,
    /// `/v1/responses/input_tokens`
    InputTokens,
    /// `/v1/responses/{id}` and below.
    Kept(About),
    /// `/v1/conversations` and below.
    Conversations(conversations::About),
    Embeddings,
    /// Another one of OpenAI's, by its path below the base URL.
    Direct(&'static str),
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
    /// `models/{model}:{verb}`
    Gemini {
        model: String,
        verb: String,
        sse: bool,
    },
    Models(Option<String>),
    /// `GET /v1/realtime`, a WebSocket.
    Realtime,
    Unknown,
}

pub(super) fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> (Dialect, Endpoint) {
    let path = uri.path();
    match (method.as_str(), path) {
        ("POST", "/v1/chat/completions") => return (Dialect::Chat, Endpoint::Chat),
        ("POST", "/v1/embeddings") => return (Dialect::Chat, Endpoint::Embeddings),
        ("POST", "/v1/responses") => return (Dialect::Responses, Endpoint::Responses),
        ("POST", "/v1/responses/input_tokens") => return (Dialect::Responses, Endpoint::InputTokens),
        ("GET", "/v1/realtime") => return (Dialect::Chat, Endpoint::Realtime),
        ("POST", "/v1/messages") => return (Dialect::Anthropic, Endpoint::Messages),
        ("POST", "/v1/messages/count_tokens") => return (Dialect::Anthropic, Endpoint::CountTokens),
        _ => {}
    }
    if let Some(about) = About::at(path) {
        return (Dialect::Responses, Endpoint::Kept(about));
    }
    if let Some(about) = conversations::About::at(path) {
        return (Dialect::Responses, Endpoint::Conversations(about));
    }
    let direct = path.strip_prefix("/v1/").and_then(|rest| PATHS.into_iter().find(|path| *path == rest));
    if let ("POST", Some(path)) = (method.as_str(), direct) {
        return (Dialect::Chat, Endpoint::Direct(path));
    }
    if let ("POST", Some(_)) = (method.as_str(), path.strip_prefix("/v1/unlisted/")) {
        return (Dialect::Chat, Endpoint::Direct("unlisted"));
    }
    let models = ["/v1beta/models", "/v1/models"].iter().find_map(|prefix| path.strip_prefix(prefix));
    let rest = models.map(|rest| rest.strip_prefix('/').unwrap_or(rest));
    let dialect = vendor(path, headers);
    match (method.as_str(), rest) {
        ("POST", Some(rest)) if let Some((model, verb)) = rest.rsplit_once(':') => {
            let sse = uri.query().unwrap_or_default().split('&').any(|pair| pair == "alt=sse");
            (Dialect::Gemini, Endpoint::Gemini { model: decode(model), verb: verb.to_owned(), sse })
        }
        ("GET", Some("")) => (dialect, Endpoint::Models(None)),
        ("GET", Some(id)) => (dialect, Endpoint::Models(Some(decode(id)))),
        _ => (dialect, Endpoint::Unknown),
    }
}

/// A parameter of the query, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(given, _)| *given == name).map(|(_, value)| decode(value))
}

fn vendor(path: &str, headers: &HeaderMap) -> Dialect {
    if path.starts_with("/v1beta") || headers.keys().any(|name| name.as_str().starts_with("x-goog-")) {
        Dialect::Gemini
    } else if headers.contains_key("anthropic-version") || path.starts_with("/v1/messages") {
        Dialect::Anthropic
    } else {
        Dialect::Chat
    }
}

/// Percent-decoding; a malformed escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
