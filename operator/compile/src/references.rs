//! Following a provider's references to Secrets and ConfigMaps, which stay in its own namespace. Where the objects are only a
//! part of a whole, what is not among them is assumed to be there.

use std::cell::RefCell;

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

/// Stands for a value that is assumed to exist.
const ASSUMED: &str = "assumed";

/// Objects to follow a provider's references in.
pub(crate) struct References<'a> {
    objects: &'a Objects,
    namespace: &'a str,
    /// Whether what is not among the objects may be elsewhere.
    partial: bool,
    /// What was assumed so far, a sentence each.
    assumed: RefCell<Vec<String>>,
}

impl<'a> References<'a> {
    pub fn new(objects: &'a Objects, namespace: &'a str, partial: bool) -> Self {
        Self { objects, namespace, partial, assumed: RefCell::default() }
    }

    pub fn assumed(self) -> Vec<String> {
        self.assumed.into_inner()
    }

    /// An object that is not there: a problem, unless it may be elsewhere.
    fn absent(&self, source: &Source<'_>, reason: Reason) -> Result<(), Problem> {
        let Source { field, kind, name, key } = source;
        let (kind, id) = (format!("{kind:?}"), ObjectId::new(self.namespace, *name));
        if self.objects.refused.contains(&(kind.clone(), id.clone())) {
            return Err(Problem::new(reason, format!("{field}.name: {kind} {id} exists but is not accepted")));
        }
        if !self.partial {
            let message = format!("{field}.name: {kind} {id} does not exist: create it with the key {key:?}");
            return Err(Problem::new(reason, message));
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
pub(crate) fn api_key(references: &References<'_>, reference: &SecretKeyRef) -> Result<Secret, Problem> {
    let SecretKeyRef { name, key } = reference;
    let source = Source::secret("spec.credentials.apiKey.secretRef".to_owned(), name, key);
    let check = |text: &str| {
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Err("is empty");
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(()) } else { Err("holds spaces or characters that no API key has") }
    };
    text(references, &source, check).map(Secret::new)
}

/// A text without the newline that its file ends with, if it passes the check.
pub(crate) fn text<'a>(
    references: &References<'a>,
    source: &Source<'_>,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<&'a str, Problem> {
    let Some((id, bytes)) = find(references, source)? else { return Ok(ASSUMED) };
    // Files made by editors and `kubectl create secret --from-file` end with a newline that is not meant.
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default());
    let text = text.map_err(|_| source.invalid(&id, "is not text"))?;
    check(text).map(|()| text).map_err(|what| source.invalid(&id, what))
}

/// The bytes of a value, and where they are kept; none if it is assumed to exist.
fn find<'a>(references: &References<'a>, source: &Source<'_>) -> Result<Option<(ObjectId, &'a [u8])>, Problem> {
    let Source { field, kind, name, key } = source;
    let (objects, id) = (references.objects, ObjectId::new(references.namespace, *name));
    let (data, absent, keyless) = match kind {
        CaCertificateKind::Secret => (objects.secrets.get(&id), Reason::SecretNotFound, Reason::SecretKeyMissing),
        CaCertificateKind::ConfigMap => {
            (objects.config_maps.get(&id), Reason::ConfigMapNotFound, Reason::ConfigMapKeyMissing)
        }
    };
    let Some(data) = data else { return references.absent(source, absent).map(|()| None) };
    if data.is_too_long(key) {
        return Err(source.invalid(&id, &format!("is longer than {MAX_VALUE} bytes, as no value here is")));
    }
    let Some(bytes) = data.get(key) else {
        let message = format!("{field}.key: {kind:?} {id} has no key {key:?}: add it, or name one that it has");
        return Err(Problem::new(keyless, message));
    };
    Ok(Some((id, bytes)))
}

/// The certificates that a provider of this namespace names; none if they are assumed to exist.
pub(crate) fn certificates(
    references: &References<'_>,
    reference: &CaCertificateRef,
) -> Result<Option<String>, Problem> {
    const FIELD: &str = "spec.tls.caCertificateRef";
    let CaCertificateRef { kind, name, key } = reference;
    let (objects, id) = (references.objects, ObjectId::new(references.namespace, name));
    let data = match kind {
        CaCertificateKind::ConfigMap => objects.config_maps.get(&id),
        CaCertificateKind::Secret => objects.secrets.get(&id),
    };
    let Some(data) = data else {
        let source = Source { field: FIELD.to_owned(), kind: *kind, name, key };
        return references.absent(&source, Reason::CertificateNotFound).map(|()| None);
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
    certificates::read(bundle).map(Some).map_err(|what| {
        let message = format!("{FIELD}.key: key {key:?} of {kind:?} {id} {what}");
        Problem::new(Reason::CertificateInvalid, message)
    })
}

/// The certificate that a provider of this namespace shows to its upstream, with its key; none if it is assumed to exist.
pub(crate) fn client_certificate(
    references: &References<'_>,
    reference: &SecretRef,
) -> Result<Option<ClientCertificate>, Problem> {
    const FIELD: &str = "spec.tls.clientCertificateRef";
    let part = |key| find(references, &Source::secret(FIELD.to_owned(), &reference.name, key));
    let (Some((id, chain)), Some((_, key))) = (part("tls.crt")?, part("tls.key")?) else { return Ok(None) };
    let invalid = |name: &str, what: String| {
        Problem::new(Reason::CertificateInvalid, format!("{FIELD}: key {name:?} of Secret {id} {what}"))
    };
    let certificates = certificates::read_chain(chain).map_err(|what| invalid("tls.crt", what))?;
    certificates::check_key(&certificates, key).map_err(|what| invalid("tls.key", what))?;
    let key = std::str::from_utf8(key).map_err(|_| invalid("tls.key", "is not PEM".to_owned()))?;
    Ok(Some(ClientCertificate { certificates, key: Secret::new(key) }))
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
        let problem = api_key(&References::new(&objects, "ns", true), &reference).unwrap_err();
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
            let key = api_key(&References::new(&objects, "ns", false), &reference);
            assert_eq!(key.as_ref().ok().map(Secret::expose), expected, "{}", bytes.escape_ascii());
            let elsewhere = References::new(&objects, "other", false);
            assert!(api_key(&elsewhere, &reference).is_err(), "never from another namespace");
        }
    }
}
