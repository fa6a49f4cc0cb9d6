//! Reasoning of other vendors in a body that passes through.
//!
//! A client stores what the gateway gave it, with the issuer in the signature (docs/protocols/reasoning.md). When the
//! conversation goes on at an upstream that speaks the client's own dialect, such blocks are not that vendor's: it
//! would refuse their signatures. They are cut out of the body; every other byte stays.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    codec::{
        gemini,
        responses::{OWN_REASONING, OWN_SEARCH},
        tagged_state,
    },
    dialect::Operation,
    scan::{MAX_ELEMENTS, Scan, Value},
    splice::Edit,
};

/// What is cut out, and the field that a client's developer knows it by; none if nothing is. Lists longer than any vendor
/// takes are left as they are.
pub(super) fn edits(operation: Operation, body: &[u8], scan: &Scan) -> Option<(Vec<Edit>, &'static str)> {
    let (needle, list, content, field) = match operation {
        Operation::Messages | Operation::MessagesCountTokens => {
            (tagged_state::TAG.as_bytes(), "messages", "content", "messages[].content[].thinking")
        }
        Operation::GenerateContent => {
            (gemini::SIGNATURE_TAG, "contents", "parts", "contents[].parts[].thoughtSignature")
        }
        Operation::Converse => {
            (tagged_state::TAG.as_bytes(), "messages", "content", "messages[].content[].reasoningContent")
        }
        Operation::Responses | Operation::ResponsesInputTokens => return of_responses(body, scan),
        _ => return None,
    };
    let find = |part: &Value| match operation {
        Operation::GenerateContent => of_gemini(body, part),
        Operation::Converse => of_converse(body, part),
        _ => of_messages(body, part),
    };
    // Nearly no body holds one.
    memchr::memmem::find(body, needle)?;
    let mut edits = Vec::new();
    let turns = scan.last(body, list)?.elements(body, MAX_ELEMENTS)?;
    for (index, turn) in turns.iter().enumerate() {
        let Some(content) = turn.member(body, content) else { continue };
        let parts = content.elements(body, MAX_ELEMENTS)?;
        let found: Vec<Option<Foreign>> = parts.iter().map(find).collect();
        if !found.is_empty() && found.iter().all(|one| matches!(one, Some(Foreign::Whole))) {
            // A turn without content is refused.
            edits.push(cut(&turns, index));
            continue;
        }
        let mut runs = Runs::default();
        for (place, one) in found.into_iter().enumerate() {
            match one {
                None => {}
                Some(Foreign::Whole) => runs.add(place),
                Some(Foreign::Signature(span)) => edits.push(Edit::string(span, &gemini::stand_in_signature())),
            }
        }
        edits.extend(runs.cuts(&parts));
    }
    (!edits.is_empty()).then_some((edits, field))
}

/// What of a part is another vendor's.
enum Foreign {
    /// All of it.
    Whole,
    /// The signature at this place.
    Signature(Range<usize>),
}

/// Reasoning items are items of their own. Those that were made here without state have an id that the vendor would look
/// for in vain, and so have searches of another vendor's.
fn of_responses(body: &[u8], scan: &Scan) -> Option<(Vec<Edit>, &'static str)> {
    let has = |text: &str| memchr::memmem::find(body, text.as_bytes()).is_some();
    if !has(tagged_state::TAG) && !has(OWN_REASONING) && !has(OWN_SEARCH) {
        return None;
    }
    let items = scan.last(body, "input")?.elements(body, MAX_ELEMENTS)?;
    let mut runs = Runs::default();
    for (place, item) in items.iter().enumerate() {
        let [id, state] = item.named(body, ["id", "encrypted_content"]);
        let begins = |value: Option<Value>, with: &str| {
            value.and_then(|value| value.text(body).map(|text| text.starts_with(with))).unwrap_or(false)
        };
        if begins(state, tagged_state::TAG) || begins(id.clone(), OWN_REASONING) || begins(id, OWN_SEARCH) {
            runs.add(place);
        }
    }
    let edits = runs.cuts(&items);
    (!edits.is_empty()).then_some((edits, "input[].encrypted_content"))
}

fn of_messages(body: &[u8], block: &Value) -> Option<Foreign> {
    let signature = block.member(body, "signature")?;
    signature.text(body)?.starts_with(tagged_state::TAG).then_some(Foreign::Whole)
}

fn of_converse(body: &[u8], block: &Value) -> Option<Foreign> {
    let signature = block.member(body, "reasoningContent")?.member(body, "reasoningText")?.member(body, "signature")?;
    signature.text(body)?.starts_with(tagged_state::TAG).then_some(Foreign::Whole)
}

fn of_gemini(body: &[u8], part: &Value) -> Option<Foreign> {
    let signature = ["thoughtSignature", "thought_signature"].into_iter().find_map(|name| part.member(body, name))?;
    let text = signature.text(body)?;
    let decoded = STANDARD.decode(text.as_bytes()).ok()?;
    if !decoded.starts_with(tagged_state::TAG.as_bytes()) {
        return None;
    }
    let thought = part.member(body, "thought").is_some_and(|thought| thought.bytes(body) == b"true");
    Some(if thought { Foreign::Whole } else { Foreign::Signature(signature.span) })
}

/// Neighbouring elements that go together.
#[derive(Default)]
struct Runs(Vec<Range<usize>>);

impl Runs {
    fn add(&mut self, place: usize) {
        match self.0.last_mut() {
            Some(last) if last.end == place => last.end = place.saturating_add(1),
            _ => self.0.push(place..place.saturating_add(1)),
        }
    }

    /// The edits that take the runs out, each with the comma behind it, or before it at the end of the list.
    fn cuts(self, parts: &[Value]) -> Vec<Edit> {
        let cut = |run: Range<usize>| {
            let first = parts.get(run.start)?.span.start;
            let span = match (parts.get(run.end), run.start.checked_sub(1).and_then(|before| parts.get(before))) {
                (Some(behind), _) => first..behind.span.start,
                (None, Some(before)) => before.span.end..parts.get(run.end.checked_sub(1)?)?.span.end,
                (None, None) => first..parts.get(run.end.checked_sub(1)?)?.span.end,
            };
            Some(Edit { span, with: Bytes::new() })
        };
        self.0.into_iter().filter_map(cut).collect()
    }
}

fn cut(turns: &[Value], index: usize) -> Edit {
    let mut runs = Runs::default();
    runs.add(index);
    runs.cuts(turns).pop().unwrap_or(Edit { span: 0..0, with: Bytes::new() })
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::edits;
    use crate::{dialect::Operation, scan::Scan, splice::apply};

    fn cleaned(operation: Operation, body: &str) -> String {
        let scan = Scan::read(body.as_bytes()).unwrap();
        match edits(operation, body.as_bytes(), &scan) {
            Some((edits, _)) => String::from_utf8(apply(body.as_bytes(), edits)).unwrap(),
            None => body.to_owned(),
        }
    }

    #[test]
    fn foreign_thoughts_leave_a_messages_body() {
        let foreign = r#"{"type":"thinking","thinking":"x","signature":"gw1.openai.thought."}"#;
        let own = r#"{"type":"thinking","thinking":"y","signature":"EqQB"}"#;
        let text = r#"{"type":"text","text":"gw1. is a tag"}"#;
        let rows = [
            (format!("[{foreign}, {text}]"), format!("[{text}]")),
            (format!("[{text} ,{foreign}]"), format!("[{text}]")),
            (format!("[{own},{foreign},{foreign},{text}]"), format!("[{own},{text}]")),
            (format!("[{foreign},{text},{foreign}]"), format!("[{text}]")),
            (format!("[{own},{text}]"), format!("[{own},{text}]")),
        ];
        for (content, expected) in rows {
            let body = |content: &str| {
                format!(
                    r#"{{"model":"m", "messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":{content}}}]}}"#
                )
            };
            let cleaned = cleaned(Operation::Messages, &body(&content));
            let same: serde_json::Value = serde_json::from_str(&cleaned).unwrap();
            assert_eq!(same, serde_json::from_str::<serde_json::Value>(&body(&expected)).unwrap(), "{content}");
        }
        let only =
            format!(r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{foreign}]}}]}}"#);
        assert_eq!(cleaned(Operation::Messages, &only), r#"{"messages":[{"role":"user","content":"q"}]}"#);
    }

    #[test]
    fn foreign_reasoning_leaves_a_responses_body() {
        let foreign =
            r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gw1.anthropic.thought.RXE"}"#;
        let bare = r#"{"type":"reasoning","id":"rs_gw1_r_0","summary":[{"type":"summary_text","text":"x"}]}"#;
        let own = r#"{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gAAA"}"#;
        let text = r#"{"role":"user","content":"gw1. and rs_gw1_ are words"}"#;
        let searched = r#"{"type":"web_search_call","id":"ws_gw1_r_0","status":"completed"}"#;
        let rows = [
            (format!("[{searched},{own},{text}]"), format!("[{own},{text}]")),
            (format!("[{foreign}, {text}]"), format!("[{text}]")),
            (format!("[{own},{bare},{foreign},{text}]"), format!("[{own},{text}]")),
            (format!("[{text} ,{bare}]"), format!("[{text}]")),
            (format!("[{own},{text}]"), format!("[{own},{text}]")),
        ];
        for (input, expected) in rows {
            let body = |input: &str| format!(r#"{{"model":"m", "input":{input}}}"#);
            assert_eq!(cleaned(Operation::Responses, &body(&input)), body(&expected));
        }
        let words = r#"{"input":"gw1. rs_gw1_"}"#;
        assert_eq!(cleaned(Operation::Responses, words), words);
    }

    #[test]
    fn foreign_signatures_leave_a_gemini_body() {
        let foreign = STANDARD.encode("gw1.anthropic.thought.EqQB");
        let thought = format!(r#"{{"text":"x","thought":true,"thoughtSignature":"{foreign}"}}"#);
        let call = format!(r#"{{"functionCall":{{"name":"f"}},"thoughtSignature":"{foreign}"}}"#);
        let body = format!(r#"{{"contents":[{{"role":"model","parts":[{thought},{call}]}}]}}"#);
        let cleaned = cleaned(Operation::GenerateContent, &body);
        assert!(!cleaned.contains(&foreign) && !cleaned.contains("\"thought\":true"), "{cleaned}");
        assert!(cleaned.contains(&crate::codec::gemini::stand_in_signature()), "{cleaned}");
    }
}
