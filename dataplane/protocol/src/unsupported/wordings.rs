//! How vendors word that they do not take a parameter. Fixed words stand at the beginning: what the client wrote is only
//! quoted behind them.

/// A name between what stands before and behind it.
struct Wording {
    before: &'static str,
    behind: &'static str,
}

const fn around(before: &'static str, behind: &'static str) -> Wording {
    Wording { before, behind }
}

/// Of the parameter, whatever its value.
const PARAMETERS: &[Wording] = &[
    // OpenAI, Azure and servers that follow them, with or without a code.
    around("Unsupported parameter: '", "'"),
    around("Unknown parameter: '", "'"),
    around("Unrecognized request argument supplied: ", ""),
    around("Unrecognized request arguments supplied: ", ""),
    // xAI.
    around("Argument not supported on this model: ", ""),
    // Groq.
    around("property '", "' is unsupported"),
    around("`", "` is not supported with this model"),
    // Anthropic.
    around("`", "` is deprecated for this model"),
    around("", " is deprecated for this model"),
    around("", ": Extra inputs are not permitted"),
    // Fireworks.
    around("Extra inputs are not permitted, field: '", "'"),
    // Older vLLM.
    around("[{'type': 'extra_forbidden', 'loc': ('body', '", "')"),
    // Google.
    around("Invalid JSON payload received. Unknown name \"", "\": Cannot find field"),
    around("Invalid JSON payload received. Unknown name \"", "\" at 'generation_config': Cannot find field"),
];

/// Of this value.
const VALUE: Wording = around("Unsupported value: '", "' does not support ");

/// Without a name: what is meant, and whether it holds for every value.
const UNNAMED: &[(&str, &str, bool)] = &[
    ("Penalty is not enabled for ", "presence_penalty", true),
    ("Thinking is not enabled for ", "thinking_config", true),
    // A budget may be taken where a level is not, and thinking where an effort is not.
    ("Thinking level is not supported for this model", "thinking_config", false),
    ("Unable to submit request because thinking_level is not supported by this model", "thinking_config", false),
    ("This model does not support the effort parameter", "output_config.effort", false),
    ("adaptive thinking is not supported on this model", "thinking", false),
    ("`temperature` and `top_p` cannot both be specified", "top_p", false),
];

/// What Bedrock puts before a model's own words.
const BEDROCK: &str = "The model returned the following errors: ";

/// The name of what a message says is refused, and whether that holds for every value.
pub fn refused(message: &str) -> Option<(&str, bool)> {
    let message = message.strip_prefix(BEDROCK).unwrap_or(message);
    if let Some((_, name, lasting)) = UNNAMED.iter().find(|(words, ..)| message.starts_with(words)) {
        return Some((name, *lasting));
    }
    if let Some(name) = VALUE.name(message) {
        return Some((name, only_the_default(message)));
    }
    let named = PARAMETERS.iter().find_map(|wording| wording.name(message));
    named.or_else(|| of_a_model(message)).map(|name| (name, true))
}

/// Whether a message says that a parameter may have its default and nothing else.
pub fn only_the_default(message: &str) -> bool {
    message.contains(" with this model. Only the default (")
}

/// xAI names the model first.
fn of_a_model(message: &str) -> Option<&str> {
    let (_, rest) = message.strip_prefix("Model ")?.split_once(" does not support parameter ")?;
    name(rest).map(|(name, _)| name)
}

impl Wording {
    fn name<'a>(&self, message: &'a str) -> Option<&'a str> {
        let (name, rest) = name(message.strip_prefix(self.before)?)?;
        rest.starts_with(self.behind).then_some(name)
    }
}

/// A name at the beginning of a text, without a full stop behind it, and the rest.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(text.len());
    let (name, _) = text.split_at_checked(end)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    Some((name, text.get(name.len()..)?)).filter(|(name, _)| !name.is_empty())
}
