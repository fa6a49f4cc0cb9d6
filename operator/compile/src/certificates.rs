//! PEM certificates out of a bundle, and a client's certificate with its key.
//!
//! Only certificates are passed on: a bundle that also holds a private key does not spread it. They are parsed here as the
//! data plane parses them, so that a condition says what is wrong before a pod does.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};

/// Characters in a line of PEM (RFC 7468, 2).
const LINE: usize = 64;

/// The certificates of a bundle of authorities, one after the other, or what is wrong with it.
pub(crate) fn read(bundle: &[u8]) -> Result<String, String> {
    let certificates = parse(bundle)?;
    let mut roots = RootCertStore::empty();
    for (at, certificate) in (1..).zip(&certificates) {
        roots.add(certificate.clone()).map_err(|error| unusable(at, &error))?;
    }
    Ok(certificates.iter().map(write).collect())
}

/// A client's certificates, its own first, or what is wrong with them.
pub(crate) fn read_chain(bundle: &[u8]) -> Result<String, String> {
    let certificates = parse(bundle)?;
    for (at, certificate) in (1..).zip(&certificates) {
        ParsedCertificate::try_from(certificate).map_err(|error| unusable(at, &error))?;
    }
    Ok(certificates.iter().map(write).collect())
}

fn unusable(at: usize, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            format!("has a certificate (number {at}) that is not an X.509 certificate")
        }
        _ => format!("has a certificate (number {at}) that cannot be used: {error}"),
    }
}

/// Whether a private key in PEM can be used and belongs to the first of these certificates.
pub(crate) fn check_key(certificates: &str, key: &[u8]) -> Result<(), String> {
    let chain = parse(certificates.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => "holds no PEM private key".to_owned(),
        _ => "is not PEM".to_owned(),
    })?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("does not belong to the certificate in tls.crt".to_owned())
        }
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

fn parse(bundle: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
    let certificates = certificates.map_err(|error| match error {
        pem::Error::MissingSectionEnd { .. } => "has a certificate without an end".to_owned(),
        pem::Error::Base64Decode(_) => "has a certificate that is not base64".to_owned(),
        _ => "is not PEM".to_owned(),
    })?;
    if certificates.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(certificates) }
}

fn write(certificate: &CertificateDer<'_>) -> String {
    let mut rest = STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    while rest.len() > LINE {
        let tail = rest.split_off(LINE);
        text.push_str(&rest);
        text.push('\n');
        rest = tail;
    }
    text + &rest + "\n-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";

    #[test]
    fn keeps_certificates_and_nothing_else() {
        let [one, other] = [self_signed().0, self_signed().0];
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let bundle = format!("# a root\n{one}{key}{other}");
        assert_eq!(read(bundle.as_bytes()).unwrap(), format!("{one}{other}"));
        assert_eq!(read(bundle.replace('\n', "\r\n").as_bytes()).unwrap(), format!("{one}{other}"));
    }

    #[test]
    fn says_what_is_wrong() {
        let said = |bundle: &str| read(bundle.as_bytes()).unwrap_err();
        assert_eq!(said(""), "holds no PEM certificate");
        assert_eq!(said(&format!("{BEGIN}\nMAEH")), "has a certificate without an end");
        assert_eq!(said(&format!("{BEGIN}\n!!\n{END}\n")), "has a certificate that is not base64");
        let broken = said(&format!("{}{BEGIN}\nMAEH\n{END}\n", self_signed().0));
        assert_eq!(broken, "has a certificate (number 2) that is not an X.509 certificate");
        assert_eq!(read(b"\xff\xfe").unwrap_err(), "holds no PEM certificate");
    }

    #[test]
    fn a_key_belongs_to_its_certificate() {
        let ((certificate, key), (_, other)) = (self_signed(), self_signed());
        assert_eq!(check_key(&certificate, key.as_bytes()), Ok(()));
        let said = |key: &str| check_key(&certificate, key.as_bytes()).unwrap_err();
        assert_eq!(said(&other), "does not belong to the certificate in tls.crt");
        assert_eq!(said(&certificate), "holds no PEM private key");
        let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert!(said(broken).starts_with("cannot be used: "), "{}", said(broken));
    }

    /// A certificate and its key.
    fn self_signed() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["llm.internal".to_owned()]).unwrap();
        (made.cert.pem().replace("\r\n", "\n"), made.signing_key.serialize_pem())
    }
}
