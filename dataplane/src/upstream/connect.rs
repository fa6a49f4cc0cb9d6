//! A connector with patience: name lookup, TCP and TLS together within one bound.

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

type BoxError = Box<dyn Error + Send + Sync>;

/// The connection was not usable within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectTimeout(pub Duration);

/// Wraps a connector and bounds each of its calls.
#[derive(Clone, Debug)]
pub struct Patient<C> {
    inner: C,
    patience: Duration,
}

impl<C> Patient<C> {
    /// Bounds `inner`.
    pub fn new(inner: C, patience: Duration) -> Self {
        Self { inner, patience }
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
        let connecting = self.inner.call(uri);
        let patience = self.patience;
        Box::pin(async move {
            match tokio::time::timeout(patience, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectTimeout(patience).into()),
            }
        })
    }
}

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no usable connection within {} ms", self.0.as_millis())
    }
}

impl Error for ConnectTimeout {}
