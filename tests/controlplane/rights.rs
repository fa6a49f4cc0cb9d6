//! The operator's rights: exactly those of the chart, verb by verb. Tests that take one away see what then happens.

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// The operator's account.
pub const OPERATOR: &str = "operator";

/// (API group, resources, verbs) in the watched namespace, which is the operator's own here.
pub const ALL: &[(&str, &[&str], &[&str])] = &[
    ("routeapi.dev", &["aiproviders", "airoutes", "apitokens"], &["get", "list", "watch"]),
    ("routeapi.dev", &["aiproviders/status", "airoutes/status", "apitokens/status"], &["patch"]),
    ("", &["secrets"], &["get", "list", "watch", "create", "patch"]),
    ("", &["configmaps"], &["get", "list", "watch", "create", "patch"]),
    ("events.k8s.io", &["events"], &["create", "patch"]),
    ("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
];

/// All but one verb on Secrets.
pub fn without_secret_verb(verb: &str) -> Vec<(&'static str, &'static [&'static str], Vec<&'static str>)> {
    let keep = |resources: &[&str], it: &str| resources != ["secrets"] || it != verb;
    let rule = |(group, resources, verbs): &(&'static str, &'static [&'static str], &'static [&'static str])| {
        (*group, *resources, verbs.iter().copied().filter(|it| keep(resources, it)).collect())
    };
    ALL.iter().map(rule).collect()
}

/// Gives the operator's account these rights, and no others from before.
pub async fn grant<V: AsRef<[&'static str]>>(cluster: &Cluster, rules: &[(&str, &[&str], V)]) {
    let namespace = &cluster.namespace;
    cluster.server.ensure_service_account(namespace, OPERATOR).await.unwrap();
    let rules: Vec<_> = rules
        .iter()
        .map(|(group, resources, verbs)| json!({"apiGroups": [group], "resources": resources, "verbs": verbs.as_ref()}))
        .collect();
    let subject = json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}]);
    let reference =
        |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let cluster_rules = json!([
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    ]);
    let bound = format!("operator-{namespace}");
    apply(cluster, "roles", Some(namespace), json!({"kind": "Role", "metadata": {"name": OPERATOR}, "rules": rules}))
        .await;
    let binding = json!({"kind": "RoleBinding", "metadata": {"name": OPERATOR}, "subjects": subject,
        "roleRef": reference("Role", OPERATOR)});
    apply(cluster, "rolebindings", Some(namespace), binding).await;
    let role = json!({"kind": "ClusterRole", "metadata": {"name": bound}, "rules": cluster_rules});
    apply(cluster, "clusterroles", None, role).await;
    let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": bound}, "subjects": subject,
        "roleRef": reference("ClusterRole", &bound)});
    apply(cluster, "clusterrolebindings", None, binding).await;
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
