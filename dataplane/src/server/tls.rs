//! TLS for clients, with a certificate that is replaced while connections go on.
//!
//! Certificate and key come from two PEM files, as a mounted Secret or cert-manager provides them. When either changes,
//! both are read again; a pair that does not parse, does not fit together or has ended is refused, said so, and the
//! previous pair stays in force. At the start only an unusable pair is an error: one that has ended is served with a
//! warning, since the plain listener beside it may matter more.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Metrics;
use crate::{clock, file_watch::FileWatch};

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then intermediates.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No certificates in the file, or not PEM.
    #[error("{0}: holds no PEM certificate that can be read")]
    NoCertificate(PathBuf),
    /// No key in the file, or not PEM.
    #[error("{0}: holds no PEM private key that can be read")]
    NoKey(PathBuf),
    /// The key is of another certificate, or of a type that is not supported.
    #[error("certificate and key do not go together: {0}")]
    Mismatch(rustls::Error),
    /// The certificate's validity is over.
    #[error("the certificate ended at {0} (seconds since 1970)")]
    Ended(i64),
}

/// TLS in force.
pub struct Tls {
    acceptor: TlsAcceptor,
    serving: Arc<Serving>,
    files: TlsFiles,
    metrics: Metrics,
}

#[derive(Debug)]
struct Serving(RwLock<Pair>);

#[derive(Debug)]
struct Pair {
    key: Arc<CertifiedKey>,
    not_after: i64,
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).key))
    }
}

impl Tls {
    /// Reads the files and offers HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the pair cannot be served.
    pub fn load(files: TlsFiles, metrics: Metrics) -> Result<Self, TlsError> {
        let pair = read(&files)?;
        if pair.not_after < clock::now().unix_seconds() {
            tracing::warn!(path = %files.certificate.display(), "the serving certificate has ended; clients will refuse it");
        }
        metrics.tls_not_after.set(pair.not_after);
        let serving = Arc::new(Serving(RwLock::new(pair)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Serving>::clone(&serving);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Mismatch)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, serving, files, metrics })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When the client does not speak TLS or does not accept what is offered.
    pub(super) async fn accept<I: AsyncRead + AsyncWrite + Unpin>(&self, socket: I) -> io::Result<TlsStream<I>> {
        self.acceptor.accept(socket).await
    }

    /// Follows the files for as long as it is polled.
    pub async fn follow(&self) {
        let mut watch = FileWatch::new([&self.files.certificate, &self.files.key]);
        // Looks once before it waits: something may have changed between the first reading and the watch.
        loop {
            self.reload();
            watch.changed().await;
        }
    }

    fn reload(&self) {
        let pair = read(&self.files).and_then(|pair| {
            if pair.not_after < clock::now().unix_seconds() { Err(TlsError::Ended(pair.not_after)) } else { Ok(pair) }
        });
        match pair {
            Ok(pair) => self.replace(pair),
            Err(error) => {
                self.metrics.tls_reload_failures.inc();
                tracing::error!(%error, "the new serving certificate is refused, the previous one stays in force");
            }
        }
    }

    fn replace(&self, pair: Pair) {
        let mut serving = self.serving.0.write().unwrap_or_else(PoisonError::into_inner);
        if serving.key.cert == pair.key.cert {
            return;
        }
        self.metrics.tls_reloads.inc();
        self.metrics.tls_not_after.set(pair.not_after);
        tracing::info!(not_after = pair.not_after, "a new serving certificate is in force");
        *serving = pair;
    }
}

fn read(files: &TlsFiles) -> Result<Pair, TlsError> {
    let open = |path: &PathBuf| fs::read(path).map_err(|error| TlsError::Unreadable { path: path.clone(), error });
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&open(&files.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate(files.certificate.clone()))?;
    let not_after = chain.first().and_then(|leaf| not_after(leaf));
    let not_after = not_after.ok_or_else(|| TlsError::NoCertificate(files.certificate.clone()))?;
    let key = PrivateKeyDer::from_pem_slice(&open(&files.key)?).map_err(|_| TlsError::NoKey(files.key.clone()))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Mismatch)?;
    Ok(Pair { key: Arc::new(key), not_after })
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
