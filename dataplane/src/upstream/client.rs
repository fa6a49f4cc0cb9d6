//! HTTP requests to one provider: address, credential and transport belong together and are set once.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
};
use routeapi_channel::ObjectId;

use super::{
    additions::Additions,
    answer_body::UpstreamBody,
    base_url::BaseUrl,
    credentials::Credentials,
    echo,
    outbound::OutboundRequest,
    pool::{Host, PooledConnection},
    send_error::SendError,
    sent::MarkedBody,
};
use crate::clock;

/// How to reach one provider.
#[derive(Clone, Debug)]
pub enum Client {
    /// Over HTTP.
    Http {
        /// Where.
        base: BaseUrl,
        /// As whom.
        credentials: Arc<Credentials>,
        /// What its owner adds to every request.
        additions: Arc<Additions>,
        /// Through which egress proxy, for `explain`.
        proxy: Option<String>,
        /// Over which connections.
        host: Arc<Host>,
    },
    /// Inside this process.
    Echo,
}

/// A provider that a connection, or a stream of one, is there to.
#[derive(Debug)]
pub enum ConnectedClient<'a> {
    /// Over HTTP.
    Http {
        /// Where.
        base: &'a BaseUrl,
        /// As whom.
        credentials: Arc<Credentials>,
        /// What its owner adds to every request.
        additions: &'a Additions,
        /// On what.
        ready: PooledConnection,
    },
    /// Inside this process.
    Echo,
}

// === impl Client ===

impl Client {
    /// Waits for a connection or, where the server limits them, for a stream, for a request of this token. The caller's bound
    /// for the answer begins when it is there.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn connect(&self, token: &ObjectId) -> Result<ConnectedClient<'_>, SendError> {
        match self {
            Self::Echo => Ok(ConnectedClient::Echo),
            Self::Http { base, credentials, additions, host, proxy: _ } => {
                let credentials = credentials.of_token(token, clock::mono());
                credentials.ready().await?;
                Ok(ConnectedClient::Http { base, credentials, additions, ready: host.acquire().await? })
            }
        }
    }

    /// The same for a request that failed unseen ([`SendError::is_unseen`]): on another connection.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn reconnect(&self, token: &ObjectId) -> Result<ConnectedClient<'_>, SendError> {
        match self {
            Self::Echo => Ok(ConnectedClient::Echo),
            Self::Http { base, credentials, additions, host, proxy: _ } => {
                let credentials = credentials.of_token(token, clock::mono());
                Ok(ConnectedClient::Http { base, credentials, additions, ready: host.acquire_again().await? })
            }
        }
    }

    /// Where requests go, for telemetry and `explain`; none for Echo.
    pub fn base(&self) -> Option<&BaseUrl> {
        match self {
            Self::Http { base, .. } => Some(base),
            Self::Echo => None,
        }
    }

    /// The egress proxy that requests go through, if any; without its credentials.
    pub fn proxy(&self) -> Option<&str> {
        match self {
            Self::Http { proxy, .. } => proxy.as_deref(),
            Self::Echo => None,
        }
    }

    /// What the provider's owner adds to every request; nothing for Echo.
    pub fn additions(&self) -> Option<&Arc<Additions>> {
        match self {
            Self::Http { additions, .. } => Some(additions),
            Self::Echo => None,
        }
    }

    /// What proves to the provider that we may call it for this token; none for Echo.
    pub fn credentials_of(&self, token: &ObjectId) -> Option<Arc<Credentials>> {
        self.credentials().map(|credentials| credentials.of_token(token, clock::mono()))
    }

    /// What proves to the provider that we may call it; none for Echo.
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        match self {
            Self::Http { credentials, .. } => Some(credentials),
            Self::Echo => None,
        }
    }
}

// === impl ConnectedClient ===

impl ConnectedClient<'_> {
    /// Sends a request and waits for the head of the answer. Follows no redirect. An answer in gzip is inflated.
    ///
    /// # Errors
    /// When no head came. The caller sets the time limit and cancels by dropping the future.
    pub async fn send(self, request: &OutboundRequest) -> Result<Response<UpstreamBody>, SendError> {
        match self {
            Self::Echo => {
                request.sent.set();
                Ok(echo::answer(request).map(UpstreamBody::Echo))
            }
            Self::Http { base, credentials, additions, ready } => {
                let response = ready.send(outbound(base, &credentials, additions, request)?).await?;
                Ok(UpstreamBody::from_connection(response))
            }
        }
    }
}

/// Finishes a request, when there is a connection to send it on. Nothing of it changes afterwards but what HTTP/1 asks for,
/// which says the same in other places.
fn outbound(
    base: &BaseUrl,
    credentials: &Credentials,
    additions: &Additions,
    request: &OutboundRequest,
) -> Result<Request<MarkedBody>, SendError> {
    let uri = base.join(&additions.path(&request.path)).map_err(|error| SendError::Invalid(error.to_string()))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(request.operation.method().as_bytes()).unwrap_or(Method::POST);
    parts.uri = uri;
    for (name, value) in &request.headers {
        parts.headers.append(name, value.clone());
    }
    if parts.method == Method::POST {
        parts.headers.insert(CONTENT_TYPE, request.body.content_type());
    }
    // A compressed stream would have to be inflated before usage can be read from it.
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (body, client) = (request.body.payload(), request.client_credential.as_ref());
    credentials.current().apply(&mut parts, body, client, clock::now())?;
    Ok(Request::from_parts(parts, MarkedBody::new(request.body.clone(), request.sent.clone())))
}
