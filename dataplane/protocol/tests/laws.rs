//! What holds for every codec and every input (docs/protocols/streaming.md): the contract of events, cuts that change
//! nothing, streams that say what whole answers say, and no panic whatever arrives.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "corpus/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;

use corpus::{Kind, cases, client_reply, clients, decode_stream, each_frame, upstreams};
use proptest::prelude::*;
use routeapi_protocol::{
    codec::{Head, Target, accumulate::Accumulator, client_codec, upstream_codec},
    dialect::Operation,
    ir::{Block, Event, Response, Usage},
    limits::ModelLimits,
    report::{Mode, Report},
    wire::sse::Frame,
};

/// Hard cases 44 and 45: wherever the network cuts a stream, the same events come out.
#[test]
fn cuts_change_nothing() {
    for case in cases(Kind::Streams) {
        let whole = format!("{:?}", decode_stream(case.operation, &[&case.input]));
        for at in 0..=case.input.len() {
            let (head, tail) = case.input.split_at(at);
            let cut = format!("{:?}", decode_stream(case.operation, &[head, tail]));
            assert_eq!(cut, whole, "{}/{} cut at byte {at}", case.operation, case.name);
        }
        let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(format!("{:?}", decode_stream(case.operation, &bytes)), whole, "{} byte by byte", case.name);
    }
}

/// A stream that ends anywhere ends in exactly one legal way.
#[test]
fn every_prefix_keeps_the_contract() {
    for case in cases(Kind::Streams) {
        for at in 0..=case.input.len() {
            let head = &case.input[..at];
            let events = decode_stream(case.operation, &[head]);
            keeps_the_contract(&events).unwrap_or_else(|broken| {
                panic!("{}/{} up to byte {at}: {broken}\n{events:#?}", case.operation, case.name);
            });
        }
    }
}

/// The four rules at the head of `ir::event`. An error may come before anything has begun.
fn keeps_the_contract(events: &[Event]) -> Result<(), String> {
    let (mut open, mut seen) = (BTreeMap::new(), Vec::new());
    let (mut started, mut over) = (false, false);
    for event in events {
        if over {
            return Err(format!("{event:?} after the end"));
        }
        if !started && !matches!(event, Event::Start { .. } | Event::Ping | Event::Error(_)) {
            return Err(format!("{event:?} before the start"));
        }
        match event {
            Event::Start { .. } if started => return Err("a second start".into()),
            Event::Start { .. } => started = true,
            Event::BlockStart { block, candidate, .. } => {
                if seen.contains(block) {
                    return Err(format!("block {block} twice"));
                }
                seen.push(*block);
                open.insert(*block, *candidate);
            }
            Event::BlockDelta { block, .. } if !open.contains_key(block) => return Err(format!("{block} is not open")),
            Event::BlockEnd { block } => {
                open.remove(block).ok_or_else(|| format!("{block} is not open"))?;
            }
            Event::Finish { candidate, .. } if open.values().any(|of| of == candidate) => {
                return Err(format!("candidate {candidate} finishes with an open block"));
            }
            Event::Error(_) | Event::End => over = true,
            _ => {}
        }
    }
    let finished = events.iter().any(|event| matches!(event, Event::Finish { .. }));
    let ended = matches!(events.last(), Some(Event::End));
    if !over || ended != finished {
        return Err("neither an end with a finish, nor an error".into());
    }
    Ok(())
}

#[test]
fn usage_never_shrinks() {
    for case in cases(Kind::Streams) {
        let mut known = Usage::default();
        for event in decode_stream(case.operation, &[&case.input]) {
            if let Event::Usage(later) | Event::Start { usage: Some(later), .. } = event {
                let before = known;
                known.merge(later);
                assert!(
                    known.total_input() >= before.total_input() && known.total_output() >= before.total_output(),
                    "{}: {before:?} became {known:?}",
                    case.name
                );
            }
        }
    }
}

/// What a codec writes as a stream and reads back is what it writes whole and reads back.
#[test]
fn streams_say_what_whole_answers_say() {
    for case in cases(Kind::Streams) {
        let events = decode_stream(case.operation, &[&case.input]);
        let Some(response) = folded(events.clone()) else { continue };
        for client in clients().into_iter().filter(|client| upstreams().contains(client)) {
            let (own, back) = (client_codec(client).unwrap(), upstream_codec(client).unwrap());
            let reply =
                routeapi_protocol::codec::ResponseContext { custom_tools: std::sync::Arc::default(), ..client_reply() };
            let whole = back.decode_response(&own.encode_response(&response, &reply)).unwrap();
            let mut encoder = own.stream_encoder(&reply);
            let mut bytes = Vec::new();
            events.iter().for_each(|event| encoder.push(event, &mut bytes));
            let streamed = folded(decode_stream(client, &[&bytes])).unwrap_or_else(|| {
                panic!("{} to {client}: not a complete stream\n{}", case.name, String::from_utf8_lossy(&bytes));
            });
            assert_eq!(gist(&streamed), gist(&whole), "{}/{} to {client}", case.operation, case.name);
        }
    }
}

/// What an upstream sent whole comes back from any dialect as the same words and calls.
#[test]
fn answers_survive_a_hop() {
    for case in cases(Kind::Responses) {
        let Ok(response) = upstream_codec(case.operation).unwrap().decode_response(&case.input) else { continue };
        if !clients().contains(&case.operation) {
            continue;
        }
        let (own, back) = (client_codec(case.operation).unwrap(), upstream_codec(case.operation).unwrap());
        let reply =
            routeapi_protocol::codec::ResponseContext { custom_tools: std::sync::Arc::default(), ..client_reply() };
        let again = back.decode_response(&own.encode_response(&response, &reply)).unwrap();
        assert_eq!(gist(&again), gist(&response), "{}/{}", case.operation, case.name);
        assert_eq!(totals(&again), totals(&response), "{}/{}", case.operation, case.name);
    }
}

fn totals(response: &Response) -> (u64, u64) {
    let usage = response.usage.unwrap_or_default();
    (usage.total_input(), usage.total_output())
}

fn folded(events: Vec<Event>) -> Option<Response> {
    let mut fold = Accumulator::default();
    for event in events {
        fold.push(event).ok()?;
    }
    Some(fold.finish())
}

/// The part of an answer that every dialect can say, per candidate: words by kind, calls, and the reason for the end.
fn gist(response: &Response) -> Vec<String> {
    let candidate = |candidate: &routeapi_protocol::ir::Candidate| {
        let (mut words, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
        for block in &candidate.blocks {
            match block {
                Block::Text(text) => words.push_str(&text.text),
                Block::Refusal(text) => words.push_str(text),
                Block::Reasoning(reasoning) => thoughts.push_str(&reasoning.text),
                Block::ToolCall(call) => calls.push(format!("{} {}", call.name, arguments(&call.arguments))),
                _ => {}
            }
        }
        format!("{words:?} thinking {thoughts:?} calling {calls:?} then {:?}", candidate.finish.reason)
    };
    response.candidates.iter().map(candidate).collect()
}

/// Arguments as a client reads them. What is no object is wrapped by dialects that need one, so it is only named.
fn arguments(text: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(if text.trim().is_empty() { "{}" } else { text }) {
        Ok(object) if object.is_object() && object.get("_raw").is_none() => object.to_string(),
        _ => "no object".to_owned(),
    }
}

/// Events of Responses, by what follows `response.`.
const EVENTS: [&str; 18] = [
    "created",
    "output_item.added",
    "output_item.done",
    "content_part.done",
    "output_text.delta",
    "output_text.done",
    "output_text.annotation.added",
    "refusal.delta",
    "refusal.done",
    "reasoning_summary_text.delta",
    "reasoning_text.delta",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "custom_tool_call_input.delta",
    "custom_tool_call_input.done",
    "completed",
    "incomplete",
    "done",
];

/// Names of members that the dialects know.
const NAMES: [&str; 46] = [
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "index",
    "choices",
    "delta",
    "finish_reason",
    "usage",
    "error",
    "contents",
    "parts",
    "functionCall",
    "args",
    "functionResponse",
    "response",
    "candidates",
    "usageMetadata",
    "inlineData",
    "tools",
    "functionDeclarations",
    "generationConfig",
    "thinkingConfig",
    "system",
    "input",
    "content_block",
    "message",
    "stop_reason",
    "image_url",
    "source",
    "reasoning_details",
    "extra_content",
    "promptFeedback",
    "call_id",
    "output",
    "summary",
    "encrypted_content",
    "namespace",
    "annotations",
];

/// Words that mean something in some member.
const WORDS: [&str; 21] = [
    "user",
    "assistant",
    "tool",
    "system",
    "model",
    "text",
    "function",
    "stop",
    "STOP",
    "{\"a\":1}",
    "tool_use",
    "data:image/png;base64,AA",
    "",
    "gw1.anthropic.thought.x",
    "gw1.gemini.call.eA",
    "message",
    "reasoning",
    "function_call",
    "function_call_output",
    "custom",
    "input_text",
];

/// JSON of any shape, biased to the member names that the dialects know.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        (0_u8..3).prop_map(|number| number.to_string()),
        proptest::sample::select(&WORDS[..]).prop_map(|word| serde_json::to_string(word).unwrap()),
        ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((proptest::sample::select(&NAMES[..]), inner), 0..6).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Runs everything that reads this document.
fn read_everywhere(body: &str) {
    let head = Head { model: Some("m".into()), ..Head::default() };
    for operation in clients() {
        let own = client_codec(operation).unwrap();
        if let Ok(request) = own.decode_request(body.as_bytes(), &head) {
            for to in upstreams() {
                let mut report = Report::new(Mode::Lenient);
                let target = Target {
                    base_model: None,
                    model: "gemini-3-pro",
                    default_max_output: 100,
                    limits: ModelLimits::default(),
                };
                let encoded = upstream_codec(to).unwrap().encode_request(&request, target, operation, &mut report);
                assert_json(&encoded.body);
            }
        }
    }
    for operation in upstreams() {
        let back = upstream_codec(operation).unwrap();
        if let Ok(response) = back.decode_response(body.as_bytes()) {
            for to in clients() {
                assert_json(&client_codec(to).unwrap().encode_response(&response, &client_reply()));
            }
        }
        // Only Converse's events are told by their names.
        let names: &[Option<&str>] = match operation {
            Operation::Converse => &[
                Some("messageStart"),
                Some("contentBlockStart"),
                Some("contentBlockDelta"),
                Some("contentBlockStop"),
                Some("messageStop"),
                Some("metadata"),
                Some("error"),
            ],
            _ => &[None, None],
        };
        let mut decoder = back.stream_decoder();
        let mut events = Vec::new();
        for event in names {
            decoder.push(Frame { event: *event, data: body }, &mut events);
        }
        decoder.finish(&mut events);
        keeps_the_contract(&events).unwrap();
        write_everywhere(&events);
    }
}

/// Every client gets frames that are JSON, whatever the events say.
fn write_everywhere(events: &[Event]) {
    for client in clients() {
        let mut encoder = client_codec(client).unwrap().stream_encoder(&client_reply());
        let mut bytes = Vec::new();
        events.iter().for_each(|event| encoder.push(event, &mut bytes));
        each_frame(&[&bytes], |frame| {
            if frame.data != "[DONE]" {
                assert_json(frame.data.as_bytes());
            }
        });
    }
}

fn assert_json(body: &[u8]) {
    serde_json::from_slice::<serde::de::IgnoredAny>(body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_without_a_panic(body in any_json()) {
        read_everywhere(&body);
    }

    #[test]
    fn requests_of_any_content_are_read_without_a_panic(content in any_json(), part in any_json()) {
        read_everywhere(&format!(r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":{content}}},{part}]}}"#));
        read_everywhere(&format!(r#"{{"contents":[{{"role":"model","parts":{content}}},{{"parts":[{part}]}}]}}"#));
        read_everywhere(&format!(r#"{{"messages":[{{"role":"user","content":[{content},{{"toolResult":{{"toolUseId":"c","content":[{part}]}}}}]}}],"toolConfig":{{"tools":[{part}],"toolChoice":{content}}},"outputConfig":{part},"additionalModelRequestFields":{content}}}"#));
        read_everywhere(&format!(r#"{{"model":"m","input":[{{"role":"user","content":{content}}},{part}],"text":{part},"reasoning":{content},"include":{content},"tool_choice":{part}}}"#));
    }

    #[test]
    fn answers_of_any_content_are_read_without_a_panic(delta in any_json(), part in any_json()) {
        read_everywhere(&format!(r#"{{"choices":[{{"index":0,"delta":{delta},"message":{delta},"finish_reason":"stop"}}]}}"#));
        read_everywhere(&format!(r#"{{"candidates":[{{"content":{{"parts":[{part},{delta}]}},"finishReason":"STOP"}}]}}"#));
        read_everywhere(&format!(r#"{{"output":{{"message":{{"content":[{part},{delta}]}}}},"stopReason":"end_turn","usage":{part}}}"#));
        read_everywhere(&format!(r#"{{"contentBlockIndex":0,"start":{part},"delta":{delta},"stopReason":"tool_use","usage":{part}}}"#));
        read_everywhere(&format!(r#"{{"output":[{{"type":"message","content":{delta}}},{{"type":"reasoning","summary":{part},"content":{delta}}},{part}],"status":"completed"}}"#));
    }

    #[test]
    fn events_of_any_content_are_read_without_a_panic(
        kind in proptest::sample::select(&EVENTS[..]), item in any_json(), index in 0_u8..3, part in any_json()
    ) {
        read_everywhere(&format!(r#"{{"type":"response.{kind}","output_index":{index},"item":{{"type":"message","content":[{item}]}},"delta":"d","text":"dt","part":{part},"response":{{"output":[{item},{part}]}}}}"#));
        read_everywhere(&format!(r#"{{"type":"response.{kind}","item_id":"i","item":{item},"annotation":{part},"arguments":"{{}}","response":{item}}}"#));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let head = Head { model: Some("m".into()), ..Head::default() };
        for operation in clients() {
            let _ = client_codec(operation).unwrap().decode_request(&bytes, &head);
        }
        for operation in upstreams() {
            let _ = upstream_codec(operation).unwrap().decode_response(&bytes);
            keeps_the_contract(&decode_stream(operation, &[&bytes])).unwrap();
        }
    }
}

/// The matrix holds at least the dialects of this crate.
#[test]
fn the_dialects_are_there() {
    for known in [clients(), upstreams()] {
        assert!(known.contains(&Operation::ChatCompletions) && known.contains(&Operation::GenerateContent));
    }
    assert!(upstreams().contains(&Operation::Responses) && clients().contains(&Operation::Responses));
}

/// Hard cases 51, 54 and 75: what keeps a connection open is legal before anything has come, does not fix another id than
/// the answer has, and stops with the answer.
#[test]
fn heartbeats_are_legal_at_any_time() {
    for case in cases(Kind::Streams) {
        let events = decode_stream(case.operation, &[&case.input]);
        for client in clients() {
            let mut encoder = client_codec(client).unwrap().stream_encoder(&client_reply());
            let (mut bytes, mut ids) = (Vec::new(), Vec::new());
            for event in &events {
                encoder.heartbeat(&mut bytes);
                encoder.push(event, &mut bytes);
            }
            let end = bytes.len();
            encoder.heartbeat(&mut bytes);
            assert_eq!(bytes.len(), end, "{} to {client}: a heartbeat after the end", case.name);
            each_frame(&[&bytes], |frame| {
                if let Ok(chunk) = serde_json::from_str::<serde_json::Value>(frame.data) {
                    ids.extend(chunk.get("id").map(ToString::to_string));
                }
            });
            ids.dedup();
            assert!(ids.len() <= 1, "{} to {client}: {ids:?}", case.name);
        }
    }
}

/// What Google's clients choke on: comments, `event:` lines, a sentinel, a missing space, contents without parts.
#[test]
fn gemini_clients_get_nothing_but_data_lines() {
    for case in cases(Kind::Streams) {
        let mut encoder = client_codec(Operation::GenerateContent).unwrap().stream_encoder(&client_reply());
        let mut bytes = Vec::new();
        for event in decode_stream(case.operation, &[&case.input]) {
            encoder.push(&event, &mut bytes);
        }
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        for line in lines {
            let chunk = line.strip_prefix("data: ").unwrap_or_else(|| panic!("{}: {line}", case.name));
            let chunk: serde_json::Value = serde_json::from_str(chunk).unwrap();
            assert!(
                chunk.pointer("/candidates/0/content/parts/0").is_some()
                    || line.starts_with("data: {\"error\":{\"code\":")
            );
        }
        assert!(text.is_empty() || text.ends_with("\n\n"), "{}", case.name);
    }
}

/// What nests as deep as a body can is refused or kept as text, and never walked down.
#[test]
fn depth_is_no_weapon() {
    let depth = 5_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"items\":", "}"), ("{\"properties\":{\"a\":", "}}")] {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        read_everywhere(&deep);
        read_everywhere(&format!(
            r#"{{"contents":[],"tools":[{{"functionDeclarations":[{{"name":"f","parameters":{deep}}}]}}]}}"#
        ));
        let tool = format!(
            r#"{{"type":"function","name":"f","input_schema":{deep},"function":{{"name":"f","parameters":{deep}}}}}"#
        );
        read_everywhere(&format!(r#"{{"model":"m","max_tokens":1,"messages":[],"tools":[{tool}]}}"#));
    }
}
