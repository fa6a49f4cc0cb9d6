//! A data plane without traffic: it connects to the channel, applies transactions and acknowledges them.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use routeapi_channel::{
    Catalog, Entry, Key, Kind, ObjectId, Revision,
    catalog::Unreadable,
    frame::{AUDIENCE, FEATURE_LIST, FEATURE_NAMESPACES, FromDataPlane, FromOperator, Held, Hello, PATH},
};
use routeapi_tests::{apiserver::FakePod, wait};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, sync::mpsc, sync::watch, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::cluster::{Cluster, LIMIT};

/// How a data plane behaves.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// It cannot use the resource of this name.
    pub refuses: Option<&'static str>,
    /// What it holds when it connects.
    pub holds: Option<State>,
    /// It is of the first version: it lists what it holds in its hello and knows no selectors.
    pub old: bool,
}

/// What a data plane has in force.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub revision: Option<Revision>,
    pub catalog: Catalog,
    pub fleet: Option<(u32, u32)>,
    pub puts: usize,
    pub floor: BTreeMap<String, u64>,
}

/// A connected data plane. Dropping it cuts its stream.
pub struct DataPlane {
    pub pod: FakePod,
    pub state: watch::Receiver<State>,
    pub task: JoinHandle<()>,
    say: mpsc::UnboundedSender<Bytes>,
}

impl DataPlane {
    pub async fn connect(cluster: &Cluster, to: SocketAddr, pod: FakePod, manner: Manner) -> Self {
        let name = format!("routeapi-operator.{}.svc", cluster.namespace);
        Self::try_connect(&cluster.ca().await, &name, to, pod, manner).await.unwrap()
    }

    /// Connects, trusting these CAs.
    pub async fn try_connect(
        ca: &str,
        name: &str,
        to: SocketAddr,
        pod: FakePod,
        manner: Manner,
    ) -> Result<Self, String> {
        let token = pod.token(AUDIENCE).await.unwrap();
        let (say, said) = mpsc::unbounded_channel();
        let (status, hear) = open(ca, name, to, &token, said).await?;
        if status != StatusCode::OK {
            return Err(status.to_string());
        }
        let held = manner.holds.clone().unwrap_or_default();
        let modern = [FEATURE_LIST, FEATURE_NAMESPACES].map(str::to_owned).to_vec();
        let hello = Hello {
            v: 1,
            pod: pod.name.clone(),
            instance: "test".to_owned(),
            revision: held.revision.clone(),
            held: if manner.old { list(&held.catalog) } else { Vec::new() },
            features: if manner.old { Vec::new() } else { modern },
            floor: held.floor.clone(),
        };
        let state = watch::Sender::new(State { puts: 0, fleet: None, ..held });
        let receiver = state.subscribe();
        speak(&say, &FromDataPlane::Hello(hello));
        let task = tokio::spawn(serve(hear, say.clone(), state, manner));
        Ok(Self { pod, state: receiver, task, say })
    }

    /// Says something that nobody asked for.
    pub fn say(&self, frame: &FromDataPlane) {
        speak(&self.say, frame);
    }

    /// Waits until what it has in force fits; the time that took.
    pub async fn until(&self, what: &str, fits: impl Fn(&State) -> bool) -> Duration {
        let look = || std::future::ready(fits(&self.state.borrow()).then_some(()));
        wait::until(what, LIMIT, look).await.1
    }

    pub fn now(&self) -> State {
        self.state.borrow().clone()
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// The JSON of a resource.
    pub fn body(&self, kind: Kind, namespace: &str, name: &str) -> Option<String> {
        let key = Key { kind, id: ObjectId::new(namespace, name) };
        self.catalog.get(&key).map(|entry| entry.body.get().to_owned())
    }
}

/// Opens the stream; its status and what comes back.
pub async fn open(
    ca: &str,
    name: &str,
    to: SocketAddr,
    token: &str,
    mut said: mpsc::UnboundedReceiver<Bytes>,
) -> Result<(StatusCode, Incoming), String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let stream =
        TlsConnector::from(Arc::new(config)).connect(server, stream).await.map_err(|error| error.to_string())?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let body = futures_util::stream::poll_fn(move |context| {
        said.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))))
    });
    let request = Request::post(format!("https://{name}{PATH}"))
        .header("authorization", format!("Bearer {token}"))
        .body(StreamBody::new(body))
        .unwrap();
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    Ok((response.status(), response.into_body()))
}

fn list(catalog: &Catalog) -> Vec<Held> {
    catalog.iter().map(|(key, entry)| Held { key: key.clone(), v: entry.version.clone() }).collect()
}

fn speak(say: &mpsc::UnboundedSender<Bytes>, frame: &FromDataPlane) {
    let mut line = serde_json::to_vec(frame).unwrap();
    line.push(b'\n');
    let _ = say.send(line.into()); // the operator may be gone
}

async fn serve(mut hear: Incoming, say: mpsc::UnboundedSender<Bytes>, state: watch::Sender<State>, manner: Manner) {
    let mut buffer = Vec::new();
    let mut pending: Option<State> = None;
    let mut catalog = state.borrow().catalog.clone();
    let mut refused = Vec::new();
    while let Some(Ok(frame)) = hear.frame().await {
        buffer.extend(frame.into_data().unwrap_or_default());
        while let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = buffer.drain(..=at).collect();
            match serde_json::from_slice(&line).unwrap() {
                FromOperator::Begin { base, floor, .. } => {
                    let mut next = state.borrow().clone();
                    match base {
                        None => (catalog, refused) = (Catalog::default(), Vec::new()),
                        Some(base) => assert_eq!(base, catalog.revision(), "unknown base revision"),
                    }
                    next.floor = floor;
                    pending = Some(next);
                }
                FromOperator::Put { t, id, v, body } => {
                    let next = pending.as_mut().expect("put outside a transaction");
                    next.puts += 1;
                    let (key, entry) = (Key { kind: t, id }, Entry::new(body));
                    assert_eq!(entry.version, v);
                    catalog.insert(key.clone(), entry.clone());
                    refused.retain(|it: &Unreadable| it.key != key);
                    if manner.refuses == Some(key.id.name()) {
                        refused.push(Unreadable { key, message: "this pod is too old for it".to_owned() });
                    } else {
                        next.catalog.insert(key, entry);
                    }
                }
                FromOperator::Del { t, id } => {
                    let next = pending.as_mut().expect("del outside a transaction");
                    let key = Key { kind: t, id };
                    catalog.remove(&key).expect("del of an unknown entry");
                    refused.retain(|rejection| rejection.key != key);
                    next.catalog.remove(&key);
                }
                FromOperator::Commit { revision } => {
                    let mut next = pending.take().expect("commit outside a transaction");
                    assert_eq!(catalog.revision(), revision, "both sides compute the same revision");
                    next.revision = Some(revision.clone());
                    state.send_modify(|held| *held = State { fleet: held.fleet, ..next });
                    // The whole state is judged each time: what was refused before is still lacking.
                    let errors = refused.clone();
                    speak(
                        &say,
                        &match errors.is_empty() {
                            true => FromDataPlane::Ack { revision },
                            false => FromDataPlane::Nack { revision, errors, more: false },
                        },
                    );
                }
                FromOperator::Fleet { pods, rank } => state.send_modify(|held| held.fleet = Some((pods, rank))),
                FromOperator::List {} => {
                    assert!(!manner.old, "it would not know the word");
                    speak(&say, &FromDataPlane::Held { items: list(&catalog), more: false });
                }
                FromOperator::ResponseIdKeys { .. } | FromOperator::ServiceAccountIssuer(_) => {
                    panic!("it did not say that it knows them")
                }
                FromOperator::Ping {} => speak(&say, &FromDataPlane::Pong {}),
            }
        }
    }
}
