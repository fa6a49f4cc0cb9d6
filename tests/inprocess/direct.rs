//! OpenAI's other endpoints: passed on byte for byte, of whatever content type, and metered by what their answers say.

use std::time::Duration;

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{CutAt, CutHow, Script, Upstream, UsageScript};
use serde_json::Value;

use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat},
};

pub const EVERYTHING: &str =
    "endpoints: [ChatCompletions, Completions, Moderations, Images, Speech, Transcriptions, Rerank]";

/// A gateway whose route `m` leads to an upstream that has them all.
pub async fn one(script: Script) -> (Upstream, Gateway) {
    one_with(script, RequestSettings::default()).await
}

pub async fn one_with(script: Script, settings: RequestSettings) -> (Upstream, Gateway) {
    let upstream = Upstream::start(script).await;
    let manifests = Manifests::new().provider_with("up", "OpenAI", &upstream, EVERYTHING).route("m", &["up"]).token();
    let gateway = Gateway::start_with(&manifests, settings);
    (upstream, gateway)
}

/// The same with two upstreams that have them all.
pub async fn two(first: Script, more: &str) -> (Upstream, Upstream, Gateway) {
    let (first, second) = (Upstream::start(first).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider_with("first", "OpenAI", &first, EVERYTHING)
        .provider_with("second", "OpenAI", &second, EVERYTHING)
        .route_with("m", &["first", "second"], more)
        .token();
    let gateway = Gateway::start(&manifests);
    (first, second, gateway)
}

/// Path, body, content type of the answer, name in the record.
const CALLS: [(&str, &str, &str, &str); 6] = [
    ("/v1/completions", r#"{"model":"m", "prompt":"once upon","n":1}"#, "application/json", "completions"),
    ("/v1/moderations", r#"{"input":"hello","model":"m"}"#, "application/json", "moderations"),
    (
        "/images/generations",
        r#" {"model" : "m","prompt":"a \u00e9 cat","n":2}"#,
        "application/json",
        "image_generations",
    ),
    ("/v1/audio/speech", r#"{"model":"m","input":"two words","voice":"alloy"}"#, "audio/mpeg", "speech"),
    ("/v1/rerank", r#"{"model":"m","query":"q","documents":["a","b c"]}"#, "application/json", "rerank"),
    ("/v1/score", r#"{"model":"m","text_1":"a","text_2":"b c"}"#, "application/json", "score"),
];

fn tokens(record: &Value) -> (u64, u64) {
    let count = |name: &str| record["usage"][name].as_u64().unwrap_or(0);
    (count("input"), count("output"))
}

#[tokio::test]
async fn bytes_pass_both_ways_and_usage_is_what_the_answer_says() {
    for (path, body, content_type, operation) in CALLS {
        let (upstream, gateway) = one(Script::new()).await;
        let answer = Ask::post(path, body).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("x-routeapi-upstream"), Some("up"), "{path}");
        let received = upstream.last();
        assert_eq!(received.body, body.replace("\"m\"", "\"up-model\""), "{path}");
        assert_eq!(received.header("content-type"), Some("application/json"), "{path}");
        assert!(path.ends_with(received.path.strip_prefix("/v1").unwrap()), "{path}: {}", received.path);
        let direct = Ask::post(&received.path, received.body).header("content-type", "application/json");
        let direct = direct.open_at(upstream.address()).await.read().await;
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(|letter: char| letter.is_ascii_digit(), "0");
        assert_eq!(plain(&answer.body), plain(&direct.body), "{path}");
        let record = gateway.record().await;
        let truth = &upstream.ledger()[0];
        assert_eq!((&record["operation"], &record["outcome"]), (&operation.into(), &"completed".into()), "{path}");
        assert_eq!(record["response_bytes"], answer.body.len(), "{path}");
        let expected = match operation {
            // Sound says nothing of tokens, and moderation costs nothing.
            "speech" => ("estimated", (3, 0)),
            "moderations" => ("none", (0, 0)),
            _ => ("reported", (truth.input_tokens, truth.output_tokens)),
        };
        let source = record["usage_source"].as_str().unwrap();
        assert_eq!((source, tokens(&record)), expected, "{path} {record:#}");
    }
}

#[tokio::test]
async fn streams_of_each_kind_are_metered_by_their_last_event() {
    for (path, body, last) in [
        ("/v1/completions", r#"{"model":"m","prompt":"a b","stream":true}"#, "data: [DONE]\n\n"),
        ("/v1/images/generations", r#"{"model":"m","prompt":"a b","stream":true}"#, "image_generation.completed"),
        ("/v1/audio/speech", r#"{"model":"m","input":"a b","voice":"v","stream_format":"sse"}"#, "speech.audio.done"),
    ] {
        let (upstream, gateway) = one(Script::new()).await;
        let answer = Ask::post(path, body).send(&gateway).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"), "{path}");
        assert!(answer.text().contains(last), "{path}: {}", answer.text());
        let record = gateway.record().await;
        let truth = &upstream.ledger()[0];
        assert_eq!(tokens(&record), (truth.input_tokens, truth.output_tokens), "{path} {record:#}");
        assert_eq!((&record["usage_source"], &record["outcome"]), (&"reported".into(), &"completed".into()), "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_legacy_completions_is_asked_for_its_usage_and_the_client_does_not_see_it() {
    let (upstream, gateway) = one(Script::new()).await;
    let answer = Ask::post("/v1/completions", r#"{"model":"m","prompt":"a b","stream":true}"#).send(&gateway).await;
    assert!(upstream.last().json()["stream_options"]["include_usage"].as_bool().unwrap());
    assert!(!answer.text().contains("prompt_tokens"), "{}", answer.text());
    let asked = r#"{"model":"m","prompt":"a b","stream":true,"stream_options":{"include_usage":true}}"#;
    let answer = Ask::post("/v1/completions", asked).send(&gateway).await;
    assert!(answer.text().contains("prompt_tokens"), "{}", answer.text());
}

#[tokio::test]
async fn an_upstream_without_the_endpoint_is_passed_over_and_says_so_if_there_is_no_other() {
    let (without, with) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let manifests = Manifests::new()
        .provider("without", "OpenAI", &without)
        .provider("claude", "Anthropic", &without)
        .provider_with("with", "OpenAI", &with, EVERYTHING)
        .route("m", &["without", "claude", "with"])
        .route("n", &["without", "claude"])
        .token();
    let gateway = Gateway::start(&manifests);
    for (path, body, ..) in CALLS {
        let answer = Ask::post(path, body).send(&gateway).await;
        assert_eq!((answer.status, answer.header("x-routeapi-upstream")), (200, Some("with")), "{path}");
        let answer = Ask::post(path, body.replace("\"m\"", "\"n\"")).send(&gateway).await;
        assert_eq!(answer.status, 400, "{path}");
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{path}: {error}");
        let message = error["message"].as_str().unwrap();
        let why = "not available for this model (upstream without: the endpoints of its provider are ChatCompletions and \
                   Embeddings; upstream claude: providers of type Anthropic do not have it)";
        assert!(message.ends_with(why), "{path}: {message}");
    }
    assert!(without.received().is_empty());
}

#[tokio::test]
async fn failures_before_content_are_made_good_whatever_the_answer_is_made_of() {
    let speech = (CALLS[3].0, CALLS[3].1);
    let images = (CALLS[2].0, CALLS[2].1);
    let error = r#"{"error":{"message":"no GPU is free","type":"server_error","code":503}}"#;
    for (script, word) in [
        (Script::failing(503), "overloaded"),
        (Script::html_502(), "server_error"),
        (Script::failing(200).body(error, "application/json"), "overloaded"),
        (Script::failing(200).body("<html>an error page</html>", "text/html"), "unreadable_answer"),
        (Script::failing(200).body("", "audio/mpeg"), "truncated"),
        (Script::silent(), "first_content_timeout"),
    ] {
        for (path, body) in [speech, images] {
            let (_first, second, gateway) = two(script.clone(), "timeouts: {firstContent: 300ms}").await;
            let answer = Ask::post(path, body).send(&gateway).await;
            assert_eq!((answer.status, answer.header("x-routeapi-upstream")), (200, Some("second")), "{word} {path}");
            assert_eq!(second.received().len(), 1);
            let record = gateway.record().await;
            assert_eq!(record["attempts"][0]["error"], word, "{path} {record:#}");
        }
    }
}

#[tokio::test]
async fn sound_reaches_the_client_as_it_comes() {
    let (_upstream, gateway) = one(Script::new().stall_after(1)).await;
    let mut opened = Ask::post(CALLS[3].0, CALLS[3].1).open(&gateway).await;
    let first = opened.next().await.unwrap().unwrap();
    assert!(first.starts_with(&[0xff, 0xfb]), "{first:?}");
    opened.leave();
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_cancelled", "{record:#}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let (_upstream, gateway) = one(Script::new().cut(CutAt::Events(1), CutHow::Reset)).await;
    let sound = Ask::post(CALLS[3].0, CALLS[3].1).send(&gateway).await;
    assert!(sound.broken && sound.status == 200, "sound has no place for an error");
    let body = r#"{"model":"m","prompt":"a b","stream":true}"#;
    for cut in [CutHow::Reset, CutHow::End] {
        let (_upstream, gateway) = one(Script::new().cut(CutAt::InsideEvent(1), cut)).await;
        for path in ["/v1/images/generations", "/v1/completions"] {
            let answer = Ask::post(path, body).send(&gateway).await;
            let last = answer.text().trim_end().rsplit("\n\n").next().unwrap();
            assert!(last.starts_with("data: {\"error\":"), "{path} {cut:?}: {}", answer.text());
            assert!(!answer.text().contains("[DONE]"), "{path}");
        }
        for record in gateway.records(2).await {
            assert_eq!(record["outcome"], "upstream_failed", "{record:#}");
        }
    }
}

#[tokio::test]
async fn a_picture_is_not_held_and_an_idle_upstream_is_given_up() {
    // Forty times what may be held of an answer, or of everything.
    let picture = "A".repeat(40 << 20);
    let settings = RequestSettings {
        max_body_bytes: 64 << 10,
        max_answer_bytes: 1 << 20,
        max_held_bytes: 1 << 20,
        max_buffered_bytes: 1 << 20,
        ..RequestSettings::default()
    };
    let (_upstream, gateway) = one_with(Script::new().text(&picture), settings).await;
    let answer = Ask::post(CALLS[2].0, r#"{"model":"m","prompt":"a b"}"#).send(&gateway).await;
    assert_eq!((answer.status, answer.broken), (200, false));
    assert!(answer.body.len() > picture.len());
    assert_eq!(tokens(&gateway.record().await), (2, 272), "counted behind the picture");

    let upstream = Upstream::start(Script::new().stall_after(1)).await;
    let manifests = Manifests::new()
        .provider_with("up", "OpenAI", &upstream, EVERYTHING)
        .route_with("m", &["up"], "timeouts: {streamIdle: 200ms}")
        .token();
    let gateway = Gateway::start(&manifests);
    let answer = Ask::post(CALLS[3].0, CALLS[3].1).send(&gateway).await;
    assert!(answer.broken);
    assert_eq!(gateway.record().await["error"], "stream_idle_timeout");
}

#[tokio::test]
async fn limits_count_requests_and_the_tokens_that_answers_report() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new()
        .provider_with("up", "OpenAI", &upstream, EVERYTHING)
        .route("m", &["up"])
        .token_with("main", TOKEN, "models: [\"*\"], limits: [{name: few, per: Hour, requests: 1}]")
        .token_with("other", "sk-other-token-01", "models: [\"*\"], limits: [{name: some, per: Day, tokens: 5000}]");
    let gateway = Gateway::start(&manifests);
    let (path, body, ..) = CALLS[3];
    assert_eq!(Ask::post(path, body).send(&gateway).await.status, 200);
    let answer = Ask::post(path, body).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-routeapi-limit")), (429, Some("few")));

    let image = r#"{"model":"m","prompt":"a"}"#;
    for taken in 1..=5 {
        let answer = Ask::post("/v1/images/generations", image).bearer("sk-other-token-01").send(&gateway).await;
        // 4,096 are assumed for a picture and 272 are settled.
        assert_eq!(answer.status, if taken < 5 { 200 } else { 429 }, "{taken}: {}", answer.text());
        gateway.records(2 + taken).await;
    }
}

#[tokio::test]
async fn absent_or_odd_usage_of_passthrough_endpoints_costs_no_answer() {
    for usage in [UsageScript::Absent, UsageScript::Odd(serde_json::json!({"output_tokens": u64::MAX, "seconds": 3}))] {
        for (path, body, ..) in CALLS {
            let (_upstream, gateway) = one(Script::new().usage(usage.clone())).await;
            let answer = Ask::post(path, body).send(&gateway).await;
            assert_eq!(answer.status, 200, "{path}");
            let record = gateway.record().await;
            assert!(tokens(&record).1 < 100, "{path} {record:#}");
        }
    }
}

#[tokio::test]
async fn files_batches_and_threads_are_refused_with_a_reason() {
    let (upstream, gateway) = one(Script::new()).await;
    for path in ["/v1/files", "/v1/files/file-1/content", "/v1/batches", "/v1/fine_tuning/jobs", "/v1/threads/t"] {
        for ask in [Ask::get(path), Ask::post(path, chat("m", false))] {
            let answer = ask.send(&gateway).await;
            let json = answer.json();
            assert_eq!(answer.status, 404, "{path}: {json}");
            assert!(json["error"]["message"].as_str().unwrap().contains("not served by this gateway: "), "{json}");
        }
    }
    let claude = Ask::post("/v1/messages/batches", "{}").send(&gateway).await;
    assert_eq!((claude.status, &claude.json()["type"]), (404, &"error".into()), "in Anthropic's shape");
    let files = Ask::get("/v1/files").header("anthropic-version", "2023-06-01").send(&gateway).await;
    assert_eq!((files.status, &files.json()["type"]), (404, &"error".into()));
    let gemini = Ask::post("/upload/v1beta/files", "{}").send(&gateway).await;
    assert_eq!(gemini.status, 404);
    assert_eq!(gateway.records(13).await[0]["error"], "not_served");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_waiting_client_of_legacy_completions_gets_a_heartbeat_and_one_of_pictures_the_true_status() {
    let settings = RequestSettings { heartbeat: Some(Duration::from_millis(50)), ..RequestSettings::default() };
    let slow = Script::failing(401).delay_headers(Duration::from_millis(300));
    let (_upstream, gateway) = one_with(slow, settings).await;
    let body = r#"{"model":"m","prompt":"a","stream":true}"#;
    let text = Ask::post("/v1/completions", body).send(&gateway).await;
    assert_eq!(text.status, 200);
    assert!(text.text().starts_with(": keepalive\n\n") && text.text().contains("data: {\"error\":"), "{}", text.text());
    // What comes may be a picture in one document, so nothing can stand before it.
    let image = Ask::post("/v1/images/generations", body).send(&gateway).await;
    assert_ne!(image.status, 200, "{}", image.text());
}

#[tokio::test]
async fn other_paths_are_passed_on_where_the_provider_says_so() {
    let (upstream, plain) = (Upstream::start(Script::new()).await, Upstream::start(Script::new()).await);
    let off = Manifests::new().provider_with("up", "OpenAI", &upstream, EVERYTHING).route("m", &["up"]).token();
    let gateway = Gateway::start(&off);
    let ask = |body: &str| Ask::post("/v1/unlisted/ocr?mode=x", body.to_owned());
    let body = r#"{"model":"m", "document":{"x":1.0}}"#;
    let refused = ask(body).anonymous().send(&gateway).await;
    assert_eq!((refused.status, gateway.record().await["error"].as_str()), (404, Some("no_such_path")));

    let on = Manifests::new()
        .provider_with("up", "OpenAI", &upstream, "endpoints: [ChatCompletions, OtherPaths]")
        .provider("plain", "OpenAI", &plain)
        .route("m", &["plain", "up"])
        .route("n", &["plain"])
        .token();
    let gateway = Gateway::start(&on);
    let answer = ask(body).send(&gateway).await;
    assert_eq!((answer.status, answer.header("x-routeapi-upstream")), (200, Some("up")), "{}", answer.text());
    assert_eq!(answer.header("x-routeapi-warnings"), Some("dropped;field=query"));
    let received = upstream.last();
    assert_eq!((received.path.as_str(), received.json()["model"].as_str()), ("/v1/unlisted/ocr", Some("up-model")));
    let record = gateway.record().await;
    assert_eq!((&record["operation"], &record["usage"]["input"]), (&"other_paths".into(), &7.into()), "{record:#}");

    for (ask, status, why) in [
        (ask(body).anonymous(), 401, "none was sent"),
        (ask(&body.replace("\"m\"", "\"n\"")), 404, "this path is not available for this model (upstream plain: "),
        (ask(r#"{"document":1}"#), 400, "`model` is required"),
        (ask("not JSON"), 400, "not valid JSON"),
        (Ask::get("/v1/unlisted/ocr"), 404, "nothing at this path"),
        (Ask::post("/v1/unlisted/../files", body), 404, "nothing at this path"),
        (Ask::post("/v1/unlisted/%2e%2e/files", body), 404, "nothing at this path"),
        (Ask::post("/v1/fine_tuning/jobs", body), 404, "not served by this gateway"),
        (Ask::post("/v1/FILES", body), 404, "not served by this gateway"),
    ] {
        let answer = ask.send(&gateway).await;
        assert_eq!(answer.status, status, "{why}: {}", answer.text());
        assert!(answer.text().contains(why), "{why}: {}", answer.text());
    }
    assert!(plain.received().is_empty() && upstream.received().len() == 1);
}
