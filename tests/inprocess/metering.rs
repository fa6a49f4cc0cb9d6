//! What is recorded is what the upstream really produced, whichever way a request ends.

use std::time::{Duration, Instant};

use routeapi_tests::upstream::{Outcome, Script, Upstream, UsageScript};
use serde_json::Value;

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, chat, dialects},
};

const KINDS: [&str; 3] = ["OpenAI", "Anthropic", "Gemini"];

/// (input, output) of a record or of one of its attempts, caches and reasoning included.
fn tokens(record: &Value) -> (u64, u64) {
    let usage = &record["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    (count("input") + count("cache_read") + count("cache_write"), count("output") + count("reasoning"))
}

#[tokio::test]
async fn recorded_usage_equals_what_the_upstream_counted() {
    for kind in KINDS {
        let upstream = Upstream::start(Script::new().cached_tokens(2).chunks(17, "word ")).await;
        let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        let asks = [false, true].into_iter().flat_map(|stream| dialects("m", stream).map(|ask| (stream, ask)));
        for (at, (stream, (path, body))) in asks.enumerate() {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            let record = gateway.records(at + 1).await.remove(at);
            let truth = &upstream.ledger()[at];
            assert_eq!(tokens(&record), (truth.input_tokens, truth.output_tokens), "{kind} {path} {record:#}");
            assert_eq!(record["usage"]["cache_read"], truth.cached_tokens, "{kind} {path}");
            assert_eq!(record["usage_source"], "reported", "{kind} {path} {record:#}");
            assert_eq!(record["outcome"], "completed", "{kind} {path}");
            assert_eq!(record["stream"], stream);
            assert!(record["first_content_ms"].is_number(), "{record:#}");
            assert_eq!(record["response_bytes"], answer.body.len(), "{kind} {path}");
        }
    }
}

#[tokio::test]
async fn every_attempt_is_on_the_record_with_its_usage_and_cost() {
    let first = Upstream::start(Script::failing(500)).await;
    let second = Upstream::start(Script::new().chunks(10, "word ")).await;
    let manifests = Manifests::new()
        .provider("first", "OpenAI", &first)
        .provider("second", "Anthropic", &second)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: m, namespace: apps}\n\
             spec: {model: m, upstreams: [{name: first, providerRef: {name: first}}, \
             {name: second, providerRef: {name: second}, model: claude-x, priority: 1, \
             price: {inputPerMillion: \"3\", outputPerMillion: \"15\"}}]}",
        )
        .token();
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = gateway.record().await;
    let truth = &second.ledger()[0];
    assert_eq!(tokens(&record), (truth.input_tokens, truth.output_tokens), "{record:#}");
    let attempts = record["attempts"].as_array().unwrap();
    assert_eq!((attempts[0]["status"].as_u64(), attempts[0]["usage_source"].as_str()), (Some(500), Some("none")));
    assert_eq!(attempts[1]["model"], "claude-x");
    assert_eq!(attempts[1]["provider"], "apps/second");
    let cost = truth.input_tokens * 3_000 + truth.output_tokens * 15_000;
    assert_eq!((&record["cost_nano_usd"], &attempts[1]["cost_nano_usd"]), (&cost.into(), &cost.into()));
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_pays_for_what_it_got_and_frees_the_upstream_at_once() {
    for kind in KINDS {
        let script = Script::new().chunks(5_000, "word ").delay_chunk(Duration::from_millis(5));
        let upstream = Upstream::start(script).await;
        let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        let mut waits = Vec::new();
        for (at, (path, body)) in dialects("m", true).into_iter().enumerate() {
            let mut opened = Ask::post(&path, body).open(&gateway).await;
            for _ in 0..10 {
                opened.next().await.unwrap().unwrap();
            }
            let id = upstream.received()[at].id;
            let left = Instant::now();
            opened.leave();
            let truth = upstream.wait_ended(id, SOON).await;
            waits.push(truth.ended.unwrap().saturating_duration_since(left));
            assert_eq!(truth.outcome, Outcome::ClientClosed);
            let record = gateway.records(at + 1).await.remove(at);
            assert_eq!(record["outcome"], "client_cancelled", "{kind} {path} {record:#}");
            assert_eq!(record["usage_source"], "counted", "{kind} {path} {record:#}");
            let (input, output) = tokens(&record);
            assert!(output >= 5, "{kind} {path}: at least what was delivered: {record:#}");
            // An estimate from sizes: four bytes a token, where this upstream's words have five.
            let most = truth.delivered_tokens + truth.delivered_tokens / 2 + 2;
            assert!(output <= most, "{kind} {path}: {output} recorded, {truth:?}");
            assert!(input > 0);
        }
        waits.sort();
        // The aim is 50 ms. The bound is far beyond it, so that a busy machine fails nobody; the figure tells.
        println!("figure: {kind}: upstream saw the client leave after {waits:?}");
        assert!(waits[waits.len() / 2] < Duration::from_secs(2), "{kind}: {waits:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_content_pays_for_the_input_that_the_upstream_received() {
    let upstream = Upstream::start(Script::new().delay_headers(Duration::from_secs(60))).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token_with(
        "main",
        crate::gateway::TOKEN,
        "models: [\"*\"], maxConcurrentRequests: 1",
    );
    let gateway = Gateway::start(&manifests);
    let mut waits = Vec::new();
    for at in 0..3 {
        let address = gateway.address();
        let asking = tokio::spawn(async move {
            Ask::post("/v1/chat/completions", chat("m", true)).open_at(address).await.leave();
        });
        let sent = upstream.wait_received(at + 1, SOON).await;
        let left = Instant::now();
        asking.abort();
        let truth = upstream.wait_ended(sent.id, SOON).await;
        waits.push(truth.ended.unwrap().saturating_duration_since(left));
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!(record["outcome"], "client_cancelled", "{record:#}");
        let (input, output) = tokens(&record);
        assert!(input > 0 && output == 0, "{record:#}");
        assert_eq!(record["usage_source"], "estimated", "{record:#}");
        assert_eq!(record["status"], 0);
    }
    waits.sort();
    println!("figure: upstream saw the client leave before content after {waits:?}");
    assert!(waits[1] < Duration::from_secs(2), "{waits:?}");
}

#[tokio::test]
async fn a_client_that_hangs_up_after_the_end_has_completed() {
    let upstream = Upstream::start(Script::new().chunks(3, "word ")).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    opened.until("[DONE]").await;
    opened.leave();
    assert_eq!(gateway.record().await["outcome"], "completed");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_of_usage_is_estimated_and_marked() {
    for stream in [false, true] {
        let upstream = Upstream::start(Script::new().chunks(40, "word ").usage(UsageScript::Absent)).await;
        let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        Ask::post("/v1/chat/completions", chat("m", stream)).send(&gateway).await;
        let record = gateway.record().await;
        let (input, output) = tokens(&record);
        assert_eq!(record["usage_source"], "estimated", "{record:#}");
        assert!(input > 0 && (20..=80).contains(&output), "stream {stream}: {record:#}");
    }
}

#[tokio::test]
async fn the_series_say_the_same_as_the_records() {
    let upstream = Upstream::start(Script::new().chunks(7, "word ")).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    Ask::post("/v1/chat/completions", chat("missing", true)).send(&gateway).await;
    gateway.records(2).await;
    let text = Ask::get("/metrics").anonymous().open_at(gateway.admin()).await.read().await;
    let text = text.text();
    let truth = &upstream.ledger()[0];
    let labels = "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\"";
    for line in [
        format!("gen_ai_server_request_duration_seconds_count{{{labels},error_type=\"\"}} 1"),
        format!("gen_ai_server_time_to_first_token_seconds_count{{{labels}}} 1"),
        format!(
            "gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type=\"output\"}} {:.1}",
            truth.output_tokens as f64
        ),
        "routeapi_requests_total{operation=\"chat_completions\",status=\"404\",outcome=\"completed\",error_type=\"unknown_model\"} 1".to_owned(),
        "routeapi_route_requests_total{route=\"apps/m\",error_type=\"\"} 1".to_owned(),
        format!(
            "routeapi_upstream_tokens_total{{route=\"apps/m\",upstream=\"up\",gen_ai_token_type=\"output\"}} {}",
            truth.output_tokens
        ),
        "routeapi_upstream_attempts_total{route=\"apps/m\",upstream=\"up\",result=\"ok\"} 1".to_owned(),
        "routeapi_requests_in_flight 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn no_prompt_and_no_word_of_an_upstream_is_in_the_log() {
    let echoing =
        r#"{"error":{"message":"bad value PROMPT-CANARY for key sk-VENDOR-CANARY","type":"invalid_request_error"}}"#;
    let upstream = Upstream::start(Script::failing(400).body(echoing, "application/json")).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    let body = chat("m", false).replace("tell me something", "PROMPT-CANARY");
    let answer = Ask::post("/v1/chat/completions", body).send(&gateway).await;
    assert!(answer.text().contains("PROMPT-CANARY"), "the client gets the upstream's words");
    Ask::post("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"PROMPT-CANARY"}]}"#).send(&gateway).await;
    for record in gateway.records(2).await {
        assert!(!record.to_string().contains("CANARY"), "{record:#}");
        assert!(record["message"].is_string(), "{record:#}");
    }
}

#[tokio::test]
async fn what_was_never_sent_and_what_was_refused_costs_nothing() {
    let gone = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &gone).route("m", &["up"]).token();
    drop(gone);
    let gateway = Gateway::start(&manifests);
    Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(gateway.record().await["usage_source"], "none", "no connection");
    for status in [400, 429, 503] {
        let upstream = Upstream::start(Script::failing(status)).await;
        let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        let record = gateway.record().await;
        assert_eq!((tokens(&record), &record["usage_source"]), ((0, 0), &"none".into()), "{status}: {record:#}");
    }
}

#[tokio::test]
async fn absurd_usage_is_estimated_in_every_dialect_and_costs_no_answer() {
    use serde_json::json;
    let most = json!(u64::MAX);
    for odd in [
        most,
        json!(1_000_000_000_000_000_u64),
        json!(-5),
        json!(1.5),
        json!("many"),
        json!(null),
        json!([]),
        json!({}),
    ] {
        for (kind, names) in [
            ("OpenAI", ["prompt_tokens", "completion_tokens"]),
            ("Anthropic", ["input_tokens", "output_tokens"]),
            ("Gemini", ["promptTokenCount", "candidatesTokenCount"]),
        ] {
            let usage = json!({names[0]: odd, names[1]: odd, "total_tokens": odd, "prompt_tokens_details": odd});
            let script = Script::new().chunks(40, "word ").usage(UsageScript::Odd(usage));
            let upstream = Upstream::start(script).await;
            let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
            let gateway = Gateway::start(&manifests);
            let asks = [false, true].into_iter().flat_map(|stream| dialects("m", stream));
            for (at, (path, body)) in asks.enumerate() {
                let answer = Ask::post(&path, body).send(&gateway).await;
                assert_eq!(answer.status, 200, "{kind} {path} {odd}: {}", answer.text());
                let record = gateway.records(at + 1).await.remove(at);
                let (input, output) = tokens(&record);
                assert!((1..200).contains(&input) && (20..=80).contains(&output), "{kind} {path} {odd}: {record:#}");
                assert_eq!(record["usage_source"], "estimated", "{kind} {path} {odd}: {record:#}");
            }
        }
    }
}
