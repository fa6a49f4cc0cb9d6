//! `contents` and `systemInstruction` for an upstream.
//!
//! Google wants alternating turns that begin with the user, all results of a step in one turn and in the order of the
//! calls, the tool's name in every result, and objects where other dialects have text. On Gemini 3 the first call of each
//! step in the current turn must be signed: one that came from elsewhere gets Google's stand-in.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::{model::Capability, reasoning_state};
use crate::{
    codec::{
        NameMap, arguments, block_text,
        field::Name,
        ids,
        json::write::{self, Elements, Members},
        media,
        pairing::{Neighbours, Part, paired, text_of},
    },
    dialect::{Family, Operation},
    ir::{Block, Document, Media, MediaSource, Opaque, Reasoning, Request, Role, Text, ToolCall, ToolResult, Unknown},
    report::Report,
};

/// Marks what the operator said in the middle of a conversation, for which there is no role.
const OPERATOR: &str = "[system] ";

/// Writes `contents` and `systemInstruction`.
pub fn encode(
    request: &Request,
    names: &NameMap,
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let mut parts = paired(&request.turns, Neighbours::Merge);
    let called = called(&parts);
    let mut writer = Writer { names, capability, from, report, tells: false, called };
    writer.settle_roles(&mut parts);
    let current = current_turn(&parts);
    out.list("contents", |out| {
        if parts.first().is_none_or(|part| part.role == Role::Assistant) {
            writer.report.adapted(Name::Messages.field(from), "no leading user turn", "a minimal user turn in front");
            turn("user", out, |out| text_part(" ", out));
        }
        let answered =
            parts.iter().rposition(|part| part.role == Role::Assistant).map_or(0, |last| last.saturating_add(1));
        for (index, part) in parts.iter().enumerate() {
            writer.tells = index < answered;
            match part.role {
                Role::Assistant => writer.model_turn(part, index >= current, out),
                Role::User | Role::System => turn("user", out, |out| writer.user_parts(part, out)),
            }
        }
    });
    let system: Vec<&Block> = request.system.iter().filter(|block| !is_blank(block)).collect();
    if !system.is_empty() {
        out.object("systemInstruction", |out| {
            out.list("parts", |out| system.into_iter().for_each(|block| writer.system_part(block, out)));
        });
    }
}

/// The tool's name of every call.
fn called(parts: &[Part<'_>]) -> BTreeMap<String, String> {
    let calls = parts.iter().flat_map(|part| &part.blocks).filter_map(|block| match block.as_ref() {
        Block::ToolCall(call) => Some((call.id.clone(), call.name.clone())),
        _ => None,
    });
    calls.collect()
}

/// Where the current turn begins: behind the last thing the user said that is no result.
fn current_turn(parts: &[Part<'_>]) -> usize {
    let said = |part: &Part<'_>| {
        part.role != Role::Assistant && part.blocks.iter().any(|block| !matches!(block.as_ref(), Block::ToolResult(_)))
    };
    parts.iter().rposition(said).unwrap_or(0)
}

struct Writer<'a> {
    names: &'a NameMap,
    capability: Capability,
    from: Operation,
    report: &'a mut Report,
    /// Whether the turn that is being written is the model's, or one that it has answered: another vendor's own blocks are
    /// told as text.
    tells: bool,
    called: BTreeMap<String, String>,
}

impl Writer<'_> {
    /// Turns operator's words into the user's, and merges neighbours again.
    fn settle_roles(&mut self, parts: &mut Vec<Part<'_>>) {
        let mut settled: Vec<Part<'_>> = Vec::with_capacity(parts.len());
        for mut part in parts.drain(..) {
            if part.name.is_some() {
                self.report.dropped(Name::Participant.field(self.from));
            }
            part.blocks.retain(|block| !is_blank(block));
            if part.blocks.is_empty() {
                continue;
            }
            if part.role == Role::System {
                self.report.adapted(Name::Role.field(self.from), "system", "user");
                let text = format!("{OPERATOR}{}", text_of(part.blocks.iter().map(AsRef::as_ref)));
                part.blocks = vec![Cow::Owned(Block::Text(Text { text, ..Text::default() }))];
                part.role = Role::User;
            }
            match settled.last_mut() {
                Some(last) if last.role == part.role => last.blocks.append(&mut part.blocks),
                _ => settled.push(part),
            }
        }
        *parts = settled;
    }

    fn system_part(&mut self, block: &Block, out: &mut Elements<'_>) {
        match block {
            Block::Text(text) => {
                self.mark(text.cache.is_some(), Name::SystemCacheMark);
                text_part(&text.text, out);
            }
            _ => self.report.refused(Name::System.field(self.from), "the upstream takes only text here"),
        }
    }

    fn model_turn(&mut self, part: &Part<'_>, is_current: bool, out: &mut Elements<'_>) {
        let must_sign = self.capability.third && is_current;
        let mut first_call = true;
        let mut first_part = true;
        turn("model", out, |out| {
            for block in &part.blocks {
                match block.as_ref() {
                    Block::Text(text) => {
                        self.mark(text.cache.is_some(), Name::CacheMark);
                        if !text.citations.is_empty() {
                            self.report.dropped(Name::Citations.field(self.from));
                        }
                        let stand_in = self.picture_state(text.state.as_ref(), std::mem::take(&mut first_part));
                        signed_text(&text.text, false, own(text.state.as_ref()).or(stand_in.as_ref()), out);
                    }
                    Block::Image(image) => {
                        first_part = false;
                        let state = self.picture_state(image.state.as_ref(), true).or_else(|| image.state.clone());
                        self.media(&Media { state, ..image.clone() }, Name::Image, out);
                    }
                    Block::Refusal(text) => text_part(text, out),
                    Block::Reasoning(reasoning) => self.reasoning(reasoning, out),
                    Block::ToolCall(call) => {
                        let sign = must_sign && std::mem::take(&mut first_call);
                        self.call(call, sign, out);
                    }
                    other => self.part(other, out),
                }
            }
        });
    }

    /// Google's own thoughts go back, and what a client of this dialect calls thoughts; others' are dropped whole.
    fn reasoning(&mut self, reasoning: &Reasoning, out: &mut Elements<'_>) {
        let native = own(reasoning.state.as_ref());
        let unsigned_own = reasoning.state.is_none() && self.from == Operation::GenerateContent;
        if native.is_some() || unsigned_own {
            signed_text(&reasoning.text, !reasoning.text.is_empty(), native, out);
        } else {
            self.report.dropped(Name::Reasoning.field(self.from));
        }
    }

    fn call(&mut self, call: &ToolCall, must_sign: bool, out: &mut Elements<'_>) {
        let object = arguments::as_object(&call.arguments);
        if object.wrapped {
            self.report.adapted(Name::CallArguments.field(self.from), "text", "object");
        }
        let signature = match own(call.state.as_ref()) {
            Some(state) => Some(Cow::Borrowed(state.value.as_str())),
            None if must_sign => {
                self.report.adapted(Name::Call.field(self.from), "unsigned", "skip_thought_signature_validator");
                Some(Cow::Owned(reasoning_state::dummy()))
            }
            None => None,
        };
        self.mark(call.cache.is_some(), Name::CallCacheMark);
        out.object(|out| {
            out.object("functionCall", |out| {
                if self.capability.third {
                    out.put("id", &ids::call_id(&call.id, ids::GEMINI_CALL_ID));
                }
                out.put("name", self.names.sent(&call.name));
                out.put_json("args", &object.json);
            });
            out.put_some("thoughtSignature", signature);
        });
    }

    /// The stand-in for a signature that a picture model demands and that is not there: on the first part of its answer,
    /// and on each picture.
    fn picture_state(&mut self, state: Option<&Opaque>, is_demanded: bool) -> Option<Opaque> {
        if !self.capability.signs_pictures || !is_demanded || own(state).is_some() {
            return None;
        }
        self.report.adapted(Name::Block.field(self.from), "unsigned", "skip_thought_signature_validator");
        Some(Opaque { family: Family::Gemini, value: reasoning_state::dummy() })
    }

    fn user_parts(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let mut beside: Vec<&Block> = Vec::new();
        for block in &part.blocks {
            match block.as_ref() {
                Block::ToolResult(result) => self.result(result, &mut beside, out),
                _ => continue,
            }
        }
        beside.extend(part.blocks.iter().map(AsRef::as_ref).filter(|block| !matches!(block, Block::ToolResult(_))));
        for block in beside {
            self.part(block, out);
        }
    }

    fn result<'b>(&mut self, result: &'b ToolResult, beside: &mut Vec<&'b Block>, out: &mut Elements<'_>) {
        self.mark(result.cache.is_some(), Name::ResultCacheMark);
        let mut text = text_of(&result.content);
        let mut attached: Vec<&Block> = Vec::new();
        for block in &result.content {
            match block {
                Block::Text(_) | Block::Refusal(_) => {}
                Block::Unknown(unknown) if !self.is_own(unknown) => {
                    text.push_str(if text.is_empty() { "" } else { "\n" });
                    text.push_str(&self.tell(unknown));
                }
                other => attached.push(other),
            }
        }
        let name = self.called.get(&result.call_id).or(result.name.as_ref()).cloned().unwrap_or_default();
        let name = self.names.sent(&name).to_owned();
        out.object(|out| {
            out.object("functionResponse", |out| {
                if self.capability.third {
                    out.put("id", &ids::call_id(&result.call_id, ids::GEMINI_CALL_ID));
                }
                out.put("name", &name);
                out.put_json("response", &response(&text, result.is_error == Some(true)));
                if self.capability.third && !attached.is_empty() {
                    out.list("parts", |out| attached.iter().for_each(|block| self.part(block, out)));
                }
            });
        });
        if !self.capability.third {
            beside.extend(attached);
        }
    }

    fn part(&mut self, block: &Block, out: &mut Elements<'_>) {
        match block {
            Block::Text(text) => {
                self.mark(text.cache.is_some(), Name::CacheMark);
                signed_text(&text.text, false, own(text.state.as_ref()), out);
            }
            Block::Refusal(text) => text_part(text, out),
            Block::Image(media) => self.media(media, Name::Image, out),
            Block::Audio(media) => self.media(media, Name::Audio, out),
            Block::Video(media) => self.media(media, Name::Video, out),
            Block::Document(document) => self.document(document, out),
            Block::Reasoning(reasoning) => self.reasoning(reasoning, out),
            Block::Unknown(unknown) if self.is_own(unknown) => out.put(&unknown.raw),
            Block::Unknown(unknown) if self.tells => {
                let told = self.tell(unknown);
                text_part(&told, out);
            }
            Block::Unknown(unknown) => {
                let why = format!("the upstream has no block of type {}", unknown.kind);
                self.report.refused(Name::Block.field(self.from), why);
            }
            Block::ToolCall(_) | Block::ToolResult(_) => {
                self.report.refused(Name::Block.field(self.from), "the upstream takes no such block in this place");
            }
        }
    }

    fn media(&mut self, media: &Media, name: Name, out: &mut Elements<'_>) {
        self.mark(media.cache.is_some(), Name::CacheMark);
        let resolution = match (media.detail.as_deref(), self.capability.third) {
            (None | Some("auto"), _) => None,
            (Some("low"), true) => Some("MEDIA_RESOLUTION_LOW"),
            (Some("high" | "original"), true) => Some("MEDIA_RESOLUTION_HIGH"),
            (Some(_), _) => {
                self.report.dropped(Name::ImageDetail.field(self.from));
                None
            }
        };
        self.source(&media.source, name, out, |out| {
            out.put_some("thoughtSignature", own(media.state.as_ref()).map(|state| &state.value));
            if let Some(level) = resolution {
                out.object("mediaResolution", |out| out.put("level", level));
            }
        });
    }

    fn document(&mut self, document: &Document, out: &mut Elements<'_>) {
        self.mark(document.cache.is_some(), Name::CacheMark);
        if document.citations == Some(true) {
            self.report.dropped(Name::DocumentCitations.field(self.from));
        }
        if document.context.is_some() {
            self.report.dropped(Name::DocumentContext.field(self.from));
        }
        if document.title.is_some() {
            self.report.dropped(Name::DocumentTitle.field(self.from));
        }
        self.source(&document.source, Name::Document, out, |_| ());
    }

    fn source(
        &mut self,
        source: &MediaSource,
        name: Name,
        out: &mut Elements<'_>,
        more: impl FnOnce(&mut Members<'_>),
    ) {
        match source {
            MediaSource::Inline { mime, data } => out.object(|out| {
                out.object("inlineData", |out| {
                    out.put("mimeType", mime);
                    out.put("data", data);
                });
                more(out);
            }),
            MediaSource::Url { url, mime } if url.starts_with("https://") || url.starts_with("gs://") => {
                file(url, mime.as_deref().or_else(|| media::mime_of_name(url)), more, out);
            }
            MediaSource::FileId { family: Family::Gemini, id } => file(id, None, more, out),
            MediaSource::Url { .. } => {
                self.report.refused(name.field_of(source, self.from), "the upstream fetches only https addresses");
            }
            MediaSource::FileId { .. } => {
                let field = name.field_of(source, self.from);
                self.report.refused(field, "a file id of another vendor means nothing there");
            }
        }
    }

    fn is_own(&self, unknown: &Unknown) -> bool {
        unknown.family == Family::Gemini && self.from == Operation::GenerateContent
    }

    /// Another vendor's block in words, with a warning.
    fn tell(&mut self, unknown: &Unknown) -> String {
        self.report.adapted(Name::Block.field(self.from), unknown.kind.clone(), "text");
        block_text::as_text(unknown)
    }

    /// Breakpoints are hints here: caching is implicit.
    fn mark(&mut self, is_marked: bool, name: Name) {
        if is_marked {
            self.report.dropped(name.field(self.from));
        }
    }
}

/// Text that says nothing and carries nothing is no part (hard case 193).
fn is_blank(block: &Block) -> bool {
    matches!(block, Block::Text(text) if text.text.is_empty() && own(text.state.as_ref()).is_none())
}

/// Google's state, and nobody else's.
fn own(state: Option<&Opaque>) -> Option<&Opaque> {
    state.filter(|state| state.family == Family::Gemini)
}

/// A result as the object it must be. JSON that holds a `$ref` would be read as a pointer to a part, so it goes as text
/// (hard case 176).
fn response(text: &str, failed: bool) -> String {
    let trimmed = text.trim();
    let is_object = !failed && trimmed.starts_with('{') && !trimmed.contains("\"$ref\"");
    match serde_json::from_str::<&RawValue>(trimmed) {
        Ok(object) if is_object => object.get().to_owned(),
        _ => write::text(|out| out.put(if failed { "error" } else { "output" }, text)),
    }
}

fn turn(role: &str, out: &mut Elements<'_>, fill: impl FnOnce(&mut Elements<'_>)) {
    out.object(|out| {
        out.put("role", role);
        out.list("parts", fill);
    });
}

fn text_part(text: &str, out: &mut Elements<'_>) {
    signed_text(text, false, None, out);
}

fn signed_text(text: &str, thought: bool, state: Option<&Opaque>, out: &mut Elements<'_>) {
    out.object(|out| {
        out.put("text", text);
        out.put_some("thought", thought.then_some(true));
        out.put_some("thoughtSignature", state.map(|state| &state.value));
    });
}

fn file(uri: &str, mime: Option<&str>, more: impl FnOnce(&mut Members<'_>), out: &mut Elements<'_>) {
    out.object(|out| {
        out.object("fileData", |out| {
            out.put_some("mimeType", mime);
            out.put("fileUri", uri);
        });
        more(out);
    });
}
