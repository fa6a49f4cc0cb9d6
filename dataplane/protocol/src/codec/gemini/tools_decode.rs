//! `tools` and `toolConfig`.

use serde_json::value::RawValue;

use super::openapi::to_json_schema;
use crate::{
    codec::{
        Malformed,
        json::{
            read::{Object, malformed},
            write,
        },
        schema,
    },
    dialect::Family,
    ir::{Extras, Request, Tool, ToolChoice, ToolKind},
};

/// Reads `tools` into the request: each member beside the function declarations is a tool that Google runs.
pub fn decode(top: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let mut in_json_schema = false;
    for (index, mut group) in top.objects("tools")?.into_iter().enumerate() {
        let place = |error: Malformed| error.within(&format!("tools[{index}]"));
        for (position, declaration) in group.objects("functionDeclarations").map_err(place)?.into_iter().enumerate() {
            let tool = function(declaration, &mut request.extras, &mut in_json_schema);
            let tool = tool.map_err(|error| place(error.within(&format!("functionDeclarations[{position}]"))))?;
            request.tools.push(tool);
        }
        for (name, raw) in group.rest() {
            request.tools.push(server(&name, raw)?);
        }
    }
    if in_json_schema {
        let place = "tools[].functionDeclarations[].parameters";
        request.spelled.push((place, "tools[].functionDeclarations[].parametersJsonSchema"));
    }
    if let Some(config) = top.object("toolConfig")? {
        self::config(config, request).map_err(|error| error.within("toolConfig"))?;
    }
    Ok(())
}

fn function(mut declaration: Object<'_>, extras: &mut Extras, in_json_schema: &mut bool) -> Result<Tool, Malformed> {
    let name = declaration.need_name()?;
    let description = declaration.take("description")?;
    let openapi = declaration.take_raw("parameters").map(to_json_schema).transpose();
    let openapi = openapi.map_err(|error| error.within("parameters"))?;
    let written = declaration.take_raw("parametersJsonSchema").map(schema::modern);
    *in_json_schema |= written.is_some();
    let schema = written.or(openapi);
    for (member, raw) in declaration.rest() {
        extras.note(Family::Gemini, format!("tools[].functionDeclarations[].{member}"), raw, false);
    }
    Ok(Tool { name, description, kind: ToolKind::Function(schema), strict: None, cache: None })
}

fn server(name: &str, raw: &RawValue) -> Result<Tool, Malformed> {
    let whole = write::text(|out| out.put(name, raw));
    Ok(Tool {
        name: name.to_owned(),
        description: None,
        kind: ToolKind::Server {
            family: Family::Gemini,
            kind: name.to_owned(),
            raw: RawValue::from_string(whole).map_err(|_| malformed("is not JSON"))?,
        },
        strict: None,
        cache: None,
    })
}

fn config(mut config: Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    if let Some(mut calling) = config.object("functionCallingConfig")? {
        let inside = |error: Malformed| error.within("functionCallingConfig");
        let mode: Option<String> = calling.take("mode").map_err(inside)?;
        let names: Vec<String> = calling.take("allowedFunctionNames").map_err(inside)?.unwrap_or_default();
        request.tool_choice = choice(mode.as_deref(), names).map_err(inside)?;
        for (name, raw) in calling.rest() {
            note(request, &format!("toolConfig.functionCallingConfig.{name}"), raw);
        }
    }
    for (name, raw) in config.rest() {
        note(request, &format!("toolConfig.{name}"), raw);
    }
    Ok(())
}

fn choice(mode: Option<&str>, mut names: Vec<String>) -> Result<Option<ToolChoice>, Malformed> {
    let mode = mode.unwrap_or("AUTO").to_ascii_uppercase();
    Ok(Some(match mode.as_str() {
        "MODE_UNSPECIFIED" => return Ok(None),
        "AUTO" | "VALIDATED" if names.is_empty() => ToolChoice::Auto,
        "AUTO" | "VALIDATED" => ToolChoice::Allowed { names, required: false },
        "NONE" => ToolChoice::None,
        "ANY" if names.len() > 1 => ToolChoice::Allowed { names, required: true },
        "ANY" => names.pop().map_or(ToolChoice::Required, ToolChoice::Named),
        other => return Err(malformed(&format!("unknown mode {other:?}")).within("mode")),
    }))
}

fn note(request: &mut Request, field: &str, raw: &RawValue) {
    request.extras.note(Family::Gemini, field.to_owned(), raw, false);
}
