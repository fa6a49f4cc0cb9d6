//! Upstreams that speak HTTP/2: limits of streams, and connections that end under a request.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use routeapi_dataplane::upstream::ConnectionLifetimes;
use routeapi_tests::{
    upstream::{Script, Upstream},
    wait,
};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, Opened, chat},
};

/// Connections that a gateway opens to one HTTP/2 upstream.
const MOST_CONNECTIONS: usize = 128;

async fn limited(streams: u32) -> Upstream {
    Upstream::builder().tls().streams(streams).start().await.unwrap()
}

/// Routes `m` and `held` to an HTTP/2 upstream, and a route `pair` that has a second one behind it.
fn routes(upstream: &Upstream, spare: &Upstream, connect: &str, first_content: &str) -> Gateway {
    let timeouts = format!("timeouts: {{connect: {connect}, firstContent: {first_content}}}");
    let manifests = Manifests::new()
        .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
        .provider_with("up", "OpenAI", upstream, "tls: {caCertificateRef: {kind: Secret, name: ca}}")
        .provider("spare", "OpenAI", spare)
        .route_with("m", &["up"], &timeouts)
        .route_with("pair", &["up", "spare"], &timeouts)
        .route_with("held", &["up"], &format!("timeouts: {{connect: {connect}}}"))
        .token();
    Gateway::start(&manifests)
}

async fn ask(gateway: &Gateway, model: &str) -> (u16, String) {
    let answer = Ask::post("/v1/chat/completions", chat(model, false)).send(gateway).await;
    (answer.status, answer.text().to_owned())
}

/// A stream that has begun and goes on for ever.
async fn hold(gateway: &Gateway) -> Opened {
    let mut opened = Ask::post("/v1/chat/completions", chat("held", true)).open(gateway).await;
    opened.until("word").await;
    opened
}

fn endless() -> Script {
    Script::new().chunks(3, "word ").delay_chunk(Duration::from_secs(600))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_limit_of_streams_are_under_way_at_once_on_further_connections() {
    let (upstream, spare) = (limited(100).await, Upstream::start(Script::new()).await);
    let gateway = routes(&upstream, &spare, "10s", "60s");
    upstream.pause();
    let asking = join_all((0..250).map(|_| ask(&gateway, "m")));
    let at_once = async {
        wait::until_true("all are with the upstream", SOON, || upstream.in_flight() == 250).await;
        upstream.resume();
    };
    let (answers, ()) = tokio::join!(asking, at_once);
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(upstream.accepted_connections(), 3);

    upstream.restart().await.unwrap();
    assert_eq!(ask(&gateway, "m").await.0, 200, "after all three were reset");
}

/// Prints how long it takes, beside what it takes where one connection carries all.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_limit_delays_no_request() {
    for streams in [1_000, 100] {
        let (upstream, spare) = (limited(streams).await, Upstream::start(Script::new()).await);
        let gateway = routes(&upstream, &spare, "10s", "60s");
        upstream.set(Script::new().delay_headers(Duration::from_secs(1)));
        for what in ["on new connections", "once more"] {
            let began = Instant::now();
            let answers = join_all((0..250).map(|_| ask(&gateway, "m"))).await;
            println!("250 requests of 1 s at {streams} streams per connection, {what}: {:?}", began.elapsed());
            assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        }
        assert_eq!(upstream.accepted_connections(), if streams == 100 { 3 } else { 1 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_stream_is_not_the_upstreams_silence_and_is_seen() {
    let (upstream, spare) = (limited(1).await, Upstream::start(Script::new()).await);
    let gateway = routes(&upstream, &spare, "30s", "1s");
    upstream.set(endless());
    let mut held = join_all((0..MOST_CONNECTIONS).map(|_| hold(&gateway))).await;
    assert_eq!(upstream.accepted_connections(), MOST_CONNECTIONS, "and not one more");
    upstream.set(Script::new());
    let release = async {
        gateway.shows("routeapi_upstream_requests_waiting 1").await;
        // Longer than an upstream may be silent.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        held.pop().unwrap().leave();
    };
    let ((status, text), ()) = tokio::join!(ask(&gateway, "m"), release);
    assert_eq!(status, 200, "{text}");
    assert_eq!(upstream.accepted_connections(), MOST_CONNECTIONS);
    gateway.shows("routeapi_upstream_requests_waiting 0").await;
    gateway.shows("routeapi_upstream_ready{route=\"apps/m\",upstream=\"up\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_too_long_for_an_http2_stream_falls_back_without_evicting() {
    let (upstream, spare) = (limited(1).await, Upstream::start(Script::new().text("spare")).await);
    let gateway = routes(&upstream, &spare, "1s", "60s");
    upstream.set(endless());
    // One after the other, so that none takes too long to connect.
    let mut held = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        held.push(hold(&gateway).await);
    }
    // More than would evict it.
    for (status, text) in join_all((0..7).map(|_| ask(&gateway, "pair"))).await {
        assert!(status == 200 && text.contains("spare"), "{text}");
    }
    let (status, text) = ask(&gateway, "m").await;
    assert!(status == 503 && text.contains("no free HTTP/2 stream within 1000 ms"), "{text}");
    let records = gateway.records(8).await;
    assert!(records.iter().all(|record| record["attempts"][0]["error"] == "no_free_stream"), "{records:#?}");
    gateway.shows("routeapi_upstream_ready{route=\"apps/m\",upstream=\"up\"} 1").await;
    upstream.set(Script::new());
    drop(held);
    wait::until_true("the streams are free", SOON, || upstream.in_flight() == 0).await;
    assert_eq!(ask(&gateway, "m").await.0, 200);
}

#[tokio::test]
async fn connections_without_a_request_are_closed_after_their_time() {
    let (one, other) = (limited(100).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .secret("ca", &[("ca.crt", one.ca_pem().unwrap())])
        .provider_with("one", "OpenAI", &one, "tls: {caCertificateRef: {kind: Secret, name: ca}}")
        .provider("other", "OpenAI", &other)
        .route("h2", &["one"])
        .route("h1", &["other"])
        .token();
    let lifetimes = ConnectionLifetimes { idle: Duration::from_millis(300), max_age: None };
    let gateway = Gateway::start_keeping(&manifests, lifetimes);
    for _ in 0..2 {
        assert_eq!((ask(&gateway, "h2").await.0, ask(&gateway, "h1").await.0), (200, 200));
        gateway.shows("routeapi_upstream_connections_open 0").await;
        wait::until_true("they are closed", SOON, || one.open_connections() + other.open_connections() == 0).await;
    }
    assert_eq!((one.accepted_connections(), other.accepted_connections()), (2, 2));
}

#[tokio::test]
async fn a_refused_stream_costs_nothing_and_counts_against_nobody() {
    let (upstream, spare) = (limited(100).await, Upstream::start(Script::new().text("spare")).await);
    let gateway = routes(&upstream, &spare, "10s", "60s");
    for _ in 0..7 {
        upstream.enqueue(Script::refused());
        let (status, text) = ask(&gateway, "m").await;
        assert_eq!(status, 200, "{text}");
    }
    let records = gateway.records(7).await;
    assert!(records.iter().all(|record| record["attempts"].as_array().unwrap().len() == 1), "{records:#?}");
    assert_eq!(upstream.received().len(), 14);
    gateway.shows("routeapi_upstream_requests_repeated_total 7").await;

    // Refused again and again: the next upstream serves, and this one is not evicted.
    upstream.set(Script::refused());
    for _ in 0..7 {
        let (status, text) = ask(&gateway, "pair").await;
        assert!(status == 200 && text.contains("spare"), "{text}");
    }
    assert_eq!(upstream.received().len(), 28, "twice each");
    gateway.shows("routeapi_upstream_ready{route=\"apps/m\",upstream=\"up\"} 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_whose_connections_end_in_order_loses_no_request() {
    let (upstream, spare) = (limited(100).await, Upstream::start(Script::new()).await);
    let gateway = routes(&upstream, &spare, "10s", "60s");
    for _ in 0..10 {
        let asking = join_all((0..20).map(|_| ask(&gateway, "m")));
        let leaving = async {
            wait::until_true("a request is under way", SOON, || {
                upstream.in_flight() > 0 || upstream.received().len() >= 20
            })
            .await;
            upstream.go_away();
        };
        let (answers, ()) = tokio::join!(asking, leaving);
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        upstream.clear();
        // One GOAWAY for each request at most: a request goes out once more, not for ever.
        upstream.go_away();
        gateway.shows("routeapi_upstream_connections_open 0").await;
    }
    let records = gateway.records(200).await;
    assert!(records.iter().all(|record| record["attempts"].as_array().unwrap().len() == 1));
    assert!(upstream.accepted_connections() >= 2, "a connection was replaced");
}
