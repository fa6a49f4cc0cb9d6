//! The webhook over real sockets and TLS, called as an API server calls it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use routeapi_injection::Sidecar;
use routeapi_operator::{
    injection::server::{self, InjectionServer},
    tls::{
        self, Certificates,
        material::{Material, Policy},
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

type Body = BoxBody<Bytes, Infallible>;
type Sender = http1::SendRequest<Body>;

/// A running webhook.
struct Webhook {
    at: SocketAddr,
    certificates: Arc<Certificates>,
    sidecar: watch::Sender<Option<Arc<Sidecar>>>,
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
}

fn material() -> Material {
    let policy = Policy { names: vec!["localhost".to_owned()], propagation: Duration::ZERO };
    Material::new(&policy, Timestamp::now()).unwrap()
}

fn sidecar() -> Sidecar {
    Sidecar {
        image: "routeapi:1".to_owned(),
        pull_policy: "Always".to_owned(),
        gateway: "https://routeapi.ai.svc".to_owned(),
        gateway_ca: None,
        resources: Sidecar::default_resources(),
        user: None,
    }
}

impl Webhook {
    async fn start(material: &Material) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, certificates, shutdown) = (listener.local_addr().unwrap(), Arc::default(), CancellationToken::new());
        let (sidecar, current) = watch::channel(Some(Arc::new(sidecar())));
        let tls = TlsAcceptor::from(tls::server(&certificates, b"http/1.1").unwrap());
        let server = InjectionServer::new(current, shutdown.clone());
        let ended = tokio::spawn(server::serve(server, listener, tls));
        let webhook = Self { at, certificates, sidecar, shutdown, ended };
        webhook.serve(material);
        webhook
    }

    fn serve(&self, material: &Material) {
        self.certificates.set(&material.certificate, material.key.expose(), &material.bundle()).unwrap();
    }

    /// A connection that trusts one CA.
    async fn connect(&self, ca: &Material) -> Result<Sender, std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.bundle().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let stream = TcpStream::connect(self.at).await?;
        let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

#[expect(clippy::disallowed_methods, reason = "the answers are short")]
async fn call(sender: &mut Sender, method: &str, path: &str, body: Body) -> (StatusCode, Bytes) {
    sender.ready().await.unwrap();
    let request = Request::builder().method(method).uri(path).header("host", "localhost").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
}

fn review(padding: usize) -> String {
    let pod = json!({"metadata": {"annotations": {"padding": "x".repeat(padding)}}, "spec": {"containers": [{"name": "app"}]}});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": pod}})
        .to_string()
}

async fn is_patched(sender: &mut Sender, padding: usize) -> bool {
    let (status, body) = call(sender, "POST", "/inject?timeout=5s", whole(review(padding))).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    answer["response"]["allowed"] == true && answer["response"]["patchType"] == "JSONPatch"
}

#[tokio::test]
async fn a_new_certificate_is_served_from_the_next_connection_on() {
    let (old, new) = (material(), material());
    let webhook = Webhook::start(&old).await;
    let mut before = webhook.connect(&old).await.unwrap();
    assert!(is_patched(&mut before, 0).await);
    assert!(webhook.connect(&new).await.is_err(), "not yet");
    webhook.serve(&new);
    assert!(webhook.connect(&old).await.is_err(), "no longer");
    assert!(is_patched(&mut webhook.connect(&new).await.unwrap(), 0).await);
    assert!(is_patched(&mut before, 0).await, "an open connection goes on");
}

#[tokio::test]
async fn failures_are_failures_of_the_webhook_and_say_why() {
    let material = material();
    let webhook = Webhook::start(&material).await;
    let sender = &mut webhook.connect(&material).await.unwrap();
    assert_eq!(call(sender, "GET", "/inject", whole("")).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(call(sender, "POST", "/", whole("")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(sender, "POST", "/inject", whole("{}")).await.0, StatusCode::BAD_REQUEST);
    webhook.sidecar.send_replace(None);
    let (status, said) = call(sender, "POST", "/inject", whole(review(0))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.starts_with(b"the operator does not know yet which CA"), "{said:?}");
    webhook.sidecar.send_replace(Some(Arc::new(sidecar())));
    assert!(is_patched(sender, 1 << 20).await, "a large pod");
    assert_eq!(call(sender, "POST", "/inject", whole(review(2 << 20))).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

/// A body of this size that does not end.
fn endless(bytes: usize) -> Body {
    let first = stream::once(async move { Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; bytes]))) });
    BodyExt::boxed(StreamBody::new(Box::pin(first.chain(stream::pending()))))
}

#[tokio::test]
async fn whoever_sends_large_bodies_slowly_delays_only_large_ones() {
    let material = material();
    let webhook = Webhook::start(&material).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut sender = webhook.connect(&material).await.unwrap();
        let request = Request::post("/inject").header("host", "localhost").body(endless(100 << 10)).unwrap();
        slow.push(tokio::spawn(async move { sender.send_request(request).await.map(|answer| answer.status()) }));
    }
    let mut quick = webhook.connect(&material).await.unwrap();
    for _ in 0..100 {
        assert!(is_patched(&mut quick, 0).await);
    }
    for answer in slow {
        assert!(matches!(answer.await.unwrap(), Ok(StatusCode::REQUEST_TIMEOUT)), "each has its time, and no more");
    }
    assert!(is_patched(&mut quick, 1 << 20).await, "what they held is free again");
}

#[tokio::test]
async fn a_replica_that_stops_answers_until_the_cluster_knows() {
    let material = material();
    let webhook = Webhook::start(&material).await;
    let mut kept = webhook.connect(&material).await.unwrap();
    assert!(is_patched(&mut kept, 0).await);
    webhook.shutdown.cancel();
    assert!(is_patched(&mut webhook.connect(&material).await.unwrap(), 0).await, "a new connection");
    assert!(is_patched(&mut kept, 0).await);
    time::timeout(Duration::from_secs(30), webhook.ended).await.expect("it ends").unwrap();
}
