//! The operator's permissions: exactly those of the chart, verb by verb. Tests can remove some of them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Client,
    api::{Api, Patch, PatchParams, PostParams},
    client::Body,
};
use routeapi_tests::wait;
use serde_json::{Value, json};
use tower_service::Service;

use crate::cluster::{Cluster, LIMIT};

/// The operator's account.
pub const OPERATOR: &str = "operator";

/// (API group, resources, verbs) in the watched namespace, which is the operator's own here and that of providers.
pub const ALL: &[(&str, &[&str], &[&str])] = &[
    ("routeapi.dev", &["aiproviders", "airoutes"], &["list", "watch"]),
    ("routeapi.dev", &["apitokens"], &["get", "list", "watch"]),
    ("routeapi.dev", &["aiproviders/status", "airoutes/status", "apitokens/status"], &["patch"]),
    ("", &["secrets"], &["get", "list", "watch", "create", "patch"]),
    ("", &["configmaps"], &["get", "list", "watch", "create", "patch"]),
    ("events.k8s.io", &["events"], &["create", "patch"]),
    ("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
];

/// The same in another namespace that is watched (`watchNamespaces` in the chart).
const WATCHED: &[(&str, &[&str], &[&str])] = &[
    ("routeapi.dev", &["aiproviders", "airoutes"], &["list", "watch"]),
    ("routeapi.dev", &["apitokens"], &["get", "list", "watch"]),
    ("routeapi.dev", &["aiproviders/status", "airoutes/status", "apitokens/status"], &["patch"]),
    ("", &["secrets"], &["get", "create", "patch"]),
    ("events.k8s.io", &["events"], &["create", "patch"]),
];

/// (API group, resource, verbs) in the whole cluster.
const CLUSTER_WIDE: &[(&str, &str, &[&str])] =
    &[("", "namespaces", &["list", "watch"]), ("authentication.k8s.io", "tokenreviews", &["create"])];

/// Calls that the API server forbade to one operator.
#[derive(Clone, Debug, Default)]
pub struct Forbidden(Arc<Mutex<Vec<String>>>);

/// A client that takes down what is forbidden.
struct Noting {
    client: Client,
    forbidden: Forbidden,
}

impl Forbidden {
    /// The same client, watched.
    pub fn note(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Noting { client, forbidden: self.clone() }, namespace)
    }

    /// Method and path of each call.
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Service<Request<Body>> for Noting {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // `send` waits itself
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let what = format!("{} {}", request.method(), request.uri().path());
        let (client, forbidden) = (self.client.clone(), self.forbidden.clone());
        Box::pin(async move {
            let answer = client.send(request).await?;
            if answer.status() == StatusCode::FORBIDDEN {
                forbidden.0.lock().unwrap().push(what);
            }
            Ok(answer)
        })
    }
}

/// All but one verb on Secrets.
pub fn without_secret_verb(verb: &str) -> Vec<(&'static str, &'static [&'static str], Vec<&'static str>)> {
    let keep = |resources: &[&str], it: &str| resources != ["secrets"] || it != verb;
    let rule = |(group, resources, verbs): &(&'static str, &'static [&'static str], &'static [&'static str])| {
        (*group, *resources, verbs.iter().copied().filter(|verb| keep(resources, verb)).collect())
    };
    ALL.iter().map(rule).collect()
}

/// Gives the operator's account these rights, and no others from before.
pub async fn grant<V: AsRef<[&'static str]>>(cluster: &Cluster, rules: &[(&str, &[&str], V)]) {
    let namespace = &cluster.namespace;
    cluster.server.ensure_service_account(namespace, OPERATOR).await.unwrap();
    let granted = |group: &str, resource: &str, verb: &str| {
        rules.iter().any(|(of, resources, verbs)| {
            *of == group && resources.contains(&resource) && verbs.as_ref().contains(&verb)
        })
    };
    let subject = json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}]);
    let cluster_rules = CLUSTER_WIDE
        .iter()
        .map(|(group, resource, verbs)| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs}));
    let cluster_rules = Value::Array(cluster_rules.collect());
    let bound = format!("operator-{namespace}");
    bind(cluster, namespace, rules).await;
    let role = json!({"kind": "ClusterRole", "metadata": {"name": bound}, "rules": cluster_rules});
    apply(cluster, "clusterroles", None, role).await;
    let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": bound}, "subjects": subject,
        "roleRef": reference("ClusterRole", &bound)});
    apply(cluster, "clusterrolebindings", None, binding).await;
    in_force(cluster, granted).await;
}

/// Gives the operator's account the rights of a further namespace that it watches.
pub async fn watched(cluster: &Cluster, namespace: &str) {
    bind(cluster, namespace, WATCHED).await;
    for (group, resources, verbs) in WATCHED {
        for (resource, verb) in resources.iter().flat_map(|resource| verbs.iter().map(move |verb| (*resource, *verb))) {
            may(cluster, Some(namespace), (group, resource, verb), true).await;
        }
    }
}

async fn bind<V: AsRef<[&'static str]>>(cluster: &Cluster, namespace: &str, rules: &[(&str, &[&str], V)]) {
    let rules: Vec<_> = rules
        .iter()
        .map(|(group, resources, verbs)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs.as_ref()}))
        .collect();
    let role = json!({"kind": "Role", "metadata": {"name": OPERATOR}, "rules": rules});
    apply(cluster, "roles", Some(namespace), role).await;
    let subject = json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": cluster.namespace}]);
    let binding = json!({"kind": "RoleBinding", "metadata": {"name": OPERATOR}, "subjects": subject,
        "roleRef": reference("Role", OPERATOR)});
    apply(cluster, "rolebindings", Some(namespace), binding).await;
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

/// Waits until the API server, which learns of roles by watching, goes by these.
async fn in_force(cluster: &Cluster, granted: impl Fn(&str, &str, &str) -> bool) {
    for (group, resources, verbs) in ALL {
        for (resource, verb) in resources.iter().flat_map(|resource| verbs.iter().map(move |verb| (*resource, *verb))) {
            may(cluster, Some(&cluster.namespace), (group, resource, verb), granted(group, resource, verb)).await;
        }
    }
    for (group, resource, verbs) in CLUSTER_WIDE {
        for verb in *verbs {
            may(cluster, None, (group, resource, verb), true).await;
        }
    }
}

async fn may(cluster: &Cluster, namespace: Option<&str>, (group, resource, verb): (&str, &str, &str), wanted: bool) {
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(it, sub)| (it, Some(sub)));
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        namespace: namespace.map(str::to_owned),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let user = format!("system:serviceaccount:{}:{OPERATOR}", cluster.namespace);
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(user),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let look = || async {
        let answer = api.create(&PostParams::default(), &review).await.unwrap();
        (answer.status.is_some_and(|status| status.allowed) == wanted).then_some(())
    };
    wait::until(&format!("{verb} {resource} to be granted: {wanted}"), LIMIT, look).await;
}

async fn apply(cluster: &Cluster, plural: &str, namespace: Option<&str>, mut object: Value) {
    use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", object["kind"].as_str().unwrap());
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(object)).await.unwrap();
}
