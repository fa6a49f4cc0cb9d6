//! How an answer ended, from the point of view of the dialect's SDK.

use routeapi_tests::client::{Answer, Dialect};
use serde_json::Value;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    /// Complete.
    Whole,
    /// After some content, with the dialect's error.
    CutAfterContent,
    /// In any other way, which is always an error.
    Failed(String),
}

/// Determines how an answer ended.
pub fn answer_end(dialect: Dialect, stream: bool, answer: &Answer) -> AnswerEnd {
    let failed =
        |what: &str| AnswerEnd::Failed(format!("{what}: {} {:?} {}", answer.status, answer.broken, answer.text()));
    if answer.status != 200 {
        return failed("no answer");
    }
    if answer.broken.is_some() {
        return failed("the transport broke");
    }
    if !stream {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        return if has_content(dialect, &body) { AnswerEnd::Whole } else { failed("no content") };
    }
    let events = answer.events();
    let contents = events.iter().filter(|event| has_content(dialect, event)).count();
    let last = events.last().cloned().unwrap_or_default();
    let ended_well = match dialect {
        Dialect::Chat => answer.text().ends_with("data: [DONE]\n\n"),
        Dialect::Messages => last["type"] == "message_stop",
        Dialect::Gemini => last["candidates"][0]["finishReason"] == "STOP",
    };
    let ended_in_error = match dialect {
        Dialect::Chat | Dialect::Gemini => last["error"]["message"].is_string() && last.as_object().unwrap().len() == 1,
        Dialect::Messages => last["type"] == "error" && last["error"]["type"].is_string(),
    };
    match (ended_well, ended_in_error, contents) {
        (true, false, 1..) => AnswerEnd::Whole,
        (false, true, 1..) => AnswerEnd::CutAfterContent,
        (_, _, 0) => failed("a stream without content"),
        _ => failed("a stream without a proper end"),
    }
}

/// Whether a whole answer or an event carries text.
fn has_content(dialect: Dialect, value: &Value) -> bool {
    let text = match dialect {
        Dialect::Chat => {
            let choice = &value["choices"][0];
            [&choice["delta"]["content"], &choice["message"]["content"]].into_iter().find_map(Value::as_str)
        }
        Dialect::Messages => {
            [&value["delta"]["text"], &value["content"][0]["text"]].into_iter().find_map(Value::as_str)
        }
        Dialect::Gemini => value["candidates"][0]["content"]["parts"][0]["text"].as_str(),
    };
    text.is_some_and(|text| !text.is_empty())
}
