use serde_json::{Value, json};

use super::*;
use crate::report::{MAX_NAME_BYTES, MAX_WARNINGS, Mode, Report, Warning};

fn rewrite(body: &Value) -> Result<Option<(Value, Vec<String>)>, Malformed> {
    let body = body.to_string();
    let scan = Scan::read(body.as_bytes()).unwrap();
    let rewritten = rewritten(&scan, body.as_bytes())?;
    Ok(rewritten.map(|it| {
        let dropped = it.lost.fields.iter().map(ToString::to_string).collect();
        (serde_json::from_slice(&it.body).unwrap(), dropped)
    }))
}

#[test]
fn a_chat_request_stays_one() {
    for body in [
        json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "input": "y"}),
        json!({"model": "m", "messages": []}),
        json!({"model": "m", "input": null}),
    ] {
        assert_eq!(rewrite(&body), Ok(None), "{body}");
    }
}

#[test]
fn cursors_body_becomes_the_chat_request_that_it_means() {
    let body = json!({
        "model": "m", "stream": true, "messages": [], "user": "u", "temperature": 0,
        "stream_options": {"include_usage": true},
        "instructions": "be brief",
        "input": [
            {"role": "system", "content": "you code"},
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}]},
            {"type": "reasoning", "encrypted_content": "x", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":0}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** x"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]}],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false},
            {"type": "function", "function": {"name": "g"}},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
            {"type": "web_search"}],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
        "max_output_tokens": 0, "include": ["reasoning.encrypted_content"], "store": false,
    });
    let (chat, dropped) = rewrite(&body).unwrap().unwrap();
    let expected = json!({
        "model": "m", "stream": true, "user": "u", "temperature": 0, "stream_options": {"include_usage": true},
        "store": false, "max_completion_tokens": 0, "reasoning_effort": "high", "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "system", "content": "you code"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}]},
            {"role": "assistant", "content": [{"type": "text", "text": "ok"}], "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":0}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "done"}]}],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": false}},
            {"type": "function", "function": {"name": "g"}},
            {"type": "custom", "custom": {"name": "patch",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    });
    assert_eq!(chat, expected, "{chat:#}");
    assert_eq!(dropped, ["input[2]", "reasoning.summary", "tools[3]", "include"]);
}

#[test]
fn a_choice_of_tools_becomes_chats_or_is_told() {
    let function = json!({"type": "function", "name": "f"});
    let custom = json!({"type": "custom", "name": "c"});
    let inner = json!([{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]);
    let allowed =
        json!({"type": "allowed_tools", "mode": "required", "tools": [function, custom, {"type": "web_search"}]});
    let in_chat = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": inner}});
    let hosted = json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]});
    for (choice, expected, dropped) in [
        (json!("required"), Some(json!("required")), &[][..]),
        (function, Some(inner[0].clone()), &[]),
        (custom, Some(inner[1].clone()), &[]),
        (allowed, Some(in_chat.clone()), &["tool_choice.tools[2]"]),
        (in_chat.clone(), Some(in_chat), &[]),
        (json!({"type": "web_search"}), None, &["tool_choice"]),
        (hosted, None, &["tool_choice.tools[0]", "tool_choice"]),
    ] {
        let (chat, lost) = rewrite(&json!({"model": "m", "input": "x", "tool_choice": choice})).unwrap().unwrap();
        assert_eq!(
            (chat.get("tool_choice"), lost),
            (expected.as_ref(), dropped.iter().map(ToString::to_string).collect()),
            "{choice}"
        );
    }
    let unnamed =
        json!({"model": "m", "input": "x", "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function"}]}});
    assert_eq!(rewrite(&unnamed).unwrap_err().field.as_deref(), Some("tool_choice.tools[0].name"));
}

#[test]
fn what_both_dialects_spelling_says_stands_there_once() {
    let body = br#"{"model":"m","input":"x","max_completion_tokens":5,"max_output_tokens":9,"reasoning_effort":"low",
        "reasoning":{"effort":"high"},"verbosity":"low","text":{"verbosity":"high","format":{"type":"json_object"}},
        "response_format":{"type":"text"},"logprobs":true,"top_logprobs":2}"#;
    let chat = rewritten(&Scan::read(body).unwrap(), body).unwrap().unwrap();
    let text = std::str::from_utf8(&chat.body).unwrap();
    for name in ["max_completion_tokens", "reasoning_effort", "verbosity", "response_format", "logprobs"] {
        assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{text}");
    }
    let expected = json!({"model": "m", "max_completion_tokens": 9, "reasoning_effort": "high", "verbosity": "high",
        "response_format": {"type": "json_object"}, "logprobs": true, "top_logprobs": 2,
        "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(serde_json::from_slice::<Value>(&chat.body).unwrap(), expected);
    let lost: Vec<_> = chat.lost.fields.iter().map(ToString::to_string).collect();
    assert_eq!(lost, ["max_completion_tokens", "reasoning_effort", "verbosity", "response_format"]);
}

#[test]
fn what_chat_cannot_express_is_refused_by_name() {
    for (body, field) in [
        (json!({"model": "m", "input": "x", "previous_response_id": "r"}), "previous_response_id"),
        (json!({"model": "m", "input": [{"type": "item_reference", "id": "i"}]}), "input[0].type"),
        (
            json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}),
            "input[0].content[0].image_url",
        ),
        (json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id"),
        (json!({"model": "m", "input": [7]}), "input[0]"),
        (json!({"model": "m", "input": 7}), "input"),
    ] {
        assert_eq!(rewrite(&body).unwrap_err().field.as_deref(), Some(field), "{body}");
    }
    let twice = br#"{"model":"m","input":"x","input":"y"}"#;
    assert!(rewritten(&Scan::read(twice).unwrap(), twice).is_err());
}

#[test]
fn many_small_items_stay_within_the_bound() {
    let items: Vec<Value> =
        (0..20_000).map(|at| json!({"type": "function_call", "call_id": at.to_string(), "name": "f"})).collect();
    let body = json!({"model": "m", "input": items});
    let (chat, _) = rewrite(&body).unwrap().unwrap();
    assert!(chat.to_string().len() < body.to_string().len() * GROWTH.0);
}

#[test]
fn what_is_lost_is_named_up_to_a_bound() {
    let items: Vec<Value> = (0..90_000).map(|_| json!({"type": "reasoning"})).collect();
    let long = "x".repeat(100_000);
    let body = json!({"model": "m", "input": items, "reasoning": {long: 1}}).to_string();
    let lost = rewritten(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes()).unwrap().unwrap().lost;
    assert_eq!((lost.fields.len(), lost.more), (MAX_WARNINGS, 90_001 - MAX_WARNINGS as u64));
    let mut report = Report::new(Mode::Default);
    lost.report(&mut report);
    assert_eq!(report.finish().unwrap().last(), Some(&Warning::More { count: lost.more }));
    let name = "y".repeat(100_000);
    let body = json!({"model": "m", "input": "x", "reasoning": {name: 1}}).to_string();
    let lost = rewritten(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes()).unwrap().unwrap().lost;
    assert!(lost.fields[0].len() <= MAX_NAME_BYTES + '…'.len_utf8(), "{}", lost.fields[0].len());
}

#[test]
fn a_tree_of_too_many_objects_is_refused_before_it_is_built() {
    let parts = vec![json!({}); 90_000];
    let items: Vec<Value> = (0..3).map(|_| json!({"role": "user", "content": parts})).collect();
    let body = json!({"model": "m", "input": items}).to_string();
    let error = rewritten(&Scan::read(body.as_bytes()).unwrap(), body.as_bytes()).unwrap_err();
    assert!(error.message.contains("JSON objects"), "{error}");
}
