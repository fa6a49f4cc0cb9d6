//! A request for an upstream of this dialect.
//!
//! Usage is always asked for in streams, since the gateway meters; whether the client sees it is the answer's affair.
//! What this dialect lacks: thinking budgets (sent as efforts), cache breakpoints, server tools of other vendors.

use super::{messages_encode, model, tools};
use crate::{
    codec::{
        Encoded, NameMap, Target, effort, extras,
        field::Name,
        ids,
        json::write::{self, Members},
    },
    dialect::{Family, Surface},
    ir::{Effort, OutputFormat, Request, Tool, ToolChoice, ToolKind},
    report::Report,
};

/// Most stop texts.
const MAX_STOPS: usize = 4;

/// Writes the request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Surface, report: &mut Report) -> Encoded {
    let names = ids::tool_names(request, ids::OPENAI_TOOL_NAME);
    let capability = model::capability(target.model);
    let extras = extras::native(request, Surface::ChatCompletions, from, report);
    let mut body = Vec::new();
    write::object(&mut body, |out| {
        out.put("model", target.model);
        out.list("messages", |out| messages_encode::encode(request, &names, from, report, out));
        if request.stream {
            out.put("stream", &true);
            out.object("stream_options", |out| out.put("include_usage", &true));
        }
        limits(request, capability, from, report, out);
        sampling(request, from, report, out);
        offer(request, &names, from, report, out);
        output(&request.output, out);
        reasoning(request, capability, from, report, out);
        out.put_some("user", request.user.as_deref());
        out.put_some("service_tier", service_tier(request, from, report));
        for extra in extras.into_iter().filter(|extra| !extra.field.contains('.')) {
            out.put(&extra.field, &extra.raw);
        }
    });
    Encoded { path: "/chat/completions".to_owned(), headers: Vec::new(), body, names }
}

fn limits(request: &Request, capability: model::Capability, from: Surface, report: &mut Report, out: &mut Members<'_>) {
    if let Some(limit) = request.max_output {
        if limit == 0 && from != Surface::ChatCompletions {
            report
                .refused(Name::MaxOutput.field(from), "an answer without output cannot be asked for at this upstream");
        } else {
            out.put(if capability.new_limit { "max_completion_tokens" } else { "max_tokens" }, &limit);
        }
    }
    if request.stop.len() > MAX_STOPS && from != Surface::ChatCompletions {
        report.refused(Name::Stop.field(from), "the upstream takes at most 4 stop texts");
    } else if !request.stop.is_empty() {
        out.put("stop", &request.stop);
    }
    out.put_some("n", request.candidates.filter(|n| *n != 1 || from == Surface::ChatCompletions));
}

fn sampling(request: &Request, from: Surface, report: &mut Report, out: &mut Members<'_>) {
    let sampling = &request.sampling;
    out.put_some("temperature", sampling.temperature.as_ref());
    out.put_some("top_p", sampling.top_p.as_ref());
    if from == Surface::ChatCompletions {
        out.put_some("top_k", sampling.top_k.as_ref());
        out.put_some("logprobs", sampling.logprobs);
        out.put_some("top_logprobs", sampling.top_logprobs.as_ref());
    } else {
        if sampling.top_k.is_some() {
            report.dropped(Name::TopK.field(from));
        }
        if sampling.logprobs == Some(true) {
            report.refused(Name::Logprobs.field(from), "log probabilities cannot be translated between dialects");
        }
    }
    out.put_some("seed", sampling.seed.as_ref());
    out.put_some("presence_penalty", sampling.presence_penalty.as_ref());
    out.put_some("frequency_penalty", sampling.frequency_penalty.as_ref());
}

/// Tools, the choice among them, and whether several calls may come at once.
fn offer(request: &Request, names: &NameMap, from: Surface, report: &mut Report, out: &mut Members<'_>) {
    let sendable = |tool: &&Tool| match &tool.kind {
        ToolKind::Server { family, .. } => *family == Family::OpenAi && from == Surface::ChatCompletions,
        ToolKind::Function(_) | ToolKind::Custom(_) => true,
    };
    for tool in &request.tools {
        if let ToolKind::Server { kind, .. } = &tool.kind
            && !sendable(&tool)
        {
            report.refused(Name::Tool.field(from), format!("the upstream has no tool of type {kind}"));
        }
        if tool.cache.is_some() && from != Surface::ChatCompletions {
            report.dropped(Name::CacheMark.field(from));
        }
    }
    let tools: Vec<&Tool> = request.tools.iter().filter(sendable).collect();
    if tools.is_empty() {
        // A choice among nothing is refused upstream.
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            report.dropped(Name::ToolChoice.field(from));
        }
        return;
    }
    out.list("tools", |out| {
        for tool in tools {
            match &tool.kind {
                ToolKind::Server { raw, .. } => out.put(raw),
                ToolKind::Function(_) | ToolKind::Custom(_) => out.object(|out| tools::encode(tool, names, out)),
            }
        }
    });
    if let Some(choice) = &request.tool_choice {
        let is_custom = |name: &str| is_custom(request, name);
        tools::encode_choice(choice, names, &is_custom, out);
    }
    out.put_some("parallel_tool_calls", request.parallel_tools);
}

/// Whether a tool of this name takes free-form text.
pub fn is_custom(request: &Request, name: &str) -> bool {
    request.tools.iter().any(|tool| tool.name == name && matches!(tool.kind, ToolKind::Custom(_)))
}

fn output(format: &OutputFormat, out: &mut Members<'_>) {
    match format {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => out.object("response_format", |out| out.put("type", "json_object")),
        OutputFormat::JsonSchema { name, description, schema, strict } => out.object("response_format", |out| {
            out.put("type", "json_schema");
            out.object("json_schema", |out| {
                out.put("name", name.as_deref().unwrap_or("response"));
                out.put_some("description", description.as_deref());
                out.put("schema", schema);
                out.put_some("strict", *strict);
            });
        }),
    }
}

fn reasoning(
    request: &Request,
    capability: model::Capability,
    from: Surface,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    if request.reasoning.visible == Some(false) {
        report.dropped(Name::Visible.field(from));
    }
    let has_functions = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Function(_)));
    let asked = effort::asked(&request.reasoning);
    if capability.tools_without_effort && has_functions && from != Surface::ChatCompletions {
        // Even the model's own default effort is refused beside function tools.
        if asked != Some(Effort::None) {
            report.adapted(Name::Effort.field(from), asked.map_or("default", effort::word), "none");
        }
        out.put("reasoning_effort", effort::word(Effort::None));
        return;
    }
    let Some(asked) = asked else { return };
    if from == Surface::ChatCompletions {
        out.put("reasoning_effort", effort::word(asked));
        return;
    }
    let field = if request.reasoning.budget.is_some() { Name::Budget } else { Name::Effort }.field(from);
    match effort::nearest(asked, capability.efforts) {
        // A model that does not think does as it was told.
        None if asked == Effort::None => {}
        None => report.dropped(field),
        Some(nearest) => {
            if nearest != asked {
                report.adapted(field, effort::word(asked), effort::word(nearest));
            }
            out.put("reasoning_effort", effort::word(nearest));
        }
    }
}

fn service_tier<'r>(request: &'r Request, from: Surface, report: &mut Report) -> Option<&'r str> {
    let tier = request.service_tier.as_deref()?;
    if from.family() == Family::OpenAi {
        return Some(tier);
    }
    let lower = tier.to_ascii_lowercase();
    let same = match lower.as_str() {
        "standard_only" | "standard" | "default" => Some("default"),
        "auto" => Some("auto"),
        "flex" => Some("flex"),
        "priority" | "fast" => Some("priority"),
        _ => None,
    };
    if same.is_none() {
        report.dropped(Name::ServiceTier.field(from));
    }
    same
}
