//! `input`: from items to turns and blocks.
//!
//! Items stand in a flat list; those of one speaker in a row are one turn, so that an answer's reasoning, words and calls
//! stay together (hard case 119). The leading run of `system` and `developer` messages goes to the system prompt, behind
//! `instructions`; later ones stay in place. Words between a call and its result go before the call, since nothing may
//! stand there (hard case 120).
//!
//! Traces of tools that ran at the vendor are kept as they are, for the target's encoder to tell in words. What only the
//! vendor can look up is noted as essential.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{content, tools};
use crate::{
    codec::{
        Malformed, block_text, free_form, ids,
        json::{
            loose::Loose,
            read::{Object, Spelling, elements, malformed, read},
        },
        media,
        responses::{names, reasoning_state, web_search},
        tagged_state::{self, Carried, Place},
    },
    dialect::Family,
    ir::{Block, Media, Opaque, Reasoning, Request, Role, Text, ToolCall, ToolResult, Turn, Unknown},
};

/// Reads all items into the request.
pub fn decode(raw: &RawValue, request: &mut Request) -> Result<(), Malformed> {
    let mut history = History { request, for_next_call: None, last: Last::default() };
    if raw.get().starts_with('"') {
        let text = read(raw)?;
        history.add(Role::User, Block::Text(Text { text, ..Text::default() }));
        return Ok(());
    }
    if !raw.get().starts_with('[') {
        return Err(malformed("must be a string or a list of items"));
    }
    for (index, raw) in elements(raw)?.into_iter().enumerate() {
        history.item(raw, index).map_err(|error| error.within(&format!("[{index}]")))?;
    }
    request.turns.iter_mut().filter(|turn| turn.role == Role::Assistant).for_each(words_first);
    Ok(())
}

/// The conversation so far.
struct History<'r> {
    request: &'r mut Request,
    /// State that stood before the call that it belongs to.
    for_next_call: Option<Opaque>,
    last: Last,
}

/// The last turn, if it may go on.
#[derive(Default)]
enum Last {
    /// It may not.
    #[default]
    Over,
    /// A run of results.
    Results,
    /// The model's, with the places of its last words and of its last call.
    Model { text: Option<usize>, call: Option<usize> },
}

impl History<'_> {
    fn item(&mut self, raw: &RawValue, index: usize) -> Result<(), Malformed> {
        let mut item = Object::from_raw(raw, Spelling::Exact)?;
        let kind: String = match item.take("type")? {
            Some(kind) => kind,
            None => typeless(&item).to_owned(),
        };
        match kind.as_str() {
            "message" => self.message(&mut item)?,
            "function_call" | "custom_tool_call" => self.call(&mut item, kind == "custom_tool_call", index)?,
            "function_call_output" | "custom_tool_call_output" => self.output(&mut item)?,
            "reasoning" => self.reasoning(&mut item)?,
            "image_generation_call" if item.has("result") => self.picture(&mut item)?,
            "additional_tools" => {
                for (index, raw) in item.list("tools")?.into_iter().enumerate() {
                    tools::decode(raw, self.request).map_err(|error| error.within(&format!("tools[{index}]")))?;
                }
                item.take_raw("role");
            }
            "agent_message" => self.agent_message(&mut item)?,
            _ => {
                self.foreign(kind, raw);
                return Ok(());
            }
        }
        // An item's own id, its state of completion and its part in the turn mean nothing to another vendor.
        for name in ["id", "status", "phase", "object", "created_by"] {
            item.take_raw(name);
        }
        for (name, raw) in item.rest() {
            self.request.extras.note(Family::OpenAi, format!("input[].{name}"), raw, false);
        }
        Ok(())
    }

    fn message(&mut self, item: &mut Object<'_>) -> Result<(), Malformed> {
        let role: String = item.need("role")?;
        let speaker = match role.as_str() {
            "system" | "developer" => Role::System,
            "user" | "critic" | "discriminator" | "tool" => Role::User,
            "assistant" => Role::Assistant,
            other => return Err(malformed(&format!("unknown role {other:?}")).within("role")),
        };
        let blocks = match item.take_raw("content") {
            Some(raw) => {
                content::decode(raw, "input[].content[]", self.request).map_err(|error| error.within("content"))?
            }
            None => Vec::new(),
        };
        match speaker {
            Role::System if self.request.turns.is_empty() => self.request.system.extend(blocks),
            // Two messages of a user stay two.
            Role::System | Role::User => {
                self.last = Last::Over;
                self.request.turns.push(Turn { role: speaker, blocks, name: item.take("name")? });
            }
            Role::Assistant => blocks.into_iter().for_each(|block| self.say(block)),
        }
        Ok(())
    }

    /// A block of the model's.
    fn say(&mut self, block: Block) {
        if !matches!(self.last, Last::Model { .. }) {
            self.last = Last::Model { text: None, call: None };
            self.request.turns.push(Turn { role: Role::Assistant, blocks: Vec::new(), name: None });
        }
        let (Last::Model { text, call }, Some(turn)) = (&mut self.last, self.request.turns.last_mut()) else { return };
        match block {
            Block::Text(_) => *text = Some(turn.blocks.len()),
            Block::ToolCall(_) => *call = Some(turn.blocks.len()),
            _ => {}
        }
        turn.blocks.push(block);
    }

    fn call(&mut self, item: &mut Object<'_>, custom: bool, index: usize) -> Result<(), Malformed> {
        let own = item.take::<Loose<'_>>("id")?.map(Loose::into_string);
        let id = item.take::<Loose<'_>>("call_id")?.map(Loose::into_string).or(own).filter(|id| !id.is_empty());
        let name = item.need_name()?;
        let namespace: Option<String> = item.take("namespace")?.filter(|namespace: &String| !namespace.is_empty());
        if namespace.as_ref().is_some_and(|namespace| namespace.len() > crate::codec::json::read::MAX_TOOL_NAME) {
            return Err(malformed("is too long").within("namespace"));
        }
        let arguments = match item.take_raw(if custom { "input" } else { "arguments" }) {
            Some(raw) if custom => free_form::wrap(&read::<Cow<'_, str>>(raw).map_err(|error| error.within("input"))?),
            Some(raw) if raw.get().starts_with('"') => read(raw).map_err(|error| error.within("arguments"))?,
            // Some clients send the object itself.
            Some(raw) => raw.get().to_owned(),
            None if custom => free_form::wrap(""),
            None => String::new(),
        };
        let state = self.for_next_call.take();
        let call = ToolCall {
            id: id.unwrap_or_else(|| ids::invented_call_id("input", index)),
            name: namespace.map_or_else(|| name.clone(), |namespace| names::flat(&namespace, &name)),
            arguments,
            state,
            cache: None,
        };
        self.say(Block::ToolCall(call));
        Ok(())
    }

    /// `output`: a text, parts, or what some clients send as it is.
    fn output(&mut self, item: &mut Object<'_>) -> Result<(), Malformed> {
        let call_id = item.need::<Loose<'_>>("call_id")?.into_string();
        let content = match item.take_raw("output") {
            Some(raw) if raw.get().starts_with(['"', '[']) => {
                content::decode(raw, "input[].output[]", self.request).map_err(|error| error.within("output"))?
            }
            Some(raw) => vec![Block::Text(Text { text: raw.get().to_owned(), ..Text::default() })],
            None => Vec::new(),
        };
        let result = ToolResult { call_id, name: item.take("name")?, content, is_error: None, cache: None };
        let block = Block::ToolResult(result);
        match self.request.turns.last_mut() {
            Some(turn) if matches!(self.last, Last::Results) => turn.blocks.push(block),
            _ => self.add(Role::User, block),
        }
        self.last = Last::Results;
        Ok(())
    }

    fn reasoning(&mut self, item: &mut Object<'_>) -> Result<(), Malformed> {
        let mut words = |name: &str| -> Result<String, Malformed> {
            let parts = item.objects(name)?.into_iter();
            let texts: Vec<String> = parts.filter_map(|mut part| part.take("text").ok().flatten()).collect();
            Ok(texts.join("\n\n"))
        };
        let (summary, content) = (words("summary")?, words("content")?);
        let text = if summary.is_empty() { content } else { summary };
        let id: Option<String> = item.take("id")?;
        let encrypted: Option<String> = item.take("encrypted_content")?.filter(|text: &String| !text.is_empty());
        let carried = match encrypted.as_deref() {
            Some(text) => tagged_state::read(text).unwrap_or_else(|| native(id.as_deref(), text)),
            None => Carried { place: Place::Thought, state: None },
        };
        if carried.place == Place::Hosted {
            self.hosted(carried.state.as_ref());
        } else if carried.belongs_here() {
            let redacted = carried.place == Place::Redacted;
            self.say(Block::Reasoning(Reasoning { text, state: carried.state, redacted }));
        } else {
            self.hang(carried);
        }
        Ok(())
    }

    /// What another vendor ran on its side, in the place of the item that told this client of it.
    fn hosted(&mut self, state: Option<&Opaque>) {
        let Some(blocks) = state.and_then(web_search::blocks) else { return };
        let is_model = matches!(self.last, Last::Model { .. });
        let told = |block: &mut Block| matches!(block, Block::Unknown(unknown) if unknown.kind == web_search::ITEM);
        if let Some(turn) = self.request.turns.last_mut().filter(|_| is_model) {
            turn.blocks.pop_if(told);
        }
        blocks.into_iter().for_each(|block| self.say(Block::Unknown(block)));
    }

    /// Gives state to what it belongs to.
    fn hang(&mut self, carried: Carried) {
        let Last::Model { text, call } = self.last else {
            self.for_next_call = carried.state.filter(|_| carried.place == Place::CallBehind);
            return;
        };
        let at = match carried.place {
            Place::CallBehind => return self.for_next_call = carried.state,
            Place::TextBefore => text,
            Place::CallBefore => call,
            Place::Thought | Place::Redacted | Place::Hosted => None,
        };
        let blocks = self.request.turns.last_mut().map(|turn| &mut turn.blocks);
        match at.zip(blocks).and_then(|(at, blocks)| blocks.get_mut(at)) {
            Some(Block::Text(text)) => text.state = carried.state,
            Some(Block::ToolCall(call)) => call.state = carried.state,
            _ => {}
        }
    }

    /// A picture that the model made.
    fn picture(&mut self, item: &mut Object<'_>) -> Result<(), Malformed> {
        let format: Option<Cow<'_, str>> = item.take("output_format")?;
        let mime = format!("image/{}", format.as_deref().unwrap_or("png"));
        let source = media::inline(&mime, &item.need::<Cow<'_, str>>("result")?);
        for name in ["action", "background", "quality", "revised_prompt", "size"] {
            item.take_raw(name);
        }
        self.say(Block::Image(Media { source, detail: None, state: None, cache: None }));
        Ok(())
    }

    /// What one of Codex's agents says to another, which is the one that is asked here; older versions wrote the model's
    /// own words so.
    fn agent_message(&mut self, item: &mut Object<'_>) -> Result<(), Malformed> {
        let is_told = item.has("author") || item.has("recipient");
        let mut blocks = Vec::new();
        if let Some(raw) = item.take_raw("content") {
            let read = content::decode(raw, "input[].content[]", self.request);
            blocks = read.map_err(|error| error.within("content"))?;
        }
        for name in ["message", "text"] {
            if let Some(text) = item.take::<String>(name)? {
                blocks.push(Block::Text(Text { text, ..Text::default() }));
            }
        }
        for name in ["author", "recipient"] {
            item.take_raw(name);
        }
        if is_told {
            self.last = Last::Over;
            self.request.turns.push(Turn { role: Role::User, blocks, name: None });
        } else {
            blocks.into_iter().for_each(|block| self.say(block));
        }
        Ok(())
    }

    /// What has no other place: the vendor's own tools and what they gave, and references.
    fn foreign(&mut self, kind: String, raw: &RawValue) {
        match kind.as_str() {
            // Only the vendor can read what they stand for, and without it another conversation would be answered.
            "item_reference" | "compaction" | "context_compaction" => {
                self.request.extras.note(Family::OpenAi, format!("input[].{kind}"), raw, true);
            }
            "agent_reasoning" | "compaction_trigger" | "configuration_update" => {
                self.request.extras.note(Family::OpenAi, format!("input[].{kind}"), raw, false);
            }
            _ => {
                let is_answer = kind.ends_with("_output") || kind.ends_with("_response");
                let unknown = Unknown { family: Family::OpenAi, kind, raw: raw.to_owned() };
                if is_answer {
                    // The client's side of such a tool, in words: no call of another upstream's model waits for it.
                    let field = format!("input[].{}", unknown.kind);
                    self.request.extras.note(Family::OpenAi, field, RawValue::TRUE, false);
                    let text = block_text::as_text(&unknown);
                    self.add(Role::User, Block::Text(Text { text, ..Text::default() }));
                } else {
                    self.say(Block::Unknown(unknown));
                }
            }
        }
    }

    fn add(&mut self, role: Role, block: Block) {
        self.last = Last::Over;
        self.request.turns.push(Turn { role, blocks: vec![block], name: None });
    }
}

/// Puts words that stand behind a call before the first one, and leaves the order else as it is.
fn words_first(turn: &mut Turn) {
    let first = turn.blocks.iter().position(|block| matches!(block, Block::ToolCall(_)));
    let Some(first) = first else { return };
    let (words, rest): (Vec<Block>, Vec<Block>) =
        turn.blocks.drain(first..).partition(|block| !matches!(block, Block::ToolCall(_) | Block::Reasoning(_)));
    turn.blocks.extend(words);
    turn.blocks.extend(rest);
}

/// What an item without a type is: mostly a message (hard case 22).
fn typeless(item: &Object<'_>) -> &'static str {
    if item.has("role") {
        return "message";
    }
    match (item.has("call_id"), item.has("output"), item.has("arguments")) {
        (true, true, _) => "function_call_output",
        (true, false, true) => "function_call",
        _ if item.has("summary") => "reasoning",
        // An id alone is a reference.
        _ if item.has("id") && !item.has("content") => "item_reference",
        _ => "message",
    }
}

/// OpenAI's own state, with the item's id that it is bound to.
fn native(id: Option<&str>, encrypted: &str) -> Carried {
    let value = reasoning_state::join(id, encrypted);
    Carried { place: Place::Thought, state: Some(Opaque { family: Family::OpenAi, value }) }
}
