//! Chunks of a stream as they come, with only the members that matter. Typed, because this is read once per token.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::codec::json::loose::{self, Loose};

/// `chat.completion.chunk`
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

/// One element of `choices`.
#[derive(Debug, Deserialize)]
pub struct Choice<'a> {
    #[serde(default, deserialize_with = "index")]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    pub delta: Option<Delta<'a>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub logprobs: Option<&'a RawValue>,
}

/// What a choice grows by.
#[derive(Debug, Deserialize)]
pub struct Delta<'a> {
    /// A string, or from some servers a list of parts.
    #[serde(borrow, default)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub reasoning: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub reasoning_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub annotations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub images: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<Call<'a>>>,
    #[serde(borrow, default)]
    pub function_call: Option<Function<'a>>,
}

/// One element of `tool_calls`.
#[derive(Debug, Deserialize)]
pub struct Call<'a> {
    #[serde(default, deserialize_with = "index")]
    pub index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
    #[serde(borrow, default)]
    pub extra_content: Option<ExtraContent<'a>>,
}

/// A piece of a function call.
#[derive(Debug, Default, Deserialize)]
pub struct Function<'a> {
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub name: Option<Cow<'a, str>>,
    /// A string, or from some servers the object itself.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
}

/// Google's extension.
#[derive(Debug, Deserialize)]
pub struct ExtraContent<'a> {
    #[serde(borrow, default)]
    pub google: Option<Google<'a>>,
}

/// Google's extension.
#[derive(Debug, Deserialize)]
pub struct Google<'a> {
    #[serde(borrow, default)]
    pub thought_signature: Option<Cow<'a, str>>,
}

/// One element of `content`, where that is a list.
#[derive(Debug, Deserialize)]
pub struct Part<'a> {
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub text: Option<Cow<'a, str>>,
    /// Reasoning, as parts of its own (Mistral).
    #[serde(borrow, default)]
    pub thinking: Option<Vec<Part<'a>>>,
}

impl Call<'_> {
    /// Whether it stands for no call at all: no name, no arguments, no state, and no id that later pieces could mean.
    pub fn says_nothing(&self) -> bool {
        self.id.as_deref().is_none_or(str::is_empty)
            && self.function.as_ref().is_none_or(Function::says_nothing)
            && self.extra_content.is_none()
    }
}

impl Function<'_> {
    /// Whether it holds neither a name nor arguments.
    pub fn says_nothing(&self) -> bool {
        self.name.as_deref().is_none_or(str::is_empty)
            && self.arguments.is_none_or(|raw| matches!(raw.get(), "null" | "\"\""))
    }
}

/// A position: a number, or one written as text. Anything else is no position.
fn index<'de, D: Deserializer<'de>, N: std::str::FromStr>(deserializer: D) -> Result<Option<N>, D::Error> {
    Ok(Option::<Loose<'de>>::deserialize(deserializer)?.and_then(|loose| loose.as_str().parse().ok()))
}

/// A whole number, also one that is written as a float or as text; none if it is anything else.
pub fn whole_number(raw: &RawValue) -> Option<i64> {
    let text = raw.get().trim_matches('"');
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok()
}

/// `content` of either form as reasoning and words; `None` if it is neither.
pub fn content(raw: &RawValue) -> Option<(String, String)> {
    if !raw.get().starts_with(['[', '{', 'n']) {
        return Some((String::new(), serde_json::from_str::<Loose<'_>>(raw.get()).ok()?.into_string()));
    }
    let parts: Option<Vec<Part<'_>>> = serde_json::from_str(raw.get()).ok()?;
    let (mut reasoning, mut words) = (String::new(), String::new());
    for part in parts.unwrap_or_default() {
        for thought in part.thinking.unwrap_or_default() {
            reasoning.push_str(thought.text.as_deref().unwrap_or_default());
        }
        words.push_str(part.text.as_deref().unwrap_or_default());
    }
    Some((reasoning, words))
}

/// The `thinking` of one part: a string, or a list of parts of text; `None` if it is neither.
pub fn thought(raw: &RawValue) -> Option<String> {
    if raw.get().starts_with('"') {
        return serde_json::from_str(raw.get()).ok();
    }
    let parts: Vec<Part<'_>> = serde_json::from_str(raw.get()).ok()?;
    Some(parts.iter().filter_map(|part| part.text.as_deref()).collect())
}

/// `arguments` of either form as JSON text.
pub fn arguments(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        text => text.to_owned(),
    }
}
