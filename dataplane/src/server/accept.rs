//! Accepts connections and starts a task for each, until the process stops taking new ones.
//!
//! Running out of file descriptors must not spin a core: such failures pause the loop for a growing while. Beyond the
//! limit of connections, or of those from one address, a client gets an immediate 503 with `Retry-After` instead of a silent wait in the kernel's queue.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::{
    Handle, Server,
    abort::abortable,
    capacity::{Capacity, Full, Place, TurnedAway},
    connection,
    handshake::Handshake,
    linger,
    proxy_protocol::{self, NoHeader},
    refusal,
    tls::Tls,
};
use crate::{clock, descriptors::is_exhaustion, keepalive};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Serves a listener until connections are given up. Returns at once then; the open ones are in `server.connections`.
pub async fn accept<H: Handle>(
    server: Arc<Server<H>>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    capacity: Arc<Capacity>,
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
                // A listener for both families sees IPv4 as ::ffff:a.b.c.d.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                start(&server, socket, peer, tls.as_ref(), &capacity);
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
    capacity: &Arc<Capacity>,
) {
    let is_proxy = server.limits.trusted_proxies.contains(peer.ip());
    let place = match if is_proxy { capacity.enter_proxy() } else { capacity.enter(peer.ip()) } {
        Ok(place) => place,
        Err(full) => return shed(server, socket, tls.is_some(), full, capacity.turn_away()),
    };
    server.metrics.accepted.inc();
    if let Err(error) = prepare(&socket) {
        tracing::debug!(%peer, %error, "cannot set a client connection's options");
    }
    // Boxed, as what it awaits is: each layer around a future would keep room for it twice, once as its argument.
    let connection = Box::pin(run(Arc::clone(server), socket, peer, tls.cloned(), place));
    let tracked = server.connections.track_future(connection);
    drop(server.spawner.spawn("connection", tracked));
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    // Without this, small events of a stream wait for the peer's acknowledgement of the previous one.
    socket.set_nodelay(true)?;
    keepalive::enable(socket)
}

/// Says why there is no place. `place` is where the client reads it.
fn shed<H>(server: &Server<H>, socket: TcpStream, is_tls: bool, full: Full, place: Option<TurnedAway>) {
    server.metrics.shed.inc();
    if is_tls {
        return;
    }
    // Best effort: a fresh socket takes these few bytes without waiting.
    let _ = socket.try_write(&refusal::bytes(StatusCode::SERVICE_UNAVAILABLE, message(full)));
    if let Some(place) = place {
        let farewell = async move {
            linger::turn_away(socket).await;
            drop(place);
        };
        drop(server.spawner.spawn("farewell", farewell));
    }
}

fn message(full: Full) -> &'static str {
    match full {
        Full::All => "the gateway has as many connections as it may",
        Full::Client => "the gateway has as many connections from this address as it may",
    }
}

async fn run<H: Handle>(
    server: Arc<Server<H>>,
    mut socket: TcpStream,
    mut peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    mut place: Place,
) {
    let _open = Open::new(server.metrics.open.clone());
    if server.limits.begins_with_proxy_header(peer.ip()) {
        let Some(client) = announced(&server, peer, &mut socket).await else { return };
        let is_one_clients = client != peer && !server.limits.trusted_proxies.contains(client.ip());
        if is_one_clients && let Err(full) = place.belongs_to(client.ip()) {
            return shed(&server, socket, tls.is_some(), full, place.turn_away());
        }
        peer = client;
    }
    let Some(tls) = tls else {
        abortable(Box::pin(connection::serve(&server, peer, place, socket))).await;
        return;
    };
    match shake_hands(&server, &tls, socket, &place).await {
        Ok(socket) => {
            abortable(Box::pin(connection::serve(&server, peer, place, socket))).await;
        }
        Err(error) => {
            server.metrics.tls_failures.inc();
            tracing::debug!(%peer, %error, "TLS handshake failed");
        }
    }
}

/// The client that a connection's PROXY header announces, or who connected if it announces none; nothing if the connection
/// is to be closed.
async fn announced<H>(server: &Server<H>, peer: SocketAddr, socket: &mut TcpStream) -> Option<SocketAddr> {
    match proxy_protocol::read(socket, server.limits.proxy_header).await {
        Ok(client) => Some(client.map_or(peer, |client| SocketAddr::new(client.ip().to_canonical(), client.port()))),
        Err(NoHeader::Nothing) => None,
        Err(error) => {
            server.metrics.proxy_protocol_failures.inc();
            proxy_protocol::log(peer, &error, clock::mono());
            None
        }
    }
}

async fn shake_hands<H>(
    server: &Server<H>,
    tls: &Tls,
    socket: TcpStream,
    place: &Place,
) -> io::Result<TlsStream<Handshake>> {
    let socket = Handshake::new(socket, server.limits.tls_handshake_bytes, place.charge());
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

/// Counts a connection until the task ends, however it does.
struct Open(Gauge);

impl Open {
    fn new(open: Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
