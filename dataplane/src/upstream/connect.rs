//! A connector with a timeout: name lookup, TCP, a proxy's tunnel and TLS together within one bound.

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

use super::proxies::EgressChoice;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The connection was not usable within its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTimeout {
    /// How long that is.
    pub timeout: Duration,
    /// The egress proxy that it was to go through.
    pub proxy: Option<String>,
}

/// Wraps a connector and bounds each of its calls.
#[derive(Clone, Debug)]
pub struct TimeoutConnector<C> {
    inner: C,
    timeout: Duration,
    egress_choice: EgressChoice,
}

impl<C> TimeoutConnector<C> {
    /// Bounds `inner`, which goes these ways.
    pub fn new(inner: C, timeout: Duration, egress_choice: EgressChoice) -> Self {
        Self { inner, timeout, egress_choice }
    }
}

impl<C> Service<Uri> for TimeoutConnector<C>
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
        let (timeout, egress_choice) = (self.timeout, self.egress_choice.clone());
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => {
                    let proxy = egress_choice.find(&uri).map(|(proxy, _)| proxy.to_string());
                    Err(ConnectTimeout { timeout, proxy }.into())
                }
            }
        })
    }
}

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no usable connection within {} ms", self.timeout.as_millis())?;
        match &self.proxy {
            Some(proxy) => write!(out, " through the egress proxy {proxy}"),
            None => Ok(()),
        }
    }
}

impl Error for ConnectTimeout {}
