//! What an API server would say to an object, without one: the kind's own schema and its CEL rules.
//!
//! Unknown fields are refused, as `kubectl` does: an ignored field is a mistake nobody sees. Rules about changes
//! (`oldSelf`) do not apply, since every load is a creation. Defaults are filled in before the rules run. Names that are
//! written twice in a list are `compile`'s to tell.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::{Validator as SchemaValidator, error::ValidationErrorKind, paths::Location};
use kube::core::cel;
use routeapi_crds::{
    schema,
    v1alpha1::{GROUP, VERSION},
};
use serde_json::{Value, json};

/// Names of objects (RFC 1123 subdomain) and namespaces (label).
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Checks objects of our kinds.
pub struct Admission {
    kinds: BTreeMap<&'static str, Rules>,
    metadata: SchemaValidator,
    cel: cel::Validator,
}

/// The rules of one kind.
struct Rules {
    structure: SchemaValidator,
    cel: cel::CompiledSchema,
}

/// A kind's definition cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {kind} cannot be used: {message}")]
pub struct BadSchema {
    kind: String,
    message: String,
}

impl Admission {
    /// The rules of every kind. They are part of the program, so they are prepared once, by whoever asks first.
    ///
    /// # Errors
    /// When a definition cannot be used, which is a mistake in this program.
    pub fn shared() -> Result<&'static Self, BadSchema> {
        static SHARED: OnceLock<Admission> = OnceLock::new();
        match SHARED.get() {
            Some(shared) => Ok(shared),
            None => {
                let made = Self::new()?;
                Ok(SHARED.get_or_init(|| made))
            }
        }
    }

    fn new() -> Result<Self, BadSchema> {
        let mut kinds = BTreeMap::new();
        for kind in schema::kinds() {
            let missing = || bad(kind, "it has no schema");
            let strict = schema::strict(kind).ok_or_else(missing)?;
            let open_api = schema::open_api(kind).ok_or_else(missing)?;
            let rules = Rules { structure: validator(kind, &strict)?, cel: cel::compile_schema(&open_api) };
            kinds.insert(kind, rules);
        }
        Ok(Self { kinds, metadata: validator("metadata", &metadata())?, cel: cel::Validator::new() })
    }

    /// Everything that is wrong with an object of our kinds, each beginning with its field. Nothing for other kinds.
    pub fn check(&self, object: &Value) -> Vec<String> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours = text("apiVersion").split_once('/') == Some((GROUP, VERSION));
        let Some(rules) = self.kinds.get(text("kind")).filter(|_| ours) else {
            return Vec::new();
        };
        let mut problems = structural(&self.metadata, object);
        problems.extend(structural(&rules.structure, object));
        if problems.is_empty() {
            // Rules assume the structure they were written for.
            let failed = self.cel.validate_compiled(&rules.cel, object, None).err();
            problems.extend(failed.into_iter().flat_map(cel::ValidationErrors::into_vec).map(|it| it.to_string()));
        }
        problems
    }
}

fn validator(kind: &str, schema: &Value) -> Result<SchemaValidator, BadSchema> {
    jsonschema::draft7::new(schema).map_err(|error| bad(kind, &error.to_string()))
}

fn bad(kind: &str, message: &str) -> BadSchema {
    BadSchema { kind: kind.to_owned(), message: message.to_owned() }
}

fn structural(schema: &SchemaValidator, object: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for error in schema.iter_errors(object) {
        let path = path(error.instance_path());
        let at = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                problems.extend(unexpected.iter().map(|field| format!("{}: unknown field", at(field))));
            }
            ValidationErrorKind::Required { property } => {
                problems.push(format!("{}: is required", at(property.as_str().unwrap_or_default())));
            }
            // The error itself names two of the words and counts the others.
            ValidationErrorKind::Enum { options } => {
                let words: Vec<String> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
                problems.push(format!("{path}: {} is not one of {}", error.instance(), words.join(", ")));
            }
            _ if path.is_empty() => problems.push(error.to_string()),
            _ => problems.push(format!("{path}: {error}")),
        }
    }
    problems
}

/// `/spec/upstreams/0/name` as `spec.upstreams[0].name`.
fn path(location: &Location) -> String {
    let mut path = String::new();
    for step in location.as_str().split('/').skip(1) {
        if step.bytes().all(|byte| byte.is_ascii_digit()) && !step.is_empty() {
            path.push_str(&format!("[{step}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&step.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

fn metadata() -> Value {
    json!({
        "type": "object",
        "required": ["metadata"],
        "properties": { "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN },
                "namespace": { "type": "string", "minLength": 1, "maxLength": 63, "pattern": LABEL },
                "labels": { "type": ["object", "null"], "additionalProperties": { "type": "string" } },
                "annotations": { "type": ["object", "null"], "additionalProperties": { "type": "string" } },
            },
        } },
    })
}
