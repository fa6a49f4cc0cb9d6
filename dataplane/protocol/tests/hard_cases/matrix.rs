//! One answer, whoever sent it in whatever form and whoever reads it: each row is what an upstream sent, whole and as
//! events, and what every client must read out of it, in one piece and as a stream.

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext, accumulate::Accumulator, upstream_codec},
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    ir::{Block, Response},
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest},
    response_stats::ResponseStats,
    wire::sse::SseDecoder,
};

use super::run::{A, C, G, R};

/// What an upstream sent.
pub struct Row {
    name: &'static str,
    upstream: Operation,
    whole: &'static str,
    events: &'static [&'static str],
    read: Read,
}

/// What a client reads. Nothing is said of what is empty or 0 here, but for the calls.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    text: &'static str,
    thought: &'static str,
    calls: &'static [(&'static str, &'static str)],
    input: u64,
    output: u64,
    /// The answer is a failure, in these words.
    failure: &'static str,
}

const NOTHING: Read = Read { text: "", thought: "", calls: &[], input: 0, output: 0, failure: "" };

const DONE: &str = "data: [DONE]";

pub const ROWS: &[Row] = &[
    Row {
        name: "members that say nothing stand beside the real call",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":"One moment.","function_call":{"name":"","arguments":""},"tool_calls":[{"id":"t1","type":"function","custom":{"name":"","input":""},"function":{"name":"tide","arguments":"{\"port\":\"Brest\"}"}}]},"finish_reason":""}],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"role":"assistant","content":"One moment.","function_call":{"name":"","arguments":""}}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function","custom":{"name":"","input":""},"function":{"name":"tide","arguments":"{\"port\":"}}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":"\"Brest\"}"}}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"data: {"id":"k1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}"#,
            DONE,
        ],
        read: Read { text: "One moment.", calls: &[("tide", r#"{"port":"Brest"}"#)], input: 5, output: 6, ..NOTHING },
    },
    Row {
        name: "reasoning that comes in details alone",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":"twelve","reasoning_details":[{"type":"reasoning.text","index":0,"text":"5 + 7 = 12"}]},"finish_reason":"stop"}]}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","index":0,"text":"5 + 7"}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","index":0,"text":" = 12"}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"twelve"}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            DONE,
        ],
        read: Read { text: "twelve", thought: "5 + 7 = 12", ..NOTHING },
    },
    Row {
        name: "reasoning counted beside the output",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":"Bonjour"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":61,"completion_tokens_details":{"reasoning_tokens":50}}}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"role":"assistant","content":"Bonjour"}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":61,"completion_tokens_details":{"reasoning_tokens":50}}}"#,
            DONE,
        ],
        read: Read { text: "Bonjour", input: 9, output: 52, ..NOTHING },
    },
    Row {
        name: "numbers in the place of text",
        upstream: C,
        whole: r#"{"id":31,"created":"7","model":4,"choices":[{"index":"0","message":{"role":"assistant","content":8.5,"tool_calls":[{"id":12,"function":{"name":"tide","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":"3","completion_tokens":4.0}}"#,
        events: &[
            r#"data: {"id":31,"created":"7","model":4,"choices":[{"index":"0","delta":{"role":"assistant","content":8.5}}]}"#,
            r#"data: {"id":31,"choices":[{"index":"0","delta":{"tool_calls":[{"index":"0","id":12,"function":{"name":"tide","arguments":"{}"}}]}}]}"#,
            r#"data: {"id":31,"choices":[{"index":"0","delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":"3","completion_tokens":4.0}}"#,
            DONE,
        ],
        read: Read { text: "8.5", calls: &[("tide", "{}")], input: 3, output: 4, ..NOTHING },
    },
    Row {
        name: "null wherever something may be",
        upstream: C,
        whole: r#"{"id":null,"choices":[null,{"index":0,"message":{"role":null,"content":"a","refusal":null,"tool_calls":[null,{"id":"x","type":null,"function":null,"custom":null},{"id":null,"function":{"name":"tide","arguments":null}}],"function_call":null,"audio":null,"reasoning":null,"reasoning_details":null,"images":null,"annotations":null},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null,"error":null}"#,
        events: &[
            r#"data: {"id":null,"choices":null,"usage":null,"error":null}"#,
            r#"data: {"id":null,"choices":[null,{"index":0,"delta":{"role":null,"content":"a","tool_calls":null,"function_call":null},"finish_reason":null}]}"#,
            r#"data: {"id":null,"choices":[{"index":0,"delta":null}]}"#,
            r#"data: {"id":null,"choices":[{"index":0,"delta":{"content":null,"tool_calls":[null,{"index":1,"id":"x","function":null,"custom":null},{"index":0,"id":null,"type":null,"function":{"name":"tide","arguments":null},"extra_content":null}]}}]}"#,
            r#"data: {"id":null,"choices":[{"index":0,"delta":{"content":null},"finish_reason":"tool_calls"}]}"#,
            DONE,
        ],
        read: Read { text: "a", calls: &[("tide", "{}")], ..NOTHING },
    },
    Row {
        name: "arguments written as an object, or into a text once more",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"name":"one","arguments":{"n":0}}},{"id":"c","name":"three","arguments":"{\"n\":2}"},{"id":"b","function":{"name":"two","arguments":"\"{\\\"n\\\":\\\"x\\\"}\""}}]},"finish_reason":"tool_calls"}]}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"one","arguments":{"n":0}}}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c","name":"three","arguments":"{\"n\":2}"}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"id":"b","function":{"name":"two","arguments":"\"{\\\"n\\\":"}}]}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"tool_calls":{"index":2,"function":{"arguments":"\\\"x\\\"}\""}}}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            DONE,
        ],
        read: Read { calls: &[("one", r#"{"n":0}"#), ("three", r#"{"n":2}"#), ("two", r#"{"n":"x"}"#)], ..NOTHING },
    },
    Row {
        name: "the message of the other kind of answer, and usage in a choice",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"delta":{"content":"whole"},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":4}}]}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":"wh"},"finish_reason":"null"}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"text":"ole","finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":4}}]}"#,
            DONE,
        ],
        read: Read { text: "whole", input: 3, output: 4, ..NOTHING },
    },
    Row {
        name: "the server gave up",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":"hal"},"finish_reason":"insufficient_system_resource"}]}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"hal"}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}]}"#,
            DONE,
        ],
        read: Read { failure: "insufficient_system_resource", ..NOTHING },
    },
    Row {
        name: "one provider behind a router failed",
        upstream: C,
        whole: r#"{"id":"k1","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"error","error":{"code":502,"message":"the provider hung up"}}]}"#,
        events: &[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"the provider hung up"}}]}"#,
            DONE,
        ],
        read: Read { failure: "the provider hung up", ..NOTHING },
    },
    Row {
        name: "passes that are billed beside the answer",
        upstream: A,
        whole: r#"{"id":"msg_k","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"go on"}],"stop_reason":"end_turn","usage":{"input_tokens":100,"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":9000,"output_tokens":300},{"type":"message","input_tokens":100,"output_tokens":10}]}}"#,
        events: &[
            r#"data: {"type":"message_start","message":{"id":"msg_k","type":"message","role":"assistant","model":"c","content":[],"usage":{"input_tokens":100,"output_tokens":1}}}"#,
            r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"go on"}}"#,
            r#"data: {"type":"content_block_stop","index":0}"#,
            r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":100,"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":9000,"output_tokens":300},{"type":"message","input_tokens":100,"output_tokens":10}]}}"#,
            r#"data: {"type":"message_stop"}"#,
        ],
        read: Read { text: "go on", input: 9_100, output: 310, ..NOTHING },
    },
    Row {
        name: "a Messages server that follows loosely",
        upstream: A,
        whole: r#"{"id":3,"type":"message","role":"assistant","model":2,"content":[null,{"thinking":"hm","signature":null},{"text":42},{"type":"tool_use","id":9,"name":"tide","input":"{\"n\":1}"}],"stop_reason":"tool_calls","usage":{"prompt_tokens":"7","completion_tokens":8}}"#,
        events: &[
            r#"data: {"type":"message_start","message":{"id":3,"type":"message","role":"assistant","model":2,"usage":null}}"#,
            r#"data: {"type":"content_block_delta","index":"0","delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"data: {"type":"content_block_stop","index":"0"}"#,
            r#"data: {"type":"content_block_start","index":"1","content_block":null}"#,
            r#"data: {"type":"content_block_delta","index":"1","delta":{"type":"text_delta","text":42}}"#,
            r#"data: {"type":"content_block_stop","index":"1"}"#,
            r#"data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":9,"name":"tide","input":{}}}"#,
            r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":{"n":1}}}"#,
            r#"data: {"type":"content_block_delta","index":2,"delta":null}"#,
            r#"data: {"type":"content_block_stop","index":2}"#,
            r#"data: {"type":"message_delta","delta":null,"usage":null}"#,
            r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_calls"},"usage":{"prompt_tokens":"7","completion_tokens":8}}"#,
            r#"data: {"type":"message_stop"}"#,
        ],
        read: Read { text: "42", thought: "hm", calls: &[("tide", r#"{"n":1}"#)], input: 7, output: 8, ..NOTHING },
    },
    Row {
        name: "a Messages server gave up",
        upstream: A,
        whole: r#"{"id":"msg_k","type":"message","content":[{"type":"text","text":"hal"}],"stop_reason":"error"}"#,
        events: &[
            r#"data: {"type":"message_start","message":{"id":"msg_k","content":[]}}"#,
            r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hal"}}"#,
            r#"data: {"type":"message_delta","delta":{"stop_reason":"error"}}"#,
            r#"data: {"type":"message_stop"}"#,
        ],
        read: Read { failure: "stopped its answer early: error", ..NOTHING },
    },
    Row {
        name: "a call in pieces",
        upstream: G,
        whole: r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"tide","partialArgs":[{"jsonPath":"$.port","stringValue":"Brest"},{"jsonPath":"$.days[0]","numberValue":2}]}}]},"finishReason":"STOP"}]}"#,
        events: &[
            r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"tide","willContinue":true}}]}}]}"#,
            r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.port","stringValue":"Bre","willContinue":true}],"willContinue":true}}]}}]}"#,
            r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.port","stringValue":"st"},{"jsonPath":"$.days[0]","numberValue":2}]}}]},"finishReason":"STOP"}]}"#,
        ],
        read: Read { calls: &[("tide", r#"{"days":[2],"port":"Brest"}"#)], ..NOTHING },
    },
    Row {
        name: "a Gemini server that follows loosely",
        upstream: G,
        whole: r#"{"responseId":5,"modelVersion":2,"candidates":[null,{"index":"0","content":{"parts":[null,{"text":"hm","thought":"true"},{"text":42,"functionCall":{},"inlineData":null},{"functionCall":{"id":3,"name":"tide","args":"{\"n\":1}"},"thoughtSignature":null}]},"finishReason":1,"usageMetadata":{"promptTokenCount":"7","candidatesTokenCount":"8.0"}}],"error":{}}"#,
        events: &[
            r#"data: {"responseId":5,"candidates":[{"index":"0","content":{"parts":[null,{"text":"hm","thought":"true"}]},"finishReason":"FINISH_REASON_UNSPECIFIED"}],"error":null}"#,
            r#"data: {"candidates":[{"index":"0","content":{"parts":{"text":42,"functionCall":{},"inlineData":null}}}]}"#,
            r#"data: {"candidates":[{"index":"0","content":null}]}"#,
            r#"data: {"candidates":[null,{"index":"0","content":{"parts":[{"functionCall":{"id":3,"name":"tide","args":"{\"n\":1}"}}]},"finishReason":1,"usageMetadata":{"promptTokenCount":"7","candidatesTokenCount":"8.0"}}]}"#,
        ],
        read: Read { text: "42", thought: "hm", calls: &[("tide", r#"{"n":1}"#)], input: 7, output: 8, ..NOTHING },
    },
    Row {
        name: "a model that wrote a call nobody can read, after some words",
        upstream: G,
        whole: r#"{"candidates":[{"content":{"parts":[{"text":"I will"}]},"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#,
        events: &[
            r#"data: {"candidates":[{"content":{"parts":[{"text":"I will"}]}}]}"#,
            r#"data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#,
        ],
        read: Read { failure: "MALFORMED_FUNCTION_CALL", ..NOTHING },
    },
    Row {
        name: "a model that stopped for a reason Google does not tell",
        upstream: G,
        whole: r#"{"candidates":[{"content":{"role":"model"},"finishReason":"OTHER"}],"usageMetadata":{"promptTokenCount":3}}"#,
        events: &[
            r#"data: {"candidates":[{"content":{"role":"model"},"finishReason":"OTHER"}],"usageMetadata":{"promptTokenCount":3}}"#,
        ],
        read: Read { failure: "came to nothing: OTHER", ..NOTHING },
    },
    Row {
        name: "reasoning, words and a call of Responses",
        upstream: R,
        whole: r#"{"id":"resp_1","status":"completed","output":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}],"encrypted_content":"gA"},{"type":"message","content":[{"type":"output_text","text":"So."}]},{"type":"function_call","call_id":"c1","name":"tide","arguments":"{\"n\":1}"}],"usage":{"input_tokens":7,"output_tokens":8}}"#,
        events: &[
            r#"data: {"type":"response.created","response":{"id":"resp_1"}}"#,
            r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}}"#,
            r#"data: {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"one"}"#,
            r#"data: {"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"two"}"#,
            r#"data: {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}],"encrypted_content":"gA"}}"#,
            r#"data: {"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"So."}"#,
            r#"data: {"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_1","call_id":"c1","name":"tide","arguments":""}}"#,
            r#"data: {"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"n\":1}"}"#,
            r#"data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"reasoning","id":"rs_1"},{"type":"message","content":[{"type":"output_text","text":"So."}]},{"type":"function_call","call_id":"c1","name":"tide","arguments":"{\"n\":1}"}],"usage":{"input_tokens":7,"output_tokens":8}}}"#,
        ],
        read: Read {
            text: "So.",
            thought: "one\n\ntwo",
            calls: &[("tide", r#"{"n":1}"#)],
            input: 7,
            output: 8,
            ..NOTHING
        },
    },
    Row {
        name: "an answer of Responses that failed",
        upstream: R,
        whole: r#"{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"it broke"},"output":[]}"#,
        events: &[
            r#"data: {"type":"response.created","response":{"id":"resp_1"}}"#,
            r#"data: {"type":"response.failed","response":{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"it broke"}}}"#,
        ],
        read: Read { failure: "it broke", ..NOTHING },
    },
];

impl Row {
    /// What does not hold, for each client and each way there.
    pub fn failures(&self) -> Vec<String> {
        let events: String = self.events.iter().map(|event| format!("{event}\n\n")).collect();
        let mut failures = Vec::new();
        for client in [C, A, G] {
            for sent in [self.whole, events.as_str()] {
                for whole in [true, false] {
                    let kind = if sent == self.whole { "one document" } else { "events" };
                    let wants = if whole { "the whole answer" } else { "a stream" };
                    let place = format!("{}: {kind} for {client} that wants {wants}", self.name);
                    failures.extend(self.differences(sent, client, whole).map(|how| format!("{place}: {how}")));
                }
            }
        }
        failures
    }

    fn differences(&self, sent: &str, client: Operation, whole: bool) -> Option<String> {
        let (bytes, seen) = deliver(self.upstream, sent, client, whole);
        let Read { text, thought, calls, input, output, failure } = self.read;
        if !failure.is_empty() {
            let said = seen.error.as_ref().map(|problem| problem.message.to_string()).unwrap_or_default();
            return (!said.contains(failure)).then(|| format!("no failure: {said:?} of {bytes}"));
        }
        if let Some(problem) = &seen.error {
            return Some(format!("failed: {problem:?}"));
        }
        let answer = match read(client, &bytes, whole) {
            Ok(answer) => answer,
            Err(why) => return Some(format!("{why}: {bytes}")),
        };
        let got = Got::of(&answer);
        let usage = seen.usage.unwrap_or_default();
        let expected: Vec<(String, String)> =
            calls.iter().map(|(name, arguments)| ((*name).to_owned(), (*arguments).to_owned())).collect();
        let is_same = (text, thought, expected) == (got.text.as_str(), got.thought.as_str(), got.calls.clone());
        let is_counted = (input, output) == (usage.total_input(), usage.total_output());
        (!is_same || !is_counted || !seen.complete).then(|| format!("{got:?} {usage:?} of {bytes}"))
    }
}

#[derive(Debug, Default)]
struct Got {
    text: String,
    thought: String,
    calls: Vec<(String, String)>,
}

impl Got {
    fn of(answer: &Response) -> Self {
        let mut got = Self::default();
        for block in answer.candidates.iter().flat_map(|candidate| &candidate.blocks) {
            match block {
                Block::Text(text) => got.text.push_str(&text.text),
                Block::Reasoning(reasoning) => got.thought.push_str(&reasoning.text),
                Block::ToolCall(call) => {
                    let arguments = if call.arguments.is_empty() { "{}" } else { &call.arguments };
                    let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap();
                    got.calls.push((call.name.clone(), arguments.to_string()));
                }
                _ => {}
            }
        }
        got
    }
}

/// What the client gets, and what was seen.
fn deliver(upstream: Operation, sent: &str, client: Operation, whole: bool) -> (String, ResponseStats) {
    let stream = if whole { "false" } else { "true" };
    let body = match client {
        Operation::GenerateContent => r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned(),
        _ => format!(
            r#"{{"model":"m","max_tokens":99,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        ),
    };
    let in_path = client == G;
    let matched = MatchedPath {
        operation: client,
        model: in_path.then(|| "m".into()),
        framing: in_path.then_some(if whole { Framing::Whole } else { Framing::Sse }),
        query: None,
        unknown_query: false,
        path: None,
    };
    let call = ParsedRequest::read(matched, Head::default(), Bytes::from(body)).unwrap();
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[upstream],
        model: Some("m"),
        default_max_output: 10,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    let translation = call.prepare(to, Mode::Default).unwrap().translation;
    let reply = ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() };
    if whole {
        let sent = Bytes::copy_from_slice(sent.as_bytes());
        return match translation.whole(&reply, 200, None, sent) {
            Ok(whole) => (String::from_utf8(whole.body.to_vec()).unwrap(), whole.stats),
            Err(problem) => (String::new(), ResponseStats { error: Some(problem), ..ResponseStats::default() }),
        };
    }
    let mut stream = translation.stream(&reply);
    let chunks = sent.as_bytes().chunks(11);
    let mut out: Vec<u8> = chunks.flat_map(|chunk| stream.push(Bytes::copy_from_slice(chunk))).collect();
    out.extend_from_slice(&stream.finish());
    (String::from_utf8(out).unwrap(), stream.stats().clone())
}

/// What a client of this dialect reads.
fn read(client: Operation, bytes: &str, whole: bool) -> Result<Response, String> {
    let codec = upstream_codec(client).unwrap();
    if whole {
        return codec.decode_response(bytes.as_bytes()).map_err(|problem| problem.message.to_string());
    }
    let (mut events, mut decoder, mut frames) = (Vec::new(), codec.stream_decoder(), SseDecoder::new());
    frames.push(bytes.as_bytes(), |frame| decoder.push(frame, &mut events)).unwrap();
    frames.finish(|frame| decoder.push(frame, &mut events));
    decoder.finish(&mut events);
    let mut fold = Accumulator::default();
    for event in events {
        fold.push(event).map_err(|problem| problem.message.to_string())?;
    }
    Ok(fold.finish())
}
