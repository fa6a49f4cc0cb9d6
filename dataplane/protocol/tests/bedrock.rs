//! Amazon Bedrock both ways, in the bytes that travel: event streams to clients and from upstreams, Claude in its envelope,
//! and what is damaged on the way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    framing::Framing,
    host::{Host, Surface, Surfaces},
    inbound::{Inbound, route},
    limits::ModelLimits,
    problem::{ProblemKind, RetryHints},
    report::Mode,
    request::{Destination, LeftOut, ParsedRequest, Prepared, Unprepared},
    response_stats::ResponseStats,
    response_translation::ResponseTranslation,
    wire::{
        Wire,
        event_stream::{self, EventStreamDecoder},
    },
};
use serde_json::{Value, json};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn ask(path: &str, head: Head, body: &Value) -> ParsedRequest {
    let Ok(Inbound::Call(matched)) = route("POST", path, None) else { panic!("{path}") };
    ParsedRequest::read(matched, head, body.to_string().into()).unwrap()
}

fn destination(host: Host, operations: &[Operation]) -> Destination<'_> {
    Destination {
        host,
        operations,
        model: Some(CLAUDE),
        base_model: None,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    }
}

fn prepare(path: &str, body: &Value, host: Host, operation: Operation) -> Result<Prepared, Unprepared> {
    ask(path, Head::default(), body).prepare(destination(host, &[operation]), Mode::Default)
}

fn converse() -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}], "inferenceConfig": {"maxTokens": 64}})
}

fn messages(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]})
}

fn reply() -> ResponseContext {
    ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() }
}

/// An answer of Converse's as it arrives.
fn answer() -> Vec<u8> {
    let mut out = Vec::new();
    for (event, data) in [
        ("messageStart", json!({"role": "assistant", "p": "abc"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "hé"}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "llo"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}, "metrics": {"latencyMs": 1}}),
        ),
    ] {
        event_stream::write(&mut out, event, data.to_string().as_bytes());
    }
    out
}

/// An exception in the middle of an answer, as Bedrock writes one.
fn exception(kind: &str, message: &str) -> Vec<u8> {
    let payload = json!({ "message": message }).to_string();
    let mut headers = Vec::new();
    for (name, value) in
        [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")]
    {
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend(name.bytes());
        headers.push(7);
        headers.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend(value.bytes());
    }
    let total = u32::try_from(headers.len() + payload.len() + 16).unwrap();
    let mut out = [total.to_be_bytes(), u32::try_from(headers.len()).unwrap().to_be_bytes()].concat();
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload.bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// What the client gets of a stream that arrives in pieces of this size.
fn streamed(translation: &ResponseTranslation, bytes: &[u8], size: usize) -> (Vec<u8>, ResponseStats) {
    let mut stream = translation.stream(&reply());
    let mut out = Vec::new();
    for piece in bytes.chunks(size) {
        out.extend(stream.push(Bytes::copy_from_slice(piece)));
    }
    out.extend(stream.finish());
    (out, stream.stats().clone())
}

fn frames(bytes: &[u8]) -> Vec<(String, Value)> {
    let (mut frames, mut decoder) = (Vec::new(), EventStreamDecoder::new());
    let mut take = |event: Option<&str>, data: &str| {
        frames.push((event.unwrap().to_owned(), serde_json::from_str(data).unwrap()));
    };
    decoder.push(bytes, |frame| take(frame.event, frame.data)).unwrap();
    frames
}

fn names(bytes: &[u8]) -> Vec<String> {
    frames(bytes).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_converse_client_passes_to_bedrock_byte_for_byte_at_every_cut() {
    let prepared = prepare("/model/m/converse-stream", &converse(), Host::Bedrock, Operation::Converse).unwrap();
    assert_eq!(prepared.path, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream");
    assert_eq!(prepared.body, converse().to_string());
    let translation = prepared.translation;
    assert!(translation.is_passthrough() && !translation.is_enveloped());
    assert_eq!((translation.wire(), translation.framing()), (Wire::EventStream, Framing::EventStream));
    assert_eq!(translation.stream_content_type(), "application/vnd.amazon.eventstream");
    let bytes = answer();
    for size in (1..20).chain([bytes.len()]) {
        let (out, seen) = streamed(&translation, &bytes, size);
        assert_eq!(out, bytes, "in pieces of {size}");
        assert!(seen.complete && seen.error.is_none());
        assert_eq!((seen.output_chars, seen.usage.unwrap().output), (5, Some(5)));
    }
}

#[test]
fn hard_case_243_every_cut_gives_the_same_events_to_every_client() {
    let bytes = answer();
    for (path, body) in [
        ("/v1/messages", messages(true)),
        ("/v1/chat/completions", messages(true)),
        ("/v1/responses", json!({"model": "m", "stream": true, "input": "hi"})),
    ] {
        let prepared = prepare(path, &body, Host::Bedrock, Operation::Converse).unwrap();
        assert!(prepared.path.ends_with("/converse-stream"), "{}", prepared.path);
        let (whole, seen) = streamed(&prepared.translation, &bytes, bytes.len());
        assert!(seen.complete && String::from_utf8(whole.clone()).unwrap().contains("hé"), "{path}");
        for at in 0..bytes.len() {
            let mut stream = prepared.translation.stream(&reply());
            let (head, tail) = bytes.split_at(at);
            let mut out = stream.push(Bytes::copy_from_slice(head)).to_vec();
            out.extend(stream.push(Bytes::copy_from_slice(tail)));
            out.extend(stream.finish());
            assert_eq!(out, whole, "{path} cut at {at}");
        }
    }
}

#[test]
fn a_converse_client_is_answered_in_frames_by_every_upstream() {
    let upstreams = [
        (
            Operation::Messages,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            Operation::ChatCompletions,
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
        ),
        (
            Operation::GenerateContent,
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hello\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":5}}\n\n",
        ),
    ];
    for (operation, stream) in upstreams {
        let prepared = prepare("/model/m/converse-stream", &converse(), Host::Vendor, operation).unwrap();
        assert_eq!(prepared.translation.wire(), Wire::Sse, "{operation}");
        let (out, seen) = streamed(&prepared.translation, stream.as_bytes(), 11);
        assert!(seen.complete, "{operation}: {seen:?}");
        let expected =
            ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"].map(str::to_owned);
        assert_eq!(names(&out), expected, "{operation}");
        let last = frames(&out).pop().unwrap().1;
        assert_eq!((&last["usage"]["inputTokens"], &last["usage"]["outputTokens"]), (&json!(3), &json!(5)));
    }
}

#[test]
fn hard_case_132_an_exception_frame_is_never_dropped() {
    for (kind, status, problem) in [
        ("throttlingException", 429, ProblemKind::RateLimited),
        ("serviceUnavailableException", 503, ProblemKind::Overloaded),
        ("modelStreamErrorException", 502, ProblemKind::Upstream),
    ] {
        let good = answer();
        let stream = [&good[..frames_end(&good)], &exception(kind, "slow down")].concat();
        for (path, body) in [("/model/m/converse-stream", converse()), ("/v1/messages", messages(true))] {
            let prepared = prepare(path, &body, Host::Bedrock, Operation::Converse).unwrap();
            let (out, seen) = streamed(&prepared.translation, &stream, 13);
            let error = seen.error.unwrap_or_else(|| panic!("{path}: {kind} was dropped"));
            assert_eq!((error.status, error.kind, error.message.as_ref()), (status, problem, "slow down"), "{path}");
            assert!(!seen.complete);
            if path.starts_with("/model") {
                assert_eq!(out, stream, "as it came");
            } else {
                assert!(String::from_utf8(out).unwrap().contains("slow down"));
            }
        }
    }
}

/// Where the first frame of some bytes ends.
fn frames_end(bytes: &[u8]) -> usize {
    usize::try_from(u32::from_be_bytes(*bytes.first_chunk().unwrap())).unwrap()
}

#[test]
fn damaged_and_endless_frames_end_the_stream_with_an_error() {
    let good = answer();
    let first = frames_end(&good);
    let mut bad_payload = good.clone();
    bad_payload[first + 40] ^= 1;
    let mut bad_prelude = good.clone();
    bad_prelude[first + 9] ^= 1;
    let endless = [&good[..first], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0][..]].concat();
    let rows = [
        (bad_payload, "damaged"),
        (bad_prelude, "damaged"),
        (endless, "too large"),
        (good[..first + 100].to_vec(), "complete"),
        (vec![0xff; 64], "too large"),
        (vec![0; 64], "damaged"),
    ];
    for (stream, said) in rows {
        for (path, body) in [("/model/m/converse-stream", converse()), ("/v1/messages", messages(true))] {
            for size in [1, 17, stream.len()] {
                let prepared = prepare(path, &body, Host::Bedrock, Operation::Converse).unwrap();
                let (out, seen) = streamed(&prepared.translation, &stream, size);
                let error = seen.error.unwrap_or_else(|| panic!("{path}: {said}"));
                assert!(error.message.contains(said), "{path} {said}: {error:?}");
                if path.starts_with("/model") {
                    let told = frames(&out);
                    assert_eq!(told.last().unwrap().0, "error", "a last frame that boto3 reads: {told:?}");
                }
            }
        }
    }
}

#[test]
fn one_frame_is_never_held_beyond_its_bound() {
    for (path, body) in [("/model/m/converse-stream", converse()), ("/v1/messages", messages(true))] {
        let prepared = prepare(path, &body, Host::Bedrock, Operation::Converse).unwrap();
        let mut stream = prepared.translation.stream(&reply());
        let mut begin = [0x01_00_00_01_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        begin.extend(crc32fast::hash(&begin).to_be_bytes());
        let out = stream.push(Bytes::from(begin));
        assert!(!out.is_empty() && stream.stats().error.is_some(), "{path}");
        for _ in 0..4 {
            assert!(stream.push(Bytes::from(vec![0; 1 << 20])).is_empty());
        }
        assert!(stream.held() < 1 << 20, "{path}: {}", stream.held());
    }
}

fn chunk(event: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let payload = json!({ "bytes": STANDARD.encode(event.to_string()), "p": "abcdef" });
    event_stream::write(&mut out, "chunk", payload.to_string().as_bytes());
    out
}

fn invoked() -> Vec<u8> {
    [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}}),
    ]
    .iter()
    .flat_map(chunk)
    .collect()
}

#[test]
fn claude_in_its_envelope_answers_clients_of_its_own_dialect_and_of_others() {
    let head = Head {
        anthropic_beta: vec!["context-1m-2025-08-07".into(), "unheard-of-2026-01-01".into()],
        ..Head::default()
    };
    let call = ask("/v1/messages", head, &messages(true));
    let prepared = call.prepare(destination(Host::Bedrock, &[Operation::Messages]), Mode::Default).unwrap();
    assert!(prepared.path.ends_with("v1%3A0/invoke-with-response-stream"), "{}", prepared.path);
    let body: Value = serde_json::from_slice(&prepared.body).unwrap();
    let expected = json!({
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["context-1m-2025-08-07"],
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hi"}],
    });
    assert_eq!(body, expected);
    let warnings: Vec<String> = prepared.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["dropped;field=anthropic-beta=unheard-of-2026-01-01"]);
    let translation = prepared.translation;
    assert!(translation.is_passthrough() && translation.is_enveloped());
    assert_eq!(translation.stream_content_type(), "text/event-stream");
    let bytes = invoked();
    let (whole, seen) = streamed(&translation, &bytes, bytes.len());
    assert!(seen.complete && seen.usage.unwrap().output == Some(5), "{seen:?}");
    let text = String::from_utf8(whole.clone()).unwrap();
    assert!(text.starts_with("event: message_start\ndata: {") && text.contains("\n\nevent: message_stop\n"), "{text}");
    for size in [1, 7, 50, 333] {
        assert_eq!(streamed(&translation, &bytes, size).0, whole, "in pieces of {size}");
    }

    let chat = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let prepared = prepare("/v1/chat/completions", &chat, Host::Bedrock, Operation::Messages).unwrap();
    let body: Value = serde_json::from_slice(&prepared.body).unwrap();
    assert_eq!((body.get("model"), body.get("stream")), (None, None));
    assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
    let (out, seen) = streamed(&prepared.translation, &bytes, 19);
    assert!(seen.complete && String::from_utf8(out).unwrap().contains(r#""content":"hello""#));
    let prepared = prepare("/model/m/converse-stream", &converse(), Host::Bedrock, Operation::Messages).unwrap();
    let (out, _) = streamed(&prepared.translation, &bytes, 19);
    assert_eq!(names(&out).last().map(String::as_str), Some("metadata"));
}

#[test]
fn hard_case_133_failures_in_an_envelope_or_a_200_are_told_in_the_clients_words() {
    let translation = prepare("/v1/messages", &messages(true), Host::Bedrock, Operation::Messages).unwrap().translation;
    let begun = chunk(
        &json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}}),
    );
    let stream = [begun.clone(), exception("throttlingException", "slow down")].concat();
    let (out, seen) = streamed(&translation, &stream, 10);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#"{"type":"rate_limit_error","message":"slow down"}"#), "{text}");
    assert_eq!(seen.error.map(|error| error.status), Some(429));
    let mut damaged = begun;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let (out, seen) = streamed(&translation, &damaged, 10);
    assert!(String::from_utf8(out).unwrap().starts_with("event: error\n") && seen.error.is_some());

    let header = |name: &str| (name == "x-amzn-errortype").then_some("ThrottlingException:http://x/");
    let hints = RetryHints { header: &header, now_ms: 0 };
    let problem = translation.failure(429, hints, br#"{"message":"Too many tokens"}"#);
    assert_eq!((problem.kind, problem.message.as_ref()), (ProblemKind::RateLimited, "Too many tokens"));
    let odd = Bytes::from_static(br#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"}}"#);
    let whole = prepare("/v1/messages", &messages(false), Host::Bedrock, Operation::Messages).unwrap().translation;
    assert_eq!(whole.whole(&reply(), 200, None, odd.clone()).unwrap_err().kind, ProblemKind::Upstream);
    assert_eq!(whole.stated_error(&odd), None, "its shape is not the client's");
}

#[test]
fn whole_answers_travel_both_ways() {
    let whole = br#"{"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8},"metrics":{"latencyMs":1}}"#;
    let body = Bytes::from_static(whole);
    let passed = prepare("/model/m/converse", &converse(), Host::Bedrock, Operation::Converse).unwrap().translation;
    let out = passed.whole(&reply(), 200, Some("application/json"), body.clone()).unwrap();
    assert_eq!((out.body.as_ref(), out.changed, out.stats.complete), (&whole[..], false, true));
    let translated = prepare("/v1/messages", &messages(false), Host::Bedrock, Operation::Converse).unwrap();
    assert!(translated.path.ends_with("/converse"));
    let out = translated.translation.whole(&reply(), 200, None, body).unwrap();
    let answer: Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!((&answer["content"][0]["text"], &answer["usage"]["input_tokens"]), (&json!("hello"), &json!(3)));
}

#[test]
fn tokens_are_counted_by_converse_for_every_client_that_counts() {
    let counter = Operation::ConverseCountTokens;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let prepared = prepare("/v1/messages/count_tokens", &body, Host::Bedrock, counter).unwrap();
    assert!(prepared.path.ends_with("/count-tokens"));
    let sent: Value = serde_json::from_slice(&prepared.body).unwrap();
    assert_eq!(sent, json!({"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}}));
    let counted = prepared.translation.whole(&reply(), 200, None, Bytes::from_static(br#"{"inputTokens":7}"#));
    assert_eq!(counted.unwrap().body, r#"{"input_tokens":7}"#);
    let own = json!({"input": {"converse": converse()}});
    let prepared = prepare("/model/m/count-tokens", &own, Host::Bedrock, counter).unwrap();
    assert_eq!(prepared.body, own.to_string());
    let prepared = prepare("/model/m/count-tokens", &own, Host::Vendor, Operation::MessagesCountTokens).unwrap();
    let counted = prepared.translation.whole(&reply(), 200, None, Bytes::from_static(br#"{"input_tokens":7}"#));
    assert_eq!(counted.unwrap().body, r#"{"inputTokens":7}"#);
}

#[test]
fn foreign_reasoning_leaves_a_body_that_passes_to_bedrock() {
    let foreign = json!({"reasoningContent": {"reasoningText": {"text": "t", "signature": "gw1.openai.thought.e30"}}});
    let body = json!({"messages": [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": [foreign, {"text": "a"}]},
        {"role": "user", "content": [{"text": "b"}]},
    ]});
    let prepared = prepare("/model/m/converse", &body, Host::Bedrock, Operation::Converse).unwrap();
    let sent: Value = serde_json::from_slice(&prepared.body).unwrap();
    assert_eq!(sent["messages"][1]["content"], json!([{"text": "a"}]));
    assert_eq!(prepared.warnings.len(), 1);
}

#[test]
fn converse_is_what_others_are_translated_to_last() {
    let all = [Operation::Converse, Operation::Messages, Operation::ChatCompletions];
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let call = ask("/v1/responses", Head::default(), &json!({"model": "m", "input": "hi"}));
    let prepared = call.prepare(destination(Host::Vendor, &all), Mode::Default).unwrap();
    assert_eq!(prepared.translation.operation(), Operation::ChatCompletions);
    let call = ask("/model/m/converse", Head::default(), &converse());
    let prepared = call.prepare(destination(Host::Vendor, &all[1..]), Mode::Default).unwrap();
    assert_eq!(prepared.translation.operation(), Operation::Messages);
    let prepared = prepare("/v1/chat/completions", &chat, Host::Bedrock, Operation::Converse).unwrap();
    assert_eq!(prepared.translation.operation(), Operation::Converse);
}

#[test]
fn a_model_that_is_closed_on_one_surface_is_called_on_the_next() {
    const ALL: [Operation; 4] =
        [Operation::Converse, Operation::Messages, Operation::ChatCompletions, Operation::Responses];
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let prepare = |model, path: &str, body: &Value, closed: &[Surface]| {
        let closed = closed.iter().copied().fold(Surfaces::NONE, Surfaces::with);
        let to = Destination { model: Some(model), ..destination(Host::Bedrock, &ALL) };
        ask(path, Head::default(), body).prepare_without(to, Mode::Strict, LeftOut { closed, ..LeftOut::default() })
    };
    let nova = "us.amazon.nova-pro-v1:0";
    let oss = "openai.gpt-oss-120b-1:0";
    let (first, last) = (Surface::OpenAiChatCompletions, Surface::OpenAiResponses);
    type Row<'a> = (&'a str, &'a str, &'a Value, &'a [Surface], &'a str, Surface);
    let rows: [Row<'_>; 7] = [
        (CLAUDE, "/v1/messages", &messages(false), &[], "/invoke", Surface::InvokeModel),
        (CLAUDE, "/v1/messages", &messages(false), &[Surface::InvokeModel], "/converse", Surface::Converse),
        (CLAUDE, "/model/m/converse", &converse(), &[Surface::Converse], "/invoke", Surface::InvokeModel),
        (nova, "/v1/chat/completions", &chat, &[], "/converse", Surface::Converse),
        (nova, "/v1/chat/completions", &chat, &[Surface::Converse], "/openai/v1/chat/completions", first),
        (oss, "/v1/chat/completions", &chat, &[first], "/openai/v1/responses", last),
        (oss, "/v1/chat/completions", &chat, &[first, last], "/converse", Surface::Converse),
    ];
    for (model, path, body, closed, expected, surface) in rows {
        let prepared = prepare(model, path, body, closed).unwrap();
        assert!(prepared.path.ends_with(expected), "{path} {closed:?}: {}", prepared.path);
        assert_eq!(prepared.surface, Some(surface), "{path} {closed:?}");
    }
    let everywhere = [Surface::InvokeModel, Surface::Converse];
    let nowhere = prepare(CLAUDE, "/v1/messages", &messages(false), &everywhere);
    assert!(matches!(nowhere, Err(Unprepared::Unreachable)), "{nowhere:?}");
}

#[test]
fn hard_case_111_a_response_that_waits_for_a_tool_is_completed() {
    let whole = json!({
        "output": {"message": {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}}]}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8},
    });
    let ask = json!({"model": "m", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]});
    let prepared = prepare("/v1/responses", &ask, Host::Bedrock, Operation::Converse).unwrap();
    let out = prepared.translation.whole(&reply(), 200, None, whole.to_string().into()).unwrap();
    let answer: Value = serde_json::from_slice(&out.body).unwrap();
    assert_eq!((&answer["status"], &answer["output"][0]["type"]), (&json!("completed"), &json!("function_call")));
}
