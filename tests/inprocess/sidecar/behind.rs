//! The real gateway behind the sidecar: every dialect, refusals as the gateway words them, and a gateway that is replaced
//! under load.

use std::{net::SocketAddr, path::Path};

use futures_util::future::join_all;
use rcgen::generate_simple_self_signed;
use routeapi_channel::{Catalog, frame::FromOperator};
use routeapi_compile::{Manifests, Options, compile};
use routeapi_crds::yaml;
use routeapi_dataplane::{
    app::{App, Running, Source},
    config::subscribe::{Settings, connect},
    server::tls::TlsFiles,
    sidecar::GatewayCa,
    upstream::AddressPolicy,
};
use routeapi_tests::{
    bytes::eventually,
    fake_operator::{FakeOperator, Stream},
    files::write,
    gateway::{self, Lines},
    token_issuer::TokenIssuer,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::pod::Pod;
use crate::request::{Answer, Ask, chat, dialects};

/// A model at Echo, and an ApiToken of the ServiceAccount `checkout` without a key.
const MANIFESTS: &str = "\
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {name: up}
spec: {type: Echo}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {name: route}
spec: {model: m, upstreams: [{name: up, providerRef: {name: up}}]}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {name: app}
spec: {models: ['*'], secretKeys: None, subjects: [{serviceAccountName: checkout}]}
";

/// A gateway as in a cluster, and who tells it what to do.
struct Cluster {
    operator: FakeOperator,
    issuer: TokenIssuer,
    ca: String,
    files: TempDir,
    records: Lines,
    stream: Option<Stream>,
}

impl Cluster {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("state")).unwrap();
        let pair = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        write(&files.path().join("tls.crt"), &pair.cert.pem());
        write(&files.path().join("tls.key"), &pair.signing_key.serialize_pem());
        let (operator, issuer, records) = (FakeOperator::start(), TokenIssuer::new(), Lines::default());
        Self { operator, issuer, ca: pair.cert.pem(), files, records, stream: None }
    }

    /// A gateway pod that is told everything.
    fn gateway(&mut self) -> Running {
        let app = self.start(([127, 0, 0, 1], 0).into(), &self.files.path().join("state")).unwrap();
        let (stream, _) = self.operator.accept();
        stream.say(FromOperator::ServiceAccountIssuer(self.issuer.told()));
        stream.tell(None, &catalog(), 1);
        eventually("the gateway is configured", || app.store.is_configured());
        self.stream = Some(stream);
        app
    }

    fn start(&self, tls: SocketAddr, state: &Path) -> Option<Running> {
        let source = Source::Operator(Settings {
            operator: connect::Operator {
                url: format!("https://{}", self.operator.address).parse().unwrap(),
                ca: self.operator.ca.clone(),
                token: self.operator.token.clone(),
            },
            pod: "gateway-1".to_owned(),
            instance: "boot-1".to_owned(),
            state: Some(state.to_owned()),
            addresses: AddressPolicy::Cluster.into(),
        });
        let mut settings = gateway::settings(source);
        let file = |name| self.files.path().join(name);
        settings.listen_tls = Some((tls, TlsFiles { certificate: file("tls.crt"), key: file("tls.key") }));
        settings.access_log = Some(Box::new(self.records.clone()));
        App::start(settings).ok()
    }

    fn pod(&self, gateway: &Running, token: &str) -> Pod {
        let url = format!("https://{}", gateway.gateway_tls.unwrap());
        Pod::start(&url, GatewayCa::from_pem(&self.ca).unwrap(), token, |_| {})
    }
}

fn catalog() -> Catalog {
    let mut objects = Manifests::default();
    for document in yaml::read(MANIFESTS).unwrap() {
        objects.add(&document.value).unwrap();
    }
    Catalog::of(&compile(&objects.finish(), &Options::default()).snapshot).unwrap()
}

/// As an SDK asks, with a key that means nothing.
async fn ask(pod: &Pod, path: &str, body: String) -> Answer {
    let asking = Ask::post(path, body).bearer("in-pod-identity").header("content-type", "application/json");
    asking.open_at(pod.address).await.read().await
}

fn every_call() -> Vec<(String, String)> {
    let responses = |stream| format!(r#"{{"model":"m","stream":{stream},"input":"tell me something"}}"#);
    let mut calls: Vec<_> = [false, true].into_iter().flat_map(|stream| dialects("m", stream)).collect();
    calls.extend([false, true].map(|stream| ("/v1/responses".to_owned(), responses(stream))));
    calls
}

#[test]
fn app_without_a_key_calls_in_every_dialect_as_its_service_account() {
    let (mut cluster, runtime) = (Cluster::new(), Runtime::new().unwrap());
    let app = cluster.gateway();
    let pod = cluster.pod(&app, &cluster.issuer.token("default", "checkout"));
    pod.is_ready("200");
    let calls = every_call();
    runtime.block_on(async {
        for (path, body) in &calls {
            let answer = ask(&pod, path, body.clone()).await;
            assert_eq!((answer.status, answer.broken), (200, false), "{path}: {}", answer.text());
            assert!(answer.body.len() > 50, "{path}: {}", answer.text());
        }
    });
    eventually("every call is recorded", || cluster.records.records().len() == calls.len());
    let of_gateway = cluster.records.records();
    for record in &of_gateway {
        assert_eq!((&record["token"], &record["k8s_pod_name"]), (&"default/app".into(), &"checkout-0".into()));
        assert_eq!(record["outcome"], "completed", "{record}");
    }
    let ids = |records: &[Value]| records.iter().map(|record| record["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&pod.records(calls.len())), ids(&of_gateway), "both logs know a request by one id");
    drop((app, pod));
}

#[test]
fn models_are_listed_in_the_shape_of_the_vendor_that_asks() {
    let (mut cluster, runtime) = (Cluster::new(), Runtime::new().unwrap());
    let app = cluster.gateway();
    let pod = cluster.pod(&app, &cluster.issuer.token("default", "checkout"));
    runtime.block_on(async {
        for (path, header, member) in [
            ("/v1/models", "authorization", "/data/0/object"),
            ("/v1/models", "x-api-key", "/data/0/display_name"),
            ("/v1/models", "x-goog-api-key", "/models/0/name"),
            ("/v1beta/models?key=dummy", "x-other", "/models/0/name"),
        ] {
            let answer = Ask::get(path).anonymous().header(header, "dummy").open_at(pod.address).await.read().await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.json().pointer(member).is_some(), "{header}: {}", answer.text());
        }
    });
}

#[test]
fn refusals_of_the_gateway_pass_unchanged() {
    let (mut cluster, runtime) = (Cluster::new(), Runtime::new().unwrap());
    let app = cluster.gateway();
    let mut claims = TokenIssuer::claims("default", "checkout");
    claims["exp"] = 1.into();
    for (token, status, words) in [
        (cluster.issuer.token("default", "mail"), 403, "lists ServiceAccount default/mail"),
        (cluster.issuer.sign(&claims), 401, "expired at 1970-01-01T00:00:01Z"),
        ("not-a-token".to_owned(), 401, ""),
    ] {
        let pod = cluster.pod(&app, &token);
        for (path, body) in dialects("m", false) {
            let answer = runtime.block_on(ask(&pod, &path, body));
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(answer.text().contains(words) && !answer.text().contains("eyJ"), "{}", answer.text());
        }
        let records = pod.records(3);
        assert!(records.iter().all(|record| record["outcome"] == "completed" && record["status"] == status));
    }
}

#[test]
fn gateway_is_replaced_under_load_and_no_request_fails() {
    let (mut cluster, runtime) = (Cluster::new(), Runtime::new().unwrap());
    let mut app = cluster.gateway();
    let pod = cluster.pod(&app, &cluster.issuer.token("default", "checkout"));
    let state = cluster.files.path().join("state");
    let key = cluster.issuer.told().keys[0].x.clone().unwrap();
    eventually("the issuer is on disk", || {
        std::fs::read_to_string(state.join("last-good.json")).is_ok_and(|text| text.contains(&key))
    });
    let (stop, address) = (tokio_util::sync::CancellationToken::new(), app.gateway_tls.unwrap());
    let load = runtime.spawn({
        let (stop, sidecar) = (stop.clone(), pod.address);
        async move {
            let clients = (0..16).map(|_| async {
                let mut statuses = Vec::new();
                while !stop.is_cancelled() {
                    let asking = Ask::post("/v1/chat/completions", chat("m", statuses.len() % 2 == 1));
                    let answer = asking.open_at(sidecar).await.read().await;
                    statuses.push(if answer.broken { 0 } else { answer.status });
                }
                statuses
            });
            join_all(clients).await.concat()
        }
    });
    for _ in 0..3 {
        let before = cluster.records.records().len();
        eventually("requests pass", || cluster.records.records().len() > before + 50);
        // As a rollout of one pod: GOAWAY, answers finish, and a moment later there is another at the same address.
        app.shutdown();
        app.join();
        let mut next = None;
        eventually("the address is free", || {
            next = cluster.start(address, &state);
            next.is_some()
        });
        app = next.unwrap();
    }
    let before = cluster.records.records().len();
    eventually("requests pass", || cluster.records.records().len() > before + 50);
    stop.cancel();
    let statuses = runtime.block_on(load).unwrap();
    let failed = statuses.iter().filter(|status| **status != 200).count();
    println!("{} requests while the gateway was replaced three times: {failed} failed", statuses.len());
    assert!(statuses.len() > 200 && failed == 0, "{failed} of {} failed", statuses.len());
    drop((app, pod));
}
