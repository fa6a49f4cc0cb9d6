//! What the certificate Secret should hold next. Pure: time comes in, keys go out.
//!
//! A CA of ten years signs a serving certificate of ninety days; both are renewed when two thirds of their time have
//! passed, or when somebody asks. A new CA is trusted before it is used and the old one for as long after:
//!
//! ```text
//! next made → published in the bundle → (propagation) → next signs, old stays trusted → (propagation) → old dropped
//! ```
//!
//! The clock of the first wait starts only when the bundle with the next CA is known to be published, so that an operator
//! that dies in between cannot switch too early.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use routeapi_channel::Secret;
use x509_parser::pem::parse_x509_pem;

const DAY: Duration = Duration::from_secs(24 * 3600);
const CA_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// Clocks of nodes differ, by hours where one is set wrong: a certificate that is not valid yet at a data plane would keep
/// it away.
const SKEW: Duration = Duration::from_secs(24 * 3600);

/// A CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Secret,
}

/// What the Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// The CA that signs.
    pub ca: Authority,
    /// The CA that will sign, and since when it has been published.
    pub next: Option<(Authority, Option<Timestamp>)>,
    /// The certificate of the CA that signed before, and when it was replaced. Its key is gone.
    pub previous: Option<(String, Timestamp)>,
    /// The serving certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: Secret,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Names that the certificate is for.
    pub names: Vec<String>,
    /// How long a change of the bundle takes to reach every pod.
    pub propagation: Duration,
}

/// What is known when deciding.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// Whether the bundle as it is now is known to be published.
    pub published: bool,
    /// Whether somebody asked for a new CA.
    pub asked: bool,
}

/// A key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Making one.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Reading one.
    #[error("cannot read a certificate of the Secret: {0}")]
    Read(String),
}

impl Material {
    /// Everything new.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn first(policy: &Policy, now: Timestamp) -> Result<Self, Failed> {
        let ca = Authority::new(now)?;
        let (certificate, key) = ca.sign(&policy.names, now)?;
        Ok(Self { ca, next: None, previous: None, certificate, key })
    }

    /// The CAs that everybody should trust now.
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|(next, _)| next.certificate.as_str());
        let previous = self.previous.as_ref().map(|(previous, _)| previous.as_str());
        [Some(self.ca.certificate.as_str()), next, previous]
            .into_iter()
            .flatten()
            .map(|it| format!("{}\n", it.trim()))
            .collect()
    }

    /// The next step, if one is due. Steps are small, so that each can be written and survived.
    ///
    /// # Errors
    /// When what is there cannot be read, or nothing new be made.
    pub fn step(&self, policy: &Policy, moment: Moment) -> Result<Option<Self>, Failed> {
        let Moment { now, published, asked } = moment;
        let waited = |since: Timestamp| elapsed(since, now) >= policy.propagation;
        let mut step = self.clone();
        match &self.next {
            None if asked || worn(&self.ca.certificate, now)? => {
                step.next = Some((Authority::new(now)?, None));
                return Ok(Some(step));
            }
            Some((next, None)) if published => {
                step.next = Some((next.clone(), Some(now)));
                return Ok(Some(step));
            }
            Some((next, Some(since))) if waited(*since) => {
                (step.certificate, step.key) = next.sign(&policy.names, now)?;
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
        if worn(&self.certificate, now)? || names(&self.certificate)? != sorted(&policy.names) {
            (step.certificate, step.key) = self.ca.sign(&policy.names, now)?;
            return Ok(Some(step));
        }
        Ok(None)
    }
}

impl Authority {
    fn new(now: Timestamp) -> Result<Self, Failed> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let (serial, id) = serial();
        params.serial_number = Some(serial);
        params.distinguished_name = rcgen::DistinguishedName::new();
        // A name of its own: with two CAs of one name in a bundle, verifiers may pick the wrong one.
        params.distinguished_name.push(DnType::CommonName, format!("routeapi-config-ca {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now, CA_VALIDITY);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: Secret::new(key.serialize_pem()) })
    }

    fn sign(&self, names: &[String], now: Timestamp) -> Result<(String, Secret), Failed> {
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
    // Uniqueness is all that counts, and the time gives it where the system has no randomness to give.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = Timestamp::now().as_microsecond().to_be_bytes();
    }
    bytes[0] &= 0x7f;
    (SerialNumber::from_slice(&bytes), hex::encode(bytes))
}

fn valid(params: &mut CertificateParams, now: Timestamp, validity: Duration) {
    let at = |timestamp: Timestamp| std::time::SystemTime::from(timestamp).into();
    params.not_before = at(now.checked_sub(SKEW).unwrap_or(now));
    params.not_after = at(now.checked_add(validity).unwrap_or(now));
}

/// Whether two thirds of a certificate's time have passed.
fn worn(pem: &str, now: Timestamp) -> Result<bool, Failed> {
    let (from, until) = validity(pem)?;
    Ok((now.as_second() - from) * 3 >= (until - from) * 2)
}

/// Seconds since 1970: from, until.
///
/// # Errors
/// When it is no certificate.
pub fn validity(pem: &str) -> Result<(i64, i64), Failed> {
    read(pem, |certificate| {
        let validity = certificate.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    })
}

fn names(pem: &str) -> Result<Vec<String>, Failed> {
    let names = read(pem, |certificate| {
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.into_iter().flat_map(|it| it.value.general_names.iter());
        names
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect::<Vec<_>>()
    })?;
    Ok(sorted(&names))
}

fn read<T>(pem: &str, look: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> T) -> Result<T, Failed> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| Failed::Read(error.to_string()))?;
    let certificate = pem.parse_x509().map_err(|error| Failed::Read(error.to_string()))?;
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

/// How long until the keeper should look again when nothing happens.
pub const LOOK_AGAIN: Duration = Duration::from_secs(DAY.as_secs() / 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy { names: vec!["op.ai.svc".into(), "localhost".into()], propagation: Duration::from_secs(150) }
    }

    fn at(seconds: u64) -> Moment {
        let now = Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_secs(seconds);
        Moment { now, published: true, asked: false }
    }

    #[test]
    fn nothing_is_due_until_two_thirds_of_the_certificate_have_passed() {
        let first = Material::first(&policy(), at(0).now).unwrap();
        assert_eq!(first.step(&policy(), at(0)).unwrap(), None);
        assert_eq!(first.step(&policy(), at(59 * 86400)).unwrap(), None);
        let renewed = first.step(&policy(), at(61 * 86400)).unwrap().unwrap();
        assert_eq!(renewed.ca, first.ca);
        assert_ne!(renewed.certificate, first.certificate);
        assert_eq!(renewed.step(&policy(), at(61 * 86400)).unwrap(), None);
    }

    #[test]
    fn other_names_need_another_certificate() {
        let first = Material::first(&policy(), at(0).now).unwrap();
        let other = Policy { names: vec!["elsewhere.ai.svc".into()], ..policy() };
        let step = first.step(&other, at(1)).unwrap().unwrap();
        assert_eq!(names(&step.certificate).unwrap(), ["elsewhere.ai.svc"]);
        assert_eq!(step.step(&other, at(1)).unwrap(), None);
    }

    #[test]
    fn a_new_ca_is_trusted_before_it_signs_and_the_old_one_after() {
        let first = Material::first(&policy(), at(0).now).unwrap();
        let asked = Moment { asked: true, ..at(10) };
        let announced = first.step(&policy(), asked).unwrap().unwrap();
        assert_eq!(announced.certificate, first.certificate);
        assert_eq!(announced.bundle().matches("BEGIN CERTIFICATE").count(), 2);

        let unpublished = Moment { published: false, ..at(10_000) };
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
    fn a_ca_past_two_thirds_is_replaced_without_being_asked() {
        let first = Material::first(&policy(), at(0).now).unwrap();
        let old = at(2434 * 86400);
        assert!(first.step(&policy(), old).unwrap().unwrap().next.is_some());
    }

    #[test]
    fn a_secret_that_holds_no_certificate_is_an_error_not_a_panic() {
        let mut first = Material::first(&policy(), at(0).now).unwrap();
        first.ca.certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
        assert!(matches!(first.step(&policy(), at(0)), Err(Failed::Read(_))));
    }
}
