//! What an upstream's error means, whichever of the loose shapes it comes in (hard cases 125–139).
//!
//! Status first: it is never flattened. Words (type, code, Google's status and reasons) refine it, and the message is
//! searched only for what vendors have no word for. Bodies that are no JSON are a line of text, or a
//! page that is not shown. Nothing of an upstream's message is invented or translated.

mod said;
mod words;

use serde::de::IgnoredAny;
use serde_json::Value;

pub(crate) use self::said::is_error;
pub use self::said::is_page;

use self::{
    said::{LONGEST_LINE, LONGEST_TEXT, Said, short_type},
    words::{CONTEXT_LENGTH, says},
};
use super::{Problem, ProblemKind, RetryHints, retry};
use crate::dialect::Family;

/// Understands an error answer: status, headers, body.
pub fn failure(family: Family, status: u16, hints: RetryHints<'_>, body: &[u8]) -> Problem {
    let mut said =
        serde_json::from_slice::<Value>(body).map_or_else(|_| Said::from_text(body), |body| Said::read(&body));
    let amazons = (hints.header)(AMAZONS_TYPE).map(short_type);
    let is_amazons = amazons.is_some() || family == Family::Bedrock;
    said.words.splice(0..0, amazons.map(str::to_owned));
    // Of a model's failure Bedrock tells the status it had, of its time-out one that blames the client.
    let status = match status {
        424 if is_amazons => said.number.unwrap_or(502),
        408 if is_amazons => 504,
        status => status,
    };
    let mut problem = said.problem(family, status);
    problem.retry_after_ms = retry::after(hints).or(said.retry_ms).or_else(|| in_words(&problem));
    problem
}

/// Where Amazon's errors say what they are.
const AMAZONS_TYPE: &str = "x-amzn-errortype";

/// A pause that only the message names. Messages can quote the request, so that only those about a limit are read for it.
fn in_words(problem: &Problem) -> Option<u64> {
    let is_limit = matches!(problem.kind, ProblemKind::RateLimited | ProblemKind::QuotaExceeded);
    is_limit.then(|| retry::in_words(&problem.message)).flatten()
}

/// Understands an error that came inside an answer with status 200: an event or element that holds `error`, or is one.
pub(crate) fn event(family: Family, body: &Value) -> Problem {
    let said = Said::read(body);
    let too_long = || said.message.as_ref().is_some_and(|message| says(&message.to_lowercase(), CONTEXT_LENGTH));
    let status = said.status().unwrap_or_else(|| if too_long() { 400 } else { 502 });
    let mut problem = said.problem(family, status);
    problem.retry_after_ms = said.retry_ms.or_else(|| in_words(&problem));
    problem
}

/// Whether a body is JSON as errors of an API are: an object, or a list, which Google's endpoints wrap around one.
pub fn is_structured(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Understands a document that is an error without an envelope, as proxies, vLLM, MiniMax and Qwen write them into
/// answers with status 200: `{"message":…,"code":…}`, `{"detail":…}`, `{"base_resp":{…}}`. None if it is something else.
/// The caller has made sure that it is no answer and holds no `error`.
pub(crate) fn bare(family: Family, body: &[u8]) -> Option<Problem> {
    let body = body.get(..=LONGEST_TEXT).map_or(Some(body), |_| None)?;
    let body: Value = serde_json::from_slice(body).ok()?;
    is_bare(&body).then(|| event(family, &body))
}

/// Whether an object says what failed without an envelope. An event that names a type of its own, such as a heartbeat, is
/// one only if that says so.
fn is_bare(body: &Value) -> bool {
    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    if Said::read(body).message.is_none() {
        return false;
    }
    let is_failure = |word: &str| {
        let word = word.to_ascii_lowercase();
        ["error", "fail", "exception", "invalid", "denied"].iter().any(|part| word.contains(part))
    };
    let words = ["type", "object", "status", "event"].map(|name| body.get(name).and_then(Value::as_str));
    let mut words = words.into_iter().flatten().peekable();
    let marked = ["code", "error_code", "status_code", "errors", "base_resp", "detail"].into_iter().any(has)
        || body.get("status").is_some_and(Value::is_number)
        || body.get("success") == Some(&Value::Bool(false))
        || body.pointer("/Output/__type").is_some()
        || has("__type");
    marked || words.peek().is_none() || words.any(is_failure)
}

/// Understands a document with status 200 that is no answer: what it says, if it says something.
pub(crate) fn no_answer(family: Family, body: &[u8]) -> Problem {
    said_instead(family, body).unwrap_or_else(|| Problem::new(ProblemKind::Upstream, NO_ANSWER))
}

/// What is said of a document that says nothing.
const NO_ANSWER: &str = "the upstream answered with something that is no answer of its API";

/// What a document with status 200 says in the place of an answer; none if it says nothing that a person could read.
pub(crate) fn said_instead(family: Family, body: &[u8]) -> Option<Problem> {
    if let Some(problem) = bare(family, body) {
        return Some(problem);
    }
    let text = match serde_json::from_slice::<Value>(body.get(..LONGEST_TEXT).unwrap_or(body)) {
        Ok(Value::String(text)) => Some(text),
        Ok(_) => None,
        // JSON that was cut short is no message.
        Err(_) if body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[") => None,
        Err(_) => Said::from_text(body).message,
    };
    let text = text.map(|text| text.chars().take(LONGEST_LINE).collect::<String>());
    let text = text.filter(|text| !text.trim().is_empty())?;
    Some(Problem::new(ProblemKind::Upstream, format!("{NO_ANSWER}: {text}")))
}

#[cfg(test)]
mod tests {
    use Family::{Anthropic, Gemini, OpenAi};
    use ProblemKind::*;

    use super::*;

    fn understood(family: Family, status: u16, body: &str) -> Problem {
        let none = |_: &str| None;
        failure(family, status, RetryHints { header: &none, now_ms: 0 }, body.as_bytes())
    }

    #[test]
    fn amazons_errors_are_known_by_their_type_wherever_it_stands() {
        let typed = |kind: &'static str, status: u16, body: &str| {
            let header = move |name: &str| (name == "x-amzn-errortype").then_some(kind);
            failure(Family::Anthropic, status, RetryHints { header: &header, now_ms: 0 }, body.as_bytes())
        };
        let rows = [
            ("ThrottlingException", 429, r#"{"message":"Too many requests"}"#, 429, RateLimited),
            ("ThrottlingException", 429, r#"{"message":"Too many tokens per day, please wait"}"#, 429, QuotaExceeded),
            ("ModelNotReadyException:http://internal.amazon.com/x/", 429, r#"{"message":"m"}"#, 429, Overloaded),
            ("ValidationException", 400, r#"{"message":"m"}"#, 400, InvalidRequest),
            ("ValidationException", 400, r#"{"message":"Input is too long for requested model."}"#, 400, ContextLength),
            (
                "ValidationException",
                400,
                r#"{"message":"The provided model identifier is invalid."}"#,
                400,
                ModelNotFound,
            ),
            ("AccessDeniedException", 403, r#"{"Message":"You don't have access"}"#, 403, Permission),
            ("UnrecognizedClientException", 403, r#"{"message":"invalid token"}"#, 403, Authentication),
            ("ExpiredTokenException", 403, r#"{"message":"expired"}"#, 403, Authentication),
            ("ResourceNotFoundException", 404, r#"{"message":"m"}"#, 404, ModelNotFound),
            ("ModelErrorException", 424, r#"{"message":"m","originalStatusCode":503}"#, 503, Overloaded),
            ("ModelErrorException", 424, r#"{"message":"m"}"#, 502, Upstream),
            ("ModelTimeoutException", 408, r#"{"message":"m"}"#, 504, Timeout),
            ("ServiceUnavailableException", 503, r#"{"message":"m"}"#, 503, Overloaded),
            ("InternalServerException", 500, r#"{"message":"m"}"#, 500, Upstream),
        ];
        for (kind, status, body, shown, means) in rows {
            let problem = typed(kind, status, body);
            assert_eq!((problem.status, problem.kind), (shown, means), "{kind} {body}");
            assert!(!problem.message.contains("upstream answered"), "{kind}: {}", problem.message);
        }
        let in_body = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no"}"#;
        assert_eq!(understood(Family::Bedrock, 403, in_body).kind, Permission);
    }

    #[test]
    fn a_service_that_does_not_know_the_call_says_so_with_status_200() {
        let body = br#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#;
        for family in [Family::Bedrock, Anthropic] {
            let problem = no_answer(family, body);
            assert_eq!((problem.status, problem.kind), (502, Upstream), "{problem:?}");
            assert!(problem.message.contains("UnknownOperationException"));
        }
    }

    const ERRORS: &[(Family, u16, &str, ProblemKind)] = &[
        (
            OpenAi,
            400,
            r#"{"error":{"message":"m","type":"invalid_request_error","param":"x","code":null}}"#,
            InvalidRequest,
        ),
        (OpenAi, 400, r#"{"error":{"message":"This model's maximum context length is 8","code":null}}"#, ContextLength),
        (OpenAi, 400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, ContextLength),
        (
            OpenAi,
            404,
            r#"{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}"#,
            ModelNotFound,
        ),
        (
            OpenAi,
            404,
            r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}"#,
            ModelNotFound,
        ),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"The model 'x' isn't supported on this route","type":"invalid_request_error"}}"#,
            ModelNotFound,
        ),
        (OpenAi, 404, r#"{"detail":"Not Found"}"#, NotFound),
        (OpenAi, 422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, InvalidRequest),
        (
            OpenAi,
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            QuotaExceeded,
        ),
        (OpenAi, 429, r#"{"error":"slow down"}"#, RateLimited),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"m","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            ContentFiltered,
        ),
        (
            OpenAi,
            502,
            "<html><head><title>502</title></head><body><h1>Bad Gateway</h1>\n nginx</body></html>",
            Upstream,
        ),
        (OpenAi, 503, "", Overloaded),
        (Anthropic, 529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"}}"#,
            ContextLength,
        ),
        (Anthropic, 404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#, ModelNotFound),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            QuotaExceeded,
        ),
        (Gemini, 429, r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#, RateLimited),
        (
            Gemini,
            429,
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"RequestsPerDay"}]}]}}"#,
            QuotaExceeded,
        ),
        (
            Gemini,
            400,
            r#"{"error":{"code":400,"message":"API key not valid","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            Authentication,
        ),
        (
            Gemini,
            404,
            r#"{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}"#,
            ModelNotFound,
        ),
    ];

    #[test]
    fn every_shape_is_read() {
        for &(family, status, body, kind) in ERRORS {
            let problem = understood(family, status, body);
            assert_eq!((problem.kind, problem.status), (kind, status), "{body}");
            assert!(!problem.message.is_empty(), "{body}");
        }
        let full = understood(OpenAi, 400, r#"{"error":{"message":"m","param":"tools","code":"bad"}}"#);
        assert_eq!((full.param.as_deref(), full.code.as_deref()), (Some("tools"), Some("bad")));
    }

    #[test]
    fn a_line_of_text_is_shown_and_a_page_is_not() {
        let said = |status, body: &str| understood(OpenAi, status, body).message;
        assert_eq!(said(503, "no healthy\n upstream\n"), "no healthy upstream");
        assert_eq!(said(400, "expected <int> at temperature"), "expected <int> at temperature");
        assert_eq!(said(400, &"x ".repeat(9_000)).len(), LONGEST_LINE);
        for page in [
            "<html><head><title>502 Bad Gateway</title></head><body>nginx/1.2 at 10.0.0.7</body></html>",
            "  \n<!DOCTYPE html><p>secret",
            "\u{feff}<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "Oops<br>secret",
            "Request denied by <b>secret</b>",
            "\u{1f}\u{8b}\u{8}secret",
        ] {
            let message = said(502, page);
            assert!(message.starts_with("the upstream answered with status 502"), "{message}");
        }
        assert!(said(404, "<html>").contains("baseURL"));
        assert_eq!(understood(OpenAi, 502, "<p>maximum context length</p>").kind, Upstream);
    }

    #[test]
    fn only_json_objects_and_lists_are_structured() {
        for body in ["{}", " [{\"error\":1}]", "{\"detail\":\"Not Found\"}\n"] {
            assert!(is_structured(body.as_bytes()), "{body}");
        }
        for body in ["", "\"error\"", "7", "null", "{", "{} {}", "<html>", "data: {}\n\n", "Bad Gateway"] {
            assert!(!is_structured(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn errors_inside_an_answer_find_their_status() {
        let cases = [
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, 529, ProblemKind::Overloaded),
            (r#"{"error":{"message":"m","type":"rate_limit_error"},"choices":[]}"#, 429, ProblemKind::RateLimited),
            (r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#, 503, ProblemKind::Overloaded),
            (r#"{"error":"boom"}"#, 502, ProblemKind::Upstream),
            (
                r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}"#,
                429,
                ProblemKind::RateLimited,
            ),
            (r#"{"type":"error","code":"server_error","message":"m"}"#, 500, ProblemKind::Upstream),
        ];
        for (body, status, kind) in cases {
            let problem = event(Family::OpenAi, &serde_json::from_str(body).expect("JSON"));
            assert_eq!((problem.status, problem.kind), (status, kind), "{body}");
        }
        assert!(!is_error(&serde_json::json!({})) && !is_error(&Value::Null) && is_error(&serde_json::json!("x")));
    }
}
