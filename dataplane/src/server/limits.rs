//! What a client may do before it is cut off. One place for every number, each with its reason.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{TrustedProxies, cors::Cors, share::share};

use crate::descriptors;

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. More are turned away with 503.
    pub connections: usize,
    /// Connections at once from one IPv4 address or IPv6 /64, and the same share of `requests`: one client must not take
    /// every place. As many as `connections` where all clients have one address, as behind a proxy.
    pub connections_per_client: usize,
    /// Requests at once. Only HTTP/2 can have more than connections; its streams beyond this are refused unprocessed.
    pub requests: usize,
    /// Bytes of unfinished header sections, of all connections together. Beyond it the oldest are given up.
    pub pending_bytes: usize,
    /// From a request's first byte (or from the connection's start) to the end of its header section.
    pub header_read: Duration,
    /// How long a connection without a request is kept. Longer than what load balancers and clients' pools keep, so that
    /// they close first and never reuse a connection in the moment it goes away.
    pub idle: Duration,
    /// How long a connection takes new requests, so that long-lived ones spread over pods that were added; none for no
    /// bound. Each one's own is up to a tenth shorter, so that they do not all end together.
    pub max_age: Option<Duration>,
    /// How long a write may wait for the peer. Longer than what an answer under way is given, which knows more of why.
    pub write: Duration,
    /// For the PROXY header in front of everything else. Balancers send it with the connection's first packet.
    pub proxy_header: Duration,
    /// Bytes of a request that was answered early (413, 401) which are read and thrown away when its connection is closed,
    /// so that a client that is still sending reads the answer instead of a reset. Twice the largest body by default.
    pub linger_bytes: usize,
    /// How long such a client may send nothing.
    pub linger_silence: Duration,
    /// How long it may go on sending; 33 MiB at 10 Mbit/s.
    pub linger_total: Duration,
    /// For the TLS handshake.
    pub tls_handshake: Duration,
    /// Bytes that a client may send until the handshake is done. A ClientHello with post-quantum keys has about 2 KiB.
    pub tls_handshake_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's header section; also what HTTP/1 may buffer per connection.
    pub header_bytes: usize,
    /// HTTP/2 streams at once on a connection.
    pub h2_streams: u32,
    /// HTTP/2 flow-control window of a stream, in bytes.
    pub h2_stream_window: u32,
    /// HTTP/2 flow-control window of a connection, in bytes.
    pub h2_connection_window: u32,
    /// HTTP/2 streams that were reset by the peer and not yet seen by us (rapid reset, CVE-2023-44487).
    pub h2_pending_resets: usize,
    /// HTTP/2 streams that we reset because of the peer's errors (CVE-2025-8671), over the connection's life.
    pub h2_local_resets: usize,
    /// Bytes of an answer that may wait in an HTTP/2 stream for the peer's window.
    pub h2_send_buffer: usize,
    /// Between two HTTP/2 pings to a silent peer.
    pub h2_ping: Duration,
    /// For the answer to such a ping.
    pub h2_ping_timeout: Duration,
    /// Proxies in front. Their connections are those of many clients and do not count for one address.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections begin with a PROXY header: those from trusted proxies, or all where there are none.
    pub proxy_protocol: bool,
    /// Which pages of other origins may call from a browser; none for no CORS.
    pub cors: Option<Arc<Cors>>,
}

impl Limits {
    /// Whether a connection from this address begins with a PROXY header.
    pub(super) fn begins_with_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol && (self.trusted_proxies.is_empty() || self.trusted_proxies.contains(peer))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: 5_000,
            requests: 10_000,
            pending_bytes: 32 << 20,
            header_read: Duration::from_secs(10),
            idle: Duration::from_secs(620),
            max_age: Some(Duration::from_secs(600)),
            write: Duration::from_secs(75),
            proxy_header: Duration::from_secs(5),
            linger_bytes: 64 << 20,
            linger_silence: Duration::from_secs(5),
            linger_total: Duration::from_secs(30),
            tls_handshake: Duration::from_secs(10),
            tls_handshake_bytes: 16 << 10,
            headers: 100,
            header_bytes: 64 << 10,
            h2_streams: 100,
            h2_stream_window: 64 << 10,
            h2_connection_window: 1 << 20,
            h2_pending_resets: 20,
            h2_local_resets: 1024,
            h2_send_buffer: 64 << 10,
            h2_ping: Duration::from_secs(20),
            h2_ping_timeout: Duration::from_secs(10),
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            cors: None,
        }
    }
}

impl Limits {
    /// These limits, lowered to what so many file descriptors allow; none for no limit.
    #[must_use]
    pub fn within(self, descriptors: Option<u64>) -> Self {
        let connections = descriptors::connections(self.connections, descriptors);
        if connections == self.connections {
            return self;
        }
        tracing::warn!(
            connections,
            wanted = self.connections,
            descriptors,
            "the file descriptor limit allows fewer connections than --max-connections"
        );
        let share = share(connections, self.connections_per_client, self.connections);
        Self { connections, connections_per_client: share, requests: self.requests.min(connections), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_scale_with_available_file_descriptors() {
        let limits = Limits::default().within(Some(1_024));
        assert_eq!((limits.connections, limits.connections_per_client, limits.requests), (448, 224, 448));
        let limits = Limits::default().within(Some(1_048_576));
        assert_eq!((limits.connections, limits.connections_per_client, limits.requests), (10_000, 5_000, 10_000));
    }
}
