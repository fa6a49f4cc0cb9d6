//! Pods get sidecars from the operator's webhook and from the policy, of a real API server, and both make the same of them. It
//! is an API server of the test's own, with the feature gate that policies need before Kubernetes 1.36.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, PostParams};
use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::operator::{self, Operator, Release};
use routeapi_tests::{helm, wait};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const GATE: [&str; 2] =
    ["--feature-gates=MutatingAdmissionPolicy=true", "--runtime-config=admissionregistration.k8s.io/v1beta1=true"];

/// The API server gets as long to learn of a new CA as a busy machine may need.
const VALUES: &str = "sidecar.enabled=true,operator.extraArgs={--ca-propagation=4s}";

/// One release on an API server.
struct Cluster {
    api: &'static ApiServer,
    release: Release,
    /// With the label on the namespace.
    labelled: String,
    plain: String,
}

/// Pods that can have a sidecar, by name. They mount no other token, whose volume would have a random name.
fn pods() -> BTreeMap<&'static str, Value> {
    let app = json!({"name": "app", "image": "app"});
    let own = json!([{"name": "A", "value": "1"}, {"name": "OPENAI_BASE_URL", "value": "http://elsewhere"},
        {"name": "GEMINI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "google", "key": "key"}}}]);
    let all_set: Vec<Value> =
        routeapi_injection::sidecar::VARIABLES.iter().map(|(name, _)| json!({"name": name, "value": "own"})).collect();
    BTreeMap::from([
        ("least", json!({"containers": [app]})),
        ("variables", json!({"containers": [{"name": "own", "image": "app", "env": own}, app]})),
        ("set", json!({"containers": [{"name": "app", "image": "app", "env": all_set}]})),
        (
            "init",
            json!({"containers": [app], "restartPolicy": "Never", "initContainers": [
                {"name": "first", "image": "first", "ports": [{"containerPort": 4000, "protocol": "UDP"}]},
                {"name": "proxy", "image": "proxy", "restartPolicy": "Always", "env": own},
            ], "volumes": [{"name": "data", "emptyDir": {}}]}),
        ),
    ])
}

/// Pods that cannot, and how the reason starts.
fn impossible() -> Vec<(Value, &'static str)> {
    let app = json!({"name": "app", "image": "app"});
    vec![
        (json!({"hostNetwork": true, "containers": [app]}), "spec.hostNetwork: "),
        (json!({"os": {"name": "windows"}, "containers": [app]}), "spec.os.name: "),
        (json!({"containers": [{"name": "routeapi", "image": "app"}]}), "spec.containers: a container that is not"),
        (
            json!({"containers": [app], "initContainers": [{"name": "routeapi", "image": "app"}]}),
            "spec.initContainers: a container that is not",
        ),
        (
            json!({"containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 4090}]}]}),
            "spec.containers: ",
        ),
        (
            json!({"containers": [app], "volumes": [{"name": "routeapi-token", "emptyDir": {}}]}),
            "spec.volumes: a volume that is not",
        ),
    ]
}

impl Cluster {
    async fn new() -> Self {
        let api: &'static ApiServer = Box::leak(Box::new(ApiServer::start_with(&GATE).await.unwrap()));
        let release = Release::install(api, &["--set", VALUES]).await.unwrap();
        api.namespace_named("shop", &[("routeapi.dev/inject", "true")]).await.unwrap();
        api.ensure_service_account("kube-system", "default").await.unwrap();
        let plain = api.namespace("plain").await.unwrap();
        Self { api, release, labelled: "shop".to_owned(), plain }
    }

    /// Creates a pod, or only asks what would become of it.
    async fn create(&self, namespace: &str, label: Option<&str>, spec: &Value, dry_run: bool) -> Result<Value, String> {
        let api: Api<Pod> = Api::namespaced(self.api.client().await.unwrap(), namespace);
        let labels = label.map(|value| json!({"routeapi.dev/inject": value}));
        let mut spec = spec.clone();
        spec["automountServiceAccountToken"] = json!(false);
        let object = json!({"metadata": {"generateName": "pod-", "labels": labels}, "spec": spec});
        let params = PostParams { dry_run, ..PostParams::default() };
        let created = api.create(&params, &serde_json::from_value(object).unwrap()).await;
        created.map(|pod| serde_json::to_value(pod.spec).unwrap()).map_err(|error| error.to_string())
    }

    async fn ask(&self, namespace: &str, label: Option<&str>) -> Result<Value, String> {
        self.create(namespace, label, &pods()["least"], true).await
    }

    /// Waits until pods get the sidecar or are refused, by the label of the namespace and by their own. The API server learns
    /// of each of these separately: a policy and the one that refuses, and their bindings, can be seconds apart.
    async fn in_force(&self, what: &str) {
        let (cannot, _) = &impossible()[0];
        let look = || async {
            for (namespace, label) in [(&self.labelled, None), (&self.plain, Some("true"))] {
                self.ask(namespace, label).await.ok().filter(has_sidecar)?;
                self.create(namespace, label, cannot, true).await.err()?;
            }
            Some(())
        };
        wait::until(what, LIMIT, look).await;
    }

    fn configuration(&self) -> String {
        format!("{}.routeapi-sidecar", self.release.namespace)
    }

    async fn patch_webhooks(&self, field: &str, value: &Value) {
        let operation = |at: usize| json!({"op": "replace", "path": format!("/webhooks/{at}/{field}"), "value": value});
        let patch = json!([operation(0), operation(1)]).to_string();
        let name = self.configuration();
        let args = ["patch", "mutatingwebhookconfiguration", &name, "--type=json", "-p", &patch];
        self.api.kubectl(&args).await.unwrap();
    }

    /// Sends the API server to an operator, in place of the Service, which has no addresses here.
    async fn point_at(&self, operator: &Operator) {
        let url = format!("https://localhost:{}/inject", operator.injection.unwrap().port());
        self.patch_webhooks("clientConfig", &json!({"url": url})).await;
    }

    async fn secret(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let api: Api<Secret> = Api::namespaced(self.api.client().await.unwrap(), &self.release.namespace);
        let data = api.get_opt(name).await.unwrap()?.data?;
        Some(data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect())
    }

    async fn ca(&self) -> String {
        let args = [
            "-n",
            &self.release.namespace,
            "get",
            "configmap",
            "routeapi-config-ca",
            "-o",
            "jsonpath={.data.ca\\.crt}",
        ];
        self.api.kubectl(&args).await.unwrap()
    }

    /// Every pod as it is stored, and every refusal, in the labelled namespace.
    async fn outcomes(&self) -> (BTreeMap<&'static str, Value>, Vec<String>) {
        let mut injected = BTreeMap::new();
        for (name, spec) in pods() {
            injected.insert(name, self.create(&self.labelled, None, &spec, false).await.unwrap());
        }
        let mut refusals = Vec::new();
        for (spec, reason) in impossible() {
            let refused = self.create(&self.labelled, None, &spec, true).await.expect_err(reason);
            assert!(refused.contains(reason) && refused.contains("routeapi.dev/inject: \"false\""), "{refused}");
            let declines = self.create(&self.labelled, Some("false"), &spec, true).await.unwrap();
            assert!(!has_sidecar(&declines), "{declines}");
            refusals.push(reason.to_owned());
        }
        (injected, refusals)
    }

    /// What labels mean.
    async fn labels_decide(&self) {
        assert!(!has_token(&self.ask(&self.plain, None).await.unwrap()), "nobody asked");
        assert!(has_sidecar(&self.ask(&self.plain, Some("true")).await.unwrap()), "the pod asks");
        assert!(!has_token(&self.ask(&self.labelled, Some("false")).await.unwrap()), "the pod declines");
        let own = &self.release.namespace;
        assert!(!has_token(&self.ask(own, Some("true")).await.unwrap()), "the release's own namespace is left out");
        assert!(!has_token(&self.ask("kube-system", Some("true")).await.unwrap()), "the system's is");
    }

    /// Others are untouched while nobody can add sidecars.
    async fn down(&self, says: &str) {
        let look =
            || async { self.ask(&self.labelled, None).await.err().filter(|error| error.contains(says)).map(drop) };
        wait::until("labelled pods are refused", LIMIT, look).await;
        assert!(self.ask(&self.plain, Some("true")).await.is_err());
        for (namespace, label) in [(&self.plain, None), (&self.plain, Some("false")), (&self.labelled, Some("false"))] {
            assert!(!has_token(&self.ask(namespace, label).await.unwrap()));
        }
    }
}

fn has_sidecar(spec: &Value) -> bool {
    let container = &spec["initContainers"][0];
    container["name"] == "routeapi" && container["restartPolicy"] == "Always" && has_token(spec)
}

fn has_token(spec: &Value) -> bool {
    spec["volumes"].as_array().into_iter().flatten().any(|volume| volume["name"] == "routeapi-token")
}

/// Whether the gateway's certificate is what a sidecar with this CA accepts.
fn verifies(secret: &BTreeMap<String, String>, ca: &str, host: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificate = CertificateDer::from_pem_slice(secret["tls.crt"].as_bytes()).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).is_ok()
}

/// The certificate that signs is replaced while pods are created.
async fn rotates_live(cluster: &Cluster) {
    let (before, ca) = (cluster.secret("routeapi-config-tls").await.unwrap(), cluster.ca().await);
    let gateway = cluster.secret("routeapi-gateway-tls").await.unwrap();
    let annotate = ["annotate", "secret", "routeapi-config-tls", "routeapi.dev/rotate-ca=now"];
    cluster.api.kubectl(&[&["-n", &cluster.release.namespace], &annotate[..]].concat()).await.unwrap();
    let mut created = 0;
    loop {
        assert!(has_sidecar(&cluster.ask(&cluster.labelled, None).await.unwrap()));
        created += 1;
        let now = cluster.secret("routeapi-config-tls").await.unwrap();
        if now["tls.crt"] != before["tls.crt"] && cluster.ca().await.matches("BEGIN").count() == 1 {
            break;
        }
    }
    let after = cluster.ca().await;
    assert_ne!(ca, after);
    let renewed = || async {
        let now = cluster.secret("routeapi-gateway-tls").await?;
        (now["tls.crt"] != gateway["tls.crt"]).then_some(now)
    };
    let (renewed, _) = wait::until("the gateway's certificate follows the CA", LIMIT, renewed).await;
    assert!(verifies(&renewed, &after, &format!("routeapi.{}.svc", cluster.release.namespace)));
    let newest = || async {
        let spec = cluster.ask(&cluster.labelled, None).await.unwrap();
        (spec["initContainers"][0]["env"][0]["value"] == after.as_str()).then_some(())
    };
    wait::until("pods get the new CA", LIMIT, newest).await;
    println!("figure: CA of the webhook replaced: {created} pods created meanwhile, refused = 0");
}

/// What helm says.
fn upgrade(cluster: &Cluster, values: &str) -> String {
    let (chart, values) = (helm::chart().display().to_string(), format!("{VALUES},{values}"));
    let namespace = &cluster.release.namespace;
    let args = ["upgrade", "routeapi", &chart, "--namespace", namespace, "--set", &values];
    helm::helm(args, Some(&cluster.api.kubeconfig())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_get_the_same_sidecar_from_the_webhook_and_from_the_policy() {
    let cluster = Cluster::new().await;
    let operator = cluster.release.operator(None).await.unwrap();
    let (issued, _) =
        wait::until("the gateway gets a certificate", LIMIT, || cluster.secret("routeapi-gateway-tls")).await;
    let host = format!("routeapi.{}.svc", cluster.release.namespace);
    assert!(
        verifies(&issued, &cluster.ca().await, &host)
            && verifies(&issued, &cluster.ca().await, &format!("{host}.cluster.local"))
    );
    assert!(!verifies(&issued, &cluster.ca().await, "routeapi-operator"), "it is the gateway's alone");

    cluster.point_at(&operator).await;
    cluster.in_force("the webhook is in force").await;
    cluster.labels_decide().await;
    rotates_live(&cluster).await;
    let by_webhook = cluster.outcomes().await;
    assert_eq!(operator::forbidden(), Vec::<String>::new(), "the chart's roles lack something");

    operator.kill();
    cluster.down("failed calling webhook").await;
    cluster.patch_webhooks("failurePolicy", &json!("Ignore")).await;
    let ignored =
        || async { cluster.ask(&cluster.labelled, None).await.ok().filter(|spec| !has_token(spec)).map(drop) };
    wait::until("labelled pods are created without", LIMIT, ignored).await;

    // The policy needs no operator, only the CA that it has published.
    let notes = upgrade(&cluster, "sidecar.injection.mode=Policy");
    assert!(
        notes.contains("MutatingAdmissionPolicy of the API server (sidecar.injection.mode: Policy, beta"),
        "{notes}"
    );
    cluster.in_force("the policy is in force").await;
    cluster.labels_decide().await;
    let by_policy = cluster.outcomes().await;
    for (name, spec) in &by_webhook.0 {
        assert_eq!(spec, &by_policy.0[name], "{name}: the webhook's pod, the policy's pod");
    }
    assert_eq!(by_webhook.1, by_policy.1);
    let delete = ["-n", &cluster.release.namespace, "delete", "configmap", "routeapi-config-ca"];
    cluster.api.kubectl(&delete).await.unwrap();
    cluster.down("no params found").await;
}
