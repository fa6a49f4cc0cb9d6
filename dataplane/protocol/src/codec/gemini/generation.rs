//! `generationConfig` for an upstream.

use super::model::{self, Capability, Thinking};
use crate::{
    codec::{
        effort,
        field::Name,
        json::write::{self, Members},
        schema,
    },
    dialect::Operation,
    ir::{Effort, Extra, Number, OutputFormat, Request},
    report::Report,
};

/// Most stop texts.
const MAX_STOPS: usize = 5;
/// The answer keeps one part in so many of the output limit.
const ANSWER_SHARE: i64 = 4;
/// Where extras of `generationConfig` were found.
const PREFIX: &str = "generationConfig.";

/// Writes the member, unless nothing is set.
pub fn encode(
    request: &Request,
    extras: &[&Extra],
    capability: Capability,
    from: Operation,
    report: &mut Report,
    out: &mut Members<'_>,
) {
    let mut config = Vec::new();
    write::object_within(&mut config, out.room(), |out| {
        limits(request, capability, from, report, out);
        sampling(request, capability, from, report, out);
        output(&request.output, capability, from, report, out);
        thinking(request, capability, from, report, out);
        if !request.modalities.is_empty() {
            let names: Vec<&str> = request.modalities.iter().map(|one| one.gemini()).collect();
            out.put("responseModalities", &names);
        }
        for extra in extras {
            if let Some(name) = extra.field.strip_prefix(PREFIX).filter(|name| !name.contains('.')) {
                out.put(name, &extra.raw);
            }
        }
    });
    // What was cut is beyond the bound of the whole as well.
    if config != b"{}" {
        out.put_json("generationConfig", &String::from_utf8_lossy(&config));
    }
}

fn limits(request: &Request, capability: Capability, from: Operation, report: &mut Report, out: &mut Members<'_>) {
    let most = capability.max_output.filter(|_| from != Operation::GenerateContent);
    match request.max_output {
        Some(asked) if most.is_some_and(|most| asked > most) => {
            report.adapted(Name::MaxOutput.field(from), asked.to_string(), most.unwrap_or(asked).to_string());
            out.put_some("maxOutputTokens", most);
        }
        Some(0) if from != Operation::GenerateContent => {
            report
                .refused(Name::MaxOutput.field(from), "an answer without output cannot be asked for at this upstream");
        }
        limit => out.put_some("maxOutputTokens", limit),
    }
    if request.stop.len() > MAX_STOPS && from != Operation::GenerateContent {
        report.refused(Name::Stop.field(from), "the upstream takes at most 5 stop texts");
    } else if !request.stop.is_empty() {
        out.put("stopSequences", &request.stop);
    }
    out.put_some("candidateCount", request.candidates.filter(|n| *n != 1 || from == Operation::GenerateContent));
}

fn sampling(request: &Request, capability: Capability, from: Operation, report: &mut Report, out: &mut Members<'_>) {
    let sampling = &request.sampling;
    out.put_some("temperature", sampling.temperature.as_ref());
    out.put_some("topP", sampling.top_p.as_ref());
    out.put_some("topK", sampling.top_k.as_ref());
    if let Some(seed) = &sampling.seed {
        if seed.as_i64().is_some_and(|seed| i32::try_from(seed).is_ok()) {
            out.put("seed", seed);
        } else {
            report.dropped(Name::Seed.field(from));
        }
    }
    let penalties = [
        ("presencePenalty", Name::PresencePenalty, &sampling.presence_penalty),
        ("frequencyPenalty", Name::FrequencyPenalty, &sampling.frequency_penalty),
    ];
    for (member, name, penalty) in penalties {
        let is_zero = penalty.as_ref().and_then(Number::as_f64) == Some(0.0);
        match penalty {
            Some(_) if capability.third && is_zero && from != Operation::GenerateContent => {}
            // Google refuses every value but zero where it has penalties no more.
            Some(_) if !capability.penalties && !is_zero => report.dropped(name.field(from)),
            penalty => out.put_some(member, penalty.as_ref()),
        }
    }
    if from == Operation::GenerateContent {
        out.put_some("responseLogprobs", sampling.logprobs);
        out.put_some("logprobs", sampling.top_logprobs.as_ref());
    } else if sampling.logprobs == Some(true)
        || sampling.top_logprobs.as_ref().is_some_and(|count| count.as_u64() != Some(0))
    {
        report.refused(Name::Logprobs.field(from), "log probabilities cannot be translated between dialects");
    }
}

fn output(format: &OutputFormat, capability: Capability, from: Operation, report: &mut Report, out: &mut Members<'_>) {
    match format {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => out.put("responseMimeType", "application/json"),
        OutputFormat::JsonSchema { schema, description, .. } => {
            let schema = schema::described(schema, description.as_deref());
            out.put("responseMimeType", "application/json");
            if capability.json_schema {
                out.put("responseJsonSchema", &schema);
            } else {
                let Ok(converted) = schema::for_gemini(&schema, out.room()) else {
                    return report.too_large(Name::OutputSchema.field(from));
                };
                if converted.weakened {
                    report.adapted(Name::OutputSchema.field(from), "JSON Schema", "the subset the model takes");
                }
                out.put("responseSchema", &converted.schema);
            }
        }
    }
}

/// The most tokens of thinking that leave an answer something of the output limit, of which thoughts are a part. A budget
/// below the limit that the client chose itself stays.
fn most_thinking(request: &Request, capability: Capability, from: Operation) -> i64 {
    let asked = request.max_output.filter(|_| from != Operation::GenerateContent);
    let Some(limit) = asked.map(|asked| capability.max_output.map_or(asked, |most| asked.min(most))) else {
        return i64::MAX;
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match request.reasoning.budget.filter(|budget| *budget < limit) {
        Some(chosen) => chosen,
        None => limit.saturating_sub(limit / ANSWER_SHARE),
    }
}

/// One of `thinkingBudget` and `thinkingLevel`, never both: that is refused.
fn thinking(request: &Request, capability: Capability, from: Operation, report: &mut Report, out: &mut Members<'_>) {
    let control = &request.reasoning;
    let asked = effort::asked(control);
    let by_budget = matches!(capability.thinking, Thinking::Budget { .. });
    let (said, value) = effort::as_said(control, by_budget, from);
    let field = said.field(from);
    let mut budget = None;
    let mut level = None;
    match capability.thinking {
        Thinking::None => {
            if asked.is_some_and(|effort| effort != Effort::None) {
                report.dropped(field);
            }
        }
        Thinking::Level(levels) => {
            level = asked.and_then(|asked| {
                let level = model::level(asked, levels)?;
                let sent = effort::word(level).to_ascii_uppercase();
                // The least budget comes to the least level there is.
                let is_least = asked == Effort::Minimal && control.effort.is_none();
                if level != asked && !is_least {
                    report.adapted(field, value, sent.clone());
                }
                Some(sent)
            });
        }
        Thinking::Budget { min, max, can_disable } => {
            let wanted = match (asked, control.budget) {
                (Some(Effort::None), _) => Some(0),
                (_, Some(budget)) => Some(budget),
                (Some(effort), None) => Some(effort::budget(effort).min(max).max(min)),
                (None, None) => control.adaptive.then_some(-1),
            };
            budget = wanted.map(|wanted| {
                let legal = match wanted {
                    0 if can_disable => 0,
                    ..0 => -1,
                    wanted => wanted.clamp(min, most_thinking(request, capability, from).clamp(min, max)),
                };
                if legal != wanted {
                    report.adapted(field, value, legal.to_string());
                }
                legal
            });
        }
    }
    let visible = control.visible.filter(|_| capability.thinking != Thinking::None);
    if budget.is_some() || level.is_some() || visible.is_some() {
        out.object("thinkingConfig", |out| {
            out.put_some("includeThoughts", visible);
            out.put_some("thinkingBudget", budget);
            out.put_some("thinkingLevel", level);
        });
    }
}
