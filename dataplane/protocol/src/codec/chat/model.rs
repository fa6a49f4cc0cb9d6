//! What OpenAI's own models take on this endpoint. Of other servers' models nothing is known: they are taken at what most
//! such servers take, and no thinking stays no thinking, which a hybrid model would do otherwise.
//!
//! Families are told apart by their parsed version and never by a part of the name: `gpt-oss` is not a GPT of some
//! version, and `gpt-5.10` comes after `gpt-5.4`.

use crate::ir::Effort;

/// What an encoder decides by model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether the output limit is `max_completion_tokens`; `max_tokens` if not.
    pub new_limit: bool,
    /// The efforts it takes, weakest first; empty if it does not reason.
    pub efforts: &'static [Effort],
    /// Whether function tools go only with effort `none` (GPT-5.4 and later on this endpoint).
    pub tools_without_effort: bool,
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
        return Capability {
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
    Capability { new_limit: series_o, efforts, tools_without_effort: false }
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
    use super::capability;
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
}
