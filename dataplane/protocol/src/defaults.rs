//! Members of a body that the provider's owner sets where the client did not: spliced in front of the others, which stay
//! as they are, byte for byte.
//!
//! They are for requests that generate text; embeddings and counting take other members.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    dialect::{Operation, OperationKind},
    report::Warning,
    scan::Scan,
    splice::{self, Edit},
};

/// Members that say the same thing in one dialect: a default for one of them does not contradict a client's other.
const SAME: [&[&str]; 1] = [&["max_tokens", "max_completion_tokens"]];

/// Members with their values as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(Vec<(String, String)>);

impl Defaults {
    /// In the order of their names.
    pub fn new(members: &BTreeMap<String, Value>) -> Self {
        Self(members.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A request's body with those members that it lacks, and a warning for each. A body that is no JSON object stays.
    pub fn apply(&self, operation: Operation, body: Bytes) -> (Bytes, Vec<Warning>) {
        if self.is_empty() || operation.kind() != OperationKind::Generate {
            return (body, Vec::new());
        }
        let (Ok(scan), Some(start)) = (Scan::read(&body), memchr::memchr(b'{', &body)) else {
            return (body, Vec::new());
        };
        let has = |name: &str| scan.members().iter().any(|member| member.is(&body, name));
        let (mut added, mut warnings) = (String::new(), Vec::new());
        for (name, value) in self.0.iter().filter(|(name, _)| !synonyms(name).iter().any(|name| has(name))) {
            let separator = if added.is_empty() { "" } else { "," };
            added += &format!("{separator}{}:{value}", Value::from(name.as_str()));
            warnings.push(Warning::Defaulted { field: name.clone().into() });
        }
        if added.is_empty() {
            return (body, warnings);
        }
        let edit = Edit::first_member(start, scan.members().is_empty(), &added);
        (splice::apply(&body, vec![edit]).into(), warnings)
    }
}

/// Every name under which a client can have set the member. Google's servers take both spellings.
fn synonyms(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned(), camel(name), snake(name)];
    names.extend(
        SAME.iter().filter(|group| group.contains(&name)).flat_map(|group| group.iter().map(ToString::to_string)),
    );
    names
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(defaults: &Value, operation: Operation, body: &str) -> (String, Vec<String>) {
        let defaults = Defaults::new(&serde_json::from_value(defaults.clone()).unwrap());
        let (body, warnings) = defaults.apply(operation, Bytes::from(body.to_owned()));
        (String::from_utf8(body.to_vec()).unwrap(), warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_what_the_client_did_not_set_is_added_and_the_rest_keeps_its_bytes() {
        let defaults = json!({"store": false, "temperature": 0.5, "a\"b": [1, {}]});
        let (body, warnings) = apply(&defaults, Operation::ChatCompletions, r#" { "temperature" : 1.0, "m":"\u00e9"}"#);
        assert_eq!(body, r#" {"a\"b":[1,{}],"store":false, "temperature" : 1.0, "m":"\u00e9"}"#);
        assert_eq!(warnings, ["defaulted;field=a\"b", "defaulted;field=store"]);
        assert_eq!(apply(&json!({"store": false}), Operation::Responses, "{}").0, r#"{"store":false}"#);
    }

    #[test]
    fn null_and_other_spellings_are_the_clients_choice() {
        for (defaults, body) in [
            (json!({"store": false}), r#"{"store":null}"#),
            (json!({"store": false}), r#"{"st\u006fre":true}"#),
            (json!({"max_tokens": 9}), r#"{"max_completion_tokens":1}"#),
            (json!({"generationConfig": {}}), r#"{"generation_config":{"temperature":1}}"#),
            (json!({"safety_settings": []}), r#"{"safetySettings":[1]}"#),
        ] {
            assert_eq!(apply(&defaults, Operation::GenerateContent, body), (body.to_owned(), Vec::new()), "{defaults}");
        }
    }

    #[test]
    fn other_calls_stay_as_they_are() {
        for operation in [Operation::Embeddings, Operation::CountTokens, Operation::MessagesCountTokens] {
            assert_eq!(apply(&json!({"store": false}), operation, "{}").0, "{}");
        }
    }
}
