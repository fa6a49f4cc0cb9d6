//! `messages` for an upstream.
//!
//! Chat keeps words and calls apart, wants results as messages of their own, and takes only words in them: pictures of a
//! result follow in a user message that names the call. Reasoning of other vendors is dropped whole.

use std::{borrow::Cow, collections::HashSet};

use super::{model::Capability, reasoning_state, response::write_call_state};
use crate::{
    codec::{
        NameMap, block_text, effort,
        field::Name,
        free_form,
        ids::{self, Alphabet},
        json::write::{Elements, Members},
        media,
        openai_request::{FAILED, words_of},
        pairing::{Neighbours, Part, paired, text_of},
    },
    dialect::{Family, Operation},
    ir::{Block, Document, Media, MediaSource, Opaque, Reasoning, Request, Role, Text, ToolCall, ToolResult, Unknown},
    report::Report,
};

/// Writes all messages.
pub fn encode(
    request: &Request,
    (names, custom): (&NameMap, &HashSet<&str>),
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Elements<'_>,
) {
    let mut writer = Writer { request, names, capability, custom, from, report, is_answered: false };
    writer.system(out);
    let parts = paired(&request.turns, Neighbours::Keep);
    let answered = parts.iter().rposition(|part| part.role == Role::Assistant).unwrap_or(0);
    for (index, part) in parts.into_iter().enumerate() {
        writer.is_answered = index < answered;
        match part.role {
            Role::System => writer.later_system(&part, out),
            Role::User => writer.user(&part, out),
            Role::Assistant => writer.assistant(&part, out),
        }
    }
}

struct Writer<'a> {
    request: &'a Request,
    names: &'a NameMap,
    capability: Capability,
    /// The tools that take free-form text.
    custom: &'a HashSet<&'a str>,
    from: Operation,
    report: &'a mut Report,
    /// Whether the model has answered what is being written: then it is history, and told as such.
    is_answered: bool,
}

impl Writer<'_> {
    fn system(&mut self, out: &mut Elements<'_>) {
        let mut texts: Vec<&str> = Vec::new();
        for block in &self.request.system {
            match block {
                Block::Text(text) => {
                    self.mark(text.cache.is_some(), Name::SystemCacheMark);
                    if !text.text.is_empty() {
                        texts.push(&text.text);
                    }
                }
                _ => self.report.refused(Name::System.field(self.from), "the upstream takes only text here"),
            }
        }
        if !texts.is_empty() {
            message(out, "system", None, |out| out.put("content", &texts.join("\n\n")));
        }
    }

    fn later_system(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let words = text_of(part.blocks.iter().map(AsRef::as_ref));
        if !part.blocks.iter().all(|block| is_words(block)) {
            self.report.refused(Name::System.field(self.from), "the upstream takes only text here");
        }
        message(out, "system", part.name, |out| out.put("content", &words));
    }

    /// Results first, each a message; then their pictures; then what the user said.
    fn user(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let mut attached: Vec<(&ToolResult, &Block)> = Vec::new();
        let mut said: Vec<&Block> = Vec::new();
        for block in &part.blocks {
            match block.as_ref() {
                Block::ToolResult(result) => {
                    self.mark(result.cache.is_some(), Name::ResultCacheMark);
                    self.result(result, out);
                    let beside =
                        result.content.iter().filter(|block| !is_words(block) && media::text_document(block).is_none());
                    attached.extend(beside.map(|block| (result, block)));
                }
                other => said.push(other),
            }
        }
        if !attached.is_empty() {
            message(out, "user", None, |out| {
                out.list("content", |out| {
                    for (result, block) in attached {
                        let id = ids::call_id(&result.call_id, self.capability.call_ids);
                        text(&format!("Attachment of tool result {id}:"), out);
                        match block {
                            Block::Unknown(unknown) if !self.is_own(unknown) => text(&self.tell(unknown), out),
                            block => self.part(block, out),
                        }
                    }
                });
            });
        }
        if !said.is_empty() {
            self.said(&said, part.name, out);
        }
    }

    /// One text is a string, anything else a list of parts. A message that says nothing is skipped.
    fn said(&mut self, said: &[&Block], name: Option<&str>, out: &mut Elements<'_>) {
        match said {
            [Block::Text(only)] => {
                self.mark(only.cache.is_some(), Name::CacheMark);
                message(out, "user", name, |out| out.put("content", &only.text));
            }
            blocks => message(out, "user", name, |out| {
                out.list("content", |out| blocks.iter().for_each(|block| self.part(block, out)));
            }),
        }
    }

    fn result(&mut self, result: &ToolResult, out: &mut Elements<'_>) {
        let documents = result.content.iter().any(|block| media::text_document(block).is_some());
        let words = if documents { words_of(&result.content) } else { text_of(&result.content) };
        let content = if result.is_error == Some(true) { Cow::Owned(format!("{FAILED}{words}")) } else { words.into() };
        message(out, "tool", None, |out| {
            out.put("tool_call_id", &ids::call_id(&result.call_id, self.capability.call_ids));
            out.put("content", &content);
        });
    }

    fn assistant(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let (mut words, mut refusal, mut reasoning) = (String::new(), None::<String>, String::new());
        let mut calls: Vec<&ToolCall> = Vec::new();
        let mut details: Vec<(Option<&str>, &Opaque, bool)> = Vec::new();
        for block in &part.blocks {
            match block.as_ref() {
                Block::Text(text) => {
                    self.mark(text.cache.is_some(), Name::CacheMark);
                    if !text.citations.is_empty() {
                        self.report.dropped(Name::Citations.field(self.from));
                    }
                    details.extend(text.state.as_ref().map(|state| (None, state, false)));
                    words.push_str(&text.text);
                }
                Block::Refusal(text) => refusal.get_or_insert_default().push_str(text),
                Block::ToolCall(call) => calls.push(call),
                Block::Reasoning(block) if self.from == Operation::ChatCompletions => {
                    let text = (!block.redacted).then_some(block.text.as_str());
                    let state = block.state.as_ref().filter(|state| !state.value.is_empty());
                    details.extend(state.map(|state| (text, state, block.redacted)));
                    reasoning.push_str(&block.text);
                }
                Block::Reasoning(block) if self.returns(block) => reasoning.push_str(&block.text),
                Block::Reasoning(_) => self.report.dropped(Name::Reasoning.field(self.from)),
                Block::Unknown(unknown) if !self.is_own(unknown) => {
                    let told = self.tell(unknown);
                    words.push_str(if words.is_empty() { "" } else { "\n" });
                    words.push_str(&told);
                    words.push('\n');
                }
                // This endpoint takes no media of the model's.
                media => match media::name(media).zip(media::stand_in(media)) {
                    Some((kind, note)) => {
                        self.report.adapted(Name::Block.field(self.from), kind, "text");
                        words.push_str(if words.is_empty() { "" } else { "\n" });
                        words.push_str(&note);
                    }
                    None => self.refuse(media),
                },
            }
        }
        if words.is_empty() && refusal.is_none() && calls.is_empty() {
            return;
        }
        let carries = self.from == Operation::ChatCompletions;
        if !carries && (!details.is_empty() || calls.iter().any(|call| call.state.is_some())) {
            // State of a vendor that this dialect's servers are not.
            self.report.dropped(Name::Reasoning.field(self.from));
        }
        details.retain(|_| carries);
        self.mark(calls.iter().any(|call| call.cache.is_some()), Name::CallCacheMark);
        self.demand(&mut reasoning);
        let (custom, names, ids) = (self.custom, self.names, self.capability.call_ids);
        message(out, "assistant", part.name, |out| {
            out.put("content", &(!words.is_empty()).then_some(&words));
            out.put_some("refusal", refusal.as_deref());
            out.put_some("reasoning_content", (!reasoning.is_empty()).then_some(&reasoning));
            if !details.is_empty() {
                out.list("reasoning_details", |out| {
                    for (index, (text, state, redacted)) in details.into_iter().enumerate() {
                        reasoning_state::encode(text, state, redacted, index, out);
                    }
                });
            }
            if !calls.is_empty() {
                out.list("tool_calls", |out| {
                    for call in &calls {
                        out.object(|out| {
                            encode_call(call, custom, (names, ids), out);
                            if let Some(state) = call.state.as_ref().filter(|_| carries) {
                                write_call_state(state, out);
                            }
                        });
                    }
                });
            }
        });
    }

    fn part(&mut self, block: &Block, out: &mut Elements<'_>) {
        match block {
            Block::Text(Text { text: words, cache, .. }) => {
                self.mark(cache.is_some(), Name::CacheMark);
                text(words, out);
            }
            Block::Refusal(words) => text(words, out),
            Block::Image(image) => self.image(image, out),
            Block::Audio(audio) => self.audio(audio, out),
            Block::Document(document) => self.document(document, out),
            Block::Unknown(unknown) if unknown.family == Family::OpenAi && self.from == Operation::ChatCompletions => {
                out.put(&unknown.raw);
            }
            Block::Unknown(unknown) if self.is_answered => text(&self.tell(unknown), out),
            other => self.refuse(other),
        }
    }

    fn image(&mut self, image: &Media, out: &mut Elements<'_>) {
        self.mark(image.cache.is_some(), Name::CacheMark);
        let url = match &image.source {
            MediaSource::Inline { mime, data } => Cow::Owned(media::to_data_url(mime, data)),
            MediaSource::Url { url, .. } => Cow::Borrowed(url.as_str()),
            MediaSource::FileId { .. } => {
                let field = Name::Image.field_of(&image.source, self.from);
                self.report.refused(field, "the upstream takes no file ids for images");
                return;
            }
        };
        out.object(|out| {
            out.put("type", "image_url");
            out.object("image_url", |out| {
                out.put("url", &url);
                out.put_some("detail", image.detail.as_deref());
            });
        });
    }

    fn audio(&mut self, audio: &Media, out: &mut Elements<'_>) {
        match &audio.source {
            MediaSource::Inline { mime, data } if media::audio_format(mime).is_some() => out.object(|out| {
                out.put("type", "input_audio");
                out.object("input_audio", |out| {
                    out.put("data", data);
                    out.put_some("format", media::audio_format(mime));
                });
            }),
            source => {
                let field = Name::Audio.field_of(source, self.from);
                self.report.refused(field, "the upstream takes only inline wav and mp3");
            }
        }
    }

    fn document(&mut self, document: &Document, out: &mut Elements<'_>) {
        self.mark(document.cache.is_some(), Name::CacheMark);
        if document.citations == Some(true) {
            self.report.dropped(Name::DocumentCitations.field(self.from));
        }
        if document.context.is_some() {
            self.report.dropped(Name::DocumentContext.field(self.from));
        }
        let file = |out: &mut Elements<'_>, fill: &dyn Fn(&mut Members<'_>)| {
            out.object(|out| {
                out.put("type", "file");
                out.object("file", fill);
            });
        };
        match &document.source {
            MediaSource::Inline { mime, data } if let Some(words) = media::words(mime, data) => {
                // This endpoint takes PDF alone as a file; what is text anyway is said as text.
                match &document.title {
                    Some(title) => text(&format!("{title}:\n{words}"), out),
                    None => text(&words, out),
                }
            }
            MediaSource::Inline { mime, data } => file(out, &|out| {
                out.put("filename", document.title.as_deref().unwrap_or("document"));
                out.put("file_data", &media::to_data_url(mime, data));
            }),
            MediaSource::FileId { family: Family::OpenAi, id } => file(out, &|out| out.put("file_id", id)),
            MediaSource::Url { .. } => {
                let field = Name::Document.field_of(&document.source, self.from);
                self.report.refused(field, "the upstream takes no addresses of documents");
            }
            MediaSource::FileId { .. } => {
                let field = Name::Document.field_of(&document.source, self.from);
                self.report.refused(field, "a file id of another vendor means nothing there");
            }
        }
    }

    /// Whether reasoning was a Chat server's and this may be that server: it demands its own words back (DeepSeek and
    /// Kimi answer 400 to a tool turn without them), while OpenAI's own models take none.
    fn returns(&self, reasoning: &Reasoning) -> bool {
        let issuer = reasoning.state.as_ref().filter(|state| state.value.is_empty()).map(|state| state.family);
        self.capability.takes_reasoning && issuer == Some(Family::OpenAi)
    }

    /// Puts a blank in the place of reasoning that another model never gave, where the server demands some: it refuses the
    /// whole conversation otherwise, and takes an empty text for none.
    fn demand(&mut self, reasoning: &mut String) {
        let thinks = !effort::is_off(&self.request.reasoning) && self.from != Operation::ChatCompletions;
        if self.capability.demands_reasoning && thinks && reasoning.is_empty() {
            self.report.adapted(Name::Reasoning.field(self.from), "none", "a blank");
            reasoning.push(' ');
        }
    }

    fn is_own(&self, unknown: &Unknown) -> bool {
        unknown.family == Family::OpenAi && self.from == Operation::ChatCompletions
    }

    /// Another vendor's block in words, with a warning.
    fn tell(&mut self, unknown: &Unknown) -> String {
        self.report.adapted(Name::Block.field(self.from), unknown.kind.clone(), "text");
        block_text::as_text(unknown)
    }

    fn refuse(&mut self, block: &Block) {
        let (name, why) = match block {
            Block::Video(_) => (Name::Video, Cow::Borrowed("the upstream takes no video")),
            Block::Unknown(unknown) => {
                (Name::Block, format!("the upstream has no block of type {}", unknown.kind).into())
            }
            Block::Reasoning(_) => {
                self.report.dropped(Name::Reasoning.field(self.from));
                return;
            }
            _ => (Name::Block, Cow::Borrowed("the upstream takes no such block in this place")),
        };
        self.report.refused(name.field(self.from), why);
    }

    /// Breakpoints are hints here: caching is implicit.
    fn mark(&mut self, is_marked: bool, name: Name) {
        if is_marked {
            self.report.dropped(name.field(self.from));
        }
    }
}

fn encode_call(call: &ToolCall, custom: &HashSet<&str>, (names, ids): (&NameMap, Alphabet), out: &mut Members<'_>) {
    out.put("id", &ids::call_id(&call.id, ids));
    let name = names.sent(&call.name);
    if custom.contains(call.name.as_str()) {
        out.put("type", "custom");
        out.object("custom", |out| {
            out.put("name", name);
            out.put("input", &free_form::unwrap(&call.arguments));
        });
    } else {
        let blank = call.arguments.trim().is_empty();
        out.put("type", "function");
        out.object("function", |out| {
            out.put("name", name);
            out.put("arguments", if blank { "{}" } else { &call.arguments });
        });
    }
}

fn message(out: &mut Elements<'_>, role: &str, name: Option<&str>, fill: impl FnOnce(&mut Members<'_>)) {
    out.object(|out| {
        out.put("role", role);
        out.put_some("name", name);
        fill(out);
    });
}

fn text(words: &str, out: &mut Elements<'_>) {
    out.object(|out| {
        out.put("type", "text");
        out.put("text", words);
    });
}

const fn is_words(block: &Block) -> bool {
    matches!(block, Block::Text(_) | Block::Refusal(_))
}
