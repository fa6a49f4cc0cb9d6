//! What Google's models take, by parsed version. The `-latest` aliases are of the third generation by now. Other models
//! without a version (tuned ones, Gemma) take what 2.5 takes, but are not known to think.

use crate::ir::Effort;

/// What an encoder decides by model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether schemas may be JSON Schema (`parametersJsonSchema`, `responseJsonSchema`): 2.5 and later.
    pub json_schema: bool,
    /// Gemini 3 and later: ids on calls, media inside results, media resolution, signatures that are checked; no penalties.
    pub third: bool,
    /// How thinking is asked for.
    pub thinking: Thinking,
    /// The most output tokens that it takes, thoughts included (Google's model pages, November 2026); none if unknown.
    pub max_output: Option<u64>,
}

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// It does not think.
    None,
    /// By tokens.
    Budget {
        /// Fewest, when it thinks.
        min: i64,
        /// Most.
        max: i64,
        /// Whether 0 turns it off.
        can_disable: bool,
    },
    /// By level, weakest first.
    Level(&'static [Effort]),
}

const FLASH_LEVELS: &[Effort] = &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];
const PRO_LEVELS: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
const FIRST_PRO_LEVELS: &[Effort] = &[Effort::Low, Effort::High];

/// What is known about a model id, in any of its path forms.
pub fn capability(model: &str) -> Capability {
    let id = model.rsplit('/').next().unwrap_or(model);
    let Some((version, variant)) = id.strip_prefix("gemini-").and_then(parse) else {
        return Capability { json_schema: true, third: false, thinking: Thinking::None, max_output: None };
    };
    let pro = variant.split('-').next() == Some("pro");
    let lite = variant.starts_with("flash-lite");
    let thinking = match version {
        (3.., _) if !pro => Thinking::Level(FLASH_LEVELS),
        (3, 0) => Thinking::Level(FIRST_PRO_LEVELS),
        (3.., _) => Thinking::Level(PRO_LEVELS),
        (2, 5..) if pro => Thinking::Budget { min: 128, max: 32_768, can_disable: false },
        (2, 5..) if lite => Thinking::Budget { min: 512, max: 24_576, can_disable: true },
        (2, 5..) => Thinking::Budget { min: 1, max: 24_576, can_disable: true },
        _ => Thinking::None,
    };
    let max_output = Some(match version {
        (2, 5..) if variant.contains("image") => 32_768,
        (3.., _) if variant.contains("image") => 32_768,
        (2, 5..) | (3.., _) => 65_536,
        _ => 8_192,
    });
    Capability { json_schema: version >= (2, 5), third: version.0 >= 3, thinking, max_output }
}

/// `2.5-flash-lite` as (2, 5) and `flash-lite`; `flash-latest` as the third generation's `flash`.
fn parse(rest: &str) -> Option<((u32, u32), &str)> {
    if let Some(variant) =
        rest.strip_suffix("-latest").filter(|variant| variant.starts_with(|c: char| c.is_alphabetic()))
    {
        return Some(((3, 1), variant));
    }
    let (version, variant) = rest.split_once('-').unwrap_or((rest, ""));
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some(((major.parse().ok()?, minor.parse().ok()?), variant))
}

/// The level for an effort: the next weaker one, except that the middle of two is the upper one.
pub fn level(effort: Effort, levels: &[Effort]) -> Option<Effort> {
    if effort == Effort::Medium && !levels.contains(&Effort::Medium) {
        return levels.last().copied();
    }
    crate::codec::effort::nearest(effort, levels)
}

#[cfg(test)]
mod tests {
    use super::{Thinking, capability, level};
    use crate::ir::Effort;

    #[test]
    fn generations_are_parsed() {
        let third = capability("models/gemini-3-pro-preview");
        assert!(third.third && third.json_schema);
        let Thinking::Level(levels) = third.thinking else { panic!("{third:?}") };
        assert_eq!(level(Effort::Medium, levels), Some(Effort::High));
        assert_eq!(level(Effort::None, levels), Some(Effort::Low));
        assert_eq!(level(Effort::Max, levels), Some(Effort::High));
        let pro = Thinking::Budget { min: 128, max: 32_768, can_disable: false };
        assert_eq!(capability("gemini-2.5-pro").thinking, pro);
        assert_eq!(capability("gemini-2.0-flash").thinking, Thinking::None);
        assert!(!capability("gemini-1.5-pro-002").json_schema);
        assert!(capability("tunedModels/x").json_schema);
        assert_eq!(capability("gemini-flash-latest"), capability("gemini-3.1-flash"));
        assert_eq!(capability("gemini-pro-latest"), capability("gemini-3.1-pro"));
        assert_eq!(capability("gemini-2.5-flash").max_output, Some(65_536));
        assert_eq!(capability("gemini-1.5-pro-002").max_output, Some(8_192));
        let unknown = capability("gemma-3-27b-it");
        assert_eq!((unknown.third, unknown.thinking), (false, Thinking::None));
    }
}
