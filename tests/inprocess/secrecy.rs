//! What an upstream writes never reaches the access log or the metrics, and a rejected key is the provider's matter.

use routeapi_tests::upstream::{Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, dialects},
};

/// What an upstream may repeat: the prompt, or a part of the key.
const CANARY: &str = "canary-of-the-upstream";

/// An error event of an upstream, without the blank line that ends it.
fn error_event(kind: &str) -> String {
    match kind {
        "OpenAI" => format!(r#"data: {{"error":{{"message":"{CANARY}","type":"{CANARY}","code":"{CANARY}"}}}}"#),
        "Anthropic" => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{CANARY}\",\"message\":\"{CANARY}\"}}}}"
        ),
        _ => format!(r#"data: {{"error":{{"code":500,"message":"{CANARY}","status":"{CANARY}"}}}}"#),
    }
}

/// An event with content, so that what follows comes after the answer has begun.
fn content_event(kind: &str) -> &'static str {
    match kind {
        "OpenAI" => {
            "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\
             \"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":null}]}\n\n"
        }
        "Anthropic" => {
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"type\":\"message\",\
             \"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
             \"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\
             \"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
        }
        _ => {
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hi\"}]},\"index\":0}]}\n\n"
        }
    }
}

fn scripts(kind: &str) -> Vec<(&'static str, Script)> {
    let html = format!("<html><body>{CANARY}</body></html>");
    let json =
        format!(r#"{{"error":{{"message":"{CANARY}","type":"{CANARY}","code":"{CANARY}","status":"{CANARY}"}}}}"#);
    let event = error_event(kind);
    let ended = format!("{event}\n\n");
    let half = event.get(..event.len() - 2).unwrap().to_owned();
    let events = "text/event-stream";
    vec![
        ("status error", Script::failing(400).body(&json, "application/json")),
        ("status error of the key", Script::failing(401).body(&json, "application/json")),
        ("status error of the server", Script::failing(500).body(&json, "application/json")),
        ("error page", Script::failing(502).body(&html, "text/html")),
        ("error event", Script::failing(200).body(&ended, events)),
        ("error event without an end", Script::failing(200).body(&event, events)),
        ("error event after content", Script::failing(200).body(&format!("{}{ended}", content_event(kind)), events)),
        (
            "error event without an end after content",
            Script::failing(200).body(&format!("{}{event}", content_event(kind)), events),
        ),
        ("redirect", Script::failing(302).header("location", &format!("http://elsewhere.example/{CANARY}"))),
        ("truncated event", Script::failing(200).body(&half, events)),
        ("page instead of an answer", Script::failing(200).body(&html, "text/html")),
        ("unreadable answer", Script::failing(200).body(&format!("{{{CANARY}"), "application/json")),
        ("foreign encoding", Script::new().header("content-encoding", CANARY)),
    ]
}

#[tokio::test]
async fn an_upstreams_words_never_reach_log_or_metrics() {
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        for (name, script) in scripts(kind) {
            let upstream = Upstream::start(script).await;
            let more = if kind == "OpenAI" { "endpoints: [ChatCompletions, Responses]" } else { "" };
            let manifests = Manifests::new().provider_with("up", kind, &upstream, more).route("m", &["up"]).token();
            let gateway = Gateway::start(&manifests);
            let mut asks: Vec<_> = dialects("m", true).into_iter().chain(dialects("m", false)).collect();
            let responses = |stream| format!(r#"{{"model":"m","input":"hi","stream":{stream}}}"#);
            asks.extend([true, false].map(|stream| ("/v1/responses".to_owned(), responses(stream))));
            for (path, body) in &asks {
                Ask::post(path, body.clone()).send(&gateway).await;
            }
            for record in gateway.records(asks.len()).await {
                assert!(!record.to_string().contains(CANARY), "{kind}, {name}: {record:#}");
            }
            let metrics = Ask::get("/metrics").open_at(gateway.admin()).await.read().await;
            assert!(!metrics.text().contains(CANARY), "{kind}, {name}");
        }
    }
}

#[tokio::test]
async fn a_rejected_key_shows_until_it_is_accepted_or_replaced() {
    let json = format!(r#"{{"error":{{"message":"{CANARY}","type":"authentication_error"}}}}"#);
    let upstream = Upstream::start(Script::failing(401).body(&json, "application/json")).await;
    let manifests = |key: &str| {
        Manifests::new()
            .with(&format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: vendor, namespace: apps}}\nstringData: {{apiKey: {key}}}"
            ))
            .provider_with("up", "OpenAI", &upstream, "credentials: {apiKey: {secretRef: {name: vendor}}}")
            .route("m", &["up"])
            .token()
    };
    let gateway = Gateway::start(&manifests("key-one"));
    let rejected = || async {
        let page = Ask::get("/metrics").open_at(gateway.admin()).await.read().await;
        page.text().contains("routeapi_provider_credentials_rejected{provider=\"apps/up\",status=\"401\"} 1\n")
    };
    let ask = || Ask::post("/v1/chat/completions", crate::request::chat("m", false)).send(&gateway);
    assert!(!rejected().await);
    assert_eq!(ask().await.status, 502, "the provider's key is not the client's");
    assert!(rejected().await);
    upstream.set(Script::failing(403).body(r#"{"error":{"message":"no such model for you"}}"#, "application/json"));
    ask().await;
    assert!(rejected().await, "what is not about the key says nothing of it");
    upstream.set(Script::new());
    assert_eq!(ask().await.status, 200);
    assert!(!rejected().await, "accepted again");
    upstream.set(Script::failing(401).body(&json, "application/json"));
    ask().await;
    assert!(rejected().await);
    gateway.apply(&manifests("key-two")).await;
    assert!(!rejected().await, "nothing is known of the new key");
    let records = gateway.records(4).await;
    assert_eq!(records[0]["attempts"][0]["error"], "upstream_authentication", "{:#}", records[0]);
}

#[tokio::test]
async fn a_key_may_be_a_header_and_a_server_that_is_sent_none_rejects_none() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: vendor, namespace: apps}\nstringData: {key: one}";
    let header = "request: {headers: [{name: X-Subscription, valueFrom: {secretKeyRef: {name: vendor, key: key}}}]}";
    for (settings, expected) in [(header, true), ("", false)] {
        let upstream = Upstream::start(Script::failing(401)).await;
        let manifests = Manifests::new()
            .with(secret)
            .provider_with("up", "OpenAI", &upstream, settings)
            .route("m", &["up"])
            .token();
        let gateway = Gateway::start(&manifests);
        let answer = Ask::post("/v1/chat/completions", crate::request::chat("m", false)).send(&gateway).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        let page = Ask::get("/metrics").open_at(gateway.admin()).await.read().await;
        assert_eq!(page.text().contains("routeapi_provider_credentials_rejected{"), expected, "{settings}");
    }
}
