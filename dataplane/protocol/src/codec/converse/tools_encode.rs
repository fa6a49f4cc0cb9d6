//! Tools on offer and the choice among them, written for Converse (docs/protocols/mapping.md).
//!
//! `toolConfig` must be there as soon as the history holds a call or a result, whether tools are on offer or not, and must
//! hold a tool. Converse has no word for "no tool": then none is offered, unless the history needs some.

use std::collections::HashSet;

use super::{
    content_encode::Writer,
    models::{Model, Vendor},
};
use crate::{
    codec::{
        field::Name,
        hosted_tool,
        json::write::{Elements, Members},
        messages::{context::Context, piece::Message, tools_encode::input_schema},
        schema,
    },
    dialect::Family,
    ir::{Block, Request, Tool, ToolChoice, ToolKind},
};

/// What is said of a tool that the history alone knows.
const FORMER: &str = "A tool that was used earlier in this conversation and is not on offer any more.";

/// What `toolConfig` holds.
#[derive(Default)]
pub struct Plan<'a> {
    /// With their numbers in the client's request.
    pub tools: Vec<(usize, &'a Tool)>,
    /// Names of tools that only the history knows, where no tool is on offer.
    former: Vec<&'a str>,
    choice: Choice<'a>,
    /// Whether one call at a time is to be asked for, among the additional fields.
    pub single: bool,
}

/// `toolChoice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice<'a> {
    /// Not written.
    #[default]
    Unsaid,
    Auto,
    Any,
    Tool(&'a str),
}

/// Decides, stating what it changes. `forces` says whether a tool can be forced beside the reasoning that is asked for.
pub fn plan<'a>(
    request: &'a Request,
    messages: &[Message<'a>],
    model: &Model,
    forces: bool,
    context: &mut Context<'_>,
) -> Plan<'a> {
    let history = || messages.iter().flat_map(Message::blocks);
    let mut tools = offered(request, context);
    if !model.tools && !tools.is_empty() {
        context.refused(Name::Tools, "the model takes no tools");
        tools.clear();
    }
    let needs = model.tools && history().any(|block| matches!(block, Block::ToolCall(_) | Block::ToolResult(_)));
    if request.tool_choice == Some(ToolChoice::None) {
        if needs && !tools.is_empty() {
            context.dropped(Name::ToolChoice);
        } else {
            tools.clear();
        }
    }
    let mut plan = Plan { choice: choice(request, &mut tools, model, forces, context), ..Plan::default() };
    if tools.is_empty() && needs {
        let mut seen = HashSet::new();
        let names = history().filter_map(|block| match block {
            Block::ToolCall(call) => Some(call.name.as_str()),
            _ => None,
        });
        plan.former = names.filter(|name| seen.insert(*name)).collect();
    }
    if request.parallel_tools == Some(false) && !tools.is_empty() {
        plan.single = model.vendor == Vendor::Claude;
        if !plan.single {
            context.dropped(Name::ParallelTools);
        }
    }
    plan.tools = tools;
    plan
}

/// The tools to send, without those that Bedrock cannot run and those that the choice leaves out.
fn offered<'a>(request: &'a Request, context: &mut Context<'_>) -> Vec<(usize, &'a Tool)> {
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

fn can_run(tool: &Tool, request: &Request, context: &mut Context<'_>) -> bool {
    match &tool.kind {
        ToolKind::Server { family, kind, .. } if *family != Family::Bedrock => {
            let why = format!("Converse has no tool of type {kind}");
            hosted_tool::leave_out(tool, request, context.from, why, context.report);
            false
        }
        ToolKind::Server { .. } | ToolKind::Function(_) | ToolKind::Custom(_) => true,
    }
}

/// The choice that can be written. Where no tool can be named, the one that is wanted is the only one on offer.
fn choice<'a>(
    request: &'a Request,
    tools: &mut Vec<(usize, &'a Tool)>,
    model: &Model,
    forces: bool,
    context: &mut Context<'_>,
) -> Choice<'a> {
    let Some(wanted) = &request.tool_choice else { return Choice::Unsaid };
    let is_forced =
        matches!(wanted, ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. });
    if tools.is_empty() {
        // A choice among nothing is refused upstream (hard case 189).
        if is_forced {
            context.dropped(Name::ToolChoice);
        }
        return Choice::Unsaid;
    }
    if is_forced && !forces {
        let said = match wanted {
            ToolChoice::Named(name) => name.clone(),
            _ if context.from.family() == Family::Gemini => "ANY".to_owned(),
            _ => "required".to_owned(),
        };
        context.adapted(Name::ToolChoice, said, "auto");
        return Choice::Auto;
    }
    match wanted {
        ToolChoice::None => Choice::Unsaid,
        ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => Choice::Auto,
        ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => Choice::Any,
        ToolChoice::Named(name) if model.named_tool => Choice::Tool(name),
        ToolChoice::Named(name) => {
            context.adapted(Name::ToolChoice, name.clone(), "the only tool");
            tools.retain(|(_, tool)| tool.name == *name);
            Choice::Any
        }
    }
}

/// Writes `toolConfig`, if there is something to write.
pub fn config(plan: &Plan<'_>, writer: &mut Writer<'_, '_>, to: &mut Members<'_>) {
    if plan.tools.is_empty() && plan.former.is_empty() {
        return;
    }
    to.object("toolConfig", |o| {
        o.list("tools", |list| {
            plan.tools.iter().for_each(|(at, tool)| self::tool(*at, tool, writer, list));
            for name in &plan.former {
                list.object(|o| {
                    o.object("toolSpec", |o| {
                        o.put("name", writer.context.names.sent(name));
                        o.put("description", FORMER);
                        o.object("inputSchema", |o| o.put_json("json", schema::EMPTY_OBJECT));
                    });
                });
            }
        });
        // What asks for one call at a time names the choice as well.
        if plan.single {
            return;
        }
        match plan.choice {
            Choice::Unsaid => {}
            Choice::Auto => o.object("toolChoice", |o| o.object("auto", |_| ())),
            Choice::Any => o.object("toolChoice", |o| o.object("any", |_| ())),
            Choice::Tool(name) => o.object("toolChoice", |o| {
                o.object("tool", |o| o.put("name", writer.context.names.sent(name)));
            }),
        }
    });
}

/// Writes the choice in Anthropic's words, with one call at a time.
pub fn single(plan: &Plan<'_>, context: &Context<'_>, to: &mut Members<'_>) {
    if !plan.single {
        return;
    }
    to.object("tool_choice", |o| {
        match plan.choice {
            Choice::Unsaid | Choice::Auto => o.put("type", "auto"),
            Choice::Any => o.put("type", "any"),
            Choice::Tool(name) => {
                o.put("type", "tool");
                o.put("name", context.names.sent(name));
            }
        }
        o.put("disable_parallel_tool_use", &true);
    });
}

fn tool(at: usize, tool: &Tool, writer: &mut Writer<'_, '_>, to: &mut Elements<'_>) {
    if let ToolKind::Server { raw, .. } = &tool.kind {
        return to.put_json(raw.get());
    }
    let strict = tool.strict.filter(|strict| writer.model.strict || !*strict);
    if strict != tool.strict {
        writer.context.adapted(Name::ToolStrict, "strict", "not strict");
    }
    let held = (strict == Some(true), to.room());
    let Some(schema) = input_schema(at, tool, held, writer.context) else { return };
    to.object(|o| {
        o.object("toolSpec", |o| {
            o.put("name", writer.context.names.sent(&tool.name));
            o.put_some("description", tool.description.as_ref().filter(|text| !text.is_empty()));
            o.object("inputSchema", |o| o.put_json("json", &schema));
            o.put_some("strict", strict.filter(|_| writer.model.strict));
        });
    });
    writer.mark(tool.cache.as_ref(), Name::ToolCacheMark, to);
}
