//! A client's request. `null` is absent, `0` and `false` are values, and of `max_tokens` and `max_completion_tokens` the
//! newer wins.

use serde_json::value::RawValue;

use super::{messages_decode, tools};
use crate::{
    codec::{
        Head, Malformed, effort,
        json::read::{Object, Spelling, malformed, read},
    },
    dialect::Family,
    ir::{Modality, OutputFormat, ReasoningControl, Request, Sampling, ToolChoice},
};

/// What a caller relies on, where another family's model would answer something else without it.
const ESSENTIAL: [&str; 4] = ["audio", "modalities", "response_format", "web_search_options"];

/// Reads the body.
pub fn decode(body: &[u8], head: &Head) -> Result<Request, Malformed> {
    let mut top = Object::parse(body, Spelling::Exact)?;
    let mut request = Request {
        model: match top.take("model")? {
            Some(model) => model,
            None => head.model.clone().ok_or_else(|| malformed("is required").within("model"))?,
        },
        stream: top.take("stream")?.unwrap_or(false),
        sampling: sampling(&mut top)?,
        max_output: max_output(&mut top)?,
        stop: stop(&mut top)?,
        candidates: top.take("n")?,
        parallel_tools: top.take("parallel_tool_calls")?,
        service_tier: top.take("service_tier")?,
        ..Request::default()
    };
    request.user = match top.take("user")? {
        Some(user) => Some(user),
        None => top.take("safety_identifier")?,
    };
    stream_options(&mut top, &mut request)?;
    all_tools(&mut top, &mut request)?;
    output(&mut top, &mut request)?;
    reasoning(&mut top, &mut request)?;
    if !top.has("messages") {
        return Err(malformed("is required").within("messages"));
    }
    messages_decode::decode(top.objects("messages")?, &mut request)?;
    for (name, raw) in top.rest() {
        let known =
            (name == "modalities").then(|| read::<Vec<String>>(raw).ok().and_then(|names| Modality::list(&names)));
        match known.flatten() {
            Some(modalities) => request.modalities = modalities,
            None => note(&mut request, &name, raw),
        }
    }
    Ok(request)
}

fn note(request: &mut Request, name: &str, raw: &RawValue) {
    request.extras.note(Family::OpenAi, name.to_owned(), raw, ESSENTIAL.contains(&name));
}

fn sampling(top: &mut Object<'_>) -> Result<Sampling, Malformed> {
    Ok(Sampling {
        temperature: top.take("temperature")?,
        top_p: top.take("top_p")?,
        top_k: top.take("top_k")?,
        seed: top.take("seed")?,
        presence_penalty: top.take("presence_penalty")?,
        frequency_penalty: top.take("frequency_penalty")?,
        logprobs: top.take("logprobs")?,
        top_logprobs: top.take("top_logprobs")?,
    })
}

fn max_output(top: &mut Object<'_>) -> Result<Option<u64>, Malformed> {
    let older = top.take("max_tokens")?;
    Ok(top.take("max_completion_tokens")?.or(older))
}

/// A string, or a list of strings.
fn stop(top: &mut Object<'_>) -> Result<Vec<String>, Malformed> {
    let Some(raw) = top.take_raw("stop") else { return Ok(Vec::new()) };
    let texts = if raw.get().starts_with('"') { read(raw).map(|text| vec![text]) } else { read(raw) };
    texts.map_err(|_| malformed("must be a string or a list of strings").within("stop"))
}

fn stream_options(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    if let Some(mut options) = top.object("stream_options")? {
        request.include_usage = options.take("include_usage").map_err(|error| error.within("stream_options"))?;
        for (name, raw) in options.rest() {
            note(request, &format!("stream_options.{name}"), raw);
        }
    }
    Ok(())
}

/// `tools` and `tool_choice`, or their old names.
fn all_tools(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    for (index, raw) in top.list("tools")?.into_iter().enumerate() {
        request
            .tools
            .push(tools::decode(raw, &mut request.extras).map_err(|error| error.within(&format!("tools[{index}]")))?);
    }
    for (index, function) in top.objects("functions")?.into_iter().enumerate() {
        let tool = tools::decode_function(function, None, "functions[]", &mut request.extras);
        request.tools.push(tool.map_err(|error| error.within(&format!("functions[{index}]")))?);
    }
    for member in ["function_call", "tool_choice"] {
        if let Some(raw) = top.take_raw(member) {
            let choice: ToolChoice = tools::decode_choice(raw).map_err(|error| error.within(member))?;
            request.tool_choice = Some(choice);
        }
    }
    Ok(())
}

fn output(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let Some(raw) = top.take_raw("response_format") else { return Ok(()) };
    let inside = |error: Malformed| error.within("response_format");
    let mut format = Object::from_raw(raw, Spelling::Exact).map_err(inside)?;
    match format.need::<String>("type").map_err(inside)?.as_str() {
        "text" => {}
        "json_object" => request.output = OutputFormat::JsonObject,
        "json_schema" => {
            let inside = |error: Malformed| error.within("response_format.json_schema");
            let missing = || malformed("is required").within("response_format.json_schema");
            let mut spec = format.object("json_schema").map_err(inside)?.ok_or_else(missing)?;
            let schema = spec.take_raw("schema").ok_or_else(|| malformed("is required").within("schema"));
            request.output = OutputFormat::JsonSchema {
                name: spec.take("name").map_err(inside)?,
                description: spec.take("description").map_err(inside)?,
                schema: schema.map_err(inside)?.to_owned(),
                strict: spec.take("strict").map_err(inside)?,
            };
        }
        _ => note(request, "response_format", raw),
    }
    Ok(())
}

/// `reasoning_effort`, and the objects that other servers of this dialect take in its place.
fn reasoning(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    if let Some(raw) = top.take_raw("reasoning_effort") {
        match effort::parse(&read::<String>(raw).map_err(|error| error.within("reasoning_effort"))?) {
            Some(effort) => request.reasoning.effort = Some(effort),
            None => note(request, "reasoning_effort", raw),
        }
    }
    if let Some(mut object) = top.object("reasoning")? {
        let control = &mut request.reasoning;
        let word: Option<String> = object.take("effort")?;
        control.effort = control.effort.or_else(|| effort::parse(&word?));
        control.budget = object.take("max_tokens")?;
        control.enabled = object.take("enabled")?;
        control.visible = object.take::<bool>("exclude")?.map(|hidden| !hidden);
        for (name, raw) in object.rest() {
            note(request, &format!("reasoning.{name}"), raw);
        }
    }
    if let Some(mut object) = top.object("thinking")? {
        thinking(&mut object, &mut request.reasoning).map_err(|error| error.within("thinking"))?;
        for (name, raw) in object.rest() {
            note(request, &format!("thinking.{name}"), raw);
        }
    }
    Ok(())
}

/// `{"type":"enabled|disabled|adaptive","budget_tokens":…}`.
fn thinking(object: &mut Object<'_>, control: &mut ReasoningControl) -> Result<(), Malformed> {
    match object.take::<String>("type")?.as_deref() {
        Some("disabled") => control.enabled = Some(false),
        Some("adaptive" | "auto") => control.adaptive = true,
        Some(_) => control.enabled = Some(true),
        None => {}
    }
    control.budget = object.take("budget_tokens")?.or(control.budget);
    Ok(())
}
