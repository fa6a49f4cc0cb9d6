//! Members that the neutral representation has no name for: who gets them, and what is said when nobody does.

use serde_json::Value;

use crate::{
    dialect::Surface,
    ir::{Extra, Request},
    report::Report,
};

/// Longest text that is looked at for saying nothing.
const MAX_NEUTRAL: usize = 256;

/// The extras that go to a target of this surface as they are. Everything else is stated: hints as dropped, the rest as
/// refused.
///
/// Only top-level members can be handed on: positions of messages and tools do not survive the neutral representation.
pub fn native<'a>(request: &'a Request, target: Surface, from: Surface, report: &mut Report) -> Vec<&'a Extra> {
    let mut native = Vec::new();
    for extra in &request.extras {
        if extra.family == target.family() && from == target && !extra.field.contains("[]") {
            native.push(extra);
        } else if is_neutral(extra) {
            // Asking for nothing is no loss.
        } else if extra.essential {
            report.refused(extra.field.clone(), "cannot be expressed for the upstream");
        } else {
            report.dropped(extra.field.clone());
        }
    }
    native
}

/// Whether a member asks for nothing: empty, unspecified, or the default of every vendor that knows it.
fn is_neutral(extra: &Extra) -> bool {
    let (field, json) = (extra.field.as_ref(), extra.raw.get());
    match field {
        // Its presence alone turns the tool on.
        "web_search_options" => false,
        "store" | "stream_options.include_obfuscation" | "include_obfuscation" => json == "false",
        "verbosity" => json == "\"medium\"",
        _ => json.len() <= MAX_NEUTRAL && serde_json::from_str(json).is_ok_and(|value| says_nothing(&value)),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text.ends_with("_UNSPECIFIED"),
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::is_neutral;
    use crate::{dialect::Family, ir::Extra};

    fn neutral(field: &str, json: &str) -> bool {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        is_neutral(&Extra { family: Family::OpenAi, field: field.to_owned().into(), raw, essential: false })
    }

    #[test]
    fn asking_for_nothing_is_no_loss() {
        let rows = [
            ("safetySettings", "[]"),
            ("store", "false"),
            ("labels", "{}"),
            ("logit_bias", "{}"),
            ("context_management", r#"{"edits": []}"#),
            ("mcp_servers", "[]"),
            ("stream_options.include_obfuscation", "false"),
            ("generationConfig.mediaResolution", r#""MEDIA_RESOLUTION_UNSPECIFIED""#),
        ];
        for (field, json) in rows {
            assert!(neutral(field, json), "{field}");
        }
        let rows = [("store", "true"), ("web_search_options", "{}"), ("x", "0"), ("x", "false"), ("x", r#"["a"]"#)];
        for (field, json) in rows {
            assert!(!neutral(field, json), "{field}: {json}");
        }
    }
}
