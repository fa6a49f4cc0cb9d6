//! `tools` and `toolConfig` for an upstream: all functions in one tool object.

use std::{borrow::Cow, collections::HashSet};

use super::model::Capability;
use crate::{
    codec::{
        NameMap,
        field::Name,
        free_form, hosted_tool,
        json::write::{Elements, Members},
        schema,
    },
    dialect::{Family, Operation},
    ir::{Request, Tool, ToolChoice, ToolKind},
    report::Report,
};

/// Writes both members.
pub fn encode(
    request: &Request,
    names: &NameMap,
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let (functions, servers) = sorted(request, from, report);
    if functions.is_empty() && servers.is_empty() {
        // A choice among nothing is refused upstream (hard case 189).
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            report.dropped(Name::ToolChoice.field(from));
        }
        return;
    }
    out.list("tools", |out| {
        if !functions.is_empty() {
            out.object(|out| {
                out.list("functionDeclarations", |out| {
                    for tool in &functions {
                        declaration(*tool, names, capability, from, report, out);
                    }
                });
            });
        }
        servers.iter().for_each(|raw| out.put(raw));
    });
    if request.parallel_tools == Some(false) {
        report.dropped(Name::ParallelTools.field(from));
    }
    if let Some(choice) = request.tool_choice.as_ref().filter(|_| !functions.is_empty()) {
        config(choice, names, out);
    } else if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
        report.dropped(Name::ToolChoice.field(from));
    }
}

/// Functions to declare, and Google's own tools. Of a choice that allows some tools but forces none, only those are
/// declared: the dialect cannot say it otherwise.
fn sorted<'r>(
    request: &'r Request,
    from: Operation,
    report: &mut Report,
) -> (Vec<(usize, &'r Tool)>, Vec<&'r crate::ir::Raw>) {
    let (mut functions, mut servers) = (Vec::new(), Vec::new());
    for (at, tool) in request.tools.iter().enumerate() {
        if tool.cache.is_some() {
            report.dropped(Name::ToolCacheMark.field(from));
        }
        match &tool.kind {
            ToolKind::Function(_) | ToolKind::Custom(_) => functions.push((at, tool)),
            ToolKind::Server { family: Family::Gemini, raw, .. } if from == Operation::GenerateContent => {
                servers.push(raw);
            }
            ToolKind::Server { kind, .. } => {
                hosted_tool::leave_out(tool, request, from, format!("the upstream has no tool of type {kind}"), report);
            }
        }
    }
    if let Some(ToolChoice::Allowed { names, required: false }) = &request.tool_choice {
        let before = functions.len();
        let names: HashSet<&String> = names.iter().collect();
        functions.retain(|(_, tool)| names.contains(&tool.name));
        if functions.len() < before {
            report.adapted(Name::ToolChoice.field(from), "allowed_tools", "only these tools");
        }
    }
    (functions, servers)
}

fn declaration(
    (at, tool): (usize, &Tool),
    names: &NameMap,
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Elements<'_>,
) {
    if tool.strict == Some(true) {
        report.dropped(Name::ToolStrict.field(from));
    }
    let most = out.room();
    let given = match &tool.kind {
        ToolKind::Custom(format) => {
            if format.as_deref().is_some_and(free_form::constrains) {
                report.dropped(Name::ToolFormat.field(from));
            }
            serde_json::from_str(free_form::SCHEMA).ok().map(Cow::Owned)
        }
        ToolKind::Function(schema) => schema.as_ref().map(Cow::Borrowed),
        ToolKind::Server { .. } => None,
    };
    out.object(|out| {
        out.put("name", names.sent(&tool.name));
        out.put_some("description", tool.description.as_deref());
        match given {
            Some(schema) if capability.json_schema => out.put("parametersJsonSchema", &schema),
            Some(schema) => {
                let Ok(converted) = schema::for_gemini(&schema, most) else {
                    return report.too_large(Name::ToolSchema.at(from, at));
                };
                if converted.weakened {
                    report.adapted(Name::ToolSchema.field(from), "JSON Schema", "the subset the model takes");
                }
                out.put("parameters", &converted.schema);
            }
            None => {}
        }
    });
}

fn config(choice: &ToolChoice, names: &NameMap, out: &mut Members<'_>) {
    let (mode, allowed) = match choice {
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => ("AUTO", Vec::new()),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Named(name) => ("ANY", vec![names.sent(name)]),
        ToolChoice::Allowed { names: allowed, required: true } => {
            ("ANY", allowed.iter().map(|name| names.sent(name)).collect())
        }
    };
    out.object("toolConfig", |out| {
        out.object("functionCallingConfig", |out| {
            out.put("mode", mode);
            if !allowed.is_empty() {
                out.put("allowedFunctionNames", &allowed);
            }
        });
    });
}
