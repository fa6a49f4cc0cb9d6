use std::sync::Arc;

use serde_json::{Value, json};

use super::Encoder;
use crate::{
    codec::{ResponseContext, StreamEncoder, request_echo::RequestEcho},
    dialect::Family,
    ir::{BlockKind, Citation, Delta, Event, FinishReason, Opaque, Usage},
    problem::{Problem, ProblemKind},
    wire::sse::SseDecoder,
};

fn context() -> ResponseContext {
    let echo = RequestEcho {
        members: r#""tools":[],"tool_choice":"auto","instructions":"be brief""#.to_owned(),
        namespaces: [("a__b".to_owned(), ("a".to_owned(), "b".to_owned()))].into(),
        carries_state: true,
    };
    ResponseContext {
        model: "m".into(),
        id: "r".into(),
        created: 7,
        custom_tools: Arc::new(["patch".to_owned()].into()),
        echo: Some(Arc::new(echo)),
        ..ResponseContext::default()
    }
}

fn told(context: &ResponseContext, events: &[Event]) -> Vec<Value> {
    let mut encoder = Encoder::new(context);
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    let (mut frames, mut told) = (SseDecoder::new(), Vec::new());
    frames.push(&out, |frame| told.push(serde_json::from_str(frame.data).unwrap())).unwrap();
    told
}

fn start() -> Event {
    Event::Start { id: None, model: None, created: None, usage: None }
}

fn block(number: u32, kind: BlockKind, deltas: Vec<Delta>) -> Vec<Event> {
    let mut events = vec![Event::BlockStart { block: number, candidate: 0, kind }];
    events.extend(deltas.into_iter().map(|delta| Event::BlockDelta { block: number, delta }));
    events.push(Event::BlockEnd { block: number });
    events
}

fn call(number: u32, name: &str, arguments: &str) -> Vec<Event> {
    let kind = BlockKind::ToolCall { id: format!("c{number}"), name: name.into() };
    block(number, kind, vec![Delta::Arguments(arguments.into())])
}

fn words(number: u32, text: &str) -> Vec<Event> {
    block(number, BlockKind::Text, vec![Delta::Text(text.into())])
}

fn ended(blocks: Vec<Vec<Event>>, reason: FinishReason) -> Vec<Event> {
    let mut events = vec![start()];
    events.extend(blocks.into_iter().flatten());
    events.extend([Event::Finish { candidate: 0, finish: reason.into() }, Event::End]);
    events
}

fn last(context: &ResponseContext, events: &[Event]) -> Value {
    told(context, events).pop().unwrap()
}

#[test]
fn hard_case_102_created_is_first_even_before_a_failure() {
    let problem = Problem::new(ProblemKind::RateLimited, "slow down");
    let told = told(&context(), &[Event::Error(problem)]);
    let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["response.created", "response.in_progress", "response.failed"]);
    assert_eq!(told[2]["response"]["error"], json!({"code": "rate_limit_exceeded", "message": "slow down"}));
    assert_eq!(told[2]["response"]["instructions"], "be brief");
}

#[test]
fn hard_case_110_a_cut_call_is_incomplete_and_not_mended() {
    let events = ended(vec![words(0, "so"), call(1, "f", "{\"a\":")], FinishReason::Length);
    let end = last(&context(), &events);
    assert_eq!(end["type"], "response.incomplete");
    assert_eq!(end["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(end.pointer("/response/output/0/status").unwrap(), "completed");
    assert_eq!(end.pointer("/response/output/1/status").unwrap(), "incomplete");
    assert_eq!(end.pointer("/response/output/1/arguments").unwrap(), "{\"a\":");

    let whole = last(&context(), &ended(vec![call(1, "f", "{}")], FinishReason::Length));
    assert_eq!(whole.pointer("/response/output/0/status").unwrap(), "completed", "its arguments are all there");
}

#[test]
fn hard_case_122_free_form_and_grouped_calls_come_back_as_the_client_knows_them() {
    let events = ended(
        vec![call(0, "patch", r#"{"input":"*** x"}"#), call(1, "a__b", ""), call(2, "f", "{}")],
        FinishReason::ToolCalls,
    );
    let end = last(&context(), &events);
    let output = |at: usize| &end["response"]["output"][at];
    assert_eq!((&output(0)["type"], &output(0)["input"]), (&json!("custom_tool_call"), &json!("*** x")));
    assert!(output(0)["id"].as_str().unwrap().starts_with("ctc_"));
    assert_eq!((&output(1)["namespace"], &output(1)["name"]), (&json!("a"), &json!("b")));
    assert_eq!(output(1)["arguments"], "{}");
    assert!(output(2).get("namespace").is_none());
}

#[test]
fn words_in_a_row_are_one_message_and_a_refusal_is_a_part_of_it() {
    let refusal = block(2, BlockKind::Refusal, vec![Delta::Text("no".into())]);
    let end = last(&context(), &ended(vec![words(0, "a"), words(1, "b"), refusal], FinishReason::Refusal));
    assert_eq!(end["type"], "response.completed");
    let content = end.pointer("/response/output/0/content").unwrap();
    assert_eq!((&content[0]["text"], &content[1]["refusal"]), (&json!("ab"), &json!("no")));
    assert_eq!(end["response"]["output"].as_array().unwrap().len(), 1);
}

#[test]
fn spans_of_sources_count_from_their_part() {
    let cited = |start: u64, end: u64| {
        Delta::Citation(Citation { span: start..end, url: Some("https://a".into()), title: None, native: None })
    };
    let second = block(2, BlockKind::Text, vec![Delta::Text("würde".into()), cited(2, 4), cited(0, 2)]);
    let end = last(&context(), &ended(vec![words(0, "ja"), call(1, "f", "{}"), second], FinishReason::Stop));
    let annotations = end.pointer("/response/output/2/content/0/annotations").unwrap();
    assert_eq!((&annotations[0]["start_index"], &annotations[0]["end_index"]), (&json!(0), &json!(2)));
    assert_eq!((&annotations[1]["start_index"], &annotations[1]["end_index"]), (&json!(0), &json!(0)), "elsewhere");
    assert_eq!(annotations[0]["title"], "https://a");
}

#[test]
fn state_goes_under_a_tag_to_those_who_keep_it() {
    let state = |family| Delta::State(Opaque { family, value: "s".into() });
    let thought =
        |family| block(0, BlockKind::Reasoning { redacted: false }, vec![Delta::Reasoning("t".into()), state(family)]);
    let kind = BlockKind::ToolCall { id: "c".into(), name: "f".into() };
    let signed = block(1, kind, vec![state(Family::Gemini), Delta::Arguments("{}".into())]);
    let events = ended(vec![thought(Family::Anthropic), signed], FinishReason::ToolCalls);
    let end = last(&context(), &events);
    let carried = |at: usize| end["response"]["output"][at]["encrypted_content"].as_str().unwrap_or_default();
    assert!(carried(0).starts_with("gw1.anthropic.thought.") && carried(1).starts_with("gw1.gemini.call."), "{end:#}");
    assert_eq!(end.pointer("/response/output/2/type").unwrap(), "function_call", "the state stands before its call");

    let native = last(&context(), &ended(vec![thought(Family::OpenAi)], FinishReason::Stop));
    assert_eq!(native.pointer("/response/output/0/encrypted_content").unwrap(), "s");

    let mut forgets = context();
    forgets.echo = Some(Arc::new(RequestEcho { members: r#""tools":[]"#.into(), ..RequestEcho::default() }));
    let end = last(&forgets, &events);
    assert_eq!(end["response"]["output"].as_array().unwrap().len(), 2, "no item for state alone");
    assert!(end.pointer("/response/output/0/encrypted_content").is_none());
}

#[test]
fn hard_cases_53_and_270_a_heartbeat_is_the_object_under_the_next_number() {
    let mut encoder = Encoder::new(&context());
    let mut out = Vec::new();
    encoder.heartbeat(&mut out);
    assert_eq!(out, b": keepalive\n\n", "nothing has a number yet");
    encoder.push(&start(), &mut out);
    out.clear();
    encoder.heartbeat(&mut out);
    let text = String::from_utf8(out.clone()).unwrap();
    let (head, data) = text.trim_end().split_once("\ndata: ").unwrap();
    assert_eq!(head, "event: response.in_progress");
    let beat: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&beat["sequence_number"], &beat["response"]["id"]), (&json!(2), &json!("resp_r")));
    assert_eq!((&beat["response"]["instructions"], &beat["response"]["output"]), (&json!("be brief"), &json!([])));
    encoder.push(&Event::End, &mut out);
    out.clear();
    encoder.heartbeat(&mut out);
    assert!(out.is_empty(), "after the end");
}

#[test]
fn hard_case_113_counts_that_come_last_are_in_the_last_event() {
    let usage = Usage { input: Some(3), output: Some(2), reasoning: Some(1), ..Usage::default() };
    let mut events = ended(vec![words(0, "a")], FinishReason::Stop);
    events.insert(events.len() - 1, Event::Usage(usage));
    let end = last(&context(), &events);
    assert_eq!(
        end["response"]["usage"],
        json!({"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 6})
    );
}

#[test]
fn an_answer_that_cannot_be_repeated_fails() {
    let mut encoder = Encoder::new(&context());
    let mut out = Vec::new();
    encoder.push(&start(), &mut out);
    encoder.push(&Event::BlockStart { block: 0, candidate: 0, kind: BlockKind::Text }, &mut out);
    for _ in 0..17 {
        out.clear();
        encoder.push(&Event::BlockDelta { block: 0, delta: Delta::Text("x".repeat(1 << 20)) }, &mut out);
    }
    let end = String::from_utf8_lossy(&out);
    assert!(end.contains("response.failed") && end.contains("too large to be repeated"));
    assert_eq!(encoder.held(), 0);
}
