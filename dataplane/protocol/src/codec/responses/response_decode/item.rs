//! One element of `output`.
//!
//! Read loosely: what has another type than it should was not said, and a type that nobody knows is kept as it is.

use serde_json::value::RawValue;

use crate::{
    codec::{
        Malformed,
        json::{
            loose::Loose,
            read::{Object, Spelling, elements},
        },
        media,
        responses::reasoning_state,
    },
    dialect::Family,
    ir::{Block, Citation, Media, Opaque, Reasoning, Unknown},
    report::Field,
};

/// What stands between two parts of a summary.
pub const BETWEEN_PARTS: &str = "\n\n";

/// An item.
#[derive(Debug)]
pub struct Item {
    pub id: Option<String>,
    pub what: What,
}

/// What an item is.
#[derive(Debug)]
pub enum What {
    /// Words.
    Message(Vec<Part>),
    /// Reasoning.
    Reasoning(Thought),
    /// A call.
    Call(Call),
    /// A picture that the upstream made.
    Picture(Block),
    /// Something that the upstream ran by itself, or that nobody knows.
    Other(Unknown),
}

/// A part of a message.
#[derive(Debug)]
pub enum Part {
    /// Words, what they rest on, and what of them has no place.
    Text { text: String, annotations: Vec<Annotation>, lost: Vec<Field> },
    /// The model declines.
    Refusal(String),
    /// Anything else, by its name.
    Other(Field),
}

/// Reasoning: what is told of it, and its state.
#[derive(Debug)]
pub struct Thought {
    /// The summary, or the reasoning itself where there is none.
    pub text: String,
    /// The state; that of a server which gives none names only the issuer.
    pub state: Opaque,
}

/// A call, its arguments as the model wrote them.
#[derive(Debug)]
pub struct Call {
    pub id: Option<String>,
    pub name: Option<String>,
    pub arguments: String,
    /// The arguments are no JSON, but free text.
    pub is_free_form: bool,
}

/// A source on the web, with its place in the part.
#[derive(Debug)]
pub struct Annotation {
    url: String,
    title: Option<String>,
    start: u64,
    end: u64,
}

impl Item {
    /// Reads one.
    ///
    /// # Errors
    /// When it is no object.
    pub fn read(raw: &RawValue) -> Result<Self, Malformed> {
        let mut item = Object::from_raw(raw, Spelling::Exact)?;
        let kind = word(&mut item, "type").unwrap_or_default();
        let id = word(&mut item, "id").filter(|id| !id.is_empty());
        let what = match kind.as_str() {
            "message" => What::Message(parts(&mut item)),
            // Some servers leave the type out where there is no doubt.
            "" if item.has("content") => What::Message(parts(&mut item)),
            "reasoning" => What::Reasoning(Thought::read(&mut item, id.as_deref())),
            "function_call" | "custom_tool_call" => {
                What::Call(Call::read(&mut item, id.as_deref(), kind == "custom_tool_call"))
            }
            "image_generation_call" if let Some(picture) = picture(&mut item) => What::Picture(picture),
            _ => What::Other(Unknown { family: Family::OpenAi, kind, raw: raw.to_owned() }),
        };
        Ok(Self { id, what })
    }
}

impl Thought {
    fn read(item: &mut Object<'_>, id: Option<&str>) -> Self {
        let mut told = |name: &str| {
            let list = item.take_raw(name).map(|raw| elements(raw).unwrap_or_else(|_| vec![raw])).unwrap_or_default();
            let texts = list.into_iter().filter_map(|raw| match raw.get().starts_with('{') {
                true => word(&mut Object::from_raw(raw, Spelling::Exact).ok()?, "text"),
                false => text(raw),
            });
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>()
        };
        let (summary, content) = (told("summary"), told("content"));
        let text = if summary.is_empty() { content.concat() } else { summary.join(BETWEEN_PARTS) };
        let blob = word(item, "encrypted_content").filter(|blob| !blob.is_empty());
        let value = blob.map(|blob| reasoning_state::join(id, &blob)).unwrap_or_default();
        Self { text, state: Opaque { family: Family::OpenAi, value } }
    }

    /// The block; none if nothing is said and nothing must come back.
    pub fn into_block(self) -> Option<Block> {
        let Self { text, state } = self;
        if text.is_empty() && state.value.is_empty() {
            return None;
        }
        Some(Block::Reasoning(Reasoning { text, state: Some(state), redacted: false }))
    }
}

impl Call {
    fn read(item: &mut Object<'_>, id: Option<&str>, is_free_form: bool) -> Self {
        let own = word(item, "call_id").filter(|id| !id.is_empty());
        let arguments = item.take_raw(if is_free_form { "input" } else { "arguments" });
        // Some servers write the object itself.
        let arguments = arguments.map(|raw| text(raw).unwrap_or_else(|| raw.get().to_owned()));
        Self {
            id: own.or_else(|| id.map(str::to_owned)),
            name: word(item, "name").filter(|name| !name.is_empty()),
            arguments: arguments.unwrap_or_default(),
            is_free_form,
        }
    }
}

impl Part {
    /// Reads one.
    pub fn read(raw: &RawValue) -> Self {
        let Ok(mut part) = Object::from_raw(raw, Spelling::Exact) else {
            return match text(raw) {
                Some(text) => Self::Text { text, annotations: Vec::new(), lost: Vec::new() },
                None => Self::Other("output[].content[]".into()),
            };
        };
        let kind = word(&mut part, "type").unwrap_or_default();
        match kind.as_str() {
            "output_text" | "text" | "" => {
                let (annotations, others) = part.take_raw("annotations").map(annotations).unwrap_or_default();
                let has_logprobs = part.take_raw("logprobs").is_some_and(|raw| raw.get() != "[]");
                let lost = [("annotations", others), ("logprobs", has_logprobs)];
                let lost = lost.into_iter().filter(|(_, is_lost)| *is_lost);
                Self::Text {
                    text: word(&mut part, "text").unwrap_or_default(),
                    annotations,
                    lost: lost.map(|(name, _)| format!("output[].content[].{name}").into()).collect(),
                }
            }
            "refusal" => Self::Refusal(word(&mut part, "refusal").unwrap_or_default()),
            other => Self::Other(format!("output[].content[].{other}").into()),
        }
    }
}

impl Annotation {
    /// Reads one; none if it is no source on the web.
    pub fn read(raw: &RawValue) -> Option<Self> {
        let mut annotation = Object::from_raw(raw, Spelling::Exact).ok()?;
        let url = word(&mut annotation, "url").filter(|url| !url.is_empty())?;
        let title = word(&mut annotation, "title");
        let mut place = |name: &str| annotation.take_raw(name).and_then(|raw| raw.get().parse::<u64>().ok());
        let start = place("start_index").unwrap_or(0);
        let end = place("end_index").unwrap_or(start).max(start);
        Some(Self { url, title, start, end })
    }

    /// The source, given how many characters of visible text came before its part.
    pub fn citation(&self, before: u64) -> Citation {
        let span = before.saturating_add(self.start)..before.saturating_add(self.end);
        Citation { span, url: Some(self.url.clone()), title: self.title.clone(), native: None }
    }
}

fn parts(item: &mut Object<'_>) -> Vec<Part> {
    let content = item.take_raw("content").map(|raw| elements(raw).unwrap_or_else(|_| vec![raw]));
    content.unwrap_or_default().into_iter().map(Part::read).collect()
}

/// Sources on the web, and whether there are others.
fn annotations(raw: &RawValue) -> (Vec<Annotation>, bool) {
    let list = elements(raw).unwrap_or_default();
    let known: Vec<Annotation> = list.iter().filter_map(|raw| Annotation::read(raw)).collect();
    let others = known.len() < list.len();
    (known, others)
}

/// The picture of a finished call of the upstream's own tool.
fn picture(item: &mut Object<'_>) -> Option<Block> {
    let data = word(item, "result").filter(|data| !data.is_empty())?;
    let format = word(item, "output_format").unwrap_or_else(|| "png".to_owned());
    let source = media::inline(&format!("image/{format}"), &data);
    Some(Block::Image(Media { source, detail: None, state: None, cache: None }))
}

fn word(object: &mut Object<'_>, name: &str) -> Option<String> {
    text(object.take_raw(name)?)
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str::<Loose<'_>>(raw.get()).ok().map(Loose::into_string)
}
