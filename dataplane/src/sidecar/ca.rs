//! Whom a sidecar trusts as its gateway.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::upstream::{TlsSource, roots};

/// Largest CA bundle: several times that of all public authorities.
const MAX_CA_BYTES: u64 = 1 << 20;

/// The certificate authorities that the gateway's certificate may be of.
#[derive(Clone, Debug)]
pub enum GatewayCa {
    /// Those in a PEM file, which is read for each connection: it may be replaced.
    File(PathBuf),
    /// These.
    Roots(Arc<RootCertStore>),
}

impl GatewayCa {
    /// Those in this PEM text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        Ok(Self::Roots(Arc::new(roots::read(pem.as_bytes())?)))
    }

    /// What connections are made with.
    pub(super) fn tls_source(self) -> TlsSource {
        Arc::new(move || config(self.roots()?))
    }

    /// The authorities, or what is wrong with their file.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        match self {
            Self::Roots(roots) => Ok(Arc::clone(roots)),
            Self::File(path) => {
                let read = read(path).and_then(|pem| roots::read(&pem));
                read.map(Arc::new).map_err(|error| format!("the CA file {}: {error}", path.display()))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_CA_BYTES + 1).read_to_end(&mut pem).map_err(|error| error.to_string())?;
    if pem.len() as u64 > MAX_CA_BYTES { Err(format!("larger than {MAX_CA_BYTES} bytes")) } else { Ok(pem) }
}

fn config(roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
