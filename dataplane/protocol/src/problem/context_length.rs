//! Wording of "the prompt does not fit" that each vendor's clients recognise and recover from.
//!
//! Claude Code lowers `max_tokens` or compacts the conversation only when it reads Anthropic's own sentence; Gemini CLI
//! looks for Google's. OpenAI's clients go by the code. The figures are those that the upstream gave, found by their
//! order in the sentence; without them the upstream's words follow the sentence's beginning.

use std::borrow::Cow;

/// In Anthropic's words.
pub(super) fn anthropic(message: &str) -> String {
    if message.contains("prompt is too long") || message.contains("exceed context limit") {
        return message.to_owned();
    }
    match Figures::read(message) {
        Some(Figures { window, prompt: Some(prompt), output: Some(output) }) if prompt <= window => format!(
            "input length and `max_tokens` exceed context limit: {prompt} + {output} > {window}, decrease input length \
             or `max_tokens` and try again"
        ),
        Some(Figures { window, prompt: Some(prompt), .. }) => {
            format!("prompt is too long: {prompt} tokens > {window} maximum")
        }
        _ => format!("prompt is too long: {message}"),
    }
}

/// In Google's words.
pub(super) fn gemini(message: &str) -> String {
    if message.contains("exceeds the maximum number of tokens") {
        return message.to_owned();
    }
    match Figures::read(message) {
        Some(Figures { window, prompt: Some(prompt), output }) => {
            let asked = prompt.saturating_add(output.unwrap_or(0));
            format!("The input token count ({asked}) exceeds the maximum number of tokens allowed ({window}).")
        }
        _ => format!("The input token count exceeds the maximum number of tokens allowed: {message}"),
    }
}

/// In the words of Bedrock, which hands on Claude's as well.
pub(super) fn bedrock(message: &str) -> Cow<'_, str> {
    let known = ["Input is too long", "prompt is too long", "exceed context limit"];
    if known.iter().any(|words| message.contains(words)) {
        return Cow::Borrowed(message);
    }
    Cow::Owned(format!("Input is too long for requested model. {message}"))
}

/// What a sentence about the context says in numbers of tokens.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    window: u64,
    prompt: Option<u64>,
    output: Option<u64>,
}

impl Figures {
    /// The figures of a sentence: by the words beside them where servers have words of their own, else by their order in
    /// OpenAI's, Anthropic's and Google's sentences.
    fn read(message: &str) -> Option<Self> {
        let text = message.to_ascii_lowercase();
        Self::by_words(&text).or_else(|| Self::by_order(&text))
    }

    fn by_words(text: &str) -> Option<Self> {
        let window = WINDOW.iter().find_map(|words| after(text, words))?;
        // OpenRouter counts texts, tools and pictures apart.
        let parts: Vec<u64> = INPUTS.iter().filter_map(|words| before(text, words)).collect();
        let sum = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        let prompt =
            (!parts.is_empty()).then_some(sum).or_else(|| PROMPT.iter().find_map(|words| after(text, words)))?;
        let output = OUTPUT.iter().find_map(|words| before(text, words)).or_else(|| after(text, "is too large:"));
        Some(Self { window, prompt: Some(prompt), output })
    }

    fn by_order(text: &str) -> Option<Self> {
        match numbers(text).as_slice() {
            // "prompt is too long: 2 tokens > 1 maximum", "(2) exceeds the maximum number of tokens allowed (1)"
            [prompt, window] if text.contains(" > ") || text.contains("exceeds the maximum number") => {
                Some(Self { window: *window, prompt: Some(*prompt), output: None })
            }
            // "input length and `max_tokens` exceed context limit: 3 + 2 > 4"
            [prompt, output, window] if text.contains(" + ") => {
                Some(Self { window: *window, prompt: Some(*prompt), output: Some(*output) })
            }
            // "maximum context length is 4 tokens. However, you requested 5 tokens (3 in the messages, 2 in the completion)"
            [window, _, prompt, output] => Some(Self { window: *window, prompt: Some(*prompt), output: Some(*output) }),
            // "maximum context length is 4 tokens. However, your messages resulted in 5 tokens"
            [window, prompt] => Some(Self { window: *window, prompt: Some(*prompt), output: None }),
            _ => None,
        }
    }
}

/// What stands before the size of the window: OpenAI and those who follow it, xAI, Moonshot, llama.cpp, SGLang,
/// Fireworks, TGI, LM Studio.
const WINDOW: [&str; 9] = [
    "maximum context length is",
    "maximum context length of",
    "maximum context length:",
    "maximum prompt length is",
    "model token limit:",
    "available context size (",
    "model's context length (",
    "context length of only",
    "must be <=",
];

/// What stands behind a part of the prompt.
const INPUTS: [&str; 7] = [
    "in the messages",
    "of text input",
    "of tool input",
    "of image input",
    "input tokens",
    "from the input messages",
    "`inputs` tokens",
];

/// What stands before the size of the prompt.
const PROMPT: [&str; 8] = [
    "the request contains",
    "requested:",
    "messages resulted in",
    "prompt contains",
    "prompt is too long:",
    "the input (",
    "request (",
    "keep the first",
];

/// What stands behind the output that was asked for.
const OUTPUT: [&str; 4] = ["in the completion", "in the output", "for the completion", "`max_new_tokens`"];

/// The number that stands right behind these words.
fn after(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    let rest = rest.trim_start();
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ',').unwrap_or(rest.len());
    rest.get(..end)?.replace(',', "").parse().ok()
}

/// The number that stands right before these words, also with "tokens" between them.
fn before(text: &str, words: &str) -> Option<u64> {
    let mut found = text.match_indices(words).filter_map(|(place, _)| {
        let rest = text.get(..place)?.trim_end();
        let rest = rest.strip_suffix("tokens").unwrap_or(rest).trim_end();
        let start = rest.rfind(|letter: char| !letter.is_ascii_digit() && letter != ',')?;
        rest.get(start..)?.trim_start_matches(|letter: char| !letter.is_ascii_digit()).replace(',', "").parse().ok()
    });
    found.next()
}

/// Whole numbers of tokens in a sentence, at most eight; digits that are part of a word (`gpt-4o`) are none.
fn numbers(message: &str) -> Vec<u64> {
    let words = message.split(|letter: char| letter.is_whitespace() || matches!(letter, '(' | ')' | ':' | ';'));
    let plain = words.map(|word| word.trim_end_matches(['.', ',']).replace(',', ""));
    plain.filter_map(|word| word.parse().ok()).take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::{anthropic, gemini};

    const OPENAI: &str = "This model's maximum context length is 131072 tokens. However, you requested 140000 tokens (108000 in the messages, 32000 in the completion).";

    #[test]
    fn claude_code_reads_what_it_recovers_from() {
        let rows = [
            (
                OPENAI,
                "input length and `max_tokens` exceed context limit: 108000 + 32000 > 131072, decrease input length or `max_tokens` and try again",
            ),
            (
                "This model's maximum context length is 8,192 tokens. However, your messages resulted in 9,000 tokens.",
                "prompt is too long: 9000 tokens > 8192 maximum",
            ),
            (
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                "prompt is too long: 1200000 tokens > 1048576 maximum",
            ),
            ("prompt is too long: 2 tokens > 1 maximum", "prompt is too long: 2 tokens > 1 maximum"),
            ("Input is too long.", "prompt is too long: Input is too long."),
            // vLLM: the prompt fits, the limit does not.
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 40960 tokens and your request has 12000 input tokens (32000 > 40960 - 12000).",
                "input length and `max_tokens` exceed context limit: 12000 + 32000 > 40960, decrease input length or `max_tokens` and try again",
            ),
            // OpenRouter.
            (
                "This endpoint's maximum context length is 131072 tokens. However, you requested about 143000 tokens (105000 of text input, 6000 of tool input, 32000 in the output).",
                "input length and `max_tokens` exceed context limit: 111000 + 32000 > 131072, decrease input length or `max_tokens` and try again",
            ),
            // SGLang, and TGI.
            (
                "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 40000 tokens: 8000 tokens from the input messages and 32000 tokens for the completion.",
                "input length and `max_tokens` exceed context limit: 8000 + 32000 > 32768, decrease input length or `max_tokens` and try again",
            ),
            (
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens and 2000 `max_new_tokens`",
                "input length and `max_tokens` exceed context limit: 3000 + 2000 > 4096, decrease input length or `max_tokens` and try again",
            ),
            // xAI, Moonshot, llama.cpp, SGLang and Mistral count the prompt alone.
            (
                "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
                "prompt is too long: 150000 tokens > 131072 maximum",
            ),
            (
                "Invalid request: Your request exceeded model token limit: 131072 (requested: 150000)",
                "prompt is too long: 150000 tokens > 131072 maximum",
            ),
            (
                "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "prompt is too long: 5000 tokens > 4096 maximum",
            ),
            (
                "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
                "prompt is too long: 5000 tokens > 4096 maximum",
            ),
            (
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
                "prompt is too long: Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            ),
        ];
        for (said, expected) in rows {
            assert_eq!(anthropic(said), expected);
        }
    }

    #[test]
    fn gemini_clients_read_googles_sentence() {
        assert!(
            gemini(OPENAI)
                .starts_with("The input token count (140000) exceeds the maximum number of tokens allowed (131072)")
        );
        assert!(gemini("too long").contains("exceeds the maximum number of tokens"));
    }
}
