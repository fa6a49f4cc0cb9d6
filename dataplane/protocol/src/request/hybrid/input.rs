//! `input` → Chat's messages. Calls that follow each other, or an assistant's text, belong to one assistant message.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::lost::Lost;
use crate::codec::{
    Malformed,
    json::{
        read::{Object, Spelling, elements, malformed},
        write::{self, Elements, Members},
    },
};

/// One Chat message.
pub(super) enum Turn {
    /// Somebody says something.
    Said {
        role: String,
        /// JSON: a string or a list of parts.
        content: Option<String>,
        /// JSON of each call.
        calls: Vec<String>,
    },
    /// A tool's result.
    Result {
        id: String,
        /// JSON.
        content: String,
    },
}

/// Reads `input`.
pub(super) fn turns(top: &mut Object<'_>, lost: &mut Lost) -> Result<Vec<Turn>, Malformed> {
    let Some(raw) = top.take_raw("input") else { return Ok(Vec::new()) };
    if raw.get().starts_with('"') {
        return Ok(vec![Turn::Said {
            role: "user".to_owned(),
            content: Some(raw.get().to_owned()),
            calls: Vec::new(),
        }]);
    }
    let mut turns = Vec::new();
    for (index, raw) in elements(raw).map_err(|error| error.within("input"))?.into_iter().enumerate() {
        let place = |error: Malformed| error.within(&format!("input[{index}]"));
        let item = Object::from_raw(raw, Spelling::Exact).map_err(place)?;
        take(item, index, &mut turns, lost).map_err(place)?;
    }
    Ok(turns)
}

fn take(mut item: Object<'_>, index: usize, turns: &mut Vec<Turn>, lost: &mut Lost) -> Result<(), Malformed> {
    let kind: String = item.take("type")?.unwrap_or_else(|| "message".to_owned());
    match kind.as_str() {
        "message" => {
            let role: String = item.need("role")?;
            let content = item.take_raw("content").map(|raw| content(raw).map_err(|error| error.within("content")));
            turns.push(Turn::Said { role, content: content.transpose()?, calls: Vec::new() });
        }
        "function_call" | "custom_tool_call" => {
            let call = call(&mut item, kind == "custom_tool_call")?;
            match turns.last_mut() {
                Some(Turn::Said { role, calls, .. }) if role == "assistant" => calls.push(call),
                _ => turns.push(Turn::Said { role: "assistant".to_owned(), content: None, calls: vec![call] }),
            }
        }
        "function_call_output" | "custom_tool_call_output" => {
            let id = item.need("call_id")?;
            let output = item.take_raw("output").ok_or_else(|| malformed("is required").within("output"))?;
            let content = if output.get().starts_with(['"', '[']) {
                content(output).map_err(|error| error.within("output"))?
            } else {
                // An object is text to a model.
                serde_json::Value::from(output.get()).to_string()
            };
            turns.push(Turn::Result { id, content });
        }
        "item_reference" => {
            return Err(malformed("refers to an item that is kept elsewhere; send the item itself").within("type"));
        }
        // Reasoning that only its issuer can read, and the traces of the vendor's own tools.
        _ => lost.add(|| format!("input[{index}]")),
    }
    Ok(())
}

fn call(item: &mut Object<'_>, custom: bool) -> Result<String, Malformed> {
    let (id, name): (String, String) = (item.need("call_id")?, item.need_name()?);
    let (kind, member) = if custom { ("custom", "input") } else { ("function", "arguments") };
    let given: String = item.take(member)?.unwrap_or_default();
    Ok(write::text(|out| {
        out.put("id", &id);
        out.put("type", kind);
        out.object(kind, |inner| {
            inner.put("name", &name);
            inner.put(member, &given);
        });
    }))
}

/// A string as it is, parts one by one.
fn content(raw: &RawValue) -> Result<String, Malformed> {
    if raw.get().starts_with('"') {
        return Ok(raw.get().to_owned());
    }
    let mut parts = Vec::new();
    for (index, raw) in elements(raw)?.into_iter().enumerate() {
        parts.push(part(raw).map_err(|error| error.within(&format!("[{index}]")))?);
    }
    let list = write::elements(|out| parts.iter().for_each(|part| out.put_json(part)));
    Ok(format!("[{list}]"))
}

fn part(raw: &RawValue) -> Result<String, Malformed> {
    let mut part = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = part.need("type")?;
    let (target, member) = match kind.as_str() {
        "input_text" | "output_text" => ("text", "text"),
        "input_image" => ("image_url", "image_url"),
        "input_file" => ("file", "file"),
        // Chat's own parts, and `input_audio` and `refusal`, which both have.
        _ => return Ok(raw.get().to_owned()),
    };
    if kind == "input_image" {
        let url: String = part
            .take("image_url")?
            .ok_or_else(|| malformed("only images by address or data URL can be sent on").within("image_url"))?;
        let detail = part.take_raw("detail");
        return Ok(write::text(|out| {
            out.put("type", target);
            out.object(member, |image| {
                image.put("url", &url);
                if let Some(detail) = detail {
                    image.put_json("detail", detail.get());
                }
            });
        }));
    }
    if kind == "input_file" {
        let members: Vec<_> = part.rest().collect();
        return Ok(write::text(|out| {
            out.put("type", target);
            out.object(member, |file| put_all(file, &members));
        }));
    }
    let text: String = part.need("text")?;
    Ok(write::text(|out| {
        out.put("type", target);
        out.put(member, &text);
    }))
}

impl Turn {
    pub(super) fn write(&self, messages: &mut Elements<'_>) {
        messages.object(|out| match self {
            Self::Said { role, content, calls } => {
                out.put("role", role);
                match content {
                    Some(content) => out.put_json("content", content),
                    None => out.put_json("content", "null"),
                }
                if !calls.is_empty() {
                    out.list("tool_calls", |list| calls.iter().for_each(|call| list.put_json(call)));
                }
            }
            Self::Result { id, content } => {
                out.put("role", "tool");
                out.put("tool_call_id", id);
                out.put_json("content", content);
            }
        });
    }
}

/// Puts members down as they came.
pub(super) fn put_all(out: &mut Members<'_>, members: &[(Cow<'_, str>, &RawValue)]) {
    for (name, raw) in members {
        out.put_json(name, raw.get());
    }
}
