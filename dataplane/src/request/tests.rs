use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll},
};

use http_body::Frame;
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry;
use routeapi_channel::{Catalog, Snapshot, token_format};
use routeapi_metering::Share;
use serde_json::json;

use super::*;
use crate::{
    config::{compile, store::Link},
    live::Live,
    telemetry::RequestRecord,
    upstream::AddressPolicy,
};

#[derive(Default)]
struct Kept(Mutex<Vec<Arc<RequestRecord>>>);

impl RecordSink for Kept {
    fn record(&self, record: &Arc<RequestRecord>) {
        self.0.lock().unwrap().push(Arc::clone(record));
    }
}

/// A gateway whose model `m` is served by Echo, open to the token `sk-test`.
fn gateway() -> (Arc<Gateway>, Arc<Kept>) {
    let snapshot: Snapshot = serde_json::from_value(json!({
        "providers": {"a/echo": {"type": "Echo", "baseUrl": "", "eviction": {"consecutiveFailures": 5, "duration": "30s"}}},
        "routes": {"a/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": [{"name": "echo", "provider": "a/echo", "priority": 0, "weight": 1,
                "timeouts": {"connect": "1s", "firstContent": "5s", "streamIdle": "5s", "request": "10s"}}],
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"},
        }},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": token_format::sha256("sk-test")}], "models": ["*"]}},
    }))
    .unwrap();
    let live = Live::new(AddressPolicy::Workstation);
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let (runtime, refused) = compile::compile(&snapshot, &revision, &live, Share::default());
    assert!(refused.is_empty(), "{refused:?}");
    let kept = Arc::new(Kept::default());
    let gateway = Gateway {
        config: Arc::new(Store::new(runtime, Link::Local)),
        metrics: Arc::new(Metrics::new(&mut Registry::default())),
        records: Arc::clone(&kept) as Arc<dyn RecordSink>,
        drain: Drain::new(),
        settings: RequestSettings::default(),
    };
    (Arc::new(gateway), kept)
}

fn request<B>(body: B) -> Request<B> {
    Request::post("/v1/chat/completions").header("authorization", "Bearer sk-test").body(body).unwrap()
}

fn peer() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

struct Panicking;

impl Body for Panicking {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_panic_is_a_500_with_a_record() {
    let (gateway, kept) = gateway();
    let response = handle(&gateway, peer(), request(Panicking)).await;
    assert_eq!(response.status(), 500);
    let mut body = response.into_body();
    let body = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(body.starts_with(b"{\"error\":{\"message\":\"the gateway failed"), "{body:?}");
    let records = kept.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].usage.error, records[0].usage.status), (Some("panic"), 500));
    assert_eq!((gateway.metrics.panics().get(), gateway.metrics.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_dropped_request_is_settled_once() {
    let (gateway, kept) = gateway();
    let body =
        Full::new(Bytes::from_static(br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#));
    let response = handle(&gateway, peer(), request(body)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(gateway.metrics.in_flight(), 1);
    assert!(kept.0.lock().unwrap().is_empty());
    drop(response);
    assert_eq!(gateway.metrics.in_flight(), 0);
    let records = kept.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].usage.outcome, routeapi_metering::Outcome::ClientCancelled);
}

/// What a connection keeps room for while it is idle or an answer streams.
#[tokio::test]
async fn the_future_of_a_request_is_small() {
    let (gateway, _kept) = gateway();
    let future = handle(&gateway, peer(), request(Full::new(Bytes::new())));
    let size = size_of_val(&future);
    assert!(size <= 2_048, "{size} bytes");
}
