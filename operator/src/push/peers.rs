//! Reads the acknowledgements of the operator's other replicas, once a second.
//!
//! Replicas are found by resolving a headless Service, and read over the same port and with the same CA and kind of token as
//! data planes use. A replica that does not respond for a few seconds is considered down, and so are its pods, which then
//! reconnect elsewhere. Reading from itself is harmless: the pods are the same.

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

/// How often replicas are read: a status lags by this much behind pods of other replicas.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a replica may take to respond. With [`MAX_FAILURES`], a dead replica is detected within 20 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Consecutive failures after which a replica is considered down: a single failure may be a restart or packet loss.
const MAX_FAILURES: u32 = 5;

/// Maximum size of a response in bytes: a thousand pods with many rejected resources.
const MAX_RESPONSE: usize = 16 << 20;

/// Reads the other replicas.
#[derive(Debug)]
pub struct Peers {
    /// `host:port` of all replicas; none if this is the only one.
    pub service: Option<String>,
    /// File with this replica's own token.
    pub token_file: PathBuf,
    /// Name in the certificate of the replicas.
    pub server_name: String,
    /// Certificates to trust.
    pub certificates: Arc<Certificates>,
    /// Where the reports go.
    pub acks: Arc<AckBook>,
}

/// Why a replica could not be read.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("cannot read the token in {path}: {error}")]
    NoToken { path: PathBuf, error: std::io::Error },
    #[error("no CA certificate yet")]
    NoCa,
    #[error("{0:?} is not a valid server name")]
    ServerName(String),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("connection failed: {0}")]
    Connection(String),
    #[error("the replica responded with status {0}")]
    Rejected(StatusCode),
    #[error("malformed response: {0}")]
    Malformed(serde_json::Error),
    #[error("timed out after {REQUEST_TIMEOUT:?}")]
    TimedOut,
}

impl Peers {
    /// Reads until aborted, and expires disconnected pods.
    pub async fn run(self) {
        let mut failures: BTreeMap<String, u32> = BTreeMap::new();
        let mut ticks = time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.acks.expire_disconnected();
            let Some(service) = &self.service else { continue };
            let addresses: Vec<SocketAddr> = match lookup_host(service.as_str()).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    debug!(service, %error, "cannot resolve the other replicas");
                    continue;
                }
            };
            // In parallel: the address of a replica that was just stopped stays in DNS for a while and does not respond.
            let fetches = addresses.iter().map(|address| time::timeout(REQUEST_TIMEOUT, self.fetch(*address)));
            for (address, fetched) in addresses.iter().zip(join_all(fetches).await) {
                self.record(&address.to_string(), fetched.unwrap_or(Err(PeerError::TimedOut)), &mut failures);
            }
            for gone in self.acks.known_peers() {
                if !addresses.iter().any(|address| address.to_string() == gone) {
                    self.acks.set_peer_reports(&gone, None);
                }
            }
        }
    }

    fn record(&self, peer: &str, fetched: Result<Vec<PodReport>, PeerError>, failures: &mut BTreeMap<String, u32>) {
        match fetched {
            Ok(reports) => {
                failures.remove(peer);
                self.acks.set_peer_reports(peer, Some(reports));
            }
            Err(error) => {
                debug!(peer, %error, "cannot read a replica");
                let count = failures.entry(peer.to_owned()).or_default();
                *count += 1;
                if *count >= MAX_FAILURES {
                    self.acks.set_peer_reports(peer, None);
                }
            }
        }
    }

    async fn fetch(&self, address: SocketAddr) -> Result<Vec<PodReport>, PeerError> {
        let unreadable = |error| PeerError::NoToken { path: self.token_file.clone(), error };
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(unreadable)?;
        let tls = TlsConnector::from(self.tls_config()?);
        let name = ServerName::try_from(self.server_name.clone());
        let name = name.map_err(|_| PeerError::ServerName(self.server_name.clone()))?;
        let stream = TcpStream::connect(address).await.map_err(PeerError::Connect)?;
        let stream = tls.connect(name, stream).await.map_err(PeerError::Connect)?;

        let broken = |error: hyper::Error| PeerError::Connection(error.to_string());
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let request = Request::get(format!("https://{}{ACKS}", self.server_name))
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            .body(Empty::<Bytes>::new())
            .map_err(|error| PeerError::Connection(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(PeerError::Rejected(response.status()));
        }
        let body = read_limited(response.into_body()).await?;
        driver.abort();
        serde_json::from_slice(&body).map_err(PeerError::Malformed)
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>, PeerError> {
        let mut roots = RootCertStore::empty();
        let bundle = self.certificates.trusted().ok_or(PeerError::NoCa)?;
        let (added, _) = roots.add_parsable_certificates(bundle);
        if added == 0 {
            return Err(PeerError::NoCa);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| PeerError::Connection(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

async fn read_limited(body: hyper::body::Incoming) -> Result<Bytes, PeerError> {
    #[expect(clippy::disallowed_methods, reason = "this is a capped reader")]
    let collected = Limited::new(body, MAX_RESPONSE).collect().await;
    Ok(collected.map_err(|error| PeerError::Connection(error.to_string()))?.to_bytes())
}
