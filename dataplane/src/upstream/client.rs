//! HTTP requests to one provider: address, credential and transport belong together and are set once.

use std::{
    collections::VecDeque,
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
    uri::{Authority, Scheme},
};
use http_body::{Body, Frame, SizeHint};
use routeapi_protocol::{dialect::Operation, wire::Wire};

use super::{
    additions::Additions,
    authorization::Stale,
    body::OutboundBody,
    connect::ConnectTimeout,
    credentials::Credentials,
    echo,
    inflate::{self, Inflated},
    metrics::Metrics,
    pool::{Host, PooledBody, PooledConnection},
    sent::{MarkedBody, SentMark},
};
use crate::clock;

/// What is sent, but for authority and credential.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// Path and query below the base URL.
    pub path: String,
    /// Headers beyond content type, encoding and credential.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON or a form.
    pub body: OutboundBody,
    /// Is set when the upstream may have received the request.
    pub sent: SentMark,
    /// The upstream's operation; only Echo needs to be told.
    pub operation: Operation,
    /// How the answer is wanted; only Echo needs to be told.
    pub wire: Wire,
}

/// A provider's base URL, taken apart once.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

/// The base URL is not an absolute http(s) URL without query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("baseURL {0:?} is not an absolute http or https URL")]
pub struct InvalidBaseUrl(pub String);

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
        credentials: &'a Credentials,
        /// What its owner adds to every request.
        additions: &'a Additions,
        /// On what.
        ready: PooledConnection,
    },
    /// Inside this process.
    Echo,
}

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection: nothing was sent, so another upstream may be tried freely.
    #[error("could not connect: {0}")]
    Connect(String),
    /// No connection in time: nothing was sent.
    #[error("{0}")]
    ConnectTimeout(ConnectTimeout),
    /// All HTTP/2 streams that the server allows were in use for so long: nothing was sent.
    #[error("no free HTTP/2 stream within {} ms: the server limits how many it serves at once", .0.as_millis())]
    Saturated(Duration),
    /// The server refused the stream unprocessed.
    #[error("the server refused the HTTP/2 stream (REFUSED_STREAM)")]
    Refused,
    /// A kept connection was closed under the request, which the upstream never saw.
    #[error("connection closed before the request was processed: {0}")]
    Stale(String),
    /// This process has no file descriptor for a connection: nothing was sent.
    #[error("the gateway has no file descriptors left for a connection")]
    Descriptors,
    /// The connection broke before the answer's head: the upstream may have begun to work.
    #[error("connection closed before an answer: {0}")]
    Closed(String),
    /// Nothing proves to the upstream that we may call it: nothing was sent.
    #[error(transparent)]
    Unauthorized(#[from] Stale),
    /// The request could not be formed, such as a model id that no URL can carry.
    #[error("request could not be formed: {0}")]
    Invalid(String),
}

/// How the h2 crate words its `UserError::HeaderTooBig`, which it does not export.
const H2_HEADERS_TOO_BIG: &str = "header too big";

/// An answer's body.
#[derive(Debug)]
pub enum UpstreamBody {
    /// From a connection. Dropping it cancels the request upstream.
    Http(PooledBody),
    /// From a connection, in gzip.
    Inflated(Box<Inflated>),
    /// From the built-in upstream.
    Echo(VecDeque<Bytes>),
}

/// The answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamBodyError {
    /// With its connection.
    #[error("upstream connection broke: {0}")]
    Connection(#[from] hyper::Error),
    /// Inside its encoding.
    #[error("the answer is not the gzip it is said to be: {0}")]
    Encoding(std::io::Error),
}

// === impl BaseUrl ===

impl BaseUrl {
    /// Takes a base URL apart.
    ///
    /// # Errors
    /// When it is not an absolute http or https URL.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let invalid = || InvalidBaseUrl(text.to_owned());
        let parts = text.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid());
        };
        let path = parts.path_and_query.as_ref();
        if !matches!(scheme.as_str(), "http" | "https") || path.is_some_and(|path| path.query().is_some()) {
            return Err(invalid());
        }
        let prefix = path.map_or("", http::uri::PathAndQuery::path).trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, prefix })
    }

    /// The URL of a path below this base.
    ///
    /// # Errors
    /// When the path is not one.
    pub fn join(&self, path: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }

    /// Whether TLS is spoken.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Scheme, host and port.
    pub fn uri(&self) -> Uri {
        let parts = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query("/");
        parts.build().unwrap_or_default()
    }

    /// The host, for `server.address` in telemetry.
    pub fn host(&self) -> &str {
        self.authority.host()
    }
}

// === impl Client ===

impl Client {
    /// Waits for a connection or, where the server limits them, for a stream. The caller's bound for the answer begins
    /// when it is there.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn connect(&self) -> Result<ConnectedClient<'_>, SendError> {
        match self {
            Self::Echo => Ok(ConnectedClient::Echo),
            Self::Http { base, credentials, additions, host, proxy: _ } => {
                Ok(ConnectedClient::Http { base, credentials, additions, ready: host.acquire().await? })
            }
        }
    }

    /// The same for a request that failed unseen ([`SendError::is_unseen`]): on another connection.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn reconnect(&self) -> Result<ConnectedClient<'_>, SendError> {
        match self {
            Self::Echo => Ok(ConnectedClient::Echo),
            Self::Http { base, credentials, additions, host, proxy: _ } => {
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
                Ok(echo::answer(request, request.operation, request.wire))
            }
            Self::Http { base, credentials, additions, ready } => {
                let response = ready.send(outbound(base, credentials, additions, request)?).await?;
                Ok(inflate::inflate(response.map(UpstreamBody::Http)))
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
    parts.method = Method::POST;
    parts.uri = uri;
    for (name, value) in &request.headers {
        parts.headers.append(name, value.clone());
    }
    parts.headers.insert(CONTENT_TYPE, request.body.content_type());
    // A compressed stream would have to be inflated before usage can be read from it.
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    credentials.current().apply(&mut parts, request.body.payload(), clock::now())?;
    Ok(Request::from_parts(parts, MarkedBody::new(request.body.clone(), request.sent.clone())))
}

// === impl SendError ===

impl SendError {
    /// Whether the upstream never saw the request, so that it can be sent once more at no risk.
    pub fn is_unseen(&self) -> bool {
        matches!(self, Self::Refused | Self::Stale(_))
    }
}

/// Why there is no connection.
pub(super) fn connect_error(error: &(dyn Error + 'static), metrics: &Metrics) -> SendError {
    let mut cause = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        if let Some(timeout) = current.downcast_ref::<ConnectTimeout>() {
            return SendError::ConnectTimeout(timeout.clone());
        }
        deepest = current.to_string();
        cause = current.source();
    }
    // Asked of the system instead of the error: a name lookup that cannot open its socket may say that there is no such
    // name.
    if metrics.descriptors.are_exhausted("connect") { SendError::Descriptors } else { SendError::Connect(deepest) }
}

/// Why no answer came on a connection.
pub(super) fn answer_error(error: &hyper::Error) -> SendError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        deepest = current.to_string();
        cause = current.source();
    }
    // Larger than an HTTP/2 peer allows, so that h2 did not send them.
    if deepest.ends_with(H2_HEADERS_TOO_BIG) { SendError::Invalid(deepest) } else { SendError::Closed(deepest) }
}

// === impl UpstreamBody ===

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        match self.get_mut() {
            Self::Http(body) => Pin::new(body).poll_frame(context).map_err(UpstreamBodyError::Connection),
            Self::Inflated(body) => body.poll_piece(context).map_ok(Frame::data),
            Self::Echo(chunks) => Poll::Ready(echo::next(chunks).map(|chunk| Ok(Frame::data(chunk)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Inflated(_) => false,
            Self::Echo(chunks) => chunks.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Inflated(_) => SizeHint::default(),
            Self::Echo(chunks) => SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_a_base_url_with_or_without_trailing_slash() {
        for (base, path, url) in [
            ("https://api.openai.com/v1", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
            ("http://vllm.ai.svc:8000/v1/", "/embeddings", "http://vllm.ai.svc:8000/v1/embeddings"),
            ("https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"),
            ("http://[::1]:9", "/v1beta/models/a%2Fb:x?alt=sse", "http://[::1]:9/v1beta/models/a%2Fb:x?alt=sse"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join(path).unwrap().to_string(), url);
        }
        for text in ["", "api.openai.com", "/v1", "ftp://x", "http://x?y=z"] {
            assert_eq!(BaseUrl::parse(text).unwrap_err(), InvalidBaseUrl(text.to_owned()));
        }
    }
}
