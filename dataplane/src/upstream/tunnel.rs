//! Connections to upstreams: straight, or through a tunnel that an egress proxy makes (HTTP CONNECT, RFC 9110, 9.3.6).
//!
//! A tunnel is asked for whatever the upstream's scheme: so the proxy sees neither requests nor keys of https upstreams,
//! needs no part in keeping connections, and what goes wrong at the proxy is told apart from what the upstream answers.
//!
//! The handshake is hyper's rather than `hyper_util`'s `Tunnel`, which keeps the proxy's status to itself.

use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{HOST, PROXY_AUTHORIZATION},
    uri::Scheme,
};
use http_body_util::Empty;
use hyper::{
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use rustls::ClientConfig;
use tokio::{net::TcpStream, select};
use tower_service::Service;

use super::{
    connect::BoxError,
    proxies::{EgressChoice, Proxy},
    resolve::Resolver,
};

/// Most bytes of a proxy's answer: status and headers.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Makes connections.
#[derive(Clone, Debug)]
pub struct Dialer {
    egress_choice: EgressChoice,
    direct: HttpConnector<Resolver>,
    /// To a provider's own proxy, whose place is judged as an upstream's.
    to_own: HttpsConnector<HttpConnector<Resolver>>,
    /// To the environment's proxy, which is wherever whoever runs this process has put it.
    to_environments: HttpsConnector<HttpConnector<Resolver>>,
}

/// A connection, or a tunnel.
pub enum Stream {
    /// To the upstream, or to a proxy.
    Tcp(TokioIo<TcpStream>),
    /// To a proxy that speaks TLS itself.
    Tls(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
}

/// The proxy made no tunnel. Never holds its credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No connection to it.
    #[error("the egress proxy {proxy} cannot be reached: {why}")]
    Unreachable {
        /// Which.
        proxy: String,
        /// Why.
        why: String,
    },
    /// 407; some answer 401 to wrong credentials.
    #[error("the egress proxy {proxy} does not accept the gateway's credentials for it, or asks for some ({status})")]
    Credentials {
        /// Which.
        proxy: String,
        /// What it answered.
        status: StatusCode,
    },
    /// It does not want to.
    #[error("the egress proxy {proxy} refused a tunnel to {target}: {status}")]
    Refused {
        /// Which.
        proxy: String,
        /// Whereto.
        target: String,
        /// What it answered.
        status: StatusCode,
    },
    /// Something else than an HTTP proxy, or one that broke.
    #[error("the egress proxy {proxy} made no tunnel to {target}: {why}")]
    Broken {
        /// Which.
        proxy: String,
        /// Whereto.
        target: String,
        /// What is wrong with its answer.
        why: String,
    },
}

// === impl Dialer ===

impl Dialer {
    /// `connector` makes a connector that resolves names so; `tls` is for proxies that speak TLS.
    pub fn new(
        egress_choice: EgressChoice,
        guarded: Resolver,
        tls: &ClientConfig,
        connector: impl Fn(Resolver) -> HttpConnector<Resolver>,
    ) -> Self {
        let to_proxy = |resolver| {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector(resolver))
        };
        Self {
            egress_choice,
            to_own: to_proxy(guarded.clone()),
            to_environments: to_proxy(Resolver::unguarded()),
            direct: connector(guarded),
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some((proxy, is_own)) = self.egress_choice.find(&uri) else {
            let connecting = self.direct.call(uri);
            return Box::pin(async move { Ok(Stream::Tcp(connecting.await?)) });
        };
        let connector = if is_own { &mut self.to_own } else { &mut self.to_environments };
        let connecting = connector.call(proxy.uri().clone());
        Box::pin(async move {
            let unreachable =
                |error: BoxError| ProxyError::Unreachable { proxy: proxy.to_string(), why: deepest(&*error) };
            let stream = match connecting.await.map_err(unreachable)? {
                MaybeHttpsStream::Http(stream) => Stream::Tcp(stream),
                secure @ MaybeHttpsStream::Https(_) => Stream::Tls(Box::new(secure)),
            };
            Ok(tunnel(stream, &proxy, &uri).await?)
        })
    }
}

/// Asks the proxy on this connection for a tunnel.
async fn tunnel(stream: Stream, proxy: &Proxy, uri: &Uri) -> Result<Stream, ProxyError> {
    let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
    let target = format!("{}:{port}", uri.host().unwrap_or_default());
    let broken = |why: String| ProxyError::Broken { proxy: proxy.to_string(), target: target.clone(), why };
    let failed = |error: hyper::Error| broken(describe(&error));

    let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(PROXY_AUTHORIZATION, authorization.clone());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(error.to_string()))?;
    let handshake = http1::Builder::new().max_buf_size(MAX_ANSWER_BYTES).handshake(stream).await;
    let (mut sender, connection) = handshake.map_err(failed)?;
    let (mut answer, mut driver) = (pin!(sender.send_request(request)), pin!(connection.without_shutdown()));
    let mut parts = None;
    let response = loop {
        select! {
            answered = &mut answer => break answered.map_err(failed)?,
            driven = &mut driver, if parts.is_none() => parts = Some(driven.map_err(failed)?),
        }
    };
    match response.status() {
        status if status.is_success() => {}
        status @ (StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) => {
            return Err(ProxyError::Credentials { proxy: proxy.to_string(), status });
        }
        status => return Err(ProxyError::Refused { proxy: proxy.to_string(), target: target.clone(), status }),
    }
    let parts = match parts {
        Some(parts) => parts,
        None => driver.await.map_err(failed)?,
    };
    // No upstream speaks before it is spoken to.
    if !parts.read_buf.is_empty() {
        return Err(broken("it sent more than the end of its headers".to_owned()));
    }
    Ok(parts.io)
}

/// hyper's words, or plainer ones for what a proxy can do.
fn describe(error: &hyper::Error) -> String {
    if error.is_parse() {
        return format!("its answer is not HTTP/1: {}", deepest(error));
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "it closed the connection without an answer".to_owned();
    }
    deepest(error)
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

// === impl Stream ===

trait Io: Read + Write + Connection + Unpin {}

impl<T: Read + Write + Connection + Unpin> Io for T {}

impl Stream {
    fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Io> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tcp(stream) => stream.connected(),
            Self::Tls(stream) => stream.connected(),
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.io().poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(context, parts)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp(_) => "Stream::Tcp",
            Self::Tls(_) => "Stream::Tls",
        })
    }
}
