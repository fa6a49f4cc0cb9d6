//! What an error says, out of the loose shapes that vendors and proxies write.

use serde_json::Value;

use super::words::{CONTENT_FILTERED, CONTEXT_LENGTH, INVALID_MODEL, by_status, kind_of, says, status_of};
use crate::{
    dialect::Family,
    problem::{Problem, ProblemKind, retry},
};

/// Most characters of an upstream's message that are shown.
const LONGEST_MESSAGE: usize = 2_000;

/// Most characters of a body that is plain text.
pub(super) const LONGEST_LINE: usize = 300;

/// Most bytes of a body without structure that are looked at.
pub(super) const LONGEST_TEXT: usize = 16 * 1024;

/// Names of the member that says in words what failed.
const MESSAGES: [&str; 10] = [
    "message",
    "Message",
    "originalMessage",
    "detail",
    "error_description",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "status_msg",
];

/// What an error says, out of its shape.
#[derive(Default)]
pub(super) struct Said {
    /// For people.
    pub(super) message: Option<String>,
    /// Types, codes, statuses, reasons.
    pub(super) words: Vec<String>,
    code: Option<String>,
    param: Option<String>,
    /// The status that it names.
    pub(super) number: Option<u16>,
    /// The pause that it names.
    pub(super) retry_ms: Option<u64>,
    is_page: bool,
}

impl Said {
    pub(super) fn read(body: &Value) -> Self {
        // Google's OpenAI-compatible endpoints and array mode wrap the object into a list.
        let body = body.as_array().and_then(|list| list.first()).unwrap_or(body);
        let mut said = Self::default();
        // Responses' `response.failed` nests it once more.
        let nested = body.pointer("/response/error").filter(|error| is_error(error));
        match nested.or_else(|| body.get("error")) {
            Some(Value::String(text)) => said.text(text),
            Some(error) => said.object(error),
            None => {}
        }
        for name in ["detail", "base_resp"] {
            if let Some(inner) = body.get(name).filter(|inner| inner.is_object()) {
                said.object(inner);
            }
        }
        // A service of Amazon's that does not know the call answers with status 200.
        if let Some(kind) = body.pointer("/Output/__type").and_then(Value::as_str).map(short_type) {
            said.words.push(kind.to_owned());
            said.message.get_or_insert_with(|| format!("the upstream answered with {kind}"));
        }
        match body.pointer("/errors/0") {
            Some(Value::String(text)) => said.message = said.message.take().or_else(|| Some(text.clone())),
            Some(first) => said.object(first),
            None => {}
        }
        said.object(body);
        said
    }

    /// Takes a message, which some proxies write as the text of the object they got.
    fn text(&mut self, text: &str) {
        match serde_json::from_str::<Value>(text) {
            Ok(inner) if inner.is_object() => {
                self.object(inner.get("error").unwrap_or(&inner));
                self.message.get_or_insert_with(|| text.to_owned());
            }
            _ => self.message = Some(text.to_owned()),
        }
    }

    /// Takes what an object says, without overriding what an inner one said.
    fn object(&mut self, object: &Value) {
        let text = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let message = MESSAGES.iter().find_map(|name| text(name));
        let listed = || object.pointer("/detail/0/msg").and_then(Value::as_str);
        self.message = self.message.take().or_else(|| message.or_else(listed).map(str::to_owned));
        const WORDS: [&str; 8] =
            ["code", "type", "status", "__type", "reason", "error_code", "status_code", "originalStatusCode"];
        for name in WORDS {
            match object.get(name) {
                Some(Value::String(word)) if !matches!(word.as_str(), "error" | "response.failed") => {
                    let word = if name == "__type" { short_type(word).to_owned() } else { word.clone() };
                    self.words.push(word.clone());
                    if !matches!(name, "type" | "__type" | "reason") {
                        self.number = self.number.or_else(|| http_status(word.parse().ok()?));
                    }
                    if name == "code" {
                        self.code.get_or_insert_with(|| word.clone());
                    }
                }
                Some(Value::Number(number)) if !matches!(name, "type" | "__type" | "reason") => {
                    self.number = self.number.or_else(|| http_status(number.as_u64()?));
                }
                _ => {}
            }
        }
        self.param = self.param.take().or_else(|| text("param").map(str::to_owned));
        if let Some(inner) = object.get("innererror").and_then(|inner| inner.get("code")).and_then(Value::as_str) {
            self.words.push(inner.to_owned());
        }
        for detail in object.get("details").and_then(Value::as_array).into_iter().flatten() {
            self.detail(detail);
        }
    }

    /// One of Google's details: `RetryInfo`, `ErrorInfo`, `QuotaFailure`.
    fn detail(&mut self, detail: &Value) {
        if let Some(delay) = detail.get("retryDelay").and_then(Value::as_str) {
            self.retry_ms = self.retry_ms.or_else(|| retry::duration(delay));
        }
        if let Some(reason) = detail.get("reason").and_then(Value::as_str) {
            self.words.push(reason.to_owned());
        }
        let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
        self.words.extend(violations.filter_map(|one| one.get("quotaId")?.as_str()).map(str::to_owned));
    }

    /// A body that is no JSON: a line of plain text is what it says. A page of HTML or XML comes from something in between,
    /// names its addresses and versions, and is never shown.
    pub(super) fn from_text(body: &[u8]) -> Self {
        let body = body.get(..LONGEST_TEXT).unwrap_or(body);
        let has = |tag: &str| memchr::memmem::find(body, tag.as_bytes()).is_some();
        if is_page(body) || has("</") || has("<br") {
            return Self { is_page: true, ..Self::default() };
        }
        let text = String::from_utf8_lossy(body);
        let is_text = !text.chars().any(|letter| letter.is_control() && !letter.is_whitespace());
        let words: Vec<&str> = text.split_whitespace().collect();
        let message = words.join(" ").chars().take(LONGEST_LINE).collect::<String>();
        Self { message: Some(message).filter(|message| is_text && !message.is_empty()), ..Self::default() }
    }

    /// The status that the error itself names, for errors inside a 200.
    pub(super) fn status(&self) -> Option<u16> {
        if self.number.is_some() {
            return self.number;
        }
        self.words.iter().find_map(|word| status_of(word))
    }

    pub(super) fn problem(&self, family: Family, status: u16) -> Problem {
        let message = self.message.clone().unwrap_or_else(|| self.in_our_words(status));
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        let kind = self.kind(family, status, &message.to_lowercase());
        Problem {
            kind,
            status,
            message: message.into(),
            param: self.param.clone().map(Into::into),
            code: self.code.clone(),
            retry_after_ms: None,
        }
    }

    fn in_our_words(&self, status: u16) -> String {
        match status {
            404 | 405 if self.is_page => format!(
                "the upstream answered with status {status} and a web page instead of an API error; the baseURL of its \
                 AIProvider may be wrong"
            ),
            _ if self.is_page => {
                format!("the upstream answered with status {status} and a web page instead of an API error")
            }
            _ => format!("the upstream answered with status {status}"),
        }
    }

    fn kind(&self, family: Family, status: u16, message: &str) -> ProblemKind {
        if let Some(kind) = self.words.iter().find_map(|word| kind_of(word)) {
            // Bedrock's limits of a day come back in a day.
            let is_daily = kind == ProblemKind::RateLimited && message.contains("tokens per day");
            return if is_daily { ProblemKind::QuotaExceeded } else { kind };
        }
        let says = |phrases: &[&str]| says(message, phrases);
        match status {
            400 | 404 | 413 | 422 if says(CONTEXT_LENGTH) => ProblemKind::ContextLength,
            400 | 403 if says(CONTENT_FILTERED) => ProblemKind::ContentFiltered,
            400 | 403 if says(&["credit balance is too low"]) => ProblemKind::QuotaExceeded,
            400 | 422 if says(INVALID_MODEL) => ProblemKind::ModelNotFound,
            404 if message.contains("model") || family == Family::Gemini => ProblemKind::ModelNotFound,
            500.. if says(&["overloaded"]) => ProblemKind::Overloaded,
            _ => by_status(status),
        }
    }
}

/// The name of a type without what Amazon's services write around it: `Throttling` of `com.amazon#Throttling:http://…`.
pub(super) fn short_type(word: &str) -> &str {
    let word = word.split(':').next().unwrap_or_default();
    word.rsplit('#').next().unwrap_or_default().trim()
}

/// Whether a body begins as a document of HTML or XML does.
pub fn is_page(body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text).trim_ascii_start().starts_with(b"<")
}

/// Whether a body's `error` member says that something failed; some servers send `null` or `{}` beside every answer.
pub(crate) fn is_error(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

/// A vendor's number, if it is an HTTP status that says what failed.
fn http_status(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}
