//! What models of each vendor take on Converse, as data (docs/protocols/converse.md). What Claude takes of thinking and
//! sampling stands in Messages' own table; here is what Bedrock adds, by the vendor in front of an id.
//!
//! Ids carry a region or `global` in front where they name an inference profile, and a version behind. An ARN says nothing
//! of its model: unless the provider's owner says which one it is, it is trusted with everything that is Converse's own,
//! and with nothing that only one vendor understands.

use crate::{
    codec::messages::models::{self as claude, Abilities, Thinking},
    ir::{Effort, Efforts},
    limits::Media,
};

/// Whose model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Anthropic's Claude.
    Claude,
    /// Amazon's Nova, first generation.
    Nova,
    /// Amazon's Nova, from the second generation on.
    Nova2,
    /// Amazon's Titan.
    Titan,
    /// AI21's Jamba.
    Ai21,
    /// Cohere's Command.
    Cohere,
    /// DeepSeek.
    DeepSeek,
    /// Google's Gemma.
    Gemma,
    /// Meta's Llama.
    Llama,
    /// Mistral.
    Mistral,
    /// `OpenAI`'s open models.
    OpenAi,
    /// Qwen.
    Qwen,
    /// Another vendor, or none that is named.
    Unknown,
}

/// What a vendor's models take on Converse.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a model, one column each")]
pub struct Model {
    /// Whose it is.
    pub vendor: Vendor,
    /// What it takes of everything that other dialects have as well.
    pub takes: Abilities,
    /// Whether it takes tools.
    pub tools: bool,
    /// Whether one tool by its name can be forced on it.
    pub named_tool: bool,
    /// Whether results of tools may hold pictures and say that they are errors.
    pub rich_results: bool,
    /// Whether `strict` of tools is taken.
    pub strict: bool,
    /// Whether it takes films.
    pub video: bool,
    /// Where cache points may stand, and how long they may last.
    pub marks: Marks,
    /// How reasoning is asked for.
    pub reasoning: Reasoning,
    /// Where `top_k` stands among the additional fields.
    pub top_k: Option<TopK>,
}

/// Where cache points may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nowhere.
    None,
    /// In `system` and `messages`, for the shorter time.
    Prompt,
    /// In `tools` as well, for the shorter time.
    Short,
    /// In `tools` as well, for either time.
    Long,
}

/// How reasoning is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// It cannot be.
    None,
    /// `thinking` among the additional fields, and `outputConfig.effort`.
    Thinking,
    /// `reasoningConfig` among the additional fields.
    Config,
    /// `reasoning_effort` among the additional fields.
    Effort,
    /// `outputConfig.effort`, which is no vendor's own.
    Output,
}

/// Where `top_k` stands among the additional fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopK {
    /// `top_k`
    Plain,
    /// `inferenceConfig.topK`
    Inference,
    /// `k`
    Short,
}

/// The vendor by the beginning of an id without its region; the first row that fits counts.
const VENDORS: [(&str, Vendor); 18] = [
    ("anthropic.", Vendor::Claude),
    ("claude-", Vendor::Claude),
    ("amazon.nova-2-", Vendor::Nova2),
    ("amazon.nova-", Vendor::Nova),
    ("amazon.titan-", Vendor::Titan),
    ("ai21.", Vendor::Ai21),
    ("cohere.", Vendor::Cohere),
    ("deepseek.", Vendor::DeepSeek),
    ("google.", Vendor::Gemma),
    ("meta.", Vendor::Llama),
    ("mistral.", Vendor::Mistral),
    ("openai.", Vendor::OpenAi),
    ("qwen.", Vendor::Qwen),
    ("nova-2-", Vendor::Nova2),
    ("nova-", Vendor::Nova),
    ("llama", Vendor::Llama),
    ("gpt-", Vendor::OpenAi),
    ("deepseek-", Vendor::DeepSeek),
];

/// What stands in front of a vendor where an id names an inference profile across regions.
const REGIONS: [&str; 9] = ["us.", "us-gov.", "eu.", "apac.", "au.", "ca.", "jp.", "global.", "amer."];

/// Ids that take no tools although others of their vendor do.
const TOOLLESS: [&str; 4] = ["deepseek.r1-", "mistral.mistral-7b-", "mistral.mixtral-8x7b-", "meta.llama3-8b-"];

/// Claude's generations before a cache point could last an hour.
const SHORT_MARKS: [&str; 5] =
    ["claude-3-", "claude-sonnet-4-2", "claude-opus-4-2", "claude-opus-4-1", "claude-instant"];

/// Efforts of models that know three.
const THREE: Efforts = Efforts::NOTHING.with(Effort::Low).with(Effort::Medium).with(Effort::High);

/// The vendor of a model id.
pub fn vendor(id: &str) -> Vendor {
    let id = without_region(id);
    VENDORS.iter().find(|(begin, _)| id.starts_with(begin)).map_or(Vendor::Unknown, |(_, vendor)| *vendor)
}

/// The id at the model's vendor, where Messages' or `OpenAI`'s tables know that one.
pub fn vendors_id(id: &str) -> &str {
    let plain = without_region(id);
    if plain.starts_with("anthropic.") { claude_id(plain) } else { plain.strip_prefix("openai.").unwrap_or(id) }
}

/// What a model takes.
pub fn model(id: &str) -> Model {
    let plain = without_region(id);
    let vendor = vendor(plain);
    let base = Model {
        vendor,
        takes: Abilities { thinking: Thinking::Never, efforts: Efforts::NOTHING, ..claude::abilities("") },
        tools: !TOOLLESS.iter().any(|begin| plain.starts_with(begin)),
        named_tool: false,
        rich_results: false,
        strict: true,
        video: false,
        marks: Marks::None,
        reasoning: Reasoning::None,
        top_k: None,
    };
    let plain_text = Model { takes: unstructured(base.takes), strict: false, ..base };
    match vendor {
        Vendor::Claude => of_claude(plain, base),
        Vendor::Nova | Vendor::Nova2 => of_nova(plain, plain_text),
        Vendor::Titan => Model { tools: false, ..plain_text },
        Vendor::Ai21 | Vendor::Llama => plain_text,
        Vendor::Cohere => Model { top_k: Some(TopK::Short), ..plain_text },
        Vendor::Mistral => Model { top_k: Some(TopK::Plain), ..base },
        Vendor::OpenAi => {
            let takes = Abilities { efforts: THREE, media: Some(Media::NONE), ..base.takes };
            Model { takes, reasoning: Reasoning::Effort, ..base }
        }
        Vendor::DeepSeek | Vendor::Gemma | Vendor::Qwen => base,
        Vendor::Unknown => Model {
            takes: Abilities { efforts: claude::abilities("").efforts, ..base.takes },
            named_tool: true,
            rich_results: true,
            video: true,
            marks: Marks::Long,
            reasoning: Reasoning::Output,
            ..base
        },
    }
}

fn of_claude(plain: &str, base: Model) -> Model {
    let id = claude_id(plain);
    let takes = claude::abilities(id);
    let marks = if SHORT_MARKS.iter().any(|begin| id.starts_with(begin)) { Marks::Short } else { Marks::Long };
    Model {
        takes,
        named_tool: true,
        rich_results: true,
        strict: takes.schema_output,
        marks,
        reasoning: Reasoning::Thinking,
        top_k: Some(TopK::Plain),
        ..base
    }
}

fn of_nova(plain: &str, base: Model) -> Model {
    let reads = if plain.contains("micro") { Media::NONE } else { Media::IMAGES };
    let thinks = base.vendor == Vendor::Nova2;
    let efforts = if thinks { THREE } else { Efforts::NOTHING };
    Model {
        takes: Abilities { efforts, media: Some(reads), prefill: true, ..base.takes },
        named_tool: true,
        rich_results: true,
        video: reads != Media::NONE,
        marks: Marks::Prompt,
        reasoning: if thinks { Reasoning::Config } else { Reasoning::None },
        top_k: Some(TopK::Inference),
        ..base
    }
}

/// Of models that cannot be held to a schema.
const fn unstructured(takes: Abilities) -> Abilities {
    Abilities { schema_output: false, ..takes }
}

/// Anthropic's own id in one of Bedrock's: `claude-sonnet-4-5-20250929` of `anthropic.claude-sonnet-4-5-20250929-v1:0`.
fn claude_id(plain: &str) -> &str {
    let id = plain.strip_prefix("anthropic.").unwrap_or(plain);
    let id = id.split(':').next().unwrap_or(id);
    match id.rsplit_once("-v") {
        Some((id, version)) if !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit()) => id,
        _ => id,
    }
}

/// An id without the region of its inference profile, or the id that stands in the ARN of a profile across regions or of a
/// foundation model.
pub fn without_region(id: &str) -> &str {
    let id = match id.rsplit_once('/') {
        Some((front, id)) if front.ends_with(":inference-profile") || front.ends_with(":foundation-model") => id,
        _ => id,
    };
    REGIONS.iter().find_map(|region| id.strip_prefix(region)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_are_known_whatever_stands_around_their_ids() {
        let rows = [
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", Vendor::Claude),
            ("global.anthropic.claude-opus-4-6-v1", Vendor::Claude),
            ("claude-opus-4-6", Vendor::Claude),
            ("us.amazon.nova-pro-v1:0", Vendor::Nova),
            ("apac.amazon.nova-2-lite-v1:0", Vendor::Nova2),
            ("eu.meta.llama3-2-3b-instruct-v1:0", Vendor::Llama),
            ("openai.gpt-oss-120b-1:0", Vendor::OpenAi),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0", Vendor::Nova),
            ("arn:aws:bedrock:us-east-1::foundation-model/qwen.qwen3-32b-v1:0", Vendor::Qwen),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", Vendor::Unknown),
            ("moonshot.kimi-k2-thinking", Vendor::Unknown),
            ("", Vendor::Unknown),
        ];
        for (id, expected) in rows {
            assert_eq!(vendor(id), expected, "{id}");
        }
    }

    #[test]
    fn claude_takes_what_messages_table_says_of_it() {
        for (id, own) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
            ("anthropic.claude-3-5-sonnet-20240620-v1:0:200k", "claude-3-5-sonnet"),
            ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
            ("anthropic.claude-opus-4-7", "claude-opus-4-7"),
        ] {
            assert_eq!(model(id).takes, claude::abilities(own), "{id}");
        }
        assert_eq!(model("anthropic.claude-3-7-sonnet-20250219-v1:0").marks, Marks::Short);
        assert_eq!(model("anthropic.claude-sonnet-4-20250514-v1:0").marks, Marks::Short);
        assert_eq!(model("anthropic.claude-sonnet-4-5-20250929-v1:0").marks, Marks::Long);
    }

    #[test]
    fn others_take_what_their_vendor_says() {
        assert!(!model("amazon.titan-text-express-v1").tools && !model("us.deepseek.r1-v1:0").tools);
        assert!(model("meta.llama3-3-70b-instruct-v1:0").tools && model("deepseek.v3-v1:0").tools);
        assert_eq!(model("us.amazon.nova-2-lite-v1:0").reasoning, Reasoning::Config);
        assert_eq!(model("us.amazon.nova-micro-v1:0").takes.media, Some(Media::NONE));
        assert!(model("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc").rich_results);
    }
}
