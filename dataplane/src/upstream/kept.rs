//! Connections that are kept between requests, and what it means when one breaks.
//!
//! A server may close a kept connection in the very moment a request goes out on it. Such a request was never seen by
//! the upstream: it is sent once more, on a connection made for it, and says nothing about the upstream's health. A
//! connection that breaks on its first request is another matter: the upstream may have begun to work.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::{
    self,
    connect::{Connected, Connection},
};
use tower_service::Service;

/// Makes connections that remember whether they have answered.
#[derive(Clone, Debug)]
pub struct Remembering<C>(pub C);

/// A connection and its memory.
#[derive(Debug)]
pub struct Kept<I> {
    io: I,
    history: History,
}

/// Whether an answer has come on a connection. Travels with responses (in their extensions) and errors.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<AtomicBool>);

impl History {
    /// An answer has come.
    pub fn answered(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn has_answered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether the upstream never saw the request that failed so.
pub fn is_unseen(error: &legacy::Error) -> bool {
    let mut extras = Extensions::new();
    if let Some(info) = error.connect_info() {
        info.get_extras(&mut extras);
    }
    let was_kept = extras.get::<History>().is_some_and(History::has_answered);
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // Streams that a GOAWAY does not name were not processed (RFC 9113, 6.8).
            return error.is_remote()
                && (refused || (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)));
        }
        if was_kept && broke_off(current) {
            return true;
        }
        cause = current.source();
    }
    false
}

fn broke_off(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message();
    }
    cause.downcast_ref::<io::Error>().is_some_and(|error| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
    })
}

impl<C> Service<Uri> for Remembering<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Kept<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { Ok(Kept { io: connecting.await?, history: History::default() }) })
    }
}

impl<I: Connection> Connection for Kept<I> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.history.clone())
    }
}

impl<I: Read + Unpin> Read for Kept<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: Write + Unpin> Write for Kept<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use routeapi_crds::value::AddressPolicy;

    use crate::upstream::{BaseUrl, Clients, MarkedBody, Pool, SendError, SentMark, Trust};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    async fn read_request(socket: &mut TcpStream) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"{}") {
            let mut buffer = [0; 1024];
            let length = socket.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..length]);
        }
    }

    async fn ask(pool: &Pool, base: &BaseUrl) -> Result<Bytes, SendError> {
        let make = || {
            let mut request = http::Request::new(MarkedBody::new(Bytes::from_static(b"{}"), SentMark::default()));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = base.join("/x").map_err(|error| SendError::Invalid(error.to_string()))?;
            Ok(request)
        };
        let response = pool.request(make).await?;
        let (mut body, mut bytes) = (response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        Ok(bytes.into())
    }

    async fn listen() -> (TcpListener, std::sync::Arc<Pool>, BaseUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let pool = Clients::new(AddressPolicy::Workstation).pool(&Trust::default(), Duration::from_secs(10)).unwrap();
        (listener, pool, base)
    }

    #[tokio::test]
    async fn a_request_that_a_kept_connection_lost_is_sent_once_more() {
        let (listener, pool, base) = listen().await;
        let server = tokio::spawn(async move {
            let (mut kept, _) = listener.accept().await.unwrap();
            read_request(&mut kept).await;
            kept.write_all(ANSWER).await.unwrap();
            read_request(&mut kept).await;
            drop(kept);
            let (mut fresh, _) = listener.accept().await.unwrap();
            read_request(&mut fresh).await;
            fresh.write_all(ANSWER).await.unwrap();
        });
        assert_eq!(ask(&pool, &base).await.unwrap(), "ok");
        assert_eq!(ask(&pool, &base).await.unwrap(), "ok");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_first_request_that_is_lost_may_have_been_worked_on() {
        let (listener, pool, base) = listen().await;
        let server = tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            read_request(&mut first).await;
            drop(first);
            listener
        });
        assert!(matches!(ask(&pool, &base).await, Err(SendError::Closed(_))));
        let listener = server.await.unwrap();
        let again = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(again.is_err(), "no second connection was made");
    }
}
