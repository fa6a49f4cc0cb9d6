//! Whole answers that pass through: counts and the end, from spans, without building a tree of the content.

use serde_json::{Value, json};

use super::{Outline, ScanValue, chat, failed, gemini, identified, messages, responses, usage};
use crate::{
    dialect::{Family, Surface},
    direct::{Direct, Gives},
    exchange::Observed,
    problem::understand::is_error,
    scan::Kind,
};

/// Looks at a whole answer; none if it is no answer of its surface: an empty body, a page of HTML, JSON that was cut
/// short or that lacks what every answer holds.
pub(crate) fn look(surface: Surface, body: &[u8]) -> Option<Observed> {
    let mut seen = Observed::default();
    let outline = Outline::read(std::str::from_utf8(body).ok()?)?;
    let scan = &outline.scan;
    let member = |name: &str| outline.small(name);
    if surface != Surface::Responses
        && let Some(error) = member("error").filter(is_error)
    {
        failed(surface.family(), &json!({ "error": error }), &mut seen);
        return Some(seen);
    }
    let is_held = |name: &&str| match scan.last(body, name).map(|value| value.kind) {
        None | Some(Kind::Null) => false,
        // An answer without any choice is none.
        Some(Kind::Array { empty: true }) => surface != Surface::ChatCompletions,
        Some(_) => true,
    };
    if !holds(surface).iter().any(is_held) {
        return None;
    }
    let span = |name: &str| scan.last(body, name).map(|value| value.bytes(body)).unwrap_or_default();
    seen.complete = true;
    match surface {
        Surface::ChatCompletions | Surface::Direct(Direct::Completions) => {
            identified(member("id").as_ref(), member("model").as_ref(), &mut seen);
            chat::delta(span("choices"), &mut seen, |_, _| {});
            if let Some(choices) = scan.last(body, "choices") {
                choices.each_element(body, |choice| chat::choice(body, &choice, &mut seen));
            }
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Surface::Responses => {
            seen.delivered(messages::delivered(span("output")));
            seen.complete = false;
            let whole = ScanValue { kind: Kind::Object { empty: false }, span: start_of(body)..body.len() };
            responses::response(&outline, Some(&whole), false, &mut seen);
        }
        Surface::Messages => {
            identified(member("id").as_ref(), member("model").as_ref(), &mut seen);
            seen.delivered(messages::delivered(span("content")));
            if let Some(word) = scan.last(body, "stop_reason").and_then(|word| word.text(body)) {
                messages::finished(&word, &mut seen);
            }
            count(member("usage"), Family::Anthropic, &mut seen);
        }
        Surface::GenerateContent => {
            gemini::Gemini::default().parsed(&outline, &mut seen);
        }
        Surface::Embeddings => {
            identified(None, member("model").as_ref(), &mut seen);
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Surface::EmbedContent | Surface::BatchEmbedContents => {
            count(member("usageMetadata"), Family::Gemini, &mut seen);
        }
        Surface::Direct(_) => {
            identified(None, member("model").as_ref(), &mut seen);
            for counts in ["usage", "meta"].into_iter().filter_map(member) {
                usage::direct(&counts, &mut seen);
            }
        }
        // Counting costs nothing, so its answer is no usage.
        Surface::ResponsesInputTokens | Surface::MessagesCountTokens | Surface::CountTokens => {}
    }
    seen.complete &= seen.error.is_none();
    seen.content |= seen.error.is_none() && !seen.content_filtered;
    Some(seen)
}

/// Members of which every answer of the surface has at least one.
pub(crate) const fn holds(surface: Surface) -> &'static [&'static str] {
    match surface {
        Surface::ChatCompletions => &["choices"],
        Surface::Responses => &["output", "status"],
        Surface::Embeddings => &["data"],
        Surface::Messages => &["content", "stop_reason"],
        // A blocked prompt has no candidates; Code Assist wraps the answer once more.
        Surface::GenerateContent => &["candidates", "promptFeedback", "usageMetadata", "response"],
        Surface::EmbedContent => &["embedding", "embeddings"],
        Surface::BatchEmbedContents => &["embeddings"],
        Surface::ResponsesInputTokens | Surface::MessagesCountTokens => &["input_tokens"],
        Surface::CountTokens => &["totalTokens", "totalBillableCharacters"],
        Surface::Direct(direct) => match direct.gives() {
            Gives::Document(members) => members,
            Gives::Anything => &[],
        },
    }
}

/// Where the document begins.
fn start_of(body: &[u8]) -> usize {
    memchr::memchr(b'{', body).unwrap_or(0)
}

fn count(counts: Option<Value>, family: Family, seen: &mut Observed) {
    let Some(counts) = counts.filter(Value::is_object) else { return };
    seen.count(match family {
        Family::OpenAi => usage::openai(&counts),
        Family::Anthropic => usage::anthropic(&counts),
        Family::Gemini => usage::gemini(&counts),
    });
}
