//! Wording of "the prompt does not fit" that each vendor's clients recognise and recover from.
//!
//! Claude Code lowers `max_tokens` or compacts the conversation only when it reads Anthropic's own sentence; Gemini CLI
//! looks for Google's. OpenAI's clients go by the code. The figures are those that the upstream gave, found by their
//! order in the sentence; without them the upstream's words follow the sentence's beginning.

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

/// What a sentence about the context says in numbers of tokens.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    window: u64,
    prompt: Option<u64>,
    output: Option<u64>,
}

impl Figures {
    /// OpenAI's, vLLM's, Anthropic's and Google's sentences.
    fn read(message: &str) -> Option<Self> {
        let numbers = numbers(message);
        let lower = message.to_ascii_lowercase();
        match numbers.as_slice() {
            // "prompt is too long: 2 tokens > 1 maximum", "(2) exceeds the maximum number of tokens allowed (1)"
            [prompt, window] if lower.contains(" > ") || lower.contains("exceeds the maximum number") => {
                Some(Self { window: *window, prompt: Some(*prompt), output: None })
            }
            // "input length and `max_tokens` exceed context limit: 3 + 2 > 4"
            [prompt, output, window] if lower.contains(" + ") => {
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
