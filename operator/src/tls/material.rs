//! Decides what the Secret with the certificates should contain next. Pure: time comes in, keys go out.
//!
//! A CA that is valid for ten years signs a serving certificate that is valid for ninety days; both are renewed after two thirds
//! of that time, or on request. A new CA is trusted before it is used, and the old one for as long after:
//!
//! ```text
//! next CA created → published in the bundle → (propagation) → next CA signs, old one stays trusted → (propagation) → old one removed
//! ```
//!
//! The first wait starts only when the bundle with the next CA is known to be published, so that an operator that crashes in
//! between cannot switch too early.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use routeapi_channel::Secret;
use x509_parser::pem::parse_x509_pem;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than installations live: replacing a CA needs every pod to get the new bundle.
const CA_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// As public CAs do; a renewal interrupts no connection.
const LEAF_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// Clocks of nodes differ, by hours if one is set wrong: with a certificate that is not valid yet, a data plane could not connect.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// A CA certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM.
    pub key: Secret,
}

/// The content of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// The CA that signs.
    pub ca: Authority,
    /// The CA that will sign next, and when it was published; none if it is not published yet.
    pub next: Option<(Authority, Option<Timestamp>)>,
    /// The certificate of the CA that signed before, and when it was replaced. Its key was deleted.
    pub previous: Option<(String, Timestamp)>,
    /// The serving certificate in PEM.
    pub certificate: String,
    /// Its private key in PEM.
    pub key: Secret,
}

/// Requirements on certificates and on the rotation of CAs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// DNS names of the serving certificate.
    pub names: Vec<String>,
    /// How long a change of the bundle takes to reach every pod.
    pub propagation: Duration,
}

/// What is known when a step is decided.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// The current time.
    pub now: Timestamp,
    /// Whether the current bundle is known to be published.
    pub published: bool,
    /// Whether a new CA was requested.
    pub rotation_requested: bool,
}

/// Why a step could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// A key or certificate could not be created.
    #[error("cannot create a certificate: {0}")]
    Create(#[from] rcgen::Error),
    /// A certificate in the Secret could not be parsed.
    #[error("cannot parse a certificate in the Secret: {0}")]
    Read(String),
}

impl Material {
    /// A new CA and a new serving certificate.
    ///
    /// # Errors
    /// When the operating system provides no randomness.
    pub fn new(policy: &Policy, now: Timestamp) -> Result<Self, MaterialError> {
        let ca = Authority::new(now)?;
        let (certificate, key) = ca.issue(&policy.names, now)?;
        Ok(Self { ca, next: None, previous: None, certificate, key })
    }

    /// The CA certificates to trust now, in PEM.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|(next, _)| next.certificate.as_str());
        let previous = self.previous.as_ref().map(|(previous, _)| previous.as_str());
        [Some(self.ca.certificate.as_str()), next, previous]
            .into_iter()
            .flatten()
            .map(|certificate| format!("{}\n", certificate.trim()))
            .collect()
    }

    /// The next step, if one is due. Steps are small, so that each can be written, and an operator may crash between any two.
    ///
    /// # Errors
    /// When a certificate cannot be parsed, or a new one cannot be created.
    pub fn step(&self, policy: &Policy, observed: Observed) -> Result<Option<Self>, MaterialError> {
        let Observed { now, published, rotation_requested } = observed;
        let waited = |since: Timestamp| elapsed(since, now) >= policy.propagation;
        let mut step = self.clone();
        match &self.next {
            None if rotation_requested || due_for_renewal(&self.ca.certificate, now)? => {
                step.next = Some((Authority::new(now)?, None));
                return Ok(Some(step));
            }
            Some((next, None)) if published => {
                step.next = Some((next.clone(), Some(now)));
                return Ok(Some(step));
            }
            Some((next, Some(since))) if waited(*since) => {
                (step.certificate, step.key) = next.issue(&policy.names, now)?;
                step.previous = Some((self.ca.certificate.clone(), now));
                step.ca = next.clone();
                step.next = None;
                return Ok(Some(step));
            }
            Some(_) | None => {}
        }
        if self.previous.as_ref().is_some_and(|(_, since)| waited(*since)) {
            step.previous = None;
            return Ok(Some(step));
        }
        if due_for_renewal(&self.certificate, now)? || names(&self.certificate)? != sorted(&policy.names) {
            (step.certificate, step.key) = self.ca.issue(&policy.names, now)?;
            return Ok(Some(step));
        }
        Ok(None)
    }
}

impl Authority {
    fn new(now: Timestamp) -> Result<Self, MaterialError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let (serial, id) = serial();
        params.serial_number = Some(serial);
        params.distinguished_name = rcgen::DistinguishedName::new();
        // A unique name: with two CAs of the same name in a bundle, verifiers may pick the wrong one.
        params.distinguished_name.push(DnType::CommonName, format!("routeapi-config-ca {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now, CA_VALIDITY);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: Secret::new(key.serialize_pem()) })
    }

    /// A serving certificate for these DNS names, and its key, in PEM.
    ///
    /// # Errors
    /// When the operating system provides no randomness, or the CA's own certificate or key cannot be parsed.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<(String, Secret), MaterialError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(self.key.expose())?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.serial_number = Some(serial().0);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "routeapi-operator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF_VALIDITY);
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok((certificate, Secret::new(key.serialize_pem())))
    }
}

fn serial() -> (SerialNumber, String) {
    let mut bytes = [0; 8];
    // It only has to be unique, for which the time is enough if the system provides no randomness.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = Timestamp::now().as_microsecond().to_be_bytes();
    }
    bytes[0] &= 0x7f;
    (SerialNumber::from_slice(&bytes), hex::encode(bytes))
}

fn valid(params: &mut CertificateParams, now: Timestamp, validity: Duration) {
    let at = |timestamp: Timestamp| std::time::SystemTime::from(timestamp).into();
    params.not_before = at(now.checked_sub(MAX_CLOCK_SKEW).unwrap_or(now));
    params.not_after = at(now.checked_add(validity).unwrap_or(now));
}

/// Whether two thirds of a certificate's validity have passed.
fn due_for_renewal(pem: &str, now: Timestamp) -> Result<bool, MaterialError> {
    let (from, until) = validity(pem)?;
    Ok((now.as_second() - from) * 3 >= (until - from) * 2)
}

/// Whether a serving certificate needs no renewal: it is signed by this CA, has these names, and time left.
///
/// # Errors
/// When it is not a certificate.
pub fn is_current(pem: &str, ca: &Authority, names: &[String], now: Timestamp) -> Result<bool, MaterialError> {
    let issuer = read(pem, |certificate| certificate.issuer().to_string())?;
    let signs = read(&ca.certificate, |certificate| certificate.subject().to_string())?; // CAs have unique names
    Ok(issuer == signs && self::names(pem)? == sorted(names) && !due_for_renewal(pem, now)?)
}

/// Start and end of a certificate's validity in seconds since 1970.
///
/// # Errors
/// When it is not a certificate.
pub fn validity(pem: &str) -> Result<(i64, i64), MaterialError> {
    read(pem, |certificate| {
        let validity = certificate.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    })
}

fn names(pem: &str) -> Result<Vec<String>, MaterialError> {
    let names = read(pem, |certificate| {
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.into_iter().flat_map(|names| names.value.general_names.iter());
        names
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect::<Vec<_>>()
    })?;
    Ok(sorted(&names))
}

fn read<T>(
    pem: &str,
    look: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> T,
) -> Result<T, MaterialError> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| MaterialError::Read(error.to_string()))?;
    let certificate = pem.parse_x509().map_err(|error| MaterialError::Read(error.to_string()))?;
    Ok(look(&certificate))
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// How often the certificates are checked for renewal: a small part of their validity.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(DAY.as_secs() / 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { names: vec!["op.ai.svc".into(), "localhost".into()], propagation: Duration::from_secs(150) }
    }

    fn at(seconds: u64) -> Observed {
        let now = Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_secs(seconds);
        Observed { now, published: true, rotation_requested: false }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_validity() {
        let first = Material::new(&policy(), at(0).now).unwrap();
        assert_eq!(first.step(&policy(), at(0)).unwrap(), None);
        assert_eq!(first.step(&policy(), at(59 * 86400)).unwrap(), None);
        let renewed = first.step(&policy(), at(61 * 86400)).unwrap().unwrap();
        assert_eq!(renewed.ca, first.ca);
        assert_ne!(renewed.certificate, first.certificate);
        assert_eq!(renewed.step(&policy(), at(61 * 86400)).unwrap(), None);
    }

    #[test]
    fn changed_names_renew_the_certificate() {
        let first = Material::new(&policy(), at(0).now).unwrap();
        let other = Policy { names: vec!["elsewhere.ai.svc".into()], ..policy() };
        let step = first.step(&other, at(1)).unwrap().unwrap();
        assert_eq!(names(&step.certificate).unwrap(), ["elsewhere.ai.svc"]);
        assert_eq!(step.step(&other, at(1)).unwrap(), None);
    }

    #[test]
    fn a_new_ca_is_trusted_before_it_signs_and_the_old_one_after() {
        let first = Material::new(&policy(), at(0).now).unwrap();
        let rotation_requested = Observed { rotation_requested: true, ..at(10) };
        let announced = first.step(&policy(), rotation_requested).unwrap().unwrap();
        assert_eq!(announced.certificate, first.certificate);
        assert_eq!(announced.bundle().matches("BEGIN CERTIFICATE").count(), 2);

        let unpublished = Observed { published: false, ..at(10_000) };
        assert_eq!(announced.step(&policy(), unpublished).unwrap(), None, "the bundle has not gone out");
        let published = announced.step(&policy(), at(20)).unwrap().unwrap();
        assert_eq!(published.step(&policy(), at(20 + 149)).unwrap(), None, "not every pod has it");
        let switched = published.step(&policy(), at(20 + 150)).unwrap().unwrap();
        assert_ne!(switched.certificate, first.certificate);
        assert_ne!(switched.ca, first.ca);
        assert!(switched.bundle().contains(first.ca.certificate.trim()), "the other replica still serves the old one");
        assert_eq!(switched.step(&policy(), at(20 + 299)).unwrap(), None);
        let done = switched.step(&policy(), at(20 + 300)).unwrap().unwrap();
        assert_eq!(done.bundle().matches("BEGIN CERTIFICATE").count(), 1);
        assert_eq!(done.step(&policy(), at(20 + 300)).unwrap(), None);
    }

    #[test]
    fn a_ca_is_replaced_after_two_thirds_of_its_validity() {
        let first = Material::new(&policy(), at(0).now).unwrap();
        let old = at(2434 * 86400);
        assert!(first.step(&policy(), old).unwrap().unwrap().next.is_some());
    }

    #[test]
    fn a_certificate_is_current_by_ca_names_and_time() {
        let (first, other) =
            (Material::new(&policy(), at(0).now).unwrap(), Material::new(&policy(), at(0).now).unwrap());
        let names = ["gateway.ai.svc".to_owned(), "gateway".to_owned()];
        let (issued, _) = first.ca.issue(&names, at(0).now).unwrap();
        let current =
            |ca: &Authority, names: &[String], seconds| is_current(&issued, ca, names, at(seconds).now).unwrap();
        assert!(current(&first.ca, &names, 59 * 86400));
        assert!(!current(&first.ca, &names, 61 * 86400));
        assert!(!current(&first.ca, &names[..1], 0));
        assert!(!current(&other.ca, &names, 0));
        assert!(is_current("", &first.ca, &names, at(0).now).is_err());
    }

    #[test]
    fn a_malformed_certificate_is_an_error() {
        let mut first = Material::new(&policy(), at(0).now).unwrap();
        first.ca.certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
        assert!(matches!(first.step(&policy(), at(0)), Err(MaterialError::Read(_))));
    }
}
