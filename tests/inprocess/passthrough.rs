//! Same dialect on both sides: what the gateway need not touch arrives as it was sent, in both directions.

use routeapi_tests::upstream::{Script, Upstream};

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat, contents, messages},
};

async fn same(kind: &str, script: Script) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script.tolerate_unknown()).await;
    let manifests = Manifests::new()
        .provider("up", kind, &upstream)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: m, namespace: apps}\n\
             spec: {model: m, upstreams: [{name: up, providerRef: {name: up}}]}",
        )
        .token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

/// The upstream's own bytes for a request sent straight to it.
async fn straight(upstream: &Upstream, path: &str, body: &str) -> bytes::Bytes {
    let ask = Ask::post(path, body.to_owned()).header("content-type", "application/json");
    ask.header("anthropic-version", "2023-06-01").open_at(upstream.address()).await.read().await.body
}

#[tokio::test]
async fn unknown_fields_and_odd_spelling_survive_byte_for_byte() {
    let odd = r#""x_future" : {"a":[1.0,null,1e3,12345678901234567890], "b":"\u00e9\/"},  "metadata":{}"#;
    for (kind, path, body) in [
        ("OpenAI", "/v1/chat/completions", chat("m", false)),
        ("Anthropic", "/v1/messages", messages("m", true)),
        ("Gemini", "/v1beta/models/m:generateContent", contents()),
    ] {
        let (upstream, gateway) = same(kind, Script::new()).await;
        let body = format!("{}, {odd} }}\n", body.strip_suffix('}').unwrap());
        let answer = Ask::post(path, body.clone()).send(&gateway).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert_eq!(upstream.last().body, body, "{kind}");
    }
}

#[tokio::test]
async fn answers_are_the_upstreams_bytes() {
    for (kind, path, body) in [
        ("OpenAI", "/v1/chat/completions", chat("m", false)),
        ("Anthropic", "/v1/messages", messages("m", false)),
        ("Anthropic", "/v1/messages", messages("m", true)),
        ("Gemini", "/v1beta/models/m:generateContent", contents()),
        ("Gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", contents()),
        ("Gemini", "/v1beta/models/m:streamGenerateContent", contents()),
    ] {
        let (upstream, gateway) = same(kind, Script::new().text("grüße an alle").heartbeats(1)).await;
        let through = Ask::post(path, body.clone()).send(&gateway).await;
        assert_eq!(through.status, 200, "{kind} {path}: {}", through.text());
        let direct = straight(&upstream, path, &body).await;
        // Ids are numbered by request, and that is all that may differ.
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(|letter: char| letter.is_ascii_digit(), "0");
        assert_eq!(plain(&through.body), plain(&direct), "{kind} {path}");
    }
}

#[tokio::test]
async fn an_upstreams_error_keeps_status_bytes_and_headers() {
    let error = r#"{"type":"error", "error":{"type":"invalid_request_error","message":"exactly  these words"},"request_id":"req_1"}"#;
    let script = Script::failing(400)
        .body(error, "application/json; charset=utf-8")
        .header("anthropic-ratelimit-tokens-remaining", "7")
        .header("anthropic-organization-id", "org-of-the-platform")
        .header("set-cookie", "a=b")
        .header("x-should-retry", "false");
    let (_upstream, gateway) = same("Anthropic", script).await;
    let answer = Ask::post("/v1/messages", messages("m", true)).send(&gateway).await;
    assert_eq!((answer.status, answer.text()), (400, error));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("request-id"), Some("req_1"), "the vendor's own");
    assert_eq!(answer.header("anthropic-ratelimit-tokens-remaining"), Some("7"));
    assert_eq!(answer.header("anthropic-organization-id"), None, "whose key it is concerns nobody");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("set-cookie"), None);
    assert!(answer.header("x-routeapi-request-id").is_some());
}

#[tokio::test]
async fn an_error_inside_an_answer_keeps_the_vendors_bytes() {
    let chat_error = r#"{"error": {"message": "Tool call validation failed", "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "{}", "status_code": 400}}"#;
    let role = r#"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    let claude_error = r#"{"type":"error", "error":{"type":"invalid_request_error","message":"no","details":{"x":1}}}"#;
    let gemini_error =
        r#"{"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT", "details": [{"x": 1}]}}"#;
    let gemini = |method: &str| format!("/v1beta/models/m:{method}");
    let (events, json) = ("text/event-stream", "application/json");
    for (kind, path, body, sent, content_type, error) in [
        (
            "OpenAI",
            "/v1/chat/completions".to_owned(),
            chat("m", true),
            format!("data: {role}\n\ndata: {chat_error}\n\n"),
            events,
            chat_error,
        ),
        ("OpenAI", "/v1/chat/completions".into(), chat("m", true), chat_error.into(), json, chat_error),
        ("OpenAI", "/v1/chat/completions".into(), chat("m", false), chat_error.into(), json, chat_error),
        (
            "Anthropic",
            "/v1/messages".into(),
            messages("m", true),
            format!("event: error\ndata: {claude_error}\n\n"),
            events,
            claude_error,
        ),
        ("Anthropic", "/v1/messages".into(), messages("m", false), claude_error.into(), json, claude_error),
        (
            "Gemini",
            gemini("streamGenerateContent?alt=sse"),
            contents(),
            format!("data: {gemini_error}\n\n"),
            events,
            gemini_error,
        ),
        ("Gemini", gemini("streamGenerateContent"), contents(), format!("[{gemini_error}]"), json, gemini_error),
        ("Gemini", gemini("generateContent"), contents(), gemini_error.into(), json, gemini_error),
    ] {
        let (_upstream, gateway) = same(kind, Script::failing(200).body(&sent, content_type)).await;
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!((answer.status, answer.text()), (400, error), "{kind} {path} {content_type}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{kind} {path}");
        assert_eq!(gateway.record().await["outcome"], "completed", "{kind} {path}");
    }
}

#[tokio::test]
async fn the_vendors_headers_pass_and_the_clients_secrets_do_not() {
    let (upstream, gateway) = same("Anthropic", Script::new()).await;
    let answer = Ask::post("/v1/messages?beta=true", messages("m", false))
        .header("x-api-key", TOKEN)
        .header("anthropic-beta", "one-2025,two-2025")
        .header("anthropic-beta", "three-2025")
        .header("anthropic-version", "2023-06-01")
        .header("x-claude-code-session-id", "s1")
        .header("cookie", "secret=1")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-stainless-lang", "python")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("tracestate", "vendor=1")
        .header("anthropic-workspace-id", "w")
        .header("x-goog-iap-jwt-assertion", "jwt")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .send(&gateway)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = upstream.last();
    assert_eq!(sent.path, "/v1/messages?beta=true");
    let mut names: Vec<&str> = sent.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "accept-encoding",
            "anthropic-beta",
            "anthropic-version",
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "x-claude-code-session-id"
        ]
    );
    let beta: Vec<&str> =
        sent.headers.iter().filter(|(name, _)| name == "anthropic-beta").map(|(_, value)| value.as_str()).collect();
    assert_eq!(beta.join(",").replace(' ', ""), "one-2025,two-2025,three-2025");
    let parent = sent.header("traceparent").unwrap();
    assert!(
        parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !parent.contains("b7ad6b7169203331"),
        "{parent}"
    );
    assert_eq!(gateway.record().await["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn usage_that_only_the_gateway_asked_for_stays_hidden() {
    let (upstream, gateway) = same("OpenAI", Script::new().chunks(4, "word ")).await;
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert!(!answer.text().contains("usage"), "{}", answer.text());
    assert_eq!(upstream.last().json()["stream_options"]["include_usage"], true);
    assert_eq!(gateway.record().await["usage_source"], "reported");
}

async fn open_to_all_models(kind: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("up", kind, &upstream)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: all, namespace: apps}\n\
             spec: {model: '*', upstreams: [{name: up, providerRef: {name: up}}]}",
        )
        .token();
    let gateway = Gateway::start(&manifests);
    (upstream, gateway)
}

#[tokio::test]
async fn no_model_leads_an_upstreams_key_to_another_path() {
    let (upstream, gateway) = open_to_all_models("Gemini").await;
    for model in
        ["gem-x/../../v1beta/corpora/c", "..", "a//b", r"a\\..\\b", "a%2e%2e", "a?x=1", "a#b", "a;b", "a\\u0000"]
    {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let answer = Ask::post(path, messages(model, false)).send(&gateway).await;
            assert_eq!(answer.status, 400, "{path} {model}: {}", answer.text());
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains("`model`"), "{}", answer.text());
        }
    }
    for model in ["gem-x/../../v1beta/corpora/c", "..%2Fx", "%2e%2e", "a%252e%252e", "a%5C..", "a%3Fb", "a%00", "a//b"]
    {
        let path = format!("/v1beta/models/{model}:generateContent");
        let answer = Ask::post(&path, contents()).send(&gateway).await;
        assert_eq!(answer.status, 400, "{model}: {}", answer.text());
        assert_eq!(answer.json()["error"]["status"], "INVALID_ARGUMENT", "{model}");
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
}

#[tokio::test]
async fn a_slash_in_a_model_stays_in_the_models_place() {
    let (upstream, gateway) = open_to_all_models("Gemini").await;
    for (model, place) in
        [("meta-llama/Llama", "models/meta-llama%2FLlama"), ("models/gemini-2.5-pro", "models/gemini-2.5-pro")]
    {
        let answer = Ask::post("/v1/chat/completions", chat(model, false)).send(&gateway).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(upstream.last().path, format!("/v1beta/{place}:generateContent"));
    }
    let (upstream, gateway) = open_to_all_models("OpenAI").await;
    let answer = Ask::post("/v1/chat/completions", chat("../models/7B/model.gguf", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "an id in a body may be anything: {}", answer.text());
    assert_eq!(upstream.last().path, "/v1/chat/completions");
}

#[tokio::test]
async fn unknown_query_parameters_go_nowhere_and_are_told() {
    let (upstream, gateway) = open_to_all_models("Gemini").await;
    let query = "alt=sse&%24httpMethod=DELETE&callback=x&userProject=p&fields=*&upload_protocol=raw&access_token=t";
    let answer = Ask::post(&format!("/v1beta/models/m:streamGenerateContent?{query}"), contents()).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.last().path, "/v1beta/models/m:streamGenerateContent?alt=sse");
    assert_eq!(answer.header("x-routeapi-warnings"), Some("dropped;field=query"));
}
