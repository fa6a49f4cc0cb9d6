//! Method and path → what is asked. Looks at headers only to tell whose list of models is meant, never at a body.

use http::{HeaderMap, request::Parts};
use routeapi_protocol::{
    dialect::Family,
    inbound::{self, Inbound, ModelList, NoSuchPath},
};

use super::refusal::Refusal;

/// What is asked, or why nothing is; and in whose dialect the answer is to be.
pub(super) fn route(head: &Parts) -> (Family, Result<Inbound, Refusal>) {
    match inbound::route(head.method.as_str(), head.uri.path(), head.uri.query()) {
        Ok(inbound) => {
            let inbound = settle_list(inbound, &head.headers);
            (family(&inbound, &head.headers), Ok(inbound))
        }
        Err(NoSuchPath::NotFound { family }) => (family, Err(Refusal::NoSuchPath)),
        Err(NoSuchPath::MethodNotAllowed { family, allow }) => (family, Err(Refusal::MethodNotAllowed { allow })),
    }
}

/// `/v1/models` is one path for three vendors; headers tell them apart.
fn settle_list(inbound: Inbound, headers: &HeaderMap) -> Inbound {
    // Anthropic's SDKs always send their version; a bare `x-api-key` is how people try the same call by hand.
    let anthropic = headers.contains_key("anthropic-version") || headers.contains_key("x-api-key");
    let google = headers.contains_key("x-goog-api-key");
    match inbound {
        Inbound::ListModels(list) => Inbound::ListModels(list.with_headers(anthropic, google)),
        Inbound::GetModel { list, id } => Inbound::GetModel { list: list.with_headers(anthropic, google), id },
        other @ (Inbound::Call(_) | Inbound::Probe) => other,
    }
}

fn family(inbound: &Inbound, headers: &HeaderMap) -> Family {
    match inbound {
        Inbound::Call(endpoint) => endpoint.surface.family(),
        Inbound::ListModels(list) | Inbound::GetModel { list, .. } => match list {
            ModelList::OpenAi => Family::OpenAi,
            ModelList::Anthropic => Family::Anthropic,
            ModelList::Gemini => Family::Gemini,
        },
        Inbound::Probe if headers.contains_key("anthropic-version") => Family::Anthropic,
        Inbound::Probe => Family::OpenAi,
    }
}
