//! Azure OpenAI in whole requests and answers: what is its own beside OpenAI's API.

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
    host::{ApiVersion, Host},
    inbound::{Inbound, route},
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared},
};
use serde_json::{Value, json};

fn prepare(path: &str, operations: &[Operation], model: &str, body: &Value) -> Prepared {
    let Ok(Inbound::Call(matched)) = route("POST", path, None) else { panic!("{path}") };
    let call = ParsedRequest::read(matched, Head::default(), body.to_string().into()).unwrap();
    let to = Destination {
        host: Host::Azure(ApiVersion::V1),
        operations,
        model: Some(model),
        base_model: None,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    call.prepare(to, Mode::Default).unwrap()
}

fn context() -> ResponseContext {
    ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() }
}

#[test]
fn hard_case_218_the_content_filters_words_are_forwarded() {
    let filtered =
        json!({"hate": {"filtered": false, "severity": "safe"}, "jailbreak": {"filtered": false, "detected": true}});
    let whole = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-x",
        "choices": [{
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"},
            "content_filter_results": filtered,
        }],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filtered}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    });
    let ask = |stream: bool| json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let chat = &[Operation::ChatCompletions];
    let prepared = prepare("/v1/chat/completions", chat, "gpt-x", &ask(false));
    let body = Bytes::from(whole.to_string());
    let passed = prepared.translation.whole(&context(), 200, None, body.clone()).unwrap();
    assert_eq!((passed.body, passed.changed), (body, false));

    // The prompt's come first, in a chunk without a choice; those of an asynchronous filter behind the text they are about.
    let events = [
        json!({"id": "", "object": "", "model": "", "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filtered}]}),
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": null}]}),
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "", "object": "", "model": "", "choices": [{"index": 0, "finish_reason": null,
            "content_filter_results": filtered, "content_filter_offsets": {"check_offset": 0, "start_offset": 0, "end_offset": 5}}]}),
    ];
    let sent: String = events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>() + "data: [DONE]\n\n";
    let prepared = prepare("/v1/chat/completions", chat, "gpt-x", &ask(true));
    for size in [7, sent.len()] {
        let mut stream = prepared.translation.stream(&context());
        let mut out = Vec::new();
        for piece in sent.as_bytes().chunks(size) {
            out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&stream.finish());
        let (out, seen) = (String::from_utf8(out).unwrap(), stream.stats());
        assert!(seen.complete && seen.error.is_none(), "{seen:?}");
        for event in &events {
            assert!(out.contains(&event.to_string()), "{event} is missing in {out}");
        }
    }
}

#[test]
fn hard_case_276_a_bare_reasoning_item_is_left_out() {
    let body = json!({"model": "m", "store": false, "input": [
        {"type": "message", "role": "user", "content": "one"},
        {"type": "reasoning", "id": "rs_bare", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two", "annotations": []}]},
        {"type": "message", "role": "user", "content": "three"},
    ]});
    for (operation, model) in [(Operation::ChatCompletions, "gpt-x"), (Operation::Messages, "claude-x")] {
        let prepared = prepare("/v1/responses", &[operation], model, &body);
        let sent: Value = serde_json::from_slice(&prepared.body).unwrap();
        assert!(!sent.to_string().contains("rs_bare"), "{sent}");
        let roles: Vec<&str> =
            sent["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"], "{operation}");
        assert!(sent.to_string().contains("two"), "{sent}");
    }
    let passed = prepare("/v1/responses", &[Operation::Responses], "gpt-x", &body);
    assert!(String::from_utf8_lossy(&passed.body).contains("rs_bare"), "passed through, it is the vendor's to judge");
}
