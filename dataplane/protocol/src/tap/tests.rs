use super::*;
use crate::{
    ir::{FinishReason, Usage},
    problem::ProblemKind,
};

fn watched(operation: Operation, events: &[(Option<&str>, &str)]) -> (ResponseStats, Vec<bool>) {
    let (mut tap, mut seen, mut content) = (Tap::new(operation), ResponseStats::default(), Vec::new());
    for (event, data) in events {
        tap.event(Frame { event: *event, data }, &mut seen);
        content.push(seen.content);
    }
    (seen, content)
}

fn chat(events: &[&str]) -> (ResponseStats, Vec<bool>) {
    watched(Operation::ChatCompletions, &events.iter().map(|data| (None, *data)).collect::<Vec<_>>())
}

#[test]
fn chat_streams_are_understood() {
    let (seen, content) = chat(&[
        r#"{"choices":[],"prompt_filter_results":[],"id":"","model":""}"#,
        r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[]},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{"content": "h\u00e9"}}]}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{"reasoning":"xyz"}}],"error":{}}"#,
        r#"{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
        r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4}}}"#,
        "[DONE]",
    ]);
    assert_eq!(content, [false, false, true, true, true, true, true]);
    assert_eq!((seen.output_chars, seen.finish, seen.complete), (5, Some(FinishReason::Length), true));
    assert_eq!((seen.response_id.as_deref(), seen.response_model.as_deref()), (Some("c1"), Some("m-1")));
    let usage = Usage { input: Some(7), output: Some(5), reasoning: Some(4), ..Usage::default() };
    assert_eq!((seen.usage, seen.error), (Some(usage), None));
}

#[test]
fn a_call_without_arguments_is_content() {
    let (seen, _) = chat(&[
        r#"{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}}]}"#,
    ]);
    assert!(seen.content && !seen.complete);
    assert_eq!(seen.output_chars, 0);
}

#[test]
fn errors_before_content_are_seen_as_such() {
    let (seen, content) = chat(&[r#"{"error":{"message":"busy","type":"overloaded_error"},"choices":[]}"#]);
    assert_eq!(content, [false]);
    assert_eq!(seen.error.map(|problem| (problem.kind, problem.status)), Some((ProblemKind::Overloaded, 529)));
    let overloaded = (Some("error"), r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#);
    let (seen, _) = watched(Operation::Messages, &[(Some("ping"), r#"{"type":"ping"}"#), overloaded]);
    assert!(!seen.content && !seen.complete);
    assert_eq!(seen.error.map(|problem| problem.status), Some(529));
    let (seen, _) =
        watched(Operation::GenerateContent, &[(None, r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#)]);
    assert_eq!(seen.error.map(|problem| problem.kind), Some(ProblemKind::RateLimited));
    let failed = r#"{"type":"response.failed","sequence_number":2,"response":{"id":"r","status":"failed","error":{"code":"insufficient_quota","message":"m"},"usage":{"input_tokens":3}}}"#;
    let (seen, _) = watched(Operation::Responses, &[(None, failed)]);
    assert_eq!(seen.error.map(|problem| problem.kind), Some(ProblemKind::QuotaExceeded));
    assert_eq!(seen.usage.and_then(|usage| usage.input), Some(3));
}

#[test]
fn messages_counts_are_merged_and_not_summed() {
    let (seen, content) = watched(
        Operation::Messages,
        &[
            (
                Some("message_start"),
                r#"{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":1}}}"#,
            ),
            (
                Some("content_block_start"),
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            ),
            (Some("ping"), r#"{"type":"ping"}"#),
            (
                Some("content_block_delta"),
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"abc"}}"#,
            ),
            (
                Some("message_delta"),
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":0,"output_tokens":5}}"#,
            ),
            (None, r#"{"type":"message_stop"}"#),
        ],
    );
    assert_eq!(content, [false, false, false, true, true, true]);
    let usage = Usage { input: Some(10), cache_read: Some(3), output: Some(5), ..Usage::default() };
    assert_eq!((seen.usage, seen.finish, seen.complete), (Some(usage), Some(FinishReason::ToolCalls), true));
}

#[test]
fn responses_streams_are_understood_without_event_lines() {
    let mut tap = Tap::new(Operation::Responses);
    let mut seen = ResponseStats::default();
    let events = [
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"m","status":"in_progress","usage":null}}"#,
        r#"{"type":"response.output_item.added","sequence_number":1,"item":{"type":"message"}}"#,
        r#"{"type":"response.output_text.delta","sequence_number":2,"delta":"abcd"}"#,
        r#"{"type":"response.incomplete","sequence_number":3,"response":{"id":"resp_1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":4,"output_tokens":2}}}"#,
    ];
    let mut content = Vec::new();
    for data in events {
        tap.event(Frame { event: None, data }, &mut seen);
        content.push(seen.content);
    }
    assert_eq!(content, [false, false, true, true]);
    assert_eq!((seen.complete, seen.finish, seen.output_chars), (true, Some(FinishReason::Length), 4));
    assert_eq!((tap.sequence(), seen.response_id.as_deref()), (Some(3), Some("resp_1")));
}

#[test]
fn gemini_ends_with_its_body() {
    let mut tap = Tap::new(Operation::GenerateContent);
    let mut seen = ResponseStats::default();
    tap.event(Frame { event: None, data: r#"{"response":{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}}],"usageMetadata":{"promptTokenCount":4}}}"# }, &mut seen);
    tap.end(&mut seen);
    assert!(seen.content && !seen.complete);
    tap.event(
        Frame { event: None, data: r#"{"candidates":[{"finishReason":"STOP"}],"responseId":"r","modelVersion":"g"}"# },
        &mut seen,
    );
    tap.end(&mut seen);
    assert_eq!((seen.complete, seen.finish), (true, Some(FinishReason::ToolCalls)));
    let (seen, _) = watched(Operation::GenerateContent, &[(None, r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#)]);
    assert!(seen.content_filtered && !seen.content);
}

#[test]
fn whole_answers_are_understood() {
    let chat = br#"{"id":"c","model":"m","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let seen = whole::look(Operation::ChatCompletions, chat).unwrap();
    assert_eq!((seen.output_chars, seen.finish, seen.complete), (5, Some(FinishReason::Stop), true));
    assert_eq!(seen.usage.map(|usage| usage.total_input() + usage.total_output()), Some(5));
    let messages = br#"{"id":"m","content":[{"type":"text","text":"abc"}],"stop_reason":"refusal","usage":{"input_tokens":1,"output_tokens":2}}"#;
    assert!(whole::look(Operation::Messages, messages).unwrap().content_filtered);
    let responses = br#"{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"m"},"output":[]}"#;
    let seen = whole::look(Operation::Responses, responses).unwrap();
    assert_eq!(seen.error.map(|problem| problem.kind), Some(ProblemKind::RateLimited));
    let embedded = br#"{"data":[{"embedding":"AAAA"}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(whole::look(Operation::Embeddings, embedded).unwrap().usage.and_then(|usage| usage.input), Some(8));
    let gemini = br#"{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}"#;
    assert_eq!(whole::look(Operation::GenerateContent, gemini).unwrap().finish, Some(FinishReason::Length));
    let failed = whole::look(Operation::ChatCompletions, br#"{"error":{"message":"m","code":429}}"#).unwrap();
    assert_eq!(failed.error.map(|problem| problem.kind), Some(ProblemKind::RateLimited));
    for body in [&b"<html>"[..], b"", b"null", br#"{"choices":[{"#, br#"{"object":"list"}"#] {
        assert_eq!(whole::look(Operation::ChatCompletions, body), None, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_events_own_type_counts_wherever_it_stands() {
    let (seen, _) = watched(
        Operation::Responses,
        &[
            (
                None,
                r#"{"response":{"id":"resp_1","object":"response","output":[],"status":"in_progress"},"type":"response.created"}"#,
            ),
            (None, r#"{"delta":"hi","item_id":"msg_1","type":"response.output_text.delta"}"#),
            (
                None,
                r#"{"response":{"id":"resp_1","output":[{"content":[{"text":"hi","type":"output_text"}],"type":"message"}],"status":"completed","usage":{"input_tokens":75,"output_tokens":46}},"type":"response.completed"}"#,
            ),
        ],
    );
    assert!(seen.complete && seen.error.is_none());
    assert_eq!(seen.usage.and_then(|usage| usage.input), Some(75));
}

#[test]
fn reasoning_that_comes_only_as_details_is_content() {
    let details = r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","text":"3 + 4"}]}}]}"#;
    let twice = r#"{"id":"c1","choices":[{"index":0,"delta":{"reasoning":"3 + 4","reasoning_details":[{"type":"reasoning.text","text":"3 + 4"}]}}]}"#;
    for chunk in [details, twice] {
        let (seen, _) = watched(Operation::ChatCompletions, &[(None, chunk)]);
        assert_eq!((seen.content, seen.output_chars), (true, 5), "{chunk}");
    }
}
