//! The paths that clients come in by, whatever base URL they were given.

use http::Method;
use routeapi_tests::upstream::{Script, Upstream};
use serde_json::json;

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat, messages},
};

async fn plain(kind: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

#[tokio::test]
async fn load_balancers_ask_for_health_without_a_token() {
    let (_upstream, gateway) = plain("OpenAI").await;
    for path in ["/health", "/healthz", "/ping", "/health/liveliness"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = Ask::get(path).method(method.clone()).anonymous().send(&gateway).await;
            assert_eq!(answer.status, 200, "{method} {path}");
        }
    }
    for path in ["/", "/v1", "/v1beta/"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = Ask::get(path).method(method.clone()).anonymous().send(&gateway).await;
            assert_eq!(answer.status, 200, "{method} {path}");
        }
    }
    gateway.running().drain().start();
    let answer = Ask::get("/health").anonymous().send(&gateway).await;
    assert_eq!(answer.status, 503, "a pod that leaves takes no new work");
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "what comes in spite of that is served");
    let refused = Ask::post("/health", "{}").anonymous().send(&gateway).await;
    assert_eq!(refused.status, 405);
    let records = gateway.records(2).await;
    let mut paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/health", "/v1/chat/completions"], "probes write no line; what else comes by their path does");
}

#[tokio::test]
async fn other_gateways_base_urls_work() {
    let (_upstream, gateway) = plain("OpenAI").await;
    for base in ["", "/v1", "/openai/v1", "/openai", "/api/v1", "/api", "/cursor", "/v1/v1", "/v1beta/openai"] {
        let answer = Ask::post(&format!("{base}/chat/completions/"), chat("m", false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{base}: {}", answer.text());
    }
    for base in ["", "/v1", "/anthropic/v1", "/anthropic"] {
        let answer = Ask::post(&format!("{base}/messages"), messages("m", false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{base}: {}", answer.text());
    }
    let lost = Ask::post("/proxy/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(lost.status, 404);
    assert!(lost.text().contains("/v1/chat/completions is served"), "{}", lost.text());
}

#[tokio::test]
async fn azures_deployment_is_the_model() {
    for (kind, field) in [("OpenAI", "messages"), ("Anthropic", "messages"), ("Gemini", "contents")] {
        let (upstream, gateway) = plain(kind).await;
        let path = "/openai/deployments/m/chat/completions?api-version=2024-10-21";
        for body in [
            json!({"messages": [{"role": "user", "content": "x"}]}),
            json!({"model": "another", "messages": [{"role": "user", "content": "x"}]}),
            json!({"model": null, "stream": true, "messages": [{"role": "user", "content": "x"}]}),
        ] {
            let ask = Ask::post(path, body.to_string()).anonymous().header("api-key", TOKEN);
            let answer = ask.send(&gateway).await;
            assert_eq!(answer.status, 200, "{kind} {body}: {}", answer.text());
            assert_eq!(answer.header("x-routeapi-warnings"), None, "{kind}");
            let sent = upstream.last();
            assert!(sent.json()[field].is_array(), "{kind}: {:#}", sent.json());
            assert!(format!("{} {}", sent.path, sent.json()["model"]).contains("up-model"), "{kind}: {}", sent.path);
        }
        let wrong = Ask::post("/openai/deployments/n/chat/completions", chat("m", false)).send(&gateway).await;
        assert_eq!(wrong.status, 404, "the deployment counts: {}", wrong.text());
    }
    let (_upstream, gateway) = plain("OpenAI").await;
    let twice = r#"{"model":"m","model":"n","messages":[]}"#;
    let answer = Ask::post("/openai/deployments/m/chat/completions", twice).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn cursors_body_is_answered_as_chat_by_every_upstream() {
    let body = |stream: bool| {
        let options = stream.then(|| json!({"include_usage": true}));
        json!({"model": "m", "stream": stream, "messages": [], "stream_options": options, "instructions": "be brief", "input": [{"role": "user", "content": "tell me something"}],
            "include": ["reasoning.encrypted_content"]})
    };
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        let (upstream, gateway) = plain(kind).await;
        let whole = Ask::post("/v1/chat/completions", body(false).to_string()).send(&gateway).await;
        assert_eq!(whole.status, 200, "{kind}: {}", whole.text());
        let said = whole.json()["choices"][0]["message"]["content"].to_string();
        assert!(said.contains("tell me something"), "{kind}: {said}");
        assert_eq!(whole.header("x-routeapi-warnings"), Some("dropped;field=include"), "{kind}");
        assert!(upstream.last().json().to_string().contains("be brief"), "{kind}");
        let streamed = Ask::post("/v1/chat/completions", body(true).to_string()).send(&gateway).await;
        let events = streamed.events();
        assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"), "{kind}: {events:#?}");
        assert!(events.iter().any(|event| event["usage"]["total_tokens"].is_u64()), "{kind}: {events:#?}");
    }
    let (_upstream, gateway) = plain("OpenAI").await;
    let stateful = json!({"model": "m", "input": "x", "previous_response_id": "r"});
    let answer = Ask::post("/v1/chat/completions", stateful.to_string()).send(&gateway).await;
    assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some("previous_response_id")));
}

#[tokio::test]
async fn a_web_socket_is_told_to_stay_with_http() {
    let (_upstream, gateway) = plain("OpenAI").await;
    for path in ["/v1/responses", "/v1/realtime/translations", "/"] {
        let ask = Ask::get(path).header("connection", "Upgrade").header("upgrade", "WebSocket");
        let ask = ask.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status, 426, "{path}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("no WebSocket"), "{}", answer.text());
        assert_eq!(answer.header("upgrade"), Some("HTTP/1.1"));
    }
    for (path, member, word) in [
        ("/v1/responses", "/error/type", "invalid_request_error"),
        ("/v1/messages", "/type", "error"),
        ("/v1beta/models/m:streamGenerateContent", "/error/status", "INVALID_ARGUMENT"),
    ] {
        let ask = Ask::get(path).header("connection", "upgrade").header("upgrade", "h2c, websocket");
        let answer = ask.send(&gateway).await;
        assert_eq!((answer.status, answer.json().pointer(member).unwrap().as_str()), (426, Some(word)), "{path}");
    }
}
