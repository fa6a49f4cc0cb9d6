//! Connection pools, shared by every upstream with the same trust and timeout, and kept across configurations.

mod changes;

use std::{
    collections::HashMap,
    future::poll_fn,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use routeapi_channel::Secret;
use routeapi_crds::value::AddressRules;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tower_service::Service as _;

pub use self::changes::{NewConnections, UnusableConnection};
use super::{
    connect::TimeoutConnector,
    egress::Egress,
    metrics::Metrics,
    pool::{BoxedIo, ConnectionLifetimes, Dial, Pool, Shared, Windows},
    proxies::{EgressChoice, ProxyChoice},
    resolve::Resolver,
    roots,
    tunnel::Dialer,
};
use crate::{keepalive, spawn::Spawner};

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

/// What sets the connections of one pool apart from those of another: trust, and the bound on connecting.
type PoolKey = (Trust, Duration);

/// All pools of this process.
#[derive(Debug)]
pub struct Clients {
    addresses: AddressRules,
    egress: Egress,
    lifetimes: ConnectionLifetimes,
    metrics: Metrics,
    spawner: Spawner,
    pools: Mutex<HashMap<PoolKey, Arc<Pool>>>,
}

/// What a server is offered in the TLS handshake.
#[derive(Clone, Copy)]
enum Versions {
    All,
    /// Where a connection is to leave HTTP.
    Http1,
}

const MIN_IDLE: Duration = Duration::from_millis(100);
const MIN_AGE: Duration = Duration::from_secs(1);

impl Clients {
    /// No pool yet.
    pub fn new(addresses: impl Into<AddressRules>) -> Self {
        Self {
            addresses: addresses.into(),
            egress: Egress::default(),
            lifetimes: ConnectionLifetimes::default(),
            metrics: Metrics::default(),
            spawner: Spawner::default(),
            pools: Mutex::default(),
        }
    }

    /// Leaves the network in these ways.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// Keeps connections for so long, but long enough for the request that they are opened for; counts and runs them here.
    #[must_use]
    pub fn with_connections(mut self, lifetimes: ConnectionLifetimes, metrics: Metrics, spawner: Spawner) -> Self {
        let idle = lifetimes.idle.max(MIN_IDLE);
        self.lifetimes = ConnectionLifetimes { idle, max_age: lifetimes.max_age.map(|age| age.max(MIN_AGE)) };
        (self.metrics, self.spawner) = (metrics, spawner);
        self
    }

    /// The egress proxy for an upstream at this URL; none if connections are made straight.
    pub fn proxy_for(&self, trust: &Trust, url: &Uri) -> Option<String> {
        self.egress_choice(trust).find(url).map(|(proxy, _)| proxy.to_string())
    }

    fn egress_choice(&self, trust: &Trust) -> EgressChoice {
        EgressChoice { choice: trust.proxy.clone(), environment: Arc::clone(&self.egress.proxies) }
    }

    /// Where upstreams may be.
    pub fn addresses(&self) -> &AddressRules {
        &self.addresses
    }

    /// A pool for this trust and this bound on connecting, which nobody else knows.
    ///
    /// # Errors
    /// When certificates or the server name are not usable.
    pub fn new_pool(&self, trust: &Trust, connect: Duration) -> Result<Pool, InvalidTrust> {
        let shared = Shared {
            lifetimes: self.lifetimes,
            wait: connect,
            windows: Windows::default(),
            metrics: self.metrics.clone(),
            spawner: self.spawner.clone(),
        };
        let dial = |versions| self.dial(trust, connect, versions);
        Ok(Pool::new(dial(Versions::All)?, shared).with_http1(dial(Versions::Http1)?))
    }

    fn find(&self, key: &PoolKey) -> Option<Arc<Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Closes what no configuration refers to any more.
    pub fn prune(&self) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| pool.prune());
    }

    /// Closes connections that are too old or were not used for too long, for as long as the process lives.
    pub async fn sweep(&self) {
        let every = (self.lifetimes.idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            tokio::time::sleep(every).await;
            let pools: Vec<_> = {
                let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
                pools.values().cloned().collect()
            };
            for pool in pools {
                pool.sweep();
            }
        }
    }
}

impl Clients {
    fn dial(&self, trust: &Trust, connect: Duration, versions: Versions) -> Result<Dial, InvalidTrust> {
        let connector = self.connector(trust, connect, versions)?;
        Ok(Arc::new(move |uri| {
            let mut connector = connector.clone();
            Box::pin(async move {
                poll_fn(|cx| connector.poll_ready(cx)).await?;
                Ok(Box::new(connector.call(uri).await?) as BoxedIo)
            })
        }))
    }

    fn connector(
        &self,
        trust: &Trust,
        connect: Duration,
        versions: Versions,
    ) -> Result<TimeoutConnector<HttpsConnector<Dialer>>, InvalidTrust> {
        let egress_choice = self.egress_choice(trust);
        let guarded = Resolver::new(self.addresses.clone());
        let to_proxy = config(Arc::clone(&self.egress.roots), None)?;
        let dialer = Dialer::new(egress_choice.clone(), guarded, &to_proxy, |resolver| {
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
        let https = match versions {
            Versions::All => https.enable_all_versions().wrap_connector(dialer),
            Versions::Http1 => https.enable_http1().wrap_connector(dialer),
        };
        Ok(TimeoutConnector::new(https, connect, egress_choice))
    }

    fn tls(&self, trust: &Trust) -> Result<ClientConfig, InvalidTrust> {
        let roots = match &trust.ca_certificates {
            None => Arc::clone(&self.egress.roots),
            Some(pem) => Arc::new(roots::read(pem.as_bytes()).map_err(InvalidTrust::Certificates)?),
        };
        config(roots, trust.client.as_ref())
    }
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
    use hyper_rustls::MaybeHttpsStream;
    use routeapi_crds::value::AddressPolicy;
    use socket2::SockRef;

    use super::*;
    use crate::upstream::tunnel::Stream;

    #[tokio::test]
    async fn tcp_keepalive_probes_a_silent_upstream() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = Clients::new(AddressPolicy::Workstation);
        let mut connector = clients.connector(&Trust::default(), Duration::from_secs(9), Versions::All).unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = connector.call(uri).await.unwrap();
        let MaybeHttpsStream::Http(Stream::Tcp(tcp)) = stream else { panic!("{stream:?}") };
        let socket = SockRef::from(tcp.inner());
        let found = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
        assert_eq!(found, (true, keepalive::TIME));
        let found = (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap());
        assert_eq!(found, (keepalive::INTERVAL, keepalive::RETRIES));
    }

    #[test]
    fn invalid_certificates_are_explained() {
        let clients = Clients::new(AddressPolicy::Workstation);
        let trust = Trust { ca_certificates: Some("not pem".to_owned()), ..Trust::default() };
        let error = clients.new_pool(&trust, Duration::from_secs(1)).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "tls.caCertificates holds no usable certificate: no certificate found");
    }
}
