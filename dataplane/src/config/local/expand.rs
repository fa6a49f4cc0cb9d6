//! `${NAME}` in a Secret's `stringData` becomes the environment variable of that name, so that manifests can be shared
//! and keys stay out of them. `$${NAME}` stays as `${NAME}`. Any other `$` is just that.
//!
//! Only `stringData`: `data` is base64 and taken as it is, and nothing else of a manifest depends on who reads it. A
//! variable that is not set is a problem, never an empty key.

use serde_json::Value;

use super::Environment;

/// Expands a Secret in place; other kinds are left alone. Returns what is wrong, each with its key.
pub fn secret(manifest: &mut Value, environment: Environment<'_>) -> Vec<String> {
    let is_secret = manifest.get("kind").and_then(Value::as_str) == Some("Secret");
    let Some(entries) = manifest.get_mut("stringData").and_then(Value::as_object_mut).filter(|_| is_secret) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (key, value) in entries {
        if let Value::String(text) = value {
            match expand(text, environment) {
                Ok(expanded) => *text = expanded,
                Err(message) => problems.push(format!("stringData.{key}: {message}")),
            }
        }
    }
    problems
}

fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or("${ is not closed by }")?;
        if !is_name(name) {
            return Err(format!("${{{name}}} does not name an environment variable"));
        }
        out.push_str(before);
        out.push_str(&environment(name).ok_or_else(|| format!("environment variable {name} is not set"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|it: char| it.is_ascii_digit())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(name: &str) -> Option<String> {
        (name == "KEY").then(|| "k-1".to_owned())
    }

    #[test]
    fn variables_are_filled_in_and_everything_else_stays() {
        for (text, expected) in [
            ("${KEY}", "k-1"),
            ("a ${KEY} b ${KEY}", "a k-1 b k-1"),
            ("$${KEY}", "${KEY}"),
            ("$KEY 5$ {x}", "$KEY 5$ {x}"),
            ("", ""),
        ] {
            assert_eq!(expand(text, &with_key).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_key() {
        let mut manifest =
            serde_json::json!({ "kind": "Secret", "stringData": { "apiKey": "${NOT_SET}", "b": "${KEY}" } });
        assert_eq!(secret(&mut manifest, &with_key), ["stringData.apiKey: environment variable NOT_SET is not set"]);
        for text in ["${", "${KEY", "${}", "${1A}", "${A-B}"] {
            assert!(expand(text, &with_key).is_err(), "{text}");
        }
    }

    #[test]
    fn other_kinds_are_left_alone() {
        let mut manifest = serde_json::json!({ "kind": "ConfigMap", "stringData": { "a": "${KEY}" } });
        assert!(secret(&mut manifest, &with_key).is_empty());
        assert_eq!(manifest["stringData"]["a"], "${KEY}");
    }
}
