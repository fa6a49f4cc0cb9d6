//! Chunks of a stream as they come, with only the members that matter. Typed, because this is read once per token.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// `chat.completion.chunk`
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
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
    #[serde(default)]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    pub delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
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
    #[serde(borrow, default)]
    pub refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
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
    #[serde(default)]
    pub index: Option<u64>,
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
    #[serde(borrow, default)]
    pub extra_content: Option<ExtraContent<'a>>,
}

/// A piece of a function call.
#[derive(Debug, Default, Deserialize)]
pub struct Function<'a> {
    #[serde(borrow, default)]
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
    #[serde(borrow, default)]
    pub text: Option<Cow<'a, str>>,
    /// Reasoning, as parts of its own (Mistral).
    #[serde(borrow, default)]
    pub thinking: Option<Vec<Part<'a>>>,
}

/// `content` of either form as reasoning and words; `None` if it is neither.
pub fn content(raw: &RawValue) -> Option<(String, String)> {
    if raw.get().starts_with('"') {
        return Some((String::new(), serde_json::from_str(raw.get()).ok()?));
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

/// `arguments` of either form as JSON text.
pub fn arguments(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        text => text.to_owned(),
    }
}
