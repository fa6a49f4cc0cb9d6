//! The name of a kind that this version does not know.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum length of the name of a kind in bytes. With its length it fits into 24 bytes, which is what a `String` takes.
const MAX_LENGTH: usize = 23;

/// A name of lower-case letters, digits and dashes. Stored inline, since there is one per resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnknownKind {
    letters: [u8; MAX_LENGTH],
    length: u8,
}

/// The text is not the name of a kind.
#[derive(Debug, thiserror::Error)]
#[error("not the name of a kind: 1 to {MAX_LENGTH} lower-case letters, digits and dashes")]
pub struct NotAKind;

impl UnknownKind {
    /// The name as it is on the wire.
    pub fn as_str(&self) -> &str {
        let letters = self.letters.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default()
    }
}

impl TryFrom<String> for UnknownKind {
    type Error = NotAKind;

    fn try_from(name: String) -> Result<Self, NotAKind> {
        let fits = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
        let mut letters = [0; MAX_LENGTH];
        match letters.get_mut(..name.len()) {
            Some(place) if !name.is_empty() && name.bytes().all(fits) => place.copy_from_slice(name.as_bytes()),
            _ => return Err(NotAKind),
        }
        Ok(Self { letters, length: u8::try_from(name.len()).map_err(|_| NotAKind)? })
    }
}

impl From<UnknownKind> for String {
    fn from(kind: UnknownKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Debug for UnknownKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}
