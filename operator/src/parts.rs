//! What the writing tasks share.

use std::sync::Arc;

use kube::Client;

use crate::{index::Index, publish::Publisher, push::ack::AckBook, telemetry::Metrics};

/// One operator's parts. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Parts {
    /// To the API server.
    pub client: Client,
    /// What is watched.
    pub index: Arc<Index>,
    /// What was compiled.
    pub publisher: Arc<Publisher>,
    /// What data planes have.
    pub acks: Arc<AckBook>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}
