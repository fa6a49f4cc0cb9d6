//! The Responses operation of the Echo upstream, event by event (docs/protocols/responses.md).

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{CREATED, EchoAnswer, whole},
    ask::{Ask, Offered},
    context::{Context, tree, wrong},
    say::{Say, What, call_id},
};
use crate::{
    codec::Malformed,
    ir::{Delta, FinishReason, Usage},
    wire::sse,
};

pub(super) fn answer(context: &Context<'_>) -> Result<EchoAnswer, Malformed> {
    let body = tree(context.body)?;
    let say = Say::to(&ask(&body)?);
    let usage = context.usage(&say, 1);
    let writer = Writer { context, body: &body, say: &say, usage };
    if !context.wire.is_stream() {
        return Ok(whole(writer.object(writer.final_status(), &[writer.item(writer.item_status(), true)], true)));
    }
    Ok(EchoAnswer { status: 200, content_type: "text/event-stream", chunks: writer.events() })
}

fn ask(body: &Value) -> Result<Ask, Malformed> {
    let mut ask = Ask { max_output: body.get("max_output_tokens").and_then(Value::as_u64), ..Ask::default() };
    match body.get("input") {
        Some(Value::String(text)) => ask.text.clone_from(text),
        Some(Value::Array(items)) => {
            let users = items.iter().rev().filter(|item| item.get("role").and_then(Value::as_str) == Some("user"));
            let mut texts = users.map(|item| text_of(item.get("content")));
            ask.text = texts.find(|text| !text.is_empty()).unwrap_or_default();
            let last = items.last().filter(|item| item.get("type").and_then(Value::as_str).is_some_and(is_output));
            ask.result = last.map(|item| text_of(item.get("output")));
        }
        _ => return Err(wrong(Some("input"), "`input` has to be a string or a list of items")),
    }
    let choice = body.get("tool_choice");
    let named = choice.and_then(|choice| choice.get("name")).and_then(Value::as_str);
    if choice.and_then(Value::as_str) != Some("none") {
        let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten();
        ask.tool = tools.filter_map(offered).find(|tool| named.is_none_or(|name| name == tool.name));
    }
    let format = body.pointer("/text/format");
    ask.schema = match format.and_then(|format| format.get("type")).and_then(Value::as_str) {
        Some("json_object") => Some(json!({})),
        Some("json_schema") => format.and_then(|format| format.get("schema")).cloned(),
        _ => None,
    };
    Ok(ask)
}

fn is_output(kind: &str) -> bool {
    matches!(kind, "function_call_output" | "custom_tool_call_output")
}

fn offered(tool: &Value) -> Option<Offered> {
    let custom = match tool.get("type").and_then(Value::as_str) {
        Some("function") => false,
        Some("custom") => true,
        _ => return None,
    };
    let schema = tool.get("parameters").cloned().unwrap_or_default();
    Some(Offered { name: tool.get("name")?.as_str()?.to_owned(), custom, schema })
}

fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

struct Writer<'a> {
    context: &'a Context<'a>,
    body: &'a Value,
    say: &'a Say,
    usage: Usage,
}

impl Writer<'_> {
    fn final_status(&self) -> &'static str {
        if self.say.finish == FinishReason::Length { "incomplete" } else { "completed" }
    }

    /// An item that was cut off says so as well.
    fn item_status(&self) -> &'static str {
        self.final_status()
    }

    /// The response object.
    fn object(&self, status: &str, output: &[Value], ended: bool) -> Value {
        let or = |name: &str, default: Value| {
            self.body.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default)
        };
        let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        let (input, spent) = (self.usage.total_input(), self.usage.total_output());
        let usage = ended.then(|| {
            json!({
                "input_tokens": input, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": spent, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": input + spent,
            })
        });
        json!({
            "id": format!("resp_{}", self.context.id), "object": "response", "created_at": CREATED,
            "status": status, "error": null, "incomplete_details": incomplete,
            "instructions": or("instructions", Value::Null), "max_output_tokens": or("max_output_tokens", Value::Null),
            "model": self.context.model, "output": output,
            "parallel_tool_calls": or("parallel_tool_calls", true.into()), "tool_choice": or("tool_choice", "auto".into()),
            "tools": or("tools", json!([])), "metadata": or("metadata", json!({})),
            "temperature": or("temperature", Value::Null), "top_p": or("top_p", Value::Null),
            "text": or("text", json!({"format": {"type": "text"}})), "usage": usage,
        })
    }

    /// The one output item, empty or `full`.
    fn item(&self, status: &str, full: bool) -> Value {
        let id = &self.context.id;
        match &self.say.what {
            What::Text(_) => {
                let content = if full { vec![self.part(true)] } else { Vec::new() };
                json!({"id": format!("msg_{id}"), "type": "message", "role": "assistant", "status": status, "content": content})
            }
            What::Call { name, custom: true, .. } => json!({
                "id": format!("ctc_{id}"), "type": "custom_tool_call", "status": status, "call_id": call_id(id),
                "name": name, "input": if full { self.payload() } else { String::new() },
            }),
            What::Call { name, .. } => json!({
                "id": format!("fc_{id}"), "type": "function_call", "status": status, "call_id": call_id(id),
                "name": name, "arguments": if full { self.payload() } else { String::new() },
            }),
        }
    }

    fn part(&self, full: bool) -> Value {
        let text = if full { self.payload() } else { String::new() };
        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    }

    /// Text, arguments, or a free-form tool's input.
    fn payload(&self) -> String {
        match &self.say.what {
            What::Text(text) => text.clone(),
            What::Call { arguments, custom: false, .. } => arguments.clone(),
            What::Call { arguments, .. } => {
                let read = serde_json::from_str::<Value>(arguments).unwrap_or_default();
                text_of(read.get("input"))
            }
        }
    }

    fn events(&self) -> Vec<Bytes> {
        let done = self.item(self.item_status(), true);
        let item_id = done.get("id").cloned().unwrap_or_default();
        let started = self.object("in_progress", &[], false);
        let mut events = vec![
            ("response.created", json!({"response": started})),
            ("response.in_progress", json!({"response": started})),
            ("response.output_item.added", json!({"output_index": 0, "item": self.item("in_progress", false)})),
        ];
        let at = |mut members: Value| {
            if let Some(object) = members.as_object_mut() {
                object.insert("item_id".into(), item_id.clone());
                object.insert("output_index".into(), 0.into());
            }
            members
        };
        match &self.say.what {
            What::Text(_) => {
                events.push(("response.content_part.added", at(json!({"content_index": 0, "part": self.part(false)}))));
                for delta in self.say.deltas() {
                    let Delta::Text(word) = delta else { continue };
                    let members = json!({"content_index": 0, "delta": word, "logprobs": []});
                    events.push(("response.output_text.delta", at(members)));
                }
                let text = json!({"content_index": 0, "text": self.payload(), "logprobs": []});
                events.push(("response.output_text.done", at(text)));
                events.push(("response.content_part.done", at(json!({"content_index": 0, "part": self.part(true)}))));
            }
            What::Call { custom: true, .. } => {
                events.push(("response.custom_tool_call_input.delta", at(json!({"delta": self.payload()}))));
                events.push(("response.custom_tool_call_input.done", at(json!({"input": self.payload()}))));
            }
            What::Call { name, .. } => {
                events.push(("response.function_call_arguments.delta", at(json!({"delta": self.payload()}))));
                let members = json!({"name": name, "arguments": self.payload()});
                events.push(("response.function_call_arguments.done", at(members)));
            }
        }
        events.push(("response.output_item.done", json!({"output_index": 0, "item": done})));
        let terminal = if self.final_status() == "completed" { "response.completed" } else { "response.incomplete" };
        events.push((terminal, json!({"response": self.object(self.final_status(), &[done], true)})));
        (0_u64..).zip(events).map(|(number, (kind, members))| numbered(number, kind, members)).collect()
    }
}

fn numbered(number: u64, kind: &str, mut members: Value) -> Bytes {
    if let Some(object) = members.as_object_mut() {
        object.insert("type".into(), kind.into());
        object.insert("sequence_number".into(), number.into());
    }
    let mut out = Vec::new();
    sse::write(&mut out, Some(kind), members.to_string().as_bytes());
    out.into()
}
