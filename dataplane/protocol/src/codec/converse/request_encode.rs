//! A request for Converse, written (docs/protocols/converse.md, mapping.md). The model and whether a stream is wanted stand
//! in the path.
//!
//! The conversation is arranged as Anthropic takes it, which is what Converse demands of every model: turns of one role
//! joined, each call answered in the message behind it, results first. A conversation begins with the user.

use super::{
    content_encode::{self, Writer},
    models::{self, Marks, Model, Reasoning, TopK, Vendor},
    reasoning::{self, Asked},
    tools_encode,
};
use crate::{
    codec::{
        Encoded, Target,
        extras::native,
        field::Name,
        ids::{OPENAI_TOOL_NAME, tool_names},
        json::write::{self, Members},
        messages::{
            context::Context,
            conversation::arrange,
            piece::{Message, Piece},
            request_encode::{JSON_ONLY, marks_in},
            thinking::Mode,
        },
        schema,
    },
    dialect::Operation,
    ir::{Block, Extra, OutputFormat, Request, Role},
    report::Report,
};

/// What the user says where a conversation begins with the model.
const NOTHING_SAID: &str = ".";
/// Where members stand that are their vendor's own.
const ADDITIONAL: &str = "additionalModelRequestFields";
/// Longest value in `requestMetadata`, in bytes.
const MAX_METADATA: usize = 256;

/// Everything that was decided before the first byte.
struct Draft<'a> {
    max_output: Option<u64>,
    system: Vec<&'a Block>,
    messages: Vec<Message<'a>>,
    tools: tools_encode::Plan<'a>,
    asked: Asked,
    natives: Vec<&'a Extra>,
}

/// Writes a request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
    report.spell(&request.spelled);
    let names = tool_names(request, OPENAI_TOOL_NAME);
    let mut model = models::model(target.table_id());
    model.takes = model.takes.limited(&target.limits);
    let mut context = Context::new(from, model.takes, names, report);
    let draft = draft(request, target, &model, &mut context);
    let mut body = Vec::with_capacity(1024);
    let most = context.report.max_bytes();
    let mut writer = Writer::new(model, &mut context);
    write::object_within(&mut body, most, |o| {
        // Tools, system, messages: the order of the prompt, in which cache marks count.
        tools_encode::config(&draft.tools, &mut writer, o);
        check(o, Name::Tools, &mut writer);
        system(request, &draft, o, &mut writer);
        check(o, Name::System, &mut writer);
        o.list("messages", |list| draft.messages.iter().for_each(|message| writer.message(message, list)));
        check(o, Name::Messages, &mut writer);
        inference(request, &draft, &model, o, writer.context);
        additional(request, &draft, &model, o, writer.context);
        output(request, &draft, o, writer.context);
        bookkeeping(request, &draft, o, writer.context);
        check(o, Name::Output, &mut writer);
    });
    Encoded { body, names: context.names }
}

/// Refuses the request if it has outgrown its bound by here.
fn check(to: &Members<'_>, name: Name, writer: &mut Writer<'_, '_>) {
    if to.is_full() {
        writer.context.report.too_large(name.field(writer.context.from));
    }
}

fn draft<'a>(request: &'a Request, target: Target<'_>, model: &Model, context: &mut Context<'_>) -> Draft<'a> {
    refuse_the_impossible(request, context);
    let max_output = max_output(request, context);
    let fits = |block: &Block, context: &mut Context<'_>| content_encode::fits(block, model, context);
    let system: Vec<&Block> = request.system.iter().filter(|block| fits(block, context)).collect();
    let mut messages = arrange(request, context, &fits);
    if messages.first().is_some_and(|first| first.role == Role::Assistant) {
        context.adapted(Name::Messages, "begins with the model", "placeholder");
        messages.insert(0, Message { role: Role::User, pieces: vec![Piece::Words(NOTHING_SAID)] });
    }
    let room = max_output.or(context.abilities.max_output).unwrap_or(target.default_max_output);
    let asked = reasoning::plan(&request.reasoning, room, &messages, model, context);
    let forces = !matches!(asked.thinking.mode, Mode::Budget(_)) && context.abilities.forced_tools;
    let tools = tools_encode::plan(request, &messages, model, forces, context);
    if model.marks != Marks::None {
        let marked =
            tools.tools.iter().filter(|(_, tool)| tool.cache.is_some() && model.marks != Marks::Prompt).count();
        let blocks = system.iter().copied().chain(messages.iter().flat_map(Message::blocks));
        // Of several marks on a result and in it one is written.
        context.expect_marks(marked.saturating_add(blocks.map(|block| marks_in(block).min(1)).sum()));
    }
    let natives = native(request, Operation::Converse, context.from, context.report);
    Draft { max_output, system, messages, tools, asked, natives }
}

/// `maxTokens`, which may be left out: then it is as much as the model can write.
fn max_output(request: &Request, context: &mut Context<'_>) -> Option<u64> {
    let asked = request.max_output?;
    if asked == 0 {
        // Anthropic's way to fill the prompt cache (hard case 9).
        context.refused(Name::MaxOutput, "Converse writes at least one token");
        return None;
    }
    let sent = context.abilities.max_output.map_or(asked, |most| asked.min(most));
    if sent < asked {
        context.report.adapted(Name::MaxOutput.field(context.from), asked.to_string(), sent.to_string());
    }
    Some(sent)
}

/// What no Converse request can say and no client can do without.
fn refuse_the_impossible(request: &Request, context: &mut Context<'_>) {
    if request.candidates.is_some_and(|count| count != 1) {
        context.refused(Name::Candidates, "Converse gives one answer per request");
    }
    let wants_top = request.sampling.top_logprobs.as_ref().is_some_and(|count| count.as_u64() != Some(0));
    if request.sampling.logprobs == Some(true) || wants_top {
        context.refused(Name::Logprobs, "Converse gives no log probabilities");
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
        context.refused(Name::Modalities, "Converse is asked for text alone");
    }
    if request.sampling.seed.is_some() {
        context.dropped(Name::Seed);
    }
}

fn system(request: &Request, draft: &Draft<'_>, to: &mut Members<'_>, writer: &mut Writer<'_, '_>) {
    let json_mode = matches!(request.output, OutputFormat::JsonObject);
    if draft.system.is_empty() && !json_mode {
        return;
    }
    to.list("system", |list| {
        for block in &draft.system {
            match block {
                Block::Text(text) => {
                    content_encode::text(&text.text, list);
                    writer.mark(text.cache.as_ref(), Name::SystemCacheMark, list);
                }
                other => writer.block(other, list),
            }
        }
        if json_mode {
            writer.context.adapted(Name::Output, "json_object", "system instruction");
            content_encode::text(JSON_ONLY, list);
        }
    });
}

/// `inferenceConfig`: sampling as far as the model and its thinking allow (hard cases 1, 205, 206, 273).
fn inference(request: &Request, draft: &Draft<'_>, model: &Model, to: &mut Members<'_>, context: &mut Context<'_>) {
    let settings = &request.sampling;
    let thinks = matches!(draft.asked.thinking.mode, Mode::Budget(_) | Mode::Adaptive);
    let allowed = context.abilities.sampling && !thinks && !draft.asked.is_unlimited(model);
    let config = write::text(|o| {
        match draft.max_output {
            Some(_) if draft.asked.is_unlimited(model) => context.dropped(Name::MaxOutput),
            most => o.put_some("maxTokens", most),
        }
        if let Some(temperature) = &settings.temperature {
            let value = temperature.as_f64().unwrap_or(1.0);
            if !allowed && (value - 1.0).abs() < f64::EPSILON {
                // The default, and the only temperature that thinking takes.
            } else if !allowed {
                context.dropped(Name::Temperature);
            } else if value > 1.0 {
                context.adapted(Name::Temperature, temperature.to_string(), "1");
                o.put("temperature", &1);
            } else {
                o.put("temperature", temperature);
            }
        }
        if let Some(top_p) = &settings.top_p {
            let alone = settings.temperature.is_none() || context.abilities.both_samplings;
            if allowed && alone {
                o.put("topP", top_p);
            } else if top_p.as_f64() != Some(1.0) {
                context.dropped(Name::TopP);
            }
        }
        // Blank ones are refused.
        let said: Vec<&String> = request.stop.iter().filter(|text| !text.trim().is_empty()).collect();
        if said.len() < request.stop.len() {
            context.dropped(Name::Stop);
        }
        if !said.is_empty() {
            o.put("stopSequences", &said);
        }
    });
    put_object("inferenceConfig", &config, to);
}

/// `additionalModelRequestFields`: what only the model's vendor understands.
fn additional(request: &Request, draft: &Draft<'_>, model: &Model, to: &mut Members<'_>, context: &mut Context<'_>) {
    let thinks = matches!(draft.asked.thinking.mode, Mode::Budget(_) | Mode::Adaptive);
    let takes_top_k = context.abilities.sampling && !thinks;
    let fields = write::text(|o| {
        reasoning::fields(&draft.asked, model, o);
        if let Some(top_k) = &request.sampling.top_k {
            match model.top_k.filter(|_| takes_top_k) {
                Some(TopK::Plain) => o.put("top_k", top_k),
                Some(TopK::Short) => o.put("k", top_k),
                Some(TopK::Inference) => o.object("inferenceConfig", |o| o.put("topK", top_k)),
                None => context.dropped(Name::TopK),
            }
        }
        tools_encode::single(&draft.tools, context, o);
        for extra in &draft.natives {
            let name = extra.field.strip_prefix(ADDITIONAL).and_then(|rest| rest.strip_prefix('.'));
            if let Some(name) = name.filter(|name| !name.contains('.')) {
                o.put(name, &extra.raw);
            }
        }
    });
    put_object(ADDITIONAL, &fields, to);
}

/// `outputConfig`: a schema, and an effort where it is Converse's own to say.
fn output(request: &Request, draft: &Draft<'_>, to: &mut Members<'_>, context: &mut Context<'_>) {
    let room = to.room();
    let config = write::text(|o| {
        if let OutputFormat::JsonSchema { schema, name, description, .. } = &request.output {
            if !context.abilities.schema_output {
                // A forced tool would do it, but not beside the client's own tools (hard case 191).
                return context.refused(Name::Output, "the model cannot be held to a schema");
            }
            let Ok(converted) = schema::for_anthropic(schema, room) else {
                return context.report.too_large(Name::OutputSchema.field(context.from));
            };
            if converted.weakened {
                context.adapted(Name::OutputSchema, "constraint", "description");
            }
            o.object("textFormat", |o| {
                o.put("type", "json_schema");
                o.object("structure", |o| {
                    o.object("jsonSchema", |o| {
                        o.put("schema", converted.schema.get());
                        o.put_some("name", name.as_ref());
                        o.put_some("description", description.as_ref());
                    });
                });
            });
        }
    });
    let effort = draft.asked.output_effort();
    if config == "{}" && effort.is_none() {
        return;
    }
    to.object("outputConfig", |o| {
        if let Some(members) =
            config.strip_prefix('{').and_then(|config| config.strip_suffix('}')).filter(|it| !it.is_empty())
        {
            o.put_members(members);
        }
        o.put_some("effort", effort);
    });
}

fn bookkeeping(request: &Request, draft: &Draft<'_>, to: &mut Members<'_>, context: &mut Context<'_>) {
    if let Some(user) = request.user.as_ref().filter(|user| !user.is_empty()) {
        let is_legal = |letter: char| letter.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(letter);
        if user.len() > MAX_METADATA || !user.chars().all(is_legal) {
            context.dropped(Name::User);
        } else {
            to.object("requestMetadata", |o| o.put("user", user));
        }
    }
    let tier = request.service_tier.as_deref().unwrap_or_default();
    let sent = match tier.to_ascii_lowercase().as_str() {
        // What the account has by default.
        "" | "unspecified" | "auto" => None,
        "default" | "standard" | "standard_only" => Some("default"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        "reserved" => Some("reserved"),
        "fast" | "scale" | "ultrafast" => {
            context.adapted(Name::ServiceTier, tier.to_owned(), "priority");
            Some("priority")
        }
        _ => {
            context.dropped(Name::ServiceTier);
            None
        }
    };
    if let Some(tier) = sent {
        to.object("serviceTier", |o| o.put("type", tier));
    }
    for extra in &draft.natives {
        if !extra.field.contains('.') {
            to.put(&extra.field, &extra.raw);
        } else if !extra.field.starts_with(ADDITIONAL) || extra.field.matches('.').count() > 1 {
            context.report.dropped(extra.field.clone());
        }
    }
}

fn put_object(name: &str, json: &str, to: &mut Members<'_>) {
    if json != "{}" {
        to.put_json(name, json);
    }
}

impl Asked {
    /// Whether the model thinks so hard that it takes neither sampling nor a limit.
    fn is_unlimited(&self, model: &Model) -> bool {
        model.vendor == Vendor::Nova2 && model.reasoning == Reasoning::Config && self.effort == Some("high")
    }
}

#[cfg(test)]
mod tests;
