//! The scripted upstream fails exactly as it is told, and its ledger is exact. That its dialects are right is proven by
//! the official SDKs (`tests/clients/test_upstream_truth.py`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may stop at the first surprise")]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use routeapi_tests::client::chain;
use routeapi_tests::upstream::{CutAt, CutHow, Outcome, Script, Upstream, UsageScript};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(5);

fn client(http2: bool) -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

fn chat(upstream: &Upstream, body: &Value) -> Request<Full<Bytes>> {
    let uri = format!("{}/chat/completions", upstream.openai_url());
    Request::post(uri).body(Full::from(body.to_string())).unwrap()
}

fn streamed() -> Value {
    json!({"model": "m", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "count to three"}]})
}

/// All that arrives, and the error that ended it.
async fn drain(response: Response<Incoming>) -> (Vec<u8>, Option<String>) {
    let (mut body, mut all) = (response.into_body(), Vec::new());
    loop {
        match body.frame().await {
            None => return (all, None),
            Some(Ok(frame)) => all.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) => return (all, Some(chain(&error))),
        }
    }
}

#[tokio::test]
async fn the_ledger_and_the_reported_usage_agree() {
    let upstream = Upstream::start(Script::new().text("one two three").cached_tokens(2)).await;
    let (body, error) = drain(client(false).request(chat(&upstream, &streamed())).await.unwrap()).await;
    assert_eq!(error, None);
    let body = String::from_utf8(body).unwrap();
    assert!(body.ends_with("data: [DONE]\n\n"), "{body}");
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6});
    let last = body.lines().rfind(|line| line.contains("\"total_tokens\"")).unwrap();
    let said: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    for (name, value) in usage.as_object().unwrap() {
        assert_eq!(&said["usage"][name], value, "{name}");
    }
    let truth = &upstream.ledger()[0];
    assert_eq!((truth.input_tokens, truth.cached_tokens, truth.output_tokens), (3, 2, 3));
    assert_eq!((truth.delivered_tokens, truth.outcome, truth.streamed), (3, Outcome::Completed, true));
    assert_eq!(upstream.in_flight(), 0);
}

#[tokio::test]
async fn illegal_bodies_are_refused_in_the_dialects_words() {
    let upstream = Upstream::start(Script::failing(500)).await;
    let cases = [
        ("/v1/chat/completions", json!({"model": "m"}), "messages"),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "model", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "top_k": 1}),
            "top_k",
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "user", "content": "y"}]}),
            "tool_call_ids",
        ),
        ("/v1/messages", json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}), "max_tokens"),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "system", "content": "x"}]}),
            "first message",
        ),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 5, "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "functions.f:0", "name": "f", "input": {}}]}]}),
            "legal name",
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}),
            "role",
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}]}),
            "function calls",
        ),
        ("/v1beta/models/m:generateContent", json!({"messages": []}), "messages"),
    ];
    for (path, body, words) in cases {
        let request = Request::post(format!("{}{path}", upstream.url()))
            .header("anthropic-version", "2023-06-01")
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = client(false).request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path} {body}");
        let error: Value = serde_json::from_slice(&drain(response).await.0).unwrap();
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{words}: {error}");
    }
    assert!(upstream.ledger().iter().all(|entry| entry.outcome == Outcome::Refused));
}

#[tokio::test]
async fn the_newer_anthropic_version_refuses_sampling() {
    let upstream = Upstream::start(Script::new()).await;
    for (version, status) in [("2023-06-01", 200), ("2026-10-21", 400)] {
        let body =
            json!({"model": "m", "max_tokens": 9, "temperature": 0, "messages": [{"role": "user", "content": "x"}]});
        let request = Request::post(format!("{}/v1/messages", upstream.url()))
            .header("anthropic-version", version)
            .body(Full::from(body.to_string()))
            .unwrap();
        assert_eq!(client(false).request(request).await.unwrap().status(), status, "{version}");
    }
}

#[tokio::test]
async fn every_cut_is_where_and_how_the_script_says() {
    let upstream = Upstream::start(Script::new()).await;
    let whole = {
        upstream.enqueue(Script::new().text("größe größe größe"));
        drain(client(false).request(chat(&upstream, &streamed())).await.unwrap()).await.0
    };
    let ends: Vec<usize> = (1..whole.len()).filter(|at| whole[..*at].ends_with(b"\n\n")).collect();
    let inside_char = whole.iter().position(|byte| !byte.is_ascii()).unwrap() + 1;
    let cases = [
        (CutAt::Events(2), CutHow::Close, ends[1]),
        (CutAt::Events(2), CutHow::Reset, ends[1]),
        (CutAt::Events(2), CutHow::End, ends[1]),
        (CutAt::InsideEvent(1), CutHow::Close, ends[0] + (ends[1] - ends[0]) / 2),
        (CutAt::Bytes(37), CutHow::Reset, 37),
        (CutAt::InsideChar, CutHow::Close, inside_char),
    ];
    for (at, how, length) in cases {
        upstream.enqueue(Script::new().text("größe größe größe").cut(at, how));
        let (body, error) = drain(client(false).request(chat(&upstream, &streamed())).await.unwrap()).await;
        // Ids differ from request to request in one digit only.
        assert_eq!(body.len(), length, "{at:?} {how:?}");
        let error = error.unwrap_or_default();
        match how {
            CutHow::End => assert_eq!(error, ""),
            CutHow::Close => assert!(error.contains("EOF") || error.contains("before message completed"), "{error}"),
            CutHow::Reset => assert!(error.contains("reset"), "{error}"),
        }
        let entry = upstream.ledger().pop().unwrap();
        assert_eq!(entry.outcome, Outcome::Failed, "{at:?} {how:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_at_once_with_what_it_got() {
    for http2 in [false, true] {
        let script = Script::new().chunks(1000, "word ").delay_chunk(Duration::from_millis(2));
        let upstream = Upstream::start(script).await;
        let client = client(http2);
        let mut body = client.request(chat(&upstream, &streamed())).await.unwrap().into_body();
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        let left = Instant::now();
        drop(body);
        let entry = upstream.wait_ended(1, LIMIT).await;
        assert_eq!(entry.outcome, Outcome::ClientClosed);
        assert!((2..900).contains(&entry.delivered_tokens), "{}", entry.delivered_tokens);
        let seen = entry.ended.unwrap().saturating_duration_since(left);
        assert!(seen < Duration::from_millis(50), "seen after {seen:?}, HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_seen() {
    let upstream = Upstream::start(Script::silent()).await;
    let request = tokio::spawn(client(false).request(chat(&upstream, &streamed())));
    upstream.wait_received(1, LIMIT).await;
    assert_eq!(upstream.in_flight(), 1);
    request.abort();
    assert_eq!(upstream.wait_ended(1, LIMIT).await.outcome, Outcome::ClientClosed);
}

#[tokio::test]
async fn killed_it_resets_and_comes_back_on_its_port() {
    let upstream = Upstream::start(Script::new().chunks(9, "x ").stall_after(4)).await;
    let response = client(false).request(chat(&upstream, &streamed())).await.unwrap();
    let reading = tokio::spawn(drain(response));
    routeapi_tests::wait::until_true("content is out", LIMIT, || upstream.ledger()[0].delivered_tokens == 3).await;
    upstream.kill();
    let (_, error) = reading.await.unwrap();
    assert!(error.as_ref().is_some_and(|error| error.contains("reset")), "{error:?}");
    let refused = client(false).request(chat(&upstream, &streamed())).await.unwrap_err();
    assert!(chain(&refused).contains("refused"), "{}", chain(&refused));
    upstream.restart().await.unwrap();
    upstream.set(Script::new());
    assert_eq!(client(false).request(chat(&upstream, &streamed())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn paused_it_sends_nothing_and_resumed_all() {
    let upstream = Upstream::start(Script::new()).await;
    upstream.pause();
    let request = tokio::spawn(client(false).request(chat(&upstream, &streamed())));
    upstream.wait_received(1, LIMIT).await;
    assert!(!request.is_finished());
    upstream.resume();
    assert_eq!(drain(request.await.unwrap().unwrap()).await.1, None);
}

#[tokio::test]
async fn scripts_are_taken_from_queue_then_model_then_default() {
    let upstream = Upstream::start(Script::failing(500)).await;
    upstream.on_model("m", Script::rate_limited(7));
    upstream.enqueue(Script::html_502());
    let mut seen = Vec::new();
    for model in ["m", "m", "other"] {
        let mut body = streamed();
        body["model"] = json!(model);
        let response = client(false).request(chat(&upstream, &body)).await.unwrap();
        seen.push((response.status().as_u16(), response.headers().get("retry-after").cloned()));
    }
    assert_eq!(seen, [(502, None), (429, Some("7".parse().unwrap())), (500, None)]);
}

#[tokio::test]
async fn usage_can_be_left_out_or_wrong_while_the_ledger_is_right() {
    let upstream = Upstream::start(Script::new()).await;
    for (usage, said) in [
        (UsageScript::Absent, Value::Null),
        (UsageScript::Odd(json!({"prompt_tokens": -1})), json!({"prompt_tokens": -1})),
    ] {
        upstream.enqueue(Script::new().usage(usage));
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "a b"}]});
        let (body, _) = drain(client(false).request(chat(&upstream, &body)).await.unwrap()).await;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["usage"], said);
        assert_eq!(upstream.ledger().pop().unwrap().output_tokens, 4); // You said: a b
    }
}

#[tokio::test]
async fn a_compressed_stream_unpacks_to_the_plain_one() {
    use std::io::Read as _;
    let upstream = Upstream::start(Script::new().gzip()).await;
    let response = client(false).request(chat(&upstream, &streamed())).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let (packed, _) = drain(response).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn heartbeats_alone_go_on_until_the_client_leaves() {
    let upstream = Upstream::start(Script::new().only_heartbeats()).await;
    let mut body = client(false).request(chat(&upstream, &streamed())).await.unwrap().into_body();
    for _ in 0..3 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), ": keep-alive\n\n");
    }
    drop(body);
    let entry = upstream.wait_ended(1, LIMIT).await;
    assert_eq!((entry.outcome, entry.delivered_contents), (Outcome::ClientClosed, 0));
}

#[tokio::test]
async fn tls_offers_http2_and_its_own_ca() {
    let upstream = Upstream::builder().tls().key("sk-up").start().await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let pem = upstream.ca_pem().unwrap();
    let der: rustls::pki_types::CertificateDer<'_> =
        rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .enable_http2()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(chat(&upstream, &streamed())).await.unwrap();
    assert_eq!((response.version(), response.status()), (http::Version::HTTP_2, StatusCode::UNAUTHORIZED));
    let mut request = chat(&upstream, &streamed());
    request.headers_mut().insert("authorization", "Bearer sk-up".parse().unwrap());
    assert_eq!(client.request(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(upstream.accepted_connections(), 1);
}
