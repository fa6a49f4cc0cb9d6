//! A request for an upstream of this dialect (docs/protocols/responses.md).
//!
//! The client keeps the conversation, so nothing is stored unless it asks for that, and a model that reasons is asked for
//! its state, which comes back with the history. What this dialect lacks: stop texts, several answers, seeds, penalties,
//! biases, sound and pictures in the answer, cache breakpoints of other vendors.

mod content;
mod input;
mod tools;

use std::borrow::Cow;

use crate::{
    codec::{
        Encoded, Target,
        chat::model::{self, Capability},
        effort, extras,
        field::Name,
        ids,
        json::write::{self, Members},
        openai_request,
    },
    dialect::{Family, Operation},
    ir::{Effort, Extra, Number, OutputFormat, Request},
    report::Report,
};

/// The fewest output tokens that OpenAI takes here.
const LEAST_OUTPUT: u64 = 16;
/// What models that reason are asked for, so that their reasoning can go on in the next request.
const STATE: [&str; 1] = ["reasoning.encrypted_content"];
/// Members of Chat that are the same here.
const SHARED: [&str; 4] = ["metadata", "moderation", "safety_identifier", "store"];
/// Chat's member that stands inside `text` here.
const VERBOSITY: &str = "verbosity";
/// A member of the same name in both, inside of another.
const OBFUSCATION: &str = "stream_options.include_obfuscation";

/// A request while it is written.
struct Draft<'a> {
    request: &'a Request,
    capability: Capability,
    extras: Vec<&'a Extra>,
    from: Operation,
}

/// Writes the request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
    report.spell(&request.spelled);
    let names = ids::tool_names(request, ids::OPENAI_TOOL_NAME);
    let custom = openai_request::custom_tools(request);
    let draft = Draft {
        request,
        capability: model::capability(target.table_id()).limited(&target.limits),
        extras: extras::kept(request, report, |extra| is_taken(extra, from)),
        from,
    };
    let conversation = input::arrange(request);
    let mut body = Vec::new();
    write::object_within(&mut body, report.max_bytes(), |out| {
        out.put("model", target.model);
        // A request must hold some input: a system text alone is put there.
        let instructions = input::system(request, from, report);
        out.put_some("instructions", instructions.as_ref().filter(|_| !conversation.is_empty()));
        out.list("input", |out| match &instructions {
            Some(words) if conversation.is_empty() => input::message("system", out, |out| out.put("content", words)),
            _ => input::encode(&conversation, (&names, &custom), from, report, out),
        });
        check(out, Name::Messages, from, report);
        draft.stream(out);
        draft.limits(report, out);
        draft.sampling(report, out);
        tools::offer(request, (&names, &custom), draft.capability, from, report, out);
        check(out, Name::Tools, from, report);
        draft.text(report, out);
        draft.reasoning(report, out);
        draft.bookkeeping(report, out);
        check(out, Name::Output, from, report);
    });
    Encoded { body, names }
}

/// Whether an extra is written: those of this dialect, and Chat's that are the same here.
fn is_taken(extra: &Extra, from: Operation) -> bool {
    let field = extra.field.as_ref();
    let is_shared =
        SHARED.contains(&field) || field.starts_with("prompt_cache_") || matches!(field, VERBOSITY | OBFUSCATION);
    let is_top = !field.contains(['.', '[']);
    match from {
        Operation::ChatCompletions => extra.family == Family::OpenAi && is_shared,
        _ => extras::is_native(extra, Operation::Responses, from) && (is_top || field == OBFUSCATION),
    }
}

/// Refuses the request if it has outgrown its bound by here.
fn check(out: &Members<'_>, name: Name, from: Operation, report: &mut Report) {
    if out.is_full() {
        report.too_large(name.field(from));
    }
}

impl Draft<'_> {
    /// Whether the client speaks this dialect itself and knows what it asks for.
    const fn is_own(&self) -> bool {
        matches!(self.from, Operation::Responses)
    }

    fn extra(&self, field: &str) -> Option<&Extra> {
        self.extras.iter().find(|extra| extra.field == field).copied()
    }

    fn stream(&self, out: &mut Members<'_>) {
        if !self.request.stream {
            return;
        }
        out.put("stream", &true);
        if let Some(extra) = self.extra(OBFUSCATION) {
            out.object("stream_options", |out| out.put("include_obfuscation", &extra.raw));
        }
    }

    /// The output limit, and what has no member here.
    fn limits(&self, report: &mut Report, out: &mut Members<'_>) {
        let request = self.request;
        if let Some(asked) = request.max_output {
            let field = Name::MaxOutput.field(self.from);
            let most = self.capability.max_output.filter(|_| !self.is_own()).map_or(asked, |most| asked.min(most));
            if self.is_own() {
                out.put("max_output_tokens", &asked);
            } else if asked == 0 {
                report.refused(field, "an answer without output cannot be asked for at this upstream");
            } else {
                let sent = most.max(LEAST_OUTPUT);
                if sent != asked {
                    report.adapted(field, asked.to_string(), sent.to_string());
                }
                out.put("max_output_tokens", &sent);
            }
        }
        if !request.stop.is_empty() {
            report.dropped(Name::Stop.field(self.from));
        }
        if request.candidates.is_some_and(|count| count != 1) {
            report.refused(Name::Candidates.field(self.from), "the upstream gives one answer per request");
        }
        if !request.modalities.is_empty() {
            report.refused(Name::Modalities.field(self.from), "the upstream answers in text alone");
        }
    }

    /// Sampling settings. A reasoning model refuses every value but its default: a hint, so it is dropped with a warning.
    fn sampling(&self, report: &mut Report, out: &mut Members<'_>) {
        let sampling = &self.request.sampling;
        let is_fixed = !self.is_own() && !self.takes_sampling();
        let settings =
            [("temperature", Name::Temperature, &sampling.temperature), ("top_p", Name::TopP, &sampling.top_p)];
        for (member, name, value) in settings {
            let is_default = value.as_ref().and_then(Number::as_f64) == Some(1.0);
            match value {
                Some(_) if is_fixed && is_default => {}
                Some(_) if is_fixed => report.dropped(name.field(self.from)),
                value => out.put_some(member, value.as_ref()),
            }
        }
        let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
        let lacking = [
            (Name::TopK, sampling.top_k.is_some()),
            (Name::Seed, sampling.seed.is_some()),
            (Name::PresencePenalty, is_set(&sampling.presence_penalty)),
            (Name::FrequencyPenalty, is_set(&sampling.frequency_penalty)),
        ];
        for (name, _) in lacking.into_iter().filter(|(_, is_said)| *is_said) {
            report.dropped(name.field(self.from));
        }
        if self.is_own() {
            out.put_some("top_logprobs", sampling.top_logprobs.as_ref());
        } else if sampling.logprobs == Some(true) || is_set(&sampling.top_logprobs) {
            let why = "log probabilities cannot be translated between dialects";
            report.refused(Name::Logprobs.field(self.from), why);
        }
    }

    /// Whether the model takes sampling settings beside the effort that is sent with them.
    fn takes_sampling(&self) -> bool {
        match self.capability.sampling {
            model::Sampling::Always => true,
            model::Sampling::Never => false,
            model::Sampling::WithoutReasoning { by_default } => {
                effort::asked(&self.request.reasoning).map_or(by_default, |effort| effort == Effort::None)
            }
        }
    }

    /// `text`: the shape of the answer, and how many words it has.
    fn text(&self, report: &mut Report, out: &mut Members<'_>) {
        let verbosity = self.extra(VERBOSITY);
        let is_text = matches!(self.request.output, OutputFormat::Text);
        if is_text && verbosity.is_none() {
            return;
        }
        out.object("text", |out| {
            match &self.request.output {
                OutputFormat::Text => {}
                OutputFormat::JsonObject => out.object("format", |out| out.put("type", "json_object")),
                OutputFormat::JsonSchema { name, description, schema, strict } => {
                    let schema = match self.from.family() {
                        Family::OpenAi => Some(Cow::Borrowed(schema)),
                        _ => openai_request::output_schema(schema, self.from, report).map(Cow::Owned),
                    };
                    let Some(schema) = schema else { return };
                    let wanted = strict.filter(|_| self.capability.strict_schemas);
                    let strict = match self.from.family() {
                        Family::OpenAi => wanted,
                        _ => openai_request::promise(wanted, &schema, Name::OutputSchema, self.from, report),
                    };
                    out.object("format", |out| {
                        out.put("type", "json_schema");
                        out.put("name", name.as_deref().unwrap_or("response"));
                        out.put_some("description", description.as_deref());
                        out.put("schema", schema.as_ref());
                        out.put("strict", &strict.unwrap_or(false));
                    });
                }
            }
            out.put_some("verbosity", verbosity.map(|extra| &extra.raw));
        });
    }

    /// How hard to think, whether to tell about it, and what is needed to go on thinking in the next request.
    fn reasoning(&self, report: &mut Report, out: &mut Members<'_>) {
        let efforts = self.capability.efforts;
        let effort = effort::asked(&self.request.reasoning).and_then(|asked| self.effort(asked, report));
        let summary = (!efforts.is_empty() && effort != Some(Effort::None) && self.shows()).then_some("auto");
        if effort.is_some() || summary.is_some() {
            out.object("reasoning", |out| {
                out.put_some("effort", effort.map(effort::word));
                out.put_some("summary", summary);
            });
        }
        if let Some(own) = self.extra("include") {
            out.put("include", &own.raw);
        } else if !efforts.is_empty() {
            out.put("include", &STATE);
        }
    }

    fn effort(&self, asked: Effort, report: &mut Report) -> Option<Effort> {
        if self.is_own() {
            return Some(asked);
        }
        let (said, value) = effort::as_said(&self.request.reasoning, false, self.from);
        let nearest = self.capability.efforts.nearest(asked);
        match nearest {
            // A model that does not think does as it was told.
            None if asked == Effort::None => {}
            None => report.dropped(said.field(self.from)),
            Some(nearest) if nearest != asked => {
                report.adapted(said.field(self.from), value, effort::word(nearest));
            }
            Some(_) => {}
        }
        nearest
    }

    /// Whether the client wants to see reasoning. Anthropic shows it by default where thinking is turned on by hand.
    fn shows(&self) -> bool {
        let control = &self.request.reasoning;
        let by_hand = control.enabled == Some(true) || control.budget.is_some_and(|budget| budget > 0);
        control.visible.unwrap_or(by_hand && self.from.family() == Family::Anthropic)
    }

    fn bookkeeping(&self, report: &mut Report, out: &mut Members<'_>) {
        let (request, from) = (self.request, self.from);
        let is_safety = request.spelled.contains(&("user", "safety_identifier"));
        let user = openai_request::user(request, from, report);
        out.put_some(if is_safety { "safety_identifier" } else { "user" }, user);
        out.put_some("service_tier", openai_request::service_tier(request, from, report));
        let placed = ["include", "store", VERBOSITY, OBFUSCATION];
        for extra in self.extras.iter().filter(|extra| !placed.contains(&extra.field.as_ref())) {
            out.put(&extra.field, &extra.raw);
        }
        match self.extra("store") {
            Some(own) => out.put("store", &own.raw),
            // Whoever speaks this dialect means its default by saying nothing.
            None if self.is_own() => {}
            None => out.put("store", &false),
        }
    }
}
