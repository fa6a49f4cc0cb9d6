//! PEM certificates of a bundle, and a client's certificate with its key.
//!
//! Only certificates are sent to data planes, even if a bundle also contains a private key. They are parsed here as the data
//! plane parses them, so that a condition reports an error before a pod does.

use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};

/// The CA certificates of a bundle in PEM, or what is wrong with it.
pub(crate) fn ca_bundle(bundle: &[u8]) -> Result<String, String> {
    let certificates = parse(bundle)?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&certificates) {
        roots.add(certificate.clone()).map_err(|error| unusable(number, &error))?;
    }
    Ok(certificates.iter().map(encode).collect())
}

/// A client's certificate chain in PEM, its own first, or what is wrong with it.
pub(crate) fn chain(bundle: &[u8]) -> Result<String, String> {
    let certificates = parse(bundle)?;
    for (number, certificate) in (1..).zip(&certificates) {
        ParsedCertificate::try_from(certificate).map_err(|error| unusable(number, &error))?;
    }
    Ok(certificates.iter().map(encode).collect())
}

fn unusable(number: usize, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            format!("contains an invalid X.509 certificate (number {number})")
        }
        _ => format!("contains an unusable certificate (number {number}): {error}"),
    }
}

/// Whether a private key in PEM can be used and belongs to the first of these certificates.
pub(crate) fn check_key(certificates: &str, key: &[u8]) -> Result<(), String> {
    let chain = parse(certificates.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        PemError::NoItemsFound => "contains no PEM private key".to_owned(),
        _ => "is not PEM".to_owned(),
    })?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("does not match the certificate in tls.crt".to_owned())
        }
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

fn parse(bundle: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle).collect();
    let certificates = certificates.map_err(|error| match error {
        PemError::MissingSectionEnd { .. } => "contains a truncated certificate (no END line)".to_owned(),
        PemError::Base64Decode(_) => "contains a certificate that is not valid base64".to_owned(),
        _ => "is not PEM".to_owned(),
    })?;
    if certificates.is_empty() { Err("contains no PEM certificate".to_owned()) } else { Ok(certificates) }
}

fn encode(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.to_vec()), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";

    #[test]
    fn a_bundle_keeps_its_certificates_and_drops_everything_else() {
        let [one, other] = [self_signed().0, self_signed().0];
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let bundle = format!("# a root\n{one}{key}{other}");
        assert_eq!(ca_bundle(bundle.as_bytes()).unwrap(), format!("{one}{other}"));
        assert_eq!(ca_bundle(bundle.replace('\n', "\r\n").as_bytes()).unwrap(), format!("{one}{other}"));
    }

    #[test]
    fn an_unusable_bundle_is_an_error() {
        let error = |bundle: &str| ca_bundle(bundle.as_bytes()).unwrap_err();
        assert_eq!(error(""), "contains no PEM certificate");
        assert_eq!(error(&format!("{BEGIN}\nMAEH")), "contains a truncated certificate (no END line)");
        assert_eq!(error(&format!("{BEGIN}\n!!\n{END}\n")), "contains a certificate that is not valid base64");
        let broken = error(&format!("{}{BEGIN}\nMAEH\n{END}\n", self_signed().0));
        assert_eq!(broken, "contains an invalid X.509 certificate (number 2)");
        assert_eq!(ca_bundle(b"\xff\xfe").unwrap_err(), "contains no PEM certificate");
    }

    #[test]
    fn a_key_must_match_its_certificate() {
        let ((certificate, key), (_, other)) = (self_signed(), self_signed());
        assert_eq!(check_key(&certificate, key.as_bytes()), Ok(()));
        let error = |key: &str| check_key(&certificate, key.as_bytes()).unwrap_err();
        assert_eq!(error(&other), "does not match the certificate in tls.crt");
        assert_eq!(error(&certificate), "contains no PEM private key");
        let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert!(error(broken).starts_with("cannot be used: "), "{}", error(broken));
    }

    /// A certificate and its key.
    fn self_signed() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["llm.internal".to_owned()]).unwrap();
        (made.cert.pem().replace("\r\n", "\n"), made.signing_key.serialize_pem())
    }
}
