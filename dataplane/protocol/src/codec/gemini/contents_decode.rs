//! `contents`: from roles and parts to turns and blocks.
//!
//! Calls without ids get ids by position, and a result is paired with the open call of its id, else of its name, in
//! order. Media are told apart by their type. Members nobody knows are noted as extras.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;

use super::reasoning_state;
use crate::{
    codec::{
        Malformed, ids,
        json::read::{Object, Only, Spelling, malformed, read},
        media,
    },
    dialect::Family,
    ir::{
        Block, Document, Extras, Media, MediaSource, Opaque, Reasoning, Request, Role, Text, ToolCall, ToolResult,
        Turn, Unknown,
    },
};

/// Parts of which the whole is kept, for Google's eyes only.
const SERVER_PARTS: [&str; 4] = ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];

/// Reads all contents into the request.
pub fn decode(contents: Vec<Object<'_>>, request: &mut Request) -> Result<(), Malformed> {
    let mut history = History { extras: &mut request.extras, open: OpenCalls::default(), place: "contents[]" };
    for (index, content) in contents.into_iter().enumerate() {
        let turn = history.content(content, index).map_err(|error| error.within(&format!("contents[{index}]")))?;
        request.turns.push(turn);
    }
    Ok(())
}

/// Reads `systemInstruction`, which some clients send as a string.
pub fn decode_system(raw: &RawValue, extras: &mut Extras) -> Result<Vec<Block>, Malformed> {
    if raw.get().starts_with('"') {
        return Ok(vec![Block::Text(Text { text: read(raw)?, ..Text::default() })]);
    }
    let mut history = History { extras, open: OpenCalls::default(), place: "systemInstruction" };
    let content = Object::from_raw(raw, Spelling::Proto)?;
    Ok(history.content(content, 0)?.blocks)
}

struct History<'r> {
    /// Where the content stands, for the names of members.
    place: &'static str,
    extras: &'r mut Extras,
    open: OpenCalls,
}

/// Calls of the model's last turn that have no result yet.
#[derive(Default)]
struct OpenCalls {
    /// Their ids in order, until their result comes.
    ids: Vec<Option<String>>,
    by_id: HashMap<String, VecDeque<usize>>,
    by_name: HashMap<String, VecDeque<usize>>,
}

impl OpenCalls {
    fn push(&mut self, id: &str, name: &str) {
        let place = self.ids.len();
        self.ids.push(Some(id.to_owned()));
        self.by_id.entry(id.to_owned()).or_default().push_back(place);
        self.by_name.entry(name.to_owned()).or_default().push_back(place);
    }

    /// Takes the first open call of this id, or without one of this name; gives its id.
    fn take(&mut self, id: Option<&str>, name: &str) -> Option<String> {
        let places = match id {
            Some(id) => self.by_id.get_mut(id),
            None => self.by_name.get_mut(name),
        }?;
        while let Some(place) = places.pop_front() {
            if let Some(id) = self.ids.get_mut(place).and_then(Option::take) {
                return Some(id);
            }
        }
        None
    }
}

impl History<'_> {
    fn content(&mut self, mut content: Object<'_>, index: usize) -> Result<Turn, Malformed> {
        let role = match content.take::<String>("role")?.as_deref() {
            None | Some("" | "user" | "function" | "tool") => Role::User,
            Some("model") => Role::Assistant,
            Some("system") => Role::System,
            Some(other) => return Err(malformed(&format!("unknown role {other:?}")).within("role")),
        };
        if role == Role::Assistant {
            self.open = OpenCalls::default();
        }
        let mut blocks = Vec::new();
        for (position, part) in content.list("parts")?.into_iter().enumerate() {
            let block = self.part(part, &format!("{index}"), position);
            let block = block.map_err(|error| error.within(&format!("parts[{position}]")))?;
            if let Some(block) = block {
                let block = rejoined(block, &mut blocks);
                blocks.push(block);
            }
        }
        self.note("", content);
        Ok(Turn { role, blocks, name: None })
    }

    fn part(&mut self, raw: &RawValue, turn: &str, position: usize) -> Result<Option<Block>, Malformed> {
        let mut part = Object::from_raw(raw, Spelling::Proto)?;
        let thought = part.take::<bool>("thought")?.unwrap_or(false);
        let signature = part.take::<String>("thoughtSignature")?.filter(|signature| !signature.is_empty());
        let carried = signature.as_deref().and_then(reasoning_state::read);
        if let Some(kind) = SERVER_PARTS.iter().find(|kind| part.has(kind)) {
            return Ok(Some(unknown(kind, raw)));
        }
        let redacted = carried.as_ref().is_some_and(|carried| carried.redacted);
        let state = carried.map(|carried| carried.state);
        let block = if let Some(mut call) = part.object("functionCall")? {
            let block = self.call(&mut call, turn, position, state).map_err(|error| error.within("functionCall"))?;
            self.note(".parts[].functionCall", call);
            Some(block)
        } else if let Some(mut result) = part.object("functionResponse")? {
            let block = self.result(&mut result, turn, position).map_err(|error| error.within("functionResponse"))?;
            self.note(".parts[].functionResponse", result);
            Some(block)
        } else if let Some(Held { block, place, rest }) = media(&mut part, state.clone())? {
            self.note(place, rest);
            Some(block)
        } else {
            words(part.take("text")?, thought, redacted, state)
        };
        self.note(".parts[]", part);
        Ok(block)
    }

    fn call(
        &mut self,
        call: &mut Object<'_>,
        turn: &str,
        position: usize,
        state: Option<Opaque>,
    ) -> Result<Block, Malformed> {
        let name = call.need_name()?;
        let id = match call.take::<String>("id")?.filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => ids::invented_call_id(turn, position),
        };
        self.open.push(&id, &name);
        let arguments = call.take_raw("args").map(|raw| raw.get().to_owned()).unwrap_or_default();
        Ok(Block::ToolCall(ToolCall { id, name, arguments, state, cache: None }))
    }

    fn result(&mut self, result: &mut Object<'_>, turn: &str, position: usize) -> Result<Block, Malformed> {
        let name = result.need_name()?;
        let id: Option<String> = result.take("id")?;
        let id = id.filter(|id| !id.is_empty());
        let call_id = match self.open.take(id.as_deref(), &name) {
            Some(known) => known,
            None => id.unwrap_or_else(|| ids::invented_call_id(turn, position)),
        };
        let (text, failed) = match result.take_raw("response") {
            Some(raw) => outcome(raw)?,
            None => (String::new(), false),
        };
        let mut content = vec![Block::Text(Text { text, ..Text::default() })];
        for mut part in result.objects("parts")? {
            if let Some(mut inline) = part.object("inlineData")? {
                content.push(inline_data(&mut inline)?);
                self.note(".parts[].functionResponse.parts[].inlineData", inline);
            } else if let Some(mut file) = part.object("fileData")? {
                content.push(file_data(&mut file)?);
                self.note(".parts[].functionResponse.parts[].fileData", file);
            }
            self.note(".parts[].functionResponse.parts[]", part);
        }
        let is_error = failed.then_some(true);
        Ok(Block::ToolResult(ToolResult { call_id, name: Some(name), content, is_error, cache: None }))
    }

    /// Keeps what nobody took.
    fn note(&mut self, place: &str, rest: Object<'_>) {
        for (name, raw) in rest.rest() {
            self.extras.note(Family::Gemini, format!("{}{place}.{name}", self.place), raw, false);
        }
    }
}

/// Media of a part.
pub struct Held<'a> {
    /// The media.
    pub block: Block,
    /// Where in a part they stand.
    place: &'static str,
    /// What nobody took.
    rest: Object<'a>,
}

/// The media of a part, if it holds any. A document has no place for reasoning state.
pub fn media<'a>(part: &mut Object<'a>, state: Option<Opaque>) -> Result<Option<Held<'a>>, Malformed> {
    let (block, place, rest) = if let Some(mut inline) = part.object("inlineData")? {
        let block = inline_data(&mut inline).map_err(|error| error.within("inlineData"))?;
        (block, ".parts[].inlineData", inline)
    } else if let Some(mut file) = part.object("fileData")? {
        let block = file_data(&mut file).map_err(|error| error.within("fileData"))?;
        (block, ".parts[].fileData", file)
    } else {
        return Ok(None);
    };
    let block = match block {
        Block::Image(media) => Block::Image(Media { state, ..media }),
        Block::Audio(media) => Block::Audio(Media { state, ..media }),
        Block::Video(media) => Block::Video(Media { state, ..media }),
        other => other,
    };
    Ok(Some(Held { block, place, rest }))
}

/// What a result says, and whether it is a failure: `{"output": …}` and `{"error": …}` are the convention, anything else
/// is the result itself.
fn outcome(raw: &RawValue) -> Result<(String, bool), Malformed> {
    let text = |raw: &RawValue| match read::<String>(raw) {
        Ok(text) => text,
        Err(_) => raw.get().to_owned(),
    };
    let only = read::<Only<'_>>(raw).map_err(|_| malformed("must be an object").within("response"))?;
    Ok(match &only.0 {
        Some((name, value)) if name == "output" => (text(value), false),
        Some((name, value)) if name == "error" => (text(value), true),
        _ => (raw.get().to_owned(), false),
    })
}

/// Another vendor's signature holds for the whole of its thought, which was streamed to the client as several parts with
/// the signature on the last of them.
fn rejoined(block: Block, before: &mut Vec<Block>) -> Block {
    let foreign = |state: &Opaque| state.family != Family::Gemini;
    match block {
        Block::Reasoning(mut last) if !last.redacted && last.state.as_ref().is_some_and(foreign) => {
            let start =
                before.iter().rposition(|block| !is_unsigned_thought(block)).map_or(0, |at| at.saturating_add(1));
            let mut text = String::new();
            for block in before.drain(start..) {
                if let Block::Reasoning(part) = block {
                    text.push_str(&part.text);
                }
            }
            text.push_str(&last.text);
            last.text = text;
            Block::Reasoning(last)
        }
        other => other,
    }
}

const fn is_unsigned_thought(block: &Block) -> bool {
    matches!(block, Block::Reasoning(Reasoning { state: None, redacted: false, .. }))
}

fn words(text: Option<String>, thought: bool, redacted: bool, state: Option<Opaque>) -> Option<Block> {
    // State of another vendor only ever hung on reasoning.
    let foreign = state.as_ref().is_some_and(|state| state.family != Family::Gemini);
    if text.is_none() && state.is_none() {
        return None;
    }
    let text = text.unwrap_or_default();
    Some(if thought || foreign {
        Block::Reasoning(Reasoning { text, state, redacted })
    } else {
        Block::Text(Text { text, state, ..Text::default() })
    })
}

fn inline_data(inline: &mut Object<'_>) -> Result<Block, Malformed> {
    let (mime, data): (String, String) = (inline.need("mimeType")?, inline.need("data")?);
    of_type(&mime, media::inline(&mime, &data), inline)
}

fn file_data(file: &mut Object<'_>) -> Result<Block, Malformed> {
    let url: String = file.need("fileUri")?;
    let mime: Option<String> = file.take("mimeType")?;
    let kind = mime.clone().or_else(|| media::mime_of_name(&url).map(str::to_owned)).unwrap_or_default();
    let stored = url.starts_with("gs://")
        || url.starts_with("files/")
        || url.starts_with("https://generativelanguage.googleapis.com/");
    let source =
        if stored { MediaSource::FileId { family: Family::Gemini, id: url } } else { MediaSource::Url { url, mime } };
    of_type(&kind, source, file)
}

/// Only documents have a title.
fn of_type(mime: &str, source: MediaSource, object: &mut Object<'_>) -> Result<Block, Malformed> {
    let plain = |source| Media { source, detail: None, state: None, cache: None };
    Ok(match mime.split('/').next() {
        Some("image") => Block::Image(plain(source)),
        Some("audio") => Block::Audio(plain(source)),
        Some("video") => Block::Video(plain(source)),
        _ => {
            let title = object.take("displayName")?;
            Block::Document(Document { source, title, context: None, citations: None, cache: None })
        }
    })
}

fn unknown(kind: &str, raw: &RawValue) -> Block {
    Block::Unknown(Unknown { family: Family::Gemini, kind: kind.to_owned(), raw: raw.to_owned() })
}
