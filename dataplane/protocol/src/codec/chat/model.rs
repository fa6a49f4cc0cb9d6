//! What OpenAI's own models take on this endpoint. Of other servers' models nothing is known: they are taken at what most
//! such servers take, and no thinking stays no thinking, which a hybrid model would do otherwise.
//!
//! Families are told apart by their parsed version and never by a part of the name: `gpt-oss` is not a GPT of some
//! version, and `gpt-5.10` comes after `gpt-5.4`.

use crate::ir::Effort;

/// Whether a model takes `temperature`, `top_p` and penalties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// It takes them.
    Always,
    /// It refuses all values but the defaults.
    Never,
    /// It takes them only while it does not reason.
    WithoutReasoning {
        /// Whether it does not reason unless told to.
        by_default: bool,
    },
}

/// What an encoder decides by model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether the output limit is `max_completion_tokens`; `max_tokens` if not.
    pub new_limit: bool,
    /// The efforts it takes, weakest first; empty if it does not reason.
    pub efforts: &'static [Effort],
    /// Whether function tools go only with effort `none` (GPT-5.4 and later on this endpoint).
    pub tools_without_effort: bool,
    /// Whether its server takes `reasoning_content` in the history: OpenAI's own does not.
    pub takes_reasoning: bool,
    /// Whether it takes sampling settings.
    pub sampling: Sampling,
    /// Whether it takes `stop`.
    pub stop: bool,
    /// The most output tokens that it takes, reasoning included (OpenAI's model pages, November 2026); none if unknown.
    pub max_output: Option<u64>,
}

const SERIES_O: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const OTHERS: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High];
const GPT_5_0: &[Effort] = &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
const GPT_5_1: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High];
const GPT_5_2: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh];
const GPT_6: &[Effort] = &[Effort::None, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

/// What is known about a model id.
pub fn capability(model: &str) -> Capability {
    if let Some((major, minor)) = model.strip_prefix("gpt-").and_then(version) {
        // The chat variants do not reason and are limited as GPT-4o is.
        let chat = model.contains("-chat");
        let reasons = major >= 5 && !chat;
        return Capability {
            takes_reasoning: false,
            sampling: match (major, minor) {
                _ if !reasons => Sampling::Always,
                (5, 0) => Sampling::Never,
                (5, _) => Sampling::WithoutReasoning { by_default: true },
                _ => Sampling::WithoutReasoning { by_default: false },
            },
            stop: !reasons,
            max_output: match (major, minor) {
                _ if chat => Some(16_384),
                (5, _) => Some(128_000),
                (6.., _) => None,
                _ => max_output_of_gpt_4(model),
            },
            new_limit: major >= 5,
            efforts: match (major, minor) {
                (..5, _) => &[],
                (5, 0) => GPT_5_0,
                (5, 1) => GPT_5_1,
                (5, _) => GPT_5_2,
                _ => GPT_6,
            },
            tools_without_effort: (major, minor) >= (5, 4),
        };
    }
    let series_o = model.strip_prefix('o').and_then(version).is_some();
    let efforts = if series_o { SERIES_O } else { OTHERS };
    Capability {
        new_limit: series_o,
        efforts,
        tools_without_effort: false,
        takes_reasoning: !series_o,
        sampling: if series_o { Sampling::Never } else { Sampling::Always },
        stop: !series_o,
        max_output: max_output_of_others(model),
    }
}

/// GPT-3.5 to GPT-4.1.
fn max_output_of_gpt_4(model: &str) -> Option<u64> {
    let rows =
        [("gpt-4.1", 32_768), ("gpt-4o", 16_384), ("gpt-4-turbo", 4_096), ("gpt-4", 8_192), ("gpt-3.5-turbo", 4_096)];
    rows.into_iter().find(|(family, _)| is_of(model, family)).map(|(_, most)| most)
}

fn max_output_of_others(model: &str) -> Option<u64> {
    let rows = [("o1-mini", 65_536), ("o1", 100_000), ("o3", 100_000), ("o4-mini", 100_000)];
    rows.into_iter().find(|(family, _)| is_of(model, family)).map(|(_, most)| most)
}

/// The family itself or a variant of it: `gpt-4o-mini` is of `gpt-4o`, `gpt-4.1` is not of `gpt-4`.
fn is_of(model: &str, family: &str) -> bool {
    model.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// `5.4-mini` as 5 and 4; none if it does not start with a number that ends at a dot, a dash, an `o` or the end.
fn version(rest: &str) -> Option<(u32, u32)> {
    let (major, rest) = number(rest)?;
    match rest.chars().next() {
        None | Some('-' | 'o' | ':') => Some((major, 0)),
        Some('.') => number(rest.get(1..)?).map(|(minor, _)| (major, minor)),
        Some(_) => None,
    }
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::{Sampling, capability};
    use crate::ir::Effort;

    #[test]
    fn families_are_told_apart_by_version() {
        let rows = [
            ("gpt-4o-mini", false, 0, false),
            ("gpt-3.5-turbo", false, 0, false),
            ("gpt-5", true, 4, false),
            ("gpt-5.1-codex", true, 4, false),
            ("gpt-5.4", true, 5, true),
            ("gpt-5.10-mini", true, 5, true),
            ("gpt-6", true, 6, true),
            ("o3-mini", true, 3, false),
            ("gpt-oss-120b", false, 4, false),
            ("olmo-2", false, 4, false),
            ("qwen3", false, 4, false),
        ];
        for (model, new_limit, efforts, tools) in rows {
            let known = capability(model);
            assert_eq!(
                (known.new_limit, known.efforts.len(), known.tools_without_effort),
                (new_limit, efforts, tools),
                "{model}"
            );
        }
        assert!(capability("gpt-5.1").efforts.contains(&Effort::None));
    }

    #[test]
    fn limits_and_sampling_are_known_by_family() {
        let rows = [
            ("gpt-4o-mini", Some(16_384), Sampling::Always, true),
            ("gpt-4.1-nano", Some(32_768), Sampling::Always, true),
            ("gpt-4", Some(8_192), Sampling::Always, true),
            ("gpt-5-mini", Some(128_000), Sampling::Never, false),
            ("gpt-5-chat-latest", Some(16_384), Sampling::Always, true),
            ("gpt-5.2", Some(128_000), Sampling::WithoutReasoning { by_default: true }, false),
            ("o3-mini", Some(100_000), Sampling::Never, false),
            ("qwen3", None, Sampling::Always, true),
        ];
        for (model, most, sampling, stop) in rows {
            let known = capability(model);
            assert_eq!((known.max_output, known.sampling, known.stop), (most, sampling, stop), "{model}");
        }
    }
}
