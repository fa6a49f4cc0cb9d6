//! What Google's models take, by parsed version. The `-latest` aliases are of the third generation by now. Other models
//! without a version (tuned ones, Gemma) take what 2.5 takes, but are not known to think.

use crate::{
    codec::effort,
    ir::{Effort, Efforts},
    limits::{Feature, Media, ModelLimits},
};

/// What an encoder decides by model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether schemas may be JSON Schema (`parametersJsonSchema`, `responseJsonSchema`): 2.5 and later.
    pub json_schema: bool,
    /// Gemini 3 and later: ids on calls, media inside results, media resolution, signatures that are checked.
    pub third: bool,
    /// Whether pictures in its answers must come back signed, and the first part of each answer.
    pub signs_pictures: bool,
    /// Whether it takes penalties: before Gemini 2.5.
    pub penalties: bool,
    /// How thinking is asked for.
    pub thinking: Thinking,
    /// The most output tokens that it takes, thoughts included; none if unknown.
    pub max_output: Option<u64>,
}

/// What Google's models read beside text.
pub const MEDIA: Option<Media> = Some(Media::ALL);

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
    /// By level.
    Level(Efforts),
}

const FIRST_PRO_LEVELS: Efforts = Efforts::NOTHING.with(Effort::Low).with(Effort::High);
const PRO_LEVELS: Efforts = FIRST_PRO_LEVELS.with(Effort::Medium);
const FLASH_LEVELS: Efforts = PRO_LEVELS.with(Effort::Minimal);

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The models, as the documentation names them.
    pub models: &'static str,
    /// The versions, the second not included.
    versions: ((u32, u32), (u32, u32)),
    /// Which of them.
    variant: Variant,
    /// What they take.
    pub takes: Capability,
    /// Where that is written.
    pub source: &'static str,
    /// When it was looked up, year and month.
    pub checked: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Variant {
    Image,
    ProImage,
    Pro,
    FlashLite,
    Any,
}

/// A model of another name: tuned ones, Gemma.
const UNKNOWN: Capability = Capability {
    json_schema: true,
    third: false,
    signs_pictures: false,
    penalties: true,
    thinking: Thinking::None,
    max_output: None,
};
const OLD: Capability = Capability { json_schema: false, max_output: Some(8_192), ..UNKNOWN };
const SECOND: Capability = Capability {
    thinking: Thinking::Budget { min: 1, max: 24_576, can_disable: true },
    max_output: Some(65_536),
    penalties: false,
    ..UNKNOWN
};
const SECOND_PRO: Capability =
    Capability { thinking: Thinking::Budget { min: 128, max: 32_768, can_disable: false }, ..SECOND };
const SECOND_LITE: Capability =
    Capability { thinking: Thinking::Budget { min: 512, max: 24_576, can_disable: true }, ..SECOND };
const THIRD: Capability = Capability { third: true, thinking: Thinking::Level(FLASH_LEVELS), ..SECOND };
const THIRD_PRO: Capability = Capability { thinking: Thinking::Level(PRO_LEVELS), ..THIRD };
const FIRST_PRO: Capability = Capability { thinking: Thinking::Level(FIRST_PRO_LEVELS), ..THIRD };

/// Pictures take less.
const fn image(takes: Capability) -> Capability {
    Capability { max_output: Some(32_768), signs_pictures: takes.third, ..takes }
}

const fn row(models: &'static str, versions: ((u32, u32), (u32, u32)), variant: Variant, takes: Capability) -> Row {
    let source = "ai.google.dev/gemini-api/docs/models";
    Row { models, versions, variant, takes, source, checked: "2026-11" }
}

const V2_5: ((u32, u32), (u32, u32)) = ((2, 5), (3, 0));
const V3: ((u32, u32), (u32, u32)) = ((3, 0), (u32::MAX, 0));

/// The table; the first row that fits counts. A picture model thinks as its siblings do.
pub const ROWS: &[Row] = &[
    row("gemini-3-pro-image", ((3, 0), (3, 1)), Variant::ProImage, image(FIRST_PRO)),
    row("gemini-3-pro", ((3, 0), (3, 1)), Variant::Pro, FIRST_PRO),
    row("gemini-3.1-pro-image and later", V3, Variant::ProImage, image(THIRD_PRO)),
    row("gemini-3.1-pro and later", V3, Variant::Pro, THIRD_PRO),
    row("gemini-3 and later image", V3, Variant::Image, image(THIRD)),
    row("gemini-3 and later", V3, Variant::Any, THIRD),
    row("gemini-2.5-pro", V2_5, Variant::Pro, SECOND_PRO),
    row("gemini-2.5-flash-lite", V2_5, Variant::FlashLite, SECOND_LITE),
    row("gemini-2.5 image", V2_5, Variant::Image, image(SECOND)),
    row("gemini-2.5-flash", V2_5, Variant::Any, SECOND),
    row("older gemini", ((0, 0), (2, 5)), Variant::Any, OLD),
];

/// The row of a model id, in any of its path forms.
pub fn row_of(model: &str) -> Option<&'static Row> {
    let id = model.rsplit('/').next().unwrap_or(model);
    let (version, variant) = id.strip_prefix("gemini-").and_then(parse)?;
    let is_it = |row: &&Row| (row.versions.0..row.versions.1).contains(&version) && row.variant.is(variant);
    ROWS.iter().find(is_it)
}

/// What is known about a model id.
pub fn capability(model: &str) -> Capability {
    row_of(model).map_or(UNKNOWN, |row| row.takes)
}

// === impl Capability ===

impl Capability {
    /// With what the provider's owner and the route say. Features that are said not to be taken are not in the request any
    /// more, so what is left of it is taken.
    #[must_use]
    pub fn limited(self, limits: &ModelLimits) -> Self {
        let mut takes = Self { max_output: limits.max_output(self.max_output), ..self };
        if limits.is_stated {
            takes.penalties = true;
            if takes.thinking == Thinking::None {
                takes.thinking = SECOND.thinking;
            }
        }
        if let Some(efforts) = limits.efforts {
            takes.thinking = Thinking::Level(efforts);
        }
        if limits.lacks(Feature::ReasoningEffort) {
            takes.thinking = Thinking::None;
        }
        takes
    }

    /// The features that it does not take, by their names in the documentation.
    pub fn lacks(&self) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        if !self.penalties {
            lacks.push("Penalties");
        }
        if self.thinking == Thinking::None {
            lacks.push("ReasoningEffort");
        }
        if !self.json_schema {
            lacks.push("JSON Schema (a subset of OpenAPI's is sent)");
        }
        lacks
    }

    /// How thinking is asked for, in words.
    pub fn reasoning(&self) -> String {
        match self.thinking {
            Thinking::None => "none".to_owned(),
            Thinking::Budget { min, max, can_disable } => {
                format!("budget {min} to {max}{}", if can_disable { ", or 0" } else { "" })
            }
            Thinking::Level(levels) => effort::words(levels),
        }
    }
}

// === impl Variant ===

impl Variant {
    fn is(self, variant: &str) -> bool {
        match self {
            Self::Image => variant.contains("image"),
            Self::ProImage => Self::Pro.is(variant) && Self::Image.is(variant),
            Self::Pro => variant.split('-').next() == Some("pro"),
            Self::FlashLite => variant.starts_with("flash-lite"),
            Self::Any => true,
        }
    }
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
pub fn level(effort: Effort, levels: Efforts) -> Option<Effort> {
    if effort == Effort::Medium && !levels.contains(Effort::Medium) {
        return levels.iter().next_back();
    }
    levels.nearest(effort)
}

#[cfg(test)]
mod tests {
    use super::{Thinking, capability, level};
    use crate::{
        ir::Effort,
        limits::{Feature, Features, ModelLimits},
    };

    #[test]
    fn what_the_owner_says_counts_instead_of_the_table() {
        let stated = ModelLimits { is_stated: true, stated_max_output: Some(7), ..ModelLimits::default() };
        let takes = capability("gemini-3-flash").limited(&stated);
        assert!(takes.penalties && takes.third && takes.max_output == Some(7));
        assert_ne!(capability("gemma-3-27b-it").limited(&stated).thinking, Thinking::None);
        let unsupported = Features::default().with(Feature::ReasoningEffort);
        let narrowed = ModelLimits { unsupported, ..ModelLimits::default() };
        assert_eq!(capability("gemini-3-flash").limited(&narrowed).thinking, Thinking::None);
    }

    #[test]
    fn picture_models_write_less_and_think_like_their_siblings() {
        let rows = [
            ("gemini-2.5-flash-image", "gemini-2.5-flash"),
            ("gemini-3-pro-image", "gemini-3-pro"),
            ("gemini-3.1-pro-image", "gemini-3.1-pro"),
            ("gemini-3.1-flash-image", "gemini-3.1-flash"),
        ];
        for (image, sibling) in rows {
            let (image, sibling) = (capability(image), capability(sibling));
            assert_eq!((image.max_output, image.thinking), (Some(32_768), sibling.thinking));
        }
    }

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
