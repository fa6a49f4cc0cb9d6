//! The only fake operator: real TLS, real HTTP/2, frames by hand. What a data plane does with frames that no operator of
//! today would send can be tried with it alone; everything else is tried with the real one ([`crate::operator`]).

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use routeapi_channel::{
    Catalog, Revision,
    diff::Diff,
    frame::{FEATURE_CREDENTIALS, FEATURES_HEADER, FromDataPlane, FromOperator, Hello, RejectedKey},
};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc, time::timeout};
use tokio_rustls::TlsAcceptor;

use crate::bytes::SOON;

/// The token that it accepts.
pub const BEARER: &str = "a-service-account-token";

/// Accepts one data plane after the other.
pub struct FakeOperator {
    runtime: Runtime,
    /// Where it listens.
    pub address: SocketAddr,
    /// File with its CA.
    pub ca: PathBuf,
    /// File with [`BEARER`].
    pub token: PathBuf,
    streams: mpsc::UnboundedReceiver<Stream>,
    _directory: tempfile::TempDir,
}

/// One data plane's stream.
pub struct Stream {
    say: mpsc::UnboundedSender<FromOperator>,
    hear: mpsc::UnboundedReceiver<FromDataPlane>,
}

struct Out(mpsc::UnboundedReceiver<FromOperator>);

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| {
            let line = serde_json::to_string(&frame?).unwrap() + "\n";
            Some(Ok(Frame::data(line.into())))
        })
    }
}

impl FakeOperator {
    /// Starts it on a runtime of its own.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (ca, token) = (directory.path().join("ca.crt"), directory.path().join("token"));
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&ca, pair.cert.pem()).unwrap();
        std::fs::write(&token, format!("{BEARER}\n")).unwrap();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (found, streams) = mpsc::unbounded_channel();
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, found) = (acceptor.clone(), found.clone());
                tokio::spawn(async move {
                    let socket = acceptor.accept(socket).await.unwrap();
                    let service = service_fn(move |request| answer(request, found.clone()));
                    let _ =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { runtime, address, ca, token, streams, _directory: directory }
    }

    /// The next data plane that connects, and what it holds.
    pub fn accept(&mut self) -> (Stream, Hello) {
        let stream = self.runtime.block_on(async { timeout(SOON, self.streams.recv()).await });
        let mut stream = stream.expect("nobody connected").unwrap();
        let FromDataPlane::Hello(hello) = self.hear(&mut stream) else { panic!("no hello") };
        (stream, hello)
    }

    /// The next line that is not about keys.
    pub fn hear(&self, stream: &mut Stream) -> FromDataPlane {
        loop {
            match self.hear_any(stream) {
                FromDataPlane::Credentials { .. } => {}
                frame => return frame,
            }
        }
    }

    /// The keys that the next line about keys tells of.
    pub fn hear_keys(&self, stream: &mut Stream) -> Vec<RejectedKey> {
        loop {
            if let FromDataPlane::Credentials { rejected } = self.hear_any(stream) {
                return rejected;
            }
        }
    }

    fn hear_any(&self, stream: &mut Stream) -> FromDataPlane {
        let frame = self.runtime.block_on(async { timeout(SOON, stream.hear.recv()).await });
        frame.expect("nothing was said").expect("the stream ended")
    }
}

impl Stream {
    /// Sends a frame.
    pub fn say(&self, frame: FromOperator) {
        self.say.send(frame).unwrap();
    }

    /// The transaction between two states.
    pub fn tell(&self, base: Option<(&Catalog, Revision)>, target: &Catalog, floor: u64) {
        let held = base
            .as_ref()
            .map(|(held, _)| held.iter().map(|(key, entry)| (key.clone(), entry.version.clone())).collect());
        let diff = Diff::between(&held.unwrap_or_default(), target);
        self.say(FromOperator::Begin {
            revision: target.revision(),
            base: base.map(|(_, revision)| revision),
            count: diff.put.len() + diff.del.len(),
            floor: [("apitokens".to_owned(), floor)].into(),
        });
        for key in diff.put {
            let entry = target.get(&key).unwrap().clone();
            self.say(FromOperator::Put { t: key.kind, id: key.id, v: entry.version, body: entry.body });
        }
        for key in diff.del {
            self.say(FromOperator::Del { t: key.kind, id: key.id });
        }
        self.say(FromOperator::Commit { revision: target.revision() });
    }
}

async fn answer(request: Request<Incoming>, found: mpsc::UnboundedSender<Stream>) -> Result<Response<Out>, Infallible> {
    let (say, out) = mpsc::unbounded_channel();
    let (heard, hear) = mpsc::unbounded_channel();
    let mut response = Response::new(Out(out));
    let authorized = request.headers().get("authorization").is_some_and(|value| *value == format!("Bearer {BEARER}"));
    if !authorized || request.uri().path() != routeapi_channel::frame::PATH {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    response.headers_mut().insert(FEATURES_HEADER, http::HeaderValue::from_static(FEATURE_CREDENTIALS));
    found.send(Stream { say, hear }).unwrap();
    let mut body = request.into_body();
    tokio::spawn(async move {
        let mut text = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            text.extend_from_slice(frame.data_ref().unwrap());
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if heard.send(serde_json::from_slice(&line).unwrap()).is_err() {
                    return;
                }
            }
        }
    });
    Ok(response)
}
