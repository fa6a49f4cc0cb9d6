//! Accepts connections and starts a task for each, until the process stops taking new ones.
//!
//! Running out of file descriptors must not spin a core: such failures pause the loop for a growing while. Beyond the
//! limit of connections, or of those from one address, a client gets an immediate 503 with `Retry-After` instead of a silent wait in the kernel's queue.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::{
    Handle, Server,
    abort::abortable,
    capacity::{AtCapacity, Capacity, ConnectionPermit, TurnAwayPermit},
    connection, error_response,
    handshake::Handshake,
    linger,
    proxy_protocol::{self, ProxyHeaderError},
    tls::Tls,
};
use crate::{clock, counted::Counted, descriptors::is_exhaustion, keepalive};

const INITIAL_BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Serves a listener until connections are given up. Returns at once then; the open ones are in `server.connections`.
pub async fn accept<H: Handle>(
    server: Arc<Server<H>>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    capacity: Arc<Capacity>,
) {
    let mut pause = INITIAL_BACKOFF;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.drain.closing() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = INITIAL_BACKOFF;
                // A listener for both families sees IPv4 as ::ffff:a.b.c.d.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                spawn_connection(&server, socket, peer, tls.as_ref(), &capacity);
            }
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            Err(error) => {
                server.metrics.accept_failures.inc();
                if is_exhaustion(&error) {
                    server.descriptors.ran_out("accept");
                } else {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = server.drain.closing() => return,
                }
                pause = (pause * 2).min(MAX_BACKOFF);
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

fn spawn_connection<H: Handle>(
    server: &Arc<Server<H>>,
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<&Arc<Tls>>,
    capacity: &Arc<Capacity>,
) {
    let is_proxy = server.limits.trusted_proxies.contains(peer.ip());
    let permit = match if is_proxy { capacity.admit_proxy() } else { capacity.admit(peer.ip()) } {
        Ok(permit) => permit,
        Err(full) => return turn_away_socket(server, socket, tls.is_some(), full, capacity.turn_away()),
    };
    server.metrics.accepted.inc();
    if let Err(error) = set_socket_options(&socket) {
        tracing::debug!(%peer, %error, "cannot set a client connection's options");
    }
    // Boxed, as what it awaits is: each layer around a future would keep room for it twice, once as its argument.
    let connection = Box::pin(run(Arc::clone(server), socket, peer, tls.cloned(), permit));
    let tracked = server.connections.track_future(connection);
    drop(server.spawner.spawn("connection", tracked));
}

fn set_socket_options(socket: &TcpStream) -> io::Result<()> {
    // Without this, small events of a stream wait for the peer's acknowledgement of the previous one.
    socket.set_nodelay(true)?;
    keepalive::enable(socket)
}

/// Says why there is no place. `permit` is where the client reads it.
fn turn_away_socket<H>(
    server: &Server<H>,
    socket: TcpStream,
    is_tls: bool,
    full: AtCapacity,
    permit: Option<TurnAwayPermit>,
) {
    server.metrics.shed.inc();
    if is_tls {
        return;
    }
    // Best effort: a fresh socket takes these few bytes without waiting.
    let _ = socket.try_write(&error_response::bytes(StatusCode::SERVICE_UNAVAILABLE, capacity_message(full)));
    if let Some(permit) = permit {
        let farewell = async move {
            linger::turn_away(socket).await;
            drop(permit);
        };
        drop(server.spawner.spawn("farewell", farewell));
    }
}

fn capacity_message(full: AtCapacity) -> &'static str {
    match full {
        AtCapacity::All => "too many connections (--max-connections)",
        AtCapacity::Client => "too many connections from this address (--max-connections-per-client)",
    }
}

async fn run<H: Handle>(
    server: Arc<Server<H>>,
    mut socket: TcpStream,
    mut peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    mut permit: ConnectionPermit,
) {
    let _open = Counted::in_gauge(server.metrics.open.clone());
    if server.limits.begins_with_proxy_header(peer.ip()) {
        let Some(client) = proxied_client(&server, peer, &mut socket).await else { return };
        let is_one_clients = client != peer && !server.limits.trusted_proxies.contains(client.ip());
        if is_one_clients && let Err(full) = permit.assign_to(client.ip()) {
            return turn_away_socket(&server, socket, tls.is_some(), full, permit.turn_away());
        }
        peer = client;
    }
    let Some(tls) = tls else {
        abortable(Box::pin(connection::serve(&server, peer, permit, socket))).await;
        return;
    };
    match tls_handshake(&server, &tls, socket, &permit).await {
        Ok(socket) => {
            abortable(Box::pin(connection::serve(&server, peer, permit, socket))).await;
        }
        Err(error) => {
            server.metrics.tls_failures.inc();
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
    }
}

/// The client that a connection's PROXY header announces, or who connected if it announces none; nothing if the connection
/// is to be closed.
async fn proxied_client<H>(server: &Server<H>, peer: SocketAddr, socket: &mut TcpStream) -> Option<SocketAddr> {
    match proxy_protocol::read(socket, server.limits.proxy_header).await {
        Ok(client) => Some(client.map_or(peer, |client| SocketAddr::new(client.ip().to_canonical(), client.port()))),
        Err(ProxyHeaderError::Empty) => None,
        Err(error) => {
            server.metrics.proxy_protocol_failures.inc();
            proxy_protocol::log(peer, &error, clock::mono());
            None
        }
    }
}

async fn tls_handshake<H>(
    server: &Server<H>,
    tls: &Tls,
    socket: TcpStream,
    permit: &ConnectionPermit,
) -> io::Result<TlsStream<Handshake>> {
    let socket = Handshake::new(socket, server.limits.tls_handshake_bytes, permit.charge());
    // Boxed, so that a connection does not keep room for it afterwards.
    let shaking = Box::pin(tls.accept(socket));
    match tokio::time::timeout(server.limits.tls_handshake, shaking).await {
        Ok(Ok(mut socket)) => {
            socket.get_mut().0.done();
            Ok(socket)
        }
        Ok(Err(error)) => Err(error),
        Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "took too long")),
    }
}
