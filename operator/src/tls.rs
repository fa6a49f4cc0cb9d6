//! The serving certificate, and the CAs that the operator's replicas trust.
//!
//! [`material`] decides (pure) what the Secret should contain, [`controller`] reads and writes it, and has [`gateway`] issue one
//! for the gateway. The certificate is looked up at
//! every handshake, so a renewed one is used from the next connection on.

pub mod controller;
pub mod gateway;
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

/// The current serving certificate and CAs. Empty at first: handshakes fail until there is a certificate.
#[derive(Debug, Default)]
pub struct Certificates {
    served: ArcSwapOption<Served>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct Served {
    certificate: Arc<CertifiedKey>,
    trusted: Vec<CertificateDer<'static>>,
    bundle: String,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A value is not PEM; its key in the Secret.
    #[error("{0} is not valid PEM: {1}")]
    Pem(&'static str, rustls::pki_types::pem::Error),
    /// The key cannot be used, or does not match the certificate.
    #[error("tls.crt and tls.key cannot be used: {0}")]
    Key(rustls::Error),
}

// === impl Certificates ===

impl Certificates {
    /// Replaces the serving certificate and the CAs; all are PEM.
    ///
    /// # Errors
    /// When they cannot be used; the previous ones stay.
    pub fn set(&self, chain: &str, key: &str, trusted: &str) -> Result<(), CertificateError> {
        let certificates = |name, pem: &str| -> Result<Vec<_>, CertificateError> {
            CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|error| CertificateError::Pem(name, error))
        };
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| CertificateError::Pem("tls.key", error))?;
        let certificate = CertifiedKey::from_der(certificates("tls.crt", chain)?, key, &ring::default_provider());
        let certificate = Arc::new(certificate.map_err(CertificateError::Key)?);
        let served = Served { certificate, trusted: certificates("ca.crt", trusted)?, bundle: trusted.to_owned() };
        self.served.store(Some(Arc::new(served)));
        self.ready.send_replace(true);
        Ok(())
    }

    /// Whether there is a serving certificate. It is sent again when that changes.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// The CAs to trust; none if there is no certificate yet.
    pub fn trusted(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.served.load().as_ref().map(|served| served.trusted.clone())
    }

    /// The same in PEM.
    pub fn bundle(&self) -> Option<String> {
        self.served.load().as_ref().map(|served| served.bundle.clone())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served.load().as_ref().map(|served| Arc::clone(&served.certificate))
    }
}

/// A configuration for one protocol (ALPN), such as `h2`, that looks up the certificate at each handshake.
///
/// # Errors
/// When the crypto provider supports no protocol version, which does not happen.
pub fn server(certificates: &Arc<Certificates>, protocol: &[u8]) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}
