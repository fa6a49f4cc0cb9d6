use super::Decoder;
use crate::{
    codec::StreamDecoder,
    ir::{BlockKind, Delta, Event, FinishReason},
    wire::sse::Frame,
};

fn events(frames: &[(&str, &str)]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for (event, data) in frames {
        decoder.push(Frame { event: Some(event), data }, &mut out);
    }
    decoder.finish(&mut out);
    out
}

/// `start, 0 text "hi", end 0, usage, finish, end`
fn told(frames: &[(&str, &str)]) -> String {
    let tell = |event: &Event| match event {
        Event::Start { .. } => "start".to_owned(),
        Event::BlockStart { block, kind, .. } => match kind {
            BlockKind::Text => format!("{block} text"),
            BlockKind::Reasoning { redacted } => format!("{block} reasoning{}", if *redacted { " hidden" } else { "" }),
            BlockKind::ToolCall { id, name } => format!("{block} call {id} {name}"),
            other => format!("{block} {other:?}"),
        },
        Event::BlockDelta { block, delta } => match delta {
            Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) => format!("{block}+{text}"),
            Delta::State(state) => format!("{block} signed {}", state.value),
            Delta::Citation(citation) => format!("{block} cites {:?}", citation.url),
        },
        Event::BlockEnd { block } => format!("{block} ends"),
        Event::Usage(usage) => format!("usage {} {}", usage.total_input(), usage.total_output()),
        Event::Finish { finish, .. } => format!("{:?}", finish.reason),
        Event::Error(problem) => format!("error {} {:?}", problem.status, problem.kind),
        Event::End => "end".to_owned(),
        Event::Lost(field) => format!("lost {field}"),
        Event::Ping => "ping".to_owned(),
    };
    events(frames).iter().map(tell).collect::<Vec<_>>().join(", ")
}

const START: (&str, &str) = ("messageStart", r#"{"role":"assistant","p":"abc"}"#);
const STOP: (&str, &str) = ("messageStop", r#"{"stopReason":"end_turn"}"#);
const COUNTS: (&str, &str) = (
    "metadata",
    r#"{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":9,"cacheReadInputTokens":2},"metrics":{"latencyMs":1}}"#,
);

#[test]
fn hard_case_244_words_without_a_start_and_numbers_with_gaps() {
    let frames = [
        START,
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockStart", r#"{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"c","name":"f"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"a\""}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"toolUse":{"input":":1}"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
        STOP,
        COUNTS,
    ];
    assert_eq!(
        told(&frames),
        "start, 0 text, 0+hi, 0 ends, 1 call c f, 1+{\"a\", 1+:1}, 1 ends, usage 5 4, ToolCalls, end"
    );
}

#[test]
fn hard_case_158_a_signature_is_its_blocks_also_where_it_comes_alone() {
    let frames = [
        START,
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"t"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2"}}}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"ln"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"signature":"alone"}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        ("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"reasoningContent":{"redactedContent":"RW0="}}}"#),
        ("contentBlockStop", r#"{"contentBlockIndex":2}"#),
        STOP,
    ];
    assert_eq!(
        told(&frames),
        "start, 0 reasoning, 0+t, 0 signed c2ln, 0 ends, 1 reasoning, 1 signed alone, 1 ends, \
         2 reasoning hidden, 2 signed RW0=, 2 ends, Stop, end"
    );
}

#[test]
fn counts_are_waited_for_and_later_times_take_none_away() {
    let times = ("metadata", r#"{"metrics":{"latencyMs":1}}"#);
    assert_eq!(told(&[START, STOP, times, COUNTS]), "start, usage 5 4, Stop, end");
    assert_eq!(told(&[START, COUNTS, times, STOP, times]), "start, usage 5 4, Stop, end");
    assert_eq!(told(&[START, STOP, COUNTS, times, COUNTS]), "start, usage 5 4, Stop, end", "nothing after the end");
}

#[test]
fn a_stream_without_its_end_was_cut_off() {
    for frames in [&[START][..], &[START, COUNTS], &[]] {
        assert!(told(frames).ends_with("error 502 Upstream"), "{}", told(frames));
    }
    assert_eq!(events(&[START, STOP]).len(), 3);
    assert!(matches!(events(&[STOP]).last(), Some(Event::End)));
}

#[test]
fn exceptions_end_the_answer_with_their_status() {
    for (kind, expected) in [
        ("throttlingException", "error 429 RateLimited"),
        ("validationException", "error 400 InvalidRequest"),
        ("serviceUnavailableException", "error 503 Overloaded"),
        ("internalServerException", "error 500 Upstream"),
        ("modelTimeoutException", "error 504 Timeout"),
        ("modelStreamErrorException", "error 502 Upstream"),
        ("brandNewException", "error 502 Upstream"),
    ] {
        let data = format!(r#"{{"error":{{"type":"{kind}","message":"m"}}}}"#);
        assert_eq!(told(&[START, ("error", &data), STOP]), format!("start, {expected}"), "{kind}");
    }
    let original = r#"{"error":{"type":"modelStreamErrorException","message":"m","originalStatusCode":529,"originalMessage":"o"}}"#;
    assert_eq!(told(&[("error", original)]), "error 529 Overloaded");
    let long = r#"{"error":{"type":"validationException","message":"Input is too long for requested model."}}"#;
    assert_eq!(told(&[("error", long)]), "error 400 ContextLength");
}

#[test]
fn unknown_events_are_passed_over_and_unreadable_ones_are_not() {
    assert_eq!(
        told(&[START, ("novelty", "x"), ("contentBlockStop", r#"{"contentBlockIndex":9}"#), STOP]),
        "start, Stop, end"
    );
    assert_eq!(told(&[START, ("messageStop", "{")]), "start, error 502 Upstream");
    let orphan = ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}}}"#);
    assert_eq!(told(&[START, orphan]), "start, error 502 Upstream");
}

#[test]
fn what_is_held_for_the_end_of_a_block_is_bounded() {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    let data = format!(
        r#"{{"contentBlockIndex":0,"delta":{{"reasoningContent":{{"signature":"{}"}}}}}}"#,
        "A".repeat(1 << 20)
    );
    for _ in 0..20 {
        decoder.push(Frame { event: Some("contentBlockDelta"), data: &data }, &mut out);
    }
    assert!(matches!(out.last(), Some(Event::Error(_))));
}

#[test]
fn a_stopped_answer_keeps_its_reason() {
    let stop = |reason: &str| {
        let data = format!(r#"{{"stopReason":"{reason}","additionalModelResponseFields":{{"stop_sequence":"X"}}}}"#);
        let events = events(&[START, ("messageStop", &data)]);
        let finish = events.iter().find_map(|event| match event {
            Event::Finish { finish, .. } => Some(finish.clone()),
            _ => None,
        });
        finish.unwrap()
    };
    assert_eq!(stop("stop_sequence").stop_sequence.as_deref(), Some("X"));
    assert_eq!(stop("guardrail_intervened").reason, FinishReason::ContentFilter);
    assert_eq!(stop("model_context_window_exceeded").reason, FinishReason::ContextFull);
}
