//! Anthropic Messages: which requests are legal, and the answer whole and streamed.
//!
//! Source: the official SDK's types, the vendor's versioning page (`2026-10-21` refuses sampling parameters), and the
//! structural rules that the service answers with 400: every `tool_use` is answered in the next user message, results
//! first; text is not empty; ids match `^[a-zA-Z0-9_-]+$`.

use super::answer::{Answer, Call, Finish, Usage};
use super::ask::{Ask, ToolMode};
use super::check::{Check, Members, base64_len, name};
use super::event::Event;
use super::refusal::Refusal;
use serde_json::{Value, json};

const MEMBERS: &str = "\
    model messages max_tokens system stop_sequences temperature top_p top_k thinking output_config tools \
    tool_choice metadata service_tier speed stream cache_control container inference_geo diagnostics \
    user_profile_id context_management mcp_servers betas";
const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// `counting`: the request is for `count_tokens`, which has no answer to limit.
pub(super) fn ask(body: &Value, version: Option<&str>, counting: bool, tolerant: bool) -> Check<Ask> {
    let body = Members::of(body, "")?;
    if !tolerant {
        body.only(MEMBERS)?;
    }
    let mut ask = Ask { model: body.string("model")?.to_owned(), choices: 1, ..Ask::default() };
    match version {
        Some("2023-06-01") => {}
        Some("2026-10-21") => {
            for refused in ["temperature", "top_p", "top_k"] {
                if body.get(refused).is_some() {
                    return Err(Refusal::invalid(refused, "is not supported in API version 2026-10-21"));
                }
            }
        }
        Some(other) => {
            return Err(Refusal::invalid("anthropic-version", format!("\"{other}\" is not a valid version")));
        }
        None => return Err(Refusal::invalid("anthropic-version", "header is required")),
    }
    let limit = body.integer("max_tokens", 0)?;
    if limit.is_none() && !counting {
        return Err(Refusal::invalid("max_tokens", "Field required"));
    }
    ask.max_output = limit;
    settings(&body, &mut ask)?;
    tools(&body, &mut ask)?;
    messages(body.array("messages")?, &mut ask)?;
    Ok(ask)
}

fn settings(body: &Members<'_>, ask: &mut Ask) -> Check {
    body.number("temperature", 0.0, 1.0)?;
    body.number("top_p", 0.0, 1.0)?;
    body.integer("top_k", 0)?;
    ask.stream = body.flag("stream")?.unwrap_or(false);
    if body.get("stop_sequences").is_some_and(|value| !value.is_array()) {
        return Err(Refusal::invalid("stop_sequences", "Input should be a valid list"));
    }
    ask.stop = body.strings("stop_sequences", 8191)?;
    if ask.stop.iter().any(|sequence| sequence.trim().is_empty()) {
        return Err(Refusal::invalid("stop_sequences", "each stop sequence must contain non-whitespace"));
    }
    match body.get("system") {
        Some(Value::String(text)) => ask.count(text),
        Some(_) => {
            for (i, block) in body.array("system")?.iter().enumerate() {
                let block = Members::of(block, format!("system.{i}"))?;
                block.one_of("type", &["text"])?;
                ask.count(nonempty(&block)?);
            }
        }
        None => {}
    }
    if let Some(metadata) = body.object("metadata")? {
        metadata.only("user_id")?;
    }
    if let Some(thinking) = body.object("thinking")? {
        thinking.one_of("type", &["enabled", "adaptive", "disabled", "between_tools"])?;
    }
    Ok(())
}

fn tools(body: &Members<'_>, ask: &mut Ask) -> Check {
    for (i, tool) in body.array("tools")?.iter().enumerate() {
        let tool = Members::of(tool, format!("tools.{i}"))?;
        if tool.get("type").is_some_and(|kind| kind != "custom") {
            continue; // a server tool
        }
        name(tool.string("name")?, &tool.place("name"), 128, "")?;
        let schema = tool.object("input_schema")?;
        let schema = schema.ok_or_else(|| Refusal::invalid(tool.place("input_schema"), "Field required"))?;
        schema.one_of("type", &["object"])?;
        ask.tool(tool.string("name")?, tool.get("input_schema"));
    }
    let Some(choice) = body.object("tool_choice")? else {
        return Ok(());
    };
    ask.one_tool_only = choice.flag("disable_parallel_tool_use")? == Some(true);
    match choice.one_of("type", &["auto", "any", "tool", "none"])? {
        "none" => ask.tool_mode = ToolMode::Never,
        "tool" => ask.tool_mode = ToolMode::Named(choice.string("name")?.to_owned()),
        _ => {}
    }
    if ask.tools.is_empty() && body.array("tools")?.is_empty() {
        return Err(Refusal::invalid("tool_choice", "may only be specified while providing tools"));
    }
    Ok(())
}

fn messages(messages: &[Value], ask: &mut Ask) -> Check {
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "at least one message is required"));
    }
    let mut open: Vec<String> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let message = Members::of(message, format!("messages.{i}"))?;
        message.only("role content")?;
        let role = message.one_of("role", &["user", "assistant", "system"])?;
        if i == 0 && role != "user" {
            return Err(Refusal::invalid(message.at, "the first message must use the \"user\" role"));
        }
        let content = Content::read(&message, role, ask)?;
        if role == "user" {
            answered(&mut open, &content, &message.at)?;
            ask.text = content.text;
            ask.tool_results = content.results.into_iter().map(|(_, text)| text).collect();
        } else if !open.is_empty() {
            return Err(unanswered(&open, &message.at));
        }
        open.extend(content.calls);
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(&open, "messages")) }
}

fn answered(open: &mut Vec<String>, content: &Content, at: &str) -> Check {
    for (id, _) in &content.results {
        let Some(known) = open.iter().position(|call| call == id) else {
            let text = format!("unexpected `tool_use_id` found in `tool_result` blocks: {id}");
            return Err(Refusal::invalid(at, text));
        };
        open.remove(known);
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(open, at)) }
}

fn unanswered(open: &[String], at: &str) -> Refusal {
    let text = "`tool_use` ids were found without `tool_result` blocks immediately after";
    Refusal::invalid(at, format!("{text}: {}", open.join(", ")))
}

#[derive(Default)]
struct Content {
    text: String,
    calls: Vec<String>,
    results: Vec<(String, String)>,
}

impl Content {
    fn read(message: &Members<'_>, role: &str, ask: &mut Ask) -> Check<Self> {
        let mut content = Self::default();
        if let Some(text) = message.need("content")?.as_str() {
            if text.is_empty() && role != "assistant" {
                return Err(Refusal::invalid(message.place("content"), "text must be non-empty"));
            }
            ask.count(text);
            text.clone_into(&mut content.text);
            return Ok(content);
        }
        let allowed: &[&str] = match role {
            "user" => &["text", "image", "document", "tool_result", "search_result", "container_upload"],
            "assistant" => &["text", "tool_use", "thinking", "redacted_thinking", "server_tool_use"],
            _ => &["text"],
        };
        let mut prose = false;
        for (i, block) in message.array("content")?.iter().enumerate() {
            let block = Members::of(block, message.place(&format!("content.{i}")))?;
            let kind = block.one_of("type", allowed)?;
            if kind == "tool_result" && prose {
                return Err(Refusal::invalid(block.at, "`tool_result` blocks must come first"));
            }
            prose |= kind != "tool_result";
            content.block(kind, &block, ask)?;
        }
        Ok(content)
    }

    fn block(&mut self, kind: &str, block: &Members<'_>, ask: &mut Ask) -> Check {
        match kind {
            "text" => {
                let text = nonempty(block)?;
                ask.count(text);
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text += text;
            }
            "image" => image(block, ask)?,
            "tool_use" => {
                name(block.string("id")?, &block.place("id"), 256, "")?;
                name(block.string("name")?, &block.place("name"), 128, "")?;
                let input = block.need("input")?;
                if !input.is_object() {
                    return Err(Refusal::invalid(block.place("input"), "Input should be a valid dictionary"));
                }
                ask.count(&input.to_string());
                self.calls.push(block.string("id")?.to_owned());
            }
            "tool_result" => {
                let text = result(block, ask)?;
                self.results.push((block.string("tool_use_id")?.to_owned(), text));
            }
            _ => {}
        }
        Ok(())
    }
}

fn nonempty<'a>(block: &Members<'a>) -> Check<&'a str> {
    let text = block.string("text")?;
    if text.is_empty() {
        return Err(Refusal::invalid(block.at.clone(), "text content blocks must be non-empty"));
    }
    Ok(text)
}

fn image(block: &Members<'_>, ask: &mut Ask) -> Check {
    let source = block.object("source")?.ok_or_else(|| Refusal::invalid(block.place("source"), "Field required"))?;
    if source.one_of("type", &["base64", "url", "file"])? == "base64" {
        let mime = source.one_of("media_type", IMAGES)?;
        ask.image(mime, base64_len(source.string("data")?, &source.place("data"), false)?);
    } else {
        ask.image("url", 0);
    }
    Ok(())
}

fn result(block: &Members<'_>, ask: &mut Ask) -> Check<String> {
    block.flag("is_error")?;
    if let Some(Value::String(text)) = block.get("content") {
        ask.count(text);
        return Ok(text.clone());
    }
    let mut texts = Vec::new();
    for (i, part) in block.array("content")?.iter().enumerate() {
        let part = Members::of(part, block.place(&format!("content.{i}")))?;
        match part.one_of("type", &["text", "image", "document", "search_result", "tool_reference"])? {
            "text" => {
                ask.count(part.string("text")?);
                texts.push(part.string("text")?);
            }
            "image" => image(&part, ask)?,
            _ => {}
        }
    }
    Ok(texts.join(" "))
}

fn usage(usage: Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input - usage.cached, "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": 0, "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output, "service_tier": "standard",
    })
}

fn stop(answer: &Answer) -> Value {
    let (reason, sequence) = match &answer.finish {
        Finish::Stop => ("end_turn", None),
        Finish::Length => ("max_tokens", None),
        Finish::Sequence(sequence) => ("stop_sequence", Some(sequence)),
        Finish::Tools => ("tool_use", None),
    };
    json!({"stop_reason": reason, "stop_sequence": sequence})
}

fn message(ask: &Ask, answer: &Answer) -> Value {
    json!({"id": format!("msg_{}", answer.id), "type": "message", "role": "assistant", "model": ask.model,
        "content": [], "stop_reason": null, "stop_sequence": null})
}

fn tool_use(call: &Call, input: &Value) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": input})
}

pub(super) fn whole(ask: &Ask, answer: &Answer) -> Value {
    let mut document = message(ask, answer);
    let mut content: Vec<Value> = answer.calls.iter().map(|call| tool_use(call, &call.arguments)).collect();
    if content.is_empty() && !answer.pieces.is_empty() {
        content.push(json!({"type": "text", "text": answer.text()}));
    }
    document["content"] = content.into();
    for (name, value) in stop(answer).as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    if let Some(usage) = answer.said(usage(answer.usage, answer.usage.output)) {
        document["usage"] = usage;
    }
    document
}

pub(super) fn events(ask: &Ask, answer: &Answer) -> Vec<Event> {
    let mut start = message(ask, answer);
    if let Some(usage) = answer.said(usage(answer.usage, 1)) {
        start["usage"] = usage;
    }
    let mut events = vec![Event::named(&json!({"type": "message_start", "message": start}))];
    let delta = |index: usize, delta: Value| {
        Event::named(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
    };
    let opened = |index: usize, block: Value| {
        Event::named(&json!({"type": "content_block_start", "index": index, "content_block": block}))
    };
    let closed = |index: usize| Event::named(&json!({"type": "content_block_stop", "index": index}));
    if !answer.pieces.is_empty() {
        events.push(opened(0, json!({"type": "text", "text": ""})));
        events.push(ping());
        let text = |piece| delta(0, json!({"type": "text_delta", "text": piece})).worth(1);
        events.extend(answer.pieces.iter().map(text));
        events.push(closed(0));
    }
    for (index, call) in answer.calls.iter().enumerate() {
        events.push(opened(index, tool_use(call, &json!({}))).worth(1));
        let part = |text| delta(index, json!({"type": "input_json_delta", "partial_json": text})).worth(1);
        events.extend(call.fragments().into_iter().map(part));
        events.push(closed(index));
    }
    let mut last = json!({"type": "message_delta", "delta": stop(answer)});
    if let Some(usage) = answer.said(json!({"output_tokens": answer.usage.output})) {
        last["usage"] = usage;
    }
    events.push(Event::named(&last));
    events.push(Event::named(&json!({"type": "message_stop"})));
    events
}

pub(super) fn ping() -> Event {
    Event::named(&json!({"type": "ping"}))
}
