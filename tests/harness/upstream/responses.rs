//! OpenAI Responses: which requests are legal, and the answer whole and streamed.
//!
//! Source: the official SDK's types and its accumulator: one response id, `sequence_number` rising by one, dense
//! `output_index`, `output_item.added` before its content, the terminal event repeats all items. There is no `[DONE]`.

use super::answer::{Answer, Call, Finish, Usage};
use super::ask::{Ask, ToolMode};
use super::check::{Check, Members, image_url, name};
use super::event::Event;
use super::refusal::Refusal;
use serde_json::{Value, json};

const MEMBERS: &str = "\
    model input instructions max_output_tokens temperature top_p top_logprobs tools tool_choice parallel_tool_calls \
    max_tool_calls text reasoning include store previous_response_id conversation prompt truncation background \
    background_options stream stream_options context_management metadata service_tier safety_identifier user \
    prompt_cache_key prompt_cache_options prompt_cache_retention moderation image access_programs";

pub(super) fn ask(body: &Value, tolerant: bool) -> Check<Ask> {
    let body = Members::of(body, "")?;
    if !tolerant {
        body.only(MEMBERS)?;
    }
    let mut ask = Ask { model: body.string("model")?.to_owned(), choices: 1, sse: true, ..Ask::default() };
    body.number("temperature", 0.0, 2.0)?;
    body.number("top_p", 0.0, 1.0)?;
    body.flag("store")?;
    ask.stream = body.flag("stream")?.unwrap_or(false);
    ask.max_output = body.integer("max_output_tokens", 1)?;
    if let Some(options) = body.object("stream_options")? {
        options.only("include_obfuscation")?;
    }
    if body.get("instructions").is_some() {
        ask.count(body.string("instructions")?);
    }
    tools(&body, &mut ask)?;
    match body.need("input")? {
        Value::String(text) => {
            ask.count(text);
            text.clone_into(&mut ask.text);
        }
        _ => items(body.array("input")?, &mut ask)?,
    }
    Ok(ask)
}

fn tools(body: &Members<'_>, ask: &mut Ask) -> Check {
    for (i, tool) in body.array("tools")?.iter().enumerate() {
        let tool = Members::of(tool, format!("tools[{i}]"))?;
        if tool.string("type")? != "function" {
            continue;
        }
        tool.only("type name description parameters strict defer_loading")?;
        name(tool.string("name")?, &tool.place("name"), 64, "")?;
        tool.object("parameters")?;
        ask.tool(tool.string("name")?, tool.get("parameters"));
    }
    ask.one_tool_only = body.flag("parallel_tool_calls")? == Some(false);
    match body.get("tool_choice") {
        Some(Value::String(word)) => {
            body.one_of("tool_choice", &["none", "auto", "required"])?;
            ask.tool_mode = if word == "none" { ToolMode::Never } else { ToolMode::Auto };
        }
        Some(choice) => {
            let choice = Members::of(choice, "tool_choice")?;
            if choice.string("type")? == "function" {
                ask.tool_mode = ToolMode::Named(choice.string("name")?.to_owned());
            }
        }
        None => {}
    }
    Ok(())
}

fn items(items: &[Value], ask: &mut Ask) -> Check {
    if items.is_empty() {
        return Err(Refusal::invalid("input", "at least one item is expected"));
    }
    let mut open: Vec<String> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let item = Members::of(item, format!("input[{i}]"))?;
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
        if kind != "function_call_output" {
            ask.tool_results.clear();
        }
        match kind {
            "message" => message(&item, ask)?,
            "function_call" => {
                name(item.string("name")?, &item.place("name"), 64, "")?;
                ask.count(item.string("arguments")?);
                open.push(item.string("call_id")?.to_owned());
            }
            "function_call_output" => {
                let id = item.string("call_id")?;
                let Some(at) = open.iter().position(|known| known == id) else {
                    return Err(Refusal::invalid(
                        "input",
                        format!("No tool call found for function call output {id}."),
                    ));
                };
                open.remove(at);
                let text = parts(&item, "output", &["input_text", "input_image", "input_file"], ask)?;
                ask.tool_results.push(text);
            }
            _ => {}
        }
    }
    match open.first() {
        None => Ok(()),
        Some(id) => Err(Refusal::invalid("input", format!("No tool output found for function call {id}."))),
    }
}

fn message(item: &Members<'_>, ask: &mut Ask) -> Check {
    match item.one_of("role", &["user", "assistant", "system", "developer"])? {
        "assistant" => drop(parts(item, "content", &["output_text", "refusal", "input_text"], ask)?),
        "user" => {
            let allowed = &["input_text", "input_image", "input_file", "input_audio"];
            ask.text = parts(item, "content", allowed, ask)?;
        }
        _ => drop(parts(item, "content", &["input_text"], ask)?),
    }
    Ok(())
}

fn parts(item: &Members<'_>, member: &str, allowed: &[&str], ask: &mut Ask) -> Check<String> {
    if let Some(text) = item.need(member)?.as_str() {
        ask.count(text);
        return Ok(text.to_owned());
    }
    let mut texts = Vec::new();
    for (i, part) in item.array(member)?.iter().enumerate() {
        let part = Members::of(part, item.place(&format!("{member}[{i}]")))?;
        match part.one_of("type", allowed)? {
            "input_text" | "output_text" => {
                ask.count(part.string("text")?);
                texts.push(part.string("text")?);
            }
            "input_image" if part.get("image_url").is_some() => {
                let (mime, bytes) = image_url(part.string("image_url")?, &part.place("image_url"))?;
                ask.image(&mime, bytes);
            }
            _ => {}
        }
    }
    Ok(texts.join(" "))
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input + usage.output,
    })
}

fn response(ask: &Ask, answer: &Answer, status: &str, output: &Value) -> Value {
    json!({"id": format!("resp_{}", answer.id), "object": "response", "created_at": super::CREATED, "status": status,
        "model": ask.model, "output": output, "parallel_tool_calls": !ask.one_tool_only, "tool_choice": "auto",
        "tools": [], "error": null, "incomplete_details": null, "instructions": null, "metadata": {},
        "temperature": 1.0, "top_p": 1.0, "text": {"format": {"type": "text"}}, "store": false,
        "conversation": ask.conversation.as_ref().map(|id| json!({"id": id}))})
}

fn text_item(answer: &Answer, status: &str, content: &Value) -> Value {
    json!({"type": "message", "id": format!("msg_{}", answer.id), "status": status, "role": "assistant",
        "content": content})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn call_item(call: &Call, status: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{}", call.id), "call_id": call.id, "name": call.name,
        "arguments": arguments, "status": status})
}

pub(super) fn whole(ask: &Ask, answer: &Answer) -> Value {
    let done = |call: &Call| call_item(call, "completed", &call.arguments.to_string());
    let mut output: Vec<_> = answer.calls.iter().map(done).collect();
    let (mut status, mut details) = ("completed", Value::Null);
    if answer.finish == Finish::Length {
        (status, details) = ("incomplete", json!({"reason": "max_output_tokens"}));
    }
    if output.is_empty() {
        output.push(text_item(answer, status, &json!([text_part(&answer.text())])));
    }
    let mut document = response(ask, answer, status, &output.into());
    document["incomplete_details"] = details;
    if let Some(usage) = answer.said(usage(answer.usage)) {
        document["usage"] = usage;
    }
    document
}

/// Numbers the events.
struct Numbered(Vec<Event>);

impl Numbered {
    fn push(&mut self, kind: &str, mut value: Value, tokens: Option<u64>) {
        value["type"] = json!(kind);
        value["sequence_number"] = json!(self.0.len());
        let event = Event::named(&value);
        self.0.push(match tokens {
            Some(tokens) => event.worth(tokens),
            None => event,
        });
    }
}

pub(super) fn events(ask: &Ask, answer: &Answer) -> Vec<Event> {
    let mut out = Numbered(Vec::new());
    let begun = response(ask, answer, "in_progress", &json!([]));
    out.push("response.created", json!({"response": begun}), None);
    out.push("response.in_progress", json!({"response": begun}), None);
    if answer.calls.is_empty() {
        text_events(answer, &mut out);
    }
    for (index, call) in answer.calls.iter().enumerate() {
        call_events(index, call, &mut out);
    }
    let last = whole(ask, answer);
    let kind = if answer.finish == Finish::Length { "response.incomplete" } else { "response.completed" };
    out.push(kind, json!({"response": last}), None);
    out.0
}

fn text_events(answer: &Answer, out: &mut Numbered) {
    let item = format!("msg_{}", answer.id);
    let status = if answer.finish == Finish::Length { "incomplete" } else { "completed" };
    let here = |extra: Value| {
        let mut value = json!({"item_id": item, "output_index": 0, "content_index": 0});
        for (name, member) in extra.as_object().into_iter().flatten() {
            value[name] = member.clone();
        }
        value
    };
    let added = json!({"output_index": 0, "item": text_item(answer, "in_progress", &json!([]))});
    out.push("response.output_item.added", added, None);
    out.push("response.content_part.added", here(json!({"part": text_part("")})), None);
    for piece in &answer.pieces {
        out.push("response.output_text.delta", here(json!({"delta": piece, "logprobs": []})), Some(1));
    }
    let text = answer.text();
    out.push("response.output_text.done", here(json!({"text": text, "logprobs": []})), None);
    out.push("response.content_part.done", here(json!({"part": text_part(&text)})), None);
    let done = json!({"output_index": 0, "item": text_item(answer, status, &json!([text_part(&text)]))});
    out.push("response.output_item.done", done, None);
}

fn call_events(index: usize, call: &Call, out: &mut Numbered) {
    let item = format!("fc_{}", call.id);
    let text = call.arguments.to_string();
    let added = json!({"output_index": index, "item": call_item(call, "in_progress", "")});
    out.push("response.output_item.added", added, Some(1));
    for fragment in call.fragments() {
        let delta = json!({"item_id": item, "output_index": index, "delta": fragment});
        out.push("response.function_call_arguments.delta", delta, Some(1));
    }
    let done = json!({"item_id": item, "output_index": index, "name": call.name, "arguments": text});
    out.push("response.function_call_arguments.done", done, None);
    let done = json!({"output_index": index, "item": call_item(call, "completed", &text)});
    out.push("response.output_item.done", done, None);
}

/// A failure in mid-stream, after `sent` events.
pub(super) fn failure(ask: &Ask, answer: &Answer, sent: usize, message: &str) -> Event {
    let mut failed = response(ask, answer, "failed", &json!([]));
    failed["error"] = json!({"code": "server_error", "message": message});
    Event::named(&json!({"type": "response.failed", "sequence_number": sent, "response": failed}))
}
