//! Reasoning state of other vendors in a client's history (docs/protocols/reasoning.md).
//!
//! An Anthropic client keeps a thinking block with its `signature` and sends both back; a Responses client does so with a
//! reasoning item and its `encrypted_content`. So foreign state travels in that member as
//! `gw1.<family>.<kind>.<base64url>`, which no vendor issues. State that belongs to a call or to visible text travels in
//! an empty block or item beside it. Native state is never tagged; what has no tag is native.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{dialect::Family, ir::Opaque};

/// What another vendor's state begins with.
pub const TAG: &str = "gw1.";
/// Reasoning whose upstream issued no state at all.
const NO_FAMILY: &str = "none";

/// What the state hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The reasoning that carries it.
    Thought,
    /// Reasoning whose text its vendor hid.
    Redacted,
    /// The text right before.
    TextBefore,
    /// The call right behind.
    CallBehind,
    /// The call right before, where the state came after the call had gone out.
    CallBefore,
    /// What the vendor ran on its side right before: all of it.
    Hosted,
}

/// What a tagged text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What the state hangs on.
    pub place: Place,
    /// The state; none where the upstream issued none.
    pub state: Option<Opaque>,
}

/// The text that carries this state.
pub fn write(place: Place, state: Option<&Opaque>) -> String {
    let family = state.map_or_else(|| NO_FAMILY.to_owned(), |state| state.family.to_string());
    let payload = state.map(|state| URL_SAFE_NO_PAD.encode(&state.value)).unwrap_or_default();
    format!("{TAG}{family}.{}.{payload}", place.word())
}

/// What a text carries; none if it is native.
pub fn read(signature: &str) -> Option<Carried> {
    let mut parts = signature.strip_prefix(TAG)?.splitn(3, '.');
    let (family, kind, payload) = (parts.next()?, parts.next()?, parts.next()?);
    let place = Place::from_word(kind)?;
    let family = match family {
        "openai" => Family::OpenAi,
        "anthropic" => Family::Anthropic,
        "gemini" => Family::Gemini,
        NO_FAMILY => return Some(Carried { place, state: None }),
        _ => return None,
    };
    let value = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let state = Some(Opaque { family, value });
    Some(Carried { place, state })
}

// === impl Carried ===

impl Carried {
    /// Whether the state is that of the reasoning that carries it.
    pub fn belongs_here(&self) -> bool {
        matches!(self.place, Place::Thought | Place::Redacted)
    }
}

// === impl Place ===

impl Place {
    const ALL: [Self; 6] =
        [Self::Thought, Self::Redacted, Self::TextBefore, Self::CallBehind, Self::CallBefore, Self::Hosted];

    const fn word(self) -> &'static str {
        match self {
            Self::Thought => "thought",
            Self::Redacted => "redacted",
            Self::TextBefore => "text",
            Self::CallBehind => "call",
            Self::CallBefore => "called",
            Self::Hosted => "hosted",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::{Carried, Place, read, write};
    use crate::{dialect::Family, ir::Opaque};

    #[test]
    fn state_comes_back_as_it_went() {
        let state = Opaque { family: Family::Gemini, value: "a.b/c+d==".to_owned() };
        for place in Place::ALL {
            let signature = write(place, Some(&state));
            assert!(signature.starts_with("gw1.gemini."), "{signature}");
            let expected = Carried { place, state: Some(state.clone()) };
            assert_eq!(read(&signature), Some(expected));
        }
        let none = write(Place::Thought, None);
        assert_eq!(read(&none).map(|carried| carried.state), Some(None));
    }

    #[test]
    fn native_signatures_are_not_ours() {
        for native in ["", "EqQBCkYIBxgCKkD", "gw1.", "gw1.gemini.thought.***", "gw1.x.thought.", "gw2.gemini.thought."]
        {
            assert_eq!(read(native), None, "{native}");
        }
    }
}
