//! What all requests of a process share, and its limits.

use std::{sync::Arc, time::Duration};

use super::{client::RecordClient, deliveries::Deliveries, offload::Offload};
use crate::{
    config::store::Store,
    server::{Drain, TrustedProxies},
    service_accounts::ServiceAccounts,
    state::StoredIds,
    telemetry::{Metrics, RecordSink},
};

/// What requests share.
pub struct Gateway {
    /// The configuration in force.
    pub config: Arc<Store>,
    /// Series about requests.
    pub metrics: Arc<Metrics>,
    /// Where finished requests are told.
    pub records: Arc<dyn RecordSink>,
    /// Whether the process is ending.
    pub drain: Drain,
    /// Threads for large requests and answers.
    pub offload: Offload,
    /// Answers that are being handed over; [`super::end_overdue`] looks after them.
    pub deliveries: Deliveries,
    /// Ids of stored responses and conversations.
    pub stored_ids: Arc<StoredIds>,
    /// Who calls with ServiceAccount tokens.
    pub service_accounts: Arc<ServiceAccounts>,
    /// Limits and timeouts.
    pub settings: RequestSettings,
}

/// Limits and timeouts of the process, not of a route.
#[derive(Clone, Debug)]
pub struct RequestSettings {
    /// Largest request body, before and after decompression.
    pub max_body_bytes: usize,
    /// Longest wait for the next piece of a request body.
    pub body_frame_idle: Duration,
    /// Longest time from a request's head to the end of its body.
    pub body_total: Duration,
    /// How long a client may take nothing of its answer. Then the request ends, and its connection (HTTP/2: its stream)
    /// is closed.
    pub client_write: Duration,
    /// Largest answer in one piece, which is held whole before any of it is handed over.
    pub max_answer_bytes: usize,
    /// Most bytes of a stream that are held back while no content has come.
    pub max_held_bytes: usize,
    /// Most bytes of request bodies, whole answers and beginnings of streams that the process holds at once; what
    /// exceeds it is answered with 503.
    pub max_buffered_bytes: usize,
    /// How long a streaming client hears nothing before a heartbeat keeps its connection open, where its route does not
    /// say; none for no heartbeats.
    pub heartbeat: Option<Duration>,
    /// Output tokens that are assumed, and asked for where a dialect demands a number, if the client sets no bound.
    pub assumed_output_tokens: u64,
    /// Proxies whose word about a client's address is taken for the record.
    pub trusted_proxies: TrustedProxies,
    /// What is recorded of clients.
    pub record_client: RecordClient,
    /// Whether the times of each route are exported as histograms.
    pub route_histograms: bool,
    /// Limits of sessions over a WebSocket.
    pub sessions: SessionSettings,
}

/// Limits of a session over a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// How long there may be no message in either direction. Pings are none.
    pub idle: Duration,
    /// How long it may last; OpenAI's own last an hour.
    pub longest: Duration,
    /// Largest message, in bytes. OpenAI takes 15 MiB of sound in one, which are 20 MiB of base64.
    pub max_message_bytes: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { idle: Duration::from_secs(600), longest: Duration::from_secs(3_600), max_message_bytes: 24 << 20 }
    }
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            body_frame_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(60),
            client_write: Duration::from_secs(60),
            max_answer_bytes: 64 << 20,
            max_held_bytes: 1 << 20,
            max_buffered_bytes: 256 << 20,
            heartbeat: Some(Duration::from_secs(15)),
            assumed_output_tokens: 4_096,
            trusted_proxies: TrustedProxies::default(),
            record_client: RecordClient::default(),
            route_histograms: false,
            sessions: SessionSettings::default(),
        }
    }
}
