//! `messages`: from roles and parts to turns and blocks.
//!
//! The leading run of `system` and `developer` messages is the system prompt, later ones stay in place. Neighbouring
//! `tool` messages are one user turn. The old `function_call` and `function` messages become calls and results with
//! invented ids. Members nobody knows are noted as extras.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    annotations,
    reasoning_state::{self, Reasoned},
    tools::cache_mark,
    wire,
};
use crate::{
    codec::{
        Malformed, free_form, ids,
        json::{
            loose::Loose,
            read::{Object, Spelling, elements, malformed, read},
        },
        media,
    },
    dialect::Family,
    ir::{
        Block, Document, Media, MediaSource, Opaque, Reasoning, Request, Role, Text, ToolCall, ToolResult, Turn,
        Unknown,
    },
};

/// Reasoning in the history, as encoders name it.
const REASONING: &str = "messages[].reasoning_details";

/// Reads all messages into the request.
pub fn decode(messages: Vec<Object<'_>>, request: &mut Request) -> Result<(), Malformed> {
    let mut history = History { request, functions: 0, after_tool: false };
    for (index, message) in messages.into_iter().enumerate() {
        history.message(message, index).map_err(|error| error.within(&format!("messages[{index}]")))?;
    }
    Ok(())
}

/// The conversation so far.
struct History<'r> {
    request: &'r mut Request,
    /// Old-style function calls seen; pairs them with their results.
    functions: usize,
    /// Whether the last turn is a run of tool messages.
    after_tool: bool,
}

impl History<'_> {
    fn message(&mut self, mut message: Object<'_>, index: usize) -> Result<(), Malformed> {
        let role: String = message.need("role")?;
        let after_tool = std::mem::take(&mut self.after_tool);
        match role.as_str() {
            "system" | "developer" => {
                let blocks = self.content(&mut message)?;
                if self.request.turns.is_empty() {
                    self.request.system.extend(blocks);
                } else {
                    self.turn(Role::System, blocks, &mut message)?;
                }
            }
            "user" => {
                let blocks = self.content(&mut message)?;
                self.turn(Role::User, blocks, &mut message)?;
            }
            "assistant" => {
                let blocks = self.assistant(&mut message, index)?;
                self.turn(Role::Assistant, blocks, &mut message)?;
            }
            "tool" | "function" => self.result(&mut message, &role, after_tool)?,
            other => return Err(malformed(&format!("unknown role {other:?}")).within("role")),
        }
        self.note("messages[]", message);
        Ok(())
    }

    fn turn(&mut self, role: Role, blocks: Vec<Block>, message: &mut Object<'_>) -> Result<(), Malformed> {
        let name = message.take::<String>("name")?.filter(|name| !name.is_empty());
        self.request.turns.push(Turn { role, blocks, name });
        Ok(())
    }

    fn result(&mut self, message: &mut Object<'_>, role: &str, after_tool: bool) -> Result<(), Malformed> {
        let call_id = if role == "tool" { message.need("tool_call_id")? } else { function_id(self.functions) };
        let result = Block::ToolResult(ToolResult {
            call_id,
            name: message.take("name")?,
            content: self.content(message)?,
            is_error: None,
            cache: message.take_raw("cache_control").map(cache_mark).transpose()?,
        });
        self.after_tool = true;
        match self.request.turns.last_mut() {
            Some(turn) if after_tool => turn.blocks.push(result),
            _ => self.request.turns.push(Turn { role: Role::User, blocks: vec![result], name: None }),
        }
        Ok(())
    }

    /// Reasoning, then words, then calls: Chat keeps them apart, so their order is lost already.
    fn assistant(&mut self, message: &mut Object<'_>, index: usize) -> Result<Vec<Block>, Malformed> {
        let (mut blocks, on_text) = self.reasoning(message);
        blocks.extend(self.content(message)?);
        if let Some(state) = on_text {
            match blocks
                .iter_mut()
                .rev()
                .find_map(|block| if let Block::Text(text) = block { Some(text) } else { None })
            {
                Some(text) => text.state = Some(state),
                None => blocks.push(Block::Reasoning(Reasoning {
                    text: String::new(),
                    state: Some(state),
                    redacted: false,
                })),
            }
        }
        if let Some(refusal) = message.take::<String>("refusal")? {
            blocks.push(Block::Refusal(refusal));
        }
        // Clients send answers back as they read them; an empty list says nothing.
        if let Some(raw) = message.take_raw("annotations").filter(|raw| raw.get() != "[]") {
            self.request.extras.note(Family::OpenAi, "messages[].annotations", raw, false);
        }
        if let Some(audio) = message.take_raw("audio") {
            blocks.push(unknown("audio", audio));
        }
        // Pictures that servers give beside the words come back as they were given.
        if let Some((images, others)) = message.take_raw("images").map(annotations::images) {
            blocks.extend(images);
            if others {
                self.request.extras.note(Family::OpenAi, "messages[].images", RawValue::TRUE, false);
            }
        }
        for (position, call) in message.objects("tool_calls")?.into_iter().enumerate() {
            if is_empty_call(&call) {
                continue;
            }
            let place = format!("tool_calls[{position}]");
            let block = self.call(call, index, position).map_err(|error| error.within(&place))?;
            blocks.push(block);
        }
        if let Some(mut call) = message.object("function_call")?.filter(|call| !call.says_nothing()) {
            self.functions = self.functions.saturating_add(1);
            blocks.push(Block::ToolCall(ToolCall {
                id: function_id(self.functions),
                name: call.need_name().map_err(|error| error.within("function_call"))?,
                arguments: arguments(&mut call)?,
                state: None,
                cache: None,
            }));
        }
        Ok(blocks)
    }

    /// Reasoning of an earlier answer: what `reasoning_details` say, else the plain text of one of its two names; and
    /// state that hangs on the visible text.
    fn reasoning(&mut self, message: &mut Object<'_>) -> (Vec<Block>, Option<Opaque>) {
        if !message.has("reasoning_details") {
            let names = [("reasoning_content", "messages[].reasoning_content"), ("reasoning", "messages[].reasoning")];
            if let Some((_, written)) = names.into_iter().find(|(name, _)| message.has(name)) {
                self.spell_reasoning(written);
            }
        }
        let Reasoned { blocks, on_text, unknown } = reasoning_state::take(message);
        if unknown > 0 {
            self.request.extras.note(Family::OpenAi, REASONING, RawValue::TRUE, false);
        }
        (blocks, on_text)
    }

    /// Notes how this client writes reasoning.
    fn spell_reasoning(&mut self, written: &'static str) {
        let spelled = (REASONING, written);
        if !self.request.spelled.contains(&spelled) {
            self.request.spelled.push(spelled);
        }
    }

    fn call(&mut self, mut call: Object<'_>, message: usize, position: usize) -> Result<Block, Malformed> {
        let id = call.take::<Loose<'_>>("id")?.map(Loose::into_string);
        let id =
            id.filter(|id| !id.is_empty()).unwrap_or_else(|| ids::invented_call_id(&message.to_string(), position));
        let state = reasoning_state::take_call_state(&mut call)?;
        let cache = call.take_raw("cache_control").map(cache_mark).transpose()?;
        let CallBody { name, arguments, rest } = body_of_call(&mut call)?;
        if let Some((place, rest)) = rest {
            self.note(place, rest);
        }
        for known in ["type", "index"] {
            call.take_raw(known);
        }
        self.note("messages[].tool_calls[]", call);
        Ok(Block::ToolCall(ToolCall { id, name, arguments, state, cache }))
    }

    /// `content`, a string or a list of parts.
    fn content(&mut self, message: &mut Object<'_>) -> Result<Vec<Block>, Malformed> {
        let Some(raw) = message.take_raw("content") else { return Ok(Vec::new()) };
        if raw.get().starts_with('"') {
            let text: String = read(raw).map_err(|error| error.within("content"))?;
            return Ok(vec![Block::Text(Text { text, ..Text::default() })]);
        }
        if !raw.get().starts_with('[') {
            return Err(malformed("must be a string or a list of parts").within("content"));
        }
        let parts = elements(raw).map_err(|error| error.within("content"))?;
        let blocks = parts.into_iter().enumerate();
        blocks.map(|(index, raw)| self.part(raw).map_err(|error| error.within(&format!("content[{index}]")))).collect()
    }

    fn part(&mut self, raw: &RawValue) -> Result<Block, Malformed> {
        let mut part = Object::from_raw(raw, Spelling::Exact)?;
        let kind: String = part.need("type")?;
        let breakpoint = part.take_raw("prompt_cache_breakpoint");
        let cache = part.take_raw("cache_control").or(breakpoint).map(cache_mark).transpose()?;
        let block = match kind.as_str() {
            "text" | "input_text" | "output_text" => {
                Block::Text(Text { text: part.need("text")?, cache, ..Text::default() })
            }
            "refusal" => Block::Refusal(part.need("refusal")?),
            // Mistral's parts, in a history as in its answers.
            "thinking" => {
                self.spell_reasoning("messages[].content[].thinking");
                let text = part.take_raw("thinking").and_then(wire::thought).unwrap_or_default();
                Block::Reasoning(Reasoning { text, state: None, redacted: false })
            }
            "image_url" => Block::Image(self.picture(&mut part, "image_url", cache)?),
            "video_url" => Block::Video(self.picture(&mut part, "video_url", cache)?),
            "input_audio" => {
                let mut audio =
                    part.object("input_audio")?.ok_or_else(|| malformed("is required").within("input_audio"))?;
                let (data, format): (Cow<'_, str>, Cow<'_, str>) = (audio.need("data")?, audio.need("format")?);
                let source = media::inline(&media::audio_mime(&format), &data);
                self.note("messages[].content[].input_audio", audio);
                Block::Audio(Media { source, detail: None, state: None, cache })
            }
            "file" => {
                let mut file = part.object("file")?.ok_or_else(|| malformed("is required").within("file"))?;
                let document = document(&mut file).map_err(|error| error.within("file"))?;
                self.note("messages[].content[].file", file);
                Block::Document(Document { cache, ..document })
            }
            _ => return Ok(unknown(&kind, raw)),
        };
        self.note("messages[].content[]", part);
        Ok(block)
    }

    /// `{"url", "detail"}`, or the address alone as some clients write it.
    fn picture(
        &mut self,
        part: &mut Object<'_>,
        member: &str,
        cache: Option<crate::ir::CacheMark>,
    ) -> Result<Media, Malformed> {
        let raw = part.take_raw(member).ok_or_else(|| malformed("is required").within(member))?;
        let (url, detail): (String, Option<String>) = if raw.get().starts_with('"') {
            (read(raw)?, None)
        } else {
            let mut image = Object::from_raw(raw, Spelling::Exact).map_err(|error| error.within(member))?;
            let both = image.need("url").and_then(|url| Ok((url, image.take("detail")?)));
            self.note(&format!("messages[].content[].{member}"), image);
            both.map_err(|error| error.within(member))?
        };
        Ok(Media { source: media::from_url(&url), detail, state: None, cache })
    }

    /// Keeps what nobody took.
    fn note(&mut self, place: &str, rest: Object<'_>) {
        for (name, raw) in rest.rest() {
            self.request.extras.note(Family::OpenAi, format!("{place}.{name}"), raw, false);
        }
    }
}

/// Whether an element of `tool_calls` stands for no call at all: neither a name nor arguments, whatever its type. One that
/// has neither member is another thing.
pub fn is_empty_call(call: &Object<'_>) -> bool {
    ["function", "custom"].iter().all(|body| {
        call.peek(body).is_none_or(|raw| Object::from_raw(raw, Spelling::Exact).is_ok_and(|body| body.says_nothing()))
    }) && call.names("function") | call.names("custom")
}

/// What a call says.
pub struct CallBody<'a> {
    /// The tool's name.
    pub name: String,
    /// JSON text.
    pub arguments: String,
    /// What nobody took, and where in a history it stands.
    rest: Option<(&'static str, Object<'a>)>,
}

/// Name and arguments of a call of either type. The other type's member may be there without saying anything: some
/// servers write both.
pub fn body_of_call<'a>(call: &mut Object<'a>) -> Result<CallBody<'a>, Malformed> {
    if let Some(mut custom) = call.object("custom")?.filter(|custom| !custom.says_nothing()) {
        let named =
            custom.need_name().and_then(|name| Ok((name, free_form::wrap(&custom.need::<Cow<'_, str>>("input")?))));
        let (name, arguments) = named.map_err(|error| error.within("custom"))?;
        return Ok(CallBody { name, arguments, rest: Some(("messages[].tool_calls[].custom", custom)) });
    }
    let mut function = call.object("function")?.ok_or_else(|| malformed("is required").within("function"))?;
    let body = body_of_function(&mut function).map_err(|error| error.within("function"))?;
    Ok(CallBody { rest: Some(("messages[].tool_calls[].function", function)), ..body })
}

/// Name and arguments of a function that is called.
pub fn body_of_function<'a>(function: &mut Object<'_>) -> Result<CallBody<'a>, Malformed> {
    Ok(CallBody { name: function.need_name()?, arguments: arguments(function)?, rest: None })
}

/// `arguments`: a string of JSON text; some clients send the object itself.
fn arguments(function: &mut Object<'_>) -> Result<String, Malformed> {
    match function.take_raw("arguments") {
        None => Ok(String::new()),
        Some(raw) if raw.get().starts_with('"') => read(raw).map_err(|error| error.within("arguments")),
        Some(raw) => Ok(raw.get().to_owned()),
    }
}

fn document(file: &mut Object<'_>) -> Result<Document, Malformed> {
    let title = file.take::<String>("filename")?.filter(|title| !title.is_empty());
    let source = if let Some(id) = file.take("file_id")? {
        MediaSource::FileId { family: Family::OpenAi, id }
    } else {
        let data: String = file.need("file_data")?;
        let mime = title.as_deref().and_then(media::mime_of_name);
        media::parse_data_url(&data).unwrap_or_else(|| match media::is_address(&data) {
            // Not OpenAI's own, but what clients of compatible servers write.
            true => {
                MediaSource::Url { mime: mime.or_else(|| media::mime_of_name(&data)).map(str::to_owned), url: data }
            }
            false => media::inline(mime.unwrap_or("application/pdf"), &data),
        })
    };
    Ok(Document { source, title, context: None, citations: None, cache: None })
}

fn unknown(kind: &str, raw: &RawValue) -> Block {
    Block::Unknown(Unknown { family: Family::OpenAi, kind: kind.to_owned(), raw: raw.to_owned() })
}

fn function_id(position: usize) -> String {
    ids::invented_call_id("function", position)
}
