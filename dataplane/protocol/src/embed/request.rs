//! What a request for embeddings asks for.

use std::borrow::Cow;

/// A request, in no dialect.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The texts, in order.
    pub(crate) texts: Vec<Cow<'a, str>>,
    /// How many members each vector is to have; the model's own number if nothing is said.
    pub(crate) dimensions: Option<u64>,
    /// Whether the vectors are wanted as little-endian 32-bit floats in base64 (OpenAI).
    pub(crate) base64: bool,
    /// What the vectors are for (Gemini's `taskType`).
    pub(crate) task: Option<Cow<'a, str>>,
    /// The same in Cohere's words (`input_type`), which some clients of OpenAI's API add to a request.
    pub(crate) input_type: Option<Cow<'a, str>>,
    /// The title of a document (Gemini).
    pub(crate) title: Option<Cow<'a, str>>,
}

/// Most texts in one request: OpenAI's own limit.
pub(super) const MOST_TEXTS: usize = 2_048;
