//! The end of a connection for its age, with tokio's clock held.

use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::server::{Capacity, Drain, Metrics};

const MINUTE: Duration = Duration::from_secs(60);

/// Answers after a while.
#[derive(Clone)]
struct After(Duration);

impl Handle for After {
    type Body = Full<Bytes>;

    async fn handle(&self, _: SocketAddr, _: Request<Incoming>) -> Response<Full<Bytes>> {
        tokio::time::sleep(self.0).await;
        Response::new(Full::from("ok"))
    }
}

/// A client's end of a connection that is served.
fn connect(max_age: Option<Duration>, takes: Duration) -> DuplexStream {
    let limits = Limits { max_age, ..Limits::default() };
    let permit = Capacity::new(&limits).admit([10, 0, 0, 1].into()).unwrap();
    let server = Arc::new(Server {
        handler: After(takes),
        limits,
        drain: Drain::new(),
        metrics: Metrics::default(),
        descriptors: crate::descriptors::Descriptors::default(),
        spawner: Spawner::default(),
        connections: tokio_util::task::TaskTracker::new(),
    });
    let (client, io) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move { serve(&server, ([10, 0, 0, 1], 9).into(), permit, io).await });
    client
}

/// One exchange on an HTTP/1 connection: the answer's text.
async fn ask(client: &mut DuplexStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\nok") {
        assert_ne!(client.read_buf(&mut text).await.unwrap(), 0, "{}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn http1_connection_past_max_age_closes_with_its_next_answer() {
    let mut client = connect(Some(10 * MINUTE), Duration::ZERO);
    for minute in 0..9 {
        assert!(!ask(&mut client).await.contains("connection: close"), "in minute {minute}");
        tokio::time::sleep(MINUTE).await;
    }
    tokio::time::sleep(2 * MINUTE).await;
    assert!(ask(&mut client).await.contains("connection: close"), "in minute 11, in which it was still open");
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn connection_without_max_age_stays_open() {
    let mut client = connect(None, Duration::ZERO);
    for _ in 0..10 {
        assert!(!ask(&mut client).await.contains("connection: close"));
        tokio::time::sleep(10 * MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connection_outlasts_load_balancers_then_closes() {
    let mut client = connect(None, Duration::ZERO);
    ask(&mut client).await;
    let begun = Instant::now();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    let rested = begun.elapsed().as_secs();
    assert!((600..=2 * 620).contains(&rested), "{rested} s: load balancers keep theirs for 600 s");
}

#[tokio::test(start_paused = true)]
async fn http2_connection_past_max_age_sends_goaway_and_finishes_its_requests() {
    let client = TokioIo::new(connect(Some(10 * MINUTE), 15 * MINUTE));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), client).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = || Request::get("http://a/").body(Full::<Bytes>::default()).unwrap();
    let answering = tokio::spawn(sender.send_request(request()));
    tokio::time::sleep(8 * MINUTE).await;
    assert!(sender.ready().await.is_ok() && !sender.is_closed());
    tokio::time::sleep(3 * MINUTE).await;
    let late = sender.send_request(request()).await;
    assert!(late.is_err_and(|error| error.is_canceled()), "after the GOAWAY nothing is sent");
    let answer = answering.await.unwrap().unwrap();
    assert_eq!(answer.into_body().frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn http2_connection_with_a_late_first_request_has_a_max_age() {
    let client = TokioIo::new(connect(Some(5 * MINUTE), Duration::ZERO));
    let (sender, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), client).await.unwrap();
    let connection = tokio::spawn(connection);
    // Longer than its age, and shorter than a connection without a request is kept.
    tokio::time::sleep(9 * MINUTE).await;
    assert!(sender.is_closed() && connection.is_finished(), "it would never be told to take no more requests");
}

#[tokio::test(start_paused = true)]
async fn line_breaks_between_requests_are_under_the_header_timeout() {
    for has_asked in [false, true] {
        let mut client = connect(None, Duration::ZERO);
        if has_asked {
            ask(&mut client).await;
        }
        client.write_all(b"\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        ask(&mut client).await;
        client.write_all(&b"\r\n".repeat(20_000)).await.unwrap();
        let begun = Instant::now();
        let _ = client.read_to_end(&mut Vec::new()).await;
        let held = begun.elapsed().as_secs();
        assert!(held < 60, "{held} s, in which up to 64 KiB that count against no limit are held");
    }
}
