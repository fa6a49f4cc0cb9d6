//! What OpenAI's own models take on this endpoint. Of other servers' models nothing is known: they are taken at what most
//! such servers take, and no thinking stays no thinking, which a hybrid model would do otherwise.
//!
//! Families are told apart by their parsed version and never by a part of the name: `gpt-oss` is not a GPT of some
//! version, and `gpt-5.10` comes after `gpt-5.4`.

use crate::{
    codec::{
        effort,
        ids::{self, Alphabet},
    },
    ir::{Effort, Efforts},
    limits::{ChatLimit, Feature, Media, ModelLimits},
};

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
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a model, one column each")]
pub struct Capability {
    /// Whether the output limit is `max_completion_tokens`; `max_tokens` if not.
    pub new_limit: bool,
    /// The efforts it takes; none if it does not reason.
    pub efforts: Efforts,
    /// Whether function tools go only with effort `none` (GPT-5.4 and later on this endpoint).
    pub tools_without_effort: bool,
    /// Whether its server takes `reasoning_content` in the history: OpenAI's own does not.
    pub takes_reasoning: bool,
    /// Whether its server refuses a turn of the model's without `reasoning_content` while it thinks: DeepSeek and Moonshot.
    pub demands_reasoning: bool,
    /// Which ids of calls it takes.
    pub call_ids: Alphabet,
    /// Whether it takes sampling settings.
    pub sampling: Sampling,
    /// Whether it takes `stop`.
    pub stop: bool,
    /// Whether it takes `strict` of tools and schemas.
    pub strict_schemas: bool,
    /// What it reads beside text; none if unknown.
    pub media: Option<Media>,
    /// The most output tokens that it takes, reasoning included; none if unknown.
    pub max_output: Option<u64>,
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The models, as the documentation names them.
    pub models: &'static str,
    /// Which ids are meant.
    family: Family,
    /// What they take.
    pub takes: Capability,
    /// Where that is written.
    pub source: &'static str,
    /// When it was looked up, year and month.
    pub checked: &'static str,
}

/// Which ids a row is about.
#[derive(Clone, Copy, Debug)]
enum Family {
    /// GPT of these versions, the second not included.
    Gpt((u32, u32), (u32, u32)),
    /// The chat variants of GPT-5 and later, which do not reason.
    GptChat,
    /// The id itself or a variant of it: `gpt-4o-mini` is of `gpt-4o`, `gpt-4.1` is not of `gpt-4`.
    Named(&'static str),
    /// The reasoning models `o1` and later.
    SeriesO,
}

const SERIES_O: Efforts = Efforts::NOTHING.with(Effort::Low).with(Effort::Medium).with(Effort::High);
const OTHERS: Efforts = SERIES_O.with(Effort::None);
const GPT_5_0: Efforts = SERIES_O.with(Effort::Minimal);
const GPT_5_1: Efforts = SERIES_O.with(Effort::None);
const GPT_5_2: Efforts = GPT_5_1.with(Effort::XHigh);
const GPT_6: Efforts = GPT_5_2.with(Effort::Max);

/// A model of another vendor or of one's own.
const UNKNOWN: Capability = Capability {
    new_limit: false,
    efforts: OTHERS,
    tools_without_effort: false,
    takes_reasoning: true,
    demands_reasoning: false,
    call_ids: ids::CHAT_CALL_ID,
    sampling: Sampling::Always,
    stop: true,
    strict_schemas: true,
    media: None,
    max_output: None,
};
/// GPT-3.5 to GPT-4.1.
const CLASSIC: Capability = Capability { efforts: Efforts::NOTHING, takes_reasoning: false, ..UNKNOWN };
const SEES: Capability = Capability { media: Some(Media::IMAGES), ..CLASSIC };
/// Text alone.
const TEXT: Capability = Capability { media: Some(Media::NONE), ..CLASSIC };
const CHAT: Capability =
    Capability { new_limit: true, media: Some(Media::IMAGES), max_output: Some(16_384), ..CLASSIC };
const O: Capability = Capability {
    new_limit: true,
    efforts: SERIES_O,
    sampling: Sampling::Never,
    stop: false,
    media: Some(Media::IMAGES),
    ..CLASSIC
};
/// The small ones, which read text alone.
const O_TEXT: Capability = Capability { media: Some(Media::NONE), ..O };
const GPT_5: Capability = Capability { efforts: GPT_5_0, max_output: Some(128_000), ..O };
const GPT_5_LATER: Capability =
    Capability { efforts: GPT_5_2, sampling: Sampling::WithoutReasoning { by_default: true }, ..GPT_5 };

const fn row(models: &'static str, family: Family, takes: Capability, source: &'static str) -> Row {
    Row { models, family, takes, source, checked: "2026-11" }
}

const fn named(id: &'static str, takes: Capability, most: u64, source: &'static str) -> Row {
    row(id, Family::Named(id), Capability { max_output: Some(most), ..takes }, source)
}

/// The table; the first row that fits counts.
pub const ROWS: &[Row] = &[
    row(
        "gpt-5-chat and later chat variants",
        Family::GptChat,
        CHAT,
        "platform.openai.com/docs/models/gpt-5-chat-latest",
    ),
    row("gpt-5", Family::Gpt((5, 0), (5, 1)), GPT_5, "platform.openai.com/docs/models/gpt-5"),
    row(
        "gpt-5.1",
        Family::Gpt((5, 1), (5, 2)),
        Capability { efforts: GPT_5_1, ..GPT_5_LATER },
        "platform.openai.com/docs/models/gpt-5.1",
    ),
    row("gpt-5.2, gpt-5.3", Family::Gpt((5, 2), (5, 4)), GPT_5_LATER, "platform.openai.com/docs/models/gpt-5.2"),
    row(
        "gpt-5.4 and later gpt-5",
        Family::Gpt((5, 4), (6, 0)),
        Capability { tools_without_effort: true, ..GPT_5_LATER },
        "platform.openai.com/docs/models",
    ),
    row(
        "gpt-6 and later",
        Family::Gpt((6, 0), (u32::MAX, 0)),
        Capability {
            efforts: GPT_6,
            tools_without_effort: true,
            sampling: Sampling::WithoutReasoning { by_default: false },
            media: None,
            max_output: None,
            ..GPT_5_LATER
        },
        "platform.openai.com/docs/models",
    ),
    named("gpt-4.1", SEES, 32_768, "platform.openai.com/docs/models/gpt-4.1"),
    named(
        "gpt-4o",
        Capability { media: Some(Media::ALL), ..CLASSIC },
        16_384,
        "platform.openai.com/docs/models/gpt-4o",
    ),
    named("gpt-4-turbo", SEES, 4_096, "platform.openai.com/docs/models/gpt-4-turbo"),
    named("gpt-4", TEXT, 8_192, "platform.openai.com/docs/models/gpt-4"),
    named("gpt-3.5-turbo", TEXT, 4_096, "platform.openai.com/docs/models/gpt-3.5-turbo"),
    row("other gpt before 5", Family::Gpt((0, 0), (5, 0)), CLASSIC, "platform.openai.com/docs/models"),
    named("o1-mini", O_TEXT, 65_536, "platform.openai.com/docs/models/o1-mini"),
    named("o1", O, 100_000, "platform.openai.com/docs/models/o1"),
    named("o3-mini", O_TEXT, 100_000, "platform.openai.com/docs/models/o3-mini"),
    named("o3", O, 100_000, "platform.openai.com/docs/models/o3"),
    named("o4-mini", O, 100_000, "platform.openai.com/docs/models/o4-mini"),
    row("other o series", Family::SeriesO, O, "platform.openai.com/docs/models"),
];

/// The row of a model id.
pub fn row_of(model: &str) -> Option<&'static Row> {
    // What is tuned takes what its base takes.
    let model = model.strip_prefix("ft:").unwrap_or(model);
    ROWS.iter().find(|row| row.family.holds(model))
}

/// What is known about a model id.
pub fn capability(model: &str) -> Capability {
    row_of(model).map_or_else(|| of_others(model), |row| row.takes)
}

/// What is known about other vendors' models, whoever serves them: what their servers or chat templates refuse. Their
/// limits depend on who serves them.
fn of_others(model: &str) -> Capability {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let is_of = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
    Capability {
        demands_reasoning: is_of(&["deepseek", "kimi"]),
        call_ids: if is_of(&MISTRAL) { ids::MISTRAL_CALL_ID } else { ids::CHAT_CALL_ID },
        ..UNKNOWN
    }
}

/// What names of Mistral's models begin with.
const MISTRAL: [&str; 9] =
    ["mistral", "ministral", "mixtral", "codestral", "devstral", "magistral", "pixtral", "voxtral", "open-mi"];

// === impl Capability ===

impl Capability {
    /// With what the provider's owner and the route say. Features that are said not to be taken are not in the request any
    /// more, so what is left of it is taken.
    #[must_use]
    pub fn limited(self, limits: &ModelLimits) -> Self {
        let mut takes = Self { max_output: limits.max_output(self.max_output), ..self };
        if limits.is_stated {
            (takes.sampling, takes.stop) = (Sampling::Always, true);
            if takes.efforts.is_empty() {
                takes.efforts = OTHERS;
            }
        }
        takes.efforts = limits.efforts.unwrap_or(takes.efforts);
        if limits.lacks(Feature::ReasoningEffort) {
            (takes.efforts, takes.tools_without_effort) = (Efforts::NOTHING, false);
        }
        if limits.capabilities_stated {
            takes.media = None;
        }
        takes.strict_schemas &= !limits.lacks(Feature::StrictSchemas);
        takes.new_limit = limits.chat_limit.map_or(takes.new_limit, |name| name == ChatLimit::MaxCompletionTokens);
        takes
    }

    /// How reasoning is asked for, in words.
    pub fn reasoning(&self) -> String {
        if self.efforts.is_empty() { "none".to_owned() } else { effort::words(self.efforts) }
    }

    /// The features that it does not take, by their names in the documentation.
    pub fn lacks(&self) -> Vec<&'static str> {
        let mut lacks = match self.sampling {
            Sampling::Always => Vec::new(),
            Sampling::Never => vec!["Temperature", "TopP", "Penalties"],
            Sampling::WithoutReasoning { .. } => {
                vec!["Temperature, TopP and Penalties while it reasons"]
            }
        };
        if !self.stop {
            lacks.push("Stop");
        }
        if self.efforts.is_empty() {
            lacks.push("ReasoningEffort");
        }
        if self.new_limit {
            lacks.push("`max_tokens` (`max_completion_tokens` is sent)");
        }
        lacks
    }
}

// === impl Family ===

impl Family {
    fn holds(self, model: &str) -> bool {
        let gpt = model.strip_prefix("gpt-").and_then(version);
        match self {
            Self::Gpt(from, to) => gpt.is_some_and(|version| (from..to).contains(&version)),
            Self::GptChat => gpt.is_some_and(|version| version >= (5, 0)) && model.contains("-chat"),
            Self::Named(id) => model.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
            Self::SeriesO => model.strip_prefix('o').and_then(version).is_some(),
        }
    }
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
    use crate::{
        codec::ids,
        ir::Effort,
        limits::{Feature, Features, ModelLimits},
    };

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
            ("ft:gpt-4.1-mini-2025-04-14:org::x", false, 0, false),
            ("olmo-2", false, 4, false),
            ("qwen3", false, 4, false),
        ];
        for (model, new_limit, efforts, tools) in rows {
            let known = capability(model);
            assert_eq!(
                (known.new_limit, known.efforts.iter().count(), known.tools_without_effort),
                (new_limit, efforts, tools),
                "{model}"
            );
        }
        assert!(capability("gpt-5.1").efforts.contains(Effort::None));
    }

    #[test]
    fn what_other_vendors_servers_refuse_is_known_by_name() {
        for (model, demands, nine) in [
            ("deepseek-v4-pro", true, false),
            ("deepseek-ai/DeepSeek-V3.2", true, false),
            ("moonshotai/kimi-k2-thinking", true, false),
            ("mistral-large-latest", false, true),
            ("mistralai/Ministral-8B-Instruct-2410", false, true),
            ("open-mixtral-8x22b", false, true),
            ("qwen3", false, false),
            ("gpt-4o", false, false),
        ] {
            let known = capability(model);
            assert_eq!((known.demands_reasoning, known.call_ids == ids::MISTRAL_CALL_ID), (demands, nine), "{model}");
            assert_eq!(known.max_output.is_some(), model == "gpt-4o", "no limit is guessed for {model}");
        }
    }

    #[test]
    fn chat_variants_do_not_reason() {
        for model in ["gpt-5-chat-latest", "gpt-5.4-chat"] {
            let known = capability(model);
            assert!(known.efforts.is_empty() && !known.tools_without_effort && known.new_limit, "{model}");
        }
    }

    #[test]
    fn what_the_owner_says_counts_instead_of_the_table() {
        let stated = ModelLimits { is_stated: true, stated_max_output: Some(7), ..ModelLimits::default() };
        let takes = capability("gpt-5-mini").limited(&stated);
        assert_eq!((takes.sampling, takes.stop, takes.max_output), (Sampling::Always, true, Some(7)));
        assert_eq!(capability("gpt-4o").limited(&stated).efforts.iter().count(), 4);
        let unsupported = Features::default().with(Feature::ReasoningEffort).with(Feature::StrictSchemas);
        let narrowed = ModelLimits { unsupported, ..ModelLimits::default() };
        let takes = capability("gpt-5.4").limited(&narrowed);
        assert!(takes.efforts.is_empty() && !takes.tools_without_effort && !takes.strict_schemas);
        assert_eq!(takes.sampling, capability("gpt-5.4").sampling, "a route only narrows");
        assert_eq!(capability("gpt-5.4").limited(&ModelLimits::default()), capability("gpt-5.4"));
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
