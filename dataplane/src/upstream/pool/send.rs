//! Sends a request on a connection, and tells whether the upstream ever saw one that failed.
//!
//! A server may close a kept connection in the very moment a request goes out on it, end an HTTP/2 connection with a
//! GOAWAY, or refuse a stream unprocessed. Such a request was never seen by the application behind it: it can be sent once
//! more ([`Host::acquire_again`]), and says nothing about the upstream's health. A connection that breaks on its
//! first request is another matter: the upstream may have begun to work.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST, uri::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    host::{Host, PooledConnection},
    state::{CheckedOut, Http1},
};
use crate::upstream::{
    send_error::{SendError, answer_error},
    sent::MarkedBody,
};

/// An answer's body. The connection, or the stream of it, is free again when it has ended.
#[derive(Debug)]
pub struct PooledBody {
    incoming: Incoming,
    stream: Option<PooledConnection>,
}

impl Host {
    /// Sends a request and waits for the answer's head. `make` makes it, and makes it anew if the upstream never saw it.
    ///
    /// # Errors
    /// When no connection can be had, or no head came.
    pub async fn request(
        self: &Arc<Self>,
        make: impl Fn() -> Request<MarkedBody>,
    ) -> Result<Response<PooledBody>, SendError> {
        match self.acquire().await?.send(make()).await {
            Err(error) if error.is_unseen() => self.acquire_again().await?.send(make()).await,
            sent => sent,
        }
    }
}

impl PooledConnection {
    /// Sends a request and waits for the answer's head.
    ///
    /// # Errors
    /// When it cannot be sent, or no head came.
    pub async fn send(mut self, request: Request<MarkedBody>) -> Result<Response<PooledBody>, SendError> {
        match self.checked_out.take() {
            Some(CheckedOut::Http1(connection)) => http1(&self.host, connection, request).await,
            Some(checked_out @ CheckedOut::Http2 { .. }) => {
                // Still this request's: the stream is free when the answer has been read, or nobody waits for it.
                self.checked_out = Some(checked_out);
                self.http2(request).await
            }
            None => Err(given_up()),
        }
    }

    async fn http2(mut self, request: Request<MarkedBody>) -> Result<Response<PooledBody>, SendError> {
        let Some(CheckedOut::Http2 { id, sender, has_answered, newest }) = &mut self.checked_out else {
            return Err(given_up());
        };
        let (id, newest, has_answered) = (*id, *newest, Arc::clone(has_answered));
        let sent = sender.try_send_request(request);
        let mut error = match sent.await {
            Ok(response) => {
                if !has_answered.swap(true, Ordering::Relaxed) {
                    self.host.update(|state| state.answered(id));
                }
                return Ok(response.map(|incoming| PooledBody::new(incoming, Some(self))));
            }
            Err(error) => error,
        };
        let is_unsent = error.take_message().is_some();
        let error = error.into_error();
        let describe = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        if describe.is_some_and(is_refused) {
            self.host.update(|state| state.retire(id));
            return Err(SendError::Refused);
        }
        let is_unprocessed = is_unsent || describe.is_some_and(is_over);
        let is_stale = has_answered.load(Ordering::Relaxed) && broke_off(&error);
        if !is_unprocessed && !is_stale {
            return Err(answer_error(&error));
        }
        self.host.update(|state| state.retire_until(newest));
        let why = error.to_string();
        Err(if is_unprocessed { SendError::Unprocessed(why) } else { SendError::Stale(why) })
    }
}

async fn http1(
    host: &Arc<Host>,
    mut connection: Http1,
    mut request: Request<MarkedBody>,
) -> Result<Response<PooledBody>, SendError> {
    for_http1(&mut request)?;
    match connection.sender.try_send_request(request).await {
        Ok(response) => {
            connection.has_answered = true;
            let checked_out = PooledConnection::new(host, CheckedOut::Http1(connection));
            give_back_when_read(checked_out);
            Ok(response.map(|incoming| PooledBody::new(incoming, None)))
        }
        Err(mut error) => {
            let is_unsent = error.take_message().is_some();
            let error = error.into_error();
            Err(match (is_unsent, connection.has_answered && broke_off(&error)) {
                (true, _) => SendError::Unprocessed(error.to_string()),
                (false, true) => SendError::Stale(error.to_string()),
                (false, false) => answer_error(&error),
            })
        }
    }
}

/// A connection is free when its answer has been read, which the task that drives it knows.
fn give_back_when_read(mut checked_out: PooledConnection) {
    if matches!(&checked_out.checked_out, Some(CheckedOut::Http1(connection)) if connection.sender.is_ready()) {
        return;
    }
    let spawner = checked_out.host.shared.spawner.clone();
    spawner.spawn("upstream answer", async move {
        if let Some(CheckedOut::Http1(connection)) = &mut checked_out.checked_out {
            // An error: it is not used again, which giving it back finds out.
            drop(connection.sender.ready().await);
        }
    });
}

/// The target and the host as HTTP/1 wants them (RFC 9112, 3.2). A proxy is asked for a tunnel, so that none needs the
/// whole URL.
pub(super) fn for_http1(request: &mut Request<MarkedBody>) -> Result<(), SendError> {
    let invalid = |error: &dyn std::fmt::Display| SendError::Invalid(error.to_string());
    let uri = request.uri();
    if let Some(authority) = uri.authority()
        && !request.headers().contains_key(HOST)
    {
        let is_default = matches!(
            (uri.scheme_str(), uri.port_u16()),
            (_, None) | (Some("http"), Some(80)) | (Some("https"), Some(443))
        );
        let name = if is_default { authority.host() } else { authority.as_str() };
        // Without the user that an authority may have.
        let name = name.rsplit_once('@').map_or(name, |(_, host)| host);
        let value = http::HeaderValue::from_str(name).map_err(|error| invalid(&error))?;
        request.headers_mut().insert(HOST, value);
    }
    let mut parts = Parts::default();
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| invalid(&error))?;
    Ok(())
}

/// Whether a server refused a stream unprocessed (RFC 9113, 8.7).
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Whether a server ended a connection without trouble. A request fails so only if the GOAWAY does not name its stream,
/// which was not processed then (RFC 9113, 6.8).
fn is_over(error: &h2::Error) -> bool {
    error.is_remote() && error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
}

/// Whether a connection ended without an answer.
fn broke_off(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_incomplete_message() || cause.is_some_and(is_gone)
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

fn given_up() -> SendError {
    SendError::Connect("the connection was given up".to_owned())
}

impl PooledBody {
    pub(super) fn new(incoming: Incoming, stream: Option<PooledConnection>) -> Self {
        let stream = stream.filter(|_| !incoming.is_end_stream());
        Self { incoming, stream }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        let has_ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        if has_ended || (polled.is_ready() && self.incoming.is_end_stream()) {
            self.stream = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
