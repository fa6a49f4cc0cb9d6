//! The API server, the rights of the operator, and what both have counted.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use routeapi_tests::{apiserver::ApiServer, process::Child, wait};
use serde_json::{Value, json};

use crate::{
    Size,
    processes::{self, GATEWAY, OPERATOR},
};

/// How long anything may take, on the slowest machine.
pub const LIMIT: Duration = Duration::from_secs(3600);

/// The namespace of the operator and of all providers.
pub const HOME: &str = "platform";

/// The ground that a company stands on.
pub struct Ground {
    pub size: Size,
    pub server: ApiServer,
    pub client: Client,
    kubeconfig: PathBuf,
    files: tempfile::TempDir,
}

/// An operator.
pub struct Operator {
    pub process: Child,
    config: u16,
    admin: u16,
}

/// A data plane.
pub struct Gateway {
    pub process: Child,
    pub address: std::net::SocketAddr,
}

impl Ground {
    pub async fn start(size: Size) -> Self {
        let server = ApiServer::start().await.unwrap();
        server.apply_crds().await.unwrap();
        let client = server.client().await.unwrap();
        server.namespace_named(HOME, &[]).await.unwrap();
        server.ensure_service_account(HOME, "operator").await.unwrap();
        let ground =
            Self { size, kubeconfig: server.kubeconfig(), server, client, files: tempfile::tempdir().unwrap() };
        ground.grant().await;
        let token = ground.server.service_account_token(HOME, "operator", None).await.unwrap();
        let kubeconfig = ground.server.kubeconfig_for("operator", &token).unwrap();
        Self { kubeconfig, ..ground }
    }

    /// What the chart grants, in every namespace.
    async fn grant(&self) {
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let role = json!({"kind": "ClusterRole", "metadata": {"name": "operator"}, "rules": [
            rule("routeapi.dev", &["aiproviders", "airoutes", "apitokens"], &["get", "list", "watch"]),
            rule("routeapi.dev", &["aiproviders/status", "airoutes/status", "apitokens/status"], &["patch"]),
            rule("", &["secrets", "configmaps"], &["get", "list", "watch", "create", "patch"]),
            rule("", &["namespaces"], &["list", "watch"]),
            rule("events.k8s.io", &["events"], &["create", "patch"]),
            rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
            rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
            rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"]),
        ]});
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": "operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": HOME}]});
        for (plural, mut object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
            object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", object["kind"].as_str().unwrap());
            let api: Api<DynamicObject> =
                Api::all_with(self.client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural));
            api.patch("operator", &PatchParams::apply("tests").force(), &Patch::Apply(object)).await.unwrap();
        }
    }

    /// Starts an operator, for data planes at this port or at any; it may not be ready yet.
    pub fn operator(&self, identity: &str, config: Option<u16>) -> Operator {
        let (config, admin) = (config.unwrap_or_else(processes::free_port), processes::free_port());
        let program = processes::again(OPERATOR, &self.files.path().join(format!("{identity}.log"))).args([
            format!("--listen=127.0.0.1:{config}"),
            format!("--admin=127.0.0.1:{admin}"),
            format!("--namespace={HOME}"),
            format!("--data-plane-service-account={HOME}/gateway"),
            format!("--operator-service-account={HOME}/operator"),
            format!("--identity={identity}"),
            "--gateway-url=http://gateway.test".to_owned(),
            "--ca-propagation=1s".to_owned(),
        ]);
        let kubeconfig = self.kubeconfig.display().to_string();
        let process = Child::start(&program.env("KUBECONFIG", kubeconfig)).unwrap();
        Operator { process, config, admin }
    }

    /// Starts a data plane in a pod of its own.
    pub async fn gateway(&self, operator: &Operator) -> Gateway {
        let pod = self.server.pod(HOME, "gateway").await.unwrap();
        let directory = self.files.path().join(&pod.name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.crt"), self.ca().await).unwrap();
        let token = pod.token(routeapi_channel::frame::AUDIENCE).await.unwrap();
        std::fs::write(directory.join("token"), token).unwrap();
        let (traffic, admin) = (processes::free_port(), processes::free_port());
        let path = |name: &str| directory.join(name).display().to_string();
        let program = processes::again(GATEWAY, &directory.join("log")).args([
            format!("--operator=https://localhost:{}", operator.config),
            format!("--operator-ca={}", path("ca.crt")),
            format!("--token-file={}", path("token")),
            format!("--state-dir={}", directory.display()),
            format!("--pod-name={}", pod.name),
            format!("--listen=127.0.0.1:{traffic}"),
            format!("--admin=127.0.0.1:{admin}"),
            "--drain-delay=0s".to_owned(),
        ]);
        let process = Child::start(&program).unwrap();
        Gateway { process, address: ([127, 0, 0, 1], traffic).into() }
    }

    /// The operator's CA, once it is published.
    pub async fn ca(&self) -> String {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), HOME);
        let read = || async { maps.get_opt("routeapi-config-ca").await.ok()??.data?.remove("ca.crt") };
        wait::until("the CA is published", LIMIT, read).await.0
    }

    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("routeapi.dev", "v1alpha1", kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Requests that the API server has answered so far, by verb and resource with its subresource.
    pub async fn requests(&self) -> BTreeMap<(String, String), u64> {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.client.request_text(request).await.unwrap();
        let mut requests = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let Some((labels, value)) = line.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let start = labels.find(&format!("{name}=\"")).map(|at| at + name.len() + 2)?;
                labels[start..].split('"').next().map(str::to_owned)
            };
            let (verb, resource) = (label(",verb").unwrap_or_default(), label(",resource").unwrap_or_default());
            let resource = match label("subresource").filter(|subresource| !subresource.is_empty()) {
                Some(subresource) => format!("{resource}/{subresource}"),
                None => resource,
            };
            *requests.entry((verb, resource)).or_default() += value.parse::<f64>().map_or(0, |count| count as u64);
        }
        requests
    }
}

impl Operator {
    /// Waits until it is ready.
    pub async fn ready(&self) -> Duration {
        let look = || async { self.get("/readyz").await?.contains(" 200 ").then_some(()) };
        wait::until("the operator is ready", LIMIT, look).await.1
    }

    /// Where data planes connect.
    pub fn config(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.config).into()
    }

    /// The sum of a metric over all labels that contain this.
    pub async fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.get("/metrics").await.unwrap_or_default();
        let lines =
            text.lines().filter(|line| line.starts_with(&format!("routeapi_operator_{name}")) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    async fn get(&self, path: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.admin)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }
}

/// An object of ours.
pub fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    let value = json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).unwrap()
}
