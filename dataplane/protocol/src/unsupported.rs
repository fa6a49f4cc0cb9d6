//! What an upstream's error says that it does not take: a hint, the name of the output limit, the question for usage,
//! reasoning of another account, a web search, or the model on the path that was called.
//!
//! Errors quote what the client wrote, so what they say is only believed where no client's text can stand: in members of
//! their own, or at the beginning of the message in a vendor's fixed words. Whoever acts on words alone makes sure that
//! the refused value holds none ([`crate::request::Held`]).

mod names;
mod surface;
mod wordings;

use serde_json::Value;

use crate::limits::{ChatLimit, Features};

/// Longest error that is read for names; what is longer repeats the request.
const MAX_BYTES: usize = 8 << 10;
/// Most parameters of one error.
const MAX_ENTRIES: usize = 16;

/// What an upstream's error says that it does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about an error")]
pub struct Unsupported {
    /// `stream_options`, by which usage is asked for, or what is in it.
    pub usage: bool,
    /// Reasoning that was given back: it cannot be decrypted, or what belongs to it is missing.
    pub reasoning: bool,
    /// The web search that the vendor would run.
    pub web_search: bool,
    /// Hints.
    pub hints: Features,
    /// Those of the hints that are refused whatever their value, and whatever stands beside them.
    pub lasting: Features,
    /// Whether the hints are named in members of the error that hold no text of a client's.
    pub coded: bool,
    /// The name of Chat's output limit that is refused.
    pub chat_limit: Option<ChatLimit>,
    /// The way in which the model was called, while another may serve it.
    pub surface: bool,
}

/// A parameter that is refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    what: names::Parameter,
    /// Whether that holds for every value.
    lasting: bool,
    /// Whether it is named in a member of its own.
    coded: bool,
}

/// What an error of this status says. Linear in the body. `kind` is the type of the error by its head, as Amazon's services
/// write it there.
pub fn read(status: u16, kind: Option<&str>, body: &[u8]) -> Unsupported {
    let surface = body.len() <= MAX_BYTES && surface::is_refused(status, kind, body);
    if !matches!(status, 400 | 422) {
        return Unsupported { surface, ..Unsupported::default() };
    }
    let mut found = Unsupported {
        surface,
        usage: names_usage(body),
        reasoning: status == 400 && names_reasoning(body),
        web_search: status == 400 && names_web_search(body),
        coded: true,
        ..Unsupported::default()
    };
    if body.len() <= MAX_BYTES {
        refused(body).into_iter().take(MAX_ENTRIES).for_each(|refused| found.add(refused));
    }
    found
}

impl Unsupported {
    fn add(&mut self, refused: Refused) {
        match refused.what {
            names::Parameter::Hint(feature) => {
                self.hints = self.hints.with(feature);
                if refused.lasting {
                    self.lasting = self.lasting.with(feature);
                }
                self.coded &= refused.coded;
            }
            names::Parameter::ChatLimit(name) => {
                self.chat_limit = Some(name);
                self.coded &= refused.coded;
            }
        }
    }
}

fn refused(body: &[u8]) -> Vec<Refused> {
    let Ok(whole) = serde_json::from_slice::<Value>(body) else {
        return std::str::from_utf8(body).ok().and_then(worded).into_iter().collect();
    };
    // Google's Chat endpoint answers with a list of one.
    let whole = whole.get(0).unwrap_or(&whole);
    let error = whole.get("error").filter(|error| error.is_object()).unwrap_or(whole);
    let message = [error.get("message"), whole.get("error")].into_iter().flatten().find_map(Value::as_str);
    if let Some(refused) = coded(error, message.unwrap_or_default()) {
        return vec![refused];
    }
    let details = [whole.get("detail"), error.get("message"), error.get("message").and_then(|it| it.get("detail"))];
    let details: Vec<Refused> = details.into_iter().flatten().find_map(forbidden).unwrap_or_default();
    if !details.is_empty() {
        return details;
    }
    let violations: Vec<Refused> = violations(error).filter_map(worded).collect();
    if !violations.is_empty() {
        return violations;
    }
    // Mistral's proxy puts a whole answer into the text.
    let inner = message.filter(|text| text.starts_with('{')).and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(inner) = inner.as_ref().and_then(|inner| forbidden(inner.get("detail")?)) {
        return inner;
    }
    message.and_then(worded).into_iter().collect()
}

/// OpenAI's and Azure's `code` and `param`.
fn coded(error: &Value, message: &str) -> Option<Refused> {
    let what = names::parameter(error.get("param")?.as_str()?)?;
    match error.get("code")?.as_str()? {
        "unsupported_parameter" | "unknown_parameter" => Some(Refused { what, lasting: true, coded: true }),
        // A word that only this model does not know, or all but the default.
        "unsupported_value" => {
            Some(Refused { what, lasting: wordings::only_the_default(message), coded: false }).filter(Refused::is_hint)
        }
        _ => None,
    }
}

/// What pydantic's list of errors, if it is one, says of members that it does not know.
fn forbidden(list: &Value) -> Option<Vec<Refused>> {
    let list = list.as_array()?;
    let name = |entry: &Value| {
        let place = entry.get("loc")?.as_array()?;
        let words: Vec<&str> = place.iter().map_while(Value::as_str).filter(|word| *word != "body").collect();
        let is_forbidden = entry.get("type")?.as_str()? == "extra_forbidden";
        (is_forbidden && words.len().saturating_add(1) >= place.len()).then(|| words.join("."))
    };
    let known = list.iter().take(MAX_ENTRIES).filter_map(|entry| names::parameter(&name(entry)?));
    Some(known.map(|what| Refused { what, lasting: true, coded: true }).collect())
}

/// Google's list of what is wrong in which field.
fn violations(error: &Value) -> impl Iterator<Item = &str> {
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten().take(MAX_ENTRIES);
    let violations = details.filter_map(|detail| detail.get("fieldViolations")?.as_array()).flatten().take(MAX_ENTRIES);
    violations.filter_map(|violation| violation.get("description")?.as_str())
}

fn worded(message: &str) -> Option<Refused> {
    let (name, lasting) = wordings::refused(message)?;
    let what = names::parameter(name)?;
    let refused = Refused { what, lasting, coded: false };
    Some(refused).filter(|refused| refused.lasting || refused.is_hint())
}

impl Refused {
    fn is_hint(&self) -> bool {
        matches!(self.what, names::Parameter::Hint(_))
    }
}

/// OpenAI cannot decrypt it, or misses what belongs to it.
fn names_reasoning(body: &[u8]) -> bool {
    let words = ["encrypted_content", "encrypted content", "of type 'reasoning'"];
    words.iter().any(|words| memchr::memmem::find(body, words.as_bytes()).is_some())
}

/// The search has to be switched on for an organization, and is not there on every model and host.
fn names_web_search(body: &[u8]) -> bool {
    let words = ["web_search", "web search", "Web search"];
    words.iter().any(|words| memchr::memmem::find(body, words.as_bytes()).is_some())
}

/// Servers that do not know the member name it, or what is in it.
fn names_usage(body: &[u8]) -> bool {
    ["stream_options", "include_usage"].iter().any(|name| memchr::memmem::find(body, name.as_bytes()).is_some())
}

#[cfg(test)]
mod tests;
