//! Method and path → what is asked. Looks at headers only to tell whose list of models is meant and whether the client
//! wants another protocol, never at a body.

use http::{HeaderMap, Method, Version, header::UPGRADE, request::Parts};
use routeapi_protocol::{
    dialect::{Family, Operation},
    inbound::{self, Inbound, ModelList, NoSuchPath},
};

use super::refusal::Refusal;

/// What is asked, or why nothing is; and in whose dialect the answer is to be.
pub(super) fn route(head: &Parts) -> (Family, Result<Inbound, Refusal>) {
    match inbound::route(head.method.as_str(), head.uri.path(), head.uri.query()) {
        Ok(inbound @ Inbound::Session(_)) if wants_web_socket(head) => (Family::OpenAi, Ok(inbound)),
        Ok(Inbound::Session(_)) => (Family::OpenAi, Err(Refusal::UpgradeRequired)),
        _ if wants_web_socket(head) => (family_of_path(head), Err(Refusal::NoWebSocket)),
        Ok(inbound) => {
            let inbound = resolve_list(inbound, &head.headers);
            (family(&inbound, &head.headers), Ok(inbound))
        }
        Err(NoSuchPath::NotFound { family, meant }) => (family, Err(Refusal::NoSuchPath { meant })),
        Err(NoSuchPath::NotServed { family, unserved }) => {
            // Files are of two vendors that share the path; Anthropic's SDKs always send their version.
            let is_anthropics = family == Family::OpenAi && head.headers.contains_key("anthropic-version");
            (if is_anthropics { Family::Anthropic } else { family }, Err(Refusal::NotServed(unserved)))
        }
        Err(NoSuchPath::MethodNotAllowed { family, allow }) => (family, Err(Refusal::MethodNotAllowed { allow })),
    }
}

/// `/v1/models` is one path for three vendors; headers tell them apart.
fn resolve_list(inbound: Inbound, headers: &HeaderMap) -> Inbound {
    // Anthropic's SDKs always send their version; a bare `x-api-key` is how people try the same call by hand.
    let anthropic = headers.contains_key("anthropic-version") || headers.contains_key("x-api-key");
    let google = headers.contains_key("x-goog-api-key");
    match inbound {
        Inbound::ListModels(list) => Inbound::ListModels(list.with_headers(anthropic, google)),
        Inbound::GetModel { list, id } => Inbound::GetModel { list: list.with_headers(anthropic, google), id },
        other @ (Inbound::Call(_) | Inbound::Session(_) | Inbound::Stored(_) | Inbound::Probe | Inbound::Health) => {
            other
        }
    }
}

fn family(inbound: &Inbound, headers: &HeaderMap) -> Family {
    match inbound {
        Inbound::Call(matched) | Inbound::Session(matched) => matched.operation.family(),
        Inbound::ListModels(list) | Inbound::GetModel { list, .. } => match list {
            ModelList::Shared | ModelList::OpenAi => Family::OpenAi,
            ModelList::Anthropic => Family::Anthropic,
            ModelList::Gemini => Family::Gemini,
        },
        Inbound::Stored(path) => Operation::Stored(path.call).family(),
        Inbound::Probe if headers.contains_key("anthropic-version") => Family::Anthropic,
        Inbound::Probe | Inbound::Health => Family::OpenAi,
    }
}

/// RFC 6455 section 4.1. An upgrade to anything else is an offer, which may be ignored.
pub(crate) fn wants_web_socket(head: &Parts) -> bool {
    let is_web_socket = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket")))
    };
    // HTTP/2 has another way (RFC 8441), which is not offered.
    head.version < Version::HTTP_2
        && head.method == Method::GET
        && head.headers.get_all(UPGRADE).iter().any(is_web_socket)
}

/// In whose dialect a path is spoken, whatever the method.
pub(crate) fn family_of_path(head: &Parts) -> Family {
    match inbound::route("POST", head.uri.path(), head.uri.query()) {
        Ok(inbound) => family(&inbound, &head.headers),
        Err(
            NoSuchPath::NotFound { family, .. }
            | NoSuchPath::NotServed { family, .. }
            | NoSuchPath::MethodNotAllowed { family, .. },
        ) => family,
    }
}
