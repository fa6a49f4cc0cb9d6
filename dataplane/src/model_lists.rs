//! Keeps the model lists of providers fresh whose models clients see: those behind a listed route with a prefix (`gpt-*`).
//!
//! Only the gateway asks, in the background and a few times an hour. A provider that gives no list costs nobody anything:
//! what it said last stays, and its health is not touched.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use routeapi_protocol::{
    dialect::{Family, Operation},
    framing::Framing,
    host::{Asked, Host},
    models::offered::{self, OfferedModel},
};
use tokio::time::{sleep, timeout};

use crate::{
    clock,
    config::{
        runtime::{Provider, Runtime, Upstream},
        store::Store,
    },
};

/// How often it is looked whether a list is due. Also how long a new provider's models may be missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for one list.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest list, in bytes: OpenRouter's of 400 models has about 500 KiB.
const MAX_LIST_BYTES: usize = 4 << 20;
/// Lists that are read at once.
const CONCURRENCY: usize = 4;

/// Keeps the lists fresh for as long as it is polled.
pub async fn follow(store: Arc<Store>) {
    loop {
        let runtime = store.current();
        stream::iter(due(&runtime)).for_each_concurrent(CONCURRENCY, refresh).await;
        drop(runtime);
        sleep(LOOK_INTERVAL).await;
    }
}

/// One upstream of each provider whose list is due.
fn due(runtime: &Runtime) -> Vec<Arc<Upstream>> {
    let now = clock::mono();
    let routes = runtime.routes().filter(|route| route.shows_offered_models());
    let upstreams = routes.flat_map(|route| route.upstreams.iter().filter(|upstream| upstream.passes_models_on()));
    // Whose credential comes with each request gives no list to anyone else.
    let upstreams = upstreams.filter(|upstream| !upstream.provider.takes_client_credential);
    upstreams.filter(|upstream| upstream.provider.offered_models.begin(now)).cloned().collect()
}

async fn refresh(upstream: Arc<Upstream>) {
    let provider = &upstream.provider;
    match timeout(FETCH_TIMEOUT, fetch(&upstream)).await {
        Ok(Ok(models)) => provider.offered_models.listed(models, clock::mono(), fastrand::u32(..=1000)),
        Ok(Err(why)) => tracing::debug!(provider = %provider.id, why, "no model list"),
        Err(_elapsed) => tracing::debug!(provider = %provider.id, why = "no answer in time", "no model list"),
    }
}

async fn fetch(upstream: &Upstream) -> Result<Vec<OfferedModel>, String> {
    let family = upstream.provider.family;
    let headers = headers(&upstream.provider);
    let asking = upstream.client.fetch(offered::path(family), &headers);
    let Some(response) = asking.await.map_err(|error| error.to_string())? else { return Ok(Vec::new()) };
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status().as_u16()));
    }
    #[expect(clippy::disallowed_methods, reason = "what is collected is limited")]
    let body = Limited::new(response.into_body(), MAX_LIST_BYTES).collect().await;
    let body: Bytes = body.map_err(|error| error.to_string())?.to_bytes();
    offered::read(family, &body).ok_or_else(|| "it is not a model list".to_owned())
}

/// What the family asks for in every request.
fn headers(provider: &Provider) -> Vec<(HeaderName, HeaderValue)> {
    if provider.family != Family::Anthropic {
        return Vec::new();
    }
    let asked = Asked {
        operation: Operation::Messages,
        model: "",
        framing: Framing::Whole,
        query: None,
        head: None,
        surface: None,
    };
    let place = Host::Vendor.place(&asked).map(|place| place.headers).unwrap_or_default();
    let header = |(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?));
    place.into_iter().filter_map(header).collect()
}
