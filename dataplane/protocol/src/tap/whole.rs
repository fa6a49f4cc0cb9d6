//! Whole answers that pass through: counts and the end, from spans, without building a tree of the content.

use serde_json::{Value, json};

use super::{
    chat, converse, gemini, messages,
    outline::{Outline, failed, identified},
    responses,
};
use crate::{
    dialect::{Family, Operation},
    direct::{Direct, Gives},
    problem::understand::is_error,
    response_stats::ResponseStats,
    scan::{Kind, Value as ScanValue},
    usage,
};

/// Looks at a whole answer; none if it is no answer of its operation: an empty body, a page of HTML, JSON that was cut
/// short or that lacks what every answer holds.
pub(crate) fn look(operation: Operation, body: &[u8]) -> Option<ResponseStats> {
    let mut seen = ResponseStats::default();
    let outline = Outline::read(body)?;
    let scan = &outline.scan;
    let member = |name: &str| outline.small(name);
    let text = |name: &str| outline.small_text(name);
    if operation != Operation::Responses
        && let Some(error) = member("error").filter(is_error)
    {
        failed(operation.family(), &json!({ "error": error }), &mut seen);
        return Some(seen);
    }
    let is_held = |name: &&str| match scan.last(body, name).map(|value| value.kind) {
        None | Some(Kind::Null) => false,
        // An answer without any choice is none.
        Some(Kind::Array { empty: true }) => operation != Operation::ChatCompletions,
        Some(_) => true,
    };
    if !holds(operation).iter().any(is_held) {
        return None;
    }
    let span = |name: &str| scan.last(body, name).map(|value| value.bytes(body)).unwrap_or_default();
    seen.complete = true;
    match operation {
        Operation::ChatCompletions | Operation::Direct(Direct::Completions) => {
            identified(text("id"), text("model"), &mut seen);
            chat::delta(span("choices"), &mut seen, |_, _| {});
            if let Some(choices) = scan.last(body, "choices") {
                choices.each_element(body, |choice| chat::choice(body, &choice, &mut seen));
            }
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Operation::Responses => {
            seen.delivered(messages::delivered(span("output")));
            seen.complete = false;
            let whole = ScanValue { kind: Kind::Object { empty: false }, span: start_of(body)..body.len() };
            responses::response(&outline, Some(&whole), false, &mut seen);
        }
        Operation::Messages => {
            identified(text("id"), text("model"), &mut seen);
            seen.delivered(messages::delivered(span("content")));
            if let Some(word) = scan.last(body, "stop_reason").and_then(|word| word.text(body)) {
                messages::finished(&word, &mut seen);
            }
            count(member("usage"), Family::Anthropic, &mut seen);
        }
        Operation::GenerateContent => {
            gemini::Gemini::default().parsed(&outline, &mut seen);
        }
        Operation::Converse => converse::whole(&outline, scan.last(body, "output"), &mut seen),
        Operation::Embeddings => {
            identified(None, text("model"), &mut seen);
            count(member("usage"), Family::OpenAi, &mut seen);
        }
        Operation::EmbedContent | Operation::BatchEmbedContents | Operation::Predict => {
            count(member("usageMetadata"), Family::Gemini, &mut seen);
        }
        Operation::Direct(_) => {
            identified(None, text("model"), &mut seen);
            for counts in ["usage", "meta"].into_iter().filter_map(member) {
                if let Some(used) = usage::direct(&counts) {
                    seen.count(used);
                }
            }
        }
        // What is not passed through is read by whoever translates it.
        Operation::InvokeEmbedding => {}
        // Counting costs nothing, so its answer is no usage; what a stored response used was counted when it was made.
        Operation::ResponsesInputTokens
        | Operation::MessagesCountTokens
        | Operation::CountTokens
        | Operation::ConverseCountTokens
        | Operation::Stored(_) => {}
    }
    seen.complete &= seen.error.is_none();
    seen.content |= seen.error.is_none() && !seen.content_filtered;
    Some(seen)
}

/// Members of which every answer of the operation has at least one.
pub(crate) const fn holds(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::ChatCompletions => &["choices"],
        Operation::Responses => &["output", "status"],
        Operation::Embeddings => &["data"],
        Operation::Messages => &["content", "stop_reason"],
        // A blocked prompt has no candidates; Code Assist wraps the answer once more.
        Operation::GenerateContent => &["candidates", "promptFeedback", "usageMetadata", "response"],
        Operation::Converse => &["output", "stopReason"],
        Operation::ConverseCountTokens => &["inputTokens"],
        Operation::EmbedContent | Operation::InvokeEmbedding => &["embedding", "embeddings"],
        Operation::BatchEmbedContents => &["embeddings"],
        Operation::Predict => &["predictions"],
        Operation::ResponsesInputTokens | Operation::MessagesCountTokens => &["input_tokens"],
        Operation::CountTokens => &["totalTokens", "totalBillableCharacters"],
        Operation::Direct(direct) => match direct.gives() {
            Gives::Document(members) => members,
            Gives::Anything => &[],
        },
        Operation::Stored(_) => &[],
    }
}

/// Where the document begins.
fn start_of(body: &[u8]) -> usize {
    memchr::memchr(b'{', body).unwrap_or(0)
}

fn count(counts: Option<Value>, family: Family, seen: &mut ResponseStats) {
    let Some(counts) = counts.filter(Value::is_object) else { return };
    seen.count(match family {
        Family::OpenAi => usage::openai(&counts),
        Family::Anthropic => usage::anthropic(&counts),
        Family::Gemini => usage::gemini(&counts),
        Family::Bedrock => usage::bedrock(&counts),
    });
}
