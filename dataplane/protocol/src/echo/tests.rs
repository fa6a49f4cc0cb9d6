use serde_json::{Value, json};

use super::*;
use crate::{
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    ir::FinishReason,
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest},
    response_stats::ResponseStats,
};

/// The way a real request takes: read, prepared, echoed, carried back.
fn through(operation: Operation, framing: Framing, body: &Value) -> (Vec<u8>, ResponseStats) {
    let gemini = operation.model_in_path();
    let matched = MatchedPath {
        operation,
        model: gemini.then(|| "echo".into()),
        framing: gemini.then_some(framing),
        query: None,
        unknown_query: false,
        path: None,
    };
    let mut body = body.clone();
    if !gemini {
        body["model"] = "echo".into();
    }
    if matches!(operation, Operation::ChatCompletions | Operation::Responses | Operation::Messages) {
        body["stream"] = (framing != Framing::Whole).into();
    }
    let call = ParsedRequest::read(matched, Head::default(), body.to_string().into()).expect("legal");
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[operation],
        model: None,
        default_max_output: 100,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    let prepared = call.prepare(to, Mode::Default).expect("passthrough");
    let echoed = answer(operation, prepared.translation.wire(), &prepared.path, &prepared.body);
    assert_eq!(echoed, answer(operation, prepared.translation.wire(), &prepared.path, &prepared.body), "deterministic");
    assert_eq!(echoed.status, 200, "{:?}", echoed.chunks);
    let reply = call.response_context("x", 1);
    if framing == Framing::Whole {
        let body = Bytes::from(echoed.chunks.concat());
        let whole = prepared.translation.whole(&reply, 200, Some(echoed.content_type), body).expect("an answer");
        return (whole.body.to_vec(), whole.stats);
    }
    assert_eq!(echoed.content_type, prepared.translation.stream_content_type());
    let mut stream = prepared.translation.stream(&reply);
    let mut out: Vec<u8> = echoed.chunks.into_iter().flat_map(|chunk| stream.push(chunk)).collect();
    out.extend_from_slice(&stream.finish());
    (out, stream.stats().clone())
}

fn chats() -> [(Operation, Framing); 9] {
    [
        (Operation::ChatCompletions, Framing::Whole),
        (Operation::ChatCompletions, Framing::Sse),
        (Operation::Responses, Framing::Whole),
        (Operation::Responses, Framing::Sse),
        (Operation::Messages, Framing::Whole),
        (Operation::Messages, Framing::Sse),
        (Operation::GenerateContent, Framing::Whole),
        (Operation::GenerateContent, Framing::Sse),
        (Operation::GenerateContent, Framing::JsonArray),
    ]
}

fn asked(operation: Operation, text: &str) -> Value {
    match operation {
        Operation::Responses => json!({ "input": text }),
        Operation::GenerateContent => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        _ => json!({"max_tokens": 100, "messages": [{"role": "user", "content": text}]}),
    }
}

#[test]
fn every_surface_echoes_in_every_framing() {
    for (operation, framing) in chats() {
        let (body, seen) = through(operation, framing, &asked(operation, "hello"));
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(body.contains("hello") && body.contains("Echo: "), "{operation} {framing:?}: {body}");
        assert!(seen.complete && seen.content && seen.error.is_none(), "{operation} {framing:?}: {seen:?}");
        assert_eq!((seen.finish, seen.output_chars), (Some(FinishReason::Stop), 11), "{operation} {framing:?}");
        let usage = seen.usage.expect("usage");
        assert!(usage.total_input() > 5 && usage.total_output() == 3, "{operation} {framing:?}: {usage:?}");
    }
}

#[test]
fn offered_tools_are_called_with_legal_arguments() {
    let schema = json!({"type": "object", "required": ["city", "unit", "days"], "properties": {
        "city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer", "minimum": 0}, "x": {}}});
    for (operation, framing) in chats() {
        let mut body = asked(operation, "weather");
        body["tools"] = match operation {
            Operation::ChatCompletions => {
                json!([{"type": "function", "function": {"name": "get", "parameters": schema}}])
            }
            Operation::Responses => json!([{"type": "function", "name": "get", "parameters": schema}]),
            Operation::Messages => json!([{"name": "get", "input_schema": schema}]),
            _ => json!([{"functionDeclarations": [{"name": "get", "parametersJsonSchema": schema}]}]),
        };
        let (body, seen) = through(operation, framing, &body);
        let plain = String::from_utf8(body).expect("UTF-8").replace('\\', "");
        for member in ["\"city\":\"echo\"", "\"unit\":\"C\"", "\"days\":0", "\"get\""] {
            assert!(plain.contains(member), "{operation} {framing:?}: {plain}");
        }
        assert_eq!(seen.finish, Some(FinishReason::ToolCalls), "{operation} {framing:?}");
    }
}

#[test]
fn a_tools_result_is_answered_in_words() {
    let chat = json!({"tools": [{"type": "function", "function": {"name": "get"}}], "messages": [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"}]});
    let responses = json!({"tools": [{"type": "function", "name": "get"}], "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "weather"}]},
        {"type": "function_call", "call_id": "c", "name": "get", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"}]});
    for (operation, body) in [(Operation::ChatCompletions, chat), (Operation::Responses, responses)] {
        let (body, seen) = through(operation, Framing::Whole, &body);
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(body.contains("Echo of the tool's answer: sunny"), "{body}");
        assert_eq!(seen.finish, Some(FinishReason::Stop));
    }
}

#[test]
fn limits_and_schemas_are_kept() {
    for (operation, framing) in chats() {
        let mut body = asked(operation, "a long story");
        match operation {
            Operation::Responses => body["max_output_tokens"] = 1.into(),
            Operation::GenerateContent => body["generationConfig"] = json!({"maxOutputTokens": 1}),
            _ => body["max_tokens"] = 1.into(),
        }
        let (_, seen) = through(operation, framing, &body);
        assert_eq!((seen.finish, seen.output_chars), (Some(FinishReason::Length), 4), "{operation} {framing:?}");
    }
    let mut body = asked(Operation::ChatCompletions, "x");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {
        "type": "object", "required": ["list"], "properties": {"list": {"$ref": "#/$defs/l"}},
        "$defs": {"l": {"type": "array", "minItems": 1, "items": {"type": ["null", "boolean"]}}}}}});
    let (body, _) = through(Operation::ChatCompletions, Framing::Whole, &body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["choices"][0]["message"]["content"], r#"{"list":[true]}"#);
}

#[test]
fn vectors_have_length_one_and_the_size_asked_for() {
    let embed = |body: Value| -> Value {
        serde_json::from_slice(&through(Operation::Embeddings, Framing::Whole, &body).0).expect("JSON")
    };
    let body = embed(json!({"input": ["a", "b", "a"], "dimensions": 40}));
    let vector = |index: usize| -> Vec<f64> {
        let members = body["data"][index]["embedding"].as_array().expect("floats").iter();
        members.map(|member| member.as_f64().expect("a float")).collect()
    };
    assert_eq!(vector(0).len(), 40);
    assert!((vector(0).iter().map(|member| member * member).sum::<f64>() - 1.0).abs() < 1e-5);
    assert!(vector(0) == vector(2) && vector(0) != vector(1));
    assert_eq!(body["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let packed = embed(json!({"input": "a", "dimensions": 40, "encoding_format": "base64"}));
    assert_eq!(packed["data"][0]["embedding"].as_str().map(str::len), Some(216), "160 bytes");
    assert_eq!(embed(json!({"input": [[1, 2], [3]]}))["data"].as_array().map(Vec::len), Some(2));
    let refused =
        answer(Operation::Embeddings, Wire::Whole, "/embeddings", br#"{"model":"e","input":"a","dimensions":0}"#);
    assert_eq!(refused.status, 400);
    let batch = json!({"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3}]});
    let (batch, seen) = through(Operation::BatchEmbedContents, Framing::Whole, &batch);
    let batch: Value = serde_json::from_slice(&batch).expect("JSON");
    assert_eq!(batch["embeddings"][0]["values"].as_array().map(Vec::len), Some(3));
    assert_eq!(seen.usage.and_then(|usage| usage.input), Some(1));
}

#[test]
fn counts_are_whole_numbers_above_zero() {
    let cases = [
        (Operation::MessagesCountTokens, "input_tokens"),
        (Operation::ResponsesInputTokens, "input_tokens"),
        (Operation::CountTokens, "totalTokens"),
    ];
    for (operation, member) in cases {
        let (body, _) = through(operation, Framing::Whole, &json!({"messages": [], "contents": [], "input": "x"}));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(body[member].as_u64().is_some_and(|count| count > 0), "{operation}: {body}");
    }
}

#[test]
fn illegal_bodies_are_refused_in_the_dialect() {
    let refused = answer(Operation::Messages, Wire::Whole, "/v1/messages", br#"{"model":"m","messages":3}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.chunks.concat().starts_with(br#"{"type":"error","error":{"type":"invalid_request_error""#));
    assert_eq!(answer(Operation::Responses, Wire::Whole, "/responses", br#"{"model":"m"}"#).status, 400);
    assert_eq!(answer(Operation::ChatCompletions, Wire::Whole, "/chat/completions", b"{").status, 400);
}

#[test]
fn little_does_not_become_much() {
    let deep = r##"{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"array","minItems":16,"items":{"$ref":"#/$defs/a"}}}}"##;
    let spaces = " ".repeat(1 << 20);
    let texts = vec!["\"x\""; 2_048].join(",");
    let rows = [
        (
            Operation::ChatCompletions,
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{deep}}}}}]}}"#
            ),
        ),
        (
            Operation::ChatCompletions,
            format!(r#"{{"model":"m","n":8,"stream":true,"messages":[{{"role":"user","content":"x{spaces}"}}]}}"#),
        ),
        (Operation::Embeddings, format!(r#"{{"model":"m","dimensions":4096,"input":[{texts}]}}"#)),
    ];
    for (operation, body) in rows {
        let wire = if body.contains("stream") { Wire::Sse } else { Wire::Whole };
        let answer = answer(operation, wire, "", body.as_bytes());
        let bytes: usize = answer.chunks.iter().map(Bytes::len).sum();
        assert!(bytes < 8 << 20, "{operation:?}: {bytes}");
    }
}
