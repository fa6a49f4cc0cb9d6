//! Blocks of a request, written for Converse (docs/protocols/mapping.md).
//!
//! [`fits`] decides and says why not, before messages are arranged; a [`Writer`] writes what fits. A block has exactly one
//! member, so that a cache mark is an element of its own right behind the block it hangs on; that of a tool's result, or
//! of something in it, stands behind the result and never inside.

use std::collections::{HashMap, HashSet};

use super::{
    formats::{Kind, blob},
    models::{Marks, Model, Vendor},
};
use crate::{
    codec::{
        arguments, block_text,
        field::Name,
        ids::{BEDROCK_CALL_ID, call_id},
        json::write::{Elements, Members},
        media,
        messages::{
            context::Context,
            piece::{Message, Piece, says_nothing},
        },
    },
    dialect::Family,
    ir::{Block, CacheMark, Document, MediaSource, Reasoning, Role, ToolCall, ToolResult},
};

/// The content of a result that has none. Empty and blank texts are refused.
const NO_OUTPUT: &str = "(no output)";
/// The result of a call that nobody answered.
const NO_ANSWER: &str = "The application gave no result for this call.";
/// Stands before a failure where results cannot say that they are one.
const FAILED: &str = "The tool failed:";
/// Longest name of a document, in characters.
const MAX_NAME: usize = 200;
/// What a document is called that has no name.
const NAMELESS: &str = "document";
/// A document may not stand without words.
const WORDS: &str = ".";

/// Where a block's bytes are.
enum Source<'a> {
    Bytes(&'a str),
    S3(&'a str),
}

/// Whether the block can be sent. Says to the report why not.
pub fn fits(block: &Block, model: &Model, context: &mut Context<'_>) -> bool {
    match block {
        Block::Text(text) => !says_nothing(text),
        Block::Refusal(text) => !text.trim().is_empty(),
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) if context.is_model => {
            context.adapted(Name::Block, media::name(block).unwrap_or_default(), "text");
            true
        }
        Block::Image(picture) => {
            if picture.detail.as_deref().is_some_and(|detail| detail != "auto") {
                context.dropped(Name::ImageDetail);
            }
            is_taken(&picture.source, Kind::Image, context)
        }
        Block::Document(document) => is_taken(&document.source, Kind::Document, context),
        Block::Video(film) if model.video => is_taken(&film.source, Kind::Video, context),
        Block::Video(film) => {
            context.refused_media(Name::Video, &film.source, "the model takes no video");
            false
        }
        Block::Audio(sound) if matches!(model.vendor, Vendor::Unknown | Vendor::Mistral) => {
            is_taken(&sound.source, Kind::Audio, context)
        }
        Block::Audio(sound) => {
            context.refused_media(Name::Audio, &sound.source, "the model takes no audio");
            false
        }
        Block::ToolCall(call) => {
            if arguments::as_object(&call.arguments).wrapped {
                context.adapted(Name::CallArguments, "no object", "wrapped");
            }
            true
        }
        Block::ToolResult(_) => true,
        // Unsigned reasoning, and another model's, is refused (hard case 249).
        Block::Reasoning(reasoning) => {
            let native = native_state(reasoning, model).is_some();
            if !native {
                context.dropped(Name::Reasoning);
            }
            native
        }
        Block::Unknown(unknown) if unknown.family == Family::Bedrock => true,
        Block::Unknown(unknown) if context.is_model || context.is_answered => {
            context.report.adapted(Name::Block.field(context.from), unknown.kind.clone(), "text");
            true
        }
        Block::Unknown(_) => {
            context.refused(Name::Block, "Converse has no such content");
            false
        }
    }
}

/// Whether media can be sent from where they are. Says to the report why not.
fn is_taken(source: &MediaSource, kind: Kind, context: &mut Context<'_>) -> bool {
    let name = match kind {
        Kind::Image => Name::Image,
        Kind::Video => Name::Video,
        Kind::Audio => Name::Audio,
        Kind::Document => Name::Document,
    };
    located(source, kind).map_err(|why| context.refused_media(name, source, why)).is_ok()
}

/// Writes messages.
pub struct Writer<'w, 'c> {
    /// The upstream's model.
    pub model: Model,
    /// What became of the client's fields.
    pub context: &'w mut Context<'c>,
    /// Names of documents so far: no two may have the same.
    names: HashSet<String>,
    /// How many documents there are whose titles come to the same name.
    numbers: HashMap<String, u32>,
}

impl<'w, 'c> Writer<'w, 'c> {
    /// For one request.
    pub fn new(model: Model, context: &'w mut Context<'c>) -> Self {
        Self { model, context, names: HashSet::new(), numbers: HashMap::new() }
    }

    /// Writes one message.
    pub fn message(&mut self, message: &Message<'_>, to: &mut Elements<'_>) {
        self.context.is_model = message.role == Role::Assistant;
        let is_words = |piece: &Piece<'_>| match piece {
            Piece::Block(block) => matches!(block, Block::Text(_) | Block::Refusal(_)),
            Piece::Words(_) | Piece::Prefill(_) => true,
            Piece::Unanswered(_) => false,
        };
        let is_document = |piece: &Piece<'_>| matches!(piece, Piece::Block(Block::Document(_)));
        to.object(|o| {
            o.put(
                "role",
                match message.role {
                    Role::User => "user",
                    Role::Assistant => "assistant",
                    Role::System => "system",
                },
            );
            o.list("content", |content| {
                message.pieces.iter().for_each(|piece| self.piece(*piece, content));
                if message.pieces.iter().any(is_document) && !message.pieces.iter().any(is_words) {
                    self.context.adapted(Name::Text, "none", "placeholder");
                    text(WORDS, content);
                }
            });
        });
    }

    fn piece(&mut self, piece: Piece<'_>, to: &mut Elements<'_>) {
        match piece {
            Piece::Block(block) => self.block(block, to),
            Piece::Words(words) | Piece::Prefill(words) => text(words, to),
            Piece::Unanswered(id) => to.object(|o| {
                o.object("toolResult", |o| {
                    o.put("toolUseId", &call_id(id, BEDROCK_CALL_ID));
                    o.list("content", |list| text(NO_ANSWER, list));
                    if self.model.rich_results {
                        o.put("status", "error");
                    }
                });
            }),
        }
    }

    /// Writes a block that fits.
    pub fn block(&mut self, block: &Block, to: &mut Elements<'_>) {
        match block {
            Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) if self.context.is_model => {
                text(&media::stand_in(block).unwrap_or_default(), to);
            }
            Block::Text(said) => {
                text(&said.text, to);
                self.mark(said.cache.as_ref(), Name::CacheMark, to);
            }
            Block::Refusal(words) => text(words, to),
            Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) => {
                let cache = self.media(block, to).cloned();
                self.mark(cache.as_ref(), Name::CacheMark, to);
            }
            Block::ToolCall(asked) => {
                self.call(asked, to);
                self.mark(asked.cache.as_ref(), Name::CallCacheMark, to);
            }
            Block::ToolResult(answer) => {
                self.result(answer, to);
                let inner = answer.content.iter().find_map(mark_of);
                self.mark(answer.cache.as_ref().or(inner), Name::ResultCacheMark, to);
            }
            Block::Reasoning(thought) => self.reasoning(thought, to),
            Block::Unknown(unknown) if unknown.family == Family::Bedrock => to.put_json(unknown.raw.get()),
            Block::Unknown(unknown) => text(&block_text::as_text(unknown), to),
        }
    }

    /// Writes a cache point, if there is a mark, room for it and a model that takes one.
    pub fn mark(&mut self, mark: Option<&CacheMark>, name: Name, to: &mut Elements<'_>) {
        let Some(mark) = mark else { return };
        let is_taken = match self.model.marks {
            Marks::None => false,
            Marks::Prompt => name != Name::ToolCacheMark,
            Marks::Short | Marks::Long => true,
        };
        if !is_taken {
            return self.context.dropped(name);
        }
        let Some(mut ttl) = self.context.mark(Some(mark)) else { return };
        if self.model.marks != Marks::Long {
            if ttl == Some("1h") {
                self.context.adapted(name, "1h", "5m");
            }
            ttl = None;
        }
        to.object(|o| {
            o.object("cachePoint", |o| {
                o.put("type", "default");
                o.put_some("ttl", ttl);
            });
        });
    }

    /// Writes media; gives the mark that hangs on them.
    fn media<'b>(&mut self, block: &'b Block, to: &mut Elements<'_>) -> Option<&'b CacheMark> {
        let (member, kind, source, cache) = match block {
            Block::Image(media) => ("image", Kind::Image, &media.source, &media.cache),
            Block::Audio(media) => ("audio", Kind::Audio, &media.source, &media.cache),
            Block::Video(media) => ("video", Kind::Video, &media.source, &media.cache),
            Block::Document(document) => ("document", Kind::Document, &document.source, &document.cache),
            _ => return None,
        };
        let Ok((format, found)) = located(source, kind) else { return None };
        to.object(|o| {
            o.object(member, |o| {
                o.put("format", format);
                if let Block::Document(document) = block {
                    o.put("name", &self.name(document));
                }
                o.object("source", |o| write_source(&found, o));
                if let Block::Document(document) = block {
                    o.put_some("context", document.context.as_ref());
                    if let Some(enabled) = document.citations {
                        o.object("citations", |citations| citations.put("enabled", &enabled));
                    }
                }
            });
        });
        cache.as_ref()
    }

    /// A document's name in Bedrock's alphabet, which no document before it has.
    fn name(&mut self, document: &Document) -> String {
        let plain = plain_name(document.title.as_deref().unwrap_or_default());
        let number = self.numbers.entry(plain.clone()).or_insert(0);
        let mut name = plain.clone();
        loop {
            *number = number.saturating_add(1);
            if *number > 1 {
                name = format!("{plain} {number}");
            }
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }

    fn call(&mut self, call: &ToolCall, to: &mut Elements<'_>) {
        to.object(|o| {
            o.object("toolUse", |o| {
                o.put("toolUseId", &call_id(&call.id, BEDROCK_CALL_ID));
                o.put("name", self.context.names.sent(&call.name));
                o.put_json("input", &arguments::as_object(&call.arguments).json);
            });
        });
    }

    fn result(&mut self, result: &ToolResult, to: &mut Elements<'_>) {
        let tells_failure = result.is_error == Some(true) && !self.model.rich_results;
        to.object(|o| {
            o.object("toolResult", |o| {
                o.put("toolUseId", &call_id(&result.call_id, BEDROCK_CALL_ID));
                o.list("content", |list| {
                    if tells_failure {
                        text(FAILED, list);
                    }
                    result.content.iter().for_each(|block| self.in_result(block, list));
                    if list.is_empty() {
                        text(NO_OUTPUT, list);
                    }
                });
                if self.model.rich_results {
                    o.put_some("status", result.is_error.map(|failed| if failed { "error" } else { "success" }));
                }
            });
        });
    }

    fn in_result(&mut self, block: &Block, to: &mut Elements<'_>) {
        match block {
            Block::Unknown(unknown) if unknown.family != Family::Bedrock => {
                self.context.adapted(Name::Block, unknown.kind.clone(), "text");
                text(&block_text::as_text(unknown), to);
            }
            Block::Image(picture) if !self.model.rich_results => {
                self.context.refused_media(
                    Name::Image,
                    &picture.source,
                    "the model takes no images in results of tools",
                );
            }
            Block::Audio(sound) => {
                self.context.refused_media(Name::Audio, &sound.source, "Bedrock takes no audio in results of tools");
            }
            block if !fits(block, &self.model, self.context) => {}
            Block::Text(said) => text(&said.text, to),
            Block::Refusal(words) => text(words, to),
            Block::Image(_) | Block::Video(_) | Block::Document(_) => {
                self.media(block, to);
            }
            Block::Unknown(unknown) => to.put_json(unknown.raw.get()),
            // None of them stands in a result.
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Reasoning(_) => {}
        }
    }

    fn reasoning(&mut self, reasoning: &Reasoning, to: &mut Elements<'_>) {
        let Some(state) = native_state(reasoning, &self.model) else { return };
        to.object(|o| {
            o.object("reasoningContent", |o| {
                if reasoning.redacted {
                    o.put("redactedContent", &blob(state));
                } else {
                    o.object("reasoningText", |o| {
                        // Demanded, also where there is none (hard case 156).
                        o.put("text", &reasoning.text);
                        o.put("signature", state);
                    });
                }
            });
        });
    }
}

/// Writes a text block.
pub fn text(words: &str, to: &mut Elements<'_>) {
    to.object(|o| o.put("text", words));
}

/// The mark on a block of a result.
fn mark_of(block: &Block) -> Option<&CacheMark> {
    match block {
        Block::Text(text) => text.cache.as_ref(),
        Block::Image(media) => media.cache.as_ref(),
        Block::Document(document) => document.cache.as_ref(),
        _ => None,
    }
}

/// State that the model itself issued: only Claude signs its reasoning.
fn native_state<'r>(reasoning: &'r Reasoning, model: &Model) -> Option<&'r str> {
    let state = reasoning.state.as_ref().filter(|state| state.family == Family::Anthropic)?;
    matches!(model.vendor, Vendor::Claude | Vendor::Unknown).then_some(state.value.as_str())
}

/// Where bytes are, and their format.
fn located(source: &MediaSource, kind: Kind) -> Result<(&'static str, Source<'_>), &'static str> {
    match source {
        MediaSource::Inline { mime, data } => match kind.format(mime) {
            Some(format) => Ok((format, Source::Bytes(data))),
            None => Err(match kind {
                Kind::Image => "Bedrock takes PNG, JPEG, GIF and WebP images",
                Kind::Document => "Bedrock takes PDF, Office, HTML, CSV, Markdown and plain text documents",
                Kind::Video => "Bedrock takes no video of this format",
                Kind::Audio => "Bedrock takes no audio of this format",
            }),
        },
        MediaSource::FileId { family: Family::Bedrock, id } => {
            let format = media::mime_of_name(id).and_then(|mime| kind.format(mime));
            format.map(|format| (format, Source::S3(id))).ok_or("the format does not show in the object's name")
        }
        MediaSource::FileId { .. } => Err("file ids of another vendor mean nothing to Bedrock"),
        MediaSource::Url { .. } => Err("Bedrock fetches no addresses; send the bytes"),
    }
}

fn write_source(source: &Source<'_>, to: &mut Members<'_>) {
    match source {
        Source::Bytes(data) => to.put("bytes", data),
        Source::S3(uri) => to.object("s3Location", |o| o.put("uri", uri)),
    }
}

/// A title in the characters that names of documents may have: letters, digits, single spaces, `-`, `(`, `)`, `[`, `]`.
fn plain_name(title: &str) -> String {
    let mut name = String::new();
    for letter in title.chars() {
        let letter = match letter {
            letter if letter.is_ascii_alphanumeric() || "-()[]".contains(letter) => letter,
            letter if letter.is_whitespace() => ' ',
            _ => '-',
        };
        if !(letter == ' ' && (name.is_empty() || name.ends_with(' '))) {
            name.push(letter);
        }
        // Room for a number behind it.
        if name.len() >= MAX_NAME - 12 {
            break;
        }
    }
    name.truncate(name.trim_end().len());
    if name.is_empty() { NAMELESS.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_have_bedrocks_letters() {
        for (title, name) in [
            ("report.pdf", "report-pdf"),
            ("  a \t b  ", "a b"),
            ("größe_1", "gr--e-1"),
            ("", "document"),
            ("   ", "document"),
            ("f (1) [x]-y", "f (1) [x]-y"),
        ] {
            assert_eq!(plain_name(title), name);
        }
        assert!(plain_name(&"x y ".repeat(1_000)).len() < 200);
    }
}
