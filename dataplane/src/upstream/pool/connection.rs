//! Opens a connection, speaks HTTP/1 or HTTP/2 on it as agreed in the TLS handshake, and drives it to its end.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use http::Uri;
use hyper::{
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioTimer;

use super::{
    settings::{BoxedIo, Dial, Shared},
    state::{Http1, Http2},
};
use crate::{
    counted::Counted,
    spawn::Spawner,
    upstream::{
        send_error::{SendError, connect_error},
        sent::MarkedBody,
    },
};

/// Hung connections with requests are found by HTTP/2 pings.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const H1_BUFFER: usize = 128 << 10;

/// What hyper takes for the limit of streams until the server has said. Ours is [`super::state`]'s; this one is a
/// number that no server says, so that it shows when one has.
const UNKNOWN_STREAM_LIMIT: usize = (1 << 31) - 3;

/// A new connection.
pub(super) enum Established {
    /// Which drives itself.
    Http1(Http1),
    /// To be driven once it has an id.
    Http2(Http2, Box<Driver>),
}

/// Drives an HTTP/2 connection.
pub(super) struct Driver {
    connection: http2::Connection<BoxedIo, MarkedBody, Tasks>,
    tasks: Tasks,
    open: Counted,
}

/// Starts a connection's tasks, and wakes its driver for each step of them until the server's settings have come: hyper
/// tells of the settings only to who asks.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    awaiting_settings: Arc<AwaitedSettings>,
    spawner: Spawner,
}

#[derive(Debug, Default)]
struct AwaitedSettings {
    driver: AtomicWaker,
    is_over: AtomicBool,
}

/// Opens a connection to a URL's host.
///
/// # Errors
/// When none can be had in time, or the first bytes cannot be sent on it.
pub(super) async fn open(dial: &Dial, uri: Uri, shared: &Shared) -> Result<Established, SendError> {
    let Shared { lifetimes, wait: _, windows, metrics, spawner } = shared;
    let io = dial(uri).await.map_err(|error| connect_error(&*error, metrics))?;
    metrics.opened.inc();
    let open = Counted::in_gauge(metrics.open.clone());
    let failed = |error: hyper::Error| SendError::Connect(error.to_string());
    if !io.connected().is_negotiated_h2() {
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(H1_BUFFER).handshake(io).await.map_err(failed)?;
        spawner.spawn("upstream connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream's connection ended");
            }
            drop(open);
        });
        // Until the connection is driven it takes nothing.
        sender.ready().await.map_err(failed)?;
        return Ok(Established::Http1(Http1::new(sender, *lifetimes)));
    }
    let tasks = Tasks { awaiting_settings: Arc::default(), spawner: spawner.clone() };
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .initial_max_send_streams(UNKNOWN_STREAM_LIMIT)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT)
        // h2 counts frames that come for streams which were given up, as long as the connection lives, and ends it with all its
        // other streams at 1,024: clients that leave early, or one that means to, would cut the answers of the others.
        .max_local_error_reset_streams(None)
        .handshake(io)
        .await
        .map_err(failed)?;
    Ok(Established::Http2(Http2::new(sender, *lifetimes), Box::new(Driver { connection, tasks, open })))
}

impl Driver {
    /// Until the connection's end. Tells how many streams the server takes at once, whenever it has said so.
    pub(super) async fn run(self, on_limit: impl Fn(usize)) {
        let Self { connection, tasks, open } = self;
        let mut connection = pin!(connection);
        let mut known = UNKNOWN_STREAM_LIMIT;
        let ended = poll_fn(|cx| {
            tasks.awaiting_settings.driver.register(cx.waker());
            let polled = connection.as_mut().poll(cx);
            let limit = connection.current_max_send_streams();
            if limit != known {
                known = limit;
                // A server that takes none for now will say so when it does again.
                tasks.awaiting_settings.is_over.store(limit > 0, Ordering::Relaxed);
                on_limit(limit);
            }
            polled
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "an upstream's connection ended");
        }
        drop(open);
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let awaiting_settings = Arc::clone(&self.awaiting_settings);
        self.spawner.spawn("upstream connection", async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                if !awaiting_settings.is_over.load(Ordering::Relaxed) {
                    awaiting_settings.driver.wake();
                }
                polled
            })
            .await;
        });
    }
}
