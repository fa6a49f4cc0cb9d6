//! What every session needs.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    issuer::Issuer,
    publish::{History, Publication},
    push::{ack::AckBook, pod_name::PodName},
    response_ids::ResponseIdKeys,
    telemetry::Metrics,
};

/// The pod at the other end, according to its token.
#[derive(Clone, Debug)]
pub struct Peer {
    /// UID of the pod, by which it is identified.
    pub uid: String,
    /// Name of the pod, for messages.
    pub pod: PodName,
}

/// What every session needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The current state, and every later one.
    pub publications: watch::Receiver<Option<Arc<Publication>>>,
    /// Recently published states.
    pub history: History,
    /// The keys of ids of stored responses.
    pub response_ids: Arc<ResponseIdKeys>,
    /// Who issues the cluster's ServiceAccount tokens.
    pub issuer: Arc<Issuer>,
    /// Permits for pods to list their state.
    pub lists: Arc<Semaphore>,
    /// Where acknowledgements are recorded.
    pub acks: Arc<AckBook>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Ends every session gracefully.
    pub shutdown: CancellationToken,
}
