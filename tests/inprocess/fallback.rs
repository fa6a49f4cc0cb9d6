//! The failing request itself is saved, as long as nothing of an answer has gone out.

use std::time::{Duration, Instant};

use routeapi_tests::upstream::{CutAt, CutHow, Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, chat, dialects},
};

async fn two(more: &str) -> (Upstream, Upstream, Gateway) {
    let first = Upstream::start(Script::new()).await;
    let second = Upstream::start(Script::new().text("saved by the second")).await;
    let manifests = Manifests::new()
        .provider("first", "OpenAI", &first)
        .provider("second", "OpenAI", &second)
        .route_with("m", &["first", "second"], more)
        .token();
    let gateway = Gateway::start(&manifests);
    (first, second, gateway)
}

/// Everything that can go wrong before content, with its word in the record.
fn failures() -> Vec<(&'static str, Script)> {
    vec![
        ("server_error", Script::failing(500)),
        ("overloaded", Script::failing(503)),
        ("server_error", Script::html_502()),
        ("rate_limited", Script::rate_limited(60)),
        ("first_content_timeout", Script::silent()),
        ("unreadable_answer", Script::new().header("content-encoding", "zstd")),
        ("connection_closed", Script::new().cut(CutAt::Bytes(0), CutHow::Reset)),
    ]
}

#[tokio::test]
async fn every_failure_before_content_is_made_good() {
    for stream in [false, true] {
        for (word, script) in failures() {
            let (first, second, gateway) = two("timeouts: {firstContent: 200ms}").await;
            first.set(script.clone());
            let answer = Ask::post("/v1/chat/completions", chat("m", stream)).send(&gateway).await;
            assert_eq!(answer.status, 200, "{word}: {}", answer.text());
            assert!(answer.text().contains("second"), "{word}: {}", answer.text());
            assert_eq!((first.received().len(), second.received().len()), (1, 1), "{word}");
            let record = gateway.record().await;
            let attempts = record["attempts"].as_array().unwrap();
            assert_eq!(attempts.len(), 2, "{record:#}");
            // A body cut at its first byte has had its head already or not, as the network likes.
            if word != "connection_closed" {
                assert_eq!(attempts[0]["error"], word, "{record:#}");
            }
            assert_eq!(
                (attempts[1]["upstream"].as_str(), &attempts[1]["error"]),
                (Some("second"), &serde_json::Value::Null)
            );
            assert_eq!(record["outcome"], "completed");
        }
    }
}

#[tokio::test]
async fn silence_roles_and_heartbeats_are_not_content() {
    let cases = [
        Script::new().only_heartbeats(),
        Script::new().stall_after(0),
        Script::new().error_after(0),
        Script::new().cut(CutAt::Events(1), CutHow::Close),
        Script::new().cut(CutAt::Events(1), CutHow::End),
    ];
    for script in cases {
        let (first, _second, gateway) = two("timeouts: {firstContent: 300ms}").await;
        first.set(script.clone());
        let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{script:?}");
        assert!(answer.text().contains("second"), "{script:?}: {}", answer.text());
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{script:?}");
    }
}

#[tokio::test]
async fn a_killed_upstream_costs_no_request() {
    let (first, _second, gateway) = two("").await;
    first.kill();
    for (path, body) in dialects("m", true) {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let records = gateway.records(3).await;
    assert!(records.iter().all(|record| record["attempts"][0]["error"] == "connect_failed"), "{records:#?}");
}

#[tokio::test]
async fn a_rate_limited_upstream_is_left_alone_for_as_long_as_it_asked() {
    let (first, second, gateway) = two("").await;
    first.set(Script::rate_limited(60));
    for _ in 0..5 {
        assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
    }
    assert_eq!((first.received().len(), second.received().len()), (1, 5));
}

#[tokio::test]
async fn a_short_pause_of_the_last_upstream_is_waited_for() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("only", "OpenAI", &upstream).route("m", &["only"]).token();
    let gateway = Gateway::start(&manifests);
    upstream.enqueue(Script::rate_limited(1));
    let began = Instant::now();
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(gateway.record().await["attempts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_long_pause_is_passed_on() {
    let upstream = Upstream::start(Script::rate_limited(30)).await;
    let manifests = Manifests::new().provider("only", "OpenAI", &upstream).route("m", &["only"]).token();
    let gateway = Gateway::start(&manifests);
    let first = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((first.status, first.header("retry-after")), (429, Some("30")));
    let second = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(second.status, 429);
    let wait: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!((28..=30).contains(&wait), "{wait}");
    assert_eq!(upstream.received().len(), 1, "the second request did not go out");
}

/// SDKs of OpenAI and Anthropic repeat a call that failed twice by themselves, unless they are told that it is of no use.
#[tokio::test]
async fn x_should_retry_is_false_once_every_upstream_has_failed() {
    let (first, second, gateway) = two("").await;
    let ask = |path: &str, body: &str| Ask::post(path, body.to_owned()).send(&gateway);
    for (path, body) in dialects("m", false) {
        first.set(Script::failing(500));
        second.set(Script::failing(500).header("x-should-retry", "true"));
        let answer = ask(&path, &body).await;
        assert_eq!((answer.status, answer.header("x-should-retry")), (500, Some("false")), "{path}");
        // The client's own mistake is not repeated anyway.
        first.set(Script::failing(400));
        assert_eq!(ask(&path, &body).await.header("x-should-retry"), None, "{path}");
    }
    first.set(Script::failing(500));
    second.set(Script::rate_limited(30));
    let answer = ask("/v1/chat/completions", &chat("m", false)).await;
    let told = (answer.status, answer.header("retry-after"), answer.header("x-should-retry"));
    assert_eq!(told, (429, Some("30"), None), "the wait is for the client to honour");
}

#[tokio::test]
async fn x_should_retry_is_left_out_if_the_gateway_did_not_retry() {
    let upstream = Upstream::start(Script::failing(500)).await;
    let gateway = Gateway::start(&Manifests::new().provider("only", "OpenAI", &upstream).route("m", &["only"]).token());
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-should-retry")), (500, None));
    upstream.set(Script::silent());
    let manifests = Manifests::new().provider("only", "OpenAI", &upstream);
    let late = manifests.route_with("m", &["only"], "timeouts: {firstContent: 100ms, request: 100ms}").token();
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&Gateway::start(&late)).await;
    assert_eq!((answer.status, answer.header("x-should-retry")), (504, Some("false")), "the whole time is used up");
}

#[tokio::test]
async fn an_illegal_request_is_not_tried_again() {
    let (first, second, gateway) = two("").await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":9}"#;
    let answer = Ask::post("/v1/chat/completions", body).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!((first.received().len(), second.received().len()), (1, 0));
    assert_eq!(gateway.record().await["outcome"], "completed");
}

/// Whatever a client writes, an upstream that serves others stays in.
#[tokio::test]
async fn nothing_that_a_client_writes_evicts_an_upstream() {
    let upstream = Upstream::start(Script::new().text("still here")).await;
    for kind in ["Gemini", "OpenAI"] {
        let manifests = Manifests::new()
            .provider_with("up", kind, &upstream, "eviction: {consecutiveFailures: 1, duration: 1h}")
            .with(
                "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: any, namespace: apps}\n\
                 spec: {model: \"*\", upstreams: [{name: up, providerRef: {name: up}}]}",
            )
            .token();
        let gateway = Gateway::start(&manifests);
        let models = ["é".repeat(11_500), "x".repeat(70_000), "a/../b".to_owned(), "?x=".to_owned()];
        for (at, model) in models.iter().enumerate() {
            let answer = Ask::post("/v1/chat/completions", chat(model, false)).send(&gateway).await;
            let of_a_url = kind == "Gemini" && at < 2;
            assert!(
                if of_a_url { answer.status == 400 } else { answer.status < 500 },
                "{kind} {at}: {}",
                answer.text()
            );
        }
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        let record = gateway.records(models.len() + 1).await.pop().unwrap();
        assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{kind}: {record:#}");
    }
}

#[tokio::test]
async fn only_the_routes_conditions_trigger_fallback() {
    let (first, second, gateway) = two("fallback: {conditions: [ConnectFailure]}").await;
    first.set(Script::failing(500));
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 500);
    assert_eq!(second.received().len(), 0);
    first.kill();
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn max_attempts_bounds_fallback() {
    let (first, second, gateway) = two("fallback: {maxAttempts: 1}").await;
    first.set(Script::failing(500));
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 500);
    assert_eq!(second.received().len(), 0);
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_out() {
    let (first, second, gateway) = two("").await;
    first.set(Script::failing(500));
    for _ in 0..12 {
        assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 200);
    }
    assert_eq!(second.received().len(), 12);
    let tried = first.received().len();
    assert!(tried <= 5, "evicted after five failures in a row: {tried}");
}

#[tokio::test]
async fn a_provider_at_max_concurrent_requests_is_skipped() {
    let first = Upstream::start(Script::new().chunks(3, "word ").delay_content(Duration::from_secs(30))).await;
    let second = Upstream::start(Script::new().text("second")).await;
    let manifests = Manifests::new()
        .provider_with("first", "OpenAI", &first, "maxConcurrentRequests: 1")
        .provider("second", "OpenAI", &second)
        .route("m", &["first", "second"])
        .token();
    let gateway = Gateway::start(&manifests);
    let address = gateway.address();
    let held = tokio::spawn(async move { Ask::post("/v1/chat/completions", chat("m", true)).open_at(address).await });
    first.wait_received(1, SOON).await;
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
    held.abort();
}

/// The issue's own case: half of 1,000 requests streamed, 50 at a time, while one of two upstreams dies and returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_outlive_an_upstream() {
    use futures_util::StreamExt;

    let script = Script::new().chunks(6, "word ").delay_chunk(Duration::from_millis(2));
    let first = Upstream::start(script.clone()).await;
    let second = Upstream::start(script).await;
    let manifests = Manifests::new()
        .provider_with("first", "OpenAI", &first, "eviction: {consecutiveFailures: 3, duration: 100ms}")
        .provider("second", "OpenAI", &second)
        .route("m", &["first", "second"])
        .token();
    let gateway = Gateway::start(&manifests);
    let ask = |at: usize| {
        let (path, body) = dialects("m", at.is_multiple_of(2))[at % 3].clone();
        Ask::post(&path, body).send(&gateway)
    };
    let disturb = async {
        for _ in 0..3 {
            first.wait_received(first.received().len() + 20, SOON).await;
            first.kill();
            let served = second.received().len();
            second.wait_received(served + 60, SOON).await;
            first.restart().await.unwrap();
        }
    };
    let asks = futures_util::stream::iter((0..1_000).map(ask)).buffer_unordered(50).collect::<Vec<_>>();
    let (answers, ()) = tokio::join!(asks, disturb);
    let failed = answers.iter().filter(|answer| answer.status != 200 || answer.broken).count();
    let cut = answers.iter().filter(|answer| answer.text().contains("\"error\"")).count();
    println!("1000 requests, 3 kills: {failed} failed before content, {cut} streams ended in their dialect's error");
    assert_eq!(failed, 0);
    let records = gateway.records(1_000).await;
    let broken = records.iter().filter(|record| record["outcome"] == "upstream_failed").count();
    assert_eq!(broken, cut, "what the clients saw is what is recorded");
    assert!(records.iter().all(|record| record["outcome"] == "completed" || record["outcome"] == "upstream_failed"));
}
