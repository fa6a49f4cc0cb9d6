//! Two teams with credentials of their own, beside a platform team that runs the gateway for both.
//!
//! `team-a-N` and `team-b-N` are namespaces, each with two people whom the API server knows by client certificates: an
//! editor (the aggregated ClusterRole `edit`, which holds what the chart adds to it) and a viewer (`view`), bound in
//! their own namespace only. The platform's namespace holds the operator, a provider `shared` (Echo, open to routes of all
//! namespaces), its route `assistant` (open to tokens of all) and whatever a test adds as admin. Each team has an ApiToken
//! `app`; team-b also has a route `own`, so that there is something to harm.
//!
//! To add a case, write a test in `isolation.rs` or in a file of your own:
//!
//! ```ignore
//! let tenants = Tenants::new("steal").await;
//! let before = tenants.standing(&tenants.b).await;            // team-b's conditions, and its part of the data planes' configuration
//! tenants.a.create(tenants.a.route("mine", "assistant")).await.unwrap(); // Err(403) if the API server forbids it
//! tenants.settled().await;                                    // every object has conditions of the operator
//! assert_eq!(tenants.standing(&tenants.b).await, before);
//! ```
//!
//! `tenants.cluster` is the platform's namespace with the admin's client and all helpers of `cluster.rs`;
//! `tenants.gateway.now()` is the configuration that a data plane received.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use routeapi_channel::Kind;
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};
use routeapi_tests::{helm, wait};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    cluster::{Cluster, LIMIT, Running},
    dataplane::{DataPlane, Manner},
    rights,
};

/// The HTTP status of a refusal.
pub type Refused = u16;

/// A platform and its two tenants.
pub struct Tenants {
    /// The platform's namespace, as admin.
    pub cluster: Cluster,
    pub a: Tenant,
    pub b: Tenant,
    pub gateway: DataPlane,
    pub operator: Running,
}

/// One team.
pub struct Tenant {
    pub namespace: String,
    /// Its editor.
    pub editor: Client,
    /// Its viewer.
    pub viewer: Client,
    platform: String,
}

/// What somebody has: the conditions of each object without their times, and what data planes hold of it.
pub type Standing = BTreeMap<String, Vec<String>>;

impl Tenants {
    /// With an operator that watches the three namespaces, and everything in them in force.
    pub async fn new(prefix: &str) -> Self {
        Self::with(prefix, &[]).await
    }

    /// With further flags of the operator.
    pub async fn with(prefix: &str, flags: &[&str]) -> Self {
        let cluster = Cluster::new(prefix).await;
        user_roles(&cluster).await;
        let platform = cluster.namespace.clone();
        let (a, b) = (Tenant::new(&cluster, "team-a").await, Tenant::new(&cluster, "team-b").await);
        let watch = format!("--watch-namespaces={},{}", a.namespace, b.namespace);
        let flags: Vec<&str> = [watch.as_str()].into_iter().chain(flags.iter().copied()).collect();
        let operator = cluster.operator(&flags).await;
        let gateway = cluster.data_plane(&operator, Manner::default()).await;

        let open = json!({"namespaces": {"from": "All"}});
        let spec = json!({"spec": {"type": "Echo", "allowedRoutes": open}});
        cluster.create::<AIProvider>("AIProvider", "shared", spec).await;
        let mut assistant = b.route("assistant", "assistant");
        assistant["metadata"]["namespace"] = json!(platform);
        assistant["spec"]["allowedTokens"] = open;
        create(&cluster.client, &assistant).await.unwrap();
        b.create(b.route("own", "own-model")).await.unwrap();
        for team in [&a, &b] {
            let metadata = json!({"name": "app", "namespace": team.namespace});
            let token = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken", "metadata": metadata,
                "spec": {"models": ["*"]}});
            create(&cluster.client, &token).await.unwrap();
        }
        let tenants = Self { cluster, a, b, gateway, operator };
        tenants.settled().await;
        tenants
    }

    /// Waits until the operator has judged the newest version of every object in the three namespaces and no condition of
    /// theirs is waited for.
    pub async fn settled(&self) {
        let look = || async {
            let namespaces = [&self.cluster.namespace, &self.a.namespace, &self.b.namespace];
            for namespace in namespaces {
                let (client, settled) = (&self.cluster.client, |held: &Held| held.is_settled());
                let all = [
                    held::<AIProvider>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
                    held::<AIRoute>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
                    held::<ApiToken>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
                ];
                if !all.iter().flatten().all(settled) {
                    return None;
                }
            }
            Some(())
        };
        wait::until("conditions of every object", LIMIT, look).await;
    }

    /// What a team has.
    pub async fn standing(&self, team: &Tenant) -> Standing {
        self.standing_in(&team.namespace).await
    }

    /// What the platform has.
    pub async fn platform(&self) -> Standing {
        self.standing_in(&self.cluster.namespace).await
    }

    async fn standing_in(&self, namespace: &str) -> Standing {
        let client = &self.cluster.client;
        let kinds = [
            (
                Kind::Provider,
                held::<AIProvider>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
            ),
            (
                Kind::Route,
                held::<AIRoute>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
            ),
            (
                Kind::Token,
                held::<ApiToken>(client, namespace, |object| object.status.map(|status| status.conditions)).await,
            ),
        ];
        let state = self.gateway.now();
        let mut standing = Standing::new();
        for (kind, objects) in kinds {
            for held in objects {
                let mut lines: Vec<String> = held.conditions.iter().map(said).collect();
                lines.push(format!("data planes hold {:?}", state.body(kind, namespace, &held.name)));
                standing.insert(format!("{kind:?} {}", held.name), lines);
            }
        }
        standing
    }
}

impl Tenant {
    async fn new(cluster: &Cluster, prefix: &str) -> Self {
        let namespace = cluster.server.namespace(prefix).await.unwrap();
        rights::watched(cluster, &namespace).await;
        let editor = person(cluster, &namespace, "edit").await;
        let viewer = person(cluster, &namespace, "view").await;
        Self { namespace, editor, viewer, platform: cluster.namespace.clone() }
    }

    /// A route of this team to the shared provider, not yet created.
    pub fn route(&self, name: &str, model: &str) -> Value {
        let upstreams = json!([{"name": "first", "providerRef": {"name": "shared", "namespace": self.platform}}]);
        json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIRoute",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": model, "upstreams": upstreams}})
    }

    /// Creates an object as the editor.
    pub async fn create(&self, object: Value) -> Result<(), Refused> {
        create(&self.editor, &object).await
    }

    /// Merges a patch into an object as the editor. `at` is apiVersion, kind, namespace and name.
    pub async fn patch(&self, at: (&str, &str, &str, &str), patch: Value) -> Result<(), Refused> {
        self::patch(&self.editor, at, &patch).await
    }

    /// Reads an object as the editor.
    pub async fn read(&self, at: (&str, &str, &str, &str)) -> Result<(), Refused> {
        refusal(dynamic(&self.editor, at).get(at.3).await)
    }

    /// Deletes an object as the editor.
    pub async fn delete(&self, at: (&str, &str, &str, &str)) -> Result<(), Refused> {
        delete(&self.editor, at).await
    }
}

/// Creates an object with a client's rights, in the namespace that it names, or in none.
pub async fn create(client: &Client, object: &Value) -> Result<(), Refused> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let namespace = text(&object["metadata"]["namespace"]);
    let api = dynamic(client, (&api_version, &kind, &namespace, ""));
    refusal(api.create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await)
}

/// Merges a patch into an object with a client's rights. `at` as for [`delete`].
pub async fn patch(client: &Client, at: (&str, &str, &str, &str), patch: &Value) -> Result<(), Refused> {
    refusal(dynamic(client, at).patch(at.3, &PatchParams::default(), &Patch::Merge(patch)).await)
}

/// Deletes an object with a client's rights. `at` is apiVersion, kind, namespace (or none) and name.
pub async fn delete(client: &Client, at: (&str, &str, &str, &str)) -> Result<(), Refused> {
    refusal(dynamic(client, at).delete(at.3, &DeleteParams::default()).await)
}

fn dynamic(client: &Client, (api_version, kind, namespace, _): (&str, &str, &str, &str)) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

fn refusal<T>(done: Result<T, kube::Error>) -> Result<(), Refused> {
    match done {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => panic!("the API server did not answer: {error}"),
    }
}

/// What the chart adds to `edit` and `view`, as the controller manager would put it there.
async fn user_roles(cluster: &Cluster) {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_init(|| async {
        let only = ["--show-only", "templates/access/user-roles.yaml"];
        let roles = helm::template("routeapi", "routeapi-system", &only).unwrap();
        assert_eq!(roles.len(), 2);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": roles}).to_string();
        cluster.server.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list).await.unwrap();
        cluster.server.aggregate_roles().await.unwrap();
    })
    .await;
}

/// Somebody with a ClusterRole in one namespace, once the API server goes by it.
async fn person(cluster: &Cluster, namespace: &str, role: &str) -> Client {
    let name = format!("{namespace}-{role}");
    let client = cluster.server.client_of_user(&name).await.unwrap();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
    create(&cluster.client, &binding).await.unwrap();
    let look = || async {
        let routes: Api<AIRoute> = Api::namespaced(client.clone(), namespace);
        routes.list(&ListParams::default()).await.is_ok().then_some(())
    };
    wait::until(&format!("{name} may list AIRoutes"), LIMIT, look).await;
    client
}

struct Held {
    name: String,
    generation: Option<i64>,
    conditions: Vec<Condition>,
}

impl Held {
    fn is_settled(&self) -> bool {
        let passing = |it: &Condition| it.status == "Unknown" || it.reason == "Minting";
        let judged = |it: &Condition| it.observed_generation == self.generation && !passing(it);
        !self.conditions.is_empty() && self.conditions.iter().all(judged)
    }
}

async fn held<K>(client: &Client, namespace: &str, conditions: fn(K) -> Option<Vec<Condition>>) -> Vec<Held>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let objects = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap();
    let held = |object: K| Held {
        name: object.meta().name.clone().unwrap_or_default(),
        generation: object.meta().generation,
        conditions: conditions(object).unwrap_or_default(),
    };
    objects.items.into_iter().map(held).collect()
}

fn said(condition: &Condition) -> String {
    let Condition { type_, status, reason, message, .. } = condition;
    format!("{type_}={status} {reason}: {message}")
}
