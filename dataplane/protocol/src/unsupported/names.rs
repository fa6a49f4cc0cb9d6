//! Parameters by the names that errors give them, in every dialect's spelling.

use crate::limits::{
    ChatLimit,
    Feature::{
        self, LogitBias, Metadata, ParallelToolCalls, Penalties, PromptCacheKey, ReasoningEffort, Seed, ServiceTier,
        Stop, Store, Temperature, TopK, TopP, User, Verbosity,
    },
};

/// Longest name.
const MAX_NAME: usize = 64;

/// Something that a request can do without, or call by another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// It can be left out.
    Hint(Feature),
    /// It has another name.
    ChatLimit(ChatLimit),
}

/// By lower-case letters alone: some vendors write names in capitals and humps, whatever the client wrote.
const HINTS: &[(&str, Feature)] = &[
    ("temperature", Temperature),
    ("topp", TopP),
    ("topk", TopK),
    ("presencepenalty", Penalties),
    ("frequencypenalty", Penalties),
    ("seed", Seed),
    ("logitbias", LogitBias),
    ("stop", Stop),
    ("stopsequences", Stop),
    ("reasoningeffort", ReasoningEffort),
    ("reasoning", ReasoningEffort),
    ("reasoning.effort", ReasoningEffort),
    ("thinking", ReasoningEffort),
    ("thinkingconfig", ReasoningEffort),
    ("outputconfig.effort", ReasoningEffort),
    ("paralleltoolcalls", ParallelToolCalls),
    ("toolchoice.disableparalleltooluse", ParallelToolCalls),
    ("servicetier", ServiceTier),
    ("user", User),
    ("safetyidentifier", User),
    ("metadata.userid", User),
    ("verbosity", Verbosity),
    ("text.verbosity", Verbosity),
    ("metadata", Metadata),
    ("promptcachekey", PromptCacheKey),
    ("promptcacheretention", PromptCacheKey),
    ("store", Store),
];

/// The parameter of this name; none for what no request can do without, or a place deeper inside.
pub fn parameter(name: &str) -> Option<Parameter> {
    if name.len() > MAX_NAME {
        return None;
    }
    if let Some(limit) = ChatLimit::ALL.into_iter().find(|limit| limit.name() == name) {
        return Some(Parameter::ChatLimit(limit));
    }
    let letters: String = name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
    let letters = letters.strip_prefix("generationconfig.").unwrap_or(&letters);
    HINTS.iter().find(|(name, _)| *name == letters).map(|(_, feature)| Parameter::Hint(*feature))
}

#[cfg(test)]
mod tests {
    use super::{HINTS, Parameter, parameter};
    use crate::limits::{ChatLimit, Feature, Features};

    #[test]
    fn names_are_known_in_every_spelling_and_not_inside_of_others() {
        for name in ["top_p", "topP", "generationConfig.topP", "generation_config.top_p"] {
            assert_eq!(parameter(name), Some(Parameter::Hint(Feature::TopP)), "{name}");
        }
        assert_eq!(parameter("max_tokens"), Some(Parameter::ChatLimit(ChatLimit::MaxTokens)));
        for name in ["messages.0.metadata", "metadata.temperature", "tools", "response_format", "n", "logprobs", ""] {
            assert_eq!(parameter(name), None, "{name}");
        }
        assert_eq!(parameter(&"temperature".repeat(10)), None);
    }

    #[test]
    fn all_hints_and_nothing_else_have_names() {
        let named: Features = HINTS.iter().map(|(_, feature)| *feature).collect();
        assert_eq!(named, Features::HINTS);
    }
}
