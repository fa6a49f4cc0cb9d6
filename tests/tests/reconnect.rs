//! The configuration stream with both real sides over TLS: a data plane that holds more than a line can list comes back,
//! to an operator that knows its state and to one that does not, and what was revoked meanwhile is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use kube::client::Body;
use routeapi_channel::{
    Key, Kind, ObjectId, Snapshot,
    frame::{AUDIENCE, MAX_LINE},
    snapshot::Token,
};
use routeapi_dataplane::{
    config::{
        install::Installer,
        runtime::Runtime,
        store::{Link, Store},
        subscribe::{self, connect, session::Session},
    },
    spawn::Spawner,
    state::SharedState,
    upstream::AddressPolicy,
};
use routeapi_operator::{
    connections::ConnectionLimiter,
    publish::{History, Publication},
    push::{
        self, PushServer, Timeouts,
        ack::AckBook,
        auth::Authenticator,
        session::{MAX_CONCURRENT_LISTS, SessionContext},
    },
    telemetry::Metrics,
};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);

/// More than 4 MiB of names, all as long as Kubernetes allows.
const TOKENS: usize = 20_000;

/// Confirms every token.
#[derive(Clone)]
struct ApiServer;

impl tower_service::Service<http::Request<Body>> for ApiServer {
    type Response = http::Response<Body>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let status = json!({"authenticated": true, "audiences": [AUDIENCE],
            "user": {"username": "system:serviceaccount:ai:gateway"}});
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
            "spec": {"token": "t"}, "status": status});
        let body = serde_json::to_vec(&review).unwrap();
        Box::pin(async move { Ok(http::Response::new(Body::from(body))) })
    }
}

struct Operator {
    publications: watch::Sender<Option<Arc<Publication>>>,
    acks: Arc<AckBook>,
    metrics: Arc<Metrics>,
    history: History,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Operator {
    async fn start(address: SocketAddr, tls: TlsAcceptor, first: Publication) -> (Self, SocketAddr) {
        let publications = watch::Sender::new(Some(Arc::new(first)));
        let (acks, metrics, history) = (AckBook::new(), Arc::<Metrics>::default(), History::default());
        let shutdown = CancellationToken::new();
        let push = PushServer {
            sessions: SessionContext {
                publications: publications.subscribe(),
                history: history.clone(),
                response_ids: Arc::default(),
                issuer: Arc::default(),
                lists: Arc::new(Semaphore::new(MAX_CONCURRENT_LISTS)),
                acks: Arc::clone(&acks),
                metrics: Arc::clone(&metrics),
                shutdown: shutdown.clone(),
            },
            authenticator: Authenticator::new(kube::Client::new(ApiServer, "default")),
            data_planes: vec!["ai/gateway".parse().unwrap()],
            operator: None,
            limiter: ConnectionLimiter::new(push::LIMITS),
            timeouts: Timeouts::default(),
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(push::serve(Arc::new(push), listener, tls));
        (Self { publications, acks, metrics, history, shutdown, serving }, address)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }

    /// Timeouts until the data plane has this state in force.
    async fn until_acked(&self, state: &Publication) {
        let acked = || self.acks.local_reports().iter().any(|pod| pod.revision.as_ref() == Some(&state.revision));
        let waiting = async {
            while !acked() {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        time::timeout(SOON, waiting).await.expect("the data plane answers");
    }
}

fn tls(directory: &Path) -> TlsAcceptor {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("ca.crt"), pair.cert.pem()).unwrap();
    std::fs::write(directory.join("token"), "a-token").unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn name(at: usize) -> ObjectId {
    ObjectId::new("n".repeat(63), format!("{at:0>253}"))
}

/// All tokens but these.
fn state(without: &[usize]) -> Publication {
    let token: Token = serde_json::from_value(json!({"keys": [], "models": ["*"]})).unwrap();
    let kept = (0..TOKENS).filter(|at| !without.contains(at));
    let tokens = kept.map(|at| (name(at), token.clone())).collect();
    Publication::of_snapshot(&Snapshot { tokens, ..Snapshot::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_that_holds_more_than_a_line_comes_back_and_hears_of_revocations() {
    let names: usize = (0..TOKENS).map(|at| name(at).to_string().len()).sum();
    assert!(names > MAX_LINE, "its list would be a line of {names} bytes");
    let directory = tempfile::tempdir().unwrap();
    let acceptor = tls(directory.path());
    let first = state(&[]);
    let (operator, address) = Operator::start("127.0.0.1:0".parse().unwrap(), acceptor.clone(), first).await;

    let store = Arc::new(Store::new(Runtime::default(), Link::Local));
    let installer = Arc::new(Installer::new(store, Arc::new(SharedState::new(AddressPolicy::Workstation))));
    let settings = subscribe::Settings {
        operator: connect::Operator {
            url: format!("https://localhost:{}", address.port()).parse().unwrap(),
            ca: directory.path().join("ca.crt"),
            token: directory.path().join("token"),
        },
        pod: "pod".to_owned(),
        instance: "boot".to_owned(),
        state: None,
        addresses: AddressPolicy::Workstation.into(),
    };
    let following =
        tokio::spawn(subscribe::run(settings, Arc::clone(&installer), Session::default(), Spawner::default()));
    operator.until_acked(&state(&[])).await;
    assert_eq!(installer.catalog().len(), TOKENS);
    operator.stop().await;

    // Another operator, whose state is another one: it has to ask what is held.
    let (operator, _) = Operator::start(address, acceptor.clone(), state(&[7])).await;
    operator.until_acked(&state(&[7])).await;
    let revoked = |at| installer.catalog().get(&Key { kind: Kind::Token, id: name(at) }).is_none();
    assert!(revoked(7) && !revoked(8));
    assert_eq!(operator.metrics.puts(), 0, "nothing that is held is sent again");
    operator.stop().await;

    // One that remembers the state: it need not ask.
    let (operator, _) = Operator::start(address, acceptor, state(&[7, 8])).await;
    let past = state(&[7]);
    operator.history.push(past.revision.clone(), Arc::clone(&past.catalog), Arc::default());
    operator.until_acked(&state(&[7, 8])).await;
    assert!(revoked(8));
    assert_eq!(operator.metrics.puts(), 0);
    operator.publications.send_replace(Some(Arc::new(state(&[7, 8, 9]))));
    operator.until_acked(&state(&[7, 8, 9])).await;
    assert!(revoked(9));
    following.abort();
    operator.stop().await;
}
