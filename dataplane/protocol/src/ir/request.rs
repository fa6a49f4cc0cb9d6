//! What a client asks for.

use super::{Block, Extras, Number, Raw};
use crate::{dialect::Family, report::Spelled};

/// One call for a model's answer.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The model id as the client wrote it.
    pub model: String,
    /// Whether events are wanted.
    pub stream: bool,
    /// Whether usage is wanted in the stream (Chat's `stream_options.include_usage`).
    pub include_usage: Option<bool>,
    /// The leading system text, block by block.
    pub system: Vec<Block>,
    /// The conversation.
    pub turns: Vec<Turn>,
    /// Tools on offer.
    pub tools: Vec<Tool>,
    /// Which tool to use.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls in one turn are allowed.
    pub parallel_tools: Option<bool>,
    /// The shape of the answer.
    pub output: OutputFormat,
    /// What the answer may hold; empty where the client asks for text alone.
    pub modalities: Vec<Modality>,
    /// Sampling settings.
    pub sampling: Sampling,
    /// Most output tokens.
    pub max_output: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How many answers (`n`).
    pub candidates: Option<u32>,
    /// Reasoning settings.
    pub reasoning: ReasoningControl,
    /// The end user's id.
    pub user: Option<String>,
    /// Service tier as written.
    pub service_tier: Option<String>,
    /// Fields that the client wrote under another name than warnings give them.
    pub spelled: Vec<Spelled>,
    /// Members the IR has no name for, kept for targets of the same family and stated to the report for others.
    pub extras: Extras,
}

/// One speaker's part of the conversation.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub blocks: Vec<Block>,
    /// The participant's name (Chat).
    pub name: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The application's user; tool results belong here too.
    User,
    /// The model.
    Assistant,
    /// The operator, in the middle of a conversation. The leading run is in [`Request::system`].
    System,
}

/// A tool on offer.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it is.
    pub kind: ToolKind,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// End of a cacheable prefix.
    pub cache: Option<super::CacheMark>,
}

/// What a tool is.
#[derive(Clone, Debug)]
pub enum ToolKind {
    /// A function with a JSON Schema for its arguments; none means no arguments stated.
    Function(Option<Raw>),
    /// Free-form text input (Chat's and Responses' `custom`), with its `format`. In the neutral representation its
    /// calls carry the text as `{"input": "…"}`, so that other dialects see a function with one string argument.
    Custom(Option<Raw>),
    /// A tool that the vendor runs itself, kept as written.
    Server {
        /// Whose.
        family: Family,
        /// Its type as written, for messages.
        kind: String,
        /// The whole definition.
        raw: Raw,
    },
}

/// Which tool the model shall use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
    /// Only these; `required` says whether one must be used.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// Whether one must be used.
        required: bool,
    },
}

/// The shape of the answer.
#[derive(Clone, Debug, Default)]
pub enum OutputFormat {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// Its name (OpenAI).
        name: Option<String>,
        /// What it is (OpenAI).
        description: Option<String>,
        /// The schema.
        schema: Raw,
        /// Whether it must be followed exactly.
        strict: Option<bool>,
    },
}

/// A kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Words.
    Text,
    /// Pictures.
    Image,
    /// Speech.
    Audio,
}

/// Sampling settings. Numbers stay as they were written, so that `1.0` does not become `1`.
#[derive(Clone, Debug, Default)]
pub struct Sampling {
    /// `temperature`
    pub temperature: Option<Number>,
    /// `top_p`
    pub top_p: Option<Number>,
    /// `top_k`
    pub top_k: Option<Number>,
    /// `seed`
    pub seed: Option<Number>,
    /// `presence_penalty`
    pub presence_penalty: Option<Number>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<Number>,
    /// `logprobs`
    pub logprobs: Option<bool>,
    /// `top_logprobs`
    pub top_logprobs: Option<Number>,
}

/// Reasoning settings.
#[derive(Clone, Debug, Default)]
pub struct ReasoningControl {
    /// Reasoning explicitly on (`true`) or off (`false`).
    pub enabled: Option<bool>,
    /// How hard to think.
    pub effort: Option<Effort>,
    /// Tokens to think with; -1 means the model decides (Gemini).
    pub budget: Option<i64>,
    /// The model decides by itself (Anthropic's `adaptive`).
    pub adaptive: bool,
    /// Whether the reasoning shall be visible.
    pub visible: Option<bool>,
}

/// How hard to think, from OpenAI's vocabulary, which is the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are the vendor's own")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    /// All of them, weakest first.
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];
}

/// Which efforts a model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Efforts(u8);

impl Efforts {
    /// It takes none.
    pub const NOTHING: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, effort: Effort) -> Self {
        Self(self.0 | 1 << effort as u8)
    }

    /// Whether it takes this one.
    pub const fn contains(self, effort: Effort) -> bool {
        self.0 & 1 << effort as u8 != 0
    }

    /// Whether it takes none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that it takes, weakest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Effort> {
        Effort::ALL.into_iter().filter(move |effort| self.contains(*effort))
    }

    /// The nearest that it takes: the next weaker one, or the weakest there is. A request for reasoning never becomes
    /// `none`, which would turn off what the client asked for (docs/protocols/reasoning.md).
    pub fn nearest(self, effort: Effort) -> Option<Effort> {
        let fits = || self.iter().filter(move |known| *known != Effort::None || effort == Effort::None);
        fits().rev().find(|known| *known <= effort).or_else(|| fits().next())
    }
}

impl FromIterator<Effort> for Efforts {
    fn from_iter<I: IntoIterator<Item = Effort>>(efforts: I) -> Self {
        efforts.into_iter().fold(Self::NOTHING, Self::with)
    }
}

impl Modality {
    /// By its name in any case: `image`, `IMAGE`.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "text" => Some(Self::Text),
            "image" => Some(Self::Image),
            "audio" => Some(Self::Audio),
            _ => None,
        }
    }

    /// OpenAI's name for it.
    pub const fn openai(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }

    /// Google's name for it.
    pub const fn gemini(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Image => "IMAGE",
            Self::Audio => "AUDIO",
        }
    }

    /// A list of names; none if one of them is unknown. Text alone is empty.
    pub fn list(names: &[String]) -> Option<Vec<Self>> {
        let list: Vec<Self> = names.iter().map(|name| Self::parse(name)).collect::<Option<_>>()?;
        Some(if list.iter().all(|one| *one == Self::Text) { Vec::new() } else { list })
    }
}
