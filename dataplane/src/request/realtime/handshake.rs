//! What a client's handshake says (RFC 6455, section 4.2.1), beside its path and its token.
//!
//! A browser's page cannot set headers: it offers protocols instead, of which `realtime` is chosen, one holds the key
//! (`identify` reads it), and `openai-beta.realtime-v1` stands for the header `openai-beta`. None of them goes out to an
//! upstream, which is asked as a server asks it, and only `realtime` is ever repeated to the client.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use routeapi_protocol::{
    codec::Malformed,
    inbound::{self, MatchedPath},
};

use crate::{
    request::{gateway::Gateway, refusal::Refusal},
    upstream::{accept_value, lists},
};

/// The one protocol that is spoken.
const PROTOCOL: &str = "realtime";

/// What a client's handshake is answered with.
pub(in crate::request) struct Handshake {
    /// The connection, when HTTP has ended on it.
    pub upgrade: OnUpgrade,
    /// The answer to its key.
    pub accept: HeaderValue,
    /// The protocol that is chosen; none if it offers none of ours.
    pub protocol: Option<HeaderValue>,
}

impl Handshake {
    /// Reads a handshake, and takes out of the headers what belongs to it alone.
    pub(in crate::request) fn read(
        head: &mut Parts,
        matched: &MatchedPath,
        gateway: &Gateway,
    ) -> Result<Self, Refusal> {
        if gateway.drain.is_closing() {
            return Err(Refusal::ShuttingDown);
        }
        let headers = &head.headers;
        let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
        if !lists(headers, CONNECTION, "upgrade") || version != Some(b"13") {
            return Err(Refusal::UpgradeRequired);
        }
        // What came behind the handshake would be read as frames.
        if headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
            return Err(malformed("content-length", "is not allowed: a WebSocket handshake has no body"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if STANDARD.decode(key).ok().is_none_or(|nonce| nonce.len() != 16) {
            return Err(malformed("sec-websocket-key", "has to be 16 bytes in base64"));
        }
        let accept = HeaderValue::try_from(accept_value(key)).map_err(|_| Refusal::UpgradeRequired)?;
        let query = head.uri.query();
        if inbound::parameter(query, "intent").is_some_and(|intent| intent != "conversation") {
            let why = "is not supported: a transcription session names its model only once it is open";
            return Err(malformed("intent", why));
        }
        if matched.model.is_none() {
            return Err(malformed("model", "is required: connect to /v1/realtime?model=NAME"));
        }
        let upgrade = head.extensions.remove::<OnUpgrade>().ok_or(Refusal::UpgradeRequired)?;
        let protocol = lists(headers, SEC_WEBSOCKET_PROTOCOL, PROTOCOL).then(|| HeaderValue::from_static(PROTOCOL));
        take_out(&mut head.headers);
        Ok(Self { upgrade, accept, protocol })
    }

    /// What stands in the permits of a call's body: all that a session is asked for is in its address.
    pub(in crate::request) fn body() -> Full<Bytes> {
        Full::new(Bytes::from_static(b"{}"))
    }
}

/// No header of the handshake is passed on, whatever a provider's owner wants passed on; the beta's is set.
fn take_out(headers: &mut HeaderMap) {
    if lists(headers, SEC_WEBSOCKET_PROTOCOL, "openai-beta.realtime-v1") {
        headers.append("openai-beta", HeaderValue::from_static("realtime=v1"));
    }
    let own: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("sec-websocket-")).cloned().collect();
    for name in own.into_iter().chain([CONNECTION, UPGRADE]) {
        headers.remove(name);
    }
}

fn malformed(field: &str, message: &str) -> Refusal {
    Refusal::Malformed(Malformed { field: Some(field.to_owned()), message: message.to_owned() })
}
