//! Vertex AI in whole requests: what is sent where for clients of each dialect.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    host::Host,
    inbound::{Inbound, route},
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared},
};
use serde_json::{Value, json};

const OPERATIONS: &[Operation] = &[
    Operation::GenerateContent,
    Operation::CountTokens,
    Operation::ChatCompletions,
    Operation::Messages,
    Operation::MessagesCountTokens,
];

fn prepare(path: &str, model: &str, body: &Value) -> Prepared {
    let Ok(Inbound::Call(matched)) = route("POST", path, None) else { panic!("{path}") };
    let call = ParsedRequest::read(matched, Head::default(), body.to_string().into()).unwrap();
    let to = Destination {
        host: Host::Vertex,
        operations: OPERATIONS,
        model: Some(model),
        base_model: None,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    call.prepare(to, Mode::Default).unwrap()
}

fn sent(prepared: &Prepared) -> Value {
    serde_json::from_slice(&prepared.body).unwrap()
}

fn conversation(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn hard_case_248_a_count_for_gemini_holds_the_prompt() {
    let body = json!({"model": "m", "system": "s", "messages": [{"role": "user", "content": "hi"}]});
    let counted = prepare("/v1/messages/count_tokens", "gemini-2.5-pro", &body);
    assert_eq!(counted.path, "/publishers/google/models/gemini-2.5-pro:countTokens");
    let body = sent(&counted);
    assert_eq!(body["contents"][0]["parts"][0]["text"], "hi");
    assert_eq!(body["systemInstruction"]["parts"][0]["text"], "s");
    assert!(body.get("generateContentRequest").is_none(), "{body}");
}

#[test]
fn hard_case_227_an_answer_without_usage_or_message_is_an_answer() {
    let answers = [
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "meta/llama-4",
            "choices": [{"index": 0, "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "meta/llama-4",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}),
    ];
    let context = ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() };
    for (answer, counted) in answers.into_iter().zip([true, false]) {
        let body = Bytes::from(answer.to_string());
        let chat = prepare("/v1/chat/completions", "meta/llama-4", &conversation(false));
        assert_eq!(chat.path, "/endpoints/openapi/chat/completions");
        let passed = chat.translation.whole(&context, 200, None, body.clone()).unwrap();
        assert_eq!((passed.body, passed.changed, passed.stats.usage.is_some()), (body.clone(), false, counted));
        let messages = prepare("/v1/messages", "meta/llama-4", &conversation(false));
        let translated = messages.translation.whole(&context, 200, None, body).unwrap();
        let told: Value = serde_json::from_slice(&translated.body).unwrap();
        let input = if counted { 3 } else { 0 };
        assert_eq!((&told["type"], &told["usage"]["input_tokens"]), (&json!("message"), &json!(input)));
        assert_eq!((&told["usage"]["output_tokens"], translated.stats.usage.is_some()), (&json!(0), counted));
    }
}

#[test]
fn hard_case_252_the_verb_and_the_body_agree() {
    for (path, model, stream) in [
        ("/v1/messages", "claude-sonnet-4-5", true),
        ("/v1/messages", "claude-sonnet-4-5", false),
        ("/v1/chat/completions", "claude-sonnet-4-5", true),
        ("/v1/chat/completions", "mistral-large", true),
    ] {
        let prepared = prepare(path, model, &conversation(stream));
        assert_eq!(prepared.path.ends_with(":streamRawPredict"), stream, "{path} {model}: {}", prepared.path);
        assert_eq!(sent(&prepared)["stream"] == true, stream, "{path} {model}");
    }
}

#[test]
fn hard_case_254_what_is_built_here_is_in_camel_case() {
    let prepared = prepare("/v1/chat/completions", "gemini-2.5-pro", &conversation(false));
    assert_eq!(sent(&prepared)["generationConfig"]["maxOutputTokens"], 64);
    assert!(!String::from_utf8_lossy(&prepared.body).contains('_'), "{:?}", prepared.body);
}
