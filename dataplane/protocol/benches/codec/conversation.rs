//! What an agent's client and its model really say: a conversation with tools of about 32 KiB, an answer of that size, and
//! the same answer as a stream. Written once for Chat Completions, and translated into the other dialects, so that all of
//! them say the same. The same bytes every time.

use std::error::Error;

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext, Target, client_codec, upstream_codec},
    dialect::Operation,
    limits::ModelLimits,
    report::{Mode, Report},
    request::ParsedRequest,
};
use serde_json::{Value, json};

use crate::calls::{destination, matched};

/// How large each body is, about.
pub const SIZE: usize = 32 << 10;

/// What the texts are made of: prose, code, and some characters that JSON escapes or that take several bytes.
const WORDS: [&str; 24] = [
    "the",
    "request",
    "returns",
    "a",
    "list",
    "of",
    "files",
    "which",
    "is",
    "sorted",
    "by",
    "name",
    "and",
    "naïve",
    "→",
    "`main.rs`",
    "\"quoted\"",
    "path\\to",
    "fn",
    "let",
    "value;\n",
    "{",
    "}",
    "however,",
];

/// Words without end, in an order that looks like none.
struct Words(u32);

impl Words {
    fn word(&mut self) -> &'static str {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = usize::try_from(self.0 >> 16).unwrap_or(0) % WORDS.len();
        WORDS.get(at).copied().unwrap_or_default()
    }

    /// A text of about so many bytes.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            text.push_str(self.word());
            text.push(' ');
        }
        text
    }
}

/// A client's request.
pub fn request(client: Operation, streamed: bool) -> Result<Bytes, Box<dyn Error>> {
    let chat = chat_request(streamed);
    if client == Operation::ChatCompletions {
        return Ok(chat.into());
    }
    let decoder = client_codec(Operation::ChatCompletions).ok_or("Chat has a codec")?;
    let encoder = upstream_codec(client).ok_or("every dialect here has a codec")?;
    let decoded = decoder.decode_request(chat.as_bytes(), &Head::default()).map_err(|error| error.to_string())?;
    let target = Target { model: "m", base_model: None, default_max_output: 4_096, limits: ModelLimits::default() };
    let mut report = Report::new(Mode::Default);
    let encoded = encoder.encode_request(&decoded, target, Operation::ChatCompletions, &mut report);
    report.finish().map_err(|refusal| refusal.to_string())?;
    Ok(encoded.body.into())
}

/// An upstream's whole answer.
pub fn answer(upstream: Operation) -> Result<Bytes, Box<dyn Error>> {
    let chat = chat_answer();
    if upstream == Operation::ChatCompletions {
        return Ok(chat.into());
    }
    let decoder = upstream_codec(Operation::ChatCompletions).ok_or("Chat has a codec")?;
    let encoder = client_codec(upstream).ok_or("every dialect here has a codec")?;
    let decoded = decoder.decode_response(chat.as_bytes()).map_err(|problem| problem.message.to_string())?;
    Ok(encoder.encode_response(&decoded, &ResponseContext { model: "m".into(), ..ResponseContext::default() }).into())
}

/// The events of an upstream's stream, as they arrive.
pub fn stream(upstream: Operation) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let chat = chat_stream();
    if upstream == Operation::ChatCompletions {
        return Ok(chat);
    }
    let call = ParsedRequest::read(matched(upstream, true), Head::default(), request(upstream, true)?)
        .map_err(|malformed| malformed.to_string())?;
    let prepared = call.prepare(destination(&[Operation::ChatCompletions]), Mode::Default)?;
    let mut stream = prepared.translation.stream(&call.response_context("id", 1));
    let mut events: Vec<Bytes> = chat.into_iter().map(|event| stream.push(event)).collect();
    events.push(stream.finish());
    events.retain(|event| !event.is_empty());
    Ok(events)
}

fn chat_request(streamed: bool) -> String {
    let mut words = Words(1);
    let mut messages = vec![json!({"role": "system", "content": words.text(2_048)})];
    let tools: Vec<Value> = ["read_file", "write_file", "list_directory", "search", "run_command", "fetch"]
        .iter()
        .map(|name| tool(name, &mut words))
        .collect();
    let body = |messages: &[Value]| {
        json!({"model": "m", "messages": messages, "tools": tools, "tool_choice": "auto", "temperature": 0.2,
            "max_tokens": 8_192, "stream": streamed})
        .to_string()
    };
    let mut turn = 0;
    while body(&messages).len() < SIZE {
        let id = format!("call_{turn:024}");
        let arguments = json!({"path": format!("src/{turn}.rs"), "limit": 200, "recursive": false}).to_string();
        messages.push(json!({"role": "user", "content": words.text(300)}));
        messages.push(json!({"role": "assistant", "content": words.text(200),
            "tool_calls": [{"id": id, "type": "function", "function": {"name": "read_file", "arguments": arguments}}]}));
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": words.text(2_000)}));
        messages.push(json!({"role": "assistant", "content": words.text(600)}));
        turn += 1;
    }
    messages.push(json!({"role": "user", "content": words.text(100)}));
    body(&messages)
}

fn tool(name: &str, words: &mut Words) -> Value {
    let parameters = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": words.text(80)},
            "limit": {"type": "integer", "description": words.text(60), "minimum": 0},
            "recursive": {"type": "boolean"},
            "filter": {"type": "object", "properties": {
                "kind": {"type": "string", "enum": ["file", "directory", "link"]},
                "patterns": {"type": "array", "items": {"type": "string"}}}},
        },
        "required": ["path"],
    });
    json!({"type": "function", "function": {"name": name, "description": words.text(200), "parameters": parameters}})
}

/// Arguments of a call that writes a file.
fn arguments(words: &mut Words) -> String {
    json!({"path": "src/main.rs", "content": words.text(SIZE / 4)}).to_string()
}

fn chat_answer() -> String {
    let mut words = Words(2);
    let call = json!({"id": "call_1", "type": "function",
        "function": {"name": "write_file", "arguments": arguments(&mut words)}});
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": words.text(SIZE * 5 / 8), "tool_calls": [call]}}],
        "usage": {"prompt_tokens": 8_000, "completion_tokens": 8_000, "total_tokens": 16_000}})
    .to_string()
}

fn chat_stream() -> Vec<Bytes> {
    let mut words = Words(2);
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut event = |delta: &Value, finish: Option<&str>| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        let event = Bytes::from(format!("data: {chunk}\n\n"));
        bytes += event.len();
        events.push(event);
        bytes
    };
    event(&json!({"role": "assistant", "content": ""}), None);
    while event(&json!({"content": format!("{} ", words.word())}), None) < SIZE * 3 / 4 {}
    let called = |function: Value| json!({"tool_calls": [{"index": 0, "function": function}]});
    event(
        &json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
            "function": {"name": "write_file", "arguments": ""}}]}),
        None,
    );
    event(&called(json!({"arguments": "{\"path\":\"src/main.rs\",\"content\":\""})), None);
    while event(&called(json!({"arguments": "line\\n"})), None) < SIZE {}
    event(&called(json!({"arguments": "\"}"})), None);
    event(&json!({}), Some("tool_calls"));
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 8_000, "completion_tokens": 200, "total_tokens": 8_200}});
    events.push(format!("data: {usage}\n\n").into());
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}
