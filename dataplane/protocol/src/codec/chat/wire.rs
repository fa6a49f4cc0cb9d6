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
    pub choices: Option<Vec<Option<Choice<'a>>>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

/// One element of `choices`.
#[derive(Debug, Deserialize)]
pub struct Choice<'a> {
    #[serde(default, deserialize_with = "loose::number")]
    pub index: Option<u32>,
    #[serde(borrow, default)]
    pub delta: Option<Delta<'a>>,
    /// What servers that ignore `stream` half-way write in the place of `delta`.
    #[serde(borrow, default)]
    pub message: Option<&'a RawValue>,
    /// The words of servers that still write text completions.
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub text: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub finish_reason: Option<Cow<'a, str>>,
    /// What failed, of one provider behind OpenRouter.
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub logprobs: Option<&'a RawValue>,
    /// Where Moonshot counts.
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
}

/// What a choice grows by.
#[derive(Debug, Default, Deserialize)]
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
    #[serde(borrow, default, deserialize_with = "calls")]
    pub tool_calls: Vec<Option<Call<'a>>>,
    #[serde(borrow, default)]
    pub function_call: Option<Function<'a>>,
}

/// One element of `tool_calls`.
#[derive(Debug, Deserialize)]
pub struct Call<'a> {
    #[serde(default, deserialize_with = "loose::number")]
    pub index: Option<u64>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub function: Option<Function<'a>>,
    /// What some servers write without `function` around it.
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub extra_content: Option<&'a RawValue>,
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
    /// Reasoning, as parts of its own (Mistral), or as a string.
    #[serde(borrow, default)]
    pub thinking: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "loose::option")]
    pub refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub image_url: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type", deserialize_with = "loose::option")]
    pub kind: Option<Cow<'a, str>>,
}

/// What `content` holds, in whichever of its forms.
#[derive(Debug, Default)]
pub struct Content {
    pub reasoning: String,
    pub words: String,
    pub refusal: String,
    /// Elements of `images` as they would stand there.
    pub images: Vec<String>,
    /// Some part is none of these.
    pub others: bool,
}

impl<'a> Call<'a> {
    /// Whether it stands for no call at all: no name, no arguments, no state, and no id that later pieces could mean.
    pub fn says_nothing(&self) -> bool {
        self.id.as_deref().is_none_or(str::is_empty)
            && self.function.as_ref().is_none_or(Function::says_nothing)
            && self.name.as_deref().is_none_or(str::is_empty)
            && self.arguments.is_none()
            && self.extra_content.is_none()
    }

    /// The tool's name, if this piece says it.
    pub fn tool(&self) -> Option<&str> {
        let inner = self.function.as_ref().and_then(|function| function.name.as_deref());
        inner.or(self.name.as_deref()).filter(|name| !name.is_empty())
    }

    /// The arguments of this piece.
    pub fn pieces(&self) -> Option<&'a RawValue> {
        self.function.as_ref().and_then(|function| function.arguments).or(self.arguments)
    }

    /// Google's signature.
    pub fn signature(&self) -> Option<String> {
        let extra: ExtraContent<'_> = serde_json::from_str(self.extra_content?.get()).ok()?;
        extra.google?.thought_signature.map(Cow::into_owned)
    }
}

impl Function<'_> {
    /// Whether it holds neither a name nor arguments.
    pub fn says_nothing(&self) -> bool {
        self.name.as_deref().is_none_or(str::is_empty)
            && self.arguments.is_none_or(|raw| matches!(raw.get(), "null" | "\"\""))
    }
}

/// Calls in a list, or one alone; what is neither says nothing.
fn calls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<Call<'de>>>, D::Error> {
    let Some(raw) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(Vec::new()) };
    match raw.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(raw.get()).map_err(serde::de::Error::custom),
        Some(b'{') => Ok(vec![Some(serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?)]),
        _ => Ok(Vec::new()),
    }
}

/// A whole number, also one that is written as a float or as text; none if it is anything else.
pub fn whole_number(raw: &RawValue) -> Option<i64> {
    let text = raw.get().trim_matches('"');
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok()
}

/// `content` of any form: a string, a part, or a list of parts and strings.
pub fn content(raw: &RawValue) -> Content {
    let mut content = Content::default();
    match raw.get().as_bytes().first() {
        Some(b'n') | None => {}
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(parts) => parts.into_iter().for_each(|part| content.part(part)),
            Err(_) => content.others = true,
        },
        _ => content.part(raw),
    }
    content
}

impl Content {
    fn part(&mut self, raw: &RawValue) {
        if !raw.get().starts_with(['{', '[']) {
            let text = serde_json::from_str::<Option<Loose<'_>>>(raw.get()).ok().flatten();
            self.words.push_str(text.as_ref().map_or("", Loose::as_str));
            return;
        }
        let Ok(part) = serde_json::from_str::<Part<'_>>(raw.get()) else {
            self.others = true;
            return;
        };
        if let Some(thought) = part.thinking {
            self.reasoning.push_str(&self::thought(thought).unwrap_or_default());
        } else if part.kind.as_deref() == Some("reasoning") {
            self.reasoning.push_str(part.text.as_deref().unwrap_or_default());
        } else if let Some(text) = &part.text {
            self.words.push_str(text);
        } else if let Some(refusal) = &part.refusal {
            self.refusal.push_str(refusal);
        } else if part.image_url.is_some() {
            self.images.push(raw.get().to_owned());
        } else {
            self.others = true;
        }
    }

    /// Its pictures as `images`, if it has some.
    pub fn images(&self) -> Option<Box<RawValue>> {
        let list = (!self.images.is_empty()).then(|| format!("[{}]", self.images.join(",")))?;
        RawValue::from_string(list).ok()
    }
}

/// A member that should be text: a string, a number or a boolean. Anything else says nothing.
pub fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str::<Loose<'_>>(raw.get()).ok().map(Loose::into_string)
}

/// The `thinking` of one part: a string, or a list of parts of text; `None` if it is neither.
pub fn thought(raw: &RawValue) -> Option<String> {
    if raw.get().starts_with('"') {
        return serde_json::from_str(raw.get()).ok();
    }
    let parts: Vec<Part<'_>> = serde_json::from_str(raw.get()).ok()?;
    Some(parts.iter().filter_map(|part| part.text.as_deref()).collect())
}

/// `arguments` of either form as JSON text, or a piece of it.
pub fn arguments(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_default(),
        text => text.to_owned(),
    }
}
