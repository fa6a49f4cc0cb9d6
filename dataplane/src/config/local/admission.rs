//! What an API server would say to an object, without one: the kind's own schema and its CEL rules.
//!
//! A CustomResourceDefinition's schema is OpenAPI 3; it becomes JSON Schema by saying `nullable` in its words and by
//! refusing fields that the schema does not have, which a server would prune with a warning: an ignored field is a
//! mistake nobody sees. Lists that are sets or maps are checked for duplicates, as the server does. Rules about changes
//! (`oldSelf`) do not apply: every load is a creation. Defaults are filled in before the rules run.

use std::collections::{BTreeMap, HashSet};

use jsonschema::{Validator as SchemaValidator, error::ValidationErrorKind, paths::Location};
use kube::core::cel;
use routeapi_crds::{
    schema,
    v1alpha1::{GROUP, VERSION},
};
use serde_json::{Map, Value, json};

/// Names of objects (RFC 1123 subdomain) and namespaces (label).
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Checks objects of our kinds.
pub struct Admission {
    kinds: BTreeMap<String, Rules>,
    metadata: SchemaValidator,
    cel: cel::Validator,
}

/// The rules of one kind.
struct Rules {
    source: Value,
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
    /// Prepares the rules of every kind.
    ///
    /// # Errors
    /// When a definition cannot be used, which is a mistake in this program.
    pub fn new() -> Result<Self, BadSchema> {
        let mut kinds = BTreeMap::new();
        for definition in schema::all() {
            let kind = definition.spec.names.kind.clone();
            let bad = |message: String| BadSchema { kind: kind.clone(), message };
            let version = definition.spec.versions.into_iter().find(|it| it.name == VERSION);
            let found = version.and_then(|it| it.schema).and_then(|it| it.open_api_v3_schema);
            let found = found.ok_or_else(|| bad(format!("no schema of {VERSION}")))?;
            let source = serde_json::to_value(found).map_err(|error| bad(error.to_string()))?;
            let structure =
                jsonschema::draft7::new(&root(&source)).map_err(|error| bad(error.to_string()))?;
            let cel = cel::compile_schema(&source);
            kinds.insert(kind, Rules { source, structure, cel });
        }
        let metadata = jsonschema::draft7::new(&metadata())
            .map_err(|error| BadSchema { kind: "metadata".to_owned(), message: error.to_string() })?;
        Ok(Self { kinds, metadata, cel: cel::Validator::new() })
    }

    /// Everything that is wrong with an object of our kinds, each beginning with its field. Nothing for other kinds.
    pub fn check(&self, object: &Value) -> Vec<String> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours = text("apiVersion").split_once('/') == Some((GROUP, VERSION));
        let Some(rules) = self.kinds.get(text("kind")).filter(|_| ours) else { return Vec::new() };
        let mut problems = structural(&self.metadata, object);
        problems.extend(structural(&rules.structure, object));
        duplicates(&rules.source, object, "", &mut problems);
        if problems.is_empty() {
            // Rules assume the structure they were written for.
            problems.extend(self.rules(rules, object));
        }
        problems
    }

    fn rules(&self, rules: &Rules, object: &Value) -> Vec<String> {
        match self.cel.validate_compiled(&rules.cel, object, None) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_vec().iter().map(ToString::to_string).collect(),
        }
    }
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

/// The whole object: the kind's schema and the fields that every object has.
fn root(source: &Value) -> Value {
    let mut schema = translate(source);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for field in ["apiVersion", "kind"] {
            properties.insert(field.to_owned(), json!({ "type": "string" }));
        }
        properties.insert("metadata".to_owned(), json!({}));
    }
    schema
}

/// OpenAPI 3 as Kubernetes restricts it, in the words of JSON Schema draft 7.
fn translate(source: &Value) -> Value {
    let Value::Object(source) = source else { return source.clone() };
    let mut schema = Map::new();
    for (word, value) in source {
        let value = match word.as_str() {
            "properties" => Value::Object(each(value, translate)),
            "items" | "not" | "additionalProperties" => translate(value),
            "allOf" | "anyOf" | "oneOf" => {
                Value::Array(value.as_array().into_iter().flatten().map(partial).collect())
            }
            // Annotations; `default` is filled in elsewhere, `format` says nothing about validity here.
            "description" | "default" | "format" | "title" | "nullable" => continue,
            word if word.starts_with("x-kubernetes-") => continue,
            _ => value.clone(),
        };
        schema.insert(word.clone(), value);
    }
    let flag = |word: &str| source.get(word).and_then(Value::as_bool) == Some(true);
    if flag("x-kubernetes-int-or-string") {
        schema.insert("type".to_owned(), json!(["integer", "string"]));
        schema.remove("anyOf");
    }
    if source.contains_key("properties") && !flag("x-kubernetes-preserve-unknown-fields") {
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
    }
    let schema = Value::Object(schema);
    if flag("nullable") { json!({ "if": { "not": { "type": "null" } }, "then": schema }) } else { schema }
}

/// Inside `allOf` and its like a schema restricts fields that are declared outside, so it closes nothing.
fn partial(source: &Value) -> Value {
    let mut schema = translate(source);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("additionalProperties");
    }
    schema
}

fn each(object: &Value, change: fn(&Value) -> Value) -> Map<String, Value> {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), change(value))).collect()
}

/// Entries of sets and of lists keyed by fields that are written twice.
fn duplicates(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let declared = schema.get("properties").and_then(|it| it.get(name));
                if let Some(schema) = declared.or_else(|| schema.get("additionalProperties")) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    duplicates(schema, field, &path, problems);
                }
            }
        }
        Value::Array(items) => {
            let mut seen = HashSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if identity(schema, item).is_some_and(|identity| !seen.insert(identity)) {
                    problems.push(format!("{path}: is a duplicate"));
                }
                if let Some(schema) = schema.get("items") {
                    duplicates(schema, item, &path, problems);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What must be unique of a list's entry, if anything.
fn identity(schema: &Value, item: &Value) -> Option<String> {
    match schema.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(item.to_string()),
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys")?.as_array()?;
            let values = keys.iter().map(|key| key.as_str().and_then(|key| item.get(key)));
            Some(values.map(|it| it.map(Value::to_string).unwrap_or_default() + "\n").collect())
        }
        _ => None,
    }
}
