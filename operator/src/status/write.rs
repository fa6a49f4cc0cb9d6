//! One status as it goes to the API server.

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

use super::{decide::Wanted, numbers::Pods};
use crate::writer::FIELD_MANAGER;

/// Of all kinds.
pub const API_VERSION: &str = "routeapi.dev/v1alpha1";

/// How long the API server may take.
const CALL: Duration = Duration::from_secs(15);

const OURS: [ConditionType; 6] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::SecretReady,
    ConditionType::CredentialsAccepted,
    ConditionType::Programmed,
    ConditionType::Ready,
];

/// What a status shows beside conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// An AIProvider's attached routes.
    Provider(Option<i32>),
    /// An AIRoute's upstreams, and how many pods have it.
    Route(Vec<UpstreamStatus>, Option<Pods>),
    /// Nothing else of ours.
    Token,
    /// It cannot be read.
    Nothing,
}

/// What was written last about an object.
#[derive(Clone, Debug)]
pub struct Written {
    uid: Option<String>,
    version: Option<u64>,
    wanted: Wanted,
}

// === impl Shown ===

impl Shown {
    /// Whether it should show something else. Numbers of pods have a rule of their own.
    pub fn differs(&self, detail: &Detail) -> bool {
        match (self, detail) {
            (Self::Provider(held), Detail::Provider { attached_routes }) => *held != Some(*attached_routes),
            (Self::Route(held, _), Detail::Route { upstreams }) => held != upstreams,
            _ => false,
        }
    }

    /// How many connected pods it speaks of.
    pub fn connected(&self) -> Option<usize> {
        let Self::Route(_, Some(shown)) = self else { return None };
        shown.connected()
    }

    /// The numbers of pods that it should show and does show, where it shows any.
    pub fn pods(&self, wanted: &Wanted) -> Option<(Pods, Pods)> {
        let Self::Route(_, Some(shown)) = self else { return None };
        Some((wanted.progress.as_ref()?.into(), *shown))
    }
}

// === impl Written ===

impl Written {
    /// Notes what was written, and the resourceVersion that this gave.
    pub fn new(about: &ObjectMeta, version: Option<String>, wanted: Wanted) -> Self {
        Self { uid: about.uid.clone(), version: version.and_then(|it| it.parse().ok()), wanted }
    }

    /// Whether the index still has an older version of this object.
    pub fn is_newer_than(&self, held: &ObjectMeta) -> bool {
        let version = held.resource_version.as_ref().and_then(|it| it.parse::<u64>().ok());
        self.uid == held.uid && version.zip(self.version).is_some_and(|(held, written)| held < written)
    }

    /// Whether the same was said of this object.
    pub fn says(&self, wanted: &Wanted, about: &ObjectMeta) -> bool {
        self.uid == about.uid && self.wanted == *wanted
    }
}

/// The kind's name.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Provider => "AIProvider",
        Kind::Route => "AIRoute",
        Kind::Token => "ApiToken",
        Kind::Namespace => "Namespace",
        Kind::Unknown(_) => "object of an unknown kind",
    }
}

/// An apply patch: all conditions of ours, and the fields of the kind.
pub fn body(key: &Key, about: &ObjectMeta, wanted: &Wanted, conditions: &[Condition]) -> Value {
    let is_ours = |it: &&Condition| OURS.iter().any(|ours| ours.to_string() == it.type_);
    let ours: Vec<_> = conditions.iter().filter(is_ours).collect();
    let mut status = json!({"observedGeneration": wanted.generation, "conditions": ours});
    if let Some(fields) = status.as_object_mut() {
        match &wanted.detail {
            Detail::Provider { attached_routes } => {
                fields.insert("attachedRoutes".to_owned(), json!(attached_routes));
            }
            Detail::Route { upstreams } => {
                fields.insert("upstreams".to_owned(), json!(upstreams));
                let pods = wanted.progress.as_ref().map(|it| DataPlaneStatus::from(Pods::from(it)));
                fields.insert("dataPlane".to_owned(), json!(pods));
            }
            Detail::Token { .. } => {}
        }
        fields.retain(|_, value| !value.is_null());
    }
    json!({
        "apiVersion": API_VERSION, "kind": kind(key.kind),
        "metadata": {"name": key.id.name(), "uid": about.uid},
        "status": status,
    })
}

/// Applies it; the resourceVersion that results.
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
                return Err(kube::Error::Service(format!("a {} has no status of ours", key.kind).into()));
            }
        };
        Ok(metadata.resource_version)
    };
    time::timeout(CALL, applied)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service("the API server does not answer".into())))
}
