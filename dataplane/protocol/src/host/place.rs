//! What is asked of a host, and where it says that this is to be had.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use super::surface::Surface;
use crate::{codec::Head, dialect::Operation, framing::Framing, wire::Wire};

/// Longest model id in a path, in bytes: far more than any vendor's (an AWS ARN has up to 2,048 characters), and far less
/// than the 64 KiB that a URL may have, even with every byte encoded.
pub const LONGEST_MODEL: usize = 2_048;

/// Everything but RFC 3986's unreserved characters. A colon is encoded too: Google's verbs are split off at one.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The model id cannot stand in an upstream's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeModel {
    /// More than [`LONGEST_MODEL`] bytes.
    #[error("`model` is longer than {LONGEST_MODEL} bytes, which no upstream path can carry")]
    TooLong,
    /// A control character, or one that delimits parts of a URL.
    #[error(r"`model` may not hold \, %, ?, #, ; or control characters: it becomes part of the upstream's path")]
    Character,
    /// A segment that is empty or consists of dots.
    #[error("`model` may not hold empty segments, `.` or `..`: it becomes part of the upstream's path")]
    Segment,
}

/// What of a request decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which operation.
    pub operation: Operation,
    /// The model id at the upstream.
    pub model: &'a str,
    /// How the answer is wanted.
    pub framing: Framing,
    /// What of the client's query is passed on.
    pub query: Option<&'static str>,
    /// The client's head, where it speaks the same dialect as the upstream.
    pub head: Option<&'a Head>,
    /// On which surface, where the host has several.
    pub surface: Option<Surface>,
}

/// Where and how an operation is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path and query, below the provider's base URL.
    pub path: String,
    /// Headers that the host asks for, beyond content type and credentials.
    pub headers: Vec<(&'static str, String)>,
    /// How the answer will be framed.
    pub wire: Wire,
    /// The path names the model, and not the body.
    pub model_in_path: bool,
}

/// Whether a model id can stand in a path.
///
/// # Errors
/// When some reader of the path could take it for more than a model id.
pub fn check(model: &str) -> Result<(), UnsafeModel> {
    if model.len() > LONGEST_MODEL {
        return Err(UnsafeModel::TooLong);
    }
    if model.chars().any(|letter| letter.is_control() || r"\%?#;".contains(letter)) {
        return Err(UnsafeModel::Character);
    }
    // Some readers trim spaces around a segment before they compare it with `..`.
    let is_hollow = |segment: &str| segment.chars().all(|letter| letter == '.' || letter.is_whitespace());
    if model.split('/').any(is_hollow) { Err(UnsafeModel::Segment) } else { Ok(()) }
}
