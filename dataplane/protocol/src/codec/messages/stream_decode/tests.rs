use super::Decoder;
use crate::{
    codec::StreamDecoder,
    ir::{BlockKind, Delta, Event},
    wire::sse::Frame,
};

/// Events as short words, so that a row shows a whole stream.
fn words(events: &[Event]) -> String {
    let words: Vec<String> = events.iter().map(word).collect();
    words.join(" ")
}

fn word(event: &Event) -> String {
    match event {
        Event::Start { id, .. } => format!("start:{}", id.as_deref().unwrap_or("-")),
        Event::BlockStart { block, kind, .. } => match kind {
            BlockKind::Text => format!("{block}=text"),
            BlockKind::Reasoning { redacted } => format!("{block}={}", if *redacted { "hidden" } else { "think" }),
            BlockKind::ToolCall { id, name } => format!("{block}=call:{id}:{name}"),
            BlockKind::Refusal => format!("{block}=refusal"),
            BlockKind::Media(media) => format!("{block}={media:?}"),
            BlockKind::Unknown { kind, raw, .. } => format!("{block}={kind}:{raw}"),
        },
        Event::BlockDelta { block, delta } => match delta {
            Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) => format!("{block}+{text}"),
            Delta::Citation(one) => format!("{block}+cited:{:?}:{:?}", one.span, one.url),
            Delta::State(state) => format!("{block}+state:{}:{}", state.family, state.value),
        },
        Event::BlockEnd { block } => format!("{block}."),
        Event::Usage(usage) => format!("usage:{}/{}", usage.total_input(), usage.total_output()),
        Event::Finish { finish, .. } => format!("{:?}", finish.reason),
        Event::Lost(field) => format!("lost:{field}"),
        Event::Ping => "ping".to_owned(),
        Event::Error(problem) => format!("error:{}:{:?}", problem.status, problem.kind),
        Event::End => "end".to_owned(),
    }
}

fn decode(frames: &[&str]) -> String {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for data in frames {
        decoder.push(Frame { event: None, data }, &mut out);
    }
    decoder.finish(&mut out);
    words(&out)
}

fn check(rows: &[(&str, &[&str], &str)]) {
    for (name, frames, expected) in rows {
        assert_eq!(decode(frames), *expected, "{name}");
    }
}

const START: &str =
    r#"{"type":"message_start","message":{"id":"msg_1","model":"c","usage":{"input_tokens":10,"output_tokens":1}}}"#;
const TEXT: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const HI: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
const STOP_0: &str = r#"{"type":"content_block_stop","index":0}"#;
const CALL: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
const DONE: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn text_usage_and_calls() {
    let rows: [(&str, &[&str], &str); 6] = [
        ("text", &[START, TEXT, HI, STOP_0, DONE, STOP], "start:msg_1 0=text 0+hi 0. usage:10/9 Stop end"),
        (
            "hard case 219: usage is cumulative",
            &[START, r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":5}}"#, DONE, STOP],
            "start:msg_1 usage:10/5 usage:10/9 Stop end",
        ),
        (
            "hard case 220: the start's counts are kept",
            &[
                START,
                r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"input_tokens":null,"output_tokens":3}}"#,
                STOP,
            ],
            "start:msg_1 usage:10/3 Length end",
        ),
        (
            "hard case 72: a call without arguments",
            &[START, CALL, STOP_0, DONE, STOP],
            "start:msg_1 0=call:t:f 0. usage:10/9 ToolCalls end",
        ),
        (
            "hard case 73: {} plus deltas",
            &[
                START,
                CALL,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":0}"}}"#,
                STOP_0,
                DONE,
                STOP,
            ],
            "start:msg_1 0=call:t:f 0+{\"a\":0} 0. usage:10/9 ToolCalls end",
        ),
        (
            "arguments in the start",
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1.0}}}"#,
                STOP_0,
                DONE,
                STOP,
            ],
            "start:msg_1 0=call:t:f 0+{\"a\":1.0} 0. usage:10/9 ToolCalls end",
        ),
    ];
    check(&rows);
}

#[test]
fn reasoning_server_tools_and_ends() {
    let rows: [(&str, &[&str], &str); 9] = [
        (
            "thinking with its signature at the end",
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"why"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"one"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"two"}}"#,
                STOP_0,
                DONE,
                STOP,
            ],
            "start:msg_1 0=think 0+why 0+state:anthropic:two 0. usage:10/9 Stop end",
        ),
        (
            "redacted",
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"zz"}}"#,
                STOP_0,
                DONE,
                STOP,
            ],
            "start:msg_1 0=hidden 0+state:anthropic:zz 0. usage:10/9 Stop end",
        ),
        (
            "hard case 79: server tools are no calls",
            &[
                START,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"q\"}"}}"#,
                STOP_0,
                DONE,
                STOP,
            ],
            "start:msg_1 0=server_tool_use:{\"id\":\"s\",\"input\":{\"query\":\"q\"},\"name\":\"web_search\",\"type\":\"server_tool_use\"} 0. usage:10/9 Stop end",
        ),
        (
            "pings and the unknown",
            &[START, r#"{"type":"ping"}"#, r#"{"type":"new_event","x":1}"#, ": keepalive", "", DONE, STOP],
            "start:msg_1 ping usage:10/9 Stop end",
        ),
        ("hard case 127: cut after content", &[START, TEXT, HI], "start:msg_1 0=text 0+hi error:502:Upstream"),
        ("end without message_stop", &[START, TEXT, HI, DONE], "start:msg_1 0=text 0+hi usage:10/9 0. Stop end"),
        ("nothing at all", &[], "error:502:Upstream"),
        ("no JSON", &[START, "{"], "start:msg_1 error:502:Upstream"),
        ("nothing after the end", &[START, DONE, STOP, HI, STOP], "start:msg_1 usage:10/9 Stop end"),
    ];
    check(&rows);
}

#[test]
fn hard_case_126_errors_keep_their_class() {
    let rows = [
        ("overloaded_error", "error:529:Overloaded"),
        ("rate_limit_error", "error:429:RateLimited"),
        ("api_error", "error:500:Upstream"),
        ("timeout_error", "error:504:Timeout"),
        ("invalid_request_error", "error:400:InvalidRequest"),
        ("new_error", "error:502:Upstream"),
    ];
    for (kind, expected) in rows {
        let frame = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
        assert_eq!(decode(&[&frame, STOP]), expected);
    }
}

#[test]
fn hard_case_231_the_explanation_of_a_refusal() {
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"no"}},"usage":{"output_tokens":2}}"#;
    assert_eq!(decode(&[START, delta, STOP]), "start:msg_1 usage:10/2 0=refusal 0+no 0. ContentFilter end");
}
