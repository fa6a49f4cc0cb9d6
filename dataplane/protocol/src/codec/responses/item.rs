//! Items of `output`, as they stand in the events that begin and end them and in the whole answer.

use super::names;
use crate::{
    codec::{
        ResponseContext, free_form,
        ids::{RESPONSES_CALL_ID, call_id},
        json::write::{Elements, Members},
    },
    ir::Citation,
};

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// More is to come.
    InProgress,
    /// All of it.
    Completed,
    /// It was cut short.
    Incomplete,
}

/// What the ids of reasoning items begin with that were made here. No upstream knows them.
pub const OWN_REASONING: &str = "rs_gw1_";

/// A part of a message.
#[derive(Clone, Debug)]
pub enum Part {
    /// Words, what they rest on, and how many characters of the answer stand before them.
    Text { text: String, citations: Vec<Citation>, before: u64 },
    /// The model declines.
    Refusal(String),
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// Pairs it with its output.
    pub id: String,
    /// The tool, in the neutral representation's words.
    pub name: String,
    /// JSON text.
    pub arguments: String,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Writes a message.
pub fn message(id: &str, status: Status, parts: &[Part], out: &mut Members<'_>) {
    out.put("id", id);
    out.put("type", "message");
    out.put("status", status.word());
    out.put("role", "assistant");
    out.list("content", |out| parts.iter().for_each(|part| out.object(|out| part.put(out))));
}

/// Writes reasoning: what of it is visible, and its state.
pub fn reasoning(id: &str, status: Status, text: &str, state: Option<&str>, out: &mut Members<'_>) {
    out.put("id", id);
    out.put("type", "reasoning");
    out.put("status", status.word());
    out.list("summary", |out| {
        if !text.is_empty() {
            out.object(|out| summary(text, out));
        }
    });
    out.put_some("encrypted_content", state);
}

/// Writes a part of a summary.
pub fn summary(text: &str, out: &mut Members<'_>) {
    out.put("type", "summary_text");
    out.put("text", text);
}

/// Writes a picture.
pub fn picture(id: &str, mime: &str, data: &str, out: &mut Members<'_>) {
    out.put("id", id);
    out.put("type", "image_generation_call");
    out.put("status", Status::Completed.word());
    out.put_some("output_format", mime.strip_prefix("image/"));
    out.put("result", data);
}

// === impl Part ===

impl Part {
    /// Bytes that are kept.
    pub fn held(&self) -> usize {
        match self {
            Self::Text { text, citations, .. } => citations.iter().fold(text.len(), |all, one| {
                all.saturating_add(one.url.as_ref().map_or(64, |url| url.len().saturating_add(64)))
            }),
            Self::Refusal(words) => words.len(),
        }
    }

    /// Writes it.
    pub fn put(&self, out: &mut Members<'_>) {
        match self {
            Self::Text { text, citations, before } => {
                out.put("type", "output_text");
                out.put("text", text);
                out.list("annotations", |out| citations.iter().for_each(|one| source(one, *before, out)));
                out.list("logprobs", |_| ());
            }
            Self::Refusal(words) => {
                out.put("type", "refusal");
                out.put("refusal", words);
            }
        }
    }
}

/// Writes a source on the web.
pub fn source(citation: &Citation, before: u64, out: &mut Elements<'_>) {
    out.object(|out| annotation(citation, before, out));
}

/// Writes the members of a source: its span counts from the beginning of its part. What it says of words that stand before
/// this part has no span here.
pub fn annotation(citation: &Citation, before: u64, out: &mut Members<'_>) {
    let url = citation.url.as_deref().unwrap_or_default();
    let place = |at: u64| if citation.span.start < before { 0 } else { at.saturating_sub(before) };
    out.put("type", "url_citation");
    out.put("url", url);
    out.put("title", citation.title.as_deref().unwrap_or(url));
    out.put("start_index", &place(citation.span.start));
    out.put("end_index", &place(citation.span.end));
}

// === impl Call ===

impl Call {
    /// Whether the client knows the tool as free-form.
    pub fn is_custom(&self, context: &ResponseContext) -> bool {
        context.custom_tools.contains(&self.name)
    }

    /// The text of a free-form call.
    pub fn input(&self) -> String {
        free_form::unwrap(&self.arguments)
    }

    /// Writes it; without its arguments where they are still to come.
    pub fn put(&self, id: &str, status: Status, context: &ResponseContext, out: &mut Members<'_>) {
        let (namespace, name) = names::grouped(&self.name, context);
        let begins = status == Status::InProgress;
        out.put("id", id);
        let (kind, member, text) = match self.is_custom(context) {
            true => ("custom_tool_call", "input", if begins { String::new() } else { self.input() }),
            false => ("function_call", "arguments", if begins { String::new() } else { self.arguments.clone() }),
        };
        out.put("type", kind);
        out.put("status", status.word());
        out.put("call_id", &call_id(&self.id, RESPONSES_CALL_ID)); // hard case 116
        out.put_some("namespace", namespace);
        out.put("name", name);
        out.put(member, &text);
    }
}
