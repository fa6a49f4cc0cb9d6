use std::{
    pin::Pin,
    sync::Mutex,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use http_body::Frame;
use http_body_util::{BodyExt, Full};
use prometheus_client::registry::Registry;
use routeapi_channel::{Catalog, ObjectId, Snapshot, token_format};
use routeapi_metering::Share;
use routeapi_protocol::stored::StoredKind;
use serde_json::json;

use super::*;
use crate::{
    config::{
        compile,
        store::{Link, Store},
    },
    server::Drain,
    state::SharedState,
    telemetry::{Metrics, RecordSink, RequestRecord},
    upstream::{AddressPolicy, Authorization, Source},
};

#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<Arc<RequestRecord>>>);

impl RecordSink for Kept {
    fn record(&self, record: &Arc<RequestRecord>) {
        self.0.lock().unwrap().push(Arc::clone(record));
    }
}

/// A gateway whose model `m` is served by Echo, open to the token `sk-test`.
pub(super) fn gateway() -> (Arc<Gateway>, Arc<Kept>) {
    gateway_with("10s")
}

/// The same with another time for the whole request.
fn gateway_with(request: &str) -> (Arc<Gateway>, Arc<Kept>) {
    let echo = json!({"type": "Echo", "baseUrl": "", "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
    gateway_of(&echo, "5s", request)
}

/// The same with another provider, and a time until its first content.
fn gateway_of(provider: &serde_json::Value, first_content: &str, request: &str) -> (Arc<Gateway>, Arc<Kept>) {
    let snapshot: Snapshot = serde_json::from_value(json!({
        "providers": {"a/up": provider},
        "routes": {"a/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": [{"name": "up", "provider": "a/up", "priority": 0, "weight": 1,
                "timeouts": {"connect": "1s", "firstContent": first_content, "streamIdle": "5s", "request": request}}],
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"},
        }},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": token_format::sha256("sk-test")}], "models": ["*"]}},
    }))
    .unwrap();
    gateway_from(&snapshot)
}

fn gateway_from(snapshot: &Snapshot) -> (Arc<Gateway>, Arc<Kept>) {
    let state = SharedState::new(AddressPolicy::Workstation);
    let revision = Catalog::of(snapshot).unwrap().revision();
    let (runtime, changes, refused) = compile::compile(snapshot, &revision, state.view(), Share::default());
    assert!(refused.is_empty(), "{refused:?}");
    changes.apply(&state);
    let kept = Arc::new(Kept::default());
    let gateway = Gateway {
        config: Arc::new(Store::new(runtime, Link::Local)),
        metrics: Arc::new(Metrics::new(&mut Registry::default(), Arc::default())),
        records: Arc::clone(&kept) as Arc<dyn RecordSink>,
        drain: Drain::new(),
        offload: Offload::default(),
        deliveries: Deliveries::default(),
        stored_ids: Arc::default(),
        service_accounts: Arc::default(),
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
async fn panic_is_a_500_with_a_record() {
    let (gateway, kept) = gateway();
    let response = handle(&gateway, peer(), request(Panicking)).await;
    assert_eq!(response.status(), 500);
    let mut body = response.into_body();
    let body = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(body.starts_with(b"{\"error\":{\"message\":\"the gateway failed"), "{body:?}");
    let records = kept.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].usage.error.as_deref(), records[0].usage.status), (Some("panic"), 500));
    assert_eq!((gateway.metrics.panics().get(), gateway.metrics.in_flight()), (1, 0));
}

#[tokio::test]
async fn dropped_request_is_recorded_once() {
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

/// A stream and a whole answer of Echo, and a gateway that gives up on clients after so long.
async fn unpulled(client_write: Duration, request: &str) -> (Arc<Gateway>, Arc<Kept>, Vec<Response<ResponseBody>>) {
    let (gateway, kept) = gateway_with(request);
    let mut gateway = Arc::into_inner(gateway).unwrap();
    gateway.settings.client_write = client_write;
    let gateway = Arc::new(gateway);
    tokio::spawn(end_overdue(Arc::clone(&gateway)));
    let mut responses = Vec::new();
    for stream in [true, false] {
        let body = format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"x"}}]}}"#);
        let response = handle(&gateway, peer(), self::request(Full::new(Bytes::from(body)))).await;
        assert_eq!(response.status(), 200);
        responses.push(response);
    }
    assert_eq!(gateway.metrics.in_flight(), 2);
    (gateway, kept, responses)
}

/// All of an answer; none if it breaks off.
async fn read(response: Response<ResponseBody>) -> Option<String> {
    let (mut body, mut text) = (response.into_body(), String::new());
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.ok()?.into_data().unwrap()).unwrap());
    }
    Some(text)
}

async fn all_ended(gateway: &Gateway) {
    while gateway.metrics.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn unpolled_answer_ends_after_the_client_write_timeout() {
    let (gateway, kept, responses) = unpulled(Duration::from_millis(40), "10s").await;
    all_ended(&gateway).await;
    let ends: Vec<_> =
        kept.0.lock().unwrap().iter().map(|record| (record.usage.outcome, record.usage.error.clone())).collect();
    let stalled = (routeapi_metering::Outcome::ClientCancelled, Some("client_stalled".into()));
    assert_eq!(ends, [stalled.clone(), stalled]);
    for response in responses {
        assert!(read(response).await.is_none(), "nobody takes it for finished");
    }
}

#[tokio::test]
async fn unpolled_answer_ends_at_the_request_deadline() {
    let (gateway, kept, responses) = unpulled(Duration::from_secs(60), "500ms").await;
    all_ended(&gateway).await;
    let ends: Vec<_> =
        kept.0.lock().unwrap().iter().map(|record| (record.usage.outcome, record.usage.error.clone())).collect();
    let late = (routeapi_metering::Outcome::GatewayStopped, Some("request_timeout".into()));
    assert_eq!(ends, [late.clone(), late]);
    let [stream, whole] = <[_; 2]>::try_from(responses).unwrap_or_else(|_| panic!("two answers"));
    let stream = read(stream).await.expect("it ends well");
    assert!(stream.contains("longer than its route allows") && !stream.contains("[DONE]"), "{stream}");
    assert!(read(whole).await.is_none(), "a whole answer has no place for an error");
}

#[tokio::test]
async fn whole_answer_holds_its_memory_until_the_last_piece_is_dropped() {
    let (gateway, kept) = gateway();
    let text = "x".repeat(300 << 10);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let mut body = handle(&gateway, peer(), request(Full::new(Bytes::from(body)))).await.into_body();
    let length = body.size_hint().exact().unwrap();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.push(frame.unwrap().into_data().unwrap());
    }
    assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 64 << 10), "{}", pieces.len());
    assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), length);
    assert_eq!(kept.0.lock().unwrap()[0].usage.outcome, routeapi_metering::Outcome::Completed);
    pieces.truncate(1);
    assert!(gateway.metrics.buffered().get() > 0, "the first piece still holds all of it");
    drop(pieces);
    assert_eq!(gateway.metrics.buffered().get(), 0);
}

/// A gateway whose model `m` leads to an upstream that takes requests and never answers, for so long; one failure evicts
/// it. Heartbeats come after 10 ms.
async fn silent_gateway(first_content: &str) -> (Arc<Gateway>, Arc<Kept>, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (gateway, kept) = gateway_of(
        &json!({
            "type": "OpenAI", "baseUrl": format!("http://{}/v1", listener.local_addr().unwrap()),
            "endpoints": ["ChatCompletions"], "eviction": {"consecutiveFailures": 1, "duration": "1h"},
        }),
        first_content,
        "1h",
    );
    let mut gateway = Arc::into_inner(gateway).unwrap();
    gateway.settings.heartbeat = Some(Duration::from_millis(10));
    (Arc::new(gateway), kept, listener)
}

fn is_ready(gateway: &Gateway) -> bool {
    let runtime = gateway.config.current();
    let health = &runtime.route("a", "m").unwrap().upstreams[0].health;
    health.availability(clock::mono(), "a") == crate::state::Availability::Ready
}

const STREAM: &[u8] = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#;

#[tokio::test]
async fn stalled_client_does_not_count_against_the_upstream() {
    for (pulls, evicted) in [(true, true), (false, false)] {
        let (gateway, kept, listener) = silent_gateway("200ms").await;
        let response = handle(&gateway, peer(), request(Full::new(Bytes::from_static(STREAM)))).await;
        assert_eq!(response.status(), 200, "the head goes out before an answer");
        let (_held, _) = listener.accept().await.unwrap();
        if !pulls {
            // Until it counts as late, which is a second.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let text = read(response).await.expect("it ends well");
        assert!(text.contains("no content within 200ms"), "{text}");
        assert_eq!(is_ready(&gateway), !evicted, "pulls: {pulls}");
        let records = kept.0.lock().unwrap();
        assert_eq!(records[0].usage.error.as_deref(), Some("first_content_timeout"));
        assert_eq!((records[0].usage.status, records[0].response_bytes), (200, text.len() as u64));
    }
}

#[tokio::test]
async fn stalled_client_is_dropped_while_waiting() {
    let (gateway, kept, _listener) = silent_gateway("1h").await;
    let mut gateway = Arc::into_inner(gateway).unwrap();
    gateway.settings.client_write = Duration::from_millis(40);
    let gateway = Arc::new(gateway);
    tokio::spawn(end_overdue(Arc::clone(&gateway)));
    let response = handle(&gateway, peer(), request(Full::new(Bytes::from_static(STREAM)))).await;
    all_ended(&gateway).await;
    let end = kept.0.lock().unwrap().first().map(|record| (record.usage.status, record.usage.error.clone()));
    assert_eq!(end, Some((200, Some("client_stalled".into()))));
    assert!(read(response).await.is_none(), "nobody takes it for finished");
}

/// What a stream costs while it waits, beside its connections and its request's body.
#[tokio::test]
async fn waiting_body_is_small() {
    let (gateway, _kept, _listener) = silent_gateway("1h").await;
    let runtime = gateway.config.current();
    let guard = Guard::new(&gateway, Context::read(clock::now(), peer(), &request(())), Client::default());
    let (head, ()) = request(()).into_parts();
    let caller = identify::identify(&runtime, &gateway.service_accounts, &head, clock::now()).unwrap();
    let mut view = ConfigView::new(Arc::clone(&runtime), caller);
    let matched = routeapi_protocol::inbound::route("POST", "/v1/chat/completions", None).unwrap();
    let Inbound::Call(matched) = matched else { panic!("a call") };
    let body = Full::new(Bytes::from_static(STREAM));
    let read = read::read(matched, &head, body, &gateway, &mut view).await.unwrap();
    let route = runtime.route("a", "m").unwrap();
    let token = Arc::clone(&view.caller().token);
    let plan = plan::plan(route, (("m", read.needs), None), &token, ("a", None), guard.context()).unwrap();
    let planned = PlannedRequest { plan, read, client_headers: head.headers, view };
    let size = Attempts::begin(planned, guard).size();
    println!("attempts that are waited for: {size} bytes");
    assert!(size <= 8_192, "{size} bytes");
}

/// What a connection keeps room for while it is idle or an answer streams.
#[tokio::test]
async fn request_future_is_small() {
    let (gateway, _kept) = gateway();
    let future = handle(&gateway, peer(), request(Full::new(Bytes::new())));
    let size = size_of_val(&future);
    assert!(size <= 2_048, "{size} bytes");
}

/// A gateway whose model `m` is served by an upstream that listens here, and by Echo if that fails.
async fn gateway_with_fallback() -> (Arc<Gateway>, Arc<Kept>, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (timeouts, eviction) = (
        json!({"connect": "1s", "firstContent": "5s", "streamIdle": "5s", "request": "10s"}),
        json!({"consecutiveFailures": 1, "duration": "1h"}),
    );
    let snapshot = json!({
        "providers": {
            "a/up": {"type": "OpenAI", "baseUrl": format!("http://{}/v1", listener.local_addr().unwrap()),
                "credential": {"apiKey": "k"}, "endpoints": ["ChatCompletions"], "eviction": eviction},
            "a/echo": {"type": "Echo", "baseUrl": "", "eviction": eviction},
        },
        "routes": {"a/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": [
                {"name": "up", "provider": "a/up", "priority": 0, "weight": 1, "timeouts": timeouts},
                {"name": "echo", "provider": "a/echo", "priority": 1, "weight": 1, "timeouts": timeouts},
            ],
            "fallback": {"conditions": [], "maxAttempts": 3, "maxRetryAfter": "1s"},
        }},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": token_format::sha256("sk-test")}], "models": ["*"]}},
    });
    let (gateway, kept) = gateway_from(&serde_json::from_value(snapshot).unwrap());
    (gateway, kept, listener)
}

#[tokio::test]
async fn expired_credentials_send_nothing_and_trigger_fallback_without_blame() {
    let (gateway, kept, listener) = gateway_with_fallback().await;
    let runtime = gateway.config.current();
    let credentials = runtime.route("a", "m").unwrap().upstreams[0].client.credentials().unwrap();
    let (name, value) = (http::header::AUTHORIZATION, http::HeaderValue::from_static("Bearer t"));
    credentials.configure(Source::Fixed(Authorization::Header { name, value, expires: Some(1) }));
    let response = handle(&gateway, peer(), request(Full::new(Bytes::from_static(STREAM)))).await;
    assert_eq!(response.status(), 200);
    assert!(read(response).await.is_some());
    let record = Arc::clone(&kept.0.lock().unwrap()[0]);
    let attempts: Vec<_> =
        record.usage.attempts.iter().map(|one| (one.upstream.as_str(), one.error.as_deref())).collect();
    assert_eq!(attempts, [("up", Some("stale_credentials")), ("echo", None)]);
    assert_eq!(record.usage.attempts[0].usage_source, routeapi_metering::UsageSource::None);
    assert!(is_ready(&gateway));
    let (stream, _) = listener.accept().await.unwrap();
    assert_eq!(stream.try_read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nothing was sent");
}

#[tokio::test]
async fn what_is_stored_is_found_where_nothing_new_goes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let timeouts = json!({"connect": "1s", "firstContent": "5s", "streamIdle": "5s", "request": "10s"});
    let snapshot = json!({
        "providers": {"a/up": {"type": "OpenAI", "baseUrl": url, "endpoints": ["Responses"],
            "eviction": {"consecutiveFailures": 5, "duration": "30s"}}},
        "routes": {"a/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": [{"name": "up", "provider": "a/up", "priority": 0, "weight": 0, "timeouts": timeouts}],
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"},
        }},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": token_format::sha256("sk-test")}], "models": ["*"]}},
    });
    let (gateway, _kept) = gateway_from(&serde_json::from_value(snapshot).unwrap());
    let whose = (&ObjectId::new("a", "t"), &ObjectId::new("a", "up"));
    let id = gateway.stored_ids.issue(whose, "m", (StoredKind::Response, "resp_1")).unwrap();
    let read = Request::get(format!("/v1/responses/{id}")).header("authorization", "Bearer sk-test");
    let closes_connections = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    let answer = tokio::select! {
        answer = handle(&gateway, peer(), read.body(Full::new(Bytes::new())).unwrap()) => answer,
        () = closes_connections => unreachable!("it never ends"),
    };
    assert_eq!(answer.status(), 502, "its upstream was asked");
    let new = handle(&gateway, peer(), request(Full::new(Bytes::from_static(STREAM)))).await;
    assert_eq!(new.status(), 503, "a new request has nowhere to go");
}
