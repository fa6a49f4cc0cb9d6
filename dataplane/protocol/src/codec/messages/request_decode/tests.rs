use super::decode;
use crate::{
    dialect::Family,
    ir::{Block, Effort, MediaSource, OutputFormat, Request, Role, ToolChoice, ToolKind},
};

/// A request with these members beside the demanded ones.
fn request(members: &str) -> Request {
    decode(body(members).as_bytes()).unwrap()
}

fn body(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    let messages =
        if members.contains("\"messages\"") { "" } else { r#","messages":[{"role":"user","content":"hi"}]"# };
    format!(r#"{{"model":"m","max_tokens":9{messages}{comma}{members}}}"#)
}

fn conversation(blocks: &str, role: &str) -> Vec<Block> {
    let members = format!(r#""messages":[{{"role":"{role}","content":[{blocks}]}}]"#);
    request(&members).turns.remove(0).blocks
}

#[test]
fn hard_case_2_zeros_are_values() {
    let read = request(r#""temperature":0,"top_p":0.0,"top_k":0,"stream":false"#);
    assert_eq!(read.sampling.temperature.unwrap().to_string(), "0");
    assert_eq!(read.sampling.top_p.unwrap().to_string(), "0.0");
    assert_eq!(read.sampling.top_k.unwrap().to_string(), "0");
}

#[test]
fn hard_case_5_null_is_absent() {
    let read = request(r#""temperature":null,"tools":null,"system":null,"stop_sequences":null,"thinking":null"#);
    assert!(read.sampling.temperature.is_none() && read.tools.is_empty() && read.system.is_empty());
    assert!(read.extras.is_empty());
}

#[test]
fn hard_case_9_prewarming_keeps_its_zero() {
    let body = r#"{"model":"m","max_tokens":0,"messages":[]}"#;
    assert_eq!(decode(body.as_bytes()).unwrap().max_output, Some(0));
}

#[test]
fn hard_case_35_attribution_is_stripped() {
    let read = request(
        r#""system":[{"type":"text","text":"x-anthropic-billing-header: cc=1"},{"type":"text","text":"be brief","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#,
    );
    assert_eq!(read.system.len(), 1);
    let Block::Text(text) = &read.system[0] else { panic!() };
    assert_eq!(text.text, "be brief");
    assert_eq!(text.cache.as_ref().unwrap().ttl.as_deref(), Some("1h"));
}

#[test]
fn hard_case_217_strings_and_blocks() {
    let read = request(
        r#""messages":[{"role":"user","content":"a"},{"role":"system","content":"b"},{"role":"assistant","content":[{"type":"text","text":"c","cache_control":{"type":"ephemeral"}}]}]"#,
    );
    let roles: Vec<Role> = read.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::System, Role::Assistant]);
    assert!(matches!(&read.turns[2].blocks[0], Block::Text(text) if text.cache.is_some()));
}

#[test]
fn hard_case_169_tools_without_a_type() {
    let read = request(
        r#""tools":[{"name":"f","input_schema":{"b":1.0,"a":null}},{"type":"custom","name":"g"},{"type":"web_search_20250305","name":"web_search","max_uses":0}]"#,
    );
    assert!(matches!(&read.tools[0].kind, ToolKind::Function(Some(schema)) if schema.get() == r#"{"b":1.0,"a":null}"#));
    assert!(matches!(&read.tools[1].kind, ToolKind::Function(None)));
    assert!(matches!(&read.tools[2].kind, ToolKind::Server { kind, .. } if kind == "web_search_20250305"));
    assert!(read.extras.is_empty());
}

#[test]
fn tool_choice_and_parallel_calls() {
    let rows = [
        (r#"{"type":"auto"}"#, ToolChoice::Auto, None),
        (r#"{"type":"any","disable_parallel_tool_use":true}"#, ToolChoice::Required, Some(false)),
        (
            r#"{"type":"tool","name":"f","disable_parallel_tool_use":false}"#,
            ToolChoice::Named("f".to_owned()),
            Some(true),
        ),
        (r#"{"type":"none"}"#, ToolChoice::None, None),
    ];
    for (choice, expected, parallel) in rows {
        let read = request(&format!(r#""tool_choice":{choice}"#));
        assert_eq!(read.tool_choice, Some(expected));
        assert_eq!(read.parallel_tools, parallel, "{choice}");
    }
}

#[test]
fn reasoning_settings() {
    let rows = [
        (r#""thinking":{"type":"enabled","budget_tokens":2048}"#, Some(true), Some(2048), false, None),
        (r#""thinking":{"type":"adaptive","display":"summarized"}"#, Some(true), None, true, None),
        (r#""thinking":{"type":"disabled"}"#, Some(false), None, false, None),
        (r#""output_config":{"effort":"xhigh"}"#, None, None, false, Some(Effort::XHigh)),
    ];
    for (members, enabled, budget, adaptive, effort) in rows {
        let read = request(members).reasoning;
        assert_eq!(
            (read.enabled, read.budget, read.adaptive, read.effort),
            (enabled, budget, adaptive, effort),
            "{members}"
        );
    }
}

#[test]
fn schema_output() {
    let read = request(r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}"#);
    assert!(matches!(read.output, OutputFormat::JsonSchema { schema, .. } if schema.get() == r#"{"type":"object"}"#));
}

#[test]
fn media_and_results() {
    let blocks = conversation(
        r#"{"type":"tool_result","tool_use_id":"t","is_error":false,"content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"url","url":"https://a/b.png"}}]},
           {"type":"tool_result","tool_use_id":"u"},
           {"type":"document","title":"T","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"hi"}},
           {"type":"new_thing","x":1}"#,
        "user",
    );
    let Block::ToolResult(result) = &blocks[0] else { panic!() };
    assert_eq!((result.is_error, result.content.len()), (Some(false), 2)); // hard case 13
    assert!(matches!(&blocks[1], Block::ToolResult(empty) if empty.content.is_empty())); // hard case 179
    let Block::Document(document) = &blocks[2] else { panic!() };
    assert_eq!(document.citations, Some(true));
    assert!(matches!(&document.source, MediaSource::Inline { mime, data } if mime == "text/plain" && data == "aGk="));
    assert!(matches!(&blocks[3], Block::Unknown(unknown) if unknown.kind == "new_thing")); // hard case 23
}

#[test]
fn hard_case_143_carried_state_returns_to_its_place() {
    let carrier = |place, value: &str| {
        let state = crate::ir::Opaque { family: Family::Gemini, value: value.to_owned() };
        let signature = crate::codec::tagged_state::write(place, Some(&state));
        format!(r#"{{"type":"thinking","thinking":"","signature":"{signature}"}}"#)
    };
    use crate::codec::tagged_state::Place;
    let blocks = conversation(
        &format!(
            r#"{{"type":"text","text":"a"}},{},{},{{"type":"tool_use","id":"1","name":"f","input":{{}}}},{{"type":"tool_use","id":"2","name":"f","input":{{}}}},{}"#,
            carrier(Place::TextBefore, "for text"),
            carrier(Place::CallBehind, "for one"),
            carrier(Place::CallBefore, "for two"),
        ),
        "assistant",
    );
    assert_eq!(blocks.len(), 3);
    assert!(matches!(&blocks[0], Block::Text(text) if text.state.as_ref().unwrap().value == "for text")); // hard case 145
    assert!(matches!(&blocks[1], Block::ToolCall(call) if call.state.as_ref().unwrap().value == "for one"));
    assert!(matches!(&blocks[2], Block::ToolCall(call) if call.state.as_ref().unwrap().value == "for two"));
}

#[test]
fn native_reasoning_is_anthropics_own() {
    let blocks = conversation(
        r#"{"type":"thinking","thinking":"","signature":"Eq=="},{"type":"redacted_thinking","data":"zz"},{"type":"thinking","thinking":"free"}"#,
        "assistant",
    );
    assert!(matches!(&blocks[0], Block::Reasoning(r) if r.state.as_ref().unwrap().family == Family::Anthropic)); // hard case 156
    assert!(matches!(&blocks[1], Block::Reasoning(r) if r.redacted && r.state.as_ref().unwrap().value == "zz"));
    assert!(matches!(&blocks[2], Block::Reasoning(r) if r.state.is_none() && r.text == "free"));
}

#[test]
fn what_has_no_name_is_noted() {
    let read = request(
        r#""x_future":{"a":[1,null]},"container":"c","metadata":{"user_id":"u","x":1},"inference_geo":null,"context_management":{}"#,
    );
    let extras: Vec<(&str, bool)> = read.extras.iter().map(|extra| (extra.field.as_ref(), extra.essential)).collect();
    assert_eq!(
        extras,
        [("metadata.x", false), ("x_future", false), ("container", true), ("context_management", false)]
    );
    assert_eq!(read.user.as_deref(), Some("u"));
}

#[test]
fn illegal_bodies_name_the_place() {
    let rows = [
        ("[]", None),
        (r#"{"model":"m","messages":[]}"#, Some("max_tokens")),
        (r#"{"max_tokens":1,"messages":[]}"#, Some("model")),
        (r#"{"model":"m","max_tokens":1}"#, Some("messages")),
        (r#"{"model":"m","max_tokens":1,"messages":[{"role":"robot","content":""}]}"#, Some("messages[0].role")),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
            Some("messages[0].content[0].text"),
        ),
        (r#"{"model":"m","max_tokens":1,"messages":[],"thread":{"type":"create"}}"#, Some("thread")), // hard case 280
        (r#"{"model":"m","max_tokens":1,"messages":[],"tool_choice":{"type":"x"}}"#, Some("tool_choice.type")),
    ];
    for (body, field) in rows {
        assert_eq!(decode(body.as_bytes()).unwrap_err().field.as_deref(), field, "{body}");
    }
}
