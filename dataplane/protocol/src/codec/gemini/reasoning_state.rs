//! Reasoning state in `thoughtSignature` (docs/protocols/reasoning.md).
//!
//! The field is bytes, so a Gemini client sends back base64 and nothing else. State of other vendors travels in it as the
//! base64 of `gw1.<family>.<kind>.<value>`; Google's own state is never tagged. The phrase that stands for a missing
//! signature is no state at all, and means nothing to anyone but Google.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{codec::media::standard_base64, dialect::Family, ir::Opaque};

/// Google's documented stand-in for a signature that is not there.
const DUMMY: &str = "skip_thought_signature_validator";
const TAG: &str = "gw1";

/// What a signature in a client's history says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The state.
    pub state: Opaque,
    /// Its vendor hid the reasoning's text.
    pub redacted: bool,
}

/// The stand-in as it is sent: base64, since the field is bytes.
pub fn dummy() -> String {
    STANDARD.encode(DUMMY)
}

/// Reads a signature; none if it is the stand-in.
pub fn read(signature: &str) -> Option<Carried> {
    if signature == DUMMY {
        return None;
    }
    let canonical = standard_base64(signature);
    let text = STANDARD.decode(canonical.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref() {
        Some(DUMMY) => None,
        Some(text) if text.starts_with(TAG) => Some(untag(text).unwrap_or_else(|| native(&canonical))),
        _ => Some(native(&canonical)),
    }
}

/// A signature that an upstream sent, in canonical form.
pub fn native(signature: &str) -> Carried {
    let value = standard_base64(signature).into_owned();
    Carried { state: Opaque { family: Family::Gemini, value }, redacted: false }
}

/// Writes a signature for a client.
pub fn write(state: &Opaque, redacted: bool) -> String {
    if state.family == Family::Gemini {
        return state.value.clone();
    }
    let kind = if redacted { "redacted" } else { "thought" };
    STANDARD.encode(format!("{TAG}.{}.{kind}.{}", state.family, state.value))
}

fn untag(text: &str) -> Option<Carried> {
    let mut parts = text.splitn(4, '.');
    let (_, family, kind, value) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let family = match family {
        "openai" => Family::OpenAi,
        "anthropic" => Family::Anthropic,
        _ => return None,
    };
    Some(Carried { state: Opaque { family, value: value.to_owned() }, redacted: kind == "redacted" })
}

#[cfg(test)]
mod tests {
    use super::{dummy, read, write};
    use crate::{dialect::Family, ir::Opaque};

    #[test]
    fn foreign_state_comes_back_and_native_state_is_untouched() {
        let foreign = Opaque { family: Family::Anthropic, value: "Eq.+/=".into() };
        for redacted in [false, true] {
            let carried = read(&write(&foreign, redacted)).unwrap();
            assert_eq!((carried.state, carried.redacted), (foreign.clone(), redacted));
        }
        let native = Opaque { family: Family::Gemini, value: "AAE=".into() };
        assert_eq!(write(&native, false), "AAE=");
        assert_eq!(read("AAE").unwrap().state, native, "unpadded");
    }

    #[test]
    fn hard_case_265_the_stand_in_is_no_state() {
        assert_eq!(read(&dummy()), None);
        assert_eq!(read("skip_thought_signature_validator"), None);
    }
}
