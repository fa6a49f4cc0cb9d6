use serde_json::value::RawValue;

use super::{as_object, for_anthropic, for_gemini};
use crate::ir::Raw;

fn raw(json: &str) -> Raw {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[test]
fn gemini_subset() {
    let rows = [
        (
            "hard case 181: unknown keywords",
            r#"{"$schema":"x","type":"object","properties":{"n":{"type":"integer","exclusiveMinimum":0}},"additionalProperties":false,"propertyNames":{"pattern":"^a"}}"#,
            r#"{"type":"object","properties":{"n":{"type":"integer","minimum":0,"description":"(exclusiveMinimum: 0)"}},"description":"(propertyNames: {\"pattern\":\"^a\"})"}"#,
        ),
        ("hard case 181: const", r#"{"const":"a"}"#, r#"{"enum":["a"]}"#),
        ("const of a number", r#"{"type":"integer","const":1}"#, r#"{"type":"integer","description":"(enum: [1])"}"#),
        (
            "hard case 182: tuples",
            r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"number"}]}"#,
            r#"{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"number"}]},"description":"(prefixItems: [{\"type\":\"string\"},{\"type\":\"number\"}])"}"#,
        ),
        ("hard case 183: type arrays", r#"{"type":["string","null"]}"#, r#"{"nullable":true,"type":"string"}"#),
        ("two types", r#"{"type":["string","integer"]}"#, r#"{"anyOf":[{"type":"string"},{"type":"integer"}]}"#),
        (
            "optional by alternatives",
            r#"{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}"#,
            r#"{"nullable":true,"type":"string","default":null}"#,
        ),
        (
            "hard case 184: properties named like keywords",
            r#"{"type":"object","properties":{"default":{"type":"string"},"const":{"type":"string"},"$ref":{"type":"string"},"$schema":{"type":"string"}}}"#,
            r#"{"type":"object","properties":{"default":{"type":"string"},"const":{"type":"string"},"$ref":{"type":"string"},"$schema":{"type":"string"}}}"#,
        ),
        (
            "references",
            r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A","description":"mine"}},"$defs":{"A":{"type":"string","description":"theirs"}}}"##,
            r#"{"type":"object","properties":{"a":{"type":"string","description":"mine"}}}"#,
        ),
        (
            "hard case 14: zeros and falses",
            r#"{"type":"object","properties":{"a":{"minimum":0,"default":false,"maxItems":0,"maximum":1.0}}}"#,
            r#"{"type":"object","properties":{"a":{"minimum":0,"default":false,"maxItems":0,"maximum":1.0}}}"#,
        ),
        (
            "all of",
            r#"{"allOf":[{"type":"object","properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["b"]}]}"#,
            r#"{"type":"object","properties":{"a":{},"b":{}},"required":["a","b"]}"#,
        ),
        (
            "unknown format",
            r#"{"type":"string","format":"hostname"}"#,
            r#"{"type":"string","description":"(format: \"hostname\")"}"#,
        ),
        ("not a schema", "true", "true"),
    ];
    for (name, schema, expected) in rows {
        assert_eq!(for_gemini(&raw(schema)).schema.get(), expected, "{name}");
    }
}

#[test]
fn anthropic_subset() {
    let rows = [
        (
            "hard case 187: strict subset",
            r#"{"type":"object","properties":{"s":{"type":"string","minLength":1,"description":"name"},"u":{"oneOf":[{"type":"string"},{"type":"number"}]}},"required":["s","s"]}"#,
            r#"{"type":"object","properties":{"s":{"type":"string","description":"name (minLength: 1)"},"u":{"anyOf":[{"type":"string"},{"type":"number"}]}},"required":["s"],"additionalProperties":false}"#,
            true,
        ),
        (
            "inlines definitions",
            r##"{"type":"object","properties":{"a":{"$ref":"#/definitions/A"}},"definitions":{"A":{"type":["string","null"]}},"additionalProperties":false}"##,
            r#"{"type":"object","properties":{"a":{"type":["string","null"]}},"additionalProperties":false}"#,
            false,
        ),
        ("keeps const", r#"{"const":0}"#, r#"{"const":0}"#, false),
    ];
    for (name, schema, expected, weakened) in rows {
        let converted = for_anthropic(&raw(schema));
        assert_eq!(converted.schema.get(), expected, "{name}");
        assert_eq!(converted.weakened, weakened, "{name}");
    }
}

#[test]
fn hard_case_185_circular_references_end() {
    let rows = [
        r##"{"$ref":"#"}"##,
        r##"{"type":"object","properties":{"next":{"$ref":"#"}}}"##,
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
        r##"{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"}}}"##,
        r##"{"$ref":"https://example.org/schema"}"##,
    ];
    for schema in rows {
        for converted in [for_gemini(&raw(schema)), for_anthropic(&raw(schema))] {
            assert!(converted.weakened, "{schema}");
            assert!(!converted.schema.get().contains("$ref"), "{schema}");
            assert!(converted.schema.get().len() < 200_000, "{schema}: {}", converted.schema.get().len());
        }
    }
}

#[test]
fn a_root_without_a_type_becomes_an_object() {
    assert_eq!(as_object(&raw("{}")).get(), r#"{"type":"object"}"#);
    assert_eq!(as_object(&raw(r#"{"b":1.0,"type":"object"}"#)).get(), r#"{"b":1.0,"type":"object"}"#);
    assert_eq!(
        as_object(&raw(r#"{"properties":{"z":{},"a":{}}}"#)).get(),
        r#"{"type":"object","properties":{"z":{},"a":{}}}"#
    );
}
