//! Blocks of a request, written for Anthropic (docs/protocols/mapping.md).
//!
//! Two passes over a block: [`fits`] decides and says why not, before messages are arranged; [`write`] writes what fits.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    citations,
    context::Context,
    piece::{Piece, says_nothing},
};
use crate::{
    codec::{
        arguments, block_text,
        field::Name,
        ids::{ANTHROPIC_CALL_ID, call_id},
        json::write::{Elements, Members},
        media,
    },
    dialect::Family,
    ir::{Block, CacheMark, Document, Media, MediaSource, Reasoning, ToolCall, ToolResult},
};

/// Media types of pictures that Anthropic takes.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";
/// The content of a result that has none. Empty and blank texts are refused.
const NO_OUTPUT: &str = "(no output)";
/// The result of a call that nobody answered.
const NO_ANSWER: &str = "The application gave no result for this call.";

/// What `source` is written as.
enum Source<'a> {
    Base64 { mime: &'a str, data: &'a str },
    Text(String),
    Url(&'a str),
    File(&'a str),
}

/// Whether the block can be sent. Says to the report why not.
pub fn fits(block: &Block, context: &mut Context<'_>) -> bool {
    match block {
        Block::Text(text) => !says_nothing(text),
        Block::Refusal(text) => !text.trim().is_empty(),
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) if context.is_model => {
            // Anthropic takes no media of the model's.
            context.adapted(Name::Block, media::name(block).unwrap_or_default(), "text");
            true
        }
        Block::Image(media) => {
            if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
                context.dropped(Name::ImageDetail);
            }
            picture(&media.source).map_err(|why| context.refused_media(Name::Image, &media.source, why)).is_ok()
        }
        Block::Document(document) => {
            let source = &document.source;
            paper(source).map_err(|why| context.refused_media(Name::Document, source, why)).is_ok()
        }
        Block::Audio(media) => {
            context.refused_media(Name::Audio, &media.source, "Anthropic takes no audio");
            false
        }
        Block::Video(media) => {
            context.refused_media(Name::Video, &media.source, "Anthropic takes no video");
            false
        }
        Block::ToolCall(call) => {
            if arguments::as_object(&call.arguments).wrapped {
                context.adapted(Name::CallArguments, "no object", "wrapped");
            }
            true
        }
        Block::ToolResult(_) => true,
        // Foreign and unsigned reasoning is refused by Anthropic; without its signature it would be as well.
        Block::Reasoning(reasoning) => {
            let native = native_state(reasoning).is_some();
            if !native {
                context.dropped(Name::Reasoning);
            }
            native
        }
        Block::Unknown(unknown) => {
            let native = unknown.family == Family::Anthropic;
            if !native && (context.is_model || context.is_answered) {
                context.report.adapted(Name::Block.field(context.from), unknown.kind.clone(), "text");
                return true;
            }
            if !native {
                context.refused(Name::Block, "Anthropic has no such content");
            }
            native
        }
    }
}

/// Writes one part of a message.
pub fn piece(piece: Piece<'_>, to: &mut Elements<'_>, context: &mut Context<'_>) {
    match piece {
        Piece::Block(block) => write(block, to, context),
        Piece::Words(words) | Piece::Prefill(words) => text(words, to),
        Piece::Unanswered(id) => to.object(|o| {
            o.put("type", "tool_result");
            o.put("tool_use_id", &call_id(id, ANTHROPIC_CALL_ID));
            o.list("content", |list| text(NO_ANSWER, list));
            o.put("is_error", &true);
        }),
    }
}

/// Writes a block that fits.
pub fn write(block: &Block, to: &mut Elements<'_>, context: &mut Context<'_>) {
    match block {
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) if context.is_model => {
            text(&media::stand_in(block).unwrap_or_default(), to);
        }
        Block::Text(said) => to.object(|o| {
            o.put("type", "text");
            o.put("text", &said.text);
            citations::put(&said.citations, o);
            mark(said.cache.as_ref(), o, context);
        }),
        Block::Refusal(words) => text(words, to),
        Block::Image(media) => image(media, to, context),
        Block::Document(paper) => document(paper, to, context),
        Block::ToolCall(asked) => call(asked, to, context),
        Block::ToolResult(answer) => result(answer, to, context),
        Block::Reasoning(thought) => reasoning(thought, to),
        Block::Unknown(unknown) if unknown.family == Family::Anthropic => to.put_json(unknown.raw.get()),
        Block::Unknown(unknown) => text(&block_text::as_text(unknown), to),
        Block::Audio(_) | Block::Video(_) => {}
    }
}

/// Writes a text block of ours.
pub fn text(words: &str, to: &mut Elements<'_>) {
    to.object(|o| {
        o.put("type", "text");
        o.put("text", words);
    });
}

/// Writes `cache_control`, if there is a mark and room for it.
pub fn mark(cache: Option<&CacheMark>, to: &mut Members<'_>, context: &mut Context<'_>) {
    if let Some(ttl) = context.mark(cache) {
        to.object("cache_control", |o| {
            o.put("type", "ephemeral");
            o.put_some("ttl", ttl);
        });
    }
}

fn image(media: &Media, to: &mut Elements<'_>, context: &mut Context<'_>) {
    let Ok(found) = picture(&media.source) else { return };
    to.object(|o| {
        o.put("type", "image");
        source(&found, o);
        mark(media.cache.as_ref(), o, context);
    });
}

fn document(document: &Document, to: &mut Elements<'_>, context: &mut Context<'_>) {
    let Ok(found) = paper(&document.source) else { return };
    to.object(|o| {
        o.put("type", "document");
        source(&found, o);
        o.put_some("title", document.title.as_ref());
        o.put_some("context", document.context.as_ref());
        if let Some(enabled) = document.citations {
            o.object("citations", |citations| citations.put("enabled", &enabled));
        }
        mark(document.cache.as_ref(), o, context);
    });
}

fn call(call: &ToolCall, to: &mut Elements<'_>, context: &mut Context<'_>) {
    to.object(|o| {
        o.put("type", "tool_use");
        o.put("id", &call_id(&call.id, ANTHROPIC_CALL_ID));
        o.put("name", context.names.sent(&call.name));
        o.put_json("input", &arguments::as_object(&call.arguments).json);
        mark(call.cache.as_ref(), o, context);
    });
}

fn result(result: &ToolResult, to: &mut Elements<'_>, context: &mut Context<'_>) {
    to.object(|o| {
        o.put("type", "tool_result");
        o.put("tool_use_id", &call_id(&result.call_id, ANTHROPIC_CALL_ID));
        o.list("content", |list| {
            for block in &result.content {
                match block {
                    Block::Unknown(unknown) if unknown.family != Family::Anthropic => {
                        context.adapted(Name::Block, unknown.kind.clone(), "text");
                        text(&block_text::as_text(unknown), list);
                    }
                    block if fits(block, context) => write(block, list, context),
                    _ => {}
                }
            }
            if list.is_empty() {
                text(NO_OUTPUT, list);
            }
        });
        o.put_some("is_error", result.is_error);
        mark(result.cache.as_ref(), o, context);
    });
}

fn reasoning(reasoning: &Reasoning, to: &mut Elements<'_>) {
    let Some(state) = native_state(reasoning) else { return };
    to.object(|o| {
        if reasoning.redacted {
            o.put("type", "redacted_thinking");
            o.put("data", state);
        } else {
            o.put("type", "thinking");
            o.put("thinking", &reasoning.text);
            o.put("signature", state);
        }
    });
}

fn native_state(reasoning: &Reasoning) -> Option<&str> {
    let state = reasoning.state.as_ref()?;
    (state.family == Family::Anthropic).then_some(state.value.as_str())
}

fn source(source: &Source<'_>, to: &mut Members<'_>) {
    to.object("source", |o| match source {
        Source::Base64 { mime, data } => {
            o.put("type", "base64");
            o.put("media_type", mime);
            o.put("data", data);
        }
        Source::Text(words) => {
            o.put("type", "text");
            o.put("media_type", "text/plain");
            o.put("data", words);
        }
        Source::Url(url) => {
            o.put("type", "url");
            o.put("url", url);
        }
        Source::File(id) => {
            o.put("type", "file");
            o.put("file_id", id);
        }
    });
}

fn picture(source: &MediaSource) -> Result<Source<'_>, &'static str> {
    match source {
        MediaSource::Inline { mime, data } => {
            let mime = match bare(mime) {
                "image/jpg" => "image/jpeg",
                other => other,
            };
            let known = PICTURES.contains(&mime);
            if known {
                Ok(Source::Base64 { mime, data })
            } else {
                Err("Anthropic takes JPEG, PNG, GIF and WebP images")
            }
        }
        MediaSource::Url { .. } | MediaSource::FileId { .. } => elsewhere(source),
    }
}

fn paper(source: &MediaSource) -> Result<Source<'_>, &'static str> {
    match source {
        MediaSource::Inline { mime, data } => match bare(mime) {
            PDF => Ok(Source::Base64 { mime: PDF, data }),
            text if text.starts_with("text/") || text == "application/json" => {
                let bytes = STANDARD.decode(data).map_err(|_| "the document is not base64")?;
                String::from_utf8(bytes).map(Source::Text).map_err(|_| "the document is not UTF-8 text")
            }
            _ => Err("Anthropic takes PDF and plain text documents"),
        },
        MediaSource::Url { .. } | MediaSource::FileId { .. } => elsewhere(source),
    }
}

fn elsewhere(source: &MediaSource) -> Result<Source<'_>, &'static str> {
    match source {
        MediaSource::Url { url, .. } if url.starts_with("https://") || url.starts_with("http://") => {
            Ok(Source::Url(url))
        }
        MediaSource::FileId { family: Family::Anthropic, id } => Ok(Source::File(id)),
        MediaSource::FileId { .. } => Err("file ids of another vendor mean nothing to Anthropic"),
        MediaSource::Url { .. } | MediaSource::Inline { .. } => Err("Anthropic fetches http and https addresses only"),
    }
}

/// A media type without its parameters.
fn bare(mime: &str) -> &str {
    mime.split(';').next().unwrap_or_default().trim()
}
