//! Many data planes: clients of one stream each that acknowledge what they are told, and some that stop reading.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::api::{Patch, PatchParams};
use routeapi_channel::frame::{
    AUDIENCE, FEATURE_LIST, FEATURE_NAMESPACES, FromDataPlane, FromOperator, Hello, Line, PATH, read,
};
use routeapi_dataplane::config::subscribe::backoff::Backoff;
use routeapi_tests::wait;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{
    company::{Company, model},
    ground::{HOME, LIMIT},
    processes::{cpu, figure, resident},
};

/// Connections that are made at the same time: the operator limits those that have not presented a token yet.
const AT_ONCE: usize = 32;

/// Data planes that stop reading.
const STUCK: usize = 10;

/// What all of them share.
#[derive(Clone)]
struct Fleet {
    tls: TlsConnector,
    to: std::net::SocketAddr,
    /// Transactions that were acknowledged.
    acknowledged: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

pub async fn measure(company: &mut Company<'_>) {
    let size = company.ground.size;
    let tokens = pods(company).await;
    let fleet = Fleet {
        tls: connector(&company.ground.ca().await),
        to: company.operator.config(),
        acknowledged: Arc::default(),
        bytes: Arc::default(),
    };
    let (stop, stuck) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for (nth, token) in tokens.into_iter().enumerate() {
        let stuck = (nth < STUCK).then(|| stuck.clone());
        tasks.spawn(fleet.clone().plane(token, stuck));
        if nth % AT_ONCE == AT_ONCE - 1 {
            wait::until_true("they are connected", LIMIT, || {
                fleet.acknowledged.load(Ordering::Relaxed) > nth - AT_ONCE
            })
            .await;
        }
    }
    let all = |transactions: usize| {
        let fleet = fleet.clone();
        async move {
            wait::until_true("all acknowledge", LIMIT, || fleet.acknowledged.load(Ordering::Relaxed) >= transactions)
                .await
        }
    };
    all(size.planes).await;
    let mib = fleet.bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
    figure(
        &format!("{} data planes connect and get all of {mib:.0} MiB in", size.planes),
        format_args!("{:.1?}", started.elapsed()),
    );
    figure("operator with them, RSS", format_args!("{:.1} MiB", resident(&company.operator.process)));
    one_change(company, &fleet, "one change to all of them", size.planes).await;
    stop.send_replace(true);
    one_change(company, &fleet, "one change to all while ten are stuck", size.planes - STUCK).await;
    figure("operator with ten stuck, RSS", format_args!("{:.1} MiB", resident(&company.operator.process)));
    tasks.shutdown().await;
}

async fn one_change(company: &Company<'_>, fleet: &Fleet, what: &str, planes: usize) {
    let routes = company.ground.api("AIRoute", company.team(1));
    let before = fleet.acknowledged.load(Ordering::Relaxed);
    let used = cpu(&company.operator.process);
    let patch = Patch::Merge(json!({"spec": {"ownedBy": what, "model": model(1)}}));
    let started = Instant::now();
    routes.patch("route-00001", &PatchParams::default(), &patch).await.unwrap();
    let reached = || fleet.acknowledged.load(Ordering::Relaxed) >= before + planes;
    wait::until_true("the change is everywhere", LIMIT, reached).await;
    let used = cpu(&company.operator.process) - used;
    figure(what, format_args!("{:.1?}, {used:.1?} of operator CPU", started.elapsed()));
}

/// The tokens of so many pods.
async fn pods(company: &Company<'_>) -> Vec<String> {
    let server = &company.ground.server;
    let pods = stream::iter(0..company.ground.size.planes)
        .map(|_| async { server.pod(HOME, "gateway").await.unwrap().token(AUDIENCE).await.unwrap() });
    pods.buffer_unordered(8).collect().await
}

fn connector(ca: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

impl Fleet {
    /// One data plane, until it is aborted. `stuck`: when it is to stop reading, if it is to.
    async fn plane(self, token: String, mut stuck: Option<watch::Receiver<bool>>) {
        let mut backoff = Backoff::default();
        let (say, mut hear) = loop {
            let (say, said) = mpsc::unbounded_channel();
            match self.open(&token, said).await {
                Some(hear) => break (say, hear),
                // The operator reviews so many tokens a second, and the others come again, as real ones do.
                None => tokio::time::sleep(backoff.wait(1.0)).await,
            }
        };
        let features = [FEATURE_LIST, FEATURE_NAMESPACES].map(str::to_owned).to_vec();
        speak(
            &say,
            &FromDataPlane::Hello(Hello {
                v: 1,
                pod: "simulated".to_owned(),
                instance: "scale".to_owned(),
                revision: None,
                held: Vec::new(),
                features,
                floor: Default::default(),
            }),
        );
        let mut buffer = BytesMut::new();
        while let Some(Ok(frame)) = hear.frame().await {
            let data = frame.into_data().unwrap_or_default();
            self.bytes.fetch_add(data.len(), Ordering::Relaxed);
            buffer.extend_from_slice(&data);
            while let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(at + 1);
                // What is put is not looked at: this is about the operator.
                if line.starts_with(b"{\"put\"") {
                    continue;
                }
                match read::<FromOperator>(&line).unwrap() {
                    Line::Frame(FromOperator::Commit { revision }) => {
                        speak(&say, &FromDataPlane::Ack { revision });
                        self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    Line::Frame(FromOperator::Ping {}) => speak(&say, &FromDataPlane::Pong {}),
                    Line::Frame(_) | Line::Unknown(_) => {}
                }
            }
            if stuck.as_mut().is_some_and(|stuck| *stuck.borrow()) {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Opens a stream; none if the operator has no time for it now.
    async fn open(&self, token: &str, mut said: mpsc::UnboundedReceiver<Bytes>) -> Option<Incoming> {
        let stream = TcpStream::connect(self.to).await.unwrap();
        let stream = self.tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let body = stream::poll_fn(move |context| {
            said.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))))
        });
        let request =
            Request::post(format!("https://localhost{PATH}")).header("authorization", format!("Bearer {token}"));
        let response = sender.send_request(request.body(StreamBody::new(body)).unwrap()).await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        assert_eq!(response.status(), 200);
        Some(response.into_body())
    }
}

fn speak(say: &mpsc::UnboundedSender<Bytes>, frame: &FromDataPlane) {
    let mut line = serde_json::to_vec(frame).unwrap();
    line.push(b'\n');
    let _ = say.send(line.into()); // the operator may be gone
}
