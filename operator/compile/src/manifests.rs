//! Manifests in, [`Objects`] out: what local commands use in place of an API server.
//!
//! Takes one JSON value per object, as a cluster would store it ([`items`] unpacks a `List`); the caller reads files and
//! expands environment variables. Objects without a namespace go to `default`. A namespace that is only mentioned exists
//! without labels.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use routeapi_channel::ObjectId;
use routeapi_crds::v1alpha1::{GROUP, VERSION};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::objects::{Data, Objects};

/// Collects objects one by one.
#[derive(Debug, Default)]
pub struct Manifests {
    objects: Objects,
    seen: BTreeSet<(String, ObjectId)>,
}

/// The result of reading a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// A valid object was added.
    Object {
        /// Its kind.
        kind: String,
        /// Its namespace (`default` if it names none) and name; a Namespace has its own name twice.
        id: ObjectId,
    },
    /// Its kind is not relevant, such as a Deployment next to our manifests.
    Ignored {
        /// Its kind.
        kind: String,
    },
}

/// A manifest that cannot be added.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A required member of every Kubernetes object is missing.
    #[error("{0} is missing: every object needs apiVersion, kind and metadata.name")]
    Missing(&'static str),
    /// A kind of RouteAPI's API group that this version does not support.
    #[error("{api_version} {kind} is not supported by this version")]
    UnknownKind {
        /// `apiVersion` of the manifest.
        api_version: String,
        /// `kind` of the manifest.
        kind: String,
    },
    /// A field has the wrong type or an impossible value.
    #[error("{kind} {id}: {message}")]
    Invalid {
        /// Kind of the object.
        kind: String,
        /// Its namespace and name.
        id: ObjectId,
        /// Error with the path of the field.
        message: String,
    },
    /// An object of this kind and name was added before.
    #[error("{kind} {id} is defined twice")]
    Twice {
        /// Kind of the object.
        kind: String,
        /// Its namespace and name.
        id: ObjectId,
    },
}

/// The objects of a document: itself, or the items of a `List` as `kubectl get -o yaml` writes one.
pub fn items(document: &Value) -> Vec<&Value> {
    let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
    match document.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.iter().collect(),
        _ => vec![document],
    }
}

/// The fields of a Secret, ConfigMap or Namespace that are needed here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CoreObject {
    metadata: CoreMetadata,
    data: Option<Texts>,
    string_data: Option<Texts>,
    binary_data: Option<Texts>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CoreMetadata {
    labels: Option<Texts>,
}

type Texts = std::collections::BTreeMap<String, String>;

// === impl Manifests ===

impl Manifests {
    /// Adds one object.
    ///
    /// # Errors
    /// When it is not an object, of an unknown kind of our group, malformed, or added before. It is not added then; of a
    /// malformed one it is noted that it exists.
    pub fn add(&mut self, value: &Value) -> Result<Added, ManifestError> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").ok_or(ManifestError::Missing("apiVersion"))?;
        let kind = text("/kind").ok_or(ManifestError::Missing("kind"))?;
        let ours = match api_version.split_once('/') {
            Some((GROUP, VERSION)) => matches!(kind, "AIProvider" | "AIRoute" | "ApiToken"),
            Some((GROUP, _)) => false,
            None if api_version == "v1" && matches!(kind, "Secret" | "ConfigMap" | "Namespace") => true,
            _ => return Ok(Added::Ignored { kind: kind.to_owned() }),
        };
        if !ours {
            return Err(ManifestError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() });
        }
        let name = text("/metadata/name").ok_or(ManifestError::Missing("metadata.name"))?;
        let namespace = if kind == "Namespace" { name } else { text("/metadata/namespace").unwrap_or("default") };
        let id = ObjectId::new(namespace, name);
        if self.seen.contains(&(kind.to_owned(), id.clone())) {
            return Err(ManifestError::Twice { kind: kind.to_owned(), id });
        }
        if let Err(message) = self.insert(value, kind, &id) {
            self.refuse(value);
            return Err(ManifestError::Invalid { kind: kind.to_owned(), id, message });
        }
        self.seen.insert((kind.to_owned(), id.clone()));
        self.objects.refused.remove(&(kind.to_owned(), id.clone()));
        self.objects.namespaces.entry(namespace.to_owned()).or_default();
        Ok(Added::Object { kind: kind.to_owned(), id })
    }

    /// Notes that an object exists but was refused, unless one of its kind and name was added. Ignores objects without a kind
    /// or a name.
    pub fn refuse(&mut self, value: &Value) {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let (Some(kind), Some(name)) = (text("/kind"), text("/metadata/name")) else { return };
        let id = ObjectId::new(text("/metadata/namespace").unwrap_or("default"), name);
        if !self.seen.contains(&(kind.to_owned(), id.clone())) {
            self.objects.refused.insert((kind.to_owned(), id));
        }
    }

    /// Everything that was added.
    pub fn finish(self) -> Objects {
        self.objects
    }

    fn insert(&mut self, value: &Value, kind: &str, id: &ObjectId) -> Result<(), String> {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), Value::String(id.namespace().to_owned()));
        }
        match kind {
            "AIProvider" => self.objects.providers.push(Arc::new(read(value)?)),
            "AIRoute" => self.objects.routes.push(Arc::new(read(value)?)),
            "ApiToken" => self.objects.tokens.push(Arc::new(read(value)?)),
            "Secret" => drop(self.objects.secrets.insert(id.clone(), Arc::new(secret(read(value)?)?))),
            "ConfigMap" => drop(self.objects.config_maps.insert(id.clone(), Arc::new(config_map(read(value)?)?))),
            _ => {
                let namespace: CoreObject = read(value)?;
                let labels = namespace.metadata.labels.unwrap_or_default();
                self.objects.namespaces.insert(id.name().to_owned(), labels);
            }
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn secret(object: CoreObject) -> Result<Data, String> {
    // As the API server does: stringData is written over data.
    let encoded = decode("data", object.data)?;
    Ok(encoded.into_iter().chain(verbatim(object.string_data)).collect())
}

fn config_map(object: CoreObject) -> Result<Data, String> {
    let encoded = decode("binaryData", object.binary_data)?;
    Ok(encoded.into_iter().chain(verbatim(object.data)).collect())
}

fn decode(field: &str, texts: Option<Texts>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let decode_one = |(key, text): (String, String)| {
        let compact: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(compact).map_err(|_| format!("{field}.{key} is not valid base64"))?;
        Ok((key, bytes))
    };
    texts.unwrap_or_default().into_iter().map(decode_one).collect()
}

fn verbatim(texts: Option<Texts>) -> impl Iterator<Item = (String, Vec<u8>)> {
    texts.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret_manifest(body: &Value) -> Value {
        let mut value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        value.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        value
    }

    #[test]
    fn a_secret_is_read_as_an_api_server_would() {
        let mut manifests = Manifests::default();
        let body = json!({"data": {"a": "b2xk\n", "b": "b2xk"}, "stringData": {"a": "new"}});
        let id = ObjectId::new("default", "s");
        let added = Added::Object { kind: "Secret".to_owned(), id: id.clone() };
        assert_eq!(manifests.add(&secret_manifest(&body)), Ok(added));
        let objects = manifests.finish();
        let data = objects.secrets.get(&id).unwrap();
        assert_eq!((data.get("a"), data.get("b"), data.get("c")), (Some(&b"new"[..]), Some(&b"old"[..]), None));
        assert_eq!(format!("{data:?}"), r#"{"a", "b"}"#);
        assert!(objects.namespaces.contains_key("default"));
    }

    #[test]
    fn a_list_is_unpacked_into_its_items() {
        let (one, two) = (json!({"kind": "Secret"}), json!({"kind": "AIRoute", "items": []}));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [one, two]});
        assert_eq!(items(&list), [&one, &two]);
        assert_eq!(items(&two), [&two]);
    }

    #[test]
    fn an_invalid_manifest_is_an_error() {
        let mut manifests = Manifests::default();
        let ours = |kind: &str, spec: Value| json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        let mut error = |value: Value| manifests.add(&value).unwrap_err().to_string();
        assert!(error(json!({"a": 1})).contains("apiVersion is missing"));
        assert!(error(json!({"apiVersion": "v1"})).contains("kind is missing"));
        assert!(error(json!({"apiVersion": "v1", "kind": "Secret"})).contains("metadata.name is missing"));
        assert!(error(ours("AIRout", json!({}))).contains("AIRout is not supported"));
        assert!(error(json!({"apiVersion": "routeapi.dev/v2", "kind": "AIRoute"})).contains("routeapi.dev/v2 AIRoute"));
        let message = error(ours("AIRoute", json!({"model": "a b", "upstreams": []})));
        assert!(message.starts_with("AIRoute default/x: ") && message.contains("a b"), "{message}");
        assert!(error(secret_manifest(&json!({"data": {"k": "!"}}))).contains("data.k is not valid base64"));

        let echo = ours("AIProvider", json!({"type": "Echo"}));
        assert!(manifests.add(&echo).is_ok());
        assert_eq!(manifests.add(&echo).unwrap_err().to_string(), "AIProvider default/x is defined twice");
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        assert_eq!(manifests.add(&deployment), Ok(Added::Ignored { kind: "Deployment".to_owned() }));
    }
}
