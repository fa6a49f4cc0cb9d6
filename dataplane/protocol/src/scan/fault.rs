//! What is wrong with a body, and where.

use super::bounds::MAX_MEMBERS;

/// The body is not the JSON object that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {position}")]
pub struct NotJson {
    /// Offset of the offending byte, from 0.
    pub position: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong at one byte of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body stops in the middle.
    #[error("unexpected end")]
    End,
    /// A value was due.
    #[error("expected a value")]
    Value,
    /// The body as a whole has to be an object.
    #[error("expected an object")]
    Object,
    /// A member name was due.
    #[error("expected a member name in double quotes")]
    Name,
    /// A colon was due.
    #[error("expected a colon")]
    Colon,
    /// A comma or the end of the array or object was due.
    #[error("expected a comma or a closing bracket")]
    Separator,
    /// A number is not written as JSON writes numbers.
    #[error("malformed number")]
    Number,
    /// A backslash is followed by something that is no escape.
    #[error("malformed escape")]
    Escape,
    /// A control character stands unescaped in a string.
    #[error("unescaped control character in a string")]
    Control,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Too many brackets inside each other.
    #[error("nested too deeply")]
    Depth,
    /// The body has more members than [`MAX_MEMBERS`].
    #[error("more than {MAX_MEMBERS} members")]
    Members,
    /// Something follows the document.
    #[error("unexpected text after the document")]
    Trailing,
}
