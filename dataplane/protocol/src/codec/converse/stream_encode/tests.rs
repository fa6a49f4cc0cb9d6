use super::{Encoder, HEARTBEAT};
use crate::{
    codec::{ResponseContext, StreamEncoder},
    dialect::Family,
    ir::{BlockKind, Delta, Event, FinishReason, Opaque, Usage},
    problem::{Problem, ProblemKind},
    wire::event_stream::EventStreamDecoder,
};

fn frames(bytes: &[u8]) -> Vec<String> {
    let (mut frames, mut decoder) = (Vec::new(), EventStreamDecoder::new());
    decoder.push(bytes, |frame| frames.push(format!("{} {}", frame.event.unwrap(), frame.data))).unwrap();
    frames
}

fn encoded(events: &[Event]) -> Vec<String> {
    let (mut encoder, mut out) = (Encoder::new(&ResponseContext::default()), Vec::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    frames(&out)
}

fn begin(block: u32, kind: BlockKind) -> Event {
    Event::BlockStart { block, candidate: 0, kind }
}

fn grow(block: u32, delta: Delta) -> Event {
    Event::BlockDelta { block, delta }
}

fn start() -> Event {
    Event::Start { id: None, model: None, created: None, usage: None }
}

fn finish(reason: FinishReason) -> Event {
    Event::Finish { candidate: 0, finish: reason.into() }
}

#[test]
fn an_answer_is_told_event_by_event() {
    let state = |family| Delta::State(Opaque { family, value: "c2ln".into() });
    let call = BlockKind::ToolCall { id: "c".into(), name: "f".into() };
    let told = encoded(&[
        start(),
        begin(0, BlockKind::Reasoning { redacted: false }),
        grow(0, Delta::Reasoning("t".into())),
        grow(0, state(Family::Anthropic)),
        Event::BlockEnd { block: 0 },
        begin(1, BlockKind::Text),
        grow(1, Delta::Text("hi".into())),
        Event::BlockEnd { block: 1 },
        begin(2, call),
        Event::BlockEnd { block: 2 },
        finish(FinishReason::Stop),
        Event::Usage(Usage { input: Some(3), output: Some(4), cache_read: Some(2), ..Usage::default() }),
        Event::End,
    ]);
    assert_eq!(
        told,
        [
            r#"messageStart {"role":"assistant"}"#,
            r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"t"}}}"#,
            r#"contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}"#,
            r#"contentBlockStop {"contentBlockIndex":0}"#,
            r#"contentBlockDelta {"contentBlockIndex":1,"delta":{"text":"hi"}}"#,
            r#"contentBlockStop {"contentBlockIndex":1}"#,
            r#"contentBlockStart {"start":{"toolUse":{"toolUseId":"c","name":"f"}},"contentBlockIndex":2}"#,
            r#"contentBlockDelta {"contentBlockIndex":2,"delta":{"toolUse":{"input":"{}"}}}"#,
            r#"contentBlockStop {"contentBlockIndex":2}"#,
            r#"messageStop {"stopReason":"tool_use"}"#,
            r#"metadata {"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":9,"cacheReadInputTokens":2},"metrics":{"latencyMs":0}}"#,
        ]
    );
}

#[test]
fn hidden_reasoning_and_foreign_state_have_their_places() {
    let state = |family| Delta::State(Opaque { family, value: "RW0=".into() });
    let told = encoded(&[
        start(),
        begin(0, BlockKind::Reasoning { redacted: true }),
        grow(0, state(Family::Anthropic)),
        Event::BlockEnd { block: 0 },
        begin(1, BlockKind::Reasoning { redacted: false }),
        grow(1, state(Family::OpenAi)),
        Event::BlockEnd { block: 1 },
    ]);
    assert!(told[1].ends_with(r#"{"reasoningContent":{"redactedContent":"RW0="}}}"#), "{told:?}");
    assert!(told[3].contains(r#""signature":"gw1.openai.thought."#), "{told:?}");
    assert_eq!(told.len(), 5);
}

#[test]
fn a_failure_is_an_exception_and_the_last_frame() {
    for (kind, named) in [
        (ProblemKind::RateLimited, "throttlingException"),
        (ProblemKind::Overloaded, "serviceUnavailableException"),
        (ProblemKind::InvalidRequest, "validationException"),
        (ProblemKind::Upstream, "modelStreamErrorException"),
        (ProblemKind::Internal, "internalServerException"),
        (ProblemKind::QuotaExceeded, "ServiceQuotaExceededException"),
    ] {
        let told = encoded(&[start(), Event::Error(Problem::new(kind, "m")), Event::End]);
        let error: serde_json::Value = serde_json::from_str(told[1].strip_prefix("error ").unwrap()).unwrap();
        assert_eq!((told.len(), &error["error"]["type"], &error["error"]["message"]), (2, &named.into(), &"m".into()));
    }
}

#[test]
fn a_heartbeat_is_an_event_that_says_nothing_and_none_comes_after_the_end() {
    let (mut encoder, mut out) = (Encoder::new(&ResponseContext::default()), Vec::new());
    encoder.heartbeat(&mut out);
    [start(), finish(FinishReason::Stop), Event::End].iter().for_each(|event| encoder.push(event, &mut out));
    encoder.heartbeat(&mut out);
    let told = frames(&out);
    assert_eq!((told[0].clone(), told.len()), (format!("{HEARTBEAT} {{}}"), 4));
}
