//! Upstreams that do what no well-behaved server does: bytes written by hand, for the promises that need them.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::upstream::{Script, Upstream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    gateway::{Gateway, Manifests},
    request::{Ask, chat, dialects, messages},
};

const HELLO: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

pub fn chunk(content: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

fn last_chunks() -> String {
    let finish = chunk("")
        .replace("\"delta\":{\"content\":\"\"},\"finish_reason\":null", "\"delta\":{},\"finish_reason\":\"stop\"");
    format!("{finish}data: [DONE]\n\n")
}

/// How many characters of text are in these events, of whichever dialect. A translation may join what came together.
fn delivered(events: &str) -> usize {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
    let text = |data: &str| {
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        let places = ["/choices/0/delta/content", "/delta/text", "/candidates/0/content/parts/0/text"];
        places.iter().filter_map(|place| event.pointer(place)?.as_str()).map(str::len).sum::<usize>()
    };
    data.map(text).sum()
}

/// What the server does after it has read a request's head.
#[derive(Clone)]
pub enum Does {
    /// Sends these pieces and closes.
    Sends(Vec<Vec<u8>>),
    /// Sends the first, then the second as fast as it is taken.
    Floods(Vec<u8>, Vec<u8>),
    /// Sends the first, then the second whenever it may.
    Paces(Vec<u8>, Vec<u8>, Arc<Semaphore>),
    /// Sends this and waits.
    Holds(Vec<u8>),
}

/// A gateway whose route `m` leads to such a server.
async fn raw(does: Does, more: &str, settings: RequestSettings) -> Gateway {
    raw_as("OpenAI", does, more, settings).await
}

/// The same, of this type.
async fn raw_as(kind: &str, does: Does, more: &str, settings: RequestSettings) -> Gateway {
    let address = upstream(does).await;
    let version = if kind == "OpenAI" { "/v1" } else { "" };
    let manifests = Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: {kind}, baseURL: \"http://{address}{version}\"}}"
        ))
        .route_with("m", &["up"], more)
        .token();
    Gateway::start_with(&manifests, settings)
}

/// Such a server.
pub async fn upstream(does: Does) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, does.clone()));
        }
    });
    address
}

async fn serve(mut socket: TcpStream, does: Does) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        socket.read_buf(&mut request).await?;
    }
    match does {
        Does::Sends(pieces) => {
            for piece in pieces {
                socket.write_all(&piece).await?;
                socket.flush().await?;
            }
            socket.shutdown().await
        }
        Does::Floods(first, again) => {
            socket.write_all(&first).await?;
            loop {
                socket.write_all(&again).await?;
            }
        }
        Does::Paces(first, again, permits) => {
            socket.write_all(&first).await?;
            while let Ok(permit) = permits.acquire().await {
                permit.forget();
                socket.write_all(&again).await?;
            }
            Ok(())
        }
        Does::Holds(first) => {
            socket.write_all(&first).await?;
            std::future::pending().await
        }
    }
}

pub fn head(kind: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{more}connection: close\r\n\r\n").into_bytes()
}

fn gzip(encoder: &mut GzEncoder<Vec<u8>>, text: &str) -> Vec<u8> {
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.flush().unwrap();
    std::mem::take(encoder.get_mut())
}

const GZIP: &str = "content-encoding: gzip\r\n";

#[tokio::test]
async fn a_whole_answer_in_gzip_is_readable_in_every_dialect() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(HELLO.as_bytes()).unwrap();
    let does = Does::Sends(vec![head("application/json", GZIP), encoder.finish().unwrap()]);
    let gateway = raw(does, "", RequestSettings::default()).await;
    for (at, (path, body)) in dialects("m", false).into_iter().enumerate() {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, None), "{path}: {}", answer.text());
        assert!(answer.text().contains("hello there"), "{path}: {}", answer.text());
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!(record["usage_source"], "reported", "{record:#}");
    }
    let plain = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(plain.text(), HELLO, "what passes through is what was packed, byte for byte");
}

#[tokio::test]
async fn a_stream_in_gzip_comes_out_event_by_event() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let held = Does::Holds([head("text/event-stream", GZIP), gzip(&mut encoder, &chunk("hello"))].concat());
    let gateway = raw(held, "", RequestSettings::default()).await;
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    assert_eq!(opened.headers.get("content-encoding"), None);
    opened.until("hello").await;
    drop(opened);

    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut pieces = vec![head("text/event-stream", GZIP)];
    pieces.extend([chunk("hello"), chunk("there"), last_chunks()].map(|text| gzip(&mut encoder, &text)));
    pieces.push(encoder.finish().unwrap());
    let whole = Does::Sends(pieces.clone());
    let cut = Does::Sends(pieces[..2].to_vec());
    let (whole, cut) =
        (raw(whole, "", RequestSettings::default()).await, raw(cut, "", RequestSettings::default()).await);
    for (path, body) in dialects("m", true) {
        let answer = Ask::post(&path, body.clone()).send(&whole).await;
        assert!(answer.status == 200 && !answer.text().contains("error"), "{path}: {}", answer.text());
        assert!(answer.text().contains("hello") && answer.text().contains("there"), "{path}: {}", answer.text());
        let answer = Ask::post(&path, body).send(&cut).await;
        assert!(answer.text().contains("hello"), "{path}: {}", answer.text());
        assert!(answer.events().last().unwrap()["error"].is_object(), "a cut gzip is a cut: {}", answer.text());
    }
}

#[tokio::test]
async fn an_error_in_gzip_is_understood() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(
            br#"{"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
        )
        .unwrap();
    let status = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    let does = Does::Sends(vec![status.into(), encoder.finish().unwrap()]);
    let gateway = raw(does, "", RequestSettings::default()).await;
    for (path, body) in dialects("m", false) {
        let answer = Ask::post(&path, body).send(&gateway).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (400, None), "{path}");
        assert!(answer.text().contains("too long"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_deadline_holds_for_an_upstream_that_is_never_silent() {
    let patience = "timeouts: {firstContent: 1s, request: 1s}";
    let flood = [chunk("word"), chunk("word")].concat().repeat(20).into_bytes();
    let gateway = raw(Does::Floods(head("text/event-stream", ""), flood), patience, RequestSettings::default()).await;
    for (at, (path, body)) in dialects("m", true).into_iter().enumerate() {
        let begun = std::time::Instant::now();
        let mut opened = Ask::post(&path, body).open(&gateway).await;
        let mut tail = Vec::new();
        while let Some(piece) = opened.next().await {
            tail.extend_from_slice(&piece.unwrap());
            tail.drain(..tail.len().saturating_sub(512));
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{path}: {:?}", begun.elapsed());
        let tail = String::from_utf8_lossy(&tail);
        assert!(tail.contains("longer than its route allows"), "{path}: {tail}");
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"request_timeout".into()));
    }
}

#[tokio::test]
async fn comments_without_end_are_no_content() {
    let patience = "timeouts: {firstContent: 1s, request: 60s}";
    let comments = b": keep-alive\n\n".repeat(50);
    let settings =
        RequestSettings { max_held_bytes: usize::MAX, max_buffered_bytes: usize::MAX, ..RequestSettings::default() };
    let gateway = raw(Does::Floods(head("text/event-stream", ""), comments), patience, settings).await;
    let answer = Ask::post("/v1/chat/completions", chat("m", true)).send(&gateway).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_eq!(gateway.record().await["error"], "first_content_timeout");
}

#[tokio::test]
async fn short_tokens_in_one_read_are_counted_one_by_one() {
    let together = [head("text/event-stream", ""), chunk("a").repeat(40).into_bytes()].concat();
    let gateway = raw(Does::Holds(together), "", RequestSettings::default()).await;
    for (at, (path, body)) in dialects("m", true).into_iter().enumerate() {
        let mut opened = Ask::post(&path, body).open(&gateway).await;
        let mut seen = 0;
        // Gemini's last chunk waits for the next, since the end has to stand in it.
        while seen < 39 {
            let piece = opened.next().await.unwrap().unwrap();
            seen += delivered(std::str::from_utf8(&piece).unwrap());
        }
        opened.leave();
        let record = gateway.records(at + 1).await.remove(at);
        assert_eq!(record["usage_source"], "counted", "{record:#}");
        assert_eq!(record["usage"]["output"], 40, "{path}: {record:#}");
    }
}

#[tokio::test]
async fn more_than_may_be_held_is_turned_away_and_the_rest_is_served() {
    let settings = RequestSettings { max_buffered_bytes: 64 << 10, ..RequestSettings::default() };
    let upstream = Upstream::start(Script::new().text("fine")).await;
    let manifests = Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]).token();
    let gateway = Gateway::start_with(&manifests, settings);
    let large = chat("m", false).replace("something", &"x".repeat(100 << 10));
    let answer = Ask::post("/v1/chat/completions", large.clone()).send(&gateway).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert!(upstream.received().is_empty());
    let answer = Ask::post("/v1/messages", large).send(&gateway).await;
    assert_eq!(answer.json()["error"]["type"], "overloaded_error", "in the client's dialect: {}", answer.text());
    let record = gateway.records(2).await.remove(1);
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"buffers_full".into()));

    upstream.set(Script::new().text(&"y".repeat(100 << 10)));
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    upstream.set(Script::new().text("fine"));
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The last bytes are given back when the connection lets go of them, a moment after the client has them.
    gateway.shows("routeapi_buffered_bytes 0").await;
}

#[tokio::test]
async fn an_answer_in_one_piece_is_bounded_and_a_stream_is_not() {
    let settings = RequestSettings { max_answer_bytes: 20_000, ..RequestSettings::default() };
    for kind in ["OpenAI", "Anthropic", "Gemini"] {
        let upstream = Upstream::start(Script::new().text(&"word ".repeat(5_000))).await;
        let second = Upstream::start(Script::new()).await;
        let manifests = Manifests::new()
            .provider("up", kind, &upstream)
            .provider("second", "OpenAI", &second)
            .route("m", &["up", "second"])
            .token();
        let gateway = Gateway::start_with(&manifests, settings.clone());
        for (at, (path, body)) in dialects("m", false).into_iter().enumerate() {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert_eq!(answer.status, 502, "{kind} {path}: {}", answer.text());
            let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(
                said.contains("larger than 20000 bytes") && said.contains("ask for a stream"),
                "{kind} {path}: {said}"
            );
            assert_eq!(gateway.records(at + 1).await[at]["error"], "answer_too_large");
        }
        for (path, body) in dialects("m", true) {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert!(answer.status == 200 && answer.body.len() > 20_000, "{kind} {path}: {}", answer.body.len());
        }
        assert!(second.received().is_empty(), "the next would be as large");
        upstream.set(Script::new().text("short"));
        for (path, body) in dialects("m", false) {
            assert_eq!(Ask::post(&path, body).send(&gateway).await.status, 200, "{kind} {path}");
        }
    }
}

/// A Chat stream that has a part of its answer in it, and then an event without an end.
fn unfinished(bytes: usize) -> Vec<u8> {
    let endless = chunk(&"x".repeat(bytes)).trim_end().trim_end_matches('}').to_owned();
    [head("text/event-stream", ""), chunk("begun").into_bytes(), endless.into_bytes()].concat()
}

#[tokio::test]
async fn an_event_without_end_counts_against_the_buffers() {
    let settings = RequestSettings { max_buffered_bytes: 1 << 20, ..RequestSettings::default() };
    let gateway = raw(Does::Holds(unfinished(3 << 20)), "", settings).await;
    // A translation has to hold it.
    let answer = Ask::post("/v1/messages", messages("m", true)).send(&gateway).await;
    assert!(answer.text().contains("begun") && answer.text().contains("overloaded_error"), "{}", answer.text());
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"buffers_full".into()));
    gateway.shows("routeapi_buffered_bytes 0").await;

    // What passes through is only looked at, which the client does not notice.
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(&gateway).await;
    let mut seen = 0;
    while seen < 3 << 20 {
        seen += opened.next().await.unwrap().unwrap().len();
    }
    opened.leave();
    gateway.shows("routeapi_buffered_bytes 0").await;
}

/// All of an answer in a vendor's dialect but its terminal marker.
fn all_but_the_marker() -> [(&'static str, String); 2] {
    let usage = r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
    let chat = [chunk("hello"), last_chunks().replace("data: [DONE]\n\n", ""), format!("{usage}\n\n")].concat();
    let events = [
        r#"{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}"#,
    ];
    let named = |data: &str| {
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        format!("event: {}\ndata: {data}\n\n", event["type"].as_str().unwrap())
    };
    [("OpenAI", chat), ("Anthropic", events.map(named).concat())]
}

#[tokio::test]
async fn silence_after_finish_and_usage_is_a_completed_answer() {
    for (kind, events) in all_but_the_marker() {
        let does = Does::Holds([head("text/event-stream", ""), events.into_bytes()].concat());
        let gateway = raw_as(kind, does, "timeouts: {streamIdle: 200ms}", RequestSettings::default()).await;
        for (at, (path, body)) in dialects("m", true).into_iter().enumerate() {
            let answer = Ask::post(&path, body).send(&gateway).await;
            assert!(answer.text().contains("hello") && !answer.broken, "{kind} {path}: {}", answer.text());
            assert!(!answer.text().contains("error"), "{kind} {path}: {}", answer.text());
            let record = gateway.records(at + 1).await.remove(at);
            assert_eq!((&record["outcome"], &record["usage_source"]), (&"completed".into(), &"reported".into()));
            assert_eq!(record["usage"]["output"], 2, "{kind} {path}: {record:#}");
        }
    }
}

#[tokio::test]
async fn silence_before_every_candidate_has_finished_is_a_failure() {
    let [(_, events), _] = all_but_the_marker();
    let does = Does::Holds([head("text/event-stream", ""), events.into_bytes()].concat());
    let gateway = raw(does, "timeouts: {streamIdle: 200ms}", RequestSettings::default()).await;
    let two = chat("m", true).replacen('{', "{\"n\":2,", 1);
    let answer = Ask::post("/v1/chat/completions", two).send(&gateway).await;
    assert!(answer.text().contains("error"), "{}", answer.text());
    assert_eq!(gateway.record().await["error"], "stream_idle_timeout");
}

const FILTERED: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":3,"completion_tokens":0,"total_tokens":3}}"#;

fn filtered_events() -> String {
    let finish = chunk("").replace("\"finish_reason\":null", "\"finish_reason\":\"content_filter\"");
    format!("{finish}data: [DONE]\n\n")
}

#[tokio::test]
async fn an_answer_that_was_filtered_away_falls_back_where_the_route_says_so() {
    let kinds = [(false, "application/json", FILTERED.to_owned()), (true, "text/event-stream", filtered_events())];
    for (stream, kind, body) in kinds {
        let first = upstream(Does::Sends(vec![head(kind, ""), body.into_bytes()])).await;
        let second = Upstream::start(Script::new().text("saved by the second")).await;
        let provider = format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: first, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{first}/v1\"}}"
        );
        let manifests = |conditions: &str| {
            Manifests::new()
                .with(&provider)
                .provider("second", "OpenAI", &second)
                .route_with("m", &["first", "second"], conditions)
                .token()
        };
        let falls_back = Gateway::start(&manifests("fallback: {conditions: [ContentFiltered]}"));
        let stays = Gateway::start(&manifests(""));
        for (path, body) in dialects("m", stream) {
            let saved = Ask::post(&path, body.clone()).send(&falls_back).await;
            assert!(saved.status == 200 && saved.text().contains("second"), "{path} {stream}: {}", saved.text());
            let kept = Ask::post(&path, body).send(&stays).await;
            assert!(kept.status == 200 && !kept.text().contains("second"), "{path} {stream}: {}", kept.text());
        }
        let record = falls_back.records(3).await.remove(0);
        assert_eq!(record["attempts"][0]["error"], "content_filtered", "{record:#}");
        assert_eq!(record["outcome"], "completed");
    }
}

#[tokio::test]
async fn the_last_upstreams_filtered_answer_is_handed_over() {
    let does = Does::Sends(vec![head("application/json", ""), FILTERED.into()]);
    let gateway = raw(does, "fallback: {conditions: [ContentFiltered]}", RequestSettings::default()).await;
    let answer = Ask::post("/v1/chat/completions", chat("m", false)).send(&gateway).await;
    assert_eq!((answer.status, answer.text()), (200, FILTERED));
}
