//! OpenAI Chat Completions: which requests are legal, and the answer whole and streamed.
//!
//! Source: the request and response types of the official SDK, and the stream grammar of its accumulators: the role
//! exactly once per choice, `id`, `type` and `name` exactly once per call, dense indices, usage last, `[DONE]`.

use super::answer::{Answer, Call, Finish, Usage};
use super::ask::{Ask, ToolMode};
use super::check::{Check, Members, image_url, name};
use super::event::Event;
use super::refusal::Refusal;
use serde_json::{Value, json};

const MEMBERS: &str = "\
    model messages max_completion_tokens max_tokens temperature top_p n stop seed presence_penalty \
    frequency_penalty logit_bias logprobs top_logprobs tools tool_choice parallel_tool_calls functions \
    function_call response_format reasoning_effort verbosity modalities audio prediction web_search_options \
    stream stream_options store metadata service_tier safety_identifier user prompt_cache_key \
    prompt_cache_options prompt_cache_retention moderation";

pub(super) fn ask(body: &Value, tolerant: bool) -> Check<Ask> {
    let body = Members::of(body, "")?;
    if !tolerant {
        body.only(MEMBERS)?;
    }
    let mut ask = Ask { model: body.string("model")?.to_owned(), ..Ask::default() };
    settings(&body, &mut ask)?;
    tools(&body, &mut ask)?;
    messages(body.array("messages")?, &mut ask)?;
    Ok(ask)
}

fn settings(body: &Members<'_>, ask: &mut Ask) -> Check {
    body.number("temperature", 0.0, 2.0)?;
    body.number("top_p", 0.0, 1.0)?;
    body.number("presence_penalty", -2.0, 2.0)?;
    body.number("frequency_penalty", -2.0, 2.0)?;
    if body.get("top_logprobs").is_some() && body.flag("logprobs")? != Some(true) {
        return Err(Refusal::invalid("top_logprobs", "needs logprobs"));
    }
    body.flag("store")?;
    ask.choices = usize::try_from(body.integer("n", 1)?.unwrap_or(1)).unwrap_or(1);
    ask.stop = body.strings("stop", 4)?;
    ask.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(options) = body.object("stream_options")? {
        if !ask.stream {
            return Err(Refusal::invalid("stream_options", "only allowed when 'stream' is true"));
        }
        ask.include_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    let (old, new) = (body.integer("max_tokens", 1)?, body.integer("max_completion_tokens", 1)?);
    if old.is_some() && new.is_some() {
        return Err(Refusal::invalid("max_tokens", "cannot be set together with max_completion_tokens"));
    }
    ask.max_output = new.or(old);
    if let Some(format) = body.object("response_format")? {
        let kind = format.one_of("type", &["text", "json_object", "json_schema"])?;
        if kind == "json_schema" {
            let schema =
                format.object("json_schema")?.ok_or_else(|| Refusal::invalid(format.place(kind), "required"))?;
            name(schema.string("name")?, &schema.place("name"), 64, "")?;
        }
    }
    if body.get("reasoning_effort").is_some() {
        body.one_of("reasoning_effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"])?;
    }
    Ok(())
}

fn tools(body: &Members<'_>, ask: &mut Ask) -> Check {
    for (i, tool) in body.array("tools")?.iter().enumerate() {
        let tool = Members::of(tool, format!("tools[{i}]"))?;
        if tool.one_of("type", &["function", "custom"])? == "custom" {
            continue;
        }
        let function = tool.object("function")?.ok_or_else(|| Refusal::invalid(tool.place("function"), "required"))?;
        function.only("name description parameters strict")?;
        name(function.string("name")?, &function.place("name"), 64, "")?;
        function.flag("strict")?;
        function.object("parameters")?;
        ask.tool(function.string("name")?, function.get("parameters"));
    }
    if ask.tools.is_empty() && body.get("tools").is_none() {
        for member in ["tool_choice", "parallel_tool_calls"] {
            if body.get(member).is_some() {
                return Err(Refusal::invalid(member, "only allowed when 'tools' are specified"));
            }
        }
    }
    ask.one_tool_only = body.flag("parallel_tool_calls")? == Some(false);
    match body.get("tool_choice") {
        Some(Value::String(word)) => {
            body.one_of("tool_choice", &["none", "auto", "required"])?;
            ask.tool_mode = if word == "none" { ToolMode::Never } else { ToolMode::Auto };
        }
        Some(choice) => {
            let choice = Members::of(choice, "tool_choice")?;
            if choice.one_of("type", &["function", "custom", "allowed_tools"])? == "function" {
                let function = choice.object("function")?;
                let function = function.ok_or_else(|| Refusal::invalid("tool_choice.function", "required"))?;
                let wanted = function.string("name")?;
                if !ask.tools.iter().any(|tool| tool.name == wanted) {
                    return Err(Refusal::invalid("tool_choice", format!("there is no tool '{wanted}'")));
                }
                ask.tool_mode = ToolMode::Named(wanted.to_owned());
            }
        }
        None => {}
    }
    Ok(())
}

fn messages(messages: &[Value], ask: &mut Ask) -> Check {
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "at least one message is expected"));
    }
    let mut open: Vec<String> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let message = Members::of(message, format!("messages[{i}]"))?;
        let role = message.one_of("role", &["developer", "system", "user", "assistant", "tool", "function"])?;
        if role != "tool" && !open.is_empty() {
            let text = format!("tool_call_ids without a tool message right after the call: {}", open.join(", "));
            return Err(Refusal::invalid(message.at, text));
        }
        if role != "tool" {
            ask.tool_results.clear();
        }
        match role {
            "assistant" => open = assistant(&message, ask)?,
            "tool" => {
                let id = message.string("tool_call_id")?;
                let Some(at) = open.iter().position(|known| known == id) else {
                    return Err(Refusal::invalid(message.at, format!("no preceding tool call has the id '{id}'")));
                };
                open.remove(at);
                let text = parts(&message, &["text"], ask)?;
                ask.tool_results.push(text);
            }
            "user" => ask.text = parts(&message, &["text", "image_url", "input_audio", "file"], ask)?,
            _ => drop(parts(&message, &["text"], ask)?),
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid("messages", "tool calls must be followed by tool messages for each 'tool_call_id'"))
}

fn assistant(message: &Members<'_>, ask: &mut Ask) -> Check<Vec<String>> {
    let calls = message.array("tool_calls")?;
    if message.get("content").is_some() {
        parts(message, &["text", "refusal"], ask)?;
    } else if calls.is_empty() && message.get("refusal").is_none() {
        return Err(Refusal::invalid(message.place("content"), "required unless there are tool_calls"));
    }
    let mut ids = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let call = Members::of(call, message.place(&format!("tool_calls[{i}]")))?;
        ids.push(call.string("id")?.to_owned());
        call.one_of("type", &["function", "custom"])?;
        if let Some(function) = call.object("function")? {
            name(function.string("name")?, &function.place("name"), 64, "")?;
            ask.count(function.string("arguments")?);
        }
    }
    Ok(ids)
}

/// The text of a message's content; counts all, notes images.
fn parts(message: &Members<'_>, allowed: &[&str], ask: &mut Ask) -> Check<String> {
    let content = message.need("content")?;
    if let Some(text) = content.as_str() {
        ask.count(text);
        return Ok(text.to_owned());
    }
    let mut texts = Vec::new();
    for (i, part) in message.array("content")?.iter().enumerate() {
        let part = Members::of(part, message.place(&format!("content[{i}]")))?;
        match part.one_of("type", allowed)? {
            "text" => {
                ask.count(part.string("text")?);
                texts.push(part.string("text")?.to_owned());
            }
            "image_url" => {
                let image =
                    part.object("image_url")?.ok_or_else(|| Refusal::invalid(part.place("image_url"), "required"))?;
                let (mime, bytes) = image_url(image.string("url")?, &image.place("url"))?;
                ask.image(&mime, bytes);
            }
            _ => {}
        }
    }
    Ok(texts.join(" "))
}

fn finish(answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Stop | Finish::Sequence(_) => "stop",
        Finish::Length => "length",
        Finish::Tools => "tool_calls",
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0},
    })
}

fn head(ask: &Ask, answer: &Answer, object: &str) -> Value {
    json!({"id": format!("chatcmpl-{}", answer.id), "object": object, "created": super::CREATED, "model": ask.model,
        "system_fingerprint": "fp_scripted", "service_tier": "default"})
}

pub(super) fn whole(ask: &Ask, answer: &Answer) -> Value {
    let call = |call: &Call| {
        let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
        json!({"id": call.id, "type": "function", "function": function})
    };
    let choice = |index: usize| {
        let mut message = json!({"role": "assistant", "content": answer.text(), "refusal": null, "annotations": []});
        if !answer.calls.is_empty() {
            message["content"] = Value::Null;
            message["tool_calls"] = answer.calls.iter().map(call).collect();
        }
        json!({"index": index, "message": message, "finish_reason": finish(answer), "logprobs": null})
    };
    let mut document = head(ask, answer, "chat.completion");
    document["choices"] = (0..ask.choices).map(choice).collect();
    if let Some(usage) = answer.said(usage(answer.usage)) {
        document["usage"] = usage;
    }
    document
}

pub(super) fn events(ask: &Ask, answer: &Answer) -> Vec<Event> {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = head(ask, answer, "chat.completion.chunk");
        chunk["choices"] = choices;
        if ask.include_usage {
            chunk["usage"] = usage.unwrap_or(Value::Null);
        }
        Event::data(&chunk)
    };
    let delta = |index: usize, delta: Value, finish: Value| {
        chunk(json!([{"index": index, "delta": delta, "finish_reason": finish, "logprobs": null}]), None)
    };
    let mut events = Vec::new();
    for index in 0..ask.choices {
        events.push(delta(index, json!({"role": "assistant", "content": "", "refusal": null}), Value::Null));
        for piece in &answer.pieces {
            events.push(delta(index, json!({"content": piece}), Value::Null).worth(1));
        }
        for (nth, call) in answer.calls.iter().enumerate() {
            let start = json!({"index": nth, "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": ""}});
            events.push(delta(index, json!({"tool_calls": [start]}), Value::Null).worth(1));
            for fragment in call.fragments() {
                let next = json!({"index": nth, "function": {"arguments": fragment}});
                events.push(delta(index, json!({"tool_calls": [next]}), Value::Null).worth(1));
            }
        }
        events.push(delta(index, json!({}), json!(finish(answer))));
    }
    if ask.include_usage
        && let Some(usage) = answer.said(usage(answer.usage))
    {
        events.push(chunk(json!([]), Some(usage)));
    }
    events.push(Event::raw("data: [DONE]\n\n"));
    events
}
