//! What is counted of connections to upstreams.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use routeapi_channel::ObjectId;

use crate::descriptors::Descriptors;

/// Counters of connections to upstreams. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connections open now.
    pub open: Gauge,
    /// Connections opened.
    pub opened: Counter,
    /// Requests that wait for a connection or an HTTP/2 stream now.
    pub waiting: Gauge,
    /// How long they waited, in seconds.
    pub wait: Histogram,
    /// Requests sent once more because the upstream never saw them.
    pub repeated: Counter,
    /// Tokens that were asked for, by provider and what came of it.
    tokens: Family<TokenLabels, Counter>,
    /// Of the process.
    pub descriptors: Descriptors,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    provider: String,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Descriptors::default())
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(descriptors: Descriptors) -> Self {
        Self {
            open: Gauge::default(),
            opened: Counter::default(),
            waiting: Gauge::default(),
            wait: Histogram::new([0.001, 0.01, 0.1, 1.0, 10.0]),
            repeated: Counter::default(),
            tokens: Family::default(),
            descriptors,
        }
    }

    /// Names every series.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("routeapi_upstream_connections_open", "Connections to upstreams open now", self.open.clone());
        registry.register(
            "routeapi_upstream_connections_opened",
            "Connections to upstreams opened",
            self.opened.clone(),
        );
        registry.register(
            "routeapi_upstream_requests_waiting",
            "Requests that wait for a connection or an HTTP/2 stream now",
            self.waiting.clone(),
        );
        registry.register(
            "routeapi_upstream_wait_seconds",
            "Time that requests waited for a connection or an HTTP/2 stream; none for one that was free",
            self.wait.clone(),
        );
        registry.register(
            "routeapi_upstream_requests_repeated",
            "Requests sent once more because the upstream closed the connection, or refused the stream, unseen",
            self.repeated.clone(),
        );
        registry.register(
            "routeapi_provider_token_requests",
            "Tokens asked for with the identity of an AIProvider, by outcome: success, refused (by whoever issues them), failed",
            self.tokens.clone(),
        );
    }

    /// A token was asked for.
    pub fn token_fetched(&self, provider: &ObjectId, outcome: &'static str) {
        self.tokens.get_or_create(&TokenLabels { provider: provider.to_string(), outcome }).inc();
    }
}
