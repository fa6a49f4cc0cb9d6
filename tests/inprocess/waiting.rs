//! A streaming client hears something while it waits: its head and a heartbeat of its dialect go out before an upstream
//! has answered, fallback goes on underneath, and what becomes of the request is recorded as ever.

use std::time::{Duration, Instant};

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, Opened, chat, contents, dialects},
};

/// Short, so that a test is; in production it is 15 s.
const INTERVAL: Duration = Duration::from_millis(50);

const RESPONSES: &str = "endpoints: [ChatCompletions, Responses]";

fn settings() -> RequestSettings {
    RequestSettings { heartbeat: Some(INTERVAL), ..RequestSettings::default() }
}

/// Every way to ask for a stream, and the first heartbeat that it gets.
fn streams(model: &str) -> Vec<(String, String, &'static str)> {
    let [chat, messages, gemini] = dialects(model, true);
    let responses = format!(r#"{{"model":"{model}","stream":true,"input":"tell me something"}}"#);
    vec![
        (chat.0, chat.1, "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]}\n\n"),
        ("/v1/responses".to_owned(), responses, ": keepalive\n\n"),
        (messages.0, messages.1, "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        (gemini.0, gemini.1, "\n"),
        (format!("/v1beta/models/{model}:streamGenerateContent"), contents(), "\n"),
    ]
}

/// A route over a first upstream that never answers and a second that does, of this type.
async fn slow_and_good(kind: &str) -> (Upstream, Upstream, Gateway) {
    let first = Upstream::start(Script::silent()).await;
    let second = Upstream::start(Script::new().text("saved by the second")).await;
    let more = if kind == "OpenAI" { RESPONSES } else { "" };
    let manifests = Manifests::new()
        .provider_with("first", kind, &first, more)
        .provider_with("second", kind, &second, more)
        .route("m", &["first", "second"])
        .token();
    (first, second, Gateway::start_with(&manifests, settings()))
}

/// Asks, and waits for the head and the first piece of the body.
async fn begun(gateway: &Gateway, path: &str, body: &str) -> (Opened, String) {
    let begun = Instant::now();
    let mut opened = Ask::post(path, body.to_owned()).open(gateway).await;
    let first = opened.next().await.unwrap().unwrap();
    println!("{path}: first byte after {:?}, the interval is {INTERVAL:?}", begun.elapsed());
    (opened, String::from_utf8(first.to_vec()).unwrap())
}

#[tokio::test]
async fn a_client_of_each_dialect_hears_something_and_is_served_by_the_second_upstream() {
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        let mut asked = 0;
        let (first, second, gateway) = slow_and_good(kind).await;
        for (path, body, beat) in streams("m") {
            let (mut opened, heard) = begun(&gateway, &path, &body).await;
            assert!(heard.ends_with(beat), "{kind} {path}: {heard:?}");
            assert_eq!((opened.status.as_u16(), second.received().len()), (200, asked), "{kind} {path}");
            assert!(opened.headers.contains_key("x-routeapi-request-id"), "{kind} {path}: {:?}", opened.headers);
            assert!(!opened.headers.contains_key("x-routeapi-upstream"), "not known yet");
            // More than one, while nothing else comes.
            opened.until(beat).await;
            first.kill();
            let answer = opened.read().await;
            assert!(!answer.broken && answer.text().contains("second"), "{kind} {path}: {}", answer.text());
            asked += 1;
            let record = gateway.records(asked).await.remove(asked - 1);
            assert_eq!((&record["status"], &record["outcome"]), (&200.into(), &"completed".into()), "{record:#}");
            assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{kind} {path}: {record:#}");
            assert_eq!(record["attempts"][1]["upstream"], "second", "{record:#}");
            assert_eq!(record["attempts"][1]["usage_source"], "reported", "{record:#}");
            let (content, whole) = (record["first_content_ms"].as_u64(), record["duration_ms"].as_u64());
            assert!(content > Some(49) && content <= whole, "content is the second's, not a heartbeat: {record:#}");
            first.restart().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_an_array_of_gemini_holds_is_still_one_document() {
    let (first, _second, gateway) = slow_and_good("OpenAI").await;
    let (opened, _) = begun(&gateway, "/v1beta/models/m:streamGenerateContent", &contents()).await;
    first.kill();
    let answer = opened.read().await;
    assert!(answer.json().as_array().is_some_and(|list| !list.is_empty()), "{}", answer.text());
}

#[tokio::test]
async fn when_nobody_answers_the_stream_ends_in_the_dialects_error() {
    let upstream = Upstream::start(Script::silent()).await;
    let manifests = Manifests::new().provider_with("up", "OpenAI", &upstream, RESPONSES).route("m", &["up"]).token();
    let gateway = Gateway::start_with(&manifests, settings());
    for (at, (path, body, _)) in streams("m").into_iter().enumerate() {
        let (opened, heard) = begun(&gateway, &path, &body).await;
        upstream.kill();
        let answer = opened.read().await;
        let text = heard + answer.text();
        assert!(!answer.broken && text.contains("\"error\"") && text.contains("upstream up"), "{path}: {text}");
        for end in ["[DONE]", "message_stop", "response.completed"] {
            assert!(!text.contains(end), "{path}: {text}");
        }
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!((&record["status"], &record["outcome"]), (&200.into(), &"upstream_failed".into()), "{record:#}");
        assert_eq!(record["attempts"][0]["error"], record["error"], "{record:#}");
        assert_eq!(record["response_bytes"].as_u64().unwrap(), text.len() as u64, "every byte is counted: {record:#}");
        upstream.restart().await.unwrap();
    }
}

#[tokio::test]
async fn role_deltas_and_comments_of_an_upstream_are_no_content_and_the_client_hears_of_them() {
    let first = Upstream::start(Script::new().only_heartbeats()).await;
    let second = Upstream::start(Script::new().text("saved by the second")).await;
    let manifests = Manifests::new()
        .provider("first", "OpenAI", &first)
        .provider("second", "OpenAI", &second)
        .route("m", &["first", "second"])
        .token();
    let gateway = Gateway::start_with(&manifests, settings());
    for script in [Script::new().only_heartbeats(), Script::new().stall_after(0)] {
        first.set(script.clone());
        let (opened, _) = begun(&gateway, "/v1/chat/completions", &chat("m", true)).await;
        first.kill();
        let answer = opened.read().await;
        assert!(answer.text().contains("second"), "{script:?}: {}", answer.text());
        first.restart().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_ends_the_attempt() {
    let (first, second, gateway) = slow_and_good("OpenAI").await;
    let (opened, _) = begun(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    opened.leave();
    first.wait_idle(SOON).await;
    let record = gateway.record().await;
    assert_eq!((&record["status"], &record["outcome"]), (&200.into(), &"client_cancelled".into()), "{record:#}");
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{record:#}");
    assert_eq!(second.received().len(), 0);
    gateway.shows("routeapi_early_responses_total 1").await;
}

#[tokio::test]
async fn a_route_may_wait_for_the_true_status() {
    for more in ["heartbeat: {mode: AfterContent}", "heartbeat: {mode: Never}", "heartbeat: {interval: 1h}"] {
        let upstream = Upstream::start(Script::failing(503).delay_headers(INTERVAL * 4)).await;
        let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route_with("m", &["up"], more).token();
        let gateway = Gateway::start_with(&manifests, settings());
        for (path, body) in dialects("m", true) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert!(answer.status >= 503, "{more} {path}: {} {}", answer.status, answer.text());
        }
    }
}

#[tokio::test]
async fn a_route_with_heartbeats_after_content_still_has_those() {
    let upstream = Upstream::start(Script::new().chunks(20, "word ").stall_after(6)).await;
    let more = "timeouts: {streamIdle: 400ms}, heartbeat: {mode: AfterContent}";
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route_with("m", &["up"], more).token();
    let gateway = Gateway::start_with(&manifests, settings());
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    let is_empty = |event: &&serde_json::Value| event["choices"][0]["delta"] == serde_json::json!({});
    assert!(answer.events().iter().filter(is_empty).count() >= 3, "{}", answer.text());
}

#[tokio::test]
async fn a_whole_answer_is_waited_for() {
    let upstream = Upstream::start(Script::failing(503).delay_headers(INTERVAL * 4)).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start_with(&manifests, settings());
    for (path, body) in dialects("m", false) {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert!(answer.status >= 503, "{path}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn shutdown_ends_a_wait_in_the_dialect() {
    let (_first, _second, gateway) = slow_and_good("OpenAI").await;
    let (opened, _) = begun(&gateway, "/v1/messages", &dialects("m", true)[1].1).await;
    gateway.running().shutdown();
    let answer = opened.read().await;
    assert!(answer.text().contains("\"type\":\"overloaded_error\""), "{}", answer.text());
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"shutdown".into()), "{record:#}");
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{record:#}");
}

#[tokio::test]
async fn a_withdrawn_token_ends_a_wait() {
    let first = Upstream::start(Script::silent()).await;
    let base = Manifests::new().provider("first", "OpenAI", &first).route("m", &["first"]);
    let gateway = Gateway::start_with(&base.clone().token(), settings());
    let (opened, _) = begun(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    gateway.apply(&base.token_with("other", "sk-other-token-001", "models: [\"*\"]")).await;
    let answer = opened.read().await;
    assert!(answer.text().contains("not known to this gateway"), "{}", answer.text());
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"unknown_token".into()));
    first.wait_idle(SOON).await;
}

#[tokio::test]
async fn a_withdrawn_token_ends_a_stream_whose_upstream_is_silent() {
    let upstream = Upstream::start(Script::new().chunks(20, "word ").stall_after(6)).await;
    let base = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]);
    let gateway = Gateway::start(&base.clone().token());
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    opened.until("word").await;
    gateway.apply(&base.token_with("other", "sk-other-token-001", "models: [\"*\"]")).await;
    let answer =
        tokio::time::timeout(SOON, opened.read()).await.expect("at once, not when the client counts as stalled");
    assert!(answer.text().contains("not known to this gateway"), "{}", answer.text());
}

#[tokio::test]
async fn the_deadline_of_the_request_ends_a_wait() {
    let upstream = Upstream::start(Script::silent()).await;
    let more = "timeouts: {firstContent: 300ms, request: 300ms}";
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route_with("m", &["up"], more).token();
    let gateway = Gateway::start_with(&manifests, settings());
    let (opened, _) = begun(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    let answer = opened.read().await;
    assert!(answer.text().contains("longer than the route allows"), "{}", answer.text());
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"request_timeout".into()));
}
