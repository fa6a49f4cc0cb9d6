//! A connector with patience: name lookup, TCP, a proxy's tunnel and TLS together within one bound.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use tower_service::Service;

use super::tunnel::Ways;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The connection was not usable within its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTimeout {
    /// How long that is.
    pub patience: Duration,
    /// The egress proxy that it was to go through.
    pub proxy: Option<String>,
}

/// Wraps a connector and bounds each of its calls.
#[derive(Clone, Debug)]
pub struct Patient<C> {
    inner: C,
    patience: Duration,
    ways: Ways,
}

impl<C> Patient<C> {
    /// Bounds `inner`, which goes these ways.
    pub fn new(inner: C, patience: Duration, ways: Ways) -> Self {
        Self { inner, patience, ways }
    }
}

impl<C> Service<Uri> for Patient<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri.clone());
        let (patience, ways) = (self.patience, self.ways.clone());
        Box::pin(async move {
            match tokio::time::timeout(patience, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => {
                    let proxy = ways.find(&uri).map(|(proxy, _)| proxy.to_string());
                    Err(ConnectTimeout { patience, proxy }.into())
                }
            }
        })
    }
}

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no usable connection within {} ms", self.patience.as_millis())?;
        match &self.proxy {
            Some(proxy) => write!(out, " through the egress proxy {proxy}"),
            None => Ok(()),
        }
    }
}

impl Error for ConnectTimeout {}
