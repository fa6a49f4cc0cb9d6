//! A request for an Anthropic upstream, written (docs/protocols/messages.md, mapping.md).
//!
//! Plan first, write then: the conversation decides whether the model may think, thinking decides what sampling and which
//! tool choice may be sent. The version sent is `2023-06-01`, which takes all that is written here; the later one takes
//! less (no sampling) and offers a translated request nothing.

use super::{
    content_encode::{self, piece},
    context::Context,
    conversation::{allows_manual_thinking, arrange},
    models,
    piece::Message,
    thinking::{self, Mode, Plan},
    tools_encode::{self, offered},
    web_search,
};
use crate::{
    codec::{
        Encoded, Target,
        extras::native,
        field::Name,
        ids::{ANTHROPIC_TOOL_NAME, tool_names},
        json::write::{self, Members},
        schema,
    },
    dialect::{Family, Operation},
    ir::{Block, CacheMark, OutputFormat, Request, Role, Tool, ToolChoice},
    report::Report,
};

/// Stands in for a JSON mode, which Anthropic does not have.
pub(crate) const JSON_ONLY: &str = "Answer with exactly one JSON object. Write nothing before it and nothing after it.";
/// Longest `metadata.user_id`, in characters.
const MAX_USER_ID: usize = 256;

/// Everything that was decided before the first byte.
struct Draft<'a> {
    max_output: u64,
    system: Vec<&'a Block>,
    messages: Vec<Message<'a>>,
    /// With their numbers in the client's request.
    tools: Vec<(usize, &'a Tool)>,
    plan: Plan,
}

/// Writes a request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
    report.spell(&request.spelled);
    let names = tool_names(request, ANTHROPIC_TOOL_NAME);
    let mut abilities = models::abilities(target.table_id()).limited(&target.limits);
    abilities.web_search &= web_search::is_told_to(from);
    let mut context = Context::new(from, abilities, names, report);
    let draft = draft(request, target, &mut context);
    let mut body = Vec::with_capacity(1024);
    let most = context.report.max_bytes();
    write::object_within(&mut body, most, |o| {
        o.put("model", target.model);
        o.put("max_tokens", &draft.max_output);
        if request.stream {
            o.put("stream", &true);
        }
        // Tools, system, messages: the order of the prompt, in which cache marks count.
        tools(request, &draft, o, &mut context);
        check(o, Name::Tools, &mut context);
        system(request, &draft, o, &mut context);
        check(o, Name::System, &mut context);
        messages(&draft, o, &mut context);
        check(o, Name::Messages, &mut context);
        thinking_settings(request, draft.plan, o, &mut context);
        sampling(request, draft.plan.mode, o, &mut context);
        stop(request, o, &mut context);
        bookkeeping(request, o, &mut context);
        check(o, Name::Output, &mut context);
    });
    Encoded { body, names: context.names }
}

/// Refuses the request if it has outgrown its bound by here.
fn check(to: &Members<'_>, name: Name, context: &mut Context<'_>) {
    if to.is_full() {
        context.report.too_large(name.field(context.from));
    }
}

fn draft<'a>(request: &'a Request, target: Target<'_>, context: &mut Context<'_>) -> Draft<'a> {
    refuse_the_impossible(request, context);
    let max_output = max_output(request, target, context);
    let system: Vec<&Block> = request.system.iter().filter(|block| content_encode::fits(block, context)).collect();
    let messages = arrange(request, context, &content_encode::fits);
    let tools = offered(request, context);
    let plan = thinking::plan(&request.reasoning, max_output, allows_manual_thinking(&messages), context);
    let marks = tools.iter().filter(|(_, tool)| tool.cache.is_some()).count();
    let blocks = system.iter().copied().chain(messages.iter().flat_map(Message::blocks));
    context.expect_marks(marks.saturating_add(blocks.map(marks_in).sum()));
    Draft { max_output, system, messages, tools, plan }
}

/// `max_tokens`, which Anthropic demands. A client that names no limit means as much as the model can write (hard case
/// 199); one that names more than that is told so and gets all there is.
fn max_output(request: &Request, target: Target<'_>, context: &mut Context<'_>) -> u64 {
    let most = context.abilities.max_output;
    let Some(asked) = request.max_output else {
        return most.unwrap_or(target.default_max_output);
    };
    let sent = most.map_or(asked, |most| asked.min(most));
    if sent < asked {
        context.report.adapted(Name::MaxOutput.field(context.from), asked.to_string(), sent.to_string());
    }
    sent
}

/// What no Messages request can say and no client can do without.
fn refuse_the_impossible(request: &Request, context: &mut Context<'_>) {
    if request.candidates.is_some_and(|count| count != 1) {
        context.refused(Name::Candidates, "Anthropic gives one answer per request"); // hard case 209
    }
    let wants_top = request.sampling.top_logprobs.as_ref().is_some_and(|count| count.as_u64() != Some(0));
    if request.sampling.logprobs == Some(true) || wants_top {
        context.refused(Name::Logprobs, "Anthropic gives no log probabilities");
    }
    let penalties = [
        (Name::PresencePenalty, &request.sampling.presence_penalty),
        (Name::FrequencyPenalty, &request.sampling.frequency_penalty),
    ];
    for (name, penalty) in penalties {
        if penalty.as_ref().is_some_and(|penalty| penalty.as_f64() != Some(0.0)) {
            context.dropped(name);
        }
    }
    if !request.modalities.is_empty() {
        context.refused(Name::Modalities, "Anthropic answers in text alone");
    }
    if request.sampling.seed.is_some() {
        context.dropped(Name::Seed);
    }
}

fn tools(request: &Request, draft: &Draft<'_>, to: &mut Members<'_>, context: &mut Context<'_>) {
    if draft.tools.is_empty() {
        // A choice among nothing is refused upstream (hard case 189).
        if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_))) {
            context.dropped(Name::ToolChoice);
        }
        return;
    }
    to.list("tools", |list| draft.tools.iter().for_each(|(at, tool)| tools_encode::tool(*at, tool, list, context)));
    tools_encode::choice(request, draft.plan.mode, to, context);
}

fn system(request: &Request, draft: &Draft<'_>, to: &mut Members<'_>, context: &mut Context<'_>) {
    let json_mode = matches!(request.output, OutputFormat::JsonObject);
    if draft.system.is_empty() && !json_mode {
        return;
    }
    to.list("system", |list| {
        for block in &draft.system {
            content_encode::write(block, list, context);
        }
        if json_mode {
            let said = if context.from.family() == Family::Gemini { "application/json" } else { "json_object" };
            context.adapted(Name::Output, said, "system instruction");
            content_encode::text(JSON_ONLY, list);
        }
    });
}

fn messages(draft: &Draft<'_>, to: &mut Members<'_>, context: &mut Context<'_>) {
    to.list("messages", |list| {
        for message in &draft.messages {
            context.is_model = message.role == Role::Assistant;
            list.object(|o| {
                let role = match message.role {
                    Role::User => "user",
                    Role::Assistant => "assistant",
                    Role::System => "system",
                };
                o.put("role", role);
                o.list("content", |content| {
                    for part in &message.pieces {
                        piece(*part, content, context);
                    }
                });
            });
        }
    });
}

fn thinking_settings(request: &Request, plan: Plan, to: &mut Members<'_>, context: &mut Context<'_>) {
    match plan.mode {
        Mode::Unsaid => {}
        Mode::Disabled => to.object("thinking", |o| o.put("type", "disabled")),
        Mode::Adaptive => to.object("thinking", |o| {
            o.put("type", "adaptive");
            o.put_some("display", plan.display);
        }),
        Mode::Budget(tokens) => to.object("thinking", |o| {
            o.put("type", "enabled");
            o.put("budget_tokens", &tokens);
            o.put_some("display", plan.display);
        }),
    }
    let format = match &request.output {
        OutputFormat::JsonSchema { schema, description, .. } => {
            schema_output(&schema::described(schema, description.as_deref()), to.room(), context)
        }
        OutputFormat::Text | OutputFormat::JsonObject => None,
    };
    if plan.effort.is_none() && format.is_none() {
        return;
    }
    to.object("output_config", |o| {
        o.put_some("effort", plan.effort);
        if let Some(schema) = format {
            o.object("format", |format| {
                format.put("type", "json_schema");
                format.put("schema", &schema);
            });
        }
    });
}

fn schema_output(
    schema: &serde_json::value::RawValue,
    most: usize,
    context: &mut Context<'_>,
) -> Option<crate::ir::Raw> {
    if !context.abilities.schema_output {
        // A forced tool would do it, but not beside thinking and not beside the client's own tools (hard case 191).
        context.refused(Name::Output, "the model cannot be held to a schema");
        return None;
    }
    let Ok(converted) = schema::for_anthropic(schema, most) else {
        context.report.too_large(Name::OutputSchema.field(context.from));
        return None;
    };
    if converted.weakened {
        context.adapted(Name::OutputSchema, "constraint", "description");
    }
    Some(converted.schema)
}

/// Sampling, as far as the model and its thinking allow (hard cases 1, 205, 206, 273).
fn sampling(request: &Request, mode: Mode, to: &mut Members<'_>, context: &mut Context<'_>) {
    let settings = &request.sampling;
    let thinks = matches!(mode, Mode::Budget(_) | Mode::Adaptive);
    let allowed = context.abilities.sampling && !thinks;
    if let Some(temperature) = &settings.temperature {
        let value = temperature.as_f64().unwrap_or(1.0);
        if !allowed && (value - 1.0).abs() < f64::EPSILON {
            // The default, and the only temperature that thinking takes.
        } else if !allowed {
            context.dropped(Name::Temperature);
        } else if value > 1.0 {
            context.adapted(Name::Temperature, temperature.to_string(), "1");
            to.put("temperature", &1);
        } else {
            to.put("temperature", temperature);
        }
    }
    if let Some(top_p) = &settings.top_p {
        let alone = settings.temperature.is_none() || context.abilities.both_samplings;
        if allowed && alone {
            to.put("top_p", top_p);
        } else if top_p.as_f64() != Some(1.0) {
            context.dropped(Name::TopP);
        }
    }
    if let Some(top_k) = &settings.top_k {
        if allowed {
            to.put("top_k", top_k);
        } else {
            context.dropped(Name::TopK);
        }
    }
}

/// Blank stop texts are refused by Anthropic.
fn stop(request: &Request, to: &mut Members<'_>, context: &mut Context<'_>) {
    let said: Vec<&String> = request.stop.iter().filter(|text| !text.trim().is_empty()).collect();
    if said.len() < request.stop.len() {
        context.dropped(Name::Stop);
    }
    if !said.is_empty() {
        to.put("stop_sequences", &said);
    }
}

fn bookkeeping(request: &Request, to: &mut Members<'_>, context: &mut Context<'_>) {
    if let Some(user) = request.user.as_ref().filter(|user| !user.is_empty()) {
        // Anthropic asks for an opaque id and never an address.
        if user.contains('@') || user.chars().count() > MAX_USER_ID {
            context.dropped(Name::User);
        } else {
            to.object("metadata", |o| o.put("user_id", user));
        }
    }
    let tier = request.service_tier.as_deref().unwrap_or_default();
    match tier.to_ascii_lowercase().as_str() {
        // What the account has by default.
        "" | "unspecified" => {}
        same @ ("auto" | "standard_only") => to.put("service_tier", same),
        "default" | "standard" => to.put("service_tier", "standard_only"),
        _ => {
            context.adapted(Name::ServiceTier, tier.to_owned(), "auto");
            to.put("service_tier", "auto");
        }
    }
    // Positions of messages, tools and inner objects do not survive the neutral representation.
    for extra in native(request, Operation::Messages, context.from, context.report) {
        if extra.field.contains('.') {
            context.report.dropped(extra.field.clone());
        } else {
            to.put(&extra.field, &extra.raw);
        }
    }
}

/// How many cache marks a block holds.
pub(crate) fn marks_in(block: &Block) -> usize {
    let own: Option<&CacheMark> = match block {
        Block::Text(text) => text.cache.as_ref(),
        Block::Image(media) => media.cache.as_ref(),
        Block::Document(document) => document.cache.as_ref(),
        Block::ToolCall(call) => call.cache.as_ref(),
        Block::ToolResult(result) => {
            let inner: usize = result.content.iter().map(marks_in).sum();
            return inner.saturating_add(usize::from(result.cache.is_some()));
        }
        Block::Audio(_) | Block::Video(_) | Block::Reasoning(_) | Block::Refusal(_) | Block::Unknown(_) => None,
    };
    usize::from(own.is_some())
}

#[cfg(test)]
mod tests;
