//! Resolves a provider's references to Secrets and ConfigMaps, which stay in its own namespace. If the objects are only a
//! part of what the cluster has, what is missing is assumed to exist.

use std::cell::RefCell;

use routeapi_channel::{ObjectId, Secret, snapshot::ClientCertificate};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{CaCertificateKind, CaCertificateRef, SecretKeyRef, SecretRef},
};

use crate::{
    certificates,
    objects::{MAX_CERTIFICATES, MAX_VALUE, Objects},
    verdict::SpecError,
};

/// Placeholder for a value that is assumed to exist.
pub(crate) const ASSUMED: &str = "assumed";

/// Resolves the references of the providers of one namespace.
pub(crate) struct References<'a> {
    objects: &'a Objects,
    namespace: &'a str,
    /// Whether missing objects are assumed to exist.
    partial: bool,
    /// What was assumed so far, a sentence each.
    assumed: RefCell<Vec<String>>,
}

impl<'a> References<'a> {
    pub fn new(objects: &'a Objects, namespace: &'a str, partial: bool) -> Self {
        Self { objects, namespace, partial, assumed: RefCell::default() }
    }

    /// Whether a Secret of this namespace exists and has this key: one that may be left out.
    pub fn has_key(&self, name: &str, key: &str) -> bool {
        let secret = self.objects.secrets.get(&ObjectId::new(self.namespace, name));
        secret.is_some_and(|data| data.get(key).is_some())
    }

    pub fn assumed(self) -> Vec<String> {
        self.assumed.into_inner()
    }

    /// Reports a missing object: an error, unless it is assumed to exist.
    fn missing(&self, source: &Source<'_>, reason: Reason) -> Result<(), SpecError> {
        let Source { field, kind, name, key } = source;
        let (kind, id) = (format!("{kind:?}"), ObjectId::new(self.namespace, *name));
        if self.objects.refused.contains(&(kind.clone(), id.clone())) {
            return Err(SpecError::new(
                reason,
                format!("{field}.name: {kind} {id} exists but is invalid; correct it first"),
            ));
        }
        if !self.partial {
            let message = format!("{field}.name: {kind} {id} does not exist; create it with the key {key:?}");
            return Err(SpecError::new(reason, message));
        }
        self.assumed.borrow_mut().push(format!("{kind} {id} exists and has the key {key:?} ({field})"));
        Ok(())
    }
}

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

    /// The error of a value that cannot be used; `what` completes "key … of …".
    fn invalid(&self, id: &ObjectId, what: &str) -> SpecError {
        let Self { field, kind, key, .. } = self;
        let reason = match kind {
            CaCertificateKind::Secret => Reason::SecretKeyInvalid,
            CaCertificateKind::ConfigMap => Reason::ConfigMapKeyInvalid,
        };
        SpecError::new(reason, format!("{field}.key: key {key:?} of {kind:?} {id} {what}"))
    }
}

/// The key or secret that a provider of this namespace names, fit for a header. `field` is the reference's path.
pub(crate) fn key(references: &References<'_>, field: &str, reference: &SecretKeyRef) -> Result<Secret, SpecError> {
    let SecretKeyRef { name, key } = reference;
    let source = Source::secret(field.to_owned(), name, key);
    let check = |text: &str| {
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err("is empty");
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(()) } else { Err("contains whitespace or characters that are not allowed in an API key") }
    };
    text(references, &source, check).map(Secret::new)
}

/// A text value without trailing newlines, if it passes the check.
pub(crate) fn text<'a>(
    references: &References<'a>,
    source: &Source<'_>,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<&'a str, SpecError> {
    let Some((id, bytes)) = find(references, source)? else { return Ok(ASSUMED) };
    // Files made by editors and `kubectl create secret --from-file` end with a newline that is not meant.
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default());
    let text = text.map_err(|_| source.invalid(&id, "is not valid UTF-8"))?;
    check(text).map(|()| text).map_err(|what| source.invalid(&id, what))
}

/// The object that holds a value, and its bytes; none if it is assumed to exist.
fn find<'a>(references: &References<'a>, source: &Source<'_>) -> Result<Option<(ObjectId, &'a [u8])>, SpecError> {
    let Source { field, kind, name, key } = source;
    let (objects, id) = (references.objects, ObjectId::new(references.namespace, *name));
    let (data, not_found, key_missing) = match kind {
        CaCertificateKind::Secret => (objects.secrets.get(&id), Reason::SecretNotFound, Reason::SecretKeyMissing),
        CaCertificateKind::ConfigMap => {
            (objects.config_maps.get(&id), Reason::ConfigMapNotFound, Reason::ConfigMapKeyMissing)
        }
    };
    let Some(data) = data else { return references.missing(source, not_found).map(|()| None) };
    if data.is_too_long(key) {
        return Err(source.invalid(&id, &format!("is longer than the maximum of {MAX_VALUE} bytes")));
    }
    let Some(bytes) = data.get(key) else {
        let message = format!("{field}.key: {kind:?} {id} has no key {key:?}; add the key or refer to an existing one");
        return Err(SpecError::new(key_missing, message));
    };
    Ok(Some((id, bytes)))
}

/// The certificates that a provider of this namespace names; none if they are assumed to exist.
pub(crate) fn certificates(
    references: &References<'_>,
    reference: &CaCertificateRef,
) -> Result<Option<String>, SpecError> {
    const FIELD: &str = "spec.tls.caCertificateRef";
    let CaCertificateRef { kind, name, key } = reference;
    let (objects, id) = (references.objects, ObjectId::new(references.namespace, name));
    let data = match kind {
        CaCertificateKind::ConfigMap => objects.config_maps.get(&id),
        CaCertificateKind::Secret => objects.secrets.get(&id),
    };
    let Some(data) = data else {
        let source = Source { field: FIELD.to_owned(), kind: *kind, name, key };
        return references.missing(&source, Reason::CertificateNotFound).map(|()| None);
    };
    if data.is_too_long(key) {
        let message = format!(
            "{FIELD}.key: key {key:?} of {kind:?} {id} is longer than {MAX_CERTIFICATES} bytes, or contains no \
             PEM certificate"
        );
        return Err(SpecError::new(Reason::CertificateInvalid, message));
    }
    let Some(bundle) = data.get(key) else {
        let message = format!("{FIELD}.key: {kind:?} {id} has no key {key:?}; add the key or refer to an existing one");
        return Err(SpecError::new(Reason::CertificateNotFound, message));
    };
    certificates::ca_bundle(bundle).map(Some).map_err(|what| {
        let message = format!("{FIELD}.key: key {key:?} of {kind:?} {id} {what}");
        SpecError::new(Reason::CertificateInvalid, message)
    })
}

/// The certificate that a provider of this namespace shows to its upstream, with its key; none if it is assumed to exist.
pub(crate) fn client_certificate(
    references: &References<'_>,
    reference: &SecretRef,
) -> Result<Option<ClientCertificate>, SpecError> {
    const FIELD: &str = "spec.tls.clientCertificateRef";
    let value = |key| find(references, &Source::secret(FIELD.to_owned(), &reference.name, key));
    let (Some((id, chain)), Some((_, key))) = (value("tls.crt")?, value("tls.key")?) else { return Ok(None) };
    let invalid = |name: &str, what: String| {
        SpecError::new(Reason::CertificateInvalid, format!("{FIELD}: key {name:?} of Secret {id} {what}"))
    };
    let certificates = certificates::chain(chain).map_err(|what| invalid("tls.crt", what))?;
    certificates::check_key(&certificates, key).map_err(|what| invalid("tls.key", what))?;
    let key = std::str::from_utf8(key).map_err(|_| invalid("tls.key", "is not PEM".to_owned()))?;
    Ok(Some(ClientCertificate { certificates, key: Secret::new(key) }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_over_the_maximum_size_are_dropped_and_reported() {
        let pem = |bytes: usize| [b"-----BEGIN CERTIFICATE-----".to_vec(), vec![b'x'; bytes]].concat();
        let values = [
            ("key", vec![b'k'; MAX_VALUE]),
            ("blob", vec![b'b'; MAX_VALUE + 1]),
            ("ca", pem(MAX_VALUE)),
            ("huge", pem(MAX_CERTIFICATES)),
        ];
        let data: crate::Data = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(["key", "ca"].map(|key| data.get(key).is_some()), [true, true]);
        assert_eq!(["blob", "huge"].map(|key| (data.get(key).is_some(), data.is_too_long(key))), [(false, true); 2]);
        let mut objects = Objects::default();
        objects.secrets.insert(ObjectId::new("ns", "s"), Arc::new(data));
        let reference = SecretKeyRef { name: "s".to_owned(), key: "blob".to_owned() };
        let error = key(&References::new(&objects, "ns", true), "f", &reference).unwrap_err();
        assert_eq!(error.reason, Reason::SecretKeyInvalid);
    }

    #[test]
    fn trailing_newlines_of_an_api_key_are_ignored() {
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
            let found = key(&References::new(&objects, "ns", false), "f", &reference);
            assert_eq!(found.as_ref().ok().map(Secret::expose), expected, "{}", bytes.escape_ascii());
            let elsewhere = References::new(&objects, "other", false);
            assert!(key(&elsewhere, "f", &reference).is_err(), "never from another namespace");
        }
    }
}
