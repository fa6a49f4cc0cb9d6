//! Content blocks of a client's request, and of an upstream's answer.
//!
//! Members of known blocks that this program does not know are noted once each, so that a target of another family
//! reports them. Whole blocks of unknown type are kept as they are; only Anthropic can take them.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::citations;
use crate::{
    codec::{
        Malformed, arguments, ids,
        json::{
            loose::Loose,
            read::{Object, Spelling, elements, malformed, read},
        },
        media,
        tagged_state::{self, Carried, Place},
    },
    dialect::Family,
    ir::{
        Block, CacheMark, Document, Extras, Media, MediaSource, Opaque, Reasoning, Text, ToolCall, ToolResult, Unknown,
    },
};

/// Reads blocks and keeps what it does not know.
#[derive(Debug)]
pub struct Reader {
    /// Members without a place in the neutral representation.
    pub extras: Extras,
    /// How many lists of blocks stand around the one that is read.
    depth: usize,
    /// Where the blocks stand, for the names of members.
    place: &'static str,
    /// Pictures of the document that was read last, which stand behind it.
    beside: Vec<Block>,
    /// An answer is read, of a server that may leave out or misspell what a client must say.
    lenient: bool,
}

/// Where blocks of messages stand.
const IN_MESSAGES: &str = "messages[].content[].";
/// Where blocks of results stand.
const IN_RESULTS: &str = "messages[].content[].content[].";

impl Default for Reader {
    fn default() -> Self {
        Self { extras: Extras::default(), depth: 0, place: IN_MESSAGES, beside: Vec::new(), lenient: false }
    }
}

/// The carriers of one turn, on their way to what they belong to.
#[derive(Default)]
pub struct Carriers {
    for_next_call: Option<Opaque>,
    last_text: Option<usize>,
    last_call: Option<usize>,
}

/// Lists of blocks inside each other: a message's, a result's, a document's. Each is read again by the one around it.
const DEEPEST: usize = 4;

// === impl Reader ===

impl Reader {
    /// Reads an answer: whatever is odd about a block, the others are not lost for it.
    pub fn of_answers() -> Self {
        Self { lenient: true, ..Self::default() }
    }

    /// [`Self::content`] that stands elsewhere than in a message.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub fn content_at(&mut self, place: &'static str, raw: &RawValue) -> Result<Vec<Block>, Malformed> {
        let outer = std::mem::replace(&mut self.place, place);
        let blocks = self.content(raw);
        self.place = outer;
        blocks
    }

    /// `content`: a string or a list of blocks.
    ///
    /// # Errors
    /// When it is neither, or a block lacks what its type needs.
    pub fn content(&mut self, raw: &RawValue) -> Result<Vec<Block>, Malformed> {
        if raw.get().starts_with('"') {
            let text = read(raw)?;
            return Ok(vec![Block::Text(Text { text, ..Text::default() })]);
        }
        let is_one = self.lenient && raw.get().starts_with('{');
        if !raw.get().starts_with('[') && !is_one {
            return Err(malformed("must be a string or a list of blocks"));
        }
        if self.depth >= DEEPEST {
            return Err(malformed("holds results inside results"));
        }
        let mut elements = if raw.get().starts_with('[') { elements(raw)? } else { vec![raw] };
        elements.retain(|element| !self.lenient || element.get() != "null");
        let mut blocks = Vec::with_capacity(elements.len());
        let mut carriers = Carriers::default();
        self.depth = self.depth.saturating_add(1);
        for (index, element) in elements.into_iter().enumerate() {
            let block = if self.lenient { self.answered(element, index) } else { self.block(element) };
            let block = block.map_err(|error| error.within(&format!("[{index}]")))?;
            carriers.place(block, &mut blocks);
            blocks.append(&mut self.beside);
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(blocks)
    }

    /// One block of an answer. A call without an id gets one by its place.
    fn answered(&mut self, raw: &RawValue, index: usize) -> Result<Block, Malformed> {
        if !raw.get().starts_with('{') {
            let text = read::<Loose<'_>>(raw)?.into_string();
            return Ok(Block::Text(Text { text, ..Text::default() }));
        }
        let mut object = Object::from_raw(raw, Spelling::Exact)?;
        let text = |object: &mut Object<'_>, name: &str| {
            object.take_raw(name).and_then(|raw| Some(read::<Loose<'_>>(raw).ok()?.into_string())).unwrap_or_default()
        };
        let mut kind = text(&mut object, "type");
        if kind.is_empty() {
            let known = ["text", "thinking"].into_iter().find(|name| object.has(name));
            kind = known.unwrap_or_default().to_owned();
        }
        match kind.as_str() {
            "text" => Ok(Block::Text(Text {
                text: text(&mut object, "text"),
                citations: object.take_raw("citations").map(citations::read_all).unwrap_or_default(),
                ..Text::default()
            })),
            "thinking" => {
                let signature = text(&mut object, "signature");
                Ok(Block::Reasoning(Reasoning {
                    text: text(&mut object, "thinking"),
                    state: (!signature.is_empty()).then(|| native(signature)),
                    redacted: false,
                }))
            }
            "tool_use" => {
                let id = Some(text(&mut object, "id")).filter(|id| !id.is_empty());
                Ok(Block::ToolCall(ToolCall {
                    id: id.unwrap_or_else(|| ids::invented_call_id(raw.get(), index)),
                    name: object.need_name()?,
                    arguments: arguments::unquoted(object.take_raw("input").map_or("{}", RawValue::get).to_owned()),
                    state: None,
                    cache: None,
                }))
            }
            _ => self.block(raw),
        }
    }

    /// One block.
    fn block(&mut self, raw: &RawValue) -> Result<Block, Malformed> {
        let mut object = Object::from_raw(raw, Spelling::Exact)?;
        let kind: String = object.need("type")?;
        let block = match kind.as_str() {
            "text" => Block::Text(Text {
                text: object.need("text")?,
                cache: cache_mark(&mut object)?,
                citations: object.take_raw("citations").map(citations::read_all).unwrap_or_default(),
                state: None,
            }),
            "image" => Block::Image(Media {
                source: self.source(&mut object)?,
                detail: None,
                state: None,
                cache: cache_mark(&mut object)?,
            }),
            "document" => self.document(&mut object)?,
            "tool_use" => Block::ToolCall(ToolCall {
                id: object.need("id")?,
                name: object.need_name()?,
                arguments: object.take_raw("input").map_or("{}", RawValue::get).to_owned(),
                state: None,
                cache: cache_mark(&mut object)?,
            }),
            "tool_result" => self.result(&mut object)?,
            "thinking" => Block::Reasoning(Reasoning {
                text: object.take("thinking")?.unwrap_or_default(),
                state: object.take::<String>("signature")?.filter(|signature| !signature.is_empty()).map(native),
                redacted: false,
            }),
            "redacted_thinking" => Block::Reasoning(Reasoning {
                text: String::new(),
                state: Some(native(object.need("data")?)),
                redacted: true,
            }),
            "search_result" => self.search_result(&mut object)?,
            _ => {
                return Ok(Block::Unknown(Unknown { family: Family::Anthropic, kind, raw: raw.to_owned() }));
            }
        };
        let place = self.place;
        self.leftover(object, place);
        Ok(block)
    }

    fn result(&mut self, object: &mut Object<'_>) -> Result<Block, Malformed> {
        let content = match object.take_raw("content") {
            Some(content) => self.content_at(IN_RESULTS, content).map_err(|error| error.within("content"))?,
            None => Vec::new(),
        };
        Ok(Block::ToolResult(ToolResult {
            call_id: object.need("tool_use_id")?,
            name: None,
            content,
            is_error: object.take("is_error")?,
            cache: cache_mark(object)?,
        }))
    }

    fn document(&mut self, object: &mut Object<'_>) -> Result<Block, Malformed> {
        let mut citations = object.object("citations")?;
        Ok(Block::Document(Document {
            source: self.source(object)?,
            title: object.take::<String>("title")?.filter(|title| !title.is_empty()),
            context: object.take::<String>("context")?.filter(|context| !context.is_empty()),
            citations: citations.as_mut().map(|citations| citations.take("enabled")).transpose()?.flatten(),
            cache: cache_mark(object)?,
        }))
    }

    /// `source` of an image or a document.
    fn source(&mut self, object: &mut Object<'_>) -> Result<MediaSource, Malformed> {
        let mut source = object.object("source")?.ok_or_else(|| malformed("is required").within("source"))?;
        let mut read = |source: &mut Object<'_>| {
            let kind: String = source.need("type")?;
            Ok(match kind.as_str() {
                "base64" => {
                    media::inline(&source.need::<Cow<'_, str>>("media_type")?, &source.need::<Cow<'_, str>>("data")?)
                }
                "text" => MediaSource::Inline {
                    mime: source.take("media_type")?.unwrap_or_else(|| "text/plain".to_owned()),
                    data: STANDARD.encode(source.need::<String>("data")?),
                },
                "content" => {
                    MediaSource::Inline { mime: "text/plain".to_owned(), data: STANDARD.encode(self.words(source)?) }
                }
                "url" => MediaSource::Url { url: source.need("url")?, mime: None },
                "file" => MediaSource::FileId { family: Family::Anthropic, id: source.need("file_id")? },
                other => return Err(malformed(&format!("unknown source type {other}")).within("type")),
            })
        };
        let read = read(&mut source).map_err(|error: Malformed| error.within("source"))?;
        // The type says it already.
        source.take_raw("media_type");
        let place = format!("{}source.", self.place);
        self.leftover(source, &place);
        Ok(read)
    }

    /// The text of a document that is written as blocks. Its pictures stand behind it, in their order; what else it holds
    /// is noted as lost.
    fn words(&mut self, source: &mut Object<'_>) -> Result<String, Malformed> {
        let Some(raw) = source.take_raw("content") else {
            return Ok(String::new());
        };
        let mut words = Vec::new();
        for block in self.content(raw).map_err(|error| error.within("content"))? {
            match block {
                Block::Text(text) => words.push(text.text),
                picture @ Block::Image(_) => self.beside.push(picture),
                _ => self.note("messages[].content[].source.content[]".to_owned(), raw, true),
            }
        }
        Ok(words.join("\n\n"))
    }

    /// A search result is text with its source; no other dialect has a name for it.
    fn search_result(&mut self, object: &mut Object<'_>) -> Result<Block, Malformed> {
        let title: String = object.take("title")?.unwrap_or_default();
        let source: String = object.take("source")?.unwrap_or_default();
        let mut text = format!("{title}\n{source}");
        for mut part in object.objects("content")? {
            text.push('\n');
            text.push_str(&part.take::<String>("text")?.unwrap_or_default());
            part.take_raw("type");
            let place = format!("{}content[].", self.place);
            self.leftover(part, &place);
        }
        Ok(Block::Text(Text { text, cache: cache_mark(object)?, ..Text::default() }))
    }

    /// Notes the members of a block that nobody asked for.
    pub fn leftover(&mut self, object: Object<'_>, place: &str) {
        for (name, raw) in object.rest() {
            self.note(format!("{place}{name}"), raw, false);
        }
    }

    /// Notes a member, once.
    pub fn note(&mut self, field: String, raw: &RawValue, essential: bool) {
        self.extras.note(Family::Anthropic, field, raw, essential);
    }
}

// === impl Carriers ===

impl Carriers {
    /// Adds a block, unless it is a carrier: then its state goes where it belongs.
    pub fn place(&mut self, block: Block, blocks: &mut Vec<Block>) {
        match block {
            Block::Reasoning(mut reasoning) if !reasoning.redacted => {
                let signature = reasoning.state.as_ref().map_or("", |state| state.value.as_str());
                match tagged_state::read(signature) {
                    None => blocks.push(Block::Reasoning(reasoning)),
                    Some(carried) if carried.belongs_here() => {
                        reasoning.redacted = carried.place == Place::Redacted;
                        reasoning.state = carried.state;
                        blocks.push(Block::Reasoning(reasoning));
                    }
                    Some(carried) => self.hang(carried, blocks),
                }
            }
            Block::ToolCall(mut call) => {
                call.state = self.for_next_call.take();
                self.last_call = Some(blocks.len());
                blocks.push(Block::ToolCall(call));
            }
            other => {
                if matches!(other, Block::Text(_)) {
                    self.last_text = Some(blocks.len());
                }
                blocks.push(other);
            }
        }
    }

    fn hang(&mut self, carried: Carried, blocks: &mut [Block]) {
        match carried.place {
            Place::CallBehind => self.for_next_call = carried.state,
            Place::TextBefore => {
                if let Some(Block::Text(text)) = self.last_text.and_then(|at| blocks.get_mut(at)) {
                    text.state = carried.state;
                }
            }
            Place::CallBefore => {
                if let Some(Block::ToolCall(call)) = self.last_call.and_then(|at| blocks.get_mut(at)) {
                    call.state = carried.state;
                }
            }
            Place::Thought | Place::Redacted | Place::Hosted => {}
        }
    }
}

/// `cache_control`.
///
/// # Errors
/// When it is no object.
pub fn cache_mark(object: &mut Object<'_>) -> Result<Option<CacheMark>, Malformed> {
    let Some(mut control) = object.object("cache_control")? else {
        return Ok(None);
    };
    let ttl = control.take("ttl").map_err(|error| error.within("cache_control"))?;
    Ok(Some(CacheMark { ttl }))
}

const fn native(value: String) -> Opaque {
    Opaque { family: Family::Anthropic, value }
}
