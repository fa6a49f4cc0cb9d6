//! What Anthropic's models take, as data (docs/protocols/reasoning.md, messages.md). Matched by the exact id, with or
//! without a date behind it, never by a beginning (hard case 274). A model that is not listed is trusted with
//! everything: the upstream's own 400 then says what it does not take, and no release of this program is needed for a
//! new model.

use crate::{
    codec::effort,
    ir::{Effort, Efforts},
    limits::{Feature, Media, ModelLimits},
};

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// It does not think.
    Never,
    /// By a number of tokens only.
    Budget,
    /// By itself, or by a number.
    Either,
    /// By itself only.
    Adaptive,
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a model, one column each")]
pub struct Abilities {
    /// How it is told to think.
    pub thinking: Thinking,
    /// Whether it thinks unless told not to.
    pub thinks_by_default: bool,
    /// Whether it thinks whatever it is told.
    pub always_thinks: bool,
    /// Whether a tool can be forced on it.
    pub forced_tools: bool,
    /// The efforts it takes (`output_config.effort`).
    pub efforts: Efforts,
    /// Whether it takes `temperature`, `top_p`, `top_k`.
    pub sampling: bool,
    /// Whether it takes `temperature` and `top_p` together.
    pub both_samplings: bool,
    /// Whether it takes `output_config.format`.
    pub schema_output: bool,
    /// Whether it goes on writing an assistant's last turn.
    pub prefill: bool,
    /// Whether it takes `role: system` among the messages.
    pub later_system: bool,
    /// Whether it may search the web by itself.
    pub web_search: bool,
    /// What it reads beside text; none if unknown.
    pub media: Option<Media>,
    /// The most output tokens that it takes without a beta flag, thinking included; none if unknown.
    pub max_output: Option<u64>,
}

/// What the first models with efforts take.
const EFFORTS: Efforts = Efforts::NOTHING.with(Effort::Low).with(Effort::Medium).with(Effort::High).with(Effort::Max);

/// A model that is not listed.
const UNKNOWN: Abilities = Abilities {
    thinking: Thinking::Either,
    thinks_by_default: false,
    always_thinks: false,
    forced_tools: true,
    efforts: EFFORTS.with(Effort::XHigh),
    sampling: true,
    both_samplings: true,
    schema_output: true,
    prefill: true,
    later_system: false,
    web_search: true,
    media: None,
    max_output: None,
};
/// All that are listed.
const LISTED: Abilities = Abilities { media: Some(Media::IMAGES), ..UNKNOWN };
/// Before 4.1: without schemas of answers and without efforts.
const EARLY: Abilities = Abilities { efforts: Efforts::NOTHING, schema_output: false, ..LISTED };
/// 3.
const OLDEST: Abilities = Abilities { thinking: Thinking::Never, max_output: Some(4_096), ..EARLY };
/// 3.5.
const OLD: Abilities = Abilities { max_output: Some(8_192), ..OLDEST };
/// 3.7 and 4.
const EARLY_THINKERS: Abilities = Abilities { thinking: Thinking::Budget, max_output: Some(64_000), ..EARLY };
/// Opus 4: half of what its siblings write.
const EARLY_OPUS: Abilities = Abilities { max_output: Some(32_000), ..EARLY_THINKERS };
/// 4.1 and 4.5.
const BUDGET: Abilities = Abilities { both_samplings: false, schema_output: true, ..EARLY_THINKERS };
/// 4.6: adaptive, a budget still taken.
const EITHER: Abilities =
    Abilities { efforts: EFFORTS, both_samplings: false, prefill: false, max_output: Some(64_000), ..LISTED };
/// 4.7 and later.
const ADAPTIVE: Abilities =
    Abilities { thinking: Thinking::Adaptive, sampling: false, prefill: false, max_output: Some(128_000), ..LISTED };
/// 4.8 and its siblings.
const OPERATED: Abilities = Abilities { later_system: true, ..ADAPTIVE };

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The id, without a date.
    pub id: &'static str,
    /// What it takes.
    pub takes: Abilities,
    /// Where that is written.
    pub source: &'static str,
    /// When it was looked up, year and month.
    pub checked: &'static str,
}

/// Of the models that are served.
const CURRENT: &str = "docs.claude.com/en/docs/about-claude/models/overview";
/// Of those that are not any more, or not for long.
const RETIRED: &str = "docs.claude.com/en/docs/about-claude/model-deprecations";

const fn row(id: &'static str, takes: Abilities, source: &'static str) -> Row {
    Row { id, takes, source, checked: "2026-11" }
}

/// The table.
pub const ROWS: &[Row] = &[
    row("claude-3-haiku", OLDEST, RETIRED),
    row("claude-3-opus", OLDEST, RETIRED),
    row("claude-3-sonnet", OLDEST, RETIRED),
    row("claude-3-5-haiku", OLD, RETIRED),
    row("claude-3-5-sonnet", OLD, RETIRED),
    row("claude-3-7-sonnet", EARLY_THINKERS, RETIRED),
    row("claude-sonnet-4", EARLY_THINKERS, CURRENT),
    row("claude-sonnet-4-0", EARLY_THINKERS, CURRENT),
    row("claude-opus-4", EARLY_OPUS, CURRENT),
    row("claude-opus-4-0", EARLY_OPUS, CURRENT),
    row("claude-opus-4-1", Abilities { max_output: Some(32_000), ..BUDGET }, CURRENT),
    row("claude-sonnet-4-5", BUDGET, CURRENT),
    row("claude-haiku-4-5", BUDGET, CURRENT),
    row("claude-opus-4-5", Abilities { efforts: EFFORTS, ..BUDGET }, CURRENT),
    row("claude-opus-4-6", Abilities { max_output: Some(128_000), ..EITHER }, CURRENT),
    row("claude-sonnet-4-6", EITHER, CURRENT),
    row("claude-opus-4-7", ADAPTIVE, CURRENT),
    row("claude-opus-4-8", OPERATED, CURRENT),
    row("claude-sonnet-5", ADAPTIVE, CURRENT),
    row("claude-fable-5", OPERATED, CURRENT),
    row("claude-mythos-5", OPERATED, CURRENT),
    row("claude-opus-5", Abilities { thinks_by_default: true, ..OPERATED }, CURRENT),
    row("claude-fable-5-1", Abilities { always_thinks: true, ..OPERATED }, CURRENT),
    row("claude-opus-5-5", Abilities { always_thinks: true, ..OPERATED }, CURRENT),
    row("claude-sonnet-5-5", Abilities { always_thinks: true, forced_tools: false, ..OPERATED }, CURRENT),
    row("claude-haiku-5-5", Abilities { thinks_by_default: true, ..OPERATED }, CURRENT),
];

/// The row of this model.
pub fn row_of(model: &str) -> Option<&'static Row> {
    let base = undated(model);
    ROWS.iter().find(|row| row.id == base)
}

/// What this model takes.
pub fn abilities(model: &str) -> Abilities {
    row_of(model).map_or(UNKNOWN, |row| row.takes)
}

impl Abilities {
    /// With what the provider's owner and the route say. Features that are said not to be taken are not in the request any
    /// more, so what is left of it is taken.
    #[must_use]
    pub fn limited(self, limits: &ModelLimits) -> Self {
        let mut takes = Self { max_output: limits.max_output(self.max_output), ..self };
        if limits.is_stated {
            (takes.sampling, takes.both_samplings) = (true, true);
            if takes.efforts.is_empty() {
                takes.efforts = UNKNOWN.efforts;
            }
            if takes.thinking == Thinking::Never {
                takes.thinking = Thinking::Either;
            }
        }
        if let Some(efforts) = limits.efforts {
            takes.efforts = efforts;
            if takes.thinking == Thinking::Never {
                takes.thinking = Thinking::Either;
            }
        }
        if limits.capabilities_stated {
            takes.media = None;
        }
        takes.web_search = !limits.lacks(Feature::WebSearch);
        if limits.lacks(Feature::ReasoningEffort) {
            (takes.efforts, takes.thinking) = (Efforts::NOTHING, Thinking::Never);
        }
        takes
    }

    /// The features that it does not take, by their names in the documentation.
    pub fn lacks(&self) -> Vec<&'static str> {
        let mut lacks = if self.sampling { Vec::new() } else { vec!["Temperature", "TopP", "TopK"] };
        if self.sampling && !self.both_samplings {
            lacks.push("TopP beside Temperature");
        }
        if self.thinking == Thinking::Never {
            lacks.push("ReasoningEffort");
        }
        if !self.schema_output {
            lacks.push("schemas of answers");
        }
        if !self.prefill {
            lacks.push("an assistant's turn to go on with");
        }
        lacks
    }

    /// How it is told to think, in words.
    pub fn reasoning(&self) -> String {
        let mode = match self.thinking {
            Thinking::Never => return "none".to_owned(),
            Thinking::Budget => "budget",
            Thinking::Either => "budget or adaptive",
            Thinking::Adaptive => "adaptive",
        };
        if self.efforts.is_empty() { mode.to_owned() } else { format!("{mode}; {}", effort::words(self.efforts)) }
    }
}

/// The id without `-20250929`, `@20250929` or `-latest`.
fn undated(model: &str) -> &str {
    if let Some(base) = model.strip_suffix("-latest") {
        return base;
    }
    match model.rsplit_once(['-', '@']) {
        Some((base, date)) if date.len() == 8 && date.bytes().all(|digit| digit.is_ascii_digit()) => base,
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use super::{Thinking, UNKNOWN, abilities};
    use crate::limits::{Feature, Features, ModelLimits};

    #[test]
    fn what_the_owner_says_counts_instead_of_the_table() {
        let stated = ModelLimits { is_stated: true, stated_max_output: Some(7), ..ModelLimits::default() };
        let takes = abilities("claude-3-haiku").limited(&stated);
        assert_eq!((takes.thinking, takes.efforts.is_empty(), takes.max_output), (Thinking::Either, false, Some(7)));
        assert!(abilities("claude-opus-4-7").limited(&stated).sampling);
        let unsupported = Features::default().with(Feature::ReasoningEffort);
        let narrowed = ModelLimits { unsupported, route_max_output: Some(9), ..ModelLimits::default() };
        let takes = abilities("claude-opus-4-7").limited(&narrowed);
        assert_eq!((takes.thinking, takes.sampling, takes.max_output), (Thinking::Never, false, Some(9)));
    }

    #[test]
    fn output_limits_are_known_by_model() {
        let rows = [
            ("claude-3-haiku-20240307", Some(4_096)),
            ("claude-3-5-sonnet-latest", Some(8_192)),
            ("claude-opus-4-1", Some(32_000)),
            ("claude-sonnet-4-5", Some(64_000)),
            ("claude-opus-4-6", Some(128_000)),
            ("claude-next", None),
        ];
        for (model, most) in rows {
            assert_eq!(abilities(model).max_output, most, "{model}");
        }
    }

    #[test]
    fn hard_case_274_ids_match_exactly() {
        assert_eq!(abilities("claude-opus-4-70"), UNKNOWN);
        assert_eq!(abilities("claude-opus-4-7").thinking, Thinking::Adaptive);
        assert_eq!(abilities("claude-opus-4-7-20260401").thinking, Thinking::Adaptive);
        assert_eq!(abilities("claude-sonnet-4-5@20250929").thinking, Thinking::Budget);
        assert_eq!(abilities("claude-sonnet-4-20250514").thinking, Thinking::Budget);
        assert_eq!(abilities("claude-3-5-haiku-latest").thinking, Thinking::Never);
        assert_eq!(abilities("some-proxy/claude-opus-4-7"), UNKNOWN);
    }
}
