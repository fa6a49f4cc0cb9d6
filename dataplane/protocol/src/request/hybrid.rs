//! A Responses body at the Chat path, as Cursor sends it to an overridden base URL: `input`, flat tools and
//! `instructions` go to `/chat/completions`, and Chat chunks are expected back.
//!
//! It is rewritten as the Chat request that it means before anything else looks at it, so that routing, limits, every
//! lane and the answer are a Chat call's. What Chat has no place for is reported like any dropped field; what cannot be
//! left out without another meaning (a conversation kept by the vendor) is refused.

mod input;
mod lost;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::bounds::check_objects;
use crate::{
    codec::{
        Malformed,
        json::{
            read::{Object, Spelling, malformed},
            write::{self, Elements, Members},
        },
    },
    scan::{Kind, Scan},
};

pub(super) use lost::Lost;

/// How many times its length a body may become, and how much longer any may become, in bytes. The least item of a
/// history, a call, is about four times as long in Chat.
const GROWTH: (usize, usize) = (6, 64 << 10);

/// The Chat request.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// Its body.
    pub body: Bytes,
    /// What had no place in it.
    pub lost: Lost,
}

/// Responses members that ask for a state which only the vendor has.
const STATEFUL: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// Responses members without a place in Chat, whose loss does not change what is answered.
const WITHOUT_PLACE: [&str; 5] = ["include", "truncation", "background", "max_tool_calls", "context_management"];

/// Rewrites a body that has `input` and no messages.
///
/// # Errors
/// When it is no legal Responses request, or one that Chat cannot express.
pub(super) fn rewritten(scan: &Scan, body: &[u8]) -> Result<Option<Rewritten>, Malformed> {
    let has_messages = scan
        .last(body, "messages")
        .is_some_and(|value| !matches!(value.kind, Kind::Null | Kind::Array { empty: true }));
    let has_input = scan.last(body, "input").is_some_and(|value| value.kind != Kind::Null);
    if has_messages || !has_input {
        return Ok(None);
    }
    check_objects(scan)?;
    // What decides routing and limits may not repeat: reading takes the last one, which nobody could see any more.
    for name in ["model", "stream", "stream_options", "input", "max_output_tokens"] {
        scan.once(body, name)?;
    }
    let mut top = Object::parse(body, Spelling::Exact)?;
    if let Some(name) = STATEFUL.into_iter().find(|name| top.has(name)) {
        return Err(
            malformed("refers to state that is kept elsewhere; send the whole conversation in input").within(name)
        );
    }
    let mut lost = Lost::default();
    top.take_raw("messages");
    let turns = input::turns(&mut top, &mut lost)?;
    let settings = Settings::take(&mut top, &mut lost)?;
    let most = body.len().saturating_mul(GROWTH.0).saturating_add(GROWTH.1);
    let (mut out, mut is_full) = (Vec::with_capacity(body.len()), false);
    let instructions = top.take_raw("instructions");
    write::object_within(&mut out, most, |out| {
        for (name, raw) in top.rest() {
            if WITHOUT_PLACE.contains(&name.as_ref()) {
                lost.add(|| name.into_owned());
            } else {
                out.put_json(&name, raw.get());
            }
        }
        settings.write(out);
        out.list("messages", |messages| {
            if let Some(instructions) = instructions {
                messages.object(|message| {
                    message.put("role", "system");
                    message.put_json("content", instructions.get());
                });
            }
            turns.iter().for_each(|turn| turn.write(messages));
        });
        is_full = out.is_full();
    });
    if is_full {
        return Err(malformed("becomes too large as a Chat request").within("input"));
    }
    Ok(Some(Rewritten { body: out.into(), lost }))
}

/// Members that Chat spells in another way.
struct Settings<'a> {
    max_output: Option<&'a RawValue>,
    effort: Option<&'a RawValue>,
    verbosity: Option<&'a RawValue>,
    format: Option<Format<'a>>,
    top_logprobs: Option<&'a RawValue>,
    tools: Vec<String>,
    tool_choice: Option<String>,
}

/// The form of the answer.
enum Format<'a> {
    Schema(Vec<(Cow<'a, str>, &'a RawValue)>),
    Other(&'a RawValue),
}

impl<'a> Settings<'a> {
    fn take(top: &mut Object<'a>, lost: &mut Lost) -> Result<Self, Malformed> {
        let mut reasoning = top.object("reasoning")?;
        let effort = reasoning.as_mut().and_then(|reasoning| reasoning.take_raw("effort"));
        drop_rest(reasoning, "reasoning", lost);
        let mut text = top.object("text")?;
        let verbosity = text.as_mut().and_then(|text| text.take_raw("verbosity"));
        let format = match text.as_mut().and_then(|text| text.take_raw("format")) {
            Some(raw) => Some(answer_format(raw).map_err(|error| error.within("text.format"))?),
            None => None,
        };
        drop_rest(text, "text", lost);
        let mut tools = Vec::new();
        for (index, raw) in top.list("tools")?.into_iter().enumerate() {
            let place = || format!("tools[{index}]");
            match tool(raw).map_err(|error| error.within(&place()))? {
                Some(tool) => tools.push(tool),
                None => lost.add(place),
            }
        }
        let tool_choice = match top.take_raw("tool_choice") {
            Some(raw) => choice(raw, lost).map_err(|error| error.within("tool_choice"))?,
            None => None,
        };
        let (max_output, top_logprobs) = (top.take_raw("max_output_tokens"), top.take_raw("top_logprobs"));
        let settings = Self { max_output, effort, verbosity, format, top_logprobs, tools, tool_choice };
        settings.displace(top, lost);
        Ok(settings)
    }

    /// What Chat's own spelling says beside Responses' of the same would stand in the body twice.
    fn displace(&self, top: &mut Object<'_>, lost: &mut Lost) {
        let twins = [
            ("max_completion_tokens", self.max_output.is_some()),
            ("reasoning_effort", self.effort.is_some()),
            ("verbosity", self.verbosity.is_some()),
            ("response_format", self.format.is_some()),
            ("logprobs", self.top_logprobs.is_some()),
        ];
        for (name, _) in twins.into_iter().filter(|(_, is_said)| *is_said) {
            let says_the_same = |raw: &RawValue| name == "logprobs" && raw.get() == "true";
            if top.take_raw(name).is_some_and(|raw| !says_the_same(raw)) {
                lost.add(|| name.to_owned());
            }
        }
    }

    fn write(&self, out: &mut Members<'_>) {
        let raw = [
            ("max_completion_tokens", self.max_output),
            ("reasoning_effort", self.effort),
            ("verbosity", self.verbosity),
            ("top_logprobs", self.top_logprobs),
        ];
        for (name, value) in raw {
            if let Some(value) = value {
                out.put_json(name, value.get());
            }
        }
        if self.top_logprobs.is_some() {
            out.put("logprobs", &true);
        }
        match &self.format {
            Some(Format::Other(raw)) => out.put_json("response_format", raw.get()),
            Some(Format::Schema(members)) => out.object("response_format", |format| {
                format.put("type", "json_schema");
                format.object("json_schema", |schema| input::put_all(schema, members));
            }),
            None => {}
        }
        if !self.tools.is_empty() {
            out.list("tools", |list: &mut Elements<'_>| self.tools.iter().for_each(|tool| list.put_json(tool)));
        }
        if let Some(choice) = &self.tool_choice {
            out.put_json("tool_choice", choice);
        }
    }
}

fn drop_rest(object: Option<Object<'_>>, name: &str, lost: &mut Lost) {
    for (member, _) in object.into_iter().flat_map(Object::rest) {
        lost.add(|| format!("{name}.{member}"));
    }
}

fn answer_format(raw: &RawValue) -> Result<Format<'_>, Malformed> {
    let mut format = Object::from_raw(raw, Spelling::Exact)?;
    let kind: Option<String> = format.take("type")?;
    // Chat's own form is nested already.
    if kind.as_deref() == Some("json_schema") && !format.has("json_schema") {
        return Ok(Format::Schema(format.rest().collect()));
    }
    Ok(Format::Other(raw))
}

/// A tool as Chat has it; none for the vendor's own tools, which only Responses has.
fn tool(raw: &RawValue) -> Result<Option<String>, Malformed> {
    let mut tool = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = tool.take("type")?.unwrap_or_else(|| "function".to_owned());
    if !matches!(kind.as_str(), "function" | "custom") {
        return Ok(None);
    }
    if tool.has(&kind) {
        return Ok(Some(raw.get().to_owned()));
    }
    let grammar = if kind == "custom" { tool.take_raw("format") } else { None };
    let members: Vec<_> = tool.rest().collect();
    let grammar = grammar.map(grammar_of).transpose()?;
    Ok(Some(write::text(|out| {
        out.put("type", &kind);
        out.object(&kind, |inner| {
            input::put_all(inner, &members);
            if let Some(grammar) = &grammar {
                inner.put_json("format", grammar);
            }
        });
    })))
}

/// `{type, syntax, definition}` is `{type, grammar: {syntax, definition}}` in Chat.
fn grammar_of(raw: &RawValue) -> Result<String, Malformed> {
    let mut format = Object::from_raw(raw, Spelling::Exact).map_err(|error| error.within("format"))?;
    let kind: Option<String> = format.take("type")?;
    if kind.as_deref() != Some("grammar") || format.has("grammar") {
        return Ok(raw.get().to_owned());
    }
    let members: Vec<_> = format.rest().collect();
    Ok(write::text(|out| {
        out.put("type", "grammar");
        out.object("grammar", |grammar| input::put_all(grammar, &members));
    }))
}

/// `"auto"` and the like stay; a tool that is named moves one level down. A choice among the vendor's own tools is lost
/// with them.
fn choice(raw: &RawValue, lost: &mut Lost) -> Result<Option<String>, Malformed> {
    if raw.get().starts_with('"') {
        return Ok(Some(raw.get().to_owned()));
    }
    let mut choice = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = choice.need("type")?;
    match kind.as_str() {
        "function" | "custom" | "allowed_tools" if choice.has(&kind) => return Ok(Some(raw.get().to_owned())),
        "function" | "custom" => return named(&kind, choice).map(Some),
        "allowed_tools" => {
            if let Some(allowed) = allowed(choice, lost)? {
                return Ok(Some(allowed));
            }
        }
        _ => {}
    }
    lost.add(|| "tool_choice".to_owned());
    Ok(None)
}

/// A tool by its name, as Chat has it.
fn named(kind: &str, mut tool: Object<'_>) -> Result<String, Malformed> {
    let name = tool.need_name()?;
    Ok(write::text(|out| {
        out.put("type", kind);
        out.object(kind, |inner| inner.put("name", &name));
    }))
}

/// `{type, mode, tools}` is `{type, allowed_tools: {mode, tools}}` in Chat. None if no tool is left.
fn allowed(mut choice: Object<'_>, lost: &mut Lost) -> Result<Option<String>, Malformed> {
    let mode = choice.take_raw("mode");
    let mut tools = Vec::new();
    for (index, raw) in choice.list("tools")?.into_iter().enumerate() {
        let place = || format!("tools[{index}]");
        let mut tool = Object::from_raw(raw, Spelling::Exact).map_err(|error| error.within(&place()))?;
        let kind: String = tool.need("type").map_err(|error| error.within(&place()))?;
        match kind.as_str() {
            "function" | "custom" if tool.has(&kind) => tools.push(raw.get().to_owned()),
            "function" | "custom" => tools.push(named(&kind, tool).map_err(|error| error.within(&place()))?),
            _ => lost.add(|| format!("tool_choice.{}", place())),
        }
    }
    let text = |tools: &[String]| {
        write::text(|out| {
            out.put("type", "allowed_tools");
            out.object("allowed_tools", |inner| {
                if let Some(mode) = mode {
                    inner.put_json("mode", mode.get());
                }
                inner.list("tools", |list| tools.iter().for_each(|tool| list.put_json(tool)));
            });
        })
    };
    Ok((!tools.is_empty()).then(|| text(&tools)))
}

#[cfg(test)]
mod tests;
