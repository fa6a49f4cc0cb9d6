use serde_json::json;

use super::*;
use crate::{
    call::{Call, Destination},
    exchange::Observed,
    inbound::Endpoint,
    ir::FinishReason,
    limits::ModelLimits,
    report::Mode,
};

/// The way a real request takes: read, prepared, echoed, carried back.
fn through(surface: Surface, framing: Framing, body: &Value) -> (Vec<u8>, Observed) {
    let gemini = surface.model_in_path();
    let endpoint = Endpoint {
        surface,
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
    if matches!(surface, Surface::ChatCompletions | Surface::Responses | Surface::Messages) {
        body["stream"] = (framing != Framing::Whole).into();
    }
    let call = Call::read(endpoint, Head::default(), body.to_string().into()).expect("legal");
    let to = Destination {
        surfaces: &[surface],
        model: None,
        default_max_output: 100,
        limits: ModelLimits::default(),
        max_body: 32 << 20,
    };
    let prepared = call.prepare(to, Mode::Default).expect("passthrough");
    let echoed = answer(surface, call.framing(), &prepared.path, &prepared.body);
    assert_eq!(echoed, answer(surface, call.framing(), &prepared.path, &prepared.body), "deterministic");
    assert_eq!(echoed.status, 200, "{:?}", echoed.chunks);
    let reply = call.reply("x", 1);
    if framing == Framing::Whole {
        let body = Bytes::from(echoed.chunks.concat());
        let whole = prepared.exchange.whole(&reply, 200, Some(echoed.content_type), body).expect("an answer");
        return (whole.body.to_vec(), whole.observed);
    }
    assert_eq!(echoed.content_type, prepared.exchange.stream_content_type());
    let mut stream = prepared.exchange.stream(&reply);
    let mut out: Vec<u8> = echoed.chunks.into_iter().flat_map(|chunk| stream.push(chunk)).collect();
    out.extend_from_slice(&stream.finish());
    (out, stream.observed().clone())
}

fn chats() -> [(Surface, Framing); 9] {
    [
        (Surface::ChatCompletions, Framing::Whole),
        (Surface::ChatCompletions, Framing::Sse),
        (Surface::Responses, Framing::Whole),
        (Surface::Responses, Framing::Sse),
        (Surface::Messages, Framing::Whole),
        (Surface::Messages, Framing::Sse),
        (Surface::GenerateContent, Framing::Whole),
        (Surface::GenerateContent, Framing::Sse),
        (Surface::GenerateContent, Framing::JsonArray),
    ]
}

fn asked(surface: Surface, text: &str) -> Value {
    match surface {
        Surface::Responses => json!({ "input": text }),
        Surface::GenerateContent => json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        _ => json!({"max_tokens": 100, "messages": [{"role": "user", "content": text}]}),
    }
}

#[test]
fn every_surface_echoes_in_every_framing() {
    for (surface, framing) in chats() {
        let (body, seen) = through(surface, framing, &asked(surface, "hello"));
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(body.contains("hello") && body.contains("Echo: "), "{surface} {framing:?}: {body}");
        assert!(seen.complete && seen.content && seen.error.is_none(), "{surface} {framing:?}: {seen:?}");
        assert_eq!((seen.finish, seen.output_chars), (Some(FinishReason::Stop), 11), "{surface} {framing:?}");
        let usage = seen.usage.expect("usage");
        assert!(usage.total_input() > 5 && usage.total_output() == 3, "{surface} {framing:?}: {usage:?}");
    }
}

#[test]
fn offered_tools_are_called_with_legal_arguments() {
    let schema = json!({"type": "object", "required": ["city", "unit", "days"], "properties": {
        "city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer", "minimum": 0}, "x": {}}});
    for (surface, framing) in chats() {
        let mut body = asked(surface, "weather");
        body["tools"] = match surface {
            Surface::ChatCompletions => {
                json!([{"type": "function", "function": {"name": "get", "parameters": schema}}])
            }
            Surface::Responses => json!([{"type": "function", "name": "get", "parameters": schema}]),
            Surface::Messages => json!([{"name": "get", "input_schema": schema}]),
            _ => json!([{"functionDeclarations": [{"name": "get", "parametersJsonSchema": schema}]}]),
        };
        let (body, seen) = through(surface, framing, &body);
        let plain = String::from_utf8(body).expect("UTF-8").replace('\\', "");
        for member in ["\"city\":\"echo\"", "\"unit\":\"C\"", "\"days\":0", "\"get\""] {
            assert!(plain.contains(member), "{surface} {framing:?}: {plain}");
        }
        assert_eq!(seen.finish, Some(FinishReason::ToolCalls), "{surface} {framing:?}");
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
    for (surface, body) in [(Surface::ChatCompletions, chat), (Surface::Responses, responses)] {
        let (body, seen) = through(surface, Framing::Whole, &body);
        let body = String::from_utf8(body).expect("UTF-8");
        assert!(body.contains("Echo of the tool's answer: sunny"), "{body}");
        assert_eq!(seen.finish, Some(FinishReason::Stop));
    }
}

#[test]
fn limits_and_schemas_are_kept() {
    for (surface, framing) in chats() {
        let mut body = asked(surface, "a long story");
        match surface {
            Surface::Responses => body["max_output_tokens"] = 1.into(),
            Surface::GenerateContent => body["generationConfig"] = json!({"maxOutputTokens": 1}),
            _ => body["max_tokens"] = 1.into(),
        }
        let (_, seen) = through(surface, framing, &body);
        assert_eq!((seen.finish, seen.output_chars), (Some(FinishReason::Length), 4), "{surface} {framing:?}");
    }
    let mut body = asked(Surface::ChatCompletions, "x");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {
        "type": "object", "required": ["list"], "properties": {"list": {"$ref": "#/$defs/l"}},
        "$defs": {"l": {"type": "array", "minItems": 1, "items": {"type": ["null", "boolean"]}}}}}});
    let (body, _) = through(Surface::ChatCompletions, Framing::Whole, &body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["choices"][0]["message"]["content"], r#"{"list":[true]}"#);
}

#[test]
fn vectors_have_length_one_and_the_size_asked_for() {
    let embed = |body: Value| -> Value {
        serde_json::from_slice(&through(Surface::Embeddings, Framing::Whole, &body).0).expect("JSON")
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
        answer(Surface::Embeddings, Framing::Whole, "/embeddings", br#"{"model":"e","input":"a","dimensions":0}"#);
    assert_eq!(refused.status, 400);
    let batch = json!({"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3}]});
    let (batch, seen) = through(Surface::BatchEmbedContents, Framing::Whole, &batch);
    let batch: Value = serde_json::from_slice(&batch).expect("JSON");
    assert_eq!(batch["embeddings"][0]["values"].as_array().map(Vec::len), Some(3));
    assert_eq!(seen.usage.and_then(|usage| usage.input), Some(1));
}

#[test]
fn counts_are_whole_numbers_above_zero() {
    let cases = [
        (Surface::MessagesCountTokens, "input_tokens"),
        (Surface::ResponsesInputTokens, "input_tokens"),
        (Surface::CountTokens, "totalTokens"),
    ];
    for (surface, member) in cases {
        let (body, _) = through(surface, Framing::Whole, &json!({"messages": [], "contents": [], "input": "x"}));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(body[member].as_u64().is_some_and(|count| count > 0), "{surface}: {body}");
    }
}

#[test]
fn illegal_bodies_are_refused_in_the_dialect() {
    let refused = answer(Surface::Messages, Framing::Whole, "/v1/messages", br#"{"model":"m","messages":3}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.chunks.concat().starts_with(br#"{"type":"error","error":{"type":"invalid_request_error""#));
    assert_eq!(answer(Surface::Responses, Framing::Whole, "/responses", br#"{"model":"m"}"#).status, 400);
    assert_eq!(answer(Surface::ChatCompletions, Framing::Whole, "/chat/completions", b"{").status, 400);
}

#[test]
fn little_does_not_become_much() {
    let deep = r##"{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/a"}},"$defs":{"a":{"type":"array","minItems":16,"items":{"$ref":"#/$defs/a"}}}}"##;
    let spaces = " ".repeat(1 << 20);
    let texts = vec!["\"x\""; 2_048].join(",");
    let rows = [
        (
            Surface::ChatCompletions,
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{deep}}}}}]}}"#
            ),
        ),
        (
            Surface::ChatCompletions,
            format!(r#"{{"model":"m","n":8,"stream":true,"messages":[{{"role":"user","content":"x{spaces}"}}]}}"#),
        ),
        (Surface::Embeddings, format!(r#"{{"model":"m","dimensions":4096,"input":[{texts}]}}"#)),
    ];
    for (surface, body) in rows {
        let framing = if body.contains("stream") { Framing::Sse } else { Framing::Whole };
        let answer = answer(surface, framing, "", body.as_bytes());
        let bytes: usize = answer.chunks.iter().map(Bytes::len).sum();
        assert!(bytes < 8 << 20, "{surface:?}: {bytes}");
    }
}
