//! What a Responses client demands of a stream (docs/protocols/responses.md, hard cases 58 and 102 to 118), of every golden
//! stream of every upstream: the client that is played here takes nothing but the full grammar.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "corpus/corpus.rs"]
mod corpus;

use corpus::{Kind, cases, client_reply, decode_stream};
use routeapi_protocol::{
    codec::{accumulate::Accumulator, client_codec},
    dialect::Operation,
    ir::Event,
    wire::sse::{Frame, SseDecoder},
};
use serde_json::{Value, json};

/// A client that keeps what it is told and stops at whatever it was not told before.
#[derive(Default)]
struct Client {
    next: u64,
    id: Option<Value>,
    open: Option<Value>,
    text: String,
    done: Vec<Value>,
    end: Option<Value>,
}

impl Client {
    fn take(&mut self, frame: Frame<'_>) {
        let event: Value = serde_json::from_str(frame.data).unwrap();
        let kind = event["type"].as_str().unwrap();
        assert_eq!(frame.event, Some(kind), "the type stands in both places");
        assert_eq!(event["sequence_number"], self.next, "{kind}");
        assert!(self.end.is_none(), "{kind} after the end");
        self.next += 1;
        match kind {
            "response.created" | "response.in_progress" => {
                assert_eq!(
                    (self.next == 1, &event["response"]["status"]),
                    (kind == "response.created", &json!("in_progress"))
                );
                self.object(&event["response"]);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                assert!(self.open.is_none(), "an item is open");
                self.object(&event["response"]);
                assert_eq!(event["response"]["output"], Value::from(self.done.clone()));
                assert_eq!(format!("response.{}", event["response"]["status"].as_str().unwrap()), kind);
                self.end = Some(event["response"].clone());
            }
            "response.output_item.added" => {
                assert!(self.open.is_none() && self.next > 2, "an item is open, or nothing has begun");
                assert_eq!(event["output_index"], self.done.len());
                self.open = Some(event["item"].clone());
            }
            "response.output_item.done" => self.done(&event),
            _ => self.grow(kind, &event),
        }
    }

    fn object(&mut self, response: &Value) {
        assert_eq!(self.id.get_or_insert_with(|| response["id"].clone()), &response["id"]);
        for name in ["id", "object", "created_at", "model", "output", "parallel_tool_calls", "tool_choice", "tools"] {
            assert!(!response[name].is_null(), "{name}");
        }
        let counts = [
            "/input_tokens",
            "/input_tokens_details/cached_tokens",
            "/output_tokens",
            "/output_tokens_details/reasoning_tokens",
            "/total_tokens",
        ];
        let is_good = matches!(response["status"].as_str(), Some("completed" | "incomplete"));
        if is_good || !response["usage"].is_null() {
            assert!(counts.iter().all(|count| response["usage"].pointer(count).unwrap().is_u64()), "{response}");
        }
    }

    fn done(&mut self, event: &Value) {
        let open = self.open.take().unwrap();
        let item = &event["item"];
        assert_eq!(event["output_index"], self.done.len());
        for name in ["type", "id", "call_id", "name"] {
            assert_eq!(open[name], item[name], "{name} stays");
        }
        let known = match item["type"].as_str().unwrap() {
            "message" => open["content"] == item["content"],
            "reasoning" => open["summary"] == item["summary"],
            "function_call" => self.text == item["arguments"].as_str().unwrap(),
            "custom_tool_call" => self.text == item["input"].as_str().unwrap(),
            _ => true,
        };
        assert!(known, "what was told is not what is done: {open} {item}");
        self.text.clear();
        self.done.push(item.clone());
    }

    fn grow(&mut self, kind: &str, event: &Value) {
        let open = self.open.as_mut().unwrap_or_else(|| panic!("{kind} before its item"));
        assert_eq!((&event["item_id"], &event["output_index"]), (&open["id"], &json!(self.done.len())), "{kind}");
        let (list, index) = match open["type"].as_str().unwrap() {
            "message" => ("content", &event["content_index"]),
            "reasoning" => ("summary", &event["summary_index"]),
            _ => ("", &Value::Null),
        };
        let delta = event["delta"].as_str().unwrap_or_default();
        match kind {
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                let parts = open[list].as_array_mut().unwrap();
                assert_eq!(index, parts.len(), "parts come in order");
                parts.push(event["part"].clone());
            }
            "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_summary_text.delta" => {
                let member = if kind == "response.refusal.delta" { "refusal" } else { "text" };
                let part = &mut open[list].as_array_mut().unwrap()[usize::try_from(index.as_u64().unwrap()).unwrap()];
                part[member] = (part[member].as_str().unwrap().to_owned() + delta).into();
            }
            "response.output_text.annotation.added" => {
                let sources = open[list][0]["annotations"].as_array_mut().unwrap();
                assert_eq!(event["annotation_index"], sources.len());
                sources.push(event["annotation"].clone());
            }
            "response.output_text.done" | "response.refusal.done" | "response.reasoning_summary_text.done" => {
                let member = if kind == "response.refusal.done" { "refusal" } else { "text" };
                assert_eq!(open[list].as_array().unwrap().last().unwrap()[member], event[member]);
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                assert_eq!(open[list].as_array().unwrap().last(), Some(&event["part"]));
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.text.push_str(delta);
            }
            "response.function_call_arguments.done" => assert_eq!(event["arguments"], self.text), // hard case 108
            "response.custom_tool_call_input.done" => assert_eq!(event["input"], self.text),
            "response.web_search_call.in_progress"
            | "response.web_search_call.searching"
            | "response.web_search_call.completed" => assert_eq!(open["type"], "web_search_call"),
            other => panic!("an event nobody knows: {other}"),
        }
    }
}

fn told(events: &[Event], with_heartbeats: bool) -> Client {
    let mut encoder = client_codec(Operation::Responses).unwrap().stream_encoder(&client_reply());
    let mut bytes = Vec::new();
    for event in events {
        encoder.push(event, &mut bytes);
        if with_heartbeats {
            encoder.heartbeat(&mut bytes);
        }
    }
    let (mut frames, mut client) = (SseDecoder::new(), Client::default());
    frames.push(&bytes, |frame| client.take(frame)).unwrap();
    frames.finish(|frame| client.take(frame));
    client
}

#[test]
fn every_stream_keeps_the_grammar() {
    for case in cases(Kind::Streams) {
        for with_heartbeats in [false, true] {
            let events = decode_stream(case.operation, &[&case.input]);
            let client = told(&events, with_heartbeats);
            let end = client.end.unwrap_or_else(|| panic!("{}/{}: no end", case.operation, case.name));
            let failed = matches!(events.last(), Some(Event::Error(_)));
            assert_eq!(end["status"] == "failed", failed, "{}/{}", case.operation, case.name);
            if !failed {
                assert!(end["id"].as_str().is_some_and(|id| id.starts_with("resp_")), "hard case 118");
            }
        }
    }
}

/// Every cut of a stream is told as a failure, after whatever was said, and in the full grammar.
#[test]
fn every_prefix_keeps_the_grammar() {
    for case in cases(Kind::Streams) {
        for at in (0..case.input.len()).step_by(13) {
            let client = told(&decode_stream(case.operation, &[&case.input[..at]]), false);
            assert!(client.end.is_some(), "{}/{} up to byte {at}", case.operation, case.name);
        }
    }
}

/// The whole answer is the one that the stream ends with.
#[test]
fn whole_answers_are_what_streams_end_with() {
    let mut compared = 0;
    for case in cases(Kind::Streams) {
        let events = decode_stream(case.operation, &[&case.input]);
        let mut fold = Accumulator::default();
        if events.iter().cloned().try_for_each(|event| fold.push(event)).is_err() {
            continue;
        }
        let codec = client_codec(Operation::Responses).unwrap();
        let whole: Value = serde_json::from_slice(&codec.encode_response(&fold.finish(), &client_reply())).unwrap();
        assert_eq!(told(&events, false).end.unwrap(), whole, "{}/{}", case.operation, case.name);
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}
