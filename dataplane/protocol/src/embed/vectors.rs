//! The vectors of an answer, on their way from one dialect to another.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::{
    codec::json::write::{self, Elements},
    problem::{Problem, ProblemKind},
};

/// What an answer holds.
pub(super) struct Vectors<'a> {
    /// One for each text, in the order of the texts.
    pub(super) values: Vec<Vector<'a>>,
    /// Input tokens, if the upstream counted.
    pub(super) input_tokens: Option<u64>,
    /// The model that answered.
    pub(super) model: Option<String>,
}

/// One vector, as the upstream wrote it.
pub(super) enum Vector<'a> {
    /// A JSON array of numbers.
    Numbers(&'a RawValue),
    /// Little-endian 32-bit floats in base64, with the quotes.
    Base64(&'a RawValue),
}

/// What the answer to a call must know of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The texts in it, by their numbers in the client's request.
    pub(crate) texts: Range<usize>,
    /// Whether the client wants its vectors in base64.
    pub(crate) base64: bool,
}

impl Vectors<'_> {
    /// All of them as elements of a JSON list, without its brackets; `put` writes the one of this position.
    pub(super) fn elements(
        &self,
        put: impl Fn(&mut Elements<'_>, usize, &Vector<'_>) -> Result<(), Problem>,
    ) -> Result<String, Problem> {
        let mut written = Ok(());
        let elements = write::elements(|list| {
            written = self.values.iter().enumerate().try_for_each(|(position, vector)| put(list, position, vector));
        });
        written.map(|()| elements)
    }
}

impl Vector<'_> {
    /// As a JSON array of numbers.
    pub(super) fn numbers(&self) -> Result<String, Problem> {
        match self {
            Self::Numbers(raw) => Ok(raw.get().to_owned()),
            Self::Base64(raw) => {
                let text: String = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
                let bytes = STANDARD.decode(text).map_err(|_| unreadable())?;
                let (floats, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(unreadable());
                }
                let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                // What is not finite has no place in JSON.
                if !floats.iter().all(|float| float.is_finite()) {
                    return Err(unreadable());
                }
                serde_json::to_string(&floats).map_err(|_| unreadable())
            }
        }
    }

    /// As little-endian 32-bit floats in base64, with quotes.
    pub(super) fn base64(&self) -> Result<String, Problem> {
        match self {
            Self::Base64(raw) => Ok(raw.get().to_owned()),
            Self::Numbers(raw) => {
                let floats: Vec<f32> = serde_json::from_str(raw.get()).map_err(|_| unreadable())?;
                let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
                Ok(format!("\"{}\"", STANDARD.encode(bytes)))
            }
        }
    }
}

/// The answer is none of its dialect.
pub(super) fn unreadable() -> Problem {
    Problem::new(ProblemKind::Upstream, "the upstream's answer holds no embeddings that can be read")
}

/// A vector is missing or one too many: which text each belongs to cannot be known.
pub(super) fn miscounted(vectors: usize, texts: usize) -> Problem {
    Problem::new(ProblemKind::Upstream, format!("the upstream answered {texts} texts with {vectors} embeddings"))
}
