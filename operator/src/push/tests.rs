//! The listener over real sockets: who is accepted, who is rejected, and when.

use std::net::SocketAddr;

use http_body_util::{Empty, StreamBody};
use hyper::client::conn::http2 as client;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    publish::{History, Publication},
    push::{
        ack::AckBook,
        auth::tests::{answering, gateway, good, token},
    },
};

const LONG: Timeouts =
    Timeouts { handshake: Duration::from_secs(60), token: Duration::from_secs(60), idle: Duration::from_secs(60) };
const SHORT: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(20);

struct Listener {
    push: Arc<PushServer>,
    address: SocketAddr,
    trust: Arc<ClientConfig>,
    _publications: watch::Sender<Option<Arc<Publication>>>,
}

async fn listen(limits: Limits, timeouts: Timeouts) -> Listener {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let builder = || ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let server = builder().with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let trust = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let trust = trust.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut trust = trust.with_no_client_auth();
    trust.alpn_protocols = vec![b"h2".to_vec()];

    let publications = watch::Sender::new(None);
    let push = Arc::new(PushServer {
        sessions: SessionContext {
            publications: publications.subscribe(),
            history: History::default(),
            response_ids: Arc::default(),
            issuer: Arc::default(),
            lists: Arc::new(Semaphore::new(session::MAX_CONCURRENT_LISTS)),
            acks: AckBook::new(),
            metrics: Arc::default(),
            shutdown: CancellationToken::new(),
        },
        authenticator: answering(vec![Some(good())]).0,
        data_planes: gateway(),
        operator: None,
        limiter: ConnectionLimiter::new(limits),
        timeouts,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(Arc::clone(&push), listener, TlsAcceptor::from(Arc::new(server))));
    Listener { push, address, trust: Arc::new(trust), _publications: publications }
}

impl Listener {
    async fn tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(&self.trust)).connect(name, stream).await.unwrap()
    }

    /// Opens a stream as a data plane; its answer, which keeps the connection open.
    async fn data_plane(&self) -> (Response<Incoming>, client::SendRequest<Never>) {
        let io = TokioIo::new(self.tls().await);
        let (mut sender, connection) = client::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::post(format!("https://localhost{}", frame::PATH)).body(never()).unwrap();
        request.headers_mut().extend(token(1_700_000_000));
        (sender.send_request(request).await.unwrap(), sender)
    }

    async fn until(&self, what: &str, fits: impl Fn((usize, usize)) -> bool) {
        let waited = time::timeout(SOON, async {
            while !fits(self.push.limiter.counts()) {
                time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}: {:?}", self.push.limiter.counts()));
    }
}

type Never = StreamBody<futures_util::stream::Pending<Result<http_body::Frame<Bytes>, Infallible>>>;

fn never() -> Never {
    StreamBody::new(futures_util::stream::pending())
}

async fn closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = [0; 1024];
    let read_to_its_end = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    time::timeout(SOON, read_to_its_end).await.expect("it is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unauthenticated_connections_keeps_no_data_plane_out() {
    let listener = listen(LIMITS, LONG).await;
    let (response, _open) = listener.data_plane().await;
    let mut flood = Vec::new();
    for at in 0..600 {
        let mut stream = TcpStream::connect(listener.address).await.unwrap();
        if at % 2 == 0 {
            let _ = stream.write_all(b"\x16\x03\x01").await; // the beginning of a handshake
        }
        flood.push(stream);
    }
    listener
        .until("unauthenticated connections are limited", |(unauthenticated, _)| unauthenticated == LIMITS.per_address)
        .await;
    let (another, _open_too) = time::timeout(SOON, listener.data_plane()).await.expect("a data plane gets in");
    assert_eq!((response.status(), another.status()), (StatusCode::OK, StatusCode::OK));
    listener.until("two data planes", |(_, authenticated)| authenticated == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_before_and_after_the_handshake() {
    let listener = listen(LIMITS, Timeouts { handshake: SHORT, ..LONG }).await;
    closed(&mut TcpStream::connect(listener.address).await.unwrap()).await;
    let listener = listen(LIMITS, Timeouts { token: SHORT, ..LONG }).await;
    closed(&mut listener.tls().await).await;
    listener.until("their permits are released", |counts| counts == (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_token_do_not_keep_a_connection_open() {
    let listener = listen(LIMITS, Timeouts { token: SHORT * 4, ..LONG }).await;
    let io = TokioIo::new(listener.tls().await);
    let (mut sender, connection) = client::handshake(TokioExecutor::new(), io).await.unwrap();
    let ended = tokio::spawn(connection);
    let request = Request::post(format!("https://localhost{}", frame::PATH)).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    time::timeout(SOON, ended).await.expect("it is closed").unwrap().ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticated_connection_is_closed_when_it_has_no_stream() {
    let listener = listen(LIMITS, Timeouts { token: SHORT, idle: SHORT, ..LONG }).await;
    let (response, sender) = listener.data_plane().await;
    assert_eq!(response.headers()[frame::FEATURES_HEADER], FEATURES);
    time::sleep(SHORT * 4).await; // longer than it could stay without a stream
    assert_eq!(listener.push.limiter.counts(), (0, 1));
    drop(response);
    listener.until("closed", |counts| counts == (0, 0)).await;
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_over_the_connection_limit_get_503() {
    let listener = listen(Limits { authenticated: 1, ..LIMITS }, LONG).await;
    let (first, _open) = listener.data_plane().await;
    let (second, _too) = listener.data_plane().await;
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
}
