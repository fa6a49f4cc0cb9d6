//! What is sent to an upstream, before its address and credential are known.

use http::{HeaderName, HeaderValue};
use routeapi_protocol::{dialect::Operation, wire::Wire};

use super::{body::OutboundBody, client_credential::ClientCredential, sent::SentMark};

/// What is sent, but for authority and credential.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// Path and query below the base URL.
    pub path: String,
    /// Headers beyond content type, encoding and credential.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The caller's own, for a provider that takes it.
    pub client_credential: Option<ClientCredential>,
    /// JSON or a form.
    pub body: OutboundBody,
    /// Is set when the upstream may have received the request.
    pub sent: SentMark,
    /// The upstream's operation; only Echo needs to be told.
    pub operation: Operation,
    /// How the answer is wanted; only Echo needs to be told.
    pub wire: Wire,
}
