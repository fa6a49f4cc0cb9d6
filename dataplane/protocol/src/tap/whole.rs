//! Whole answers that pass through: counts and the end, from spans, without building a tree of the content.

use serde_json::Value;

use super::{chat, failed, gemini, identified, messages, responses, usage};
use crate::{
    dialect::{Family, Surface},
    exchange::Observed,
    problem::understand::is_error,
    scan::Scan,
};

/// Looks at a whole answer; none if it is no answer of its surface: an empty body, a page of HTML, JSON that was cut
/// short or that lacks what every answer holds.
pub(crate) fn look(surface: Surface, body: &[u8]) -> Option<Observed> {
    let mut seen = Observed::default();
    let scan = Scan::read(body).ok()?;
    let member = |name: &str| -> Option<Value> { serde_json::from_slice(scan.last(body, name)?.bytes(body)).ok() };
    let error = scan.last(body, "error").is_some() && member("error").as_ref().is_some_and(is_error);
    if error && surface != Surface::Responses {
        if let Ok(body) = serde_json::from_slice(body) {
            failed(surface.family(), &body, &mut seen);
        }
        return Some(seen);
    }
    if !holds(surface).iter().any(|name| scan.last(body, name).is_some()) {
        return None;
    }
    let span = |name: &str| scan.last(body, name).map(|value| value.bytes(body)).unwrap_or_default();
    seen.complete = true;
    match surface {
        Surface::ChatCompletions => {
            identified(member("id").as_ref(), member("model").as_ref(), &mut seen);
            chat::delta(span("choices"), &mut seen, |_, _| {});
            if let Some(choices) = scan.last(body, "choices") {
                choices.each_element(body, |choice| {
                    if let Some(word) = choice.member(body, "finish_reason").as_ref().and_then(|word| word.text(body)) {
                        seen.finished(chat::finish(&word));
                    }
                });
            }
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Surface::Responses => {
            let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
            seen.delivered(messages::delivered(span("output")));
            seen.complete = false;
            responses::response(&parsed, &parsed, &mut seen);
        }
        Surface::Messages => {
            identified(member("id").as_ref(), member("model").as_ref(), &mut seen);
            seen.delivered(messages::delivered(span("content")));
            if let Some(word) = scan.last(body, "stop_reason").and_then(|word| word.text(body)) {
                seen.finished(messages::finish(&word));
            }
            count(member("usage"), Family::Anthropic, &mut seen);
        }
        Surface::GenerateContent => {
            let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
            gemini::Gemini::default().parsed(&parsed, &mut seen);
        }
        Surface::Embeddings => {
            identified(None, member("model").as_ref(), &mut seen);
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Surface::EmbedContent | Surface::BatchEmbedContents => {
            count(member("usageMetadata"), Family::Gemini, &mut seen);
        }
        // Counting costs nothing, so its answer is no usage.
        Surface::ResponsesInputTokens | Surface::MessagesCountTokens | Surface::CountTokens => {}
    }
    seen.content |= seen.error.is_none();
    Some(seen)
}

/// Members of which every answer of the surface has at least one.
const fn holds(surface: Surface) -> &'static [&'static str] {
    match surface {
        Surface::ChatCompletions => &["choices"],
        Surface::Responses => &["output", "status"],
        Surface::Embeddings => &["data"],
        Surface::Messages => &["content"],
        // A blocked prompt has no candidates; Code Assist wraps the answer once more.
        Surface::GenerateContent => &["candidates", "promptFeedback", "usageMetadata", "response"],
        Surface::EmbedContent => &["embedding", "embeddings"],
        Surface::BatchEmbedContents => &["embeddings"],
        Surface::ResponsesInputTokens | Surface::MessagesCountTokens => &["input_tokens"],
        Surface::CountTokens => &["totalTokens", "totalBillableCharacters"],
    }
}

fn count(counts: Option<Value>, family: Family, seen: &mut Observed) {
    let Some(counts) = counts.filter(Value::is_object) else { return };
    seen.count(match family {
        Family::OpenAi => usage::openai(&counts),
        Family::Anthropic => usage::anthropic(&counts),
        Family::Gemini => usage::gemini(&counts),
    });
}
