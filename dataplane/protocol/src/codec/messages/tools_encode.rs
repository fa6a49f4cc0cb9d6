//! Tools on offer and the choice among them, written for Anthropic (docs/protocols/mapping.md).

use std::{borrow::Cow, collections::HashSet};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{content_encode::mark, context::Context, thinking::Mode, web_search};
use crate::{
    codec::{
        field::Name,
        free_form, hosted_tool,
        json::write::{Elements, Members},
        schema::{self, openai},
    },
    dialect::Family,
    ir::{Raw, Request, Tool, ToolChoice, ToolKind},
};

/// The tools to send, without those that Anthropic cannot run and those that the choice leaves out.
pub fn offered<'a>(request: &'a Request, context: &mut Context<'_>) -> Vec<(usize, &'a Tool)> {
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names.iter().collect::<HashSet<&String>>()),
        _ => None,
    };
    if allowed.is_some() {
        let said = if context.from.family() == Family::Gemini { "allowedFunctionNames" } else { "allowed_tools" };
        context.adapted(Name::ToolChoice, said, "only these tools");
    }
    let is_allowed = |tool: &Tool| allowed.as_ref().is_none_or(|names| names.contains(&tool.name));
    let chosen = request.tools.iter().enumerate().filter(|(_, tool)| is_allowed(tool));
    chosen.filter(|(_, tool)| can_run(tool, request, context)).collect()
}

/// Writes one tool, the client's number `at`.
pub fn tool(at: usize, tool: &Tool, to: &mut Elements<'_>, context: &mut Context<'_>) {
    if let ToolKind::Server { family, raw, .. } = &tool.kind {
        return match family {
            Family::Anthropic => to.put_json(raw.get()),
            _ => web_search::put(raw, to),
        };
    }
    let Some(schema) = input_schema(at, tool, (tool.strict == Some(true), to.room()), context) else { return };
    to.object(|o| {
        o.put("name", context.names.sent(&tool.name));
        o.put_some("description", tool.description.as_ref());
        o.put_json("input_schema", &schema);
        o.put_some("strict", tool.strict);
        mark(tool.cache.as_ref(), o, context);
    });
}

/// The schema of a tool's arguments, an object at its root, in at most `room` bytes if it is held to strictly; none if the
/// tool cannot be sent, which the report says.
pub fn input_schema<'t>(
    at: usize,
    tool: &'t Tool,
    (strict, room): (bool, usize),
    context: &mut Context<'_>,
) -> Option<Cow<'t, str>> {
    let schema = match &tool.kind {
        ToolKind::Server { .. } => return None,
        ToolKind::Function(schema) => schema.as_ref(),
        ToolKind::Custom(format) => {
            if format.as_deref().is_some_and(free_form::constrains) {
                context.dropped(Name::ToolFormat);
            }
            return Some(free_form::SCHEMA.into());
        }
    };
    let Some(schema) = schema else { return Some(schema::EMPTY_OBJECT.into()) };
    let plain = match (!is_plain(schema)).then(|| openai::with_plain_root(schema)).transpose() {
        Ok(plain) => plain,
        Err(why) => {
            context.refused(Name::ToolSchema, why);
            return None;
        }
    };
    if plain.as_ref().is_some_and(|plain| plain.weakened) {
        context.adapted(Name::ToolSchema, "alternatives at the root", "one object");
    }
    if !strict {
        return Some(match plain {
            Some(plain) => Cow::Owned(schema::as_object(&plain.schema).into_owned()),
            None => schema::as_object(schema),
        });
    }
    let Ok(converted) = schema::for_anthropic(plain.as_ref().map_or(schema, |plain| &plain.schema), room) else {
        context.report.too_large(Name::ToolSchema.at(context.from, at));
        return None;
    };
    if converted.weakened {
        context.adapted(Name::ToolSchema, "constraint", "description");
    }
    Some(Cow::Owned(converted.schema.get().to_owned()))
}

/// Writes `tool_choice`, if there is something to choose from (hard case 189).
pub fn choice(request: &Request, mode: Mode, to: &mut Members<'_>, context: &mut Context<'_>) {
    let wanted = match (&request.tool_choice, request.parallel_tools) {
        (None, Some(false)) => &ToolChoice::Auto, // hard case 10
        (None, Some(true) | None) => return,
        (Some(wanted), _) => wanted,
    };
    let (mut word, mut name) = match wanted {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => ("any", None),
        ToolChoice::Named(name) if context.abilities.web_search && web_search::is_chosen(name, request) => {
            ("tool", Some(web_search::NAME.to_owned()))
        }
        ToolChoice::Named(name) => ("tool", Some(context.names.sent(name).to_owned())),
    };
    // Manual thinking and a forced tool exclude each other (hard case 190), and some models take no forced tool at all.
    let is_free = matches!(mode, Mode::Budget(_)) || !context.abilities.forced_tools;
    if is_free && matches!(word, "any" | "tool") {
        let said = match wanted {
            ToolChoice::Named(name) => name.clone(),
            _ if context.from.family() == Family::Gemini => "ANY".to_owned(),
            _ => "required".to_owned(),
        };
        context.adapted(Name::ToolChoice, said, "auto");
        (word, name) = ("auto", None);
    }
    to.object("tool_choice", |o| {
        o.put("type", word);
        o.put_some("name", name);
        if word != "none" {
            o.put_some("disable_parallel_tool_use", request.parallel_tools.map(|parallel| !parallel));
        }
    });
}

fn can_run(tool: &Tool, request: &Request, context: &mut Context<'_>) -> bool {
    match &tool.kind {
        ToolKind::Server { family, kind, .. } if *family != Family::Anthropic => {
            if context.abilities.web_search && web_search::can_stand_for(tool, request) {
                web_search::report(tool, context);
                return true;
            }
            let why = format!("Anthropic has no tool of type {kind}");
            hosted_tool::leave_out(tool, request, context.from, why, context.report);
            false
        }
        ToolKind::Server { .. } | ToolKind::Function(_) | ToolKind::Custom(_) => true,
    }
}

/// Whether the root is a plain object already, or nothing that could become one: no alternatives, reference or other type.
fn is_plain(schema: &Raw) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Root<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(rename = "$ref")]
        target: Option<IgnoredAny>,
        any_of: Option<IgnoredAny>,
        one_of: Option<IgnoredAny>,
        all_of: Option<IgnoredAny>,
    }
    serde_json::from_str::<Root<'_>>(schema.get()).map_or(true, |root| {
        let others = [root.target, root.any_of, root.one_of, root.all_of];
        others.iter().all(Option::is_none) && root.kind.is_none_or(|kind| kind.get() == "\"object\"")
    })
}
