//! Clients ask how many tokens a prompt has: an upstream's own counter says, whatever API it has; where none has one, the
//! gateway estimates and says that it did.

use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests},
    request::Ask,
};

/// The same prompt of five words, as each client asks for its count, and the member that holds the answer.
fn questions() -> [(&'static str, Value, &'static str); 4] {
    [
        (
            "/v1/responses/input_tokens",
            json!({"model": "m", "instructions": "one two", "input": "three four five"}),
            "input_tokens",
        ),
        (
            "/v1/messages/count_tokens",
            json!({"model": "m", "system": "one two", "messages": [{"role": "user", "content": "three four five"}]}),
            "input_tokens",
        ),
        (
            "/v1beta/models/m:countTokens",
            json!({"contents": [{"role": "user", "parts": [{"text": "one two three four five"}]}]}),
            "totalTokens",
        ),
        (
            "/v1beta/models/m:countTokens",
            json!({"generateContentRequest": {"model": "models/m", "systemInstruction": {"parts": [{"text": "one two"}]},
                "contents": [{"role": "user", "parts": [{"text": "three four five"}]}],
                "generationConfig": {"maxOutputTokens": 9, "temperature": 0.5}}}),
            "totalTokens",
        ),
    ]
}

/// A provider of this type alone, and one route `m` over it with more in its spec.
async fn over(kind: &str, script: Script, more: &str) -> (Upstream, Gateway) {
    over_with(kind, "", script, more).await
}

/// The same with more in the provider's spec.
async fn over_with(kind: &str, provider: &str, script: Script, more: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests =
        Manifests::new().provider_with("up", kind, &upstream, provider).route_with("m", &["up"], more).token();
    (upstream, Gateway::start(&manifests))
}

#[tokio::test]
async fn an_upstreams_own_counter_answers_whatever_its_api() {
    for (kind, provider, counter) in [
        ("OpenAI", "endpoints: [ChatCompletions, Responses]", "/v1/responses/input_tokens"),
        ("Anthropic", "", "/v1/messages/count_tokens"),
        ("Gemini", "", "/v1beta/models/up-model:countTokens"),
    ] {
        for (path, body, member) in questions() {
            let (upstream, gateway) = over_with(kind, provider, Script::new(), "").await;
            let answer = Ask::post(path, body.to_string()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            assert_eq!(answer.json()[member], 5, "{kind} {path}: {}", answer.text());
            assert_eq!(upstream.last().path, counter);
            let record = gateway.record().await;
            assert_eq!((&record["outcome"], &record["cost_nano_usd"]), (&"completed".into(), &0.into()), "{record:#}");
        }
    }
}

#[tokio::test]
async fn where_no_upstream_counts_the_answer_is_an_estimate_that_says_so() {
    let unanswered = Script::failing(404).body("404 page not found", "text/plain");
    for (kind, script) in [("OpenAI", Script::new()), ("Anthropic", unanswered)] {
        for (path, body, member) in questions() {
            let (upstream, gateway) = over(kind, script.clone(), "").await;
            let answer = Ask::post(path, body.to_string()).send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind} {path}: {}", answer.text());
            // Five words, and what a chat's format adds.
            let tokens = answer.json()[member].as_u64().unwrap();
            assert!((5..=12).contains(&tokens), "{kind} {path}: {tokens}");
            assert_eq!(answer.header("x-routeapi-warnings"), Some("estimated;field=input_tokens"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(upstream.received().is_empty(), kind == "OpenAI");
            let record = gateway.record().await;
            assert_eq!(record["outcome"], "completed", "{record:#}");
            assert_eq!(record["warnings"], json!(["estimated;field=input_tokens"]), "{record:#}");
        }
    }
}

#[tokio::test]
async fn a_strict_route_estimates_nothing() {
    for (path, body, _) in questions() {
        let (upstream, gateway) = over("OpenAI", Script::new(), "translation: Strict").await;
        let answer = Ask::post(path, body.to_string()).send(&gateway).await;
        assert_eq!(answer.status, 404, "clients estimate by themselves then: {}", answer.text());
        let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.starts_with("token counting is not available for this model (upstream up: "), "{path}: {said}");
        assert!(said.contains("the endpoints of its provider are ChatCompletions and Embeddings"), "{path}: {said}");
        assert!(upstream.received().is_empty());
    }
}

#[tokio::test]
async fn a_counter_that_fails_is_a_failure_and_no_estimate() {
    for (status, body) in [
        (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#),
        (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: up-model"}}"#),
        (200, r#"{"tokens":7}"#),
        (200, "<html>busy</html>"),
    ] {
        let script = Script::failing(status).body(body, "application/json");
        let (_upstream, gateway) = over("Anthropic", script, "").await;
        for (path, question, member) in questions() {
            let answer = Ask::post(path, question.to_string()).send(&gateway).await;
            assert!(answer.status >= 400, "{path}: {}", answer.text());
            assert!(answer.json().get(member).is_none(), "never a made-up number: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_counter_that_is_away_is_replaced_by_the_next_upstreams() {
    let away = Upstream::start(Script::failing(503)).await;
    let counts = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("away", "Anthropic", &away)
        .provider("counts", "Gemini", &counts)
        .route("m", &["away", "counts"])
        .token();
    let gateway = Gateway::start(&manifests);
    for (path, body, member) in questions() {
        let answer = Ask::post(path, body.to_string()).send(&gateway).await;
        assert_eq!((answer.status, &answer.json()[member]), (200, &json!(5)), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_body_that_is_no_question_is_400_in_the_clients_words() {
    let (upstream, gateway) = over("Gemini", Script::new(), "").await;
    let answer = Ask::post("/v1/messages/count_tokens", r#"{"model":"m","messages":"hello"}"#).send(&gateway).await;
    assert_eq!((answer.status, &answer.json()["type"]), (400, &json!("error")), "{}", answer.text());
    let answer = Ask::post("/v1/messages/count_tokens", r#"{"model":"m"}"#).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let (_, gateway_of_anthropic) = over("Anthropic", Script::new(), "").await;
    let empty = Ask::post("/v1beta/models/m:countTokens", "{}").send(&gateway_of_anthropic).await;
    assert_eq!((empty.status, &empty.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")), "{}", empty.text());
    assert!(upstream.received().is_empty());
}
