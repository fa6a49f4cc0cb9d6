//! A client's request (docs/protocols/responses.md). `null` is absent, `0` and `false` are values.
//!
//! What only OpenAI could do is noted by its name, for the target's encoder to drop or refuse: what refers to state that
//! is kept there, tools that run there, hints to its own servers.

mod content;
mod input;
mod tools;

use serde_json::value::RawValue;

use crate::{
    codec::{
        Head, Malformed, effort,
        json::read::{Object, Spelling, malformed, read},
        schema,
    },
    dialect::Family,
    ir::{Block, Number, OutputFormat, Request, Sampling, Text},
};

/// What a caller relies on, where another model would answer something else without it.
const ESSENTIAL: [&str; 4] = ["previous_response_id", "conversation", "prompt", "background"];

/// Reads the body.
///
/// # Errors
/// When it is not legal in this dialect.
pub fn decode(body: &[u8], head: &Head) -> Result<Request, Malformed> {
    let mut top = Object::parse(body, Spelling::Exact)?;
    let mut request = Request {
        model: match top.take("model")? {
            Some(model) => model,
            None => head.model.clone().ok_or_else(|| malformed("is required").within("model"))?,
        },
        stream: top.take("stream")?.unwrap_or(false),
        sampling: Sampling {
            temperature: top.take("temperature")?,
            top_p: top.take("top_p")?,
            top_logprobs: top.take::<Number>("top_logprobs")?,
            ..Sampling::default()
        },
        max_output: top.take("max_output_tokens")?,
        parallel_tools: top.take("parallel_tool_calls")?,
        service_tier: top.take("service_tier")?,
        ..Request::default()
    };
    user(&mut top, &mut request)?;
    include(&mut top, &mut request)?;
    reasoning(&mut top, &mut request)?;
    text(&mut top, &mut request)?;
    for (index, raw) in top.list("tools")?.into_iter().enumerate() {
        tools::decode(raw, &mut request).map_err(|error| error.within(&format!("tools[{index}]")))?;
    }
    if let Some(text) = instructions(&mut top)? {
        request.system.push(text);
    }
    // A stored prompt or conversation may stand for it.
    if !top.has("input") && !ESSENTIAL.iter().any(|name| top.has(name)) {
        return Err(malformed("is required").within("input"));
    }
    if let Some(raw) = top.take_raw("input") {
        input::decode(raw, &mut request).map_err(|error| error.within("input"))?;
    }
    if let Some(raw) = top.take_raw("tool_choice") {
        request.tool_choice = tools::choice(raw).map_err(|error| error.within("tool_choice"))?;
    }
    if let Some(options) = top.object("stream_options")? {
        rest(&mut request, "stream_options", options);
    }
    for (name, raw) in top.rest() {
        let is_off = name == "background" && raw.get() == "false";
        if !is_off {
            request.extras.note(Family::OpenAi, name.clone().into_owned(), raw, ESSENTIAL.contains(&name.as_ref()));
        }
    }
    Ok(request)
}

/// The system text of this call.
fn instructions(top: &mut Object<'_>) -> Result<Option<Block>, Malformed> {
    let Some(raw) = top.take_raw("instructions") else { return Ok(None) };
    let text: String = read(raw).map_err(|error| error.within("instructions"))?;
    Ok((!text.is_empty()).then(|| Block::Text(Text { text, ..Text::default() })))
}

/// `user`, or the member that OpenAI has in its place now.
fn user(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    request.user = top.take::<String>("user")?.filter(|user| !user.is_empty());
    if request.user.is_none() {
        request.user = top.take::<String>("safety_identifier")?.filter(|user| !user.is_empty());
        request.spelled.push(("user", "safety_identifier"));
    }
    Ok(())
}

/// What the answer shall hold beside the usual. The state of reasoning is the encoder's affair; sources and results of the
/// vendor's own tools go with these tools.
fn include(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    for raw in top.list("include")? {
        match read::<String>(raw).map_err(|error| error.within("include"))?.as_str() {
            "reasoning.encrypted_content" => {}
            "message.output_text.logprobs" => request.sampling.logprobs = Some(true),
            // Told of every search there is.
            "web_search_call.action.sources" => {}
            other => request.extras.note(Family::OpenAi, format!("include[].{other}"), raw, false),
        }
    }
    Ok(())
}

fn reasoning(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let Some(mut object) = top.object("reasoning")? else { return Ok(()) };
    let inside = |error: Malformed| error.within("reasoning");
    if let Some(raw) = object.take_raw("effort") {
        match effort::parse(&read::<String>(raw).map_err(|error| inside(error.within("effort")))?) {
            Some(effort) => request.reasoning.effort = Some(effort),
            None => request.extras.note(Family::OpenAi, "reasoning.effort", raw, false),
        }
    }
    // The older name means the same.
    for name in ["summary", "generate_summary"] {
        let summary: Option<String> = object.take(name).map_err(inside)?;
        if summary.is_some_and(|summary| summary != "none") {
            request.reasoning.visible = Some(true);
        }
    }
    rest(request, "reasoning", object);
    Ok(())
}

/// `text`: the format of the answer, flat here, and how wordy it shall be.
fn text(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let Some(mut object) = top.object("text")? else { return Ok(()) };
    if let Some(raw) = object.take_raw("format") {
        format(raw, request).map_err(|error| error.within("text.format"))?;
    }
    rest(request, "text", object);
    Ok(())
}

fn format(raw: &RawValue, request: &mut Request) -> Result<(), Malformed> {
    let mut format = Object::from_raw(raw, Spelling::Exact)?;
    match format.need::<String>("type")?.as_str() {
        "text" => {}
        "json_object" => request.output = OutputFormat::JsonObject,
        "json_schema" => {
            let (name, description) = (format.take("name")?, format.take("description")?);
            let strict = format.take("strict")?;
            // Without a schema any object will do.
            request.output = match format.take_raw("schema") {
                Some(schema) => OutputFormat::JsonSchema { name, description, schema: schema::modern(schema), strict },
                None => OutputFormat::JsonObject,
            };
        }
        _ => {
            request.extras.note(Family::OpenAi, "text.format", raw, true);
            return Ok(());
        }
    }
    rest(request, "text.format", format);
    Ok(())
}

/// Notes what nobody took of an object.
fn rest(request: &mut Request, place: &str, object: Object<'_>) {
    for (name, raw) in object.rest() {
        request.extras.note(Family::OpenAi, format!("{place}.{name}"), raw, false);
    }
}

#[cfg(test)]
mod tests;
