//! What each answer has to be. Pure.

use http::StatusCode;
use routeapi_protocol::dialect::Family;
use serde_json::Value;

use super::{
    ask::{Answer, Question},
    wrong::Wrong,
};

/// Only RouteAPI sets it, on every answer.
const REQUEST_ID: &str = "x-routeapi-request-id";

/// Names that a line has room for.
const NAMED: usize = 10;

/// Whose error shape a family's is.
pub(super) const fn vendor(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "OpenAI",
        Family::Anthropic => "Anthropic",
        Family::Gemini => "Gemini",
        Family::Bedrock => "Bedrock",
    }
}

/// Refused for want of a key, in the vendor's words; the request's id.
pub(super) fn refused(family: Family, question: &Question, answer: &Answer) -> Result<String, Wrong> {
    let id = request_id(question, answer)?;
    if answer.status != StatusCode::UNAUTHORIZED {
        return Err(unexpected(question, answer, "401"));
    }
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if !has_shape(family, &body) {
        return Err(Wrong::Shape { question: question.to_string(), vendor: vendor(family), body: beginning(answer) });
    }
    Ok(id)
}

/// Refused for a wrong key, and not for want of a configuration.
pub(super) fn configured(question: &Question, answer: &Answer) -> Result<(), Wrong> {
    request_id(question, answer)?;
    match answer.status {
        StatusCode::UNAUTHORIZED => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => Err(Wrong::Unconfigured { says: message(answer) }),
        _ => Err(unexpected(question, answer, "401 for an unknown key")),
    }
}

/// The models that a key may use.
pub(super) fn models(question: &Question, answer: &Answer) -> Result<Vec<String>, Wrong> {
    request_id(question, answer)?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let listed = body.get("data").and_then(Value::as_array);
    match (answer.status, listed) {
        (StatusCode::OK, Some(listed)) => {
            Ok(listed.iter().filter_map(|it| it.get("id")?.as_str().map(str::to_owned)).collect())
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(Wrong::Key { says: message(answer) }),
        _ => Err(unexpected(question, answer, "a list of models")),
    }
}

/// The first few of many.
pub(super) fn some_of(names: &[String]) -> String {
    let shown = names.get(..NAMED.min(names.len())).unwrap_or_default().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn request_id(question: &Question, answer: &Answer) -> Result<String, Wrong> {
    let id = answer.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or_else(|| Wrong::Stranger {
        question: question.to_string(),
        status: answer.status,
        body: beginning(answer),
    })
}

fn has_shape(family: Family, body: &Value) -> bool {
    let text = |at: &str| body.pointer(at).is_some_and(Value::is_string);
    match family {
        Family::Bedrock => text("/message"),
        Family::OpenAi => body.get("type").is_none() && text("/error/message") && text("/error/type"),
        Family::Anthropic => {
            body.get("type").is_some_and(|it| it == "error") && text("/error/message") && text("/error/type")
        }
        Family::Gemini => {
            body.pointer("/error/code").is_some_and(|it| it == 401) && text("/error/message") && text("/error/status")
        }
    }
}

fn unexpected(question: &Question, answer: &Answer, wanted: &'static str) -> Wrong {
    Wrong::Unexpected { question: question.to_string(), wanted, status: answer.status, body: beginning(answer) }
}

/// An error's own words, else the beginning of whatever it is.
fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    body.pointer("/error/message").and_then(Value::as_str).map_or_else(|| beginning(answer), str::to_owned)
}

fn beginning(answer: &Answer) -> String {
    const SHOWN: usize = 160;
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN).filter(|it| !it.is_control()).collect()
}
