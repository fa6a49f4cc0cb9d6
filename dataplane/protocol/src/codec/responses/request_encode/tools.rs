//! Tools, flat as this dialect has them, and the choice among them.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use crate::{
    codec::{
        NameMap,
        chat::model::Capability,
        field::Name,
        json::{
            read::{Object, Spelling},
            write::{self, Elements, Members},
        },
        openai_request, schema,
    },
    dialect::{Family, Operation},
    ir::{Raw, Request, Tool, ToolChoice, ToolKind},
    report::Report,
};

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`.
pub fn offer(
    request: &Request,
    (names, custom): (&NameMap, &HashSet<&str>),
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let tools: Vec<&Tool> = request.tools.iter().filter(|tool| is_sendable(tool, from, report)).collect();
    if tools.is_empty() {
        // A choice among nothing is refused upstream.
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            report.dropped(Name::ToolChoice.field(from));
        }
        return;
    }
    out.list("tools", |out| {
        for tool in tools {
            encode(tool, names, capability, from, report, out);
        }
    });
    if let Some(choice) = &request.tool_choice {
        encode_choice(choice, names, custom, out);
    }
    out.put_some("parallel_tool_calls", request.parallel_tools);
}

/// Whether the upstream has it. Tools that a vendor runs are its own alone.
fn is_sendable(tool: &Tool, from: Operation, report: &mut Report) -> bool {
    if tool.cache.is_some() {
        report.dropped(Name::ToolCacheMark.field(from));
    }
    match &tool.kind {
        ToolKind::Server { family: Family::OpenAi, .. } if from.family() == Family::OpenAi => true,
        ToolKind::Server { kind, .. } => {
            report.refused(Name::Tool.of_kind(kind, from), format!("the upstream has no tool of type {kind}"));
            false
        }
        ToolKind::Function(_) | ToolKind::Custom(_) => true,
    }
}

fn encode(
    tool: &Tool,
    names: &NameMap,
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Elements<'_>,
) {
    let head = |kind: &str, out: &mut Members<'_>| {
        out.put("type", kind);
        out.put("name", names.sent(&tool.name));
        out.put_some("description", tool.description.as_deref());
    };
    match &tool.kind {
        ToolKind::Server { raw, .. } => out.put(raw),
        ToolKind::Custom(format) => out.object(|out| {
            head("custom", out);
            if let Some(format) = format {
                out.put_json("format", &flat(format));
            }
        }),
        ToolKind::Function(schema) => {
            let wanted = tool.strict.filter(|_| capability.strict_schemas);
            let is_own = from.family() == Family::OpenAi;
            let (parameters, strict) = match schema.as_deref() {
                None => (Cow::Borrowed(schema::EMPTY_OBJECT), None),
                Some(schema) if is_own => (schema.get().into(), wanted),
                Some(schema) => {
                    let Some(schema) = openai_request::tool_schema(schema, from, report) else { return };
                    let strict = openai_request::promise(wanted, &schema, Name::ToolStrict, from, report);
                    (Cow::Owned(text(schema)), strict)
                }
            };
            out.object(|out| {
                head("function", out);
                out.put_json("parameters", &parameters);
                // Unsaid, it is true here, and false everywhere else.
                out.put("strict", &strict.unwrap_or(false));
            });
        }
    }
}

fn text(raw: Raw) -> String {
    String::from(Box::<str>::from(raw))
}

/// A free-form tool's `format`: Chat has the grammar inside of it, where this dialect has its members.
fn flat(format: &RawValue) -> Cow<'_, str> {
    let nested = || {
        let grammar = Object::from_raw(format, Spelling::Exact).ok()?.object("grammar").ok()??;
        Some(write::text(|out| {
            out.put("type", "grammar");
            for (name, value) in grammar.rest() {
                out.put(&name, value);
            }
        }))
    };
    nested().map_or_else(|| format.get().into(), Cow::Owned)
}

/// Writes `tool_choice`. `custom` says which names are free-form tools.
fn encode_choice(choice: &ToolChoice, names: &NameMap, custom: &HashSet<&str>, out: &mut Members<'_>) {
    let named = |name: &str, out: &mut Members<'_>| {
        out.put("type", if custom.contains(name) { "custom" } else { "function" });
        out.put("name", names.sent(name));
    };
    match choice {
        ToolChoice::Auto => out.put("tool_choice", "auto"),
        ToolChoice::None => out.put("tool_choice", "none"),
        ToolChoice::Required => out.put("tool_choice", "required"),
        ToolChoice::Named(name) => out.object("tool_choice", |out| named(name, out)),
        ToolChoice::Allowed { names: allowed, required } => out.object("tool_choice", |out| {
            out.put("type", "allowed_tools");
            out.put("mode", if *required { "required" } else { "auto" });
            out.list("tools", |out| {
                for name in allowed {
                    out.object(|out| named(name, out));
                }
            });
        }),
    }
}
