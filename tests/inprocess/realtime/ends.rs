//! How sessions end, and what each side and the record are told.

use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Outcome, Script, SessionClose, SessionScript};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{
    BRIEF,
    client::{seconds, until},
    manifests, one, one_with, open, refused, sessions,
};
use crate::{
    gateway::{Gateway, TOKEN},
    request::{Ask, chat},
};

async fn ended(gateway: &Gateway) -> Value {
    let record = gateway.record().await;
    json!([record["outcome"], record["error"]])
}

#[tokio::test]
async fn a_clients_goodbye_reaches_the_upstream_and_its_disappearance_too() {
    let (upstream, gateway) = one(Script::new()).await;
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    drop(client);
    assert_eq!(upstream.wait_ended(1, seconds(10)).await.outcome, Outcome::Completed, "it was told");
    assert_eq!(ended(&gateway).await, json!(["client_cancelled", "client_cancelled"]));
}

#[tokio::test]
async fn an_upstreams_close_is_passed_on_with_code_and_reason() {
    for (code, ending) in [
        (1000, json!(["completed", null])),
        (4321, json!(["completed", "upstream_closed"])),
        (1011, json!(["upstream_failed", "upstream_closed"])),
    ] {
        let close = SessionClose { after: 1, code, reason: "as scripted".to_owned() };
        let script = Script::new().session(SessionScript { close: Some(close), ..SessionScript::default() });
        let (_upstream, gateway) = one(script).await;
        let mut client = open(&gateway).await;
        client.ask("hello").await;
        assert_eq!(client.closed().await.1, (code, "as scripted".to_owned()));
        assert_eq!(ended(&gateway).await, ending, "{code}");
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_is_an_error_event_and_a_failure() {
    let script = Script::new().session(SessionScript { break_after: Some(1), ..SessionScript::default() });
    let (_upstream, gateway) = one(script).await;
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    let (error, code) = client.stopped().await;
    assert_eq!(code, 1011);
    assert!(error["message"].as_str().unwrap().contains("upstream is gone"), "{error}");
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"upstream_failed".into(), &"connection_closed".into()));
    assert_eq!(record["usage_source"], "reported", "what was answered before is charged: {record}");
}

#[tokio::test]
async fn a_limit_that_is_used_up_ends_the_session_behind_the_answer() {
    for (limits, word) in [
        ("{name: few, per: Day, tokens: 40}", "token_limit"),
        ("{name: few, per: Day, tokens: 6000, enforcement: Strict}", "token_limit"),
    ] {
        let token = format!("models: [\"*\"], limits: [{limits}]");
        let (_upstream, gateway) = one_with(Script::new().chunks(60, "w "), &token, RequestSettings::default()).await;
        let mut client = open(&gateway).await;
        let text = if limits.contains("Strict") { "word ".repeat(3_000) } else { "hello".to_owned() };
        // The answer itself arrives whole.
        client.ask(&text).await;
        let (error, code) = client.stopped().await;
        assert_eq!((code, error["code"].as_str()), (1008, Some("rate_limit_exceeded")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("few"), "{error}");
        assert_eq!(ended(&gateway).await, json!(["limit_stopped", word]));
    }
}

#[tokio::test]
async fn a_limit_that_is_used_up_refuses_new_sessions_and_other_requests() {
    let token = "models: [\"*\"], limits: [{name: few, per: Day, tokens: 40}]";
    let (_upstream, gateway) = one_with(Script::new().chunks(60, "w "), token, RequestSettings::default()).await;
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    client.closed().await;
    assert_eq!(refused(&gateway, "/v1/realtime?model=m").await.status, 429);
    assert_eq!(Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await.status, 429);
}

#[tokio::test]
async fn a_token_that_is_taken_away_ends_the_session() {
    for (spec, word) in [
        ("models: [\"*\"], state: Suspended", "token_suspended"),
        ("models: [other]", "model_not_allowed"),
        ("models: [\"*\"], expirationTime: \"2001-01-01T00:00:00Z\"", "token_expired"),
    ] {
        let (upstream, gateway) = one(Script::new()).await;
        let mut client = open(&gateway).await;
        client.ask("hello").await;
        gateway.apply(&manifests(&upstream).token_with("main", TOKEN, spec)).await;
        let (error, code) = client.stopped().await;
        assert_eq!(code, 1008, "{error}");
        assert_eq!(ended(&gateway).await, json!(["limit_stopped", word]));
        assert_eq!(upstream.wait_ended(1, seconds(10)).await.outcome, Outcome::Completed);
    }
}

#[tokio::test]
async fn silence_and_age_end_a_session_and_pings_do_not_keep_it() {
    let (_upstream, gateway) = one_with(Script::new(), "models: [\"*\"]", sessions(|it| it.idle = BRIEF)).await;
    let mut client = open(&gateway).await;
    client.send(Message::Ping(b"x"[..].into())).await.unwrap();
    let (error, code) = client.stopped().await;
    assert_eq!(code, 1000, "{error}");
    assert_eq!(ended(&gateway).await, json!(["gateway_stopped", "session_idle"]));

    let (_upstream, gateway) = one_with(Script::new(), "models: [\"*\"]", sessions(|it| it.longest = BRIEF)).await;
    let (error, code) = open(&gateway).await.stopped().await;
    assert_eq!((code, error["code"].as_str()), (1001, Some("session_expired")), "{error}");
    assert_eq!(ended(&gateway).await, json!(["gateway_stopped", "session_expired"]));
}

#[tokio::test]
async fn a_process_that_ends_says_so_once_its_grace_is_over() {
    let (_upstream, gateway) = one(Script::new()).await;
    let mut client = open(&gateway).await;
    client.ask("hello").await;
    gateway.running().shutdown();
    // Within the grace it goes on.
    client.ask("still there").await;
    let (events, (code, reason)) = client.closed().await;
    assert_eq!((code, events.len()), (1001, 0), "{reason}");
    gateway.running().done().await;
    assert_eq!(ended(&gateway).await, json!(["gateway_stopped", "shutdown"]));
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_its_upstream_and_is_given_up() {
    let sound = 1 << 20;
    let script = Script::new().session(SessionScript { delta_bytes: Some(sound), ..SessionScript::default() });
    let settings = RequestSettings { client_write: BRIEF, ..RequestSettings::default() };
    let (upstream, gateway) = one_with(script, "models: [\"*\"]", settings).await;
    let mut deaf = open(&gateway).await;
    let mut other = open(&gateway).await;
    other.event_of("session.created").await;
    for _ in 0..100 {
        deaf.say(json!({"type": "response.create"})).await;
    }
    until("it is given up", || upstream.in_flight() == 1).await;
    let answered = upstream.ledger()[0].output_tokens / 2;
    assert!(answered < 60, "{answered} MiB went into buffers");
    assert_eq!(ended(&gateway).await, json!(["client_cancelled", "client_stalled"]));
    other.ask("not my business").await;
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_is_given_up() {
    let script = Script::new().session(SessionScript { deaf: true, ..SessionScript::default() });
    let settings = RequestSettings { client_write: BRIEF, ..RequestSettings::default() };
    let (_upstream, gateway) = one_with(script, "models: [\"*\"]", settings).await;
    let mut client = open(&gateway).await;
    let chunk = json!({"type": "input_audio_buffer.append", "audio": "A".repeat(1 << 20)}).to_string();
    let mut sent = 0;
    while sent < 200 && client.send(Message::text(chunk.clone())).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 60, "{sent} MiB went into buffers");
    assert_eq!(ended(&gateway).await, json!(["upstream_failed", "upstream_stalled"]));
}
