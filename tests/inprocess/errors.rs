//! Bad input gets a clear error in the client's own dialect, and nobody else notices.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use http::Method;
use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream};
use serde_json::{Value, json};

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Answer, Ask, chat, dialects, messages},
};

async fn plain() -> (Upstream, Gateway) {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway =
        Gateway::start_with(&manifests, RequestSettings { max_body_bytes: 10_000, ..RequestSettings::default() });
    (upstream, gateway)
}

/// The message, after checking that the error has its dialect's shape.
fn message(path: &str, answer: &Answer) -> String {
    let body = answer.json();
    let error = &body["error"];
    let shape_holds = if path.contains("messages") {
        body["type"] == "error" && error["type"].is_string() && body["request_id"].is_string()
    } else if path.contains("generateContent") || path.contains("GenerateContent") || path.contains("v1beta") {
        error["code"] == answer.status && error["status"].is_string()
    } else {
        error["type"].is_string() && error.get("code").is_some() && error.get("param").is_some()
    };
    assert!(shape_holds, "{path}: {body:#}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-routeapi-request-id").map(str::len), Some(32));
    error["message"].as_str().unwrap().to_owned()
}

/// A base URL that an upstream redirects from, such as http for https, is the operator's to correct: where it leads is said,
/// and nothing is sent there.
#[tokio::test]
async fn a_redirect_is_not_followed_and_says_where_the_base_url_belongs() {
    let elsewhere = Upstream::start(Script::new()).await;
    let there = elsewhere.url().replace("http://", "http://user:secret@");
    for (status, location, says) in [
        (301, format!("{there}/v1/x?token=secret"), format!("(301) to {},", elsewhere.url())),
        (
            302,
            "https://llm.example.com:8443/login?state=secret".to_owned(),
            "(302) to https://llm.example.com:8443,".to_owned(),
        ),
        (307, "/v1/chat/completions/".to_owned(), "(307) to another path,".to_owned()),
        (308, String::new(), "(308) to another path,".to_owned()),
    ] {
        let script = Script::failing(status).header("location", &location);
        let upstream = Upstream::start(script).await;
        let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        for (path, body) in dialects("m", false) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 502, "{path}: {}", answer.text());
            let said = message(&path, &answer);
            assert!(said.contains(&says) && said.contains("spec.baseURL of AIProvider"), "{path}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
    assert_eq!(elsewhere.received().len(), 0, "nothing followed");
}

/// Only OpenAI's errors have a place of their own for the field.
#[tokio::test]
async fn the_message_names_the_field_in_every_dialect() {
    let (_upstream, gateway) = plain().await;
    for (path, body, says) in [
        ("/v1beta/models/m:generateContent", "{}", "contents: is required"),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            r#"{"contents":[{"parts":[{"text":1}]}]}"#,
            "contents[0].parts[0].text: ",
        ),
        ("/v1/messages", r#"{"model":"m","max_tokens":9}"#, "messages: is required"),
    ] {
        let answer = Ask::post(path, body).send(&gateway).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        let said = message(path, &answer);
        assert!(said.starts_with(says), "{path}: {said}");
    }
}

#[tokio::test]
async fn each_kind_of_invalid_token_has_its_own_error_code() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("up", "OpenAI", &upstream)
        .route("m", &["up"])
        .route("n", &["up"])
        .token()
        .token_with("old", "sk-old-token-0001", "models: [\"*\"], expirationTime: \"2020-01-01T00:00:00Z\"")
        .token_with("off", "sk-off-token-0001", "models: [\"*\"], state: Suspended")
        .token_with("narrow", "sk-narrow-token-01", "models: [n]");
    let gateway = Gateway::start(&manifests);
    let minted = routeapi_channel::token_format::mint(&[7; routeapi_channel::token_format::ENTROPY]);
    let mut damaged = minted.value.expose().to_owned();
    damaged.pop();
    damaged.push(if minted.value.expose().ends_with('0') { '1' } else { '0' });
    for (path, body) in dialects("m", false) {
        for (token, status, word, says) in [
            (None, 401, "no_token", "none was sent"),
            (Some("sk-nobody"), 401, "unknown_token", "not known"),
            (Some(damaged.as_str()), 401, "mistyped_token", "damaged"),
            (Some("sk-old-token-0001"), 401, "token_expired", "expired at 2020-01-01T00:00:00Z"),
            (Some("sk-off-token-0001"), 403, "token_suspended", "suspended"),
            (Some("sk-narrow-token-01"), 403, "model_not_allowed", "may not use the model \"m\""),
        ] {
            let ask = Ask::post(&path, body.clone()).anonymous();
            let ask = if let Some(token) = token { ask.bearer(token) } else { ask };
            let answer = ask.send(&gateway).await;
            assert_eq!(answer.status, status, "{path} {word}: {}", answer.text());
            let message = message(&path, &answer);
            assert!(message.contains(says), "{path} {word}: {message}");
            assert_eq!(message.starts_with("invalid API key"), status == 401, "{path} {word}: {message}");
            assert!(token.is_none_or(|token| !message.contains(token)), "no key in a message: {message}");
        }
    }
    assert!(upstream.received().is_empty());
    let records = gateway.records(18).await;
    assert_eq!(records[3]["error"], "token_expired", "{:#}", records[3]);
    assert_eq!(records[3]["outcome"], "limit_stopped");
    let apis: std::collections::BTreeSet<&str> =
        records.iter().filter_map(|record| record["operation"].as_str()).collect();
    assert_eq!(apis.into_iter().collect::<Vec<_>>(), ["chat_completions", "generate_content", "messages"]);
    assert!(records.iter().all(|record| record["operation"].is_string()), "a rejected key's record names the API");
}

#[tokio::test]
async fn only_a_refusal_of_the_request_itself_is_a_completed_answer() {
    for (status, code, outcome) in [
        (400, "bad", "completed"),
        (400, "context_length_exceeded", "completed"),
        (400, "content_filter", "completed"),
        (413, "bad", "completed"),
        (422, "bad", "completed"),
        (401, "bad", "upstream_failed"),
        (403, "bad", "upstream_failed"),
        (404, "model_not_found", "upstream_failed"),
        (429, "bad", "upstream_failed"),
        (500, "bad", "upstream_failed"),
        (503, "bad", "upstream_failed"),
    ] {
        let error = format!(r#"{{"error":{{"message":"m","type":"t","param":null,"code":"{code}"}}}}"#);
        let upstream = Upstream::start(Script::failing(status).body(&error, "application/json")).await;
        let gateway = Gateway::start(&Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token());
        for (path, body) in dialects("m", false) {
            Ask::post(&path, body).send(&gateway).await;
        }
        for record in gateway.records(3).await {
            assert_eq!(record["outcome"], outcome, "{status} {code}: {record:#}");
        }
    }
}

#[tokio::test]
async fn a_token_is_taken_from_wherever_an_sdk_puts_it() {
    let (upstream, gateway) = plain().await;
    let headers = ["x-api-key", "x-goog-api-key", "api-key"];
    for header in headers {
        let answer =
            Ask::post("/v1/chat/completions", chat("m", false)).anonymous().header(header, TOKEN).send(&gateway).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    }
    let path = format!("/v1beta/models/m:generateContent?key={TOKEN}");
    let answer = Ask::post(&path, crate::request::contents()).anonymous().send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for record in gateway.records(4).await {
        assert!(!record.to_string().contains(TOKEN), "{record:#}");
        assert_eq!(record["token"], "apps/main");
    }
    for request in upstream.received() {
        assert!(!format!("{request:?}").contains(TOKEN), "{request:?}");
    }
}

#[tokio::test]
async fn unknown_models_and_paths_are_404_in_the_dialect() {
    let (_upstream, gateway) = plain().await;
    for (path, body) in dialects("missing", false) {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!(answer.status, 404);
        assert!(message(&path, &answer).contains("\"missing\" does not exist"), "{}", answer.text());
    }
    for path in ["/v1/nothing", "/v1/messages/nothing", "/v1beta/nothing"] {
        let answer = Ask::post(path, "{}").send(&gateway).await;
        assert_eq!(answer.status, 404, "{path}");
        message(path, &answer);
    }
    for (path, allow) in [("/v1/chat/completions", "POST"), ("/v1/messages", "POST")] {
        let answer = Ask::get(path).send(&gateway).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
        message(path, &answer);
    }
    for method in [Method::HEAD, Method::GET] {
        let answer = Ask::get("/").method(method).anonymous().send(&gateway).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn malformed_bodies_say_where() {
    let (upstream, gateway) = plain().await;
    for (body, says) in [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", ""),
        ("nonsense", "JSON"),
        ("{\"model\":\"m\",\"messages\":[1,}", "JSON"),
        ("{\"messages\":[]}", "model"),
        ("{\"model\":7}", "model"),
        ("{\"model\":\"m\",\"model\":\"n\"}", "model"),
        ("{\"model\":\"m\",\"stream\":\"yes\"}", "stream"),
    ] {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let answer = Ask::post(path, body).send(&gateway).await;
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
            let message = message(path, &answer);
            assert!(message.contains(says), "{path} {body}: {message}");
        }
    }
    let deep = "[".repeat(9_000);
    let answer = Ask::post("/v1/chat/completions", deep).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn bodies_are_bounded_before_and_after_decompression() {
    let (upstream, gateway) = plain().await;
    let large = chat("m", false).replace("something", &"x".repeat(20_000));
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let plain = Ask::post("/v1/chat/completions", large.clone());
    let bomb = Ask::post("/v1/chat/completions", gzip(&large)).header("content-encoding", "gzip");
    for ask in [plain, bomb] {
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(message("/v1/chat/completions", &answer).contains("10000 bytes"));
    }
    let deflate = Ask::post("/v1/chat/completions", "x").header("content-encoding", "deflate").send(&gateway).await;
    assert_eq!(deflate.status, 415);
    for encoding in ["gzip", "zstd", "br"] {
        let broken = Ask::post("/v1/chat/completions", "x").header("content-encoding", encoding);
        assert_eq!(broken.send(&gateway).await.status, 400, "{encoding}");
    }
    assert!(upstream.received().is_empty());
    let small = Ask::post("/v1/chat/completions", gzip(&chat("m", false))).header("content-encoding", "gzip");
    assert_eq!(small.send(&gateway).await.status, 200);
    assert_eq!(upstream.last().header("content-encoding"), None);
    assert_eq!(upstream.last().json()["model"], "up-model");
}

#[tokio::test]
async fn a_415_names_what_is_accepted() {
    let (upstream, gateway) = plain().await;
    for (path, body) in dialects("m", false) {
        for encoding in ["deflate", "gzip, br", "nonsense"] {
            let answer = Ask::post(&path, body.clone()).header("content-encoding", encoding).send(&gateway).await;
            assert_eq!(answer.status, 415, "{path}: {}", answer.text());
            assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd, br, identity"));
            let said = message(&path, &answer);
            assert!(said.contains(encoding) && said.contains("send gzip, zstd, br or none"), "{said}");
        }
        for content_type in ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain"] {
            let answer = Ask::post(&path, "--x\r\n\r\nhello").header("content-type", content_type).send(&gateway).await;
            assert_eq!(answer.status, 415, "{path}: {}", answer.text());
            assert_eq!(answer.header("accept"), Some("application/json"));
            let said = message(&path, &answer);
            let kind = content_type.split(';').next().unwrap();
            assert!(said.contains(kind) && said.contains("send application/json"), "{said}");
        }
        // JSON under another name is read, as curl sends it.
        let curl =
            Ask::post(&path, body).header("content-type", "application/x-www-form-urlencoded").send(&gateway).await;
        assert_eq!(curl.status, 200, "{path}: {}", curl.text());
    }
    assert_eq!(upstream.received().len(), 3);
    assert_eq!(gateway.records(21).await[4]["error"], "unknown_content_type");
}

#[tokio::test]
async fn upstream_errors_come_in_the_clients_dialect_with_their_status() {
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        let upstream = Upstream::start(Script::new()).await;
        let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        for status in [400, 401, 403, 404, 413, 429, 500, 503] {
            // Evicted after a while, it is tried all the same: there is no other.
            upstream.set(Script::failing(status));
            for (path, body) in dialects("m", true) {
                let answer = Ask::post(&path, body).send(&gateway).await;
                let overloaded = status == 503 && path.contains("messages") && kind != "Anthropic";
                let expected = match status {
                    // The provider's key is not the client's.
                    401 => 502,
                    _ if overloaded => 529,
                    status => status,
                };
                assert_eq!(answer.status, expected, "{kind} {status} {path}: {}", answer.text());
                message(&path, &answer);
            }
        }
    }
}

/// What comes from something between the gateway and the vendor: a proxy's page, a service mesh's line of text.
#[tokio::test]
async fn upstream_errors_that_are_not_json_become_api_errors_without_their_text() {
    let page = "<!DOCTYPE html>\n<html><head><title>Blocked</title></head><body>secret 10.0.0.7</body></html>";
    let bodies = [
        (page, "text/html"),
        (page, "application/json"),
        ("<?xml version='1.0'?><Error><Code>secret</Code></Error>", "application/xml"),
        ("upstream connect error or disconnect", "text/plain"),
        ("\"secret\u{0}\"", "application/json"),
        ("", "text/html"),
    ];
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        let upstream = Upstream::start(Script::new()).await;
        let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        for (status, (body, content_type)) in
            [403, 404, 413, 502].into_iter().flat_map(|it| bodies.map(|body| (it, body)))
        {
            upstream.set(Script::failing(status).body(body, content_type));
            for (path, ask) in dialects("m", false).into_iter().chain(dialects("m", true)) {
                let answer = Ask::post(&path, ask).send(&gateway).await;
                assert_eq!(answer.status, status, "{kind} {path} {body}: {}", answer.text());
                let said = message(&path, &answer);
                assert!(!answer.text().contains("secret") && !answer.text().contains("<html"), "{kind} {path}: {said}");
                let expected = if content_type == "text/plain" { body.to_owned() } else { format!("status {status}") };
                assert!(said.contains(&expected), "{kind} {path}: {said}");
            }
        }
        // The vendor's own stay as they are, also those that are no error of its documentation.
        let own = [
            r#"{"detail":"Not Found"}"#,
            "  [{\"error\": {\"code\": 404, \"message\": \"x\", \"status\": \"NOT_FOUND\"}}]\n",
        ];
        for (stream, body) in [false, true].into_iter().flat_map(|it| own.map(|body| (it, body))) {
            upstream.set(Script::failing(404).body(body, "text/html"));
            let at = ["OpenAI", "Anthropic", "Gemini"].iter().position(|it| *it == kind).unwrap();
            let [one, two, three] = dialects("m", stream);
            let (path, ask) = [one, two, three][at].clone();
            let answer = Ask::post(&path, ask).send(&gateway).await;
            assert_eq!((answer.status, answer.text()), (404, body), "{kind} {path}");
        }
    }
}

/// A front end that answers everything with its page and status 200.
#[tokio::test]
async fn a_page_in_the_place_of_an_answer_is_a_failure() {
    let large = format!("<html>{}</html>", "<p>secret</p>\n\n".repeat(200_000));
    for (kind, page) in [("OpenAI", "\n<html>secret</html>"), ("Anthropic", large.as_str()), ("Gemini", &large)] {
        let first = Upstream::start(Script::failing(200).body(page, "text/html; charset=utf-8")).await;
        let second = Upstream::start(Script::new().text("saved by the second")).await;
        let manifests = Manifests::new()
            .provider("first", kind, &first)
            .provider("second", "OpenAI", &second)
            .route("alone", &["first"])
            .route("both", &["first", "second"])
            .token();
        let gateway = Gateway::start(&manifests);
        for stream in [false, true] {
            for (path, ask) in dialects("alone", stream) {
                let answer = Ask::post(&path, ask).send(&gateway).await;
                assert_eq!(answer.status, 502, "{kind} {path}: {}", answer.text());
                let said = message(&path, &answer);
                assert!(said.contains("web page") && said.contains("baseURL"), "{kind} {path}: {said}");
            }
            for (path, ask) in dialects("both", stream) {
                let answer = Ask::post(&path, ask).send(&gateway).await;
                assert!(answer.status == 200 && answer.text().contains("second"), "{kind} {path}: {}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_no_upstream_can_express_is_named() {
    let upstream = Upstream::start(Script::new()).await;
    let other = Upstream::start(Script::new().text("from the other")).await;
    let manifests = Manifests::new()
        .provider("gem", "Anthropic", &upstream)
        .provider("oai", "OpenAI", &other)
        .route("strict", &["gem"])
        .route("both", &["gem", "oai"])
        .token();
    let gateway = Gateway::start(&manifests);
    let body =
        |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "x"}], "n": 2}).to_string();
    let answer = Ask::post("/v1/chat/completions", body("strict")).send(&gateway).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(message("/v1/chat/completions", &answer).contains("upstream gem"), "{}", answer.text());
    assert_eq!(answer.json()["error"]["param"], "n");
    let answer = Ask::post("/v1/chat/completions", body("both")).send(&gateway).await;
    assert_ne!(answer.status, 400, "the upstream that can is tried: {}", answer.text());
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_request_that_no_upstream_can_serve_is_400_and_says_why() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider("claude", "Anthropic", &upstream)
        .with(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {name: text-only, namespace: apps}\n\
             spec: {model: text-only, upstreams: [{name: up, providerRef: {name: claude}, capabilities: [Streaming]}]}",
        )
        .route("m", &["claude"])
        .token();
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post("/v1/embeddings", r#"{"model":"m","input":"x"}"#).send(&gateway).await;
    assert_eq!(answer.status, 400);
    let said = message("/v1/embeddings", &answer);
    assert!(said.contains("claude") && said.contains("Anthropic"), "{said}");
    let tools: Value = json!({"model": "text-only", "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f"}}]});
    let answer = Ask::post("/v1/chat/completions", tools.to_string()).send(&gateway).await;
    assert_eq!(answer.status, 400);
    assert!(message("/v1/chat/completions", &answer).contains("Tools"), "{}", answer.text());
}

#[tokio::test]
async fn a_document_in_the_place_of_a_stream_is_told_and_counted_as_what_it_says() {
    let error = r#"{"error":{"message":"no GPU is free","type":"server_error","code":503,"vendor_hint":7}}"#;
    for (kind, path, body) in [
        ("OpenAI", "/v1/chat/completions", chat("m", true)),
        ("OpenAI", "/v1/messages", messages("m", true)),
        (
            "OpenAI",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            r#"{"contents":[{"parts":[{"text":"x"}]}]}"#.into(),
        ),
        ("Anthropic", "/v1/chat/completions", chat("m", true)),
        ("Gemini", "/v1/messages", messages("m", true)),
    ] {
        let upstream = Upstream::start(Script::failing(200).body(error, "application/json")).await;
        let manifests = Manifests::new().provider("up", kind, &upstream).route("m", &["up"]).token();
        let gateway = Gateway::start(&manifests);
        let answer = Ask::post(path, body).send(&gateway).await;
        assert!(answer.status >= 500, "{kind} {path}: {}", answer.text());
        let record = gateway.record().await;
        assert_eq!(record["attempts"][0]["error"], "overloaded", "{kind} {path}: {record:#}");
        // The vendor's own words only where they are the client's dialect.
        let same = kind == "OpenAI" && path.ends_with("completions");
        assert_eq!(answer.text().contains("vendor_hint"), same, "{kind} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_last_event_of_a_failed_response_is_handed_over_in_the_vendors_words() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n";
    let flat = r#"{"type":"error","sequence_number":1,"code":"rate_limit_exceeded","message":"slow","param":null,"vendor_hint":"tier 1"}"#;
    let failed = r#"{"code":"rate_limit_exceeded","message":"slow","vendor_hint":"tier 1"}"#;
    let rows = [
        (format!("{created}event: error\ndata: {flat}\n\n"), flat.to_owned()),
        (
            format!(
                "{created}event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":1,\"response\":{{\"id\":\"resp_1\",\"status\":\"failed\",\"error\":{failed}}}}}\n\n"
            ),
            format!("{{\"error\":{failed}}}"),
        ),
    ];
    for (events, expected) in rows {
        let upstream = Upstream::start(Script::failing(200).body(&events, "text/event-stream")).await;
        let manifests = Manifests::new()
            .provider_with("up", "OpenAI", &upstream, "endpoints: [Responses]")
            .route_with("m", &["up"], "fallback: {maxAttempts: 1}")
            .token();
        let gateway = Gateway::start(&manifests);
        let answer = Ask::post("/v1/responses", r#"{"model":"m","stream":true,"input":"x"}"#).send(&gateway).await;
        assert_eq!((answer.status, answer.text()), (429, &*expected));
        assert_eq!(gateway.record().await["attempts"][0]["error"], "rate_limited");
    }
}

#[tokio::test]
async fn a_failing_request_disturbs_no_other() {
    let (_upstream, gateway) = plain().await;
    let good = (0..10).map(|_| Ask::post("/v1/messages", messages("m", true)).send(&gateway));
    let bad = (0..10).map(|_| Ask::post("/v1/messages", "{").send(&gateway));
    let (good, bad) = tokio::join!(futures_util::future::join_all(good), futures_util::future::join_all(bad));
    assert!(good.iter().all(|answer| answer.status == 200));
    assert!(bad.iter().all(|answer| answer.status == 400));
}
