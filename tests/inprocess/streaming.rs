//! A stream never looks finished when it was not: what breaks off ends in the dialect's own error, never an end marker.

use std::time::Duration;

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{CutAt, CutHow, Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Answer, Ask, chat, dialects},
};

const KINDS: [&str; 3] = ["OpenAI", "Anthropic", "Gemini"];

async fn one(kind: &str, script: Script, more: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests = Manifests::new().provider("up", kind, &upstream).route_with("m", &["up"], more).token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

/// That the answer ends in the dialect's error and has no end marker.
fn assert_ends_in_error(path: &str, answer: &Answer, what: &str) {
    let text = answer.text();
    assert!(!answer.broken, "{what} {path}: the body itself ends well: {text}");
    let events = answer.events();
    let last = events.last().unwrap_or_else(|| panic!("{what} {path}: no events: {text}"));
    assert!(last["error"].is_object(), "{what} {path}: {text}");
    for end in ["[DONE]", "message_stop", "\"finish_reason\":\"stop\"", "\"finishReason\":\"STOP\""] {
        assert!(!text.contains(end), "{what} {path}: false end {end}: {text}");
    }
}

#[tokio::test]
async fn whatever_cuts_a_stream_ends_it_in_the_dialects_error() {
    let cuts = [
        (CutAt::Events(5), CutHow::Close),
        (CutAt::Events(5), CutHow::Reset),
        (CutAt::Events(5), CutHow::End),
        (CutAt::InsideEvent(5), CutHow::Close),
        (CutAt::InsideEvent(5), CutHow::End),
    ];
    for kind in KINDS {
        let (upstream, gateway) = one(kind, Script::new(), "").await;
        let mut asked = 0;
        for (at, how) in cuts {
            upstream.set(Script::new().chunks(20, "word ").delay_chunk(Duration::from_millis(3)).cut(at, how));
            for (path, body) in dialects("m", true) {
                let answer = Ask::post(&path, body).send(&gateway).await;
                let what = format!("{kind} {at:?} {how:?}");
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                assert_ends_in_error(&path, &answer, &what);
                asked += 1;
                let record = gateway.records(asked).await.remove(asked - 1);
                assert_eq!(record["outcome"], "upstream_failed", "{what} {record:#}");
                assert_eq!(record["usage_source"], "counted", "{what} {record:#}");
                assert_eq!(upstream.received().len(), asked, "no retry after content");
            }
        }
    }
}

#[tokio::test]
async fn an_error_event_after_content_reaches_the_client_as_one() {
    for kind in KINDS {
        let script = Script::new().chunks(9, "word ").delay_chunk(Duration::from_millis(3)).error_after(4);
        let (_upstream, gateway) = one(kind, script, "").await;
        for (path, body) in dialects("m", true) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("error"), "{kind} {path}: {}", answer.text());
        }
        for record in gateway.records(3).await {
            assert_eq!(record["outcome"], "upstream_failed", "{kind} {record:#}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_ended() {
    for kind in KINDS {
        let script = Script::new().chunks(20, "word ").stall_after(6);
        let (upstream, gateway) = one(kind, script, "timeouts: {streamIdle: 200ms}").await;
        for (path, body) in dialects("m", true) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_ends_in_error(&path, &answer, kind);
        }
        for record in gateway.records(3).await {
            assert_eq!(record["error"], "stream_idle_timeout", "{record:#}");
        }
        upstream.wait_idle(crate::gateway::SOON).await;
    }
}

#[tokio::test]
async fn the_requests_own_deadline_ends_a_stream_that_never_does() {
    let script = Script::new().chunks(2_000, "word ").delay_chunk(Duration::from_millis(20));
    let (_upstream, gateway) = one("OpenAI", script, "timeouts: {firstContent: 2s, request: 2s}").await;
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert_ends_in_error("/v1/chat/completions", &answer, "deadline");
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"request_timeout".into()));
}

#[tokio::test]
async fn idle_clients_hear_a_heartbeat_of_their_dialect() {
    let settings = RequestSettings { heartbeat: Some(Duration::from_millis(50)), ..RequestSettings::default() };
    let upstream = Upstream::start(Script::new().chunks(20, "word ").stall_after(6)).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .route_with("m", &["up"], "timeouts: {streamIdle: 400ms}")
        .token();
    let gateway = Gateway::start_with(&manifests, settings);
    let [chat, messages, _] = dialects("m", true);
    let answer = Ask::post(&chat.0, chat.1).send(&gateway).await;
    let empty = answer.events().iter().filter(|event| event["choices"][0]["delta"] == serde_json::json!({})).count();
    assert!(empty >= 3, "{}", answer.text());
    let answer = Ask::post(&messages.0, messages.1).send(&gateway).await;
    assert!(answer.text().matches("event: ping").count() >= 3, "{}", answer.text());
}

#[tokio::test]
async fn an_error_as_first_event_keeps_its_real_status() {
    for kind in KINDS {
        let (_upstream, gateway) = one(kind, Script::new().error_after(0), "").await;
        for (path, body) in dialects("m", true) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert!(answer.status >= 500, "{kind} {path}: {} {}", answer.status, answer.text());
            assert!(answer.json()["error"].is_object(), "{kind} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn each_event_goes_out_as_it_comes() {
    let script = Script::new().chunks(3, "word ").delay_chunk(Duration::from_secs(60));
    let (_upstream, gateway) = one("OpenAI", script, "").await;
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    let first = tokio::time::timeout(Duration::from_secs(5), opened.until("word")).await;
    assert!(first.is_ok(), "the first word waits for nothing");
    assert_eq!(opened.headers["content-type"], "text/event-stream");
    assert_eq!(opened.headers["cache-control"], "no-cache");
}

#[tokio::test]
async fn shutdown_ends_a_stream_in_its_dialect_and_with_a_record() {
    let script = Script::new().chunks(1_000, "word ").delay_chunk(Duration::from_millis(20));
    let (_upstream, gateway) = one("OpenAI", script, "").await;
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    opened.until("word").await;
    gateway.running().shutdown();
    let answer = opened.read().await;
    assert_ends_in_error("/v1/chat/completions", &answer, "shutdown");
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"shutdown".into()));
}

#[tokio::test]
async fn a_withdrawn_token_ends_its_streams() {
    let upstream = Upstream::start(Script::new().chunks(5_000, "word ").delay_chunk(Duration::from_millis(10))).await;
    let base = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]);
    let gateway = Gateway::start(&base.clone().token().token_with("other", "sk-other-token-001", "models: [\"*\"]"));
    let mut gone = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    let mut stays =
        Ask::post("/v1/chat/completions", chat("m", true)).bearer("sk-other-token-001").open(&gateway).await;
    gone.until("word").await;
    stays.until("word").await;
    gateway.apply(&base.token_with("other", "sk-other-token-001", "models: [\"*\"]")).await;
    let answer = gone.read().await;
    assert_ends_in_error("/v1/chat/completions", &answer, "withdrawn");
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"unknown_token".into()));
    stays.until("word").await;
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 401);
}
