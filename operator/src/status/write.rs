//! Writes one status.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use routeapi_channel::{Key, Kind};
use routeapi_compile::Detail;
use routeapi_crds::{
    condition::ConditionType,
    v1alpha1::{AIProvider, AIRoute, ApiToken, DataPlaneStatus, UpstreamStatus},
};
use serde_json::{Value, json};
use tokio::time;

use super::{decide::DesiredStatus, pod_counts::PodCounts};
use crate::field_manager::FIELD_MANAGER;

/// `apiVersion` of all kinds.
pub const API_VERSION: &str = "routeapi.dev/v1alpha1";

/// How long the API server may take, admission webhooks included, which may take 10 s by default.
const STATUS_WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Condition types that the operator owns; others are left to other controllers.
const OWNED_CONDITIONS: [ConditionType; 6] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::SecretReady,
    ConditionType::CredentialsAccepted,
    ConditionType::Programmed,
    ConditionType::Ready,
];

/// The fields of a current status other than conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum ObservedFields {
    /// Of an AIProvider: the number of attached routes.
    Provider(Option<i32>),
    /// Of an AIRoute: its upstreams, and the counts of pods.
    Route(Vec<UpstreamStatus>, Option<PodCounts>),
    /// Of an ApiToken: no further fields.
    Token,
    /// Of an object that cannot be read.
    Nothing,
}

/// The last status that was written to an object.
#[derive(Clone, Debug)]
pub struct LastWrite {
    uid: Option<String>,
    version: Option<u64>,
    desired: DesiredStatus,
}

// === impl ObservedFields ===

impl ObservedFields {
    /// Whether the fields differ, except for counts of pods.
    pub fn differs(&self, detail: &Detail) -> bool {
        match (self, detail) {
            (Self::Provider(current), Detail::Provider { attached_routes }) => *current != Some(*attached_routes),
            (Self::Route(current, _), Detail::Route { upstreams }) => current != upstreams,
            _ => false,
        }
    }

    /// The number of connected pods in the status.
    pub fn connected(&self) -> Option<usize> {
        let Self::Route(_, Some(counts)) = self else { return None };
        counts.connected()
    }

    /// The desired and the current counts of pods, for kinds that have them.
    pub fn pods(&self, desired: &DesiredStatus) -> Option<(PodCounts, PodCounts)> {
        let Self::Route(_, Some(counts)) = self else { return None };
        Some((desired.progress.as_ref()?.into(), *counts))
    }
}

// === impl LastWrite ===

impl LastWrite {
    /// A status that was written, with the resulting resourceVersion.
    pub fn new(metadata: &ObjectMeta, version: Option<String>, desired: DesiredStatus) -> Self {
        Self { uid: metadata.uid.clone(), version: version.and_then(|version| version.parse().ok()), desired }
    }

    /// Whether the index still has a version of the object from before the write.
    pub fn is_newer_than(&self, current: &ObjectMeta) -> bool {
        let version = current.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok());
        self.uid == current.uid && version.zip(self.version).is_some_and(|(current, written)| current < written)
    }

    /// Whether the same status was written to the same object.
    pub fn equals(&self, desired: &DesiredStatus, metadata: &ObjectMeta) -> bool {
        self.uid == metadata.uid && self.desired == *desired
    }
}

/// The name of a kind in the API.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Provider => "AIProvider",
        Kind::Route => "AIRoute",
        Kind::Token => "ApiToken",
        Kind::Namespace => "Namespace",
        Kind::Unknown(_) => "object of an unknown kind",
    }
}

/// The apply patch of a status: the conditions that the operator owns, and the fields of the kind.
pub fn body(key: &Key, metadata: &ObjectMeta, desired: &DesiredStatus, conditions: &[Condition]) -> Value {
    let is_owned = |condition: &&Condition| OWNED_CONDITIONS.iter().any(|owned| owned.to_string() == condition.type_);
    let owned: Vec<_> = conditions.iter().filter(is_owned).collect();
    let mut status = json!({"observedGeneration": desired.generation, "conditions": owned});
    if let Some(fields) = status.as_object_mut() {
        match &desired.detail {
            Detail::Provider { attached_routes } => {
                fields.insert("attachedRoutes".to_owned(), json!(attached_routes));
            }
            Detail::Route { upstreams } => {
                fields.insert("upstreams".to_owned(), json!(upstreams));
                let pods = desired.progress.as_ref().map(|progress| DataPlaneStatus::from(PodCounts::from(progress)));
                fields.insert("dataPlane".to_owned(), json!(pods));
            }
            Detail::Token { .. } => {}
        }
        fields.retain(|_, value| !value.is_null());
    }
    json!({
        "apiVersion": API_VERSION, "kind": kind(key.kind),
        "metadata": {"name": key.id.name(), "uid": metadata.uid},
        "status": status,
    })
}

/// Applies a patch; returns the resulting resourceVersion.
pub async fn apply(client: &Client, key: &Key, body: &Value) -> Result<Option<String>, kube::Error> {
    let (namespace, name) = (key.id.namespace(), key.id.name());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(body);
    let applied = async {
        let metadata = match key.kind {
            Kind::Provider => {
                let api: Api<AIProvider> = Api::namespaced(client.clone(), namespace);
                api.patch_status(name, &params, &patch).await?.metadata
            }
            Kind::Route => {
                let api: Api<AIRoute> = Api::namespaced(client.clone(), namespace);
                api.patch_status(name, &params, &patch).await?.metadata
            }
            Kind::Token => {
                let api: Api<ApiToken> = Api::namespaced(client.clone(), namespace);
                api.patch_status(name, &params, &patch).await?.metadata
            }
            Kind::Namespace | Kind::Unknown(_) => {
                return Err(kube::Error::Service(
                    format!("a {} has no status that the operator writes", key.kind).into(),
                ));
            }
        };
        Ok(metadata.resource_version)
    };
    time::timeout(STATUS_WRITE_TIMEOUT, applied)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service("timed out waiting for the API server".into())))
}
