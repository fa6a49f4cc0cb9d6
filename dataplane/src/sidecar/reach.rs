//! Whether the gateway can be reached: asked again and again over the connections that requests use, which keeps one open
//! for the first of them.
//!
//! Any answer will do. What the gateway has to say about itself, it says to its own probes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, uri::PathAndQuery};
use http_body_util::BodyExt;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{refusal::hint, settings::GatewayUrl};
use crate::upstream::{Host, MarkedBody};

/// Where load balancers ask.
const PATH: &str = "/healthz";

/// Between checks of a gateway that answers. Shorter than a connection may be idle.
const INTERVAL: Duration = Duration::from_secs(10);

/// Before the first check after one that failed; doubled each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// For an answer on a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the last check found.
#[derive(Debug)]
pub(super) struct Reach {
    last: Mutex<Result<(), String>>,
    reachable: Gauge,
}

impl Reach {
    /// Not asked yet.
    pub fn new(reachable: Gauge) -> Self {
        Self { last: Mutex::new(Err("the gateway is being connected to".to_owned())), reachable }
    }

    /// Whether it answers, or why not.
    pub fn state(&self) -> Result<(), String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks for as long as it is polled; at once when `unreachable` says that a request failed.
    pub async fn follow(&self, gateway: GatewayUrl, host: Arc<Host>, connect: Duration, unreachable: Arc<Notify>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let found = check(&gateway, &host, connect.saturating_add(ANSWER_TIMEOUT)).await;
            host.expire();
            let is_reachable = found.is_ok();
            self.set(&gateway, found);
            if is_reachable {
                pause = FIRST_PAUSE;
                tokio::select! {
                    () = sleep(INTERVAL) => {}
                    () = unreachable.notified() => {}
                }
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }

    fn set(&self, gateway: &GatewayUrl, found: Result<(), String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == found {
            return;
        }
        match &found {
            Ok(()) => tracing::info!(%gateway, "the gateway can be reached"),
            Err(error) => tracing::warn!(%gateway, error, "the gateway cannot be reached"),
        }
        self.reachable.set(i64::from(found.is_ok()));
        *last = found;
    }
}

async fn check(gateway: &GatewayUrl, host: &Arc<Host>, within: Duration) -> Result<(), String> {
    let uri = gateway.join(PathAndQuery::from_static(PATH)).map_err(|error| error.to_string())?;
    let request = || {
        let mut request = Request::new(MarkedBody::default());
        *request.method_mut() = Method::HEAD;
        uri.clone_into(request.uri_mut());
        request
    };
    let asking = async {
        let response = host.request(request).await.map_err(|error| format!("{error}{}", hint(&error)))?;
        // Nothing follows a HEAD; the stream, or the connection, is free when that has been read.
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        Ok(())
    };
    timeout(within, asking).await.unwrap_or_else(|_| Err(format!("no answer within {} ms", within.as_millis())))
}
