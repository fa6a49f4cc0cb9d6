//! One client connection: HTTP/1.1 or HTTP/2, with every limit set, from its first byte to a proper end.
//!
//! Answers by itself only what must not reach the handler: two lengths or not one host (400), too many header fields
//! (431), and a handler that panicked (500). An HTTP/2 stream beyond the limit of requests is refused unprocessed, which
//! tells the client that it may try again.

use std::{
    future::pending,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Handle, Limits, Server,
    activity::Activity,
    capacity::{ConnectionPermit, RequestPermit},
    error_response,
    guarded::{FramingFacts, GuardedStream},
    host,
    opening::{self, Opened},
    takeover::{Next, Takeover},
    write_timeout::WriteTimeout,
};
use crate::{random, spawn::Spawner};

/// A header section of more bytes than this outgrew the buffer that hyper keeps for a connection. It would keep the larger
/// one, so the connection is closed behind the answer.
const MAX_USUAL_HEAD_BYTES: usize = 8 << 10;

/// One connection, as its requests share it.
struct Connection<H> {
    server: Arc<Server<H>>,
    peer: SocketAddr,
    permit: Arc<ConnectionPermit>,
    framing_facts: FramingFacts,
    activity: Arc<Activity>,
    /// When it takes no more requests.
    retire_at: Option<Instant>,
    /// What follows HTTP.
    next: Arc<Next>,
}

/// A response body that is counted until it ends.
pub struct Tracked<B> {
    body: Either<B, Full<Bytes>>,
    _guard: InFlight,
}

struct InFlight {
    activity: Arc<Activity>,
    _permit: Option<RequestPermit>,
}

/// Serves a connection until either side ends it or the process does.
pub(super) async fn serve<I, H>(server: &Arc<Server<H>>, peer: SocketAddr, permit: ConnectionPermit, io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handle,
{
    let io = WriteTimeout::new(io, server.limits.write);
    let activity = Arc::new(Activity::default());
    let io = GuardedStream::new(io, &server.limits, Arc::clone(&activity), permit.charge(), server.metrics.clone());
    let shared = Arc::new(Connection {
        server: Arc::clone(server),
        peer,
        permit: Arc::new(permit),
        framing_facts: io.framing_facts(),
        activity,
        retire_at: random::retire_at(server.limits.max_age),
        next: Arc::default(),
    });
    match opening::open(io, server.limits.header_bytes, server.drain.closing()).await {
        // Boxed, so that a connection does not keep room for hyper before it has sent anything whole.
        Ok(io) => Box::pin(drive(shared, io)).await,
        Err(error) => tracing::debug!(%peer, %error, "connection ended before a request"),
    }
}

/// Lets hyper serve it.
async fn drive<I, H>(shared: Arc<Connection<H>>, io: Opened<I>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handle,
{
    let (server, activity, peer) = (Arc::clone(&shared.server), Arc::clone(&shared.activity), shared.peer);
    let (next, permit) = (Arc::clone(&shared.next), Arc::clone(&shared.permit));
    let retired = retired(Arc::clone(&activity), shared.retire_at);
    // Boxed, so that a connection does not keep room for a request while there is none.
    let service = service_fn(move |request| Box::pin(respond(Arc::clone(&shared), request)));
    let builder = builder(&server.limits, server.spawner.clone());
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    let ended = tokio::select! {
        // In this order: the first header section is there already, and hyper has to take it before it is told to end.
        biased;
        ended = connection.as_mut() => ended,
        () = server.drain.closing() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = idle(&activity, server.limits.idle) => {
            connection.as_mut().graceful_shutdown();
            // Nothing is in flight: a peer that does not let go of the connection is not waited for.
            tokio::time::timeout(server.limits.header_read, connection).await.unwrap_or(Ok(()))
        }
        () = retired => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = idle(&activity, server.limits.header_read) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
    if let Some(task) = next.take() {
        task.await;
    }
    drop(permit);
}

fn builder(limits: &Limits, spawner: Spawner) -> auto::Builder<Spawner> {
    let mut builder = auto::Builder::new(spawner);
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also runs while the connection rests between requests; `GuardedStream` times the header section itself.
        .header_read_timeout(limits.idle)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .initial_stream_window_size(limits.h2_stream_window)
        .initial_connection_window_size(limits.h2_connection_window)
        .max_pending_accept_reset_streams(limits.h2_pending_resets)
        .max_local_error_reset_streams(limits.h2_local_resets)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(limits.h2_send_buffer)
        .keep_alive_interval(limits.h2_ping)
        .keep_alive_timeout(limits.h2_ping_timeout);
    builder
}

/// Resolves when a whole period has passed without a request.
async fn idle(activity: &Activity, period: Duration) {
    loop {
        let before = activity.requests.load(Ordering::Relaxed);
        tokio::time::sleep(period).await;
        if !activity.is_busy() && activity.requests.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// Resolves when an HTTP/2 connection is to take no more requests, which a GOAWAY tells its client. An HTTP/1 connection
/// is not closed at that moment, in which a request may be on its way: its next answer says `connection: close` instead.
async fn retired(activity: Arc<Activity>, at: Option<Instant>) {
    let Some(at) = at else { return pending().await };
    tokio::time::sleep_until(at).await;
    // Where HTTP/1 is spoken, hyper began with a whole request; without one it is HTTP/2 that was opened ahead.
    let is_http1 = !activity.is_http2.load(Ordering::Relaxed) && activity.requests.load(Ordering::Relaxed) > 0;
    if is_http1 {
        pending::<()>().await;
    }
}

async fn respond<H: Handle>(
    connection: Arc<Connection<H>>,
    request: Request<Incoming>,
) -> Result<Response<Tracked<H::Body>>, h2::Error> {
    let Connection { server, peer, permit, framing_facts, activity, retire_at, next } = &*connection;
    let ordinal = activity.requests.fetch_add(1, Ordering::Relaxed);
    let is_http1 = request.version() < Version::HTTP_2;
    if !is_http1 {
        activity.is_http2.store(true, Ordering::Relaxed);
    }
    let guard = match permit.request() {
        // An HTTP/1 connection has one request, and a place of its own.
        taken if taken.is_some() || is_http1 => InFlight::new(activity, taken),
        _ => {
            server.metrics.refused_streams.inc();
            return Err(h2::Reason::REFUSED_STREAM.into());
        }
    };
    let cors_decision = server.limits.cors.as_ref().map(|cors| cors.decide(request.headers()));
    let is_old = retire_at.is_some_and(|at| Instant::now() >= at);
    let mut must_close = is_old || server.drain.is_closing() || head_bytes(&request) > MAX_USUAL_HEAD_BYTES;
    let response = if is_http1 && framing_facts.is_ambiguous(ordinal) {
        must_close = true;
        server.metrics.ambiguous.inc();
        refuse(StatusCode::BAD_REQUEST, "the request has both Content-Length and Transfer-Encoding")
    } else if let Err(why) = host::check(&request) {
        must_close = true;
        server.metrics.bad_hosts.inc();
        refuse(StatusCode::BAD_REQUEST, why)
    } else if request.headers().len() > server.limits.headers {
        refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many header fields")
    } else if let Some(preflight) = cors_decision.as_ref().and_then(|cors_decision| cors_decision.preflight(&request)) {
        preflight.map(Either::Right)
    } else {
        match server.spawner.guard("request", server.handler.handle(*peer, request)).await {
            Some(response) => response.map(Either::Left),
            None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed to handle this request"),
        }
    };
    // hyper closes the connection then, and a client that is told so does not send its next request into that.
    must_close |= framing_facts.is_in_body(ordinal);
    let mut response = response.map(|body| Tracked { body, _guard: guard });
    if let Some(cors_decision) = cors_decision {
        cors_decision.insert_headers(response.headers_mut());
    }
    if let Some(task) = Takeover::take(response.extensions_mut()) {
        framing_facts.leave_http();
        next.set(task);
    } else if must_close && is_http1 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Bytes of a request's target and header fields.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    request.headers().iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

fn refuse<B>(status: StatusCode, message: &str) -> Response<Either<B, Full<Bytes>>> {
    error_response::response(status, message).map(Either::Right)
}

impl InFlight {
    fn new(activity: &Arc<Activity>, permit: Option<RequestPermit>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { activity: Arc::clone(activity), _permit: permit }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
