use serde_json::{Value, json};

use super::{decode, encode};
use crate::{
    codec::{ResponseContext, tagged_state},
    dialect::Family,
    ir::{Block, FinishReason, Opaque},
};

fn answer(content: &Value, reason: &str) -> String {
    json!({
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason,
        "usage": {"inputTokens": 20, "outputTokens": 5, "totalTokens": 115, "cacheReadInputTokens": 80, "cacheWriteInputTokens": 10},
        "metrics": {"latencyMs": 7},
    })
    .to_string()
}

#[test]
fn an_answer_comes_back_as_it_went() {
    let content = json!([
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "RW13S0Fn"}},
        {"text": "a"},
        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"x": 1.0}}},
    ]);
    let response = decode(answer(&content, "tool_use").as_bytes()).unwrap();
    let usage = response.usage.unwrap();
    assert_eq!((usage.total_input(), usage.output), (110, Some(5)));
    let written: Value = serde_json::from_slice(&encode(&response, &ResponseContext::default())).unwrap();
    assert_eq!(written["output"]["message"]["content"], content);
    assert_eq!((&written["stopReason"], &written["usage"]["totalTokens"]), (&json!("tool_use"), &json!(115)));
}

#[test]
fn state_of_another_vendor_travels_under_a_tag() {
    let mut response = decode(answer(&json!([{"text": "a"}]), "end_turn").as_bytes()).unwrap();
    let state = Opaque { family: Family::OpenAi, value: "blob".into() };
    response.candidates[0].blocks.insert(
        0,
        Block::Reasoning(crate::ir::Reasoning { text: "t".into(), state: Some(state.clone()), redacted: false }),
    );
    let written: Value = serde_json::from_slice(&encode(&response, &ResponseContext::default())).unwrap();
    let text = &written["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"];
    let carried = tagged_state::read(text["signature"].as_str().unwrap()).unwrap();
    assert_eq!((carried.state, &text["text"]), (Some(state), &json!("t")));
}

#[test]
fn what_is_no_answer_is_said() {
    for body in ["{}", r#"{"output":{}}"#, r#"{"output":{"message":{"content":[{}]}},"stopReason":"end_turn"}"#, "[]"] {
        assert!(decode(body.as_bytes()).is_err(), "{body}");
    }
    let empty = decode(
        br#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"guardrail_intervened","trace":{}}"#,
    );
    let empty = empty.unwrap();
    assert_eq!(empty.candidates[0].finish.reason, FinishReason::ContentFilter);
    assert_eq!(empty.lost, ["trace"]);
}
