use super::{decode, encode};
use crate::{
    codec::ResponseContext,
    dialect::Family,
    ir::{Block, Candidate, Finish, FinishReason, Opaque, Reasoning, Response, Text, ToolCall, Unknown, Usage},
    problem::ProblemKind,
};

fn answer(blocks: Vec<Block>, reason: FinishReason) -> serde_json::Value {
    let response = Response { candidates: vec![Candidate { blocks, finish: reason.into() }], ..Response::default() };
    serde_json::from_slice(&encode(&response, &reply())).unwrap()
}

fn reply() -> ResponseContext {
    ResponseContext { model: "asked".to_owned(), id: "42".to_owned(), ..ResponseContext::default() }
}

fn text(text: &str) -> Block {
    Block::Text(Text { text: text.to_owned(), ..Text::default() })
}

fn call(arguments: &str) -> ToolCall {
    ToolCall {
        id: "call_1".to_owned(),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
        state: None,
        cache: None,
    }
}

fn state(family: Family) -> Option<Opaque> {
    let value = "s".to_owned();
    Some(Opaque { family, value })
}

#[test]
fn hard_case_98_order_is_kept() {
    let answer = answer(vec![text("a"), Block::ToolCall(call("")), text("b")], FinishReason::Stop);
    let kinds: Vec<&str> = answer["content"].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "tool_use", "text"]);
    assert_eq!(answer["content"][1]["input"], serde_json::json!({}));
    assert_eq!(answer["stop_reason"], "tool_use"); // hard case 90
    assert_eq!(answer["stop_sequence"], serde_json::Value::Null);
    assert_eq!((answer["id"].as_str(), answer["model"].as_str()), (Some("msg_42"), Some("asked")));
    assert_eq!(answer["usage"], serde_json::json!({"input_tokens": 0, "output_tokens": 0}));
}

#[test]
fn hard_case_174_glued_calls_are_split() {
    let answer = answer(vec![Block::ToolCall(call(r#"{"n":0}{"n":1}"#))], FinishReason::ToolCalls);
    assert_eq!(answer["content"][0]["input"], serde_json::json!({"n": 0}));
    assert_eq!(answer["content"][1]["input"], serde_json::json!({"n": 1}));
    assert_ne!(answer["content"][0]["id"], answer["content"][1]["id"]);
}

#[test]
fn hard_case_97_foreign_reasoning_is_tagged() {
    let thought = |text: &str, state, redacted| Block::Reasoning(Reasoning { text: text.to_owned(), state, redacted });
    let rows = [
        (
            thought("w", None, false),
            serde_json::json!([{"type":"thinking","thinking":"w","signature":"gw1.none.thought."}]),
        ),
        (
            thought("", state(Family::OpenAi), false),
            serde_json::json!([{"type":"thinking","thinking":"","signature":"gw1.openai.thought.cw"}]),
        ),
        (
            thought("", state(Family::Anthropic), false),
            serde_json::json!([{"type":"thinking","thinking":"","signature":"s"}]),
        ),
        (thought("", state(Family::Anthropic), true), serde_json::json!([{"type":"redacted_thinking","data":"s"}])),
        (thought("", None, false), serde_json::json!([])),
    ];
    for (block, expected) in rows {
        assert_eq!(answer(vec![block], FinishReason::Stop)["content"], expected);
    }
}

#[test]
fn hard_case_149_signatures_travel_as_in_a_stream() {
    let signed_text = Block::Text(Text { text: "a".to_owned(), state: state(Family::Gemini), ..Text::default() });
    let signed_call = Block::ToolCall(ToolCall { state: state(Family::Gemini), ..call("{}") });
    let answer = answer(vec![signed_text, signed_call], FinishReason::Stop);
    let signatures: Vec<Option<&str>> =
        answer["content"].as_array().unwrap().iter().map(|b| b["signature"].as_str()).collect();
    assert_eq!(signatures, [None, Some("gw1.gemini.text.cw"), Some("gw1.gemini.call.cw"), None]);
}

#[test]
fn hard_case_100_stop_sequences_and_foreign_blocks() {
    let finish = Finish { reason: FinishReason::StopSequence, stop_sequence: Some("END".to_owned()) };
    let foreign = Block::Unknown(Unknown {
        family: Family::Gemini,
        kind: "executableCode".to_owned(),
        raw: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
    });
    let response = Response {
        candidates: vec![Candidate { blocks: vec![foreign, text("")], finish }],
        usage: Some(Usage {
            input: Some(20),
            cache_read: Some(80),
            output: Some(50),
            reasoning: Some(30),
            ..Usage::default()
        }),
        ..Response::default()
    };
    let answer: serde_json::Value = serde_json::from_slice(&encode(&response, &reply())).unwrap();
    assert_eq!(answer["content"], serde_json::json!([]));
    assert_eq!(answer["stop_sequence"], "END");
    assert_eq!(answer["usage"]["input_tokens"], 20); // hard case 221
    assert_eq!(answer["usage"]["output_tokens"], 80); // hard case 224
    assert_eq!(answer["usage"]["output_tokens_details"]["thinking_tokens"], 30);
}

#[test]
fn an_upstreams_answer() {
    let body = br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[
        {"type":"thinking","thinking":"w","signature":"s"},
        {"type":"text","text":"a","citations":[{"type":"x"}]},
        {"type":"text","text":"b"},
        {"type":"server_tool_use","id":"srv","name":"web_search","input":{}},
        {"type":"tool_use","id":"t","name":"f","input":{"n":0,"f":1.0}}],
        "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}"#;
    let response = decode(body).unwrap();
    assert_eq!((response.id.as_deref(), response.model.as_deref()), (Some("msg_1"), Some("claude")));
    let candidate = &response.candidates[0];
    assert_eq!(candidate.finish.reason, FinishReason::ToolCalls);
    assert!(matches!(&candidate.blocks[0], Block::Reasoning(r) if r.state == state(Family::Anthropic)));
    assert!(matches!(&candidate.blocks[1], Block::Text(t) if t.citations.len() == 1));
    assert!(matches!(&candidate.blocks[3], Block::Unknown(u) if u.kind == "server_tool_use")); // hard case 79
    assert!(matches!(&candidate.blocks[4], Block::ToolCall(c) if c.arguments == r#"{"n":0,"f":1.0}"#)); // hard case 14
    assert_eq!(response.usage.unwrap().total_input(), 3);
}

#[test]
fn hard_case_231_a_refusal_keeps_its_explanation() {
    let body = br#"{"content":[{"type":"text","text":"a"}],"stop_reason":"refusal","stop_details":{"type":"refusal","category":null,"explanation":"no"}}"#;
    let candidate = &decode(body).unwrap().candidates[0];
    assert_eq!(candidate.finish.reason, FinishReason::ContentFilter);
    assert!(matches!(&candidate.blocks[1], Block::Refusal(why) if why == "no"));
}

#[test]
fn what_is_no_answer_is_a_problem() {
    for body in ["", "[]", "{}", r#"{"content":3}"#, "<html>"] {
        assert_eq!(decode(body.as_bytes()).unwrap_err().kind, ProblemKind::Upstream, "{body}");
    }
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    assert_eq!(decode(error.as_bytes()).unwrap_err().kind, ProblemKind::Overloaded);
}
