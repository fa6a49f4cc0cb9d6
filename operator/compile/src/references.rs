//! Following a provider's references to its Secret and its certificates, which stay in its own namespace.

use routeapi_channel::{ObjectId, Secret};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{CaCertificateKind, CaCertificateRef, SecretKeyRef},
};

use crate::{
    certificates,
    objects::{MAX_CERTIFICATES, MAX_VALUE, Objects},
    verdict::Problem,
};

/// The API key that a provider of this namespace names, fit for a header.
pub(crate) fn api_key(objects: &Objects, namespace: &str, reference: &SecretKeyRef) -> Result<Secret, Problem> {
    const FIELD: &str = "spec.credentials.apiKey.secretRef";
    let SecretKeyRef { name, key } = reference;
    let Some(data) = objects.secrets.get(&ObjectId::new(namespace, name)) else {
        let message = format!("{FIELD}.name: Secret {namespace}/{name} does not exist: create it with the key {key:?}");
        return Err(Problem::new(Reason::SecretNotFound, message));
    };
    if data.is_too_long(key) {
        let message = format!(
            "{FIELD}.key: key {key:?} of Secret {namespace}/{name} is longer than {MAX_VALUE} bytes, as no API key is"
        );
        return Err(Problem::new(Reason::SecretKeyInvalid, message));
    }
    let Some(bytes) = data.get(key) else {
        let message =
            format!("{FIELD}.key: Secret {namespace}/{name} has no key {key:?}: add it, or name one that it has");
        return Err(Problem::new(Reason::SecretKeyMissing, message));
    };
    let invalid = |what: &str| {
        let message = format!("{FIELD}.key: key {key:?} of Secret {namespace}/{name} {what}");
        Problem::new(Reason::SecretKeyInvalid, message)
    };
    // Files made by editors and `kubectl create secret --from-file` end with a newline that is not meant.
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let value = bytes.get(..end).unwrap_or_default();
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err(invalid("is empty"));
    }
    match std::str::from_utf8(value) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(text)),
        _ => Err(invalid("holds spaces or characters that no API key has")),
    }
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
