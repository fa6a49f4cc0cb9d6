//! Members of a request that the neutral representation has no name for.

use std::{collections::HashMap, ops::Deref};

use serde_json::{Value, value::RawValue};

use super::Raw;
use crate::{
    dialect::Family,
    report::{self, Field},
};

/// Most members that are noted one by one; names are the client's own.
pub const MAX_EXTRAS: usize = 1024;

/// Longest text that is looked at for saying nothing.
const MAX_NEUTRAL: usize = 256;

/// A member without a name in the neutral representation.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Whose dialect it belongs to.
    pub family: Family,
    /// Its name, by which it is reported.
    pub field: Field,
    /// Its value; `true` for longer ones inside a list, which nobody gets since their place does not survive.
    pub raw: Raw,
    /// Whether a caller would notice its absence.
    pub essential: bool,
}

/// Such members, each name once and in the order of their first appearance.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    list: Vec<Extra>,
    places: HashMap<Field, usize>,
    more: u64,
}

impl Extras {
    /// Notes a member. Of several with one name the last counts, as for every member.
    pub fn note(&mut self, family: Family, field: impl Into<Field>, raw: &RawValue, essential: bool) {
        let field = report::clip(field.into());
        let inside_a_list = field.contains("[]");
        let is_long = inside_a_list && raw.get().len() > MAX_NEUTRAL;
        let kept = || if is_long { RawValue::TRUE.to_owned() } else { raw.to_owned() };
        if let Some(known) = self.places.get(&field).and_then(|at| self.list.get_mut(*at)) {
            // Inside a list they are as many members, of which one that asks for something is told.
            if !inside_a_list || known.is_neutral() {
                known.raw = kept();
            }
            known.essential |= essential;
        } else if self.list.len() < MAX_EXTRAS || essential {
            self.places.insert(field.clone(), self.list.len());
            self.list.push(Extra { family, raw: kept(), field, essential });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// How many were left out beyond [`MAX_EXTRAS`]; none of them essential.
    pub const fn more(&self) -> u64 {
        self.more
    }
}

impl Deref for Extras {
    type Target = [Extra];

    fn deref(&self) -> &[Extra] {
        &self.list
    }
}

impl From<Vec<Extra>> for Extras {
    fn from(list: Vec<Extra>) -> Self {
        let places = list.iter().enumerate().map(|(at, extra)| (extra.field.clone(), at)).collect();
        Self { list, places, more: 0 }
    }
}

impl Extra {
    /// Whether a member asks for nothing: empty, unspecified, or the default of every vendor that knows it.
    pub fn is_neutral(&self) -> bool {
        let (field, json) = (self.field.as_ref(), self.raw.get());
        // Its presence alone turns the tool on.
        if field == "web_search_options" || json.len() > MAX_NEUTRAL {
            return false;
        }
        serde_json::from_str(json).is_ok_and(|value| says_nothing(&value) || is_default(field, &value))
    }
}

/// Whether this is what every vendor that knows the member does without it.
fn is_default(field: &str, value: &Value) -> bool {
    let is = |word: &str| value.as_str() == Some(word);
    let every = |holds: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(holds));
    match field {
        "store"
        | "stream_options.include_obfuscation"
        | "include_obfuscation"
        | "use_beam_search"
        | "ignore_eos"
        | "echo"
        | "include_stop_str_in_output"
        | "tools[].defer_loading"
        | "tools[].eager_input_streaming"
        | "generationConfig.audioTimestamp"
        | "generationConfig.enableEnhancedCivicAnswers"
        | "toolConfig.includeServerSideToolInvocations"
        | "toolConfig.functionCallingConfig.streamFunctionCallArguments"
        | "contents[].parts[].functionCall.willContinue"
        | "contents[].parts[].functionResponse.willContinue" => value == &Value::Bool(false),
        "skip_special_tokens" | "spaces_between_special_tokens" | "add_generation_prompt" => {
            value == &Value::Bool(true)
        }
        "min_p" | "top_a" | "min_tokens" => value.as_f64() == Some(0.0),
        "best_of" | "repetition_penalty" | "length_penalty" => value.as_f64() == Some(1.0),
        "logit_bias" => value.as_object().is_some_and(|biases| biases.values().all(|bias| bias.as_f64() == Some(0.0))),
        "verbosity" | "text.verbosity" => is("medium"),
        "truncation" => is("disabled"),
        "prompt_cache_retention" => is("in_memory") || is("in-memory"),
        "speed" => is("standard"),
        "inference_geo" => is("global"),
        "tools[].allowed_callers" => every(&|caller| caller.as_str() == Some("direct")),
        // The model itself called the tool, as always.
        "messages[].content[].caller" => value.get("type").and_then(Value::as_str) == Some("direct"),
        "context_management" => value.get("edits").and_then(Value::as_array).is_some_and(|edits| {
            // Claude Code sends it with every request: it clears nothing.
            edits.iter().all(|edit| edit.get("keep").and_then(Value::as_str) == Some("all"))
        }),
        "safetySettings" => every(&|setting| setting.get("threshold").is_none_or(says_nothing)),
        "tools[].functionDeclarations[].behavior" => is("BLOCKING"),
        "contents[].parts[].functionResponse.scheduling" => is("WHEN_IDLE"),
        _ => false,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "UNSPECIFIED" || text.ends_with("_UNSPECIFIED"),
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_bounded_and_count_the_rest() {
        let mut extras = Extras::default();
        let raw: Raw = serde_json::from_str("[1]").unwrap();
        for at in 0..100_000 {
            extras.note(Family::OpenAi, format!("messages[].x{}", at % 2_000), &raw, false);
        }
        assert_eq!(extras.len(), MAX_EXTRAS);
        assert!(extras.more() > 0);
        extras.note(Family::OpenAi, "container", &raw, true);
        assert!(extras.last().unwrap().essential, "what a caller relies on is never among the rest");
    }

    fn neutral(field: &str, json: &str) -> bool {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        Extra { family: Family::OpenAi, field: field.to_owned().into(), raw, essential: false }.is_neutral()
    }

    #[test]
    fn one_of_many_that_asks_for_something_is_told() {
        let mut extras = Extras::default();
        for json in ["null", "[]", "0", "[]"] {
            extras.note(Family::OpenAi, "messages[].x", &RawValue::from_string(json.into()).unwrap(), false);
        }
        assert!(extras.iter().all(|extra| !extra.is_neutral()));
        let long = RawValue::from_string(format!("[{}0]", "0,".repeat(1_000))).unwrap();
        extras.note(Family::OpenAi, "messages[].y", &long, false);
        assert_eq!(extras.last().map(|extra| extra.raw.get()), Some("true"));
    }

    #[test]
    fn asking_for_nothing_is_no_loss() {
        let rows = [
            ("safetySettings", "[]"),
            ("store", "false"),
            ("labels", "{}"),
            ("logit_bias", "{}"),
            ("context_management", r#"{"edits": []}"#),
            ("mcp_servers", "[]"),
            ("stream_options.include_obfuscation", "false"),
            ("generationConfig.mediaResolution", r#""MEDIA_RESOLUTION_UNSPECIFIED""#),
            ("logit_bias", r#"{"50256": 0}"#),
            ("repetition_penalty", "1.0"),
            ("min_p", "0"),
            ("tools[].allowed_callers", r#"["direct"]"#),
            ("messages[].content[].caller", r#"{"type": "direct"}"#),
            ("context_management", r#"{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}"#),
            (
                "safetySettings",
                r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"HARM_BLOCK_THRESHOLD_UNSPECIFIED"}]"#,
            ),
            ("tools[].functionDeclarations[].behavior", "\"UNSPECIFIED\""),
            ("contents[].parts[].functionCall.willContinue", "false"),
        ];
        for (field, json) in rows {
            assert!(neutral(field, json), "{field}");
        }
        let rows = [
            ("store", "true"),
            ("web_search_options", "{}"),
            ("x", "0"),
            ("x", "false"),
            ("x", r#"["a"]"#),
            ("logit_bias", r#"{"50256": -100}"#),
            ("repetition_penalty", "1.1"),
            ("messages[].content[].caller", r#"{"type":"code_execution_20250825"}"#),
            ("context_management", r#"{"edits":[{"type":"clear_tool_uses_20250919"}]}"#),
            ("safetySettings", r#"[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]"#),
        ];
        for (field, json) in rows {
            assert!(!neutral(field, json), "{field}: {json}");
        }
    }
}
