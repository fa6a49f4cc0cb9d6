//! What an answer repeats of its request (docs/protocols/responses.md): clients read their own settings out of it.

use std::collections::{HashMap, HashSet};

use super::names;
use crate::{
    codec::request_echo::RequestEcho,
    scan::{Kind, Scan, Value},
};

/// Most bytes that are repeated. A stream says them three times, and coding agents send some hundred KiB of tools; what
/// is larger is left out as if it had not been said.
const MAX_ECHO: usize = 1 << 20;

/// What is repeated, and what stands there if the request does not say it.
const REPEATED: [(&str, &str); 17] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("service_tier", "null"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "null"),
    ("top_p", "null"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// Reads a request's body.
pub fn of(scan: &Scan, body: &[u8]) -> RequestEcho {
    let mut members = String::new();
    for (name, default) in REPEATED {
        let said = scan.last(body, name).filter(|value| value.kind != Kind::Null);
        let said = said.and_then(|value| std::str::from_utf8(value.bytes(body)).ok());
        let fits = said.filter(|json| members.len().saturating_add(json.len()) <= MAX_ECHO);
        put(&mut members, name, fits.unwrap_or(default));
    }
    RequestEcho { members, namespaces: namespaces(scan, body), carries_state: carries_state(scan, body) }
}

/// What is repeated of a request that nobody knows.
pub fn unknown() -> String {
    let mut members = String::new();
    REPEATED.iter().for_each(|(name, default)| put(&mut members, name, default));
    members
}

/// In one line: JSON has line ends between its tokens alone.
fn put(members: &mut String, name: &str, json: &str) {
    if !members.is_empty() {
        members.push(',');
    }
    members.push('"');
    members.push_str(name);
    members.push_str("\":");
    members.extend(json.chars().map(|letter| if matches!(letter, '\n' | '\r') { ' ' } else { letter }));
}

/// A client that asks for the state of reasoning gets it. So does one that lets OpenAI keep the conversation, which
/// nobody does here: without the state it could not go on.
fn carries_state(scan: &Scan, body: &[u8]) -> bool {
    let stored = scan.last(body, "store").is_none_or(|store| store.kind != Kind::Bool(false));
    let include = scan.last(body, "include").and_then(|include| include.small(body));
    let asked = include.is_some_and(|include| {
        let mut names = include.as_array().into_iter().flatten();
        names.any(|name| name.as_str() == Some("reasoning.encrypted_content"))
    });
    stored || asked
}

/// The tools of namespaces, by their flat names. A tool that has such a name by itself keeps it.
fn namespaces(scan: &Scan, body: &[u8]) -> HashMap<String, (String, String)> {
    let (mut found, mut plain) = (HashMap::new(), HashSet::new());
    let Some(tools) = scan.last(body, "tools") else { return found };
    let text = |value: Option<Value>| value.and_then(|value| value.text(body).map(std::borrow::Cow::into_owned));
    tools.each_element(body, |tool| {
        let [kind, name, inner] = tool.named(body, ["type", "name", "tools"]);
        let (Some(name), Some(inner)) = (text(name), inner.filter(|_| text(kind).as_deref() == Some("namespace")))
        else {
            plain.extend(text(tool.member(body, "name")));
            return;
        };
        inner.each_element(body, |tool| {
            if let Some(own) = text(tool.member(body, "name")).filter(|_| found.len() < names::MAX_GROUPED) {
                found.insert(names::flat(&name, &own), (name.clone(), own));
            }
        });
    });
    found.retain(|flat, _| !plain.contains(flat));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_ECHO, of, unknown};
    use crate::scan::Scan;

    fn echo(body: &str) -> (Value, crate::codec::request_echo::RequestEcho) {
        let echo = of(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes());
        assert!(!echo.members.contains('\n'));
        (serde_json::from_str(&format!("{{{}}}", echo.members)).unwrap(), echo)
    }

    #[test]
    fn what_was_said_is_repeated_and_the_rest_has_its_default() {
        let (said, echo) = echo(
            "{\"model\":\"m\",\"input\":\"x\",\"temperature\":0.50,\"tools\":[\n{\"type\":\"function\",\r\n\"name\":\"f\"}],\
             \"metadata\":null,\"store\":false}",
        );
        assert_eq!(said["temperature"].to_string(), "0.5");
        assert!(echo.members.contains("\"temperature\":0.50"), "as it was written");
        assert_eq!((&said["tools"][0]["name"], &said["metadata"]), (&json!("f"), &json!({})));
        assert_eq!((&said["tool_choice"], &said["instructions"]), (&json!("auto"), &Value::Null));
        assert!(said.get("input").is_none() && !echo.carries_state);
        assert!(serde_json::from_str::<Value>(&format!("{{{}}}", unknown())).is_ok());
    }

    #[test]
    fn it_is_bounded() {
        let long = "x".repeat(MAX_ECHO + 1);
        let (said, echo) = echo(&json!({"instructions": long, "user": "u"}).to_string());
        assert_eq!((&said["instructions"], &said["user"]), (&Value::Null, &json!("u")));
        assert!(echo.members.len() < 1_024);
    }

    #[test]
    fn state_goes_to_the_client_unless_it_wants_neither_it_nor_storage() {
        for (body, carries) in [
            (r#"{"store":false}"#, false),
            (r#"{"store":false,"include":["reasoning.encrypted_content"]}"#, true),
            (r#"{"store":true}"#, true),
            ("{}", true),
        ] {
            assert_eq!(echo(body).1.carries_state, carries, "{body}");
        }
    }

    #[test]
    fn tools_of_namespaces_are_known_by_their_flat_names() {
        let tool = |name: &str| json!({"type": "function", "name": name});
        let (_, echo) = echo(
            &json!({"tools": [tool("a__c"), {"type": "namespace", "name": "a", "tools": [tool("b"), tool("c")]}]})
                .to_string(),
        );
        assert_eq!(echo.namespaces.get("a__b"), Some(&("a".to_owned(), "b".to_owned())));
        assert_eq!(echo.namespaces.len(), 1, "a plain tool keeps its own name");
    }
}
