//! Tools, the choice among them, and the text of free-form calls.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::{
    codec::{
        Malformed, NameMap, free_form,
        json::{
            read::{Object, Spelling, malformed, read},
            write::Members,
        },
        schema,
    },
    dialect::Family,
    ir::{CacheMark, Extras, Tool, ToolChoice, ToolKind},
};

/// Reads one element of `tools`. Members that nobody knows are noted.
pub fn decode(raw: &RawValue, extras: &mut Extras) -> Result<Tool, Malformed> {
    let mut tool = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = tool.take("type")?.unwrap_or_else(|| "function".to_owned());
    let cache = tool.take_raw("cache_control").map(cache_mark).transpose()?;
    match kind.as_str() {
        "function" => {
            let function = tool.object("function")?.ok_or_else(|| malformed("is required").within("function"))?;
            note("tools[]", tool, extras);
            decode_function(function, cache, "tools[].function", extras).map_err(|error| error.within("function"))
        }
        "custom" => {
            let mut custom = tool.object("custom")?.ok_or_else(|| malformed("is required").within("custom"))?;
            let read = Tool {
                name: custom.need_name().map_err(|error| error.within("custom"))?,
                description: custom.take("description").map_err(|error| error.within("custom"))?,
                kind: ToolKind::Custom(custom.take_raw("format").map(ToOwned::to_owned)),
                strict: None,
                cache,
            };
            note("tools[]", tool, extras);
            note("tools[].custom", custom, extras);
            Ok(read)
        }
        _ => Ok(Tool {
            name: kind.clone(),
            description: None,
            kind: ToolKind::Server { family: Family::OpenAi, kind, raw: raw.to_owned() },
            strict: None,
            cache,
        }),
    }
}

/// Reads a function, as it stands in `tools[].function` and in the old `functions[]`.
pub fn decode_function(
    mut function: Object<'_>,
    cache: Option<CacheMark>,
    place: &str,
    extras: &mut Extras,
) -> Result<Tool, Malformed> {
    let read = Tool {
        name: function.need_name()?,
        description: function.take("description")?,
        kind: ToolKind::Function(function.take_raw("parameters").map(schema::modern)),
        strict: function.take("strict")?,
        cache,
    };
    note(place, function, extras);
    Ok(read)
}

fn note(place: &str, rest: Object<'_>, extras: &mut Extras) {
    for (name, raw) in rest.rest() {
        extras.note(Family::OpenAi, format!("{place}.{name}"), raw, false);
    }
}

/// Reads a cache breakpoint, whichever of its two names it had.
pub fn cache_mark(raw: &RawValue) -> Result<CacheMark, Malformed> {
    let ttl = Object::from_raw(raw, Spelling::Exact)?.take("ttl").map_err(|error| error.within("cache_control"))?;
    Ok(CacheMark { ttl })
}

/// Reads `tool_choice`, or the old `function_call`. Members that nobody knows are noted.
pub fn decode_choice(raw: &RawValue, extras: &mut Extras) -> Result<ToolChoice, Malformed> {
    if raw.get().starts_with('"') {
        return match read::<String>(raw)?.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            other => Err(malformed(&format!("unknown choice {other:?}; it is one of auto, none, required"))),
        };
    }
    let mut choice = Object::from_raw(raw, Spelling::Exact)?;
    if let Some(mut allowed) = choice.object("allowed_tools")? {
        let required = allowed.take::<String>("mode")?.as_deref() == Some("required");
        let choices = allowed.objects("tools")?.into_iter();
        let names = choices.map(|one| choice_name(one, "tool_choice.allowed_tools.tools[]", extras));
        let names = names.collect::<Result<_, _>>()?;
        choice.take_raw("type");
        note("tool_choice.allowed_tools", allowed, extras);
        note("tool_choice", choice, extras);
        return Ok(ToolChoice::Allowed { names, required });
    }
    choice_name(choice, "tool_choice", extras).map(ToolChoice::Named)
}

/// The tool that `{"type":"function","function":{"name":…}}` names, in any of its spellings.
fn choice_name(mut choice: Object<'_>, place: &str, extras: &mut Extras) -> Result<String, Malformed> {
    choice.take_raw("type");
    for member in ["function", "custom"] {
        if let Some(mut named) = choice.object(member)? {
            let name = named.need("name").map_err(|error| error.within(member))?;
            note(&format!("{place}.{member}"), named, extras);
            note(place, choice, extras);
            return Ok(name);
        }
    }
    let name = choice.need("name")?;
    note(place, choice, extras);
    Ok(name)
}

/// Writes a function or free-form tool; a function with this schema, made for the upstream, and this promise. `custom`
/// says which names are sent as free-form tools; others are functions with one text.
pub fn encode(
    tool: &Tool,
    parameters: Option<&RawValue>,
    strict: Option<bool>,
    (names, custom): (&NameMap, &HashSet<&str>),
    out: &mut Members<'_>,
) {
    let fill = |out: &mut Members<'_>| {
        out.put("name", names.sent(&tool.name));
        out.put_some("description", tool.description.as_deref());
    };
    match &tool.kind {
        ToolKind::Function(_) => {
            out.put("type", "function");
            out.object("function", |out| {
                fill(out);
                out.put_some("parameters", parameters);
                out.put_some("strict", strict);
            });
        }
        ToolKind::Custom(_) if !custom.contains(tool.name.as_str()) => {
            out.put("type", "function");
            out.object("function", |out| {
                fill(out);
                out.put_json("parameters", free_form::SCHEMA);
            });
        }
        ToolKind::Custom(format) => {
            out.put("type", "custom");
            out.object("custom", |out| {
                fill(out);
                out.put_some("format", format.as_ref());
            });
        }
        ToolKind::Server { .. } => {}
    }
}

/// Writes `tool_choice`. `custom` says which names are free-form tools.
pub fn encode_choice(choice: &ToolChoice, names: &NameMap, custom: &HashSet<&str>, out: &mut Members<'_>) {
    let named = |name: &str, out: &mut Members<'_>| {
        let kind = if custom.contains(name) { "custom" } else { "function" };
        out.put("type", kind);
        out.object(kind, |out| out.put("name", names.sent(name)));
    };
    match choice {
        ToolChoice::Auto => out.put("tool_choice", "auto"),
        ToolChoice::None => out.put("tool_choice", "none"),
        ToolChoice::Required => out.put("tool_choice", "required"),
        ToolChoice::Named(name) => out.object("tool_choice", |out| named(name, out)),
        ToolChoice::Allowed { names: allowed, required } => out.object("tool_choice", |out| {
            out.put("type", "allowed_tools");
            out.object("allowed_tools", |out| {
                out.put("mode", if *required { "required" } else { "auto" });
                out.list("tools", |out| {
                    for name in allowed {
                        out.object(|out| named(name, out));
                    }
                });
            });
        }),
    }
}
