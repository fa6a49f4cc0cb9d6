//! Clients and upstreams that break the protocol: each costs little, is told with the right code, and nobody else notices.

use std::time::Duration;

use routeapi_dataplane::server::Limits;
use routeapi_tests::{
    gateway::Setup,
    upstream::{Script, SessionScript, Upstream},
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Client, manifests, one, one_with, open, sessions};
use crate::gateway::{Gateway, TOKEN};

/// A masked frame; the mask is of zeros, so that the payload stands as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => vec![first, 0x80 | length],
        _ => [&[first, 0x80 | 126], &u16::try_from(payload.len()).unwrap().to_be_bytes()[..]].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_so_and_the_upstream_is_let_go() {
    let huge = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let cases: [(&str, Vec<u8>, u16, &str); 8] = [
        ("no mask", vec![0x81, 0x02, b'{', b'}'], 1002, "protocol_violation"),
        ("compression", frame(0xc1, b"{}"), 1002, "protocol_violation"),
        ("an unknown opcode", frame(0x83, b"{}"), 1002, "protocol_violation"),
        ("a continuation of nothing", frame(0x80, b"{}"), 1002, "protocol_violation"),
        ("a long ping", frame(0x89, &[b'x'; 200]), 1002, "protocol_violation"),
        ("no UTF-8", frame(0x81, b"{\"type\":\"\xff\"}"), 1007, "protocol_violation"),
        ("a giant length", huge, 1009, "message_too_large"),
        ("a binary message", frame(0x82, b"{}"), 1003, "binary_message"),
    ];
    let (upstream, gateway) = one(Script::new()).await;
    let mut witness = open(&gateway).await;
    witness.event_of("session.created").await;
    for (at, (what, bytes, code, word)) in cases.into_iter().enumerate() {
        let mut client = open(&gateway).await;
        client.event_of("session.created").await;
        client.raw(&bytes).await;
        let (error, closed) = client.stopped().await;
        assert_eq!(closed, code, "{what}: {error}");
        assert_eq!(error["type"], "invalid_request_error", "{what}");
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!((&record["outcome"], &record["error"]), (&"client_cancelled".into(), &word.into()), "{what}");
    }
    upstream.clear();
    witness.ask("still there").await;
}

#[tokio::test]
async fn a_message_in_pieces_counts_as_a_whole() {
    let (_upstream, gateway) =
        one_with(Script::new(), "models: [\"*\"]", sessions(|it| it.max_message_bytes = 1_000)).await;
    let mut client = open(&gateway).await;
    client.raw(&frame(0x01, &[b' '; 900])).await;
    client.raw(&frame(0x00, &[b' '; 101])).await;
    assert_eq!(client.stopped().await.1, 1009);
    let mut client = open(&gateway).await;
    client.event_of("session.created").await;
    let event = json!({"type": "response.create"}).to_string();
    let (first, last) = event.as_bytes().split_at(5);
    client.raw(&frame(0x01, first)).await;
    client.raw(&frame(0x89, b"between")).await;
    client.raw(&frame(0x80, last)).await;
    client.event_of("response.done").await;
}

#[tokio::test]
async fn a_flood_of_pings_is_cut_off_and_some_pings_are_answered() {
    let (_upstream, gateway) = one(Script::new()).await;
    let mut client = open(&gateway).await;
    client.event_of("session.created").await;
    client.send(Message::Ping(b"mine"[..].into())).await.unwrap();
    assert_eq!(client.next().await.unwrap(), Message::Pong(b"mine"[..].into()));
    client.raw(&frame(0x89, b"x").repeat(20_000)).await;
    let (error, code) = client.stopped().await;
    assert_eq!((code, error["type"].as_str()), (1008, Some("rate_limit_error")), "{error}");
    assert_eq!(gateway.record().await["error"], "frame_flood");
}

/// hyper and the guard of header sections are out of the way: no timer of theirs runs, whatever the frames look like.
#[tokio::test]
async fn a_frame_may_be_slow_and_look_like_a_request() {
    let upstream = Upstream::builder().key("key-of-the-owner").start().await.unwrap();
    let brief = Duration::from_millis(200);
    let limits = Limits { header_read: brief, idle: brief, max_age: Some(brief), ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let gateway = Gateway::start_as(&manifests(&upstream).token_with("main", TOKEN, "models: [\"*\"]"), setup);
    let mut client = open(&gateway).await;
    client.event_of("session.created").await;
    let event = json!({"type": "response.create", "x": "GET / HTTP/1.1\r\ncontent-length: 9\r\n"}).to_string();
    let bytes = frame(0x81, event.as_bytes());
    for piece in bytes.chunks(bytes.len() / 4) {
        client.raw(piece).await;
        tokio::time::sleep(brief).await;
    }
    client.event_of("response.done").await;
    client.close(1000, "").await;
    assert_eq!(gateway.record().await["outcome"], "completed");
}

#[tokio::test]
async fn an_upstream_that_breaks_the_protocol_has_failed() {
    for (raw, code, ending) in [
        (vec![0xc1, 0x02, b'{', b'}'], 1011, json!(["upstream_failed", "unreadable_answer"])),
        (vec![0x81, 0x82, 0, 0, 0, 0, b'{', b'}'], 1011, json!(["upstream_failed", "unreadable_answer"])),
        (vec![0x81, 0x02, 0xc3, 0x28], 1011, json!(["upstream_failed", "unreadable_answer"])),
        (vec![0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0], 1009, json!(["gateway_stopped", "answer_too_large"])),
    ] {
        let script = Script::new().session(SessionScript { raw: Some(raw), ..SessionScript::default() });
        let (_upstream, gateway) = one(script).await;
        let (error, closed) = open(&gateway).await.stopped().await;
        assert_eq!(closed, code, "{error}");
        let record = gateway.record().await;
        assert_eq!(json!([record["outcome"], record["error"]]), ending);
    }
}

#[tokio::test]
async fn an_answer_that_switches_to_something_else_is_no_session() {
    for (name, value) in
        [("sec-websocket-accept", "bm90IHRoZSBhbnN3ZXI="), ("sec-websocket-extensions", "permessage-deflate")]
    {
        let (_upstream, gateway) = one(Script::new().header(name, value)).await;
        let refused = Client::open(&gateway, "/v1/realtime?model=m").await.map(drop).unwrap_err();
        assert_eq!(refused.status, 502, "{}", refused.body);
        let record: Value = gateway.record().await;
        assert_eq!(record["error"], "unreadable_answer", "{record}");
    }
}
