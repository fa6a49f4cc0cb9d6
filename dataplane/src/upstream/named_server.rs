//! Connections to one server that whoever runs this process has named, as a sidecar's gateway is. The table of addresses
//! and egress proxies play no part: nobody else chooses where they lead.

use std::{
    fmt, future, io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{
    Uri,
    uri::{Authority, Scheme},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tower_service::Service;

use super::{
    connect::{BoxError, ConnectTimeout},
    metrics::Metrics,
    pool::{BoxedIo, ConnectionLifetimes, Dial, Host, Pool, Shared, Windows},
};
use crate::{happy_eyeballs, keepalive, spawn::Spawner};

/// Whom to trust. Asked for each connection, so that a CA bundle may be replaced; an error says what is wrong with it.
pub type TlsSource = Arc<dyn Fn() -> Result<ClientConfig, String> + Send + Sync>;

/// How one server is reached.
#[derive(Clone)]
pub struct NamedServer {
    /// Whom to trust, without protocols: HTTP/2 is offered.
    pub tls: TlsSource,
    /// For name lookup, TCP and TLS together, and for a free HTTP/2 stream.
    pub connect: Duration,
    /// How long connections are kept.
    pub lifetimes: ConnectionLifetimes,
    /// HTTP/2 flow control.
    pub windows: Windows,
    /// Counts connections.
    pub metrics: Metrics,
    /// Runs the tasks that open and drive them.
    pub spawner: Spawner,
}

/// Connects to whichever of a name's addresses takes a connection first.
#[derive(Clone, Copy, Debug)]
struct Tcp;

impl NamedServer {
    /// Its connections: HTTP/2 with TLS (`https`), or HTTP/1.1 without (`http`). None is opened yet.
    ///
    /// # Errors
    /// When scheme and authority make no URL.
    pub fn host(self, scheme: &Scheme, authority: &Authority) -> Result<Arc<Host>, http::Error> {
        let Self { tls, connect, lifetimes, windows, metrics, spawner } = self;
        let dial: Dial = Arc::new(move |uri| {
            let tls = Arc::clone(&tls);
            Box::pin(async move {
                let timed_out = || ConnectTimeout { timeout: connect, proxy: None };
                timeout(connect, dial(uri, tls)).await.map_err(|_| timed_out())?
            })
        });
        let shared = Shared { lifetimes, wait: connect, windows, metrics, spawner };
        Pool::new(dial, shared).new_host(scheme, authority)
    }
}

async fn dial(uri: Uri, tls: TlsSource) -> Result<BoxedIo, BoxError> {
    if uri.scheme() == Some(&Scheme::HTTP) {
        return Ok(Box::new(tcp(uri).await?));
    }
    let mut connector =
        HttpsConnectorBuilder::new().with_tls_config(tls()?).https_only().enable_http2().wrap_connector(Tcp);
    future::poll_fn(|context| connector.poll_ready(context)).await?;
    Ok(Box::new(connector.call(uri).await?))
}

/// The addresses are tried in random order, so that connections spread over a headless Service's pods, and a request that is
/// sent again most likely reaches another one.
async fn tcp(uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let default = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    let mut addresses: Vec<_> = lookup_host((host, uri.port_u16().unwrap_or(default))).await?.collect();
    fastrand::shuffle(&mut addresses);
    let socket = happy_eyeballs::connect(addresses.into_iter()).await?;
    socket.set_nodelay(true)?;
    keepalive::enable(&socket)?;
    Ok(TokioIo::new(socket))
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(tcp(uri))
    }
}

impl fmt::Debug for NamedServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NamedServer").field("connect", &self.connect).finish_non_exhaustive()
    }
}
