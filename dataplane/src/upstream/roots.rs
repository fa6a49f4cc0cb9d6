//! Certificate authorities from PEM.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Reads the certificates of a PEM bundle as authorities to trust.
///
/// # Errors
/// What is wrong, when one cannot be read or there is none.
pub fn read(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("no certificate found".to_owned()) } else { Ok(roots) }
}
