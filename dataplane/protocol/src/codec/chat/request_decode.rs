//! A client's request. `null` is absent, `0` and `false` are values, and of `max_tokens` and `max_completion_tokens` the
//! newer wins.

use serde_json::value::RawValue;

use super::{messages_decode, tools};
use crate::{
    codec::{
        Head, Malformed, effort,
        json::read::{Object, Spelling, malformed, read},
        schema,
    },
    dialect::Family,
    ir::{Modality, Number, OutputFormat, ReasoningControl, Request, Sampling},
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
        stop: stop(&mut top)?,
        candidates: top.take("n")?,
        parallel_tools: top.take("parallel_tool_calls")?,
        service_tier: top.take("service_tier")?,
        ..Request::default()
    };
    max_output(&mut top, &mut request)?;
    user(&mut top, &mut request)?;
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
        // Servers that know it take 0 and -1 for no such bound.
        top_k: top.take::<Number>("top_k")?.filter(|top_k| top_k.as_f64().is_none_or(|top_k| top_k > 0.0)),
        seed: top.take("seed")?,
        presence_penalty: top.take("presence_penalty")?,
        frequency_penalty: top.take("frequency_penalty")?,
        logprobs: top.take("logprobs")?,
        top_logprobs: top.take("top_logprobs")?,
    })
}

fn max_output(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let older = top.take("max_tokens")?;
    let newer = top.take("max_completion_tokens")?;
    if older.is_some() && newer.is_none() {
        request.spelled.push(("max_completion_tokens", "max_tokens"));
    }
    request.max_output = newer.or(older);
    Ok(())
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

/// A string, or a list of strings. Empty ones say nothing.
fn stop(top: &mut Object<'_>) -> Result<Vec<String>, Malformed> {
    let Some(raw) = top.take_raw("stop") else { return Ok(Vec::new()) };
    let texts: Result<Vec<String>, _> =
        if raw.get().starts_with('"') { read(raw).map(|text| vec![text]) } else { read(raw) };
    let said = texts.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect());
    said.map_err(|_| malformed("must be a string or a list of strings").within("stop"))
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
    let top_has_tools = top.has("tools");
    for (index, raw) in top.list("tools")?.into_iter().enumerate() {
        request
            .tools
            .push(tools::decode(raw, &mut request.extras).map_err(|error| error.within(&format!("tools[{index}]")))?);
    }
    for (index, function) in top.objects("functions")?.into_iter().enumerate() {
        let tool = tools::decode_function(function, None, "functions[]", &mut request.extras);
        request.tools.push(tool.map_err(|error| error.within(&format!("functions[{index}]")))?);
    }
    if !top_has_tools && !request.tools.is_empty() {
        request.spelled.extend([
            ("tools[].function", "functions[]"),
            ("tools[]", "functions[]"),
            ("tools", "functions"),
        ]);
    }
    if top.has("function_call") && !top.has("tool_choice") {
        request.spelled.push(("tool_choice", "function_call"));
    }
    for member in ["function_call", "tool_choice"] {
        if let Some(raw) = top.take_raw(member) {
            let choice = tools::decode_choice(raw, &mut request.extras).map_err(|error| error.within(member))?;
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
            let (name, description) = (spec.take("name").map_err(inside)?, spec.take("description").map_err(inside)?);
            let strict = spec.take("strict").map_err(inside)?;
            // Without a schema any object will do.
            request.output = match spec.take_raw("schema") {
                Some(schema) => OutputFormat::JsonSchema { name, description, schema: schema::modern(schema), strict },
                None => OutputFormat::JsonObject,
            };
            rest(request, "response_format.json_schema", spec);
        }
        _ => {
            note(request, "response_format", raw);
            return Ok(());
        }
    }
    rest(request, "response_format", format);
    Ok(())
}

/// Notes what nobody took of an object.
fn rest(request: &mut Request, place: &str, object: Object<'_>) {
    for (name, raw) in object.rest() {
        note(request, &format!("{place}.{name}"), raw);
    }
}

/// `reasoning_effort`, and the objects that other servers of this dialect take in its place.
fn reasoning(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    if let Some(raw) = top.take_raw("reasoning_effort") {
        match effort::parse(&read::<String>(raw).map_err(|error| error.within("reasoning_effort"))?) {
            Some(effort) => request.reasoning.effort = Some(effort),
            None => note(request, "reasoning_effort", raw),
        }
    }
    let said = request.reasoning.effort.is_some();
    if let Some(object) = top.object("reasoning")? {
        reasoning_object(object, request, said).map_err(|error| error.within("reasoning"))?;
    }
    if let Some(mut object) = top.object("thinking")? {
        thinking(&mut object, &mut request.reasoning).map_err(|error| error.within("thinking"))?;
        if request.reasoning.effort.is_none() {
            request.spelled.push(("reasoning_effort", "thinking"));
        }
        rest(request, "thinking", object);
    }
    Ok(())
}

/// OpenRouter's `{"effort","max_tokens","enabled","exclude"}`. `said` says that an effort stands elsewhere as well.
fn reasoning_object(mut object: Object<'_>, request: &mut Request, said: bool) -> Result<(), Malformed> {
    if let Some(raw) = object.take_raw("effort") {
        match effort::parse(&read::<String>(raw).map_err(|error| error.within("effort"))?) {
            Some(_) if said => {}
            Some(effort) => request.reasoning.effort = Some(effort),
            None => note(request, "reasoning.effort", raw),
        }
    }
    let control = &mut request.reasoning;
    control.budget = object.take("max_tokens")?;
    control.enabled = object.take("enabled")?;
    // Reasoning is shown by default, so that `false` asks for nothing.
    control.visible = object.take::<bool>("exclude")?.filter(|hidden| *hidden).map(|_| false);
    if !said {
        let written = if control.effort.is_some() { "reasoning.effort" } else { "reasoning" };
        request.spelled.push(("reasoning_effort", written));
    }
    request.spelled.push(("thinking.budget_tokens", "reasoning.max_tokens"));
    rest(request, "reasoning", object);
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
