//! What the listeners count.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counters of the listeners. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Connections open now.
    pub open: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections turned away because there were too many.
    pub shed: Counter,
    /// Failures to accept, for want of file descriptors mostly.
    pub accept_failures: Counter,
    /// Connections closed for want of a legal PROXY header.
    pub proxy_protocol_failures: Counter,
    /// TLS handshakes that failed or took too long.
    pub tls_failures: Counter,
    /// Header sections that took too long.
    pub slow_headers: Counter,
    /// Unfinished header sections given up because all of them together held too much.
    pub given_up: Counter,
    /// HTTP/2 streams refused because there were too many requests.
    pub refused_streams: Counter,
    /// Requests that named no host, or two.
    pub bad_hosts: Counter,
    /// Requests with both Content-Length and Transfer-Encoding.
    pub ambiguous: Counter,
    /// Certificates that were put in force after the start.
    pub tls_reloads: Counter,
    /// Certificates that were refused, the previous one staying in force.
    pub tls_reload_failures: Counter,
    /// When the certificate in force ends, in seconds since 1970; 0 without TLS.
    pub tls_not_after: Gauge,
}

impl Metrics {
    /// Names every series.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("routeapi_connections_open", "Client connections open now", self.open.clone());
        registry.register("routeapi_connections_accepted", "Client connections accepted", self.accepted.clone());
        registry.register(
            "routeapi_connections_shed",
            "Client connections turned away at the limit",
            self.shed.clone(),
        );
        registry.register(
            "routeapi_accept_failures",
            "Failures to accept a connection, mostly for want of file descriptors",
            self.accept_failures.clone(),
        );
        registry.register(
            "routeapi_proxy_protocol_failures",
            "Connections closed because they did not begin with a legal PROXY header",
            self.proxy_protocol_failures.clone(),
        );
        registry.register("routeapi_tls_handshake_failures", "TLS handshakes that failed", self.tls_failures.clone());
        registry.register("routeapi_slow_headers", "Header sections that took too long", self.slow_headers.clone());
        registry.register(
            "routeapi_unfinished_headers_dropped",
            "Unfinished header sections given up for the memory that all of them held",
            self.given_up.clone(),
        );
        registry.register(
            "routeapi_streams_refused",
            "HTTP/2 streams refused at the limit of requests",
            self.refused_streams.clone(),
        );
        registry.register("routeapi_bad_host_requests", "Requests refused for their Host", self.bad_hosts.clone());
        registry.register(
            "routeapi_ambiguous_requests",
            "Requests refused for Content-Length together with Transfer-Encoding",
            self.ambiguous.clone(),
        );
        registry.register("routeapi_tls_reloads", "Serving certificates put in force", self.tls_reloads.clone());
        registry.register(
            "routeapi_tls_reload_failures",
            "Serving certificates refused, the previous one staying in force",
            self.tls_reload_failures.clone(),
        );
        registry.register(
            "routeapi_tls_certificate_not_after_seconds",
            "End of the serving certificate's validity, seconds since 1970",
            self.tls_not_after.clone(),
        );
    }
}
