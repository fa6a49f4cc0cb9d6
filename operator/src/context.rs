//! What the tasks of one operator share.

use std::sync::Arc;

use kube::Client;

use crate::{
    index::Index, issuer::Issuer, publish::Publisher, push::ack::AckBook, response_ids::ResponseIdKeys,
    telemetry::Metrics,
};

/// The shared state of one operator. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Context {
    /// Client of the API server.
    pub client: Client,
    /// Watched objects.
    pub index: Arc<Index>,
    /// Compiled states.
    pub publisher: Arc<Publisher>,
    /// Acknowledgements of data planes.
    pub acks: Arc<AckBook>,
    /// Keys of ids of stored responses.
    pub response_ids: Arc<ResponseIdKeys>,
    /// Who issues the cluster's ServiceAccount tokens.
    pub issuer: Arc<Issuer>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
}
