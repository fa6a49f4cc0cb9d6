//! Accepts connections and starts a task for each, until the process stops taking new ones.
//!
//! Running out of file descriptors must not spin a core: such failures pause the loop for a growing while. Beyond the
//! limit of connections a client gets an immediate 503 with `Retry-After` instead of a silent wait in the kernel's queue.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{Handle, Server, connection, refusal, tls::Tls};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A semaphore for the connections of all listeners that share a limit.
pub fn slots(connections: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)))
}

/// Serves a listener until connections are given up. Returns at once then; the open ones are in `server.connections`.
pub async fn accept<H: Handle>(
    server: Arc<Server<H>>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    slots: Arc<Semaphore>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.drain.closing() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = FIRST_PAUSE;
                start(&server, socket, peer, tls.as_ref(), &slots);
            }
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            Err(error) => {
                server.metrics.accept_failures.inc();
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = server.drain.closing() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether only the connection that was to be accepted is lost.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn start<H: Handle>(
    server: &Arc<Server<H>>,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<&Arc<Tls>>,
    slots: &Arc<Semaphore>,
) {
    let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
        server.metrics.shed.inc();
        if tls.is_none() {
            // Best effort: a fresh socket takes these few bytes without waiting.
            let answer =
                refusal::bytes(StatusCode::SERVICE_UNAVAILABLE, "the gateway has as many connections as it may");
            let _ = socket.try_write(&answer);
        }
        return;
    };
    server.metrics.accepted.inc();
    // Without this, small events of a stream wait for the peer's acknowledgement of the previous one.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let connection = run(Arc::clone(server), socket, peer, tls.cloned(), slot);
    let tracked = server.connections.track_future(connection);
    drop(server.spawner.spawn("connection", tracked));
}

async fn run<H: Handle>(
    server: Arc<Server<H>>,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    slot: OwnedSemaphorePermit,
) {
    let _open = Open::new(server.metrics.open.clone(), slot);
    let Some(tls) = tls else { return connection::serve(&server, peer, socket).await };
    let handshake = tokio::time::timeout(server.limits.tls_handshake, tls.accept(socket));
    match handshake.await {
        Ok(Ok(socket)) => Box::pin(connection::serve(&server, peer, socket)).await,
        Ok(Err(error)) => {
            server.metrics.tls_failures.inc();
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
        Err(_elapsed) => {
            server.metrics.tls_failures.inc();
            tracing::debug!(%peer, "TLS handshake took too long");
        }
    }
}

/// Counts a connection and holds its slot until the task ends, however it does.
struct Open {
    open: Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(open: Gauge, slot: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.dec();
    }
}
