//! Servers of HTTP/1 and HTTP/2 at the other end of pipes in memory, with tokio's clock held: what takes a second here
//! takes none.
#![expect(clippy::disallowed_methods, reason = "what is collected was written here")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::{TokioExecutor, TokioIo},
};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{state::MAX_MULTIPLEXED, *};
use crate::{
    spawn::Spawner,
    upstream::{
        metrics::Metrics,
        send_error::SendError,
        sent::{MarkedBody, SentMark},
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// A client's end.
struct Pipe {
    io: TokioIo<DuplexStream>,
    is_http2: bool,
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        if self.is_http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A host and the servers' ends of the connections that are made to it.
fn host(is_http2: bool, lifetimes: ConnectionLifetimes) -> (Arc<Host>, mpsc::UnboundedReceiver<DuplexStream>) {
    let (dialled, connections) = mpsc::unbounded_channel();
    let dial: Dial = Arc::new(move |_| {
        let (client, server) = tokio::io::duplex(64 << 10);
        let dialled = dialled.send(server);
        Box::pin(async move {
            dialled.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Box::new(Pipe { io: TokioIo::new(client), is_http2 }) as BoxedIo)
        })
    });
    let shared = Shared {
        lifetimes,
        wait: 5 * SECOND,
        windows: Windows::default(),
        metrics: Metrics::default(),
        spawner: Spawner::default(),
    };
    let scheme = if is_http2 { Scheme::HTTPS } else { Scheme::HTTP };
    let host = Pool::new(dial, shared).new_host(&scheme, &"upstream.example:8000".parse().unwrap()).unwrap();
    (host, connections)
}

fn post() -> Request<MarkedBody> {
    let mut request = Request::new(MarkedBody::new(Bytes::from_static(b"{}"), SentMark::default()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "http://upstream.example:8000/x".parse().unwrap();
    request
}

async fn ask(host: &Arc<Host>) -> Result<String, SendError> {
    let response = host.request(post).await?;
    let body = response.into_body().collect().await.map_err(|error| SendError::Closed(error.to_string()))?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

/// Serves HTTP/2 with so many streams for each connection; an answer takes `takes`. Returns how many connections there
/// have been, and how many streams there were at once on each.
fn serve(
    mut connections: mpsc::UnboundedReceiver<DuplexStream>,
    streams: u32,
    takes: Duration,
) -> Arc<Mutex<BTreeMap<usize, usize>>> {
    let most: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let seen = Arc::clone(&most);
    tokio::spawn(async move {
        for number in 0.. {
            let Some(io) = connections.recv().await else { return };
            let (in_flight, seen) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&seen));
            seen.lock().unwrap().insert(number, 0);
            let service = service_fn(move |request: Request<Incoming>| {
                let (in_flight, seen) = (Arc::clone(&in_flight), Arc::clone(&seen));
                async move {
                    let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
                    seen.lock().unwrap().entry(number).and_modify(|most| *most = now.max(*most));
                    drop(request.into_body().collect().await);
                    tokio::time::sleep(takes).await;
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            tokio::spawn(builder.serve_connection(TokioIo::new(io), service));
        }
    });
    most
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_stream_limit_open_as_few_connections_as_needed() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    let most = serve(connections, 100, SECOND);
    let begun = Instant::now();
    let answers = join_all((0..250).map(|_| ask(&host))).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")));
    assert!(begun.elapsed() <= Duration::from_millis(1_200), "{:?}", begun.elapsed());
    assert_eq!(most.lock().unwrap().values().copied().collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(host.shared.metrics.waiting.get(), 0);
    assert!(host.state().next_offer(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn server_without_a_stream_limit_gets_one_connection() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    // hyper's server always names a limit; one that is never reached is as good as none.
    let most = serve(connections, u32::MAX, SECOND);
    let answers = join_all((0..500).map(|_| ask(&host))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stream_limit_of_one_is_respected() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    let most = serve(connections, 1, SECOND);
    let answers = join_all((0..20).map(|_| ask(&host))).await;
    assert!(answers.iter().all(Result::is_ok));
    let most = most.lock().unwrap();
    assert!(most.len() <= 20 && most.values().all(|most| *most <= 1), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_free_stream_times_out_with_saturated() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    let most = serve(connections, 1, 60 * SECOND);
    let others: Vec<_> = (0..MAX_MULTIPLEXED).map(|_| host.clone()).collect();
    let others = tokio::spawn(async move { join_all(others.iter().map(ask)).await });
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    assert_eq!(ask(&host).await.unwrap_err(), SendError::Saturated(5 * SECOND));
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(most.lock().unwrap().len(), MAX_MULTIPLEXED);
    assert!(others.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"), "and then there is room");
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_free_their_streams_and_queue_places() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    let most = serve(connections, 1, SECOND);
    let given_up = || async { tokio::time::timeout(SECOND / 2, ask(&host)).await.is_err() };
    assert!(join_all((0..1_000).map(|_| given_up())).await.iter().all(|is_given_up| *is_given_up));
    assert_eq!(host.shared.metrics.waiting.get(), 0);
    assert_eq!(host.state().counts(), (0, 0), "nobody waits and no stream is in use");
    let opened = host.shared.metrics.opened.get();
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    assert_eq!(host.shared.metrics.opened.get(), opened, "on a connection that is there");
    assert!(most.lock().unwrap().len() <= MAX_MULTIPLEXED);
}

#[tokio::test(start_paused = true)]
async fn server_with_a_stream_limit_of_zero_gets_few_connections() {
    let (host, connections) = host(true, ConnectionLifetimes::default());
    let most = serve(connections, 0, SECOND);
    // The first goes out before the server has said so, which nobody answers.
    let asking = (0..50).map(|_| tokio::time::timeout(20 * SECOND, ask(&host)));
    for answer in join_all(asking).await {
        assert!(matches!(answer, Err(_) | Ok(Err(SendError::Saturated(_) | SendError::Refused))), "{answer:?}");
    }
    let connections = most.lock().unwrap().len();
    assert!(connections <= 16, "{connections} connections: one a second as long as anybody waits");
}

#[tokio::test(start_paused = true)]
async fn closed_idle_http2_connection_loses_no_request() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    let (cut, is_cut) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let first = connections.recv().await.unwrap();
        tokio::select! {
            () = serve_with_h2(first, answer) => {}
            _ = is_cut => {}
        }
        serve_with_h2(connections.recv().await.unwrap(), answer).await;
    });
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    cut.send(()).unwrap();
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    assert_eq!(host.shared.metrics.opened.get(), 2);
}

/// Speaks HTTP/2 until a request has come, then does something else to its stream.
async fn serve_with_h2<F>(io: DuplexStream, settle: impl Fn(h2::server::SendResponse<Bytes>) -> F)
where
    F: Future<Output = ()>,
{
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        drop(request);
        settle(respond).await;
    }
}

async fn answer(mut respond: h2::server::SendResponse<Bytes>) {
    respond.send_response(Response::new(()), false).unwrap().send_data(Bytes::from_static(b"ok"), true).unwrap();
}

/// Speaks HTTP/2 by hand, and ends every answer a moment after it was given up.
async fn serve_late_ends(mut io: DuplexStream) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const CANCEL: u8 = 8;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    // `:status: 200`, `content-length: 2` (RFC 7541, appendix A).
    const ANSWER: &[u8] = &[0x88, 0x0f, 0x0d, 1, b'2'];
    let frame = |kind: u8, flags: u8, stream: &[u8], payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], stream, payload].concat()
    };
    let mut preface = [0; 24];
    io.read_exact(&mut preface).await.unwrap();
    io.write_all(&frame(SETTINGS, 0, &[0; 4], &[])).await.unwrap();
    let mut head = [0; 9];
    while io.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        io.read_exact(&mut payload).await.unwrap();
        let said = match kind {
            SETTINGS if flags == 0 => frame(SETTINGS, 1, &stream, &[]),
            DATA if flags & END_STREAM > 0 => {
                [frame(HEADERS, END_HEADERS, &stream, ANSWER), frame(DATA, 0, &stream, b"ok")].concat()
            }
            RST_STREAM if payload.last() == Some(&CANCEL) => frame(DATA, END_STREAM, &stream, &[]),
            _ => continue,
        };
        io.write_all(&said).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn answers_given_up_before_their_end_cost_no_connection() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    tokio::spawn(async move {
        while let Some(io) = connections.recv().await {
            tokio::spawn(serve_late_ends(io));
        }
    });
    for number in 0..1_500 {
        let mut body = host.request(post).await.unwrap_or_else(|error| panic!("{number}: {error}")).into_body();
        // As a client does that knows how much is to come.
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok", "{number}");
    }
    assert_eq!(host.shared.metrics.opened.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn refused_stream_is_resent_on_another_connection() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    tokio::spawn(async move {
        let first = connections.recv().await.unwrap();
        tokio::spawn(serve_with_h2(first, |mut respond| async move {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }));
        serve_with_h2(connections.recv().await.unwrap(), answer).await;
    });
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    assert_eq!(host.shared.metrics.repeated.get(), 1);
    assert_eq!(host.shared.metrics.opened.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn stream_refused_twice_is_not_resent() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    tokio::spawn(async move {
        while let Some(io) = connections.recv().await {
            tokio::spawn(serve_with_h2(io, |mut respond| async move {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }));
        }
    });
    assert_eq!(ask(&host).await.unwrap_err(), SendError::Refused);
    assert_eq!(host.shared.metrics.opened.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_a_goaway_are_resent_on_one_new_connection() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    let (stop, stopped) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    tokio::spawn(async move {
        let mut first = h2::server::handshake(connections.recv().await.unwrap()).await.unwrap();
        let (_, respond) = first.accept().await.unwrap().unwrap();
        answer(respond).await;
        let mut stopped = std::pin::pin!(stopped);
        while stopped.as_mut().now_or_never().is_none() {
            drop(first.accept().now_or_never());
            tokio::task::yield_now().await;
        }
        // What comes now it does not read, and says so when it leaves.
        left.await.unwrap();
        first.abrupt_shutdown(h2::Reason::NO_ERROR);
        tokio::spawn(async move { while first.accept().await.is_some() {} });
        serve_with_h2(connections.recv().await.unwrap(), answer).await;
    });
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    stop.send(()).unwrap();
    let asking = join_all((0..3).map(|_| ask(&host)));
    let leaving = async {
        // The requests are on their way by then.
        tokio::time::sleep(SECOND).await;
        leave.send(()).unwrap();
    };
    let (answers, ()) = tokio::join!(asking, leaving);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
    assert_eq!(host.shared.metrics.opened.get(), 2);
    assert_eq!(host.shared.metrics.repeated.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn server_that_closes_at_once_fails_the_request() {
    let (host, mut connections) = host(true, ConnectionLifetimes::default());
    tokio::spawn(async move { while connections.recv().await.is_some() {} });
    let answers = join_all((0..9).map(|_| ask(&host))).await;
    assert!(answers.iter().all(|answer| matches!(
        answer,
        Err(SendError::Closed(_) | SendError::Stale(_) | SendError::Unprocessed(_) | SendError::Connect(_))
    )));
    let opened = host.shared.metrics.opened.get();
    assert!(opened <= 2 * 9, "{opened}: each is sent once more");
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn read_request(io: &mut DuplexStream) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"{}") {
        let mut buffer = [0; 1024];
        match io.read(&mut buffer).await.unwrap() {
            0 => break,
            length => seen.extend_from_slice(&buffer[..length]),
        }
    }
    String::from_utf8(seen).unwrap()
}

/// Answers every HTTP/1 request after a while; returns how many connections there have been.
fn serve_http1(mut connections: mpsc::UnboundedReceiver<DuplexStream>, takes: Duration) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(io) = connections.recv().await {
            seen.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(move |request: Request<Incoming>| async move {
                drop(request.into_body().collect().await);
                tokio::time::sleep(takes).await;
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(io), service));
        }
    });
    count
}

#[tokio::test(start_paused = true)]
async fn http1_connections_are_reused_and_opened_on_demand() {
    let (host, connections) = host(false, ConnectionLifetimes::default());
    let count = serve_http1(connections, SECOND);
    for _ in 0..3 {
        assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(join_all((0..10).map(|_| ask(&host))).await.iter().all(Result::is_ok));
    assert!((2..=10).contains(&count.load(Ordering::Relaxed)), "{count:?}");
    assert_eq!(host.shared.metrics.open.get(), i64::try_from(count.load(Ordering::Relaxed)).unwrap());
}

#[tokio::test(start_paused = true)]
async fn connections_close_after_idle_time_and_max_age() {
    for is_http2 in [false, true] {
        let lifetimes = ConnectionLifetimes { idle: 50 * SECOND, max_age: Some(600 * SECOND) };
        let (host, connections) = host(is_http2, lifetimes);
        if is_http2 {
            drop(serve(connections, 100, Duration::ZERO));
        } else {
            drop(serve_http1(connections, Duration::ZERO));
        }
        let opened = || host.shared.metrics.opened.get();
        ask(&host).await.unwrap();
        tokio::time::sleep(49 * SECOND).await;
        ask(&host).await.unwrap();
        assert_eq!(opened(), 1, "a kept one is used again");
        tokio::time::sleep(51 * SECOND).await;
        host.update(|state| state.expire(Instant::now()));
        tokio::time::sleep(SECOND).await;
        assert_eq!(host.shared.metrics.open.get(), 0, "one that nobody uses is closed");
        let mut asked = 0;
        while opened() == 1 || asked == 0 {
            ask(&host).await.unwrap();
            asked += 1;
        }
        assert_eq!((opened(), asked), (2, 1));
        for _ in 0..22 {
            tokio::time::sleep(30 * SECOND).await;
            ask(&host).await.unwrap();
        }
        assert_eq!(opened(), 3, "in eleven minutes one was replaced for its age");
    }
}

#[tokio::test]
async fn request_lost_on_a_reused_connection_is_resent() {
    let (host, mut connections) = host(false, ConnectionLifetimes::default());
    let server = tokio::spawn(async move {
        let mut kept = connections.recv().await.unwrap();
        let first = read_request(&mut kept).await;
        kept.write_all(ANSWER).await.unwrap();
        read_request(&mut kept).await;
        drop(kept);
        let mut fresh = connections.recv().await.unwrap();
        read_request(&mut fresh).await;
        fresh.write_all(ANSWER).await.unwrap();
        first
    });
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    assert_eq!(ask(&host).await.as_deref(), Ok("ok"));
    let first = server.await.unwrap();
    assert!(first.starts_with("POST /x HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("host: upstream.example:8000\r\n"), "{first}");
}

#[tokio::test]
async fn request_lost_on_a_new_connection_is_not_resent() {
    let (host, mut connections) = host(false, ConnectionLifetimes::default());
    let server = tokio::spawn(async move {
        let mut first = connections.recv().await.unwrap();
        read_request(&mut first).await;
        drop(first);
        connections
    });
    assert!(matches!(ask(&host).await, Err(SendError::Closed(_))));
    assert!(server.await.unwrap().try_recv().is_err(), "no second connection was made");
}

#[tokio::test(start_paused = true)]
async fn unread_answer_closes_its_http1_connection() {
    let (host, mut connections) = host(false, ConnectionLifetimes::default());
    let server = tokio::spawn(async move {
        let mut io = connections.recv().await.unwrap();
        read_request(&mut io).await;
        io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\nbegun").await.unwrap();
        io.read(&mut [0; 1]).await.unwrap()
    });
    drop(host.request(post).await.unwrap());
    assert_eq!(server.await.unwrap(), 0);
    assert!(host.state().next_offer(Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn connect_failure_fails_all_waiting_requests() {
    for is_http2 in [false, true] {
        let (host, connections) = host(is_http2, ConnectionLifetimes::default());
        drop(connections);
        for answer in join_all((0..5).map(|_| ask(&host))).await {
            assert!(matches!(answer, Err(SendError::Connect(_))), "{answer:?}");
        }
    }
}
