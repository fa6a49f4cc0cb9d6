//! What a turn is made of.

use std::ops::Range;

use super::Raw;
use crate::dialect::Family;

/// One piece of a turn, in order.
#[derive(Clone, Debug)]
pub enum Block {
    /// Words.
    Text(Text),
    /// A picture.
    Image(Media),
    /// A sound.
    Audio(Media),
    /// A film.
    Video(Media),
    /// A PDF or another document.
    Document(Document),
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// The application answers a call.
    ToolResult(ToolResult),
    /// The model's reasoning, visible or opaque.
    Reasoning(Reasoning),
    /// The model declines.
    Refusal(String),
    /// Something of this family that the IR has no name for.
    Unknown(Unknown),
}

/// Words, with the marks that may hang on them.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// The words.
    pub text: String,
    /// End of a cacheable prefix.
    pub cache: Option<CacheMark>,
    /// What the words rest on.
    pub citations: Vec<Citation>,
    /// Reasoning state that a vendor attached to visible text (Gemini's `thoughtSignature`).
    pub state: Option<Opaque>,
}

/// A source that words rest on.
#[derive(Clone, Debug)]
pub struct Citation {
    /// Which characters of the candidate's visible text, counted over all of its text blocks. In a history, where nobody
    /// counts, it is empty.
    pub span: Range<u64>,
    /// Where the source is on the web.
    pub url: Option<String>,
    /// What the source is called.
    pub title: Option<String>,
    /// As its family wrote it.
    pub native: Option<(Family, Raw)>,
}

/// A prompt-cache breakpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMark {
    /// Time to live as written (`5m`, `1h`); none means the vendor's default.
    pub ttl: Option<String>,
}

/// An image, audio or video part.
#[derive(Clone, Debug)]
pub struct Media {
    /// The bytes, or where they are.
    pub source: MediaSource,
    /// OpenAI's `detail` for images.
    pub detail: Option<String>,
    /// Reasoning state that hangs on it (Gemini).
    pub state: Option<Opaque>,
    /// End of a cacheable prefix.
    pub cache: Option<CacheMark>,
}

/// Where media comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// In the request.
    Inline {
        /// Media type without parameters, such as `image/png`.
        mime: String,
        /// Standard base64 with padding.
        data: String,
    },
    /// Somewhere the upstream can fetch it.
    Url {
        /// The address as written.
        url: String,
        /// Media type, if stated.
        mime: Option<String>,
    },
    /// An id that one vendor's file store issued; it means nothing to another.
    FileId {
        /// Whose.
        family: Family,
        /// The id.
        id: String,
    },
}

/// A document part.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes, or where they are.
    pub source: MediaSource,
    /// File name or title.
    pub title: Option<String>,
    /// Anthropic's `context`.
    pub context: Option<String>,
    /// Whether citations are asked for.
    pub citations: Option<bool>,
    /// End of a cacheable prefix.
    pub cache: Option<CacheMark>,
}

/// A call of a tool by the model.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// Pairs the call with its result. Decoders invent one where the dialect has none (deterministically, by position).
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON text as the model wrote it; may be empty, partial or not an object.
    pub arguments: String,
    /// Reasoning state that hangs on this call (Gemini).
    pub state: Option<Opaque>,
    /// End of a cacheable prefix.
    pub cache: Option<CacheMark>,
}

/// The application's answer to a call.
#[derive(Clone, Debug)]
pub struct ToolResult {
    /// The call it answers.
    pub call_id: String,
    /// The tool's name, where the dialect says it (Gemini); encoders that need it look the call up.
    pub name: Option<String>,
    /// Text, images, documents.
    pub content: Vec<Block>,
    /// Whether the tool failed. `Some(false)` is not the same as absent on the wire, but means the same.
    pub is_error: Option<bool>,
    /// End of a cacheable prefix.
    pub cache: Option<CacheMark>,
}

/// Reasoning of the model.
#[derive(Clone, Debug)]
pub struct Reasoning {
    /// The visible part; may be empty.
    pub text: String,
    /// What the vendor needs back unchanged.
    pub state: Option<Opaque>,
    /// The vendor hid the text (`redacted_thinking`).
    pub redacted: bool,
}

/// Reasoning state that only its issuer can read. Never inspected; sent back only to the family that issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// Who issued it.
    pub family: Family,
    /// As it was on the wire. Empty where a Chat server gave words without state: then it only names the issuer.
    pub value: String,
}

/// A block kept as it was, for targets of the same family.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// Whose dialect.
    pub family: Family,
    /// Its type as written, for messages.
    pub kind: String,
    /// The whole block.
    pub raw: Raw,
}
