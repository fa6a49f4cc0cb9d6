//! Equals share the load as their route says, and what each is doing can be seen.

use std::time::Duration;

use routeapi_tests::{
    upstream::{Script, Upstream},
    wait,
};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, Opened, chat},
};

/// Two upstreams of one priority.
async fn equals(how: &str) -> (Upstream, Upstream, Gateway) {
    let (one, other) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider("one", "OpenAI", &one)
        .provider("other", "OpenAI", &other)
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: m, namespace: apps}}\n\
             spec: {{model: m, loadBalancer: {{type: {how}}}, upstreams: [{{name: one, providerRef: {{name: one}}, model: a}}, \
             {{name: other, providerRef: {{name: other}}, model: b}}]}}"
        ))
        .token();
    (one, other, Gateway::start(&manifests))
}

async fn stream(gateway: &Gateway) -> Opened {
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(gateway).await;
    opened.until("word").await;
    opened
}

#[tokio::test]
async fn requests_in_flight_are_shared_evenly() {
    let (one, other, gateway) = equals("LeastRequest").await;
    let script = Script::new().chunks(3, "word ").delay_chunk(Duration::from_secs(600));
    one.set(script.clone());
    other.set(script);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(stream(&gateway).await);
    }
    assert_eq!((one.received().len(), other.received().len()), (5, 5));
    gateway.shows("routeapi_upstream_in_flight{route=\"apps/m\",upstream=\"one\"} 5").await;
    drop(held);
    gateway.shows("routeapi_upstream_in_flight{route=\"apps/m\",upstream=\"other\"} 0").await;
}

#[tokio::test]
async fn a_slow_upstream_gets_next_to_nothing() {
    let (one, other, gateway) = equals("LowestLatency").await;
    one.set(Script::new().delay_headers(Duration::from_secs(3)));
    for _ in 0..40 {
        assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
    }
    let (slow, fast) = (one.received().len(), other.received().len());
    println!("an upstream that takes 3 s longer got {slow} of 40 requests, the other {fast}");
    assert!(slow <= 2, "{slow} and {fast}");
}

#[tokio::test]
async fn the_state_of_each_upstream_can_be_seen() {
    let (one, other, gateway) = equals("Weighted").await;
    one.set(Script::rate_limited(60));
    other.set(Script::failing(500));
    for _ in 0..8 {
        Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    }
    gateway.shows("routeapi_upstream_ready{route=\"apps/m\",upstream=\"one\"} 0").await;
    let page = Ask::get("/metrics").open_at(gateway.admin()).await.read().await;
    let left = "routeapi_upstream_left_out_seconds{route=\"apps/m\",upstream=\"one\",reason=\"cooling_down\"} ";
    let (_, seconds) = page.text().split_once(left).unwrap_or_else(|| panic!("{}", page.text()));
    let seconds: f64 = seconds.lines().next().unwrap().parse().unwrap();
    assert!(seconds > 0.0 && seconds <= 60.0, "{seconds}");
    let look = || async {
        let page = Ask::get("/config").open_at(gateway.admin()).await.read().await.json();
        let upstreams = page["upstreams"]["apps/m"].clone();
        (upstreams["one"]["state"] == "cooling_down").then_some(upstreams)
    };
    let (upstreams, _) = wait::until("the state is shown", SOON, look).await;
    assert!(upstreams["one"]["untilUnixMs"].as_i64() > Some(0) && upstreams["one"]["inFlight"] == 0, "{upstreams:#}");
    // One tenant's failures leave it out for that tenant alone.
    assert_eq!(upstreams["other"]["state"], "ready", "{upstreams:#}");
    assert_eq!(upstreams["other"]["byNamespace"]["apps"]["state"], "evicted", "{upstreams:#}");
    assert!(
        upstreams["other"]["expectedFirstContentMs"].as_u64() > Some(4_000),
        "a failure is not fast: {upstreams:#}"
    );
}
