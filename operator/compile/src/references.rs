//! Following a provider's references to Secrets and ConfigMaps, which stay in its own namespace.

use routeapi_channel::{ObjectId, Secret, snapshot::ClientCertificate};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{CaCertificateKind, CaCertificateRef, SecretKeyRef, SecretRef},
};

use crate::{
    certificates,
    objects::{MAX_CERTIFICATES, MAX_VALUE, Objects},
    verdict::Problem,
};

/// One key of an object in a provider's namespace, and the field that names it.
pub(crate) struct Source<'a> {
    field: String,
    kind: CaCertificateKind,
    name: &'a str,
    key: &'a str,
}

impl<'a> Source<'a> {
    pub fn secret(field: String, name: &'a str, key: &'a str) -> Self {
        Self { field, kind: CaCertificateKind::Secret, name, key }
    }

    pub fn config_map(field: String, name: &'a str, key: &'a str) -> Self {
        Self { field, kind: CaCertificateKind::ConfigMap, name, key }
    }

    /// Something is wrong with the value.
    fn invalid(&self, id: &ObjectId, what: &str) -> Problem {
        let Self { field, kind, key, .. } = self;
        let reason = match kind {
            CaCertificateKind::Secret => Reason::SecretKeyInvalid,
            CaCertificateKind::ConfigMap => Reason::ConfigMapKeyInvalid,
        };
        Problem::new(reason, format!("{field}.key: key {key:?} of {kind:?} {id} {what}"))
    }
}

/// The API key that a provider of this namespace names, fit for a header.
pub(crate) fn api_key(objects: &Objects, namespace: &str, reference: &SecretKeyRef) -> Result<Secret, Problem> {
    let SecretKeyRef { name, key } = reference;
    let source = Source::secret("spec.credentials.apiKey.secretRef".to_owned(), name, key);
    let check = |text: &str| {
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err("is empty");
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(()) } else { Err("holds spaces or characters that no API key has") }
    };
    text(objects, namespace, &source, check).map(Secret::new)
}

/// A text without the newline that its file ends with, if it passes the check.
pub(crate) fn text<'a>(
    objects: &'a Objects,
    namespace: &str,
    source: &Source<'_>,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<&'a str, Problem> {
    let (id, bytes) = find(objects, namespace, source)?;
    // Files made by editors and `kubectl create secret --from-file` end with a newline that is not meant.
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default());
    let text = text.map_err(|_| source.invalid(&id, "is not text"))?;
    check(text).map(|()| text).map_err(|what| source.invalid(&id, what))
}

/// The bytes of a value, and where they are kept.
fn find<'a>(objects: &'a Objects, namespace: &str, source: &Source<'_>) -> Result<(ObjectId, &'a [u8]), Problem> {
    let Source { field, kind, name, key } = source;
    let id = ObjectId::new(namespace, *name);
    let (data, absent, keyless) = match kind {
        CaCertificateKind::Secret => (objects.secrets.get(&id), Reason::SecretNotFound, Reason::SecretKeyMissing),
        CaCertificateKind::ConfigMap => {
            (objects.config_maps.get(&id), Reason::ConfigMapNotFound, Reason::ConfigMapKeyMissing)
        }
    };
    let Some(data) = data else {
        let message = format!("{field}.name: {kind:?} {id} does not exist: create it with the key {key:?}");
        return Err(Problem::new(absent, message));
    };
    if data.is_too_long(key) {
        return Err(source.invalid(&id, &format!("is longer than {MAX_VALUE} bytes, as no value here is")));
    }
    let Some(bytes) = data.get(key) else {
        let message = format!("{field}.key: {kind:?} {id} has no key {key:?}: add it, or name one that it has");
        return Err(Problem::new(keyless, message));
    };
    Ok((id, bytes))
}

/// The certificates that a provider of this namespace names.
pub(crate) fn certificates(
    objects: &Objects,
    namespace: &str,
    reference: &CaCertificateRef,
) -> Result<String, Problem> {
    const FIELD: &str = "spec.tls.caCertificateRef";
    let CaCertificateRef { kind, name, key } = reference;
    let id = ObjectId::new(namespace, name);
    let data = match kind {
        CaCertificateKind::ConfigMap => objects.config_maps.get(&id),
        CaCertificateKind::Secret => objects.secrets.get(&id),
    };
    let Some(data) = data else {
        let message = format!("{FIELD}.name: {kind:?} {id} does not exist: create it with the key {key:?}");
        return Err(Problem::new(Reason::CertificateNotFound, message));
    };
    if data.is_too_long(key) {
        let message = format!(
            "{FIELD}.key: key {key:?} of {kind:?} {id} is longer than {MAX_CERTIFICATES} bytes, or than {MAX_VALUE} and \
             holds no PEM certificate"
        );
        return Err(Problem::new(Reason::CertificateInvalid, message));
    }
    let Some(bundle) = data.get(key) else {
        let message = format!("{FIELD}.key: {kind:?} {id} has no key {key:?}: add it, or name one that it has");
        return Err(Problem::new(Reason::CertificateNotFound, message));
    };
    certificates::read(bundle).map_err(|what| {
        let message = format!("{FIELD}.key: key {key:?} of {kind:?} {id} {what}");
        Problem::new(Reason::CertificateInvalid, message)
    })
}

/// The certificate that a provider of this namespace shows to its upstream, with its key.
pub(crate) fn client_certificate(
    objects: &Objects,
    namespace: &str,
    reference: &SecretRef,
) -> Result<ClientCertificate, Problem> {
    const FIELD: &str = "spec.tls.clientCertificateRef";
    let part = |key| find(objects, namespace, &Source::secret(FIELD.to_owned(), &reference.name, key));
    let (id, chain) = part("tls.crt")?;
    let (_, key) = part("tls.key")?;
    let invalid = |name: &str, what: String| {
        Problem::new(Reason::CertificateInvalid, format!("{FIELD}: key {name:?} of Secret {id} {what}"))
    };
    let certificates = certificates::read_chain(chain).map_err(|what| invalid("tls.crt", what))?;
    certificates::check_key(&certificates, key).map_err(|what| invalid("tls.key", what))?;
    let key = std::str::from_utf8(key).map_err(|_| invalid("tls.key", "is not PEM".to_owned()))?;
    Ok(ClientCertificate { certificates, key: Secret::new(key) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_that_nothing_can_refer_to_are_not_held_and_say_so() {
        let pem = |bytes: usize| [b"-----BEGIN CERTIFICATE-----".to_vec(), vec![b'x'; bytes]].concat();
        let values = [
            ("key", vec![b'k'; MAX_VALUE]),
            ("blob", vec![b'b'; MAX_VALUE + 1]),
            ("ca", pem(MAX_VALUE)),
            ("huge", pem(MAX_CERTIFICATES)),
        ];
        let data: crate::Data = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(["key", "ca"].map(|it| data.get(it).is_some()), [true, true]);
        assert_eq!(["blob", "huge"].map(|it| (data.get(it).is_some(), data.is_too_long(it))), [(false, true); 2]);
        let mut objects = Objects::default();
        objects.secrets.insert(ObjectId::new("ns", "s"), Arc::new(data));
        let reference = SecretKeyRef { name: "s".to_owned(), key: "blob".to_owned() };
        let problem = api_key(&objects, "ns", &reference).unwrap_err();
        assert_eq!(problem.reason, Reason::SecretKeyInvalid);
    }

    #[test]
    fn a_key_is_taken_without_the_newline_of_its_file() {
        for (bytes, expected) in [
            (&b"sk-upstream"[..], Some("sk-upstream")),
            (b"sk-upstream\n", Some("sk-upstream")),
            (b"sk-upstream\r\n\r\n", Some("sk-upstream")),
            (b"", None),
            (b"\n", None),
            (b" sk-upstream", None),
            (b"sk-upstream \n", None),
            (b"sk-\xc3\xa9", None),
        ] {
            let mut objects = Objects::default();
            let data = [("k".to_owned(), bytes.to_vec())].into_iter().collect();
            objects.secrets.insert(ObjectId::new("ns", "s"), Arc::new(data));
            let reference = SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
            let key = api_key(&objects, "ns", &reference);
            assert_eq!(key.as_ref().ok().map(Secret::expose), expected, "{}", bytes.escape_ascii());
            assert!(api_key(&objects, "other", &reference).is_err(), "never from another namespace");
        }
    }
}
