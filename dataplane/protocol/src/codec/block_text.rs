//! Blocks that only their own vendor can take, told as text.
//!
//! A history that holds a vendor's own tool runs (web search, code execution, MCP) can go on at another vendor only if
//! they are told in words: refusing them ends the conversation and keeps fallback from saving it. What only the vendor
//! can read (encrypted content, signatures) and long data are left out, and the text is bounded.

use serde_json::Value;

use crate::ir::Unknown;

/// Longest text of one block, in bytes.
const MAX_TEXT: usize = 4_096;
/// Longest string that is told, in bytes: what is longer is data.
const MAX_STRING: usize = 1_024;
/// Longest block that is read, in bytes: what is longer is data.
const MAX_READ: usize = 256 * 1024;
/// Deepest level that is told.
const MAX_DEPTH: usize = 8;

/// The block in words: its type, and the members that a reader understands.
pub fn as_text(block: &Unknown) -> String {
    let raw = Some(block.raw.get()).filter(|raw| raw.len() <= MAX_READ);
    let value = raw.and_then(|raw| serde_json::from_str::<Value>(raw).ok()).unwrap_or_default();
    let told = prune(value, 0).map(|value| value.to_string()).unwrap_or_default();
    let mut text = format!("[{}: {told}]", block.kind);
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push_str(" …]");
    }
    text
}

/// The value without what nobody else can read; none if nothing is left.
fn prune(value: Value, depth: usize) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() || text.len() > MAX_STRING => None,
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => None,
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().filter_map(|one| prune(one, depth.saturating_add(1))).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| !is_opaque(name, depth));
            let kept: serde_json::Map<String, Value> =
                kept.filter_map(|(name, value)| Some((name, prune(value, depth.saturating_add(1))?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
    }
}

/// Members that only the vendor reads, and those of the block itself that its type says already.
fn is_opaque(name: &str, depth: usize) -> bool {
    name.starts_with("encrypted")
        || name.ends_with("ignature")
        || (depth == 0 && matches!(name, "type" | "id" | "tool_use_id" | "cache_control"))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{MAX_TEXT, as_text};
    use crate::{dialect::Family, ir::Unknown};

    fn told(kind: &str, json: &str) -> String {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        as_text(&Unknown { family: Family::Anthropic, kind: kind.to_owned(), raw })
    }

    #[test]
    fn what_a_reader_understands_is_told() {
        let search = r#"{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"tides"}}"#;
        assert_eq!(
            told("server_tool_use", search),
            r#"[server_tool_use: {"input":{"query":"tides"},"name":"web_search"}]"#
        );
        let found = r#"{"type":"r","tool_use_id":"s1","content":[{"url":"https://e.org","encrypted_content":"Eq","page_age":null}]}"#;
        assert_eq!(told("r", found), r#"[r: {"content":[{"url":"https://e.org"}]}]"#);
    }

    #[test]
    fn the_text_is_bounded() {
        let long = format!("[{}]", vec![format!("\"{}\"", "é".repeat(400)); 100].join(","));
        let text = told("x", &format!("{{\"content\":{long}}}"));
        assert!(text.len() < MAX_TEXT + 8 && text.ends_with(" …]"));
        assert_eq!(told("x", &format!("{{\"data\":\"{}\"}}", "A".repeat(5_000))), "[x: ]");
    }
}
