//! Connection pools, shared by every upstream with the same trust and patience, and kept across configurations.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use routeapi_crds::value::AddressRules;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    client::SendError,
    connect::Patient,
    kept::{History, Remembering, is_unseen},
    resolve::Resolver,
    sent::MarkedBody,
};

type Connector = Remembering<Patient<HttpsConnector<HttpConnector<Resolver>>>>;

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

/// Whom to trust as an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// PEM certificates to trust instead of the public roots.
    pub ca_certificates: Option<String>,
    /// Name to ask for and to verify instead of the URL's host.
    pub server_name: Option<String>,
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
}

/// All pools of this process.
#[derive(Debug)]
pub struct Clients {
    addresses: AddressRules,
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
        Self { addresses: addresses.into(), pools: Mutex::default() }
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
        let pool = Arc::new(make(&self.addresses, trust, connect)?);
        pools.insert((trust.clone(), connect), Arc::clone(&pool));
        Ok(pool)
    }

    /// Closes what no configuration refers to any more.
    pub fn prune(&self) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| Arc::strong_count(pool) > 1);
    }
}

fn make(addresses: &AddressRules, trust: &Trust, connect: Duration) -> Result<Pool, InvalidTrust> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver::new(addresses.clone()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls(trust)?).https_or_http();
    let https = match &trust.server_name {
        Some(name) => {
            let name = ServerName::try_from(name.clone()).map_err(|_| InvalidTrust::ServerName(name.clone()))?;
            https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name))
        }
        None => https,
    };
    let connector = Remembering(Patient::new(https.enable_all_versions().wrap_connector(tcp), connect));
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

fn tls(trust: &Trust) -> Result<ClientConfig, InvalidTrust> {
    let mut roots = RootCertStore::empty();
    match &trust.ca_certificates {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            let invalid = |error: &dyn std::fmt::Display| InvalidTrust::Certificates(error.to_string());
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| invalid(&error))?;
                roots.add(certificate).map_err(|error| invalid(&error))?;
            }
            if roots.is_empty() {
                return Err(invalid(&"no certificate found"));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidTrust::Certificates(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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
        let trust = Trust { ca_certificates: Some("not pem".to_owned()), server_name: None };
        let error = clients.pool(&trust, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "tls.caCertificates holds no usable certificate: no certificate found");
    }
}
