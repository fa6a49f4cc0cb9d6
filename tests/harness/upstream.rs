//! The scripted upstream: a server that speaks the vendors' dialects (OpenAI Chat, Responses, Embeddings, Models, Realtime and others;
//! Anthropic Messages, count_tokens; Gemini generate, stream, count, embed), answers deterministically, and fails as told.
//!
//! It is the judge of what the gateway sends, so it shares no code with the gateway's codecs; what it says is itself
//! checked by running the official SDKs straight against it (`tests/clients/test_upstream_truth.py`). It refuses, in
//! the dialect's own words, every body that is not legal there, and remembers two things: each request as received
//! ([`Received`]) and what it really produced ([`Entry`], the truth that metering is compared with).
//!
//! ```no_run
//! # async fn example() {
//! use routeapi_tests::upstream::{CutAt, CutHow, Script, Upstream};
//! let upstream = Upstream::start(Script::new().text("hello there")).await;
//! upstream.enqueue(Script::rate_limited(1));              // the next request only
//! upstream.on_model("broken", Script::new().cut(CutAt::Events(3), CutHow::Reset));
//! let base = upstream.openai_url();                       // http://127.0.0.1:PORT/v1
//! let sent = upstream.received();
//! assert_eq!(sent[0].json()["temperature"], 0);
//! let truth = &upstream.ledger()[0];
//! println!("{base}: {} tokens, {:?}", truth.output_tokens, truth.outcome);
//! # }
//! ```
//!
//! Deterministic: a word is a token; an answer quotes the last user text, names each image's type and size, and quotes
//! tool results. When tools are offered and the last message is no tool result, the first tool is called (two when the
//! script says so), with arguments made from its schema (`0`, `false` and a non-ASCII string among them).

mod answer;
mod anthropic;
mod ask;
mod chat;
mod check;
mod control;
mod conversations;
mod direct;
mod event;
mod form;
mod gemini;
mod kept;
mod play;
mod realtime;
mod record;
mod refusal;
mod responses;
mod route;
mod script;
mod serve;
mod side;
mod stage;
mod wire;

pub use ask::Dialect;
pub use record::{Entry, Outcome, Received};
pub use script::{Cut, CutAt, CutHow, Failure, Script, SessionClose, SessionScript, UsageScript};

use crate::wait;
use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serve::Shared;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use wire::{Line, Wire};

/// Creation time in every answer: a fixed one, so that answers are the same every time.
const CREATED: u64 = 1_790_000_000;

/// What an upstream is started with.
#[derive(Default)]
pub struct Builder {
    script: Script,
    key: Option<String>,
    tls: bool,
    mutual: bool,
    control: bool,
    streams: Option<u32>,
    address: Option<SocketAddr>,
}

impl Builder {
    /// The script of every request that no other script is for.
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// The API key that requests must carry, in the header of their dialect. Default: none is asked for.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Serves TLS (ALPN h2 and http/1.1) with a certificate for `localhost` and `127.0.0.1` by [`Upstream::ca_pem`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// As [`Builder::tls`], and refuses clients that show no certificate of [`Upstream::client_certificate`].
    #[must_use]
    pub fn mutual_tls(mut self) -> Self {
        self.tls = true;
        self.mutual = true;
        self
    }

    /// Takes so many HTTP/2 streams at once on each connection (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default: hyper's.
    #[must_use]
    pub fn streams(mut self, most: u32) -> Self {
        self.streams = Some(most);
        self
    }

    /// Listens there. Default: a free port on 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Answers the control requests of the stand-alone program (`/_script`, `/_received`, …).
    #[must_use]
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(self) -> Result<Upstream> {
        let tls = self.tls.then(|| Tls::create(self.mutual)).transpose()?;
        let listener = TcpListener::bind(self.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into())).await?;
        let upstream = Upstream {
            address: listener.local_addr()?,
            shared: Arc::new(Shared { streams: self.streams, ..Shared::new(self.script, self.key, self.control) }),
            tls,
            lines: Arc::default(),
            server: Mutex::new(None),
        };
        upstream.serve(listener);
        Ok(upstream)
    }
}

/// A running scripted upstream. Dropping it resets all its connections.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    tls: Option<Tls>,
    lines: Arc<Mutex<Vec<Weak<Line>>>>,
    server: Mutex<Option<AbortHandle>>,
}

impl Upstream {
    /// An upstream on a free loopback port that asks for no key.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(script: Script) -> Self {
        Self::builder().script(script).start().await.expect("a free port")
    }

    /// An upstream with more choices.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`: the base URL for Anthropic and Gemini.
    pub fn url(&self) -> String {
        let port = self.address.port();
        match self.tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://{}", self.address),
        }
    }

    /// The base URL for OpenAI: with `/v1`.
    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// The CA that signed its certificate, when it serves TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// A new certificate for a client and its key in PEM, by the CA of [`Upstream::ca_pem`].
    ///
    /// # Panics
    /// When it serves no TLS.
    pub fn client_certificate(&self, name: &str) -> (String, String) {
        let tls = self.tls.as_ref().expect("it serves TLS");
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf =
            rcgen::CertificateParams::new(vec![name.to_owned()]).and_then(|leaf| leaf.signed_by(&key, &tls.issuer));
        (leaf.expect("a certificate").pem(), key.serialize_pem())
    }

    /// Replaces the default script.
    pub fn set(&self, script: Script) {
        self.shared.scripts.lock().unwrap().default = script;
    }

    /// The script of requests for one model.
    pub fn on_model(&self, model: &str, script: Script) {
        self.shared.scripts.lock().unwrap().models.insert(model.to_owned(), script);
    }

    /// The script of one request: the next that no earlier call claimed.
    pub fn enqueue(&self, script: Script) {
        self.shared.scripts.lock().unwrap().queue.push_back(script);
    }

    /// Every request as received, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.records.received()
    }

    /// Requests for lists of models, which are in no other record: a gateway asks for them by itself.
    pub fn listings(&self) -> Vec<Received> {
        self.shared.lists.received()
    }

    /// What lists of models are answered with from now on.
    ///
    /// # Panics
    /// When another user of the scripts has panicked.
    pub fn on_model_list(&self, script: Script) {
        self.shared.scripts.lock().unwrap().list = script;
    }

    /// The last request received.
    ///
    /// # Panics
    /// When there was none.
    pub fn last(&self) -> Received {
        self.received().pop().expect("a request was received")
    }

    /// What was really produced, one entry per request, in the order of arrival.
    pub fn ledger(&self) -> Vec<Entry> {
        self.shared.records.ledger()
    }

    /// What clients have said in sessions, in the order of arrival.
    pub fn heard(&self) -> Vec<serde_json::Value> {
        self.shared.records.heard()
    }

    /// Forgets requests and ledger; scripts stay.
    pub fn clear(&self) {
        self.shared.records.clear();
    }

    /// Requests that are not over.
    pub fn in_flight(&self) -> usize {
        self.ledger().iter().filter(|entry| entry.outcome == Outcome::Open).count()
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open_connections()
    }

    /// Connections accepted since the start.
    pub fn accepted_connections(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Waits until no request is under way.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn wait_idle(&self, limit: Duration) {
        wait::until_true("the upstream is idle", limit, || self.in_flight() == 0).await;
    }

    /// Waits for the `n`-th request since the start or the last [`Upstream::clear`], from 1.
    ///
    /// # Panics
    /// When it does not come within `limit`.
    pub async fn wait_received(&self, n: usize, limit: Duration) -> Received {
        let nth = || std::future::ready(self.received().into_iter().nth(n - 1));
        wait::until("a request reaches the upstream", limit, nth).await.0
    }

    /// Waits until request `id` is over; its entry.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn wait_ended(&self, id: u64, limit: Duration) -> Entry {
        let over = || {
            let entry = self.ledger().into_iter().find(|entry| entry.id == id);
            std::future::ready(entry.filter(|entry| entry.outcome != Outcome::Open))
        };
        wait::until("a request is over", limit, over).await.0
    }

    /// Sends nothing more, as a hung process does; the kernel still accepts connections and data.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Ends [`Upstream::pause`].
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Tells every connection that it takes no more requests, as a server does that is replaced: GOAWAY on HTTP/2,
    /// `connection: close` on HTTP/1. Requests under way are answered.
    pub fn go_away(&self) {
        self.shared.leaving.send_replace(());
    }

    /// Goes away as a killed process does: connections are reset, the port refuses.
    pub fn kill(&self) {
        for line in self.lines.lock().unwrap().drain(..) {
            if let Some(line) = line.upgrade() {
                line.reset_on_close();
            }
        }
        for session in self.shared.sessions.lock().unwrap().drain(..) {
            session.abort();
        }
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }

    /// Comes back on the same port, with the same scripts, records and certificate.
    ///
    /// # Errors
    /// When another process has taken the port.
    pub async fn restart(&self) -> Result<()> {
        self.kill();
        // The killed server's task lets go of the port a moment after.
        let bind = || async { TcpListener::bind(self.address).await.ok() };
        let (listener, _) = wait::until("the port is free again", Duration::from_secs(5), bind).await;
        self.serve(listener);
        Ok(())
    }

    fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let lines = Arc::clone(&self.lines);
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new(); // dropped with this task, and all connections with it
            while let Ok((tcp, _)) = listener.accept().await {
                let line = Arc::new(Line::default());
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let mut lines = lines.lock().unwrap();
                lines.retain(|line| line.strong_count() > 0);
                lines.push(Arc::downgrade(&line));
                drop(lines);
                connections.spawn(connection(Arc::clone(&shared), line, tcp, acceptor.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        *self.server.lock().unwrap() = Some(task.abort_handle());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn connection(shared: Arc<Shared>, line: Arc<Line>, tcp: TcpStream, acceptor: Option<TlsAcceptor>) {
    let _ = tcp.set_nodelay(true); // the peer may be gone already
    let wire = Wire::new(tcp, Arc::clone(&line), Arc::clone(&shared.open));
    match acceptor {
        None => speak(shared, line, wire).await,
        Some(acceptor) => {
            if let Ok(tls) = acceptor.accept(wire).await {
                speak(shared, line, tls).await;
            }
        }
    }
}

async fn speak<I>(shared: Arc<Shared>, line: Arc<Line>, io: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (streams, mut leaving) = (shared.streams, shared.leaving.subscribe());
    let service = service_fn(move |request| serve::exchange(Arc::clone(&shared), Arc::clone(&line), request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    if let Some(most) = streams {
        server.http2().max_concurrent_streams(most);
    }
    let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(io), service));
    loop {
        // How a connection ends is in the ledger; hyper's own words about it add nothing.
        tokio::select! {
            _ = connection.as_mut() => return,
            Ok(()) = leaving.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

struct Tls {
    ca_pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    acceptor: TlsAcceptor,
}

impl Tls {
    fn create(mutual: bool) -> Result<Self> {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "scripted upstream CA");
        let authority = ca.self_signed(&ca_key)?;
        let ca_pem = authority.pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der());
        let private = private.map_err(anyhow::Error::msg).context("rcgen writes PKCS #8")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match mutual {
            true => builder.with_client_cert_verifier(clients.build()?),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(vec![leaf.der().clone()], private)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { ca_pem, issuer, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
