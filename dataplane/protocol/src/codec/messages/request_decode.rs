//! A client's Messages request, read (docs/protocols/messages.md).
//!
//! This is the translated lane: what Anthropic alone understands is noted as an extra, essential where a client would
//! notice its absence. Two things end here: Claude Code's attribution block, which changes with every request and would
//! defeat any other vendor's prefix cache (hard case 35), and message threads, whose history only Anthropic holds
//! (hard case 280).

use serde_json::value::RawValue;

use super::content_decode::{Reader, cache_mark};
use crate::{
    codec::{
        Malformed,
        json::read::{Object, Spelling, malformed},
        schema,
    },
    dialect::Family,
    ir::{Block, Effort, OutputFormat, ReasoningControl, Request, Role, Sampling, Tool, ToolChoice, ToolKind, Turn},
};

/// How Claude Code's first system block begins.
const ATTRIBUTION: &str = "x-anthropic-billing-header:";
/// Members that hold state or tools which no other vendor can stand in for. `context_management` is not among them: it
/// only makes a prompt smaller, and Claude Code sends it with every request.
const ESSENTIAL: [&str; 2] = ["container", "mcp_servers"];

/// Reads a request.
///
/// # Errors
/// When it is not legal Messages.
pub fn decode(body: &[u8]) -> Result<Request, Malformed> {
    let mut object = Object::parse(body, Spelling::Exact)?;
    if object.has("thread") {
        return Err(malformed("message threads are kept by Anthropic only; send the whole history").within("thread"));
    }
    let mut reader = Reader::default();
    let mut request = Request {
        model: object.need("model")?,
        stream: object.take("stream")?.unwrap_or(false),
        max_output: Some(object.need("max_tokens")?),
        sampling: sampling(&mut object)?,
        stop: stop(&mut object)?,
        service_tier: object.take("service_tier")?,
        ..Request::default()
    };
    request.system = system(&mut object, &mut reader)?;
    request.turns = turns(&mut object, &mut reader)?;
    request.tools = tools(&mut object, &mut reader)?;
    choice(&mut object, &mut request, &mut reader)?;
    request.reasoning = thinking(&mut object, &mut reader)?;
    output_config(&mut object, &mut request, &mut reader)?;
    if let Some(mut metadata) = object.object("metadata")? {
        let user: Option<String> = metadata.take("user_id").map_err(|error| error.within("metadata"))?;
        request.user = user.filter(|user| !user.is_empty());
        reader.leftover(metadata, "metadata.");
    }
    for (name, raw) in object.rest() {
        let essential = ESSENTIAL.contains(&name.as_ref());
        reader.note(name.into_owned(), raw, essential);
    }
    request.extras = reader.extras;
    Ok(request)
}

fn sampling(object: &mut Object<'_>) -> Result<Sampling, Malformed> {
    Ok(Sampling {
        temperature: object.take("temperature")?,
        top_p: object.take("top_p")?,
        top_k: object.take("top_k")?,
        ..Sampling::default()
    })
}

/// Empty ones say nothing.
fn stop(object: &mut Object<'_>) -> Result<Vec<String>, Malformed> {
    let texts: Vec<String> = object.take("stop_sequences")?.unwrap_or_default();
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn system(object: &mut Object<'_>, reader: &mut Reader) -> Result<Vec<Block>, Malformed> {
    let Some(raw) = object.take_raw("system") else {
        return Ok(Vec::new());
    };
    let mut blocks = reader.content_at("system[].", raw).map_err(|error| error.within("system"))?;
    if matches!(blocks.first(), Some(Block::Text(text)) if text.text.starts_with(ATTRIBUTION)) {
        blocks.remove(0);
    }
    Ok(blocks)
}

fn turns(object: &mut Object<'_>, reader: &mut Reader) -> Result<Vec<Turn>, Malformed> {
    if !object.has("messages") {
        return Err(malformed("is required").within("messages"));
    }
    let messages = object.objects("messages")?.into_iter().enumerate();
    messages
        .map(|(index, message)| turn(message, reader).map_err(|error| error.within(&format!("messages[{index}]"))))
        .collect()
}

fn turn(mut message: Object<'_>, reader: &mut Reader) -> Result<Turn, Malformed> {
    let role: String = message.need("role")?;
    let role = match role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => return Err(malformed(&format!("unknown role {other}")).within("role")),
    };
    let content: &RawValue = message.take_raw("content").ok_or_else(|| malformed("is required").within("content"))?;
    let blocks = reader.content(content).map_err(|error| error.within("content"))?;
    reader.leftover(message, "messages[].");
    Ok(Turn { role, blocks, name: None })
}

fn tools(object: &mut Object<'_>, reader: &mut Reader) -> Result<Vec<Tool>, Malformed> {
    let list = object.list("tools")?.into_iter().enumerate();
    list.map(|(index, raw)| tool(raw, reader).map_err(|error| error.within(&format!("tools[{index}]")))).collect()
}

/// A client's own tool often has no `type` (hard case 169); any other type is a tool that Anthropic runs or defines.
fn tool(raw: &RawValue, reader: &mut Reader) -> Result<Tool, Malformed> {
    let mut object = Object::from_raw(raw, Spelling::Exact)?;
    let kind: Option<String> = object.take("type")?;
    match kind {
        Some(kind) if kind != "custom" => Ok(Tool {
            name: object.take("name")?.unwrap_or_else(|| kind.clone()),
            description: None,
            kind: ToolKind::Server { family: Family::Anthropic, kind, raw: raw.to_owned() },
            strict: None,
            cache: None,
        }),
        Some(_) | None => {
            let tool = Tool {
                name: object.need_name()?,
                description: object.take("description")?,
                kind: ToolKind::Function(object.take_raw("input_schema").map(schema::modern)),
                strict: object.take("strict")?,
                cache: cache_mark(&mut object)?,
            };
            reader.leftover(object, "tools[].");
            Ok(tool)
        }
    }
}

fn choice(object: &mut Object<'_>, request: &mut Request, reader: &mut Reader) -> Result<(), Malformed> {
    let Some(mut choice) = object.object("tool_choice")? else {
        return Ok(());
    };
    let read = |choice: &mut Object<'_>| {
        let kind: String = choice.need("type")?;
        Ok(match kind.as_str() {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Named(choice.need("name")?),
            other => return Err(malformed(&format!("unknown choice {other}")).within("type")),
        })
    };
    let place = |error: Malformed| error.within("tool_choice");
    request.tool_choice = Some(read(&mut choice).map_err(place)?);
    choice.take_raw("name");
    let disabled: Option<bool> = choice.take("disable_parallel_tool_use").map_err(place)?;
    request.parallel_tools = disabled.map(|disabled| !disabled);
    reader.leftover(choice, "tool_choice.");
    Ok(())
}

fn thinking(object: &mut Object<'_>, reader: &mut Reader) -> Result<ReasoningControl, Malformed> {
    let Some(raw) = object.take_raw("thinking") else {
        return Ok(ReasoningControl::default());
    };
    let mut read = || -> Result<ReasoningControl, Malformed> {
        let mut thinking = Object::from_raw(raw, Spelling::Exact)?;
        let kind: String = thinking.need("type")?;
        let visible = thinking.take::<String>("display")?.map(|display| display != "omitted");
        let mut control = ReasoningControl { visible, ..ReasoningControl::default() };
        match kind.as_str() {
            "enabled" => {
                control.enabled = Some(true);
                control.budget = Some(thinking.need("budget_tokens")?);
            }
            "adaptive" => {
                control.enabled = Some(true);
                control.adaptive = true;
            }
            "disabled" => control.enabled = Some(false),
            _ => {
                reader.note("thinking".to_owned(), raw, false);
                return Ok(control);
            }
        }
        // A budget beside another type says nothing.
        thinking.take_raw("budget_tokens");
        reader.leftover(thinking, "thinking.");
        Ok(control)
    };
    read().map_err(|error| error.within("thinking"))
}

fn output_config(object: &mut Object<'_>, request: &mut Request, reader: &mut Reader) -> Result<(), Malformed> {
    let place = |error: Malformed| error.within("output_config");
    let mut format = object.object("output_format")?;
    if format.is_some() {
        request.spelled.push(("output_config.format", "output_format"));
    }
    if let Some(mut config) = object.object("output_config")? {
        if let Some(raw) = config.take_raw("effort") {
            match effort(raw) {
                Some(effort) => request.reasoning.effort = Some(effort),
                None => reader.note("output_config.effort".to_owned(), raw, false),
            }
        }
        format = config.object("format").map_err(place)?.or(format);
        reader.leftover(config, "output_config.");
    }
    let Some(mut format) = format else { return Ok(()) };
    let schema = format.take_raw("schema").ok_or_else(|| place(malformed("is required").within("format.schema")))?;
    format.take_raw("type");
    request.output = OutputFormat::JsonSchema {
        name: format.take("name").map_err(place)?,
        description: None,
        schema: schema::modern(schema),
        strict: Some(true),
    };
    reader.leftover(format, "output_config.format.");
    Ok(())
}

fn effort(raw: &RawValue) -> Option<Effort> {
    match raw.get() {
        r#""low""# => Some(Effort::Low),
        r#""medium""# => Some(Effort::Medium),
        r#""high""# => Some(Effort::High),
        r#""xhigh""# => Some(Effort::XHigh),
        r#""max""# => Some(Effort::Max),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
