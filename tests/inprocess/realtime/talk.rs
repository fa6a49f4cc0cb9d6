//! What works: a session from handshake to record, whoever connects and however.

use routeapi_tests::upstream::{Script, SessionScript, Upstream, UsageScript};
use serde_json::json;

use super::{
    Client,
    client::{sessions_are, until},
    one, one_with, open, provider, refused, with_key,
};
use crate::{
    gateway::{Gateway, Manifests, TOKEN},
    request::{Ask, chat},
};
use routeapi_dataplane::request::RequestSettings;

#[tokio::test]
async fn a_session_talks_both_ways_and_is_one_record_with_the_usage_of_all_answers() {
    let (upstream, gateway) = one(Script::new().text("so it is said").cached_tokens(1)).await;
    let mut client = open(&gateway).await;
    assert_eq!(client.headers["x-routeapi-upstream"], "up");
    assert!(client.headers.contains_key("x-routeapi-request-id"));
    assert_eq!(client.event().await["type"], "session.created");
    sessions_are(&gateway, 1).await;
    client.ask("one two three").await;
    client.ask("four").await;
    let sent = upstream.received().remove(0);
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("GET", "/v1/realtime?model=up-model"));
    assert_eq!(sent.header("authorization"), Some("Bearer key-of-the-owner"));
    assert_eq!(sent.version, "HTTP/1.1");
    assert_eq!(sent.header("sec-websocket-extensions"), None, "compression is not offered");
    assert_eq!(client.close(1000, "thanks").await, (1000, "thanks".to_owned()));
    sessions_are(&gateway, 0).await;

    let record = gateway.record().await;
    let truth = upstream.wait_ended(1, super::client::seconds(10)).await;
    let usage = &record["usage"];
    assert_eq!(usage["input"].as_u64().unwrap() + usage["cache_read"].as_u64().unwrap(), truth.input_tokens);
    assert_eq!(usage["output"], truth.output_tokens);
    assert_eq!(truth.output_tokens, 8);
    assert_eq!(
        json!([record["operation"], record["stream"], record["status"], record["outcome"], record["usage_source"]]),
        json!(["realtime", true, 101, "completed", "reported"]),
        "{record}"
    );
    let attempt = &record["attempts"][0];
    assert_eq!(json!([attempt["status"], attempt["model"], attempt["error"]]), json!([101, "up-model", null]));
    assert!(record["first_content_ms"].is_u64() && record["response_bytes"].as_u64() > Some(100), "{record}");
    let page = gateway.page().await;
    assert!(page.contains("gen_ai_operation_name=\"realtime\""), "{page}");
}

/// A page of a browser cannot set headers: the key is among the protocols, of which `realtime` has to be chosen.
#[tokio::test]
async fn a_browser_brings_its_key_among_the_protocols_and_nothing_of_it_goes_on() {
    let (upstream, gateway) = one(Script::new()).await;
    let protocols = format!("realtime, openai-insecure-api-key.{TOKEN}, openai-beta.realtime-v1");
    let headers = [("sec-websocket-protocol", protocols.as_str()), ("origin", "https://chat.example.com")];
    let mut client = Client::open_with(&gateway, "/v1/realtime?model=m", &headers).await.unwrap();
    assert_eq!(client.headers.get_all("sec-websocket-protocol").iter().collect::<Vec<_>>(), ["realtime"]);
    client.ask("hello").await;
    let sent = upstream.last();
    assert_eq!(sent.header("sec-websocket-protocol"), None);
    assert_eq!((sent.header("openai-beta"), sent.header("origin")), (Some("realtime=v1"), None));
    assert!(!format!("{sent:?}").contains(TOKEN));
    drop(client);
    assert!(!gateway.record().await.to_string().contains(TOKEN));
}

#[tokio::test]
async fn every_door_of_openais_api_and_azures_leads_to_a_session() {
    let (upstream, gateway) = one(Script::new()).await;
    for (path, beta) in [
        ("/openai/v1/realtime?model=m", None),
        ("/realtime?model=m", None),
        ("/openai/realtime?api-version=2025-04-01-preview&deployment=m", None),
        ("/v1/realtime?model=m", Some("realtime=v1")),
    ] {
        let mut headers = vec![("api-key", TOKEN)];
        headers.extend(beta.map(|beta| ("openai-beta", beta)));
        let mut client = Client::open_with(&gateway, path, &headers).await.unwrap();
        client.ask("hello").await;
        let sent = upstream.last();
        assert_eq!((sent.path.as_str(), sent.header("openai-beta")), ("/v1/realtime?model=up-model", beta), "{path}");
        assert_eq!(sent.header("api-key"), None, "{path}");
    }
}

#[tokio::test]
async fn the_sessions_model_cannot_be_changed_behind_the_gateways_back() {
    let (upstream, gateway) = one(Script::new()).await;
    let mut client = open(&gateway).await;
    let update = |model: &str| json!({"type": "session.update", "event_id": "e7", "session": {"model": model}});
    client.event_of("session.created").await;
    client.say(update("m")).await;
    assert_eq!(client.event().await["session"]["model"], "up-model");
    client.say(update("another")).await;
    let error = client.event().await;
    assert_eq!((&error["type"], &error["error"]["event_id"]), (&"error".into(), &"e7".into()), "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("another"), "{error}");
    client.send("no JSON, }".into()).await.unwrap();
    assert_eq!(client.event().await["error"]["type"], "invalid_request_error");
    // The session goes on.
    client.ask("hello").await;
    let heard = upstream.heard();
    assert_eq!(heard[0]["session"]["model"], "up-model");
    assert_eq!(heard.len(), 3, "neither the other model nor what is no JSON went on: {heard:?}");
}

#[tokio::test]
async fn a_handshake_that_fails_is_tried_at_the_next_upstream() {
    let [broken, busy, well] = [
        Upstream::start(Script::html_502()).await,
        Upstream::start(Script::rate_limited(30)).await,
        Upstream::start(Script::new()).await,
    ];
    let mut manifests = with_key();
    for (name, upstream) in [("broken", &broken), ("busy", &busy), ("well", &well)] {
        manifests = provider(name, upstream, manifests);
    }
    let manifests = manifests.route_with("m", &["broken", "busy", "well"], "fallback: {maxAttempts: 4}").token();
    let gateway = Gateway::start(&manifests);
    let mut client = open(&gateway).await;
    assert_eq!(client.headers["x-routeapi-upstream"], "well");
    client.ask("hello").await;
    client.close(1000, "").await;
    let record = gateway.record().await;
    let attempts = record["attempts"].as_array().unwrap();
    let errors: Vec<_> = attempts.iter().map(|attempt| attempt["error"].clone()).collect();
    assert_eq!(json!(errors), json!(["server_error", "rate_limited", null]), "{record}");
    // The one that asked for a pause is left alone.
    open(&gateway).await;
    assert_eq!((busy.received().len(), well.received().len()), (1, 2));

    broken.kill();
    well.kill();
    let refused = refused(&gateway, "/v1/realtime?model=m").await;
    assert_eq!(refused.status, 502, "{}", refused.body);
}

#[tokio::test]
async fn before_a_session_is_open_errors_are_plain_http() {
    let (upstream, gateway) = one_with(Script::new(), "models: [m, n]", RequestSettings::default()).await;
    let anonymous = Client::open_with(&gateway, "/v1/realtime?model=m", &[]).await.map(drop).unwrap_err();
    assert_eq!((anonymous.status, anonymous.error()["code"].as_str()), (401, Some("invalid_api_key")));
    let bad = [("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-nonsense")];
    assert_eq!(Client::open_with(&gateway, "/v1/realtime?model=m", &bad).await.map(drop).unwrap_err().status, 401);
    for (path, status, about) in [
        ("/v1/realtime?model=n", 404, "model"),
        ("/v1/realtime", 400, "model"),
        ("/v1/realtime?intent=transcription&model=m", 400, "intent"),
    ] {
        let refused = refused(&gateway, path).await;
        assert_eq!((refused.status, refused.error()["param"].as_str()), (status, Some(about)), "{}", refused.body);
    }
    let plain = Ask::get("/v1/realtime?model=m").send(&gateway).await;
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")), "{}", plain.text());
    assert_eq!(plain.header("sec-websocket-version"), Some("13"));
    let posted = Ask::post("/v1/realtime?model=m", "{}").send(&gateway).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
    let old = Ask::get("/v1/realtime?model=m").header("connection", "upgrade").header("upgrade", "websocket");
    let old = old.header("sec-websocket-version", "8").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(old.send(&gateway).await.status, 426);
    assert!(upstream.received().is_empty());

    upstream.set(Script::failing(400));
    let refused = refused(&gateway, "/v1/realtime?model=m").await;
    assert_eq!(refused.status, 400, "the vendor's own error: {}", refused.body);
}

#[tokio::test]
async fn a_provider_without_the_api_is_named() {
    let upstream = Upstream::start(Script::new()).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start(&manifests);
    let refused = refused(&gateway, "/v1/realtime?model=m").await;
    let message = refused.error()["message"].as_str().unwrap().to_owned();
    assert_eq!(refused.status, 400);
    assert!(message.contains("the Realtime API is not available") && message.contains("ChatCompletions"), "{message}");
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn an_upstream_that_speaks_http2_is_asked_in_http1() {
    let upstream = Upstream::builder().tls().start().await.unwrap();
    let more = "tls: {caCertificateRef: {kind: Secret, name: ca}}, endpoints: [Realtime]";
    let manifests = Manifests::new()
        .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
        .provider_with("up", "OpenAI", &upstream, more)
        .route("m", &["up"])
        .token();
    let gateway = Gateway::start(&manifests);
    open(&gateway).await.ask("hello").await;
    assert_eq!(upstream.last().version, "HTTP/1.1");
}

#[tokio::test]
async fn an_answer_without_usage_is_counted() {
    let script = Script::new().chunks(40, "twelve chars").usage(UsageScript::Absent);
    let (_upstream, gateway) = one(script).await;
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    client.close(1000, "").await;
    let record = gateway.record().await;
    assert_eq!((&record["usage_source"], &record["usage"]["output"]), (&"counted".into(), &120.into()), "{record}");
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let sound = 3 << 20;
    let script = Script::new().session(SessionScript { delta_bytes: Some(sound), ..SessionScript::default() });
    let (upstream, gateway) = one(script).await;
    let mut client = open(&gateway).await;
    client.say(json!({"type": "input_audio_buffer.append", "audio": "A".repeat(sound)})).await;
    client.say(json!({"type": "response.create"})).await;
    let delta = client.event_of("response.output_audio.delta").await;
    assert_eq!(delta["delta"].as_str().unwrap().len(), sound);
    client.event_of("response.done").await;
    assert_eq!(upstream.heard()[0]["audio"].as_str().unwrap().len(), sound);
    // Nothing of them is kept.
    gateway.shows("routeapi_buffered_bytes 0").await;
}

#[tokio::test]
async fn other_requests_see_what_a_session_uses_while_it_goes_on() {
    let token = "models: [\"*\"], limits: [{name: day, per: Day, tokens: 1000000}]";
    let (upstream, gateway) = one_with(Script::new(), token, RequestSettings::default()).await;
    let left = async || {
        let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
        answer.header("x-ratelimit-remaining-tokens").unwrap().parse::<i64>().unwrap()
    };
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    let before = left().await;
    let chats = upstream.ledger().iter().map(|entry| entry.input_tokens + entry.output_tokens).sum::<u64>();
    client.ask(&"word ".repeat(5_000)).await;
    let after = left().await;
    assert!((5_000..5_100).contains(&(before - after)), "{before} {after} {chats}");
    until("the session is still open", || upstream.in_flight() == 1).await;
}

#[tokio::test]
async fn the_built_in_upstream_has_sessions_too() {
    let manifests = Manifests::new()
        .with("apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {name: echo, namespace: apps}\nspec: {type: Echo}")
        .route("m", &["echo"])
        .token();
    let gateway = Gateway::start(&manifests);
    let mut client = open(&gateway).await;
    let done = client.ask("are you there").await;
    assert_eq!(done["response"]["output"][0]["content"][0]["text"], "Echo: are you there");
    assert_eq!(client.close(1000, "bye").await, (1000, "bye".to_owned()));
    let record = gateway.record().await;
    assert_eq!((&record["usage_source"], &record["outcome"]), (&"reported".into(), &"completed".into()), "{record}");
}

#[tokio::test]
async fn a_token_may_have_so_many_sessions() {
    let token = "models: [\"*\"], maxConcurrentRequests: 1";
    let (upstream, gateway) = one_with(Script::new(), token, RequestSettings::default()).await;
    let first = open(&gateway).await;
    let second = refused(&gateway, "/v1/realtime?model=m").await;
    assert_eq!(second.status, 429, "{}", second.body);
    first.close(1000, "").await;
    open(&gateway).await.ask("hello").await;
    assert_eq!(upstream.received().len(), 2);
}
