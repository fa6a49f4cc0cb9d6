//! A client's Converse request, read (docs/protocols/converse.md). The model and whether a stream is wanted stand in the
//! path.
//!
//! What `additionalModelRequestFields` says in the words of Claude, Nova or `OpenAI`'s open models has a name in the neutral
//! representation and is read; other fields are noted.

use serde_json::value::RawValue;

use super::content_decode::{Reader, cache_point};
use crate::{
    codec::{
        Head, Malformed, effort,
        json::read::{Object, Spelling, malformed, read},
        schema,
    },
    dialect::Family,
    ir::{OutputFormat, ReasoningControl, Request, Role, Tool, ToolChoice, ToolKind, Turn},
};

/// Where members stand that are their vendor's own.
const ADDITIONAL: &str = "additionalModelRequestFields";
/// Members without which another question would be answered.
const ESSENTIAL: [&str; 1] = ["promptVariables"];

/// Reads a request.
///
/// # Errors
/// When it is not legal Converse.
pub fn decode(body: &[u8], head: &Head) -> Result<Request, Malformed> {
    let mut object = Object::parse(body, Spelling::Exact)?;
    let mut reader = Reader::default();
    let mut request = Request {
        model: head.model.clone().ok_or_else(|| malformed("the model is missing in the path"))?,
        stream: head.stream,
        ..Request::default()
    };
    if let Some(raw) = object.take_raw("system") {
        request.system = reader.content(raw).map_err(|error| error.within("system"))?;
    }
    if !object.has("messages") {
        return Err(malformed("is required").within("messages"));
    }
    for (index, message) in object.objects("messages")?.into_iter().enumerate() {
        let turn = turn(message, &mut reader).map_err(|error| error.within(&format!("messages[{index}]")))?;
        request.turns.push(turn);
    }
    if let Some(mut config) = object.object("inferenceConfig")? {
        inference(&mut config, &mut request).map_err(|error| error.within("inferenceConfig"))?;
        note_rest(config, "inferenceConfig.", &mut reader);
    }
    if let Some(mut config) = object.object("toolConfig")? {
        tools(&mut config, &mut request, &mut reader).map_err(|error| error.within("toolConfig"))?;
        note_rest(config, "toolConfig.", &mut reader);
    }
    if let Some(mut config) = object.object("outputConfig")? {
        output(&mut config, &mut request, &mut reader).map_err(|error| error.within("outputConfig"))?;
        note_rest(config, "outputConfig.", &mut reader);
    }
    if let Some(mut tier) = object.object("serviceTier")? {
        request.service_tier = tier.take("type").map_err(|error| error.within("serviceTier"))?;
    }
    if let Some(fields) = object.object(ADDITIONAL)? {
        additional(fields, &mut request, &mut reader).map_err(|error| error.within(ADDITIONAL))?;
    }
    for (name, raw) in object.rest() {
        let essential = ESSENTIAL.contains(&name.as_ref());
        reader.extras.note(Family::Bedrock, name.into_owned(), raw, essential);
    }
    request.extras = reader.extras;
    Ok(request)
}

fn note_rest(object: Object<'_>, place: &str, reader: &mut Reader) {
    for (name, raw) in object.rest() {
        reader.note(&format!("{place}{name}"), raw);
    }
}

fn turn(mut message: Object<'_>, reader: &mut Reader) -> Result<Turn, Malformed> {
    let role: String = message.need("role")?;
    let role = match role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => return Err(malformed(&format!("unknown role {other}")).within("role")),
    };
    let blocks = match message.take_raw("content") {
        Some(raw) => reader.content(raw).map_err(|error| error.within("content"))?,
        None => Vec::new(),
    };
    note_rest(message, "messages[].", reader);
    Ok(Turn { role, blocks, name: None })
}

fn inference(config: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    request.max_output = config.take("maxTokens")?;
    request.sampling.temperature = config.take("temperature")?;
    request.sampling.top_p = config.take("topP")?;
    let stop: Vec<String> = config.take("stopSequences")?.unwrap_or_default();
    request.stop = stop.into_iter().filter(|text| !text.is_empty()).collect();
    Ok(())
}

fn tools(config: &mut Object<'_>, request: &mut Request, reader: &mut Reader) -> Result<(), Malformed> {
    for (index, raw) in config.list("tools")?.into_iter().enumerate() {
        let place = |error: Malformed| error.within(&format!("tools[{index}]"));
        let mut object = Object::from_raw(raw, Spelling::Exact).map_err(place)?;
        if object.has("cachePoint") {
            let mark = cache_point(&mut object).map_err(place)?;
            if let Some(tool) = request.tools.last_mut() {
                tool.cache = Some(mark);
            }
            continue;
        }
        let tool = match object.object("toolSpec").map_err(place)? {
            Some(spec) => function(spec, reader).map_err(|error| place(error.within("toolSpec")))?,
            None => server(object, raw).map_err(place)?,
        };
        request.tools.push(tool);
    }
    if let Some(mut choice) = config.object("toolChoice")? {
        let named = choice.object("tool").map_err(|error| error.within("toolChoice"))?;
        request.tool_choice = if let Some(mut named) = named {
            Some(ToolChoice::Named(named.need("name").map_err(|error| error.within("toolChoice.tool"))?))
        } else if choice.has("any") {
            Some(ToolChoice::Required)
        } else {
            choice.has("auto").then_some(ToolChoice::Auto)
        };
    }
    Ok(())
}

fn function(mut spec: Object<'_>, reader: &mut Reader) -> Result<Tool, Malformed> {
    let name = spec.need_name()?;
    let mut input = spec.object("inputSchema")?;
    let schema = input.as_mut().and_then(|input| input.take_raw("json")).map(schema::modern);
    let tool = Tool {
        name,
        description: spec.take("description")?,
        kind: ToolKind::Function(schema),
        strict: spec.take("strict")?,
        cache: None,
    };
    note_rest(spec, "toolConfig.tools[].toolSpec.", reader);
    Ok(tool)
}

/// A tool that the model's vendor runs itself.
fn server(mut object: Object<'_>, raw: &RawValue) -> Result<Tool, Malformed> {
    let named = match object.object("systemTool")? {
        Some(mut tool) => Some(tool.need_name().map_err(|error| error.within("systemTool"))?),
        None => object.members().next().map(|(name, _)| name.into_owned()),
    };
    let name = named.ok_or_else(|| malformed("must have one member"))?;
    let kind = ToolKind::Server { family: Family::Bedrock, kind: name.clone(), raw: raw.to_owned() };
    Ok(Tool { name, description: None, kind, strict: None, cache: None })
}

fn output(config: &mut Object<'_>, request: &mut Request, reader: &mut Reader) -> Result<(), Malformed> {
    if let Some(raw) = config.take_raw("effort") {
        effort_of(raw, request, "outputConfig.effort", reader);
    }
    let Some(mut format) = config.object("textFormat")? else { return Ok(()) };
    let place = |error: Malformed| error.within("textFormat.structure.jsonSchema");
    let mut structure = format.object("structure").map_err(|error| error.within("textFormat"))?;
    let definition = structure.as_mut().map(|structure| structure.object("jsonSchema")).transpose();
    let definition = definition.map_err(|error| error.within("textFormat.structure"))?.flatten();
    let mut definition = definition.ok_or_else(|| place(malformed("is required")))?;
    // The schema is JSON in a string.
    let written: String = definition.need("schema").map_err(place)?;
    let schema =
        serde_json::from_str::<&RawValue>(&written).map_err(|_| place(malformed("is no JSON").within("schema")))?;
    request.output = OutputFormat::JsonSchema {
        name: definition.take("name").map_err(place)?,
        description: definition.take("description").map_err(place)?,
        schema: schema::modern(schema),
        strict: Some(true),
    };
    Ok(())
}

/// An effort by its word; one that nobody knows is noted.
fn effort_of(raw: &RawValue, request: &mut Request, field: &str, reader: &mut Reader) {
    match read::<String>(raw).ok().and_then(|word| effort::parse(&word)) {
        Some(effort) => request.reasoning.effort = Some(effort),
        None => reader.note(field, raw),
    }
}

/// The fields that are a vendor's own.
fn additional(mut fields: Object<'_>, request: &mut Request, reader: &mut Reader) -> Result<(), Malformed> {
    if let Some(raw) = fields.take_raw("thinking") {
        let effort = request.reasoning.effort;
        request.reasoning = thinking(raw, reader).map_err(|error| error.within("thinking"))?;
        request.reasoning.effort = effort;
    }
    if let Some(mut config) = fields.object("reasoningConfig")? {
        let kind: Option<String> = config.take("type").map_err(|error| error.within("reasoningConfig"))?;
        request.reasoning.enabled = kind.map(|kind| kind == "enabled");
        if let Some(raw) = config.take_raw("maxReasoningEffort") {
            effort_of(raw, request, "additionalModelRequestFields.reasoningConfig.maxReasoningEffort", reader);
        }
        note_rest(config, "additionalModelRequestFields.reasoningConfig.", reader);
    }
    if let Some(raw) = fields.take_raw("reasoning_effort") {
        effort_of(raw, request, "additionalModelRequestFields.reasoning_effort", reader);
    }
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(raw) = config.take_raw("effort") {
            effort_of(raw, request, "additionalModelRequestFields.output_config.effort", reader);
        }
        note_rest(config, "additionalModelRequestFields.output_config.", reader);
    }
    if let Some(mut config) = fields.object("inferenceConfig")? {
        request.sampling.top_k = config.take("topK").map_err(|error| error.within("inferenceConfig"))?;
        note_rest(config, "additionalModelRequestFields.inferenceConfig.", reader);
    }
    for name in ["top_k", "k"] {
        if let Some(top_k) = fields.take(name)? {
            request.sampling.top_k = Some(top_k);
        }
    }
    if let Some(mut choice) = fields.object("tool_choice")? {
        let place = |error: Malformed| error.within("tool_choice");
        let disabled: Option<bool> = choice.take("disable_parallel_tool_use").map_err(place)?;
        request.parallel_tools = disabled.map(|disabled| !disabled);
        let kind: Option<String> = choice.take("type").map_err(place)?;
        let name: Option<String> = choice.take("name").map_err(place)?;
        let stated = match (kind.as_deref(), name) {
            (Some("auto"), _) => Some(ToolChoice::Auto),
            (Some("any"), _) => Some(ToolChoice::Required),
            (Some("none"), _) => Some(ToolChoice::None),
            (Some("tool"), Some(name)) => Some(ToolChoice::Named(name)),
            _ => None,
        };
        request.tool_choice = stated.or(request.tool_choice.take());
    }
    note_rest(fields, "additionalModelRequestFields.", reader);
    Ok(())
}

/// `thinking` in Claude's words.
fn thinking(raw: &RawValue, reader: &mut Reader) -> Result<ReasoningControl, Malformed> {
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
        _ => reader.note("additionalModelRequestFields.thinking", raw),
    }
    Ok(control)
}

#[cfg(test)]
mod tests;
