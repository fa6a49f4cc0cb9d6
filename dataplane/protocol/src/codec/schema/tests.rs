use serde_json::value::RawValue;

use super::{TooLarge, as_object, for_anthropic, for_gemini};
use crate::ir::Raw;

/// Most bytes of a conversion.
const MOST: usize = 1 << 20;

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
        assert_eq!(for_gemini(&raw(schema), MOST).unwrap().schema.get(), expected, "{name}");
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
        let converted = for_anthropic(&raw(schema), MOST).unwrap();
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
        for converted in [for_gemini(&raw(schema), MOST), for_anthropic(&raw(schema), MOST)] {
            let converted = converted.unwrap();
            assert!(converted.weakened, "{schema}");
            assert!(!converted.schema.get().contains("$ref"), "{schema}");
            assert!(converted.schema.get().len() < 200_000, "{schema}: {}", converted.schema.get().len());
        }
    }
}

#[test]
fn a_root_without_a_type_becomes_an_object() {
    assert_eq!(as_object(&raw("{}")), r#"{"type":"object"}"#);
    assert_eq!(as_object(&raw(r#"{"b":1.0,"type":"object"}"#)), r#"{"b":1.0,"type":"object"}"#);
    assert_eq!(
        as_object(&raw(r#"{"properties":{"z":{},"a":{}}}"#)),
        r#"{"type":"object","properties":{"z":{},"a":{}}}"#
    );
}

/// A schema whose references multiply a large value: without a bound in bytes each of 2,000 schemas holds a copy.
fn multiplying(keyword: &str, bytes: usize) -> String {
    let value = format!("[{}1]", "1,".repeat(bytes / 2));
    format!(
        r##"{{"$ref":"#/$defs/a","$defs":{{"a":{{"type":"object","{keyword}":{value},"properties":{{
            "x":{{"$ref":"#/$defs/a"}},"y":{{"$ref":"#/$defs/a"}}}}}}}}}}"##
    )
}

#[test]
fn references_do_not_multiply_bytes() {
    for keyword in ["default", "description", "enum", "const", "x-unknown", "prefixItems", "required", "examples"] {
        let schema = multiplying(keyword, 25_000);
        for converted in [for_gemini(&raw(&schema), MOST), for_anthropic(&raw(&schema), MOST)] {
            let bytes = converted.map(|converted| converted.schema.get().len());
            assert!(bytes.is_ok_and(|bytes| bytes <= MOST) || bytes == Err(TooLarge), "{keyword}: {bytes:?}");
        }
    }
    assert_eq!(for_gemini(&raw(&multiplying("default", 25_000)), MOST).err(), Some(TooLarge));
    assert_eq!(for_anthropic(&raw(&multiplying("default", 25_000)), MOST).err(), Some(TooLarge));
}

#[test]
fn schemas_of_very_many_values_are_not_read() {
    let schema = format!(r#"{{"enum":[{}""]}}"#, r#""","#.repeat(100_000));
    assert_eq!(for_gemini(&raw(&schema), usize::MAX).err(), Some(TooLarge));
}

#[test]
fn white_space_and_depth_do_not_matter() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let schema = format!("{{ \"type\" : \"object\" ,\n \"default\" : {{ \"a b\" : [ 1 , {deep} ] }} }}");
    let expected = format!(r#"{{"type":"object","default":{{"a b":[1,{deep}]}}}}"#);
    assert_eq!(for_gemini(&raw(&schema), MOST).unwrap().schema.get(), expected);
}
