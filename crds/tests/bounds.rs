//! Every text, list, map and number that a user or the operator writes is bounded: that is what keeps objects small and
//! makes the API server's cost estimate of the rules pass.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use routeapi_crds::schema;
use serde_json::Value;

#[test]
fn everything_is_bounded() {
    let mut unbounded = Vec::new();
    for kind in ["AIProvider", "AIRoute", "ApiToken"] {
        let schema = schema::open_api(kind).unwrap();
        walk(&schema["properties"]["spec"], &format!("{kind}.spec"), true, &mut unbounded);
        walk(&schema["properties"]["status"], &format!("{kind}.status"), false, &mut unbounded);
    }
    assert!(unbounded.is_empty(), "without bounds:\n{}", unbounded.join("\n"));
}

#[test]
fn every_field_of_a_spec_has_a_description() {
    let mut silent = Vec::new();
    for kind in ["AIProvider", "AIRoute", "ApiToken"] {
        describe(&schema::open_api(kind).unwrap()["properties"]["spec"], &format!("{kind}.spec"), &mut silent);
    }
    assert!(silent.is_empty(), "without a description:\n{}", silent.join("\n"));
}

/// Only specs need bounds on numbers: those of a status are the operator's own counts.
fn walk(schema: &Value, path: &str, numbers: bool, unbounded: &mut Vec<String>) {
    let has = |key: &str| schema.get(key).is_some();
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum") || schema["format"] == "date-time",
        Some("array") => has("maxItems"),
        Some("integer") => !numbers || (has("minimum") && has("maximum")),
        Some("object") => has("properties") || has("maxProperties"),
        Some("boolean") => true,
        Some("number") => false, // no floats in an API
        other => panic!("{path}: type {other:?}"),
    };
    if !bounded {
        unbounded.push(path.to_owned());
    }
    assert!(!has("format") || !schema["format"].as_str().unwrap().starts_with("uint"), "{path}: unsigned");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), numbers, unbounded);
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), numbers, unbounded);
        assert!(has("x-kubernetes-list-type"), "{path}: no list type");
    }
    if let Some(values) = schema.get("additionalProperties") {
        walk(values, &format!("{path}{{}}"), numbers, unbounded);
    }
}

fn describe(schema: &Value, path: &str, silent: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if !property["description"].as_str().is_some_and(|text| text.ends_with('.')) {
            silent.push(path.clone());
        }
        describe(property, &path, silent);
        describe(&property["items"], &format!("{path}[]"), silent);
    }
}
