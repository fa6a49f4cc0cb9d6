//! A request for an upstream of this dialect.
//!
//! Usage is always asked for in streams, since the gateway meters; whether the client sees it is the answer's affair.
//! What this dialect lacks: thinking budgets (sent as efforts), cache breakpoints, server tools of other vendors.

use std::{borrow::Cow, collections::HashSet};

use super::{messages_encode, model, tools};
use crate::{
    codec::{
        Encoded, NameMap, Target, effort, extras,
        field::Name,
        free_form, hosted_tool, ids,
        json::write::{self, Elements, Members},
        openai_request,
    },
    dialect::{Family, Operation},
    ir::{Effort, Modality, Number, OutputFormat, Request, Tool, ToolChoice, ToolKind},
    limits::Feature,
    report::Report,
};

/// Most stop texts.
const MAX_STOPS: usize = 4;

/// Writes the request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
    report.spell(&request.spelled);
    let names = ids::tool_names(request, ids::OPENAI_TOOL_NAME);
    let capability = model::capability(target.table_id()).limited(&target.limits);
    let extras = extras::native(request, Operation::ChatCompletions, from, report);
    let custom = custom_tools(request, from);
    let mut body = Vec::new();
    write::object_within(&mut body, report.max_bytes(), |out| {
        out.put("model", target.model);
        out.list("messages", |out| {
            messages_encode::encode(request, (&names, &custom), capability, from, report, out);
        });
        check(out, Name::Messages, from, report);
        if request.stream {
            out.put("stream", &true);
            if !target.limits.lacks(Feature::StreamOptions) {
                out.object("stream_options", |out| out.put("include_usage", &true));
            }
        }
        limits(request, capability, from, report, out);
        sampling(request, capability, from, report, out);
        offer(request, (&names, &custom), capability, from, report, out);
        check(out, Name::Tools, from, report);
        output(&request.output, capability, from, report, out);
        reasoning(request, capability, from, report, out);
        modalities(request, from, report, out);
        out.put_some("user", user(request, from, report));
        out.put_some("service_tier", openai_request::service_tier(request, from, report));
        for extra in extras.into_iter().filter(|extra| !extra.field.contains('.')) {
            out.put(&extra.field, &extra.raw);
        }
        check(out, Name::Output, from, report);
    });
    Encoded { body, names }
}

/// Refuses the request if it has outgrown its bound by here.
fn check(out: &Members<'_>, name: Name, from: Operation, report: &mut Report) {
    if out.is_full() {
        report.too_large(name.field(from));
    }
}

fn limits(
    request: &Request,
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let most = capability.max_output.filter(|_| from != Operation::ChatCompletions);
    if let Some(asked) = request.max_output {
        let limit = most.map_or(asked, |most| asked.min(most));
        if limit < asked {
            report.adapted(Name::MaxOutput.field(from), asked.to_string(), limit.to_string());
        }
        if limit == 0 && from != Operation::ChatCompletions {
            report
                .refused(Name::MaxOutput.field(from), "an answer without output cannot be asked for at this upstream");
        } else {
            out.put(if capability.new_limit { "max_completion_tokens" } else { "max_tokens" }, &limit);
        }
    }
    if !capability.stop && !request.stop.is_empty() && from != Operation::ChatCompletions {
        report.dropped(Name::Stop.field(from));
    } else if request.stop.len() > MAX_STOPS && from != Operation::ChatCompletions {
        report.refused(Name::Stop.field(from), "the upstream takes at most 4 stop texts");
    } else if !request.stop.is_empty() {
        out.put("stop", &request.stop);
    }
    out.put_some("n", request.candidates.filter(|n| *n != 1 || from == Operation::ChatCompletions));
}

/// Sampling settings. A reasoning model refuses every value but its default: a hint, so it is dropped with a warning.
fn sampling(
    request: &Request,
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let sampling = &request.sampling;
    let is_fixed = from != Operation::ChatCompletions && !takes_sampling(request, capability);
    let settings = [
        ("temperature", Name::Temperature, &sampling.temperature, 1.0),
        ("top_p", Name::TopP, &sampling.top_p, 1.0),
        ("presence_penalty", Name::PresencePenalty, &sampling.presence_penalty, 0.0),
        ("frequency_penalty", Name::FrequencyPenalty, &sampling.frequency_penalty, 0.0),
    ];
    for (member, name, value, default) in settings {
        let is_default = || value.as_ref().and_then(Number::as_f64) == Some(default);
        match value {
            Some(_) if is_fixed && is_default() => {}
            Some(_) if is_fixed => report.dropped(name.field(from)),
            value => out.put_some(member, value.as_ref()),
        }
    }
    if from == Operation::ChatCompletions {
        out.put_some("top_k", sampling.top_k.as_ref());
        out.put_some("logprobs", sampling.logprobs);
        out.put_some("top_logprobs", sampling.top_logprobs.as_ref());
    } else {
        if sampling.top_k.is_some() {
            report.dropped(Name::TopK.field(from));
        }
        let wants_top = sampling.top_logprobs.as_ref().is_some_and(|count| count.as_u64() != Some(0));
        if sampling.logprobs == Some(true) || wants_top {
            report.refused(Name::Logprobs.field(from), "log probabilities cannot be translated between dialects");
        }
    }
    out.put_some("seed", sampling.seed.as_ref());
}

/// Whether the model takes sampling settings beside the effort that is sent with them.
fn takes_sampling(request: &Request, capability: model::Capability) -> bool {
    match capability.sampling {
        model::Sampling::Always => true,
        model::Sampling::Never => false,
        model::Sampling::WithoutReasoning { by_default } => {
            let has_functions = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Function(_)));
            if capability.tools_without_effort && has_functions {
                return true;
            }
            effort::asked(&request.reasoning).map_or(by_default, |effort| effort == Effort::None)
        }
    }
}

/// The end user's id; the client's own of this dialect as it is.
fn user<'r>(request: &'r Request, from: Operation, report: &mut Report) -> Option<Cow<'r, str>> {
    match from {
        Operation::ChatCompletions => request.user.as_deref().map(Cow::Borrowed),
        _ => openai_request::user(request, from, report),
    }
}

/// Tools, the choice among them, and whether several calls may come at once.
fn offer(
    request: &Request,
    (names, custom): (&NameMap, &HashSet<&str>),
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let sendable = |tool: &&Tool| match &tool.kind {
        ToolKind::Server { family, .. } => *family == Family::OpenAi && from == Operation::ChatCompletions,
        ToolKind::Function(_) | ToolKind::Custom(_) => true,
    };
    for tool in &request.tools {
        if let ToolKind::Server { kind, .. } = &tool.kind
            && !sendable(&tool)
        {
            hosted_tool::leave_out(tool, request, from, format!("the upstream has no tool of type {kind}"), report);
        }
        if tool.cache.is_some() && from != Operation::ChatCompletions {
            report.dropped(Name::ToolCacheMark.field(from));
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
                ToolKind::Function(_) | ToolKind::Custom(_) => {
                    function(tool, (names, custom), capability, from, report, out);
                }
            }
        }
    });
    if let Some(choice) = &request.tool_choice {
        tools::encode_choice(choice, names, custom, out);
    }
    out.put_some("parallel_tool_calls", request.parallel_tools);
}

/// Writes a tool with a schema that this dialect's servers take. The client's own schema of this dialect stays.
fn function(
    tool: &Tool,
    names: (&NameMap, &HashSet<&str>),
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Elements<'_>,
) {
    let schema = match &tool.kind {
        ToolKind::Function(schema) => schema.as_deref(),
        ToolKind::Custom(Some(format)) if from != Operation::ChatCompletions && free_form::constrains(format) => {
            report.dropped(Name::ToolFormat.field(from));
            None
        }
        ToolKind::Custom(_) | ToolKind::Server { .. } => None,
    };
    let Some(schema) = schema.filter(|_| from != Operation::ChatCompletions) else {
        return out.object(|out| tools::encode(tool, schema, tool.strict, names, out));
    };
    let Some(schema) = openai_request::tool_schema(schema, from, report) else { return };
    let wanted = tool.strict.filter(|_| capability.strict_schemas);
    let strict = openai_request::promise(wanted, &schema, Name::ToolStrict, from, report);
    out.object(|out| tools::encode(tool, Some(&schema), strict, names, out));
}

/// Servers that give pictures on this endpoint are asked for them by OpenAI's own member; speech needs a voice, which
/// other dialects say elsewhere.
fn modalities(request: &Request, from: Operation, report: &mut Report, out: &mut Members<'_>) {
    if request.modalities.is_empty() {
        return;
    }
    if from != Operation::ChatCompletions && request.modalities.contains(&Modality::Audio) {
        return report.refused(Name::Modalities.field(from), "the upstream gives no speech without a voice");
    }
    let names: Vec<&str> = request.modalities.iter().map(|one| one.openai()).collect();
    out.put("modalities", &names);
}

/// The tools that are sent as tools of free-form text. Servers other than OpenAI's own have no such tools, so that those of
/// clients who did not choose this endpoint are functions.
fn custom_tools(request: &Request, from: Operation) -> HashSet<&str> {
    match from {
        Operation::ChatCompletions => openai_request::custom_tools(request),
        _ => HashSet::new(),
    }
}

fn output(
    format: &OutputFormat,
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    match format {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => out.object("response_format", |out| out.put("type", "json_object")),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let strict = &strict.filter(|_| capability.strict_schemas);
            let (mut sent, mut promised) = (schema.to_owned(), *strict);
            if from != Operation::ChatCompletions {
                let Some(completed) = openai_request::output_schema(schema, from, report) else { return };
                sent = completed;
                promised = openai_request::promise(*strict, &sent, Name::OutputSchema, from, report);
            }
            out.object("response_format", |out| {
                out.put("type", "json_schema");
                out.object("json_schema", |out| {
                    out.put("name", name.as_deref().unwrap_or("response"));
                    out.put_some("description", description.as_deref());
                    out.put("schema", &sent);
                    out.put_some("strict", promised);
                });
            });
        }
    }
}

fn reasoning(
    request: &Request,
    capability: model::Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    // Gemini's clients say it by default.
    if request.reasoning.visible == Some(false) && from.family() != Family::Gemini {
        report.dropped(Name::Visible.field(from));
    }
    let has_functions = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Function(_)));
    let asked = effort::asked(&request.reasoning);
    let (said, value) = effort::as_said(&request.reasoning, false, from);
    let field = said.field(from);
    if capability.tools_without_effort && has_functions && from != Operation::ChatCompletions {
        // Even the model's own default effort is refused beside function tools.
        if asked != Some(Effort::None) {
            report.adapted(field, value, "none");
        }
        out.put("reasoning_effort", effort::word(Effort::None));
        return;
    }
    let Some(asked) = asked else { return };
    if from == Operation::ChatCompletions {
        out.put("reasoning_effort", effort::word(asked));
        return;
    }
    match capability.efforts.nearest(asked) {
        // A model that does not think does as it was told.
        None if asked == Effort::None => {}
        None => report.dropped(field),
        Some(nearest) => {
            if nearest != asked {
                report.adapted(field, value, effort::word(nearest));
            }
            out.put("reasoning_effort", effort::word(nearest));
        }
    }
}
