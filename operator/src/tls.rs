//! The certificate that data planes see, and whom the operator's replicas trust.
//!
//! [`material`] decides (pure) what the Secret should hold, [`keeper`] reads and writes it. What is served is looked up
//! at every handshake, so a renewed certificate is in use from the next connection on and no listener is touched.

pub mod keeper;
pub mod material;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;

/// What is served and trusted now. Starts empty: handshakes fail until there is a certificate.
#[derive(Debug, Default)]
pub struct Certificates {
    served: ArcSwapOption<Served>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct Served {
    certificate: Arc<CertifiedKey>,
    trusted: Vec<CertificateDer<'static>>,
}

/// The PEM text cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not PEM.
    #[error("{0} holds no PEM: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// Not a key that fits the certificate.
    #[error("certificate and key: {0}")]
    Key(rustls::Error),
}

// === impl Certificates ===

impl Certificates {
    /// Serves another certificate from now on.
    ///
    /// # Errors
    /// When the texts are unusable; what was served before stays.
    pub fn set(&self, chain: &str, key: &str, trusted: &str) -> Result<(), Unusable> {
        let certificates = |name, pem: &str| -> Result<Vec<_>, Unusable> {
            CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|it| Unusable::Pem(name, it))
        };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|it| Unusable::Pem("tls.key", it))?;
        let certificate = CertifiedKey::from_der(certificates("tls.crt", chain)?, key, &ring::default_provider());
        let certificate = Arc::new(certificate.map_err(Unusable::Key)?);
        self.served.store(Some(Arc::new(Served { certificate, trusted: certificates("ca.crt", trusted)? })));
        self.ready.send_replace(true);
        Ok(())
    }

    /// Whether there is one.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The CAs that replicas trust.
    pub fn trusted(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.served.load().as_ref().map(|served| served.trusted.clone())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served.load().as_ref().map(|served| Arc::clone(&served.certificate))
    }
}

/// A server for HTTP/2 that looks up its certificate at each handshake.
///
/// # Errors
/// None with the provider that is linked.
pub fn server(certificates: &Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
