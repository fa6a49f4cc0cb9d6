//! `${NAME}` in a Secret's `stringData` becomes the environment variable of that name, so that manifests can be shared
//! and keys stay out of them. `$${NAME}` stays as `${NAME}`. Any other `$` is just that.
//!
//! Only `stringData`: `data` is base64 and taken as it is, and nothing else of a manifest depends on who reads it. A
//! variable that is not set is a problem where its value is needed, never an empty key; until then a stand-in is there.

use serde_json::Value;

/// Reads environment variables; a closure in tests.
pub type Environment<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// What came of a Secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// What is wrong in any case, each beginning with its field.
    pub problems: Vec<String>,
    /// Keys of `stringData`, each with a variable that it names and that is not set.
    pub unset: Vec<(String, String)>,
}

/// Expands a Secret in place; other kinds are left alone.
pub fn secret(manifest: &mut Value, environment: Environment<'_>) -> Expanded {
    let mut expanded = Expanded::default();
    let is_secret = manifest.get("kind").and_then(Value::as_str) == Some("Secret");
    let Some(entries) = manifest.get_mut("stringData").and_then(Value::as_object_mut).filter(|_| is_secret) else {
        return expanded;
    };
    for (key, value) in entries {
        if let Value::String(text) = value {
            let mut unset = Vec::new();
            match expand(text, environment, &mut unset) {
                Ok(expanded) => *text = expanded,
                Err(message) => expanded.problems.push(format!("stringData.{key}: {message}")),
            }
            expanded.unset.extend(unset.into_iter().map(|name| (key.clone(), name)));
        }
    }
    expanded
}

/// Stands for the value of a variable that is not set: fit for a key, and another one for each variable.
fn stand_in(name: &str) -> String {
    format!("value-of-the-variable-{name}")
}

fn expand(text: &str, environment: Environment<'_>, unset: &mut Vec<String>) -> Result<String, String> {
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
        out.push_str(&environment(name).unwrap_or_else(|| {
            unset.push(name.to_owned());
            stand_in(name)
        }));
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
    fn only_variables_are_expanded() {
        for (text, expected) in [
            ("${KEY}", "k-1"),
            ("a ${KEY} b ${KEY}", "a k-1 b k-1"),
            ("$${KEY}", "${KEY}"),
            ("$KEY 5$ {x}", "$KEY 5$ {x}"),
            ("", ""),
        ] {
            let mut unset = Vec::new();
            assert_eq!(expand(text, &with_key, &mut unset).as_deref(), Ok(expected), "{text}");
            assert_eq!(unset, [""; 0]);
        }
    }

    #[test]
    fn unset_variable_is_named_with_its_key() {
        let mut manifest = serde_json::json!({ "kind": "Secret", "stringData": {
            "apiKey": "${NOT_SET}", "b": "${KEY}", "c": "${NOR_THIS}:${NOT_SET}", "d": "${" } });
        let expanded = secret(&mut manifest, &with_key);
        assert_eq!(expanded.problems, ["stringData.d: ${ is not closed by }"]);
        let unset = [("apiKey", "NOT_SET"), ("c", "NOR_THIS"), ("c", "NOT_SET")];
        assert_eq!(expanded.unset, unset.map(|(key, name)| (key.to_owned(), name.to_owned())));
        assert_eq!(manifest["stringData"]["b"], "k-1");
        assert_eq!(manifest["stringData"]["apiKey"], stand_in("NOT_SET"));
        for text in ["${", "${KEY", "${}", "${1A}", "${A-B}"] {
            assert!(expand(text, &with_key, &mut Vec::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_secrets_are_expanded() {
        let mut manifest = serde_json::json!({ "kind": "ConfigMap", "stringData": { "a": "${KEY}" } });
        assert_eq!(secret(&mut manifest, &with_key), Expanded::default());
        assert_eq!(manifest["stringData"]["a"], "${KEY}");
    }
}
