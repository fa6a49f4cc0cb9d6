//! Connection pools, shared by every upstream with the same trust and patience, and kept across configurations.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use routeapi_channel::Secret;
use routeapi_crds::value::AddressRules;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::{
    client::SendError,
    connect::Patient,
    egress::Egress,
    kept::{History, Remembering, is_unseen},
    proxies::ProxyChoice,
    resolve::Resolver,
    sent::MarkedBody,
    tunnel::{Dialer, Ways},
};
use crate::keepalive;

type Connector = Remembering<Patient<HttpsConnector<Dialer>>>;

/// The connections of one kind.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Kept between requests.
    kept: HyperClient<Connector, MarkedBody>,
    /// Made for one request each: for one that a kept connection lost.
    fresh: HyperClient<Connector, MarkedBody>,
}

impl Pool {
    /// Sends a request and waits for the answer's head. `request` makes it anew: one that the upstream never saw, because
    /// a kept connection broke under it, is sent once more.
    ///
    /// # Errors
    /// When it cannot be made, or no head came.
    pub async fn request(
        &self,
        request: impl Fn() -> Result<Request<MarkedBody>, SendError>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match self.kept.request(request()?).await {
            Err(error) if is_unseen(&error) => {
                tracing::debug!(%error, "a kept connection was lost; the request goes out once more");
                self.fresh.request(request()?).await
            }
            sent => sent,
        };
        let response = sent.map_err(|error| SendError::from(&error))?;
        if let Some(history) = response.extensions().get::<History>() {
            history.answered();
        }
        Ok(response)
    }
}

/// How an upstream is reached, whom to trust as it, and who we are to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// PEM certificates to trust instead of the public roots.
    pub ca_certificates: Option<String>,
    /// Name to ask for and to verify instead of the URL's host.
    pub server_name: Option<String>,
    /// Shown to a server that asks for a certificate.
    pub client: Option<ClientIdentity>,
    /// What the provider says about egress proxies.
    pub proxy: ProxyChoice,
}

/// A certificate of ours with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM certificates, our own first.
    pub certificates: String,
    /// Its private key in PEM.
    pub key: Secret,
}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A key that differs beside the same certificate does not belong to it.
        self.certificates.hash(state);
    }
}

/// The trust settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// Not PEM, or no certificate in it.
    #[error("tls.caCertificates holds no usable certificate: {0}")]
    Certificates(String),
    /// Not a DNS name.
    #[error("tls.serverName {0:?} is not a DNS name")]
    ServerName(String),
    /// Certificate and key cannot be used together.
    #[error("tls.clientCertificate cannot be used: {0}")]
    Client(String),
}

/// All pools of this process.
#[derive(Debug)]
pub struct Clients {
    addresses: AddressRules,
    egress: Egress,
    pools: Mutex<HashMap<(Trust, Duration), Arc<Pool>>>,
}

// Idle connections are closed before the peers' own usual limits, and hung ones are found by HTTP/2 pings.
const POOL_IDLE: Duration = Duration::from_secs(90);
const POOL_IDLE_PER_HOST: usize = 256;
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_PATIENCE: Duration = Duration::from_secs(10);
// Windows bound what a slow reader makes this process hold per stream and per connection.
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;
const H1_BUFFER: usize = 128 << 10;

impl Clients {
    /// No pool yet.
    pub fn new(addresses: impl Into<AddressRules>) -> Self {
        Self { addresses: addresses.into(), egress: Egress::default(), pools: Mutex::default() }
    }

    /// Leaves the network in these ways.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// The egress proxy for an upstream at this URL; none if connections are made straight.
    pub fn proxy_for(&self, trust: &Trust, url: &Uri) -> Option<String> {
        self.ways(trust).find(url).map(|(proxy, _)| proxy.to_string())
    }

    fn ways(&self, trust: &Trust) -> Ways {
        Ways { choice: trust.proxy.clone(), environment: Arc::clone(&self.egress.proxies) }
    }

    /// Where upstreams may be.
    pub fn addresses(&self) -> &AddressRules {
        &self.addresses
    }

    /// The pool for this trust and this bound on connecting.
    ///
    /// # Errors
    /// When certificates or the server name are not usable.
    pub fn pool(&self, trust: &Trust, connect: Duration) -> Result<Arc<Pool>, InvalidTrust> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&(trust.clone(), connect)) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(self.make(trust, connect)?);
        pools.insert((trust.clone(), connect), Arc::clone(&pool));
        Ok(pool)
    }

    /// Closes what no configuration refers to any more.
    pub fn prune(&self) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| Arc::strong_count(pool) > 1);
    }
}

impl Clients {
    fn make(&self, trust: &Trust, connect: Duration) -> Result<Pool, InvalidTrust> {
        let connector = Remembering(self.connector(trust, connect)?);
        let client = |idle: usize| {
            HyperClient::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(idle)
                .http1_max_buf_size(H1_BUFFER)
                .http2_initial_stream_window_size(H2_STREAM_WINDOW)
                .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
                .http2_keep_alive_interval(H2_PING_EVERY)
                .http2_keep_alive_timeout(H2_PING_PATIENCE)
                .build(connector.clone())
        };
        Ok(Pool { kept: client(POOL_IDLE_PER_HOST), fresh: client(0) })
    }

    fn connector(&self, trust: &Trust, connect: Duration) -> Result<Patient<HttpsConnector<Dialer>>, InvalidTrust> {
        let ways = self.ways(trust);
        let guarded = Resolver::new(self.addresses.clone());
        let to_proxy = config(Arc::clone(&self.egress.roots), None)?;
        let dialer = Dialer::new(ways.clone(), guarded, &to_proxy, |resolver| {
            let mut tcp = HttpConnector::new_with_resolver(resolver);
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_keepalive(Some(keepalive::TIME));
            tcp.set_keepalive_interval(Some(keepalive::INTERVAL));
            tcp.set_keepalive_retries(Some(keepalive::RETRIES));
            tcp
        });
        let https = HttpsConnectorBuilder::new().with_tls_config(self.tls(trust)?).https_or_http();
        let https = match &trust.server_name {
            Some(name) => {
                let name = ServerName::try_from(name.clone()).map_err(|_| InvalidTrust::ServerName(name.clone()))?;
                https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name))
            }
            None => https,
        };
        Ok(Patient::new(https.enable_all_versions().wrap_connector(dialer), connect, ways))
    }

    fn tls(&self, trust: &Trust) -> Result<ClientConfig, InvalidTrust> {
        let roots = match &trust.ca_certificates {
            None => Arc::clone(&self.egress.roots),
            Some(pem) => Arc::new(private_roots(pem)?),
        };
        config(roots, trust.client.as_ref())
    }
}

fn private_roots(pem: &str) -> Result<RootCertStore, InvalidTrust> {
    let mut roots = RootCertStore::empty();
    let invalid = |error: &dyn std::fmt::Display| InvalidTrust::Certificates(error.to_string());
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(&error))?;
        roots.add(certificate).map_err(|error| invalid(&error))?;
    }
    if roots.is_empty() { Err(invalid(&"no certificate found")) } else { Ok(roots) }
}

fn config(roots: Arc<RootCertStore>, client: Option<&ClientIdentity>) -> Result<ClientConfig, InvalidTrust> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidTrust::Certificates(error.to_string()))?
        .with_root_certificates(roots);
    let Some(ClientIdentity { certificates, key }) = client else {
        return Ok(builder.with_no_client_auth());
    };
    let invalid = |error: &dyn std::fmt::Display| InvalidTrust::Client(error.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|error| invalid(&error))?;
    builder.with_client_auth_cert(chain.map_err(|error| invalid(&error))?, key).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use routeapi_crds::value::AddressPolicy;

    use super::*;

    #[test]
    fn equal_settings_share_a_pool_and_unused_pools_are_closed() {
        let clients = Clients::new(AddressPolicy::Workstation);
        let second = Duration::from_secs(1);
        let pool = clients.pool(&Trust::default(), second).unwrap();
        assert!(Arc::ptr_eq(&pool, &clients.pool(&Trust::default(), second).unwrap()));
        assert!(!Arc::ptr_eq(&pool, &clients.pool(&Trust::default(), 2 * second).unwrap()));
        clients.prune();
        assert_eq!(clients.pools.lock().unwrap().len(), 1);
    }

    #[test]
    fn says_what_is_wrong_with_certificates() {
        let clients = Clients::new(AddressPolicy::Workstation);
        let trust = Trust { ca_certificates: Some("not pem".to_owned()), ..Trust::default() };
        let error = clients.pool(&trust, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "tls.caCertificates holds no usable certificate: no certificate found");
    }
}
