//! How long the answers may be that a request asks for, read generously: what two readers could read differently counts
//! with its largest value, since it is not known which of them the upstream is. Members may repeat, stand in both of
//! protobuf's spellings, and be numbers in quotes or with a fraction.

use super::reading::Reading;
use crate::{
    codec::Malformed,
    dialect::Operation,
    direct::Direct,
    scan::{Kind, Member, Value},
};

/// What a request allows its answers to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Most output tokens of one answer, if the request says.
    pub max_output: Option<u64>,
    /// Tokens of thinking that it allows; no part of `max_output` where it exceeds that.
    pub thinking: u64,
    /// Answers asked for, at least 1.
    pub candidates: u64,
}

impl Allowance {
    /// Most output tokens of all answers together, where an answer without a maximum has `assumed` tokens.
    pub fn tokens(&self, assumed: u64) -> u64 {
        let each = match self.max_output {
            // Vendors count thinking in the maximum, except where its budget is larger (Anthropic, interleaved).
            Some(most) if self.thinking < most => most,
            Some(most) => most.saturating_add(self.thinking),
            None => assumed.saturating_add(self.thinking),
        };
        each.saturating_mul(self.candidates)
    }
}

/// Reads what a request allows.
pub(super) fn of(reading: Reading<'_>, operation: Operation) -> Result<Allowance, Malformed> {
    let Reading { scan, body } = reading;
    let top = scan.members();
    // A top-level maximum that repeats is refused, as is every member that decides routing or limits.
    let once = |name| Ok::<_, Malformed>(scan.once(body, name)?.and_then(|value| value.largest_count(body)));
    let inside = |outer: &[&str], inner: &[&str]| {
        let objects = top.iter().filter(|member| is_one_of(member, body, outer));
        objects.filter_map(|member| largest_inside(&member.value, body, inner)).max()
    };
    let none = Allowance { max_output: None, thinking: 0, candidates: 1 };
    Ok(match operation {
        Operation::ChatCompletions => Allowance {
            max_output: once("max_completion_tokens")?.max(once("max_tokens")?),
            // Extensions of servers that follow OpenAI (docs/protocols/chat-completions.md).
            thinking: inside(&["thinking"], &["budget_tokens"])
                .max(inside(&["reasoning"], &["max_tokens"]))
                .unwrap_or(0),
            candidates: largest(top, body, &["n", "best_of"]).unwrap_or(1).max(1),
        },
        Operation::Direct(Direct::Completions) => {
            let prompts = scan.last(body, "prompt").map_or(1, |prompt| texts(prompt, body));
            let each = largest(top, body, &["n", "best_of"]).unwrap_or(1).max(1);
            Allowance { max_output: once("max_tokens")?, candidates: each.saturating_mul(prompts), ..none }
        }
        Operation::Direct(Direct::ImageGenerations | Direct::ImageEdits | Direct::ImageVariations) => {
            Allowance { candidates: largest(top, body, &["n"]).unwrap_or(1).max(1), ..none }
        }
        Operation::Responses => Allowance { max_output: once("max_output_tokens")?, ..none },
        Operation::Messages => Allowance {
            max_output: once("max_tokens")?,
            thinking: inside(&["thinking"], &["budget_tokens"]).unwrap_or(0),
            ..none
        },
        Operation::Converse => {
            const CONFIG: [&str; 1] = ["inferenceConfig"];
            scan.once(body, "inferenceConfig")?;
            scan.once(body, "additionalModelRequestFields")?;
            let mut thinking = None;
            for member in top.iter().filter(|member| is_one_of(member, body, &["additionalModelRequestFields"])) {
                member.value.each_named(body, &["thinking"], |inner| {
                    thinking = thinking.max(largest_inside(&inner, body, &["budget_tokens"]));
                });
            }
            Allowance { max_output: inside(&CONFIG, &["maxTokens"]), thinking: thinking.unwrap_or(0), ..none }
        }
        Operation::GenerateContent => {
            const CONFIG: [&str; 2] = ["generationConfig", "generation_config"];
            scan.once(body, "generationConfig")?;
            scan.once(body, "generation_config")?;
            Allowance {
                max_output: inside(&CONFIG, &["maxOutputTokens", "max_output_tokens"]),
                thinking: thinking_budget(top, body, &CONFIG).unwrap_or(0),
                candidates: inside(&CONFIG, &["candidateCount", "candidate_count"]).unwrap_or(1).max(1),
            }
        }
        _ => none,
    })
}

/// How many prompts a legacy completion has: one, also as tokens, or a list of them.
fn texts(prompt: &Value, body: &[u8]) -> u64 {
    let mut count = 0_u64;
    prompt.each_element(body, |element| {
        count += u64::from(matches!(element.kind, Kind::String { .. } | Kind::Array { .. }));
    });
    count.max(1)
}

fn thinking_budget(top: &[Member], body: &[u8], config: &[&str]) -> Option<u64> {
    let mut most = None;
    for member in top.iter().filter(|member| is_one_of(member, body, config)) {
        member.value.each_named(body, &["thinkingConfig", "thinking_config"], |thinking| {
            most = most.max(largest_inside(&thinking, body, &["thinkingBudget", "thinking_budget"]));
        });
    }
    most
}

fn largest_inside(object: &Value, body: &[u8], names: &[&str]) -> Option<u64> {
    let mut most = None;
    object.each_named(body, names, |value| most = most.max(value.largest_count(body)));
    most
}

fn largest(members: &[Member], body: &[u8], names: &[&str]) -> Option<u64> {
    let named = members.iter().filter(|member| is_one_of(member, body, names));
    named.filter_map(|member| member.value.largest_count(body)).max()
}

fn is_one_of(member: &Member, body: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| member.is(body, name))
}

impl Value {
    /// A count as the most generous reader reads it: whole or with a fraction (rounded up), also in quotes; none for what
    /// is no number from 0.
    pub(super) fn largest_count(&self, body: &[u8]) -> Option<u64> {
        let quoted = self.text(body);
        let text = match &quoted {
            Some(text) => text.trim(),
            None => std::str::from_utf8(self.bytes(body)).ok()?,
        };
        if let Ok(count) = text.parse() {
            return Some(count);
        }
        let number: f64 = text.parse().ok().filter(|number: &f64| *number >= 0.0)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        Some(number.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scan;

    fn allowed(operation: Operation, body: &str) -> (Option<u64>, u64, u64) {
        let scan = Scan::read(body.as_bytes()).unwrap();
        let allowance = of(Reading { scan: &scan, body: body.as_bytes() }, operation).unwrap();
        (allowance.max_output, allowance.candidates, allowance.tokens(4_096))
    }

    #[test]
    fn every_answer_that_is_asked_for_counts() {
        let chat = |body| allowed(Operation::ChatCompletions, body);
        assert_eq!(chat(r#"{"max_tokens":10,"n":100}"#), (Some(10), 100, 1_000));
        assert_eq!(chat(r#"{"n":3}"#), (None, 3, 3 * 4_096));
        assert_eq!(chat(r#"{"max_tokens":10,"max_completion_tokens":20}"#), (Some(20), 1, 20));
        assert_eq!(chat(r#"{"max_tokens":10,"best_of":5,"n":2}"#), (Some(10), 5, 50));
        assert_eq!(
            chat(r#"{"max_tokens":10,"n":1,"\u006e":7}"#),
            (Some(10), 7, 70),
            "the largest of a repeated member"
        );
        assert_eq!(chat(r#"{"max_tokens":10,"n":0}"#), (Some(10), 1, 10));
        assert_eq!(chat(r#"{"max_tokens":18446744073709551615,"n":3}"#).2, u64::MAX);
    }

    #[test]
    fn legacy_completions_answer_each_prompt() {
        let direct = |direct, body| allowed(Operation::Direct(direct), body);
        let text = |body| direct(Direct::Completions, body);
        assert_eq!(text(r#"{"prompt":"a","max_tokens":10,"n":2}"#), (Some(10), 2, 20));
        assert_eq!(text(r#"{"prompt":["a","b"],"max_tokens":10,"best_of":3}"#), (Some(10), 6, 60));
        assert_eq!(text(r#"{"prompt":[1,2,3],"max_tokens":10}"#), (Some(10), 1, 10), "tokens of one prompt");
        assert_eq!(text(r#"{"prompt":[[1],[2]],"max_tokens":10}"#), (Some(10), 2, 20));
        assert_eq!(text(r#"{"prompt":[],"n":0}"#), (None, 1, 4_096));
        assert_eq!(direct(Direct::ImageGenerations, r#"{"n":4}"#), (None, 4, 4 * 4_096));
        assert_eq!(direct(Direct::Speech, r#"{"n":4}"#), (None, 1, 4_096));
    }

    #[test]
    fn numbers_are_read_as_the_most_generous_reader_does() {
        let most = |written: &str| allowed(Operation::Messages, &format!(r#"{{"max_tokens":{written}}}"#)).0;
        assert_eq!(most("\"100\""), Some(100));
        assert_eq!(most("\" 1e3 \""), Some(1_000));
        assert_eq!(most("100.0"), Some(100));
        assert_eq!(most("99.2"), Some(100));
        assert_eq!(most("1e300"), Some(u64::MAX));
        assert_eq!(most("-5"), None);
        assert_eq!(most("null"), None);
        assert_eq!(most("[1]"), None);
    }

    #[test]
    fn both_spellings_of_a_configuration_are_read() {
        let gemini = |body| allowed(Operation::GenerateContent, body);
        assert_eq!(gemini(r#"{"generationConfig":{"maxOutputTokens":10,"candidateCount":8}}"#), (Some(10), 8, 80));
        assert_eq!(
            gemini(r#"{"generation_config":{"max_output_tokens":10,"candidate_count":"8"}}"#),
            (Some(10), 8, 80)
        );
        let both = r#"{"generationConfig":{"maxOutputTokens":1},"generation_config":{"maxOutputTokens":9,"max_output_tokens":7,"candidateCount":2}}"#;
        assert_eq!(gemini(both), (Some(9), 2, 18));
        let repeated =
            r#"{"generationConfig":{"maxOutputTokens":9,"candidateCount":1,"candidateCount":5,"maxOutputTokens":1}}"#;
        assert_eq!(gemini(repeated), (Some(9), 5, 45));
    }

    #[test]
    fn thinking_beyond_the_maximum_is_added() {
        let thinking = r#"{"max_tokens":100,"thinking":{"type":"enabled","budget_tokens":5000}}"#;
        assert_eq!(allowed(Operation::Messages, thinking).2, 5_100);
        assert_eq!(allowed(Operation::Messages, &thinking.replace("5000", "50")).2, 100);
        let gemini = r#"{"generation_config":{"thinking_config":{"thinking_budget":24000}}}"#;
        assert_eq!(allowed(Operation::GenerateContent, gemini).2, 28_096);
        let dynamic = r#"{"generationConfig":{"maxOutputTokens":7,"thinkingConfig":{"thinkingBudget":-1}}}"#;
        assert_eq!(allowed(Operation::GenerateContent, dynamic).2, 7);
        assert_eq!(allowed(Operation::ChatCompletions, r#"{"reasoning":{"max_tokens":2000}}"#).2, 6_096);
    }
}
