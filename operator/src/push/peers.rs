//! Reads the acknowledgements that the operator's other replicas hold, once a second.
//!
//! Replicas are found by resolving a headless Service; each is asked over the same port, CA and kind of token that data
//! planes use. A replica that does not answer for a few seconds is taken for gone, and so are its pods, which then come
//! back somewhere else. Reading from oneself is harmless: the pods are the same.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time,
};
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::{
    ACKS,
    ack::{AckBook, PodReport},
};
use crate::tls::Certificates;

/// How often peers are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Failures in a row after which a peer is taken for gone.
const FAILURES: u32 = 5;

/// The longest answer: a thousand pods with many refusals.
const LONGEST: usize = 16 << 20;

/// How peers are reached.
#[derive(Debug)]
pub struct Peers {
    /// host:port; none: there are none.
    pub service: Option<String>,
    /// Where this replica's own token is.
    pub token_file: PathBuf,
    /// The name that peers' certificates are for.
    pub server_name: String,
    /// Whom to trust.
    pub certificates: Arc<Certificates>,
    /// Where their answers go.
    pub acks: Arc<AckBook>,
}

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no token in {path}: {error}")]
    NoToken { path: PathBuf, error: std::io::Error },
    #[error("no certificates to trust yet")]
    NoTrust,
    #[error("{0:?} is not a server name")]
    ServerName(String),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("connection failed: {0}")]
    Connection(String),
    #[error("it refused: {0}")]
    Refused(StatusCode),
    #[error("its answer makes no sense: {0}")]
    Malformed(serde_json::Error),
    #[error("it took longer than {PATIENCE:?}")]
    TimedOut,
}

impl Peers {
    /// Asks until aborted; also the clock of the book.
    pub async fn run(self) {
        let mut failures: BTreeMap<String, u32> = BTreeMap::new();
        let mut ticks = time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.acks.tick();
            let Some(service) = &self.service else { continue };
            let addresses: Vec<SocketAddr> = match lookup_host(service.as_str()).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    debug!(service, %error, "peers cannot be resolved");
                    continue;
                }
            };
            // All at once: one that has just gone keeps its place in the record for a while, and answers nothing.
            let asking = addresses.iter().map(|address| time::timeout(PATIENCE, self.ask(*address)));
            for (address, asked) in addresses.iter().zip(join_all(asking).await) {
                self.note(&address.to_string(), asked.unwrap_or(Err(Unanswered::TimedOut)), &mut failures);
            }
            for gone in self.acks.known_peers() {
                if !addresses.iter().any(|address| address.to_string() == gone) {
                    self.acks.peer(&gone, None);
                }
            }
        }
    }

    fn note(&self, peer: &str, asked: Result<Vec<PodReport>, Unanswered>, failures: &mut BTreeMap<String, u32>) {
        match asked {
            Ok(reports) => {
                failures.remove(peer);
                self.acks.peer(peer, Some(reports));
            }
            Err(error) => {
                debug!(peer, %error, "peer does not answer");
                let count = failures.entry(peer.to_owned()).or_default();
                *count += 1;
                if *count >= FAILURES {
                    self.acks.peer(peer, None);
                }
            }
        }
    }

    async fn ask(&self, address: SocketAddr) -> Result<Vec<PodReport>, Unanswered> {
        let unread = |error| Unanswered::NoToken { path: self.token_file.clone(), error };
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(unread)?;
        let tls = TlsConnector::from(self.trust()?);
        let name = ServerName::try_from(self.server_name.clone());
        let name = name.map_err(|_| Unanswered::ServerName(self.server_name.clone()))?;
        let stream = TcpStream::connect(address).await.map_err(Unanswered::Connect)?;
        let stream = tls.connect(name, stream).await.map_err(Unanswered::Connect)?;

        let broken = |error: hyper::Error| Unanswered::Connection(error.to_string());
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let request = Request::get(format!("https://{}{ACKS}", self.server_name))
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            .body(Empty::<Bytes>::new())
            .map_err(|error| Unanswered::Connection(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(Unanswered::Refused(response.status()));
        }
        let body = capped(response.into_body()).await?;
        driver.abort();
        serde_json::from_slice(&body).map_err(Unanswered::Malformed)
    }

    fn trust(&self) -> Result<Arc<ClientConfig>, Unanswered> {
        let mut roots = RootCertStore::empty();
        let bundle = self.certificates.trusted().ok_or(Unanswered::NoTrust)?;
        let (added, _) = roots.add_parsable_certificates(bundle);
        if added == 0 {
            return Err(Unanswered::NoTrust);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Unanswered::Connection(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

async fn capped(body: hyper::body::Incoming) -> Result<Bytes, Unanswered> {
    #[expect(clippy::disallowed_methods, reason = "this is a capped reader")]
    let collected = Limited::new(body, LONGEST).collect().await;
    Ok(collected.map_err(|error| Unanswered::Connection(error.to_string()))?.to_bytes())
}
