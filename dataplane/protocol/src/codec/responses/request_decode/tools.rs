//! `tools` and `tool_choice`.
//!
//! Tools of a namespace are told under flat names ([`names`]), whole and at once: a search among them is the vendor's. The
//! vendor's own tools are named by their type, which is how a choice names them as well.

use serde_json::value::RawValue;

use crate::{
    codec::{
        Malformed,
        json::read::{Object, Spelling, malformed, read},
        responses::names,
        schema,
    },
    dialect::Family,
    ir::{Extras, Request, Tool, ToolChoice, ToolKind},
};

/// Reads one element of `tools`, which may stand for several.
pub fn decode(raw: &RawValue, request: &mut Request) -> Result<(), Malformed> {
    let mut tool = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = tool.take("type")?.unwrap_or_else(|| "function".to_owned());
    match kind.as_str() {
        "function" | "custom" => {
            let read = own(tool, &kind, &mut request.extras)?;
            request.tools.push(read);
        }
        "namespace" => namespace(tool, request)?,
        _ => request.tools.push(Tool {
            name: kind.clone(),
            description: None,
            kind: ToolKind::Server { family: Family::OpenAi, kind, raw: raw.to_owned() },
            strict: None,
            cache: None,
        }),
    }
    Ok(())
}

/// A tool that the client runs. Chat's form, with a level more, is what some clients write here.
fn own(mut tool: Object<'_>, kind: &str, extras: &mut Extras) -> Result<Tool, Malformed> {
    let nested = if tool.has("name") { None } else { tool.object(kind)? };
    let is_nested = nested.is_some();
    let mut tool = nested.unwrap_or(tool);
    let within = |error: Malformed| if is_nested { error.within(kind) } else { error };
    let read = Tool {
        name: tool.need_name().map_err(within)?,
        description: tool.take("description").map_err(within)?,
        kind: match kind {
            "custom" => ToolKind::Custom(tool.take_raw("format").map(ToOwned::to_owned)),
            _ => ToolKind::Function(tool.take_raw("parameters").map(schema::modern)),
        },
        strict: tool.take("strict").map_err(within)?,
        cache: None,
    };
    for (name, raw) in tool.rest() {
        extras.note(Family::OpenAi, format!("tools[].{name}"), raw, false);
    }
    Ok(read)
}

/// The tools of a group, each under its own and the group's name.
fn namespace(mut group: Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let name = group.need_name()?;
    let tools = group.objects("tools")?;
    if tools.len() > names::MAX_GROUPED || request.tools.len() > names::MAX_GROUPED {
        return Err(malformed(&format!("more than {} tools", names::MAX_GROUPED)).within("tools"));
    }
    for (index, mut tool) in tools.into_iter().enumerate() {
        let place = |error: Malformed| error.within(&format!("tools[{index}]"));
        let kind: String = tool.take("type").map_err(place)?.unwrap_or_else(|| "function".to_owned());
        if matches!(kind.as_str(), "function" | "custom") {
            let mut read = own(tool, &kind, &mut request.extras).map_err(place)?;
            read.name = names::flat(&name, &read.name);
            request.tools.push(read);
        } else {
            request.extras.note(Family::OpenAi, format!("tools[].tools[].{kind}"), RawValue::TRUE, false);
        }
    }
    for (name, raw) in group.rest() {
        request.extras.note(Family::OpenAi, format!("tools[].{name}"), raw, false);
    }
    Ok(())
}

/// Reads `tool_choice`. None where nothing that it names is on offer.
pub fn choice(raw: &RawValue) -> Result<Option<ToolChoice>, Malformed> {
    if raw.get().starts_with('"') {
        return match read::<String>(raw)?.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            other => Err(malformed(&format!("unknown choice {other:?}; it is one of auto, none, required"))),
        };
    }
    let mut choice = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = choice.need("type")?;
    if kind != "allowed_tools" {
        return named(choice, &kind).map(|name| Some(ToolChoice::Named(name)));
    }
    // Chat's form has a level more.
    let mut allowed = choice.object("allowed_tools")?.unwrap_or(choice);
    let required = allowed.take::<String>("mode")?.as_deref() == Some("required");
    let (mut names, mut hosted) = (Vec::new(), None);
    for (index, mut tool) in allowed.objects("tools")?.into_iter().enumerate() {
        let place = |error: Malformed| error.within(&format!("tools[{index}]"));
        let kind: String = tool.need("type").map_err(place)?;
        let is_own = matches!(kind.as_str(), "function" | "custom");
        let name = named(tool, &kind).map_err(place)?;
        if is_own {
            names.push(name);
        } else {
            hosted.get_or_insert(name);
        }
    }
    Ok(match hosted {
        // Only the vendor's own are allowed: one of them is forced, or none is left.
        Some(name) if names.is_empty() && required => Some(ToolChoice::Named(name)),
        Some(_) if names.is_empty() => Some(ToolChoice::None),
        _ => Some(ToolChoice::Allowed { names, required }),
    })
}

/// The tool that an object names: one of the client's by its name, the vendor's own by its type.
fn named(mut choice: Object<'_>, kind: &str) -> Result<String, Malformed> {
    if !matches!(kind, "function" | "custom") {
        return Ok(kind.to_owned());
    }
    let mut choice = match choice.object(kind)? {
        Some(nested) => nested,
        None => choice,
    };
    let name = choice.need_name()?;
    let namespace: Option<String> = choice.take("namespace")?;
    Ok(namespace.map_or_else(|| name.clone(), |namespace| names::flat(&namespace, &name)))
}
