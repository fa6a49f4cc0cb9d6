//! Clients that do not read: they lose their place, and nobody else does.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use routeapi_dataplane::request::RequestSettings;
use routeapi_tests::{
    upstream::{Script, Upstream},
    wait,
};
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::TcpStream,
};

use crate::{
    gateway::{Gateway, Manifests, SOON, TOKEN},
    raw::{self, Does, chunk, head},
    request::{Ask, chat, dialects},
};

/// Patience with clients that take nothing, where that is what is tried.
const SHORT: Duration = Duration::from_millis(400);

fn settings(client_write: Duration) -> RequestSettings {
    RequestSettings { client_write, ..RequestSettings::default() }
}

/// Manifests of a route over one upstream that sends without end. Token and provider have one slot each.
async fn endless(more: &str) -> Manifests {
    let flood = [chunk("word"), chunk("word")].concat().repeat(20).into_bytes();
    let address = raw::upstream(Does::Floods(head("text/event-stream", ""), flood)).await;
    Manifests::new()
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"http://{address}/v1\", maxConcurrentRequests: 1}}"
        ))
        .route_with("m", &["up"], more)
}

fn one_slot(manifests: Manifests) -> Manifests {
    manifests.token_with("main", TOKEN, "models: [\"*\"], maxConcurrentRequests: 1")
}

/// Sends a request and reads nothing.
async fn deaf(gateway: &Gateway, path: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    socket
}

/// What comes, and how it ends.
async fn read(response: Response<Incoming>) -> (Vec<u8>, Result<(), hyper::Error>) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

/// That both slots are free: a client that reads is served.
async fn assert_served(gateway: &Gateway) {
    let mut opened = Ask::post("/v1/chat/completions", chat("m", true)).open(gateway).await;
    assert_eq!(opened.status, 200);
    opened.until("word").await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_gives_everything_back() {
    let gateway = Gateway::start_with(&one_slot(endless("").await), settings(SHORT));
    for (at, (path, body)) in dialects("m", true).into_iter().enumerate() {
        let mut socket = deaf(&gateway, &path, &body).await;
        let record = gateway.records(2 * at + 1).await.remove(2 * at);
        assert_eq!((&record["outcome"], &record["error"]), (&"client_cancelled".into(), &"client_stalled".into()));
        assert_eq!(record["attempts"][0]["error"], "client_stalled", "{record:#}");
        assert_served(&gateway).await;
        gateway.records(2 * at + 2).await;
        // What the kernel had taken still comes, and then the end.
        let end = tokio::time::timeout(SOON, copy(&mut socket, &mut sink())).await;
        assert!(end.is_ok(), "{path}: the connection is closed");
    }
}

#[tokio::test]
async fn one_deaf_stream_of_a_connection_ends_and_its_neighbours_do_not() {
    let manifests = endless("").await.token();
    let quick = Upstream::start(Script::new().text("quick")).await;
    let gateway =
        Gateway::start_with(&manifests.provider("quick", "OpenAI", &quick).route("q", &["quick"]), settings(SHORT));
    let socket = TcpStream::connect(gateway.address()).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let ask = |model: &str, stream: bool| {
        let request = http::Request::post("http://gateway/v1/chat/completions")
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Full::new(Bytes::from(chat(model, stream))));
        let mut sender = sender.clone();
        async move { sender.send_request(request.unwrap()).await.unwrap() }
    };
    let deaf = ask("m", true).await;
    assert_eq!(deaf.status(), 200);
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"client_cancelled".into(), &"client_stalled".into()));
    let (neighbour, ended) = read(ask("q", false).await).await;
    assert!(ended.is_ok() && String::from_utf8_lossy(&neighbour).contains("quick"), "{neighbour:?}");
    let (_, ended) = tokio::time::timeout(SOON, read(deaf)).await.expect("the stream is reset");
    assert!(ended.is_err(), "nobody takes it for finished");
}

#[tokio::test]
async fn a_whole_answer_that_is_not_read_gives_its_memory_back() {
    let upstream = Upstream::start(Script::new().text(&"y".repeat(24 << 20))).await;
    let manifests = one_slot(Manifests::new().provider("up", "OpenAI", &upstream).route("m", &["up"]));
    let gateway = Gateway::start_with(&manifests, settings(SHORT));
    let _socket = deaf(&gateway, "/v1/chat/completions", &chat("m", false)).await;
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"client_cancelled".into(), &"client_stalled".into()));
    let held = || async {
        let page = Ask::get("/metrics").open_at(gateway.admin()).await.read().await;
        page.text().contains("\nrouteapi_buffered_bytes 0\n").then_some(())
    };
    wait::until("what was held is given back", SOON, held).await;
    upstream.set(Script::new().text("word"));
    assert_served(&gateway).await;
}

#[tokio::test]
async fn the_deadline_ends_a_stream_that_is_not_read() {
    let more = "timeouts: {firstContent: 1s, request: 1s}";
    let gateway = Gateway::start_with(&one_slot(endless(more).await), settings(Duration::from_secs(600)));
    let mut socket = deaf(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"request_timeout".into()));
    assert_served(&gateway).await;
    // The client that comes back finds the terminal error behind what it had not read.
    let mut tail = Vec::new();
    let closed = async {
        use tokio::io::AsyncReadExt;
        while !String::from_utf8_lossy(&tail).contains("longer than its route allows") {
            tail.drain(..tail.len().saturating_sub(512));
            assert!(socket.read_buf(&mut tail).await.unwrap() > 0, "{}", String::from_utf8_lossy(&tail));
        }
    };
    tokio::time::timeout(SOON, closed).await.expect("its dialect's error");
}

#[tokio::test]
async fn a_withdrawn_token_ends_a_stream_that_is_not_read() {
    let base = endless("").await;
    let gateway = Gateway::start_with(&base.clone().token(), settings(Duration::from_secs(600)));
    let socket = deaf(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    socket.readable().await.unwrap();
    gateway.apply(&base.token_with("other", "sk-other-test-token", "models: [\"*\"]")).await;
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"limit_stopped".into(), &"unknown_token".into()));
}

#[tokio::test]
async fn the_shutdown_deadline_ends_a_stream_that_is_not_read() {
    let gateway = Gateway::start_with(&one_slot(endless("").await), settings(Duration::from_secs(600)));
    let socket = deaf(&gateway, "/v1/chat/completions", &chat("m", true)).await;
    socket.readable().await.unwrap();
    gateway.running().shutdown();
    let record = gateway.record().await;
    assert_eq!((&record["outcome"], &record["error"]), (&"gateway_stopped".into(), &"shutdown".into()));
}

/// Over HTTP/2 with a window of nothing, not even a heartbeat goes out.
#[tokio::test]
async fn a_client_that_reads_no_heartbeats_is_cut_off_while_it_waits() {
    let upstream = Upstream::start(Script::silent()).await;
    let more = "maxConcurrentRequests: 1, eviction: {consecutiveFailures: 1, duration: 1h}";
    let manifests = Manifests::new().provider_with("up", "OpenAI", &upstream, more).route("m", &["up"]);
    let heartbeat = Some(Duration::from_millis(20));
    let gateway = Gateway::start_with(&one_slot(manifests), RequestSettings { heartbeat, ..settings(SHORT) });
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/v1/chat/completions", gateway.address()))
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Full::new(Bytes::from(chat("m", true))))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let record = gateway.record().await;
    let said = (&record["status"], &record["outcome"], &record["error"]);
    assert_eq!(said, (&200.into(), &"client_cancelled".into(), &"client_stalled".into()), "{record:#}");
    upstream.wait_idle(SOON).await;
    upstream.set(Script::new().text("word"));
    assert_served(&gateway).await;
    drop(response);
}
