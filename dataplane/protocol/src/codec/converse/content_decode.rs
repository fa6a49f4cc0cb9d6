//! Blocks of clients' requests and of upstreams' answers, read (docs/protocols/mapping.md).
//!
//! A block has one member, which says what it is. A cache point hangs on the block before it. What only Bedrock knows is
//! kept as it is.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::formats::Kind;
use crate::{
    codec::{
        Malformed,
        json::read::{Object, Spelling, elements, malformed},
        media,
        messages::content_decode::Carriers,
    },
    dialect::Family,
    ir::{
        Block, CacheMark, Citation, Document, Extras, Media, MediaSource, Opaque, Reasoning, Text, ToolCall,
        ToolResult, Unknown,
    },
};

/// Results hold blocks, and those hold none: what is deeper is refused.
const DEEPEST: usize = 2;

/// Reads blocks and keeps what it does not know.
#[derive(Debug, Default)]
pub struct Reader {
    /// Members without a place in the neutral representation.
    pub extras: Extras,
    depth: usize,
}

impl Reader {
    /// A list of blocks.
    ///
    /// # Errors
    /// When it is none, or a block lacks what its kind needs.
    pub fn content(&mut self, raw: &RawValue) -> Result<Vec<Block>, Malformed> {
        if self.depth >= DEEPEST {
            return Err(malformed("holds results inside results"));
        }
        self.depth = self.depth.saturating_add(1);
        let (mut blocks, mut carriers) = (Vec::new(), Carriers::default());
        for (index, element) in elements(raw)?.into_iter().enumerate() {
            let place = |error: Malformed| error.within(&format!("[{index}]"));
            let mut object = Object::from_raw(element, Spelling::Exact).map_err(place)?;
            if object.has("cachePoint") {
                let mark = cache_point(&mut object).map_err(place)?;
                self.hang(mark, &mut blocks, element);
                continue;
            }
            let block = self.block(object, element).map_err(place)?;
            carriers.place(block, &mut blocks);
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(blocks)
    }

    /// Puts a mark on the last block; on reasoning and what only a vendor knows there is no place for one.
    fn hang(&mut self, mark: CacheMark, blocks: &mut [Block], raw: &RawValue) {
        let place = match blocks.last_mut() {
            Some(Block::Text(text)) => &mut text.cache,
            Some(Block::Image(media) | Block::Audio(media) | Block::Video(media)) => &mut media.cache,
            Some(Block::Document(document)) => &mut document.cache,
            Some(Block::ToolCall(call)) => &mut call.cache,
            Some(Block::ToolResult(result)) => &mut result.cache,
            Some(Block::Reasoning(_) | Block::Refusal(_) | Block::Unknown(_)) | None => {
                return self.note("messages[].content[].cachePoint", raw);
            }
        };
        *place = Some(mark);
    }

    fn block(&mut self, mut object: Object<'_>, raw: &RawValue) -> Result<Block, Malformed> {
        if let Some(text) = object.take::<String>("text")? {
            return Ok(Block::Text(Text { text, ..Text::default() }));
        }
        if let Some(json) = object.take_raw("json") {
            return Ok(Block::Text(Text { text: json.get().to_owned(), ..Text::default() }));
        }
        let plain = |source| Media { source, detail: None, state: None, cache: None };
        for (name, kind) in [("image", Kind::Image), ("video", Kind::Video), ("audio", Kind::Audio)] {
            if let Some(mut inner) = object.object(name)? {
                let media = plain(source(&mut inner, kind).map_err(|error| error.within(name))?);
                return Ok(match kind {
                    Kind::Video => Block::Video(media),
                    Kind::Audio => Block::Audio(media),
                    Kind::Image | Kind::Document => Block::Image(media),
                });
            }
        }
        if let Some(mut inner) = object.object("document")? {
            return document(&mut inner).map_err(|error| error.within("document"));
        }
        if let Some(mut inner) = object.object("toolUse")? {
            let call = call(&mut inner).map_err(|error| error.within("toolUse"))?;
            return Ok(call.map_or_else(|| unknown("toolUse", raw), Block::ToolCall));
        }
        if let Some(mut inner) = object.object("toolResult")? {
            // What Bedrock ran itself.
            if inner.has("type") {
                return Ok(unknown("toolResult", raw));
            }
            return self.result(&mut inner).map_err(|error| error.within("toolResult"));
        }
        if let Some(mut inner) = object.object("reasoningContent")? {
            return reasoning(&mut inner).map_err(|error| error.within("reasoningContent"));
        }
        if let Some(mut inner) = object.object("citationsContent")? {
            return cited(&mut inner).map_err(|error| error.within("citationsContent"));
        }
        if let Some(mut inner) = object.object("searchResult")? {
            return search_result(&mut inner).map_err(|error| error.within("searchResult"));
        }
        if let Some(mut inner) = object.object("guardContent")? {
            // A mark for a guardrail around words or a picture, which stay without it.
            self.note("messages[].content[].guardContent", raw);
            return guarded(&mut inner).map_err(|error| error.within("guardContent"));
        }
        let kind = object.members().next().map(|(name, _)| name.into_owned());
        kind.map(|kind| unknown(&kind, raw)).ok_or_else(|| malformed("must have one member"))
    }

    fn result(&mut self, object: &mut Object<'_>) -> Result<Block, Malformed> {
        let content = match object.take_raw("content") {
            Some(content) => self.content(content).map_err(|error| error.within("content"))?,
            None => Vec::new(),
        };
        let status: Option<String> = object.take("status")?;
        Ok(Block::ToolResult(ToolResult {
            call_id: object.need("toolUseId")?,
            name: None,
            content,
            is_error: status.map(|status| status == "error"),
            cache: None,
        }))
    }

    /// Notes a member, once.
    pub fn note(&mut self, field: &str, raw: &RawValue) {
        self.extras.note(Family::Bedrock, field.to_owned(), raw, false);
    }
}

/// `cachePoint`.
///
/// # Errors
/// When it is no object.
pub fn cache_point(object: &mut Object<'_>) -> Result<CacheMark, Malformed> {
    let ttl = match object.object("cachePoint")? {
        Some(mut point) => point.take("ttl").map_err(|error| error.within("cachePoint"))?,
        None => None,
    };
    Ok(CacheMark { ttl })
}

/// The source of a picture, film or sound.
fn source(object: &mut Object<'_>, kind: Kind) -> Result<MediaSource, Malformed> {
    let format: String = object.need("format")?;
    let mut source = object.object("source")?.ok_or_else(|| malformed("is required").within("source"))?;
    located(&mut source, &kind.mime(&format)).map_err(|error| error.within("source"))
}

fn located(source: &mut Object<'_>, mime: &str) -> Result<MediaSource, Malformed> {
    if let Some(mut s3) = source.object("s3Location")? {
        let id = s3.need("uri").map_err(|error| error.within("s3Location"))?;
        return Ok(MediaSource::FileId { family: Family::Bedrock, id });
    }
    Ok(media::inline(mime, &source.need::<Cow<'_, str>>("bytes")?))
}

fn document(object: &mut Object<'_>) -> Result<Block, Malformed> {
    let format: Option<String> = object.take("format")?;
    let mut source = object.object("source")?.ok_or_else(|| malformed("is required").within("source"))?;
    let text = |words: &str| MediaSource::Inline { mime: "text/plain".to_owned(), data: STANDARD.encode(words) };
    let mut read = || -> Result<MediaSource, Malformed> {
        if let Some(words) = source.take::<String>("text")? {
            return Ok(text(&words));
        }
        if source.has("content") {
            return Ok(text(&words_of(&mut source, "content")?));
        }
        located(&mut source, &Kind::Document.mime(format.as_deref().unwrap_or("txt")))
    };
    let found = read().map_err(|error| error.within("source"))?;
    let mut citations = object.object("citations")?;
    Ok(Block::Document(Document {
        source: found,
        title: object.take::<String>("name")?.filter(|name| !name.is_empty()),
        context: object.take::<String>("context")?.filter(|context| !context.is_empty()),
        citations: citations.as_mut().map(|citations| citations.take("enabled")).transpose()?.flatten(),
        cache: None,
    }))
}

/// A call; none if Bedrock ran it itself.
fn call(object: &mut Object<'_>) -> Result<Option<ToolCall>, Malformed> {
    if object.has("type") {
        return Ok(None);
    }
    Ok(Some(ToolCall {
        id: object.need("toolUseId")?,
        name: object.need_name()?,
        arguments: object.take_raw("input").map_or("{}", RawValue::get).to_owned(),
        state: None,
        cache: None,
    }))
}

fn reasoning(object: &mut Object<'_>) -> Result<Block, Malformed> {
    if let Some(data) = object.take::<String>("redactedContent")? {
        return Ok(Block::Reasoning(Reasoning { text: String::new(), state: Some(native(data)), redacted: true }));
    }
    let mut words = object.object("reasoningText")?.ok_or_else(|| malformed("is required").within("reasoningText"))?;
    let place = |error: Malformed| error.within("reasoningText");
    let signature = words.take::<String>("signature").map_err(place)?.filter(|signature| !signature.is_empty());
    Ok(Block::Reasoning(Reasoning {
        text: words.take("text").map_err(place)?.unwrap_or_default(),
        state: signature.map(native),
        redacted: false,
    }))
}

/// Words with the sources they rest on, whose places in them Bedrock does not tell.
fn cited(object: &mut Object<'_>) -> Result<Block, Malformed> {
    let text = words_of(object, "content")?;
    let span = 0..text.chars().count() as u64;
    let citations = object.list("citations")?.into_iter().filter_map(|raw| citation(raw, span.clone())).collect();
    Ok(Block::Text(Text { text, citations, ..Text::default() }))
}

/// A source; none if it cannot be read.
pub fn citation(raw: &RawValue, span: std::ops::Range<u64>) -> Option<Citation> {
    let mut object = Object::from_raw(raw, Spelling::Exact).ok()?;
    let title: Option<String> = object.take("title").ok().flatten();
    let web = object.object("location").ok().flatten().and_then(|mut location| location.object("web").ok().flatten());
    let url = web.and_then(|mut web| web.take("url").ok().flatten());
    Some(Citation { span, url, title, native: Some((Family::Bedrock, raw.to_owned())) })
}

/// A search result is text with its source; no other dialect has a name for it.
fn search_result(object: &mut Object<'_>) -> Result<Block, Malformed> {
    let title: String = object.take("title")?.unwrap_or_default();
    let source: String = object.take("source")?.unwrap_or_default();
    let text = format!("{title}\n{source}\n{}", words_of(object, "content")?);
    Ok(Block::Text(Text { text, ..Text::default() }))
}

fn guarded(object: &mut Object<'_>) -> Result<Block, Malformed> {
    if let Some(mut picture) = object.object("image")? {
        let source = source(&mut picture, Kind::Image).map_err(|error| error.within("image"))?;
        return Ok(Block::Image(Media { source, detail: None, state: None, cache: None }));
    }
    let mut words = object.object("text")?.ok_or_else(|| malformed("is required").within("text"))?;
    Ok(Block::Text(Text { text: words.need("text").map_err(|error| error.within("text"))?, ..Text::default() }))
}

/// The texts of a list of `{"text": …}`.
fn words_of(object: &mut Object<'_>, name: &str) -> Result<String, Malformed> {
    let mut words = String::new();
    for mut part in object.objects(name)? {
        words.push_str(&part.take::<String>("text")?.unwrap_or_default());
    }
    Ok(words)
}

fn unknown(kind: &str, raw: &RawValue) -> Block {
    Block::Unknown(Unknown { family: Family::Bedrock, kind: kind.to_owned(), raw: raw.to_owned() })
}

/// Reasoning that is signed is Claude's, whoever serves it.
pub const fn native(value: String) -> Opaque {
    Opaque { family: Family::Anthropic, value }
}
