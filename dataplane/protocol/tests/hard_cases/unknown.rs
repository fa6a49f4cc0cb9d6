//! Nothing is dropped in silence: a member that nobody knows, wherever in a request it stands, is sent, warned of or
//! refused by its name.

use bytes::Bytes;
use routeapi_protocol::{
    codec::Head,
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Unprepared},
};
use serde_json::{Value, json};

use super::run::{A, C, G};

/// What a client may write of its own accord, so that a member of any name in it is no news.
const PAYLOADS: [&str; 9] = [
    "parameters",
    "input_schema",
    "schema",
    "parametersJsonSchema",
    "responseJsonSchema",
    "input",
    "args",
    "response",
    "logit_bias",
];

fn chat() -> Value {
    json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "s"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
            ]},
            {"role": "assistant", "content": "y", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "z"}]}
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stream": true,
        "stream_options": {"include_usage": true},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"}
    })
}

fn messages() -> Value {
    json!({
        "model": "m",
        "max_tokens": 4000,
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "x"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
                {"type": "search_result", "source": "https://e.org", "title": "t", "content": [{"type": "text", "text": "r"}]}
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "z"}]}
            ]}
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"}
    })
}

fn gemini() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "x"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://e.org/a.png"}}
            ]},
            {"role": "model", "parts": [{"functionCall": {"id": "t1", "name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "t1", "name": "f", "response": {"output": "z"}}}]}
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"temperature": 0.5, "thinkingConfig": {"thinkingBudget": 2000}}
    })
}

/// Where objects stand that are not the client's own payload.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_owned());
            for (name, inner) in members {
                if !PAYLOADS.contains(&name.as_str())
                    && (name != "metadata" || !at.is_empty() || inner.get("user_id").is_some())
                {
                    objects(inner, &format!("{at}/{name}"), found);
                }
            }
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, inner)| objects(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Whether a member of this name is sent, warned of or refused.
fn is_told(from: Operation, body: &Value, to: (Operation, &str)) -> bool {
    let in_path = from == G;
    let matched = MatchedPath {
        operation: from,
        model: in_path.then(|| "m".into()),
        framing: in_path.then_some(Framing::Whole),
        query: None,
        unknown_query: false,
        path: None,
    };
    let call = ParsedRequest::read(matched, Head::default(), Bytes::from(body.to_string())).unwrap();
    let destination = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[to.0],
        model: Some(to.1),
        default_max_output: 10,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    let told = match call.prepare(destination, Mode::Default) {
        Ok(prepared) => {
            let warnings: Vec<String> = prepared.warnings.iter().map(ToString::to_string).collect();
            format!("{} {}", String::from_utf8_lossy(&prepared.body), warnings.join(" "))
        }
        Err(Unprepared::Refused(refusal)) => format!("{} {}", refusal.field, refusal.why),
        Err(other) => other.to_string(),
    };
    told.contains("news")
}

#[test]
fn an_unknown_member_is_told_wherever_it_stands() {
    let bodies = [(C, chat()), (A, messages()), (G, gemini())];
    let targets = [(C, "gpt-4.1"), (A, "claude-sonnet-4-5"), (G, "gemini-2.5-flash")];
    let (mut silent, mut looked_at) = (Vec::new(), 0);
    for (from, body) in bodies {
        let mut places = Vec::new();
        objects(&body, "", &mut places);
        for place in places {
            let mut changed = body.clone();
            changed.pointer_mut(&place).unwrap().as_object_mut().unwrap().insert("news".to_owned(), json!(1));
            for to in targets.into_iter().filter(|to| to.0 != from) {
                looked_at += 1;
                if !is_told(from, &changed, to) {
                    silent.push(format!("{from} to {}: {place}", to.0));
                }
            }
        }
    }
    assert!(silent.is_empty(), "of {looked_at} members dropped in silence:\n{}", silent.join("\n"));
}
