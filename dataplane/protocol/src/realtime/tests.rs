use routeapi_metering::{Usage, UsageSource};
use serde_json::{Value, json};

use super::*;
use crate::problem::ProblemKind;

fn checked(event: &Value) -> Result<Option<Value>, Refused> {
    let checked = check(event.to_string().as_bytes(), "mine", "theirs")?;
    Ok(checked.map(|event| serde_json::from_slice(&event).unwrap()))
}

#[test]
fn the_sessions_model_has_the_upstreams_name_and_nothing_else_changes() {
    let update = |model: Value| json!({"type": "session.update", "session": {"type": "realtime", "model": model}});
    assert_eq!(checked(&update(json!("mine"))), Ok(Some(update(json!("theirs")))));
    for unchanged in [
        update(json!("theirs")),
        update(Value::Null),
        json!({"type": "session.update", "session": {"instructions": "model"}}),
        json!({"type": "input_audio_buffer.append", "audio": "AAAA", "model": "other"}),
        json!({"type": "response.create"}),
        json!({}),
    ] {
        assert_eq!(checked(&unchanged), Ok(None), "{unchanged}");
    }
    let beside = json!({"type": "session.update", "model": "mine"});
    assert_eq!(checked(&beside), Ok(Some(json!({"type": "session.update", "model": "theirs"}))));
}

#[test]
fn another_model_is_not_reached_through_a_session() {
    let refused = |event: &str| check(event.as_bytes(), "mine", "theirs").unwrap_err();
    let update = r#"{"event_id": "e1", "type": "session.update", "session": {"model": "dear"}}"#;
    assert_eq!(refused(update).event.as_deref(), Some("e1"));
    assert!(refused(update).problem.message.contains(r#""dear""#), "{:?}", refused(update));
    for event in [
        r#"{"type": "session.update", "model": "dear"}"#,
        r#"{"type": "transcription_session.update", "session": {"model": "dear"}}"#,
        r#"{"type": "session\u002eupdate", "session": {"mod\u0065l": "dear"}}"#,
        r#"{"type": "session.update", "type": "response.create", "session": {"model": "dear"}}"#,
        r#"{"type": "session.update", "session": {"model": ["mine"]}}"#,
        r#"{"type": "session.update", "session": {"model": "mine", "model": "mine"}}"#,
        r#"{"type": "session.update", "session": {"model": "mine"}, "session": {}}"#,
        r#"{"type": "session.update", "session": {"model": "dear"},}"#,
        r#"[{"type": "session.update"}]"#,
        "",
        "NaN",
    ] {
        assert_eq!(refused(event).problem.kind, ProblemKind::InvalidRequest, "{event}");
    }
}

fn read(events: &[Value]) -> Answers {
    let mut answers = Answers::default();
    for event in events {
        answers.read(event.to_string().as_bytes());
    }
    answers
}

fn done(usage: &Value) -> Value {
    json!({"type": "response.done", "event_id": "e", "response": {"output": [{"usage": 1}], "usage": usage}})
}

/// As OpenAI's documentation has it.
fn usage() -> Value {
    json!({"total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
        "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0}},
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91}})
}

const REPORTED: Usage =
    Usage { input: Some(68), cache_read: Some(64), cache_write: None, output: Some(121), reasoning: None };

#[test]
fn every_answers_report_is_added_and_covers_what_came() {
    let created = json!({"type": "response.created"});
    let delta = json!({"type": "response.output_text.delta", "delta": "x".repeat(4_000)});
    let answers = read(&[created.clone(), delta.clone(), done(&usage()), created, delta, done(&usage())]);
    let mut twice = REPORTED;
    twice.add(REPORTED);
    assert_eq!(answers.usage(), (twice, UsageSource::Reported));
    assert_eq!(answers.settled(), twice);
    assert!(answers.has_content());
    assert_eq!(read(&[]).usage(), (Usage::default(), UsageSource::None));
}

#[test]
fn an_answer_without_a_report_is_counted_by_what_came() {
    let created = json!({"type": "response.created"});
    let text = json!({"type": "response.text.delta", "delta": "x".repeat(400)});
    let sound = json!({"type": "response.output_audio.delta", "delta": "A".repeat(6_400)});
    let counted = Usage { input: None, output: Some(102), ..Usage::default() };
    for last in [json!({"type": "response.done", "response": {}}), done(&Value::Null), json!({"type": "other"})] {
        let answers = read(&[created.clone(), text.clone(), sound.clone(), last.clone()]);
        assert_eq!(answers.usage(), (counted, UsageSource::Counted), "{last}");
    }
    // What is read again costs again.
    let (usage, _) = read(&[created.clone(), done(&usage()), created.clone(), text]).usage();
    assert_eq!((usage.total_input(), usage.output), (132 + 132, Some(121 + 100)));
    let failed = read(&[created, done(&Value::Null)]);
    assert_eq!(failed.usage(), (Usage::default(), UsageSource::None), "nothing came");
}

#[test]
fn transcriptions_count_in_tokens_and_not_in_seconds() {
    let kind = "conversation.item.input_audio_transcription.completed";
    let tokens = json!({"type": kind, "usage": {"type": "tokens", "input_tokens": 10, "output_tokens": 4}});
    let seconds = json!({"type": kind, "usage": {"type": "duration", "seconds": 9}});
    assert_eq!(read(&[tokens, seconds]).settled().total(), 14);
}

#[test]
fn what_makes_no_sense_is_not_counted() {
    for odd in [json!({"input_tokens": u64::MAX, "output_tokens": 1}), json!({"output_tokens": u64::MAX}), json!([1])] {
        assert_eq!(read(&[done(&odd)]).usage().1, UsageSource::None, "{odd}");
    }
    let mut answers = Answers::default();
    for event in ["", "[]", "{\"type\":1}", "{\"type\":\"response.done\"}", "\u{0}"] {
        answers.read(event.as_bytes());
    }
    assert_eq!(answers.usage(), (Usage::default(), UsageSource::None));
}

#[test]
fn an_error_event_has_openais_shape() {
    let problem = Problem::new(ProblemKind::RateLimited, "too much \"here\"");
    let event: Value = serde_json::from_str(&error_event(&problem, "1", Some("e\"1"))).unwrap();
    assert_eq!(
        event,
        json!({"type": "error", "event_id": "event_1", "error": {"message": "too much \"here\"",
            "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded", "event_id": "e\"1"}})
    );
}
