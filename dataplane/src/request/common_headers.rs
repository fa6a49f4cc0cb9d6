//! What every response carries, whoever made it: the request's id, what the token has left, and the wish to close.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header::CONNECTION};
use routeapi_protocol::dialect::Family;

use super::{context::Context, gateway::Gateway, settle::Guard};
use crate::limits::{Headroom, Room};

/// A limit of requests, what is left of it, and when it is whole again: the names that OpenAI's SDKs and tools read.
pub(super) const REQUEST_LIMIT_HEADERS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
/// The same for tokens.
pub(super) const TOKEN_LIMIT_HEADERS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-routeapi-request-id");

/// The headers of one response: the request's id under our name and the dialect's, what the token has left, and the wish
/// to close when draining.
pub(super) struct CommonHeaders {
    gateway: Arc<Gateway>,
    context: Arc<Context>,
    family: Family,
    headroom: Option<Headroom>,
}

impl CommonHeaders {
    /// For the response of this guard's request.
    pub(super) fn of(guard: &Guard) -> Self {
        Self {
            gateway: Arc::clone(guard.gateway()),
            context: Arc::clone(guard.context()),
            family: guard.facts.family(),
            headroom: guard.headroom(),
        }
    }

    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn insert_into(self, headers: &mut HeaderMap) {
        name_request(self.family, &self.context.id, headers);
        if let Some(headroom) = self.headroom {
            headroom_headers(headroom, headers);
        }
        if self.context.version < Version::HTTP_2 && self.gateway.drain.is_closing() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// The request's id, under our name and the dialect's.
pub(crate) fn name_request(family: Family, id: &str, headers: &mut HeaderMap) {
    let Ok(id) = HeaderValue::from_str(id) else { return };
    let dialects = match family {
        Family::OpenAi => Some(HeaderName::from_static("x-request-id")),
        Family::Anthropic => Some(HeaderName::from_static("request-id")),
        Family::Bedrock => Some(HeaderName::from_static("x-amzn-requestid")),
        Family::Gemini => None,
    };
    // An upstream's own id, passed through, is the one its support asks for.
    if let Some(name) = dialects.filter(|name| !headers.contains_key(name)) {
        headers.insert(name, id.clone());
    }
    headers.insert(REQUEST_ID, id);
}

/// What the token may still use, as OpenAI says it: of each kind, the limit with the least room.
fn headroom_headers(headroom: Headroom, headers: &mut HeaderMap) {
    let [requests, tokens] = [&REQUEST_LIMIT_HEADERS, &TOKEN_LIMIT_HEADERS];
    for ([limit, remaining, _], room) in [(requests, headroom.requests), (tokens, headroom.tokens)] {
        if let Some(Room { cap, left }) = room {
            headers.insert(*limit, HeaderValue::from(cap));
            headers.insert(*remaining, HeaderValue::from(left));
        }
    }
}
