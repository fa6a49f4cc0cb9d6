//! Identifiers on their way between dialects with different alphabets (docs/protocols/mapping.md).
//!
//! Call ids are rewritten by a pure function, applied to the call and to its result alike, so pairs stay pairs without
//! any state. Tool names are rewritten by a map made for one request, because the answer must come back under the
//! client's name; the map refuses collisions. A legal identifier is never touched.

use sha2::{Digest, Sha256};
use std::{borrow::Cow, collections::HashSet};

use crate::{
    codec::NameMap,
    ir::{Block, Request, ToolChoice},
};

/// Which identifiers a dialect takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alphabet {
    /// Most characters.
    max: usize,
    /// Whether it is exactly so many, all of them letters and digits.
    exact: bool,
    /// Characters beyond ASCII letters, digits, `_` and `-`.
    extra: &'static str,
    /// Whether the first character must be a letter or `_`.
    starts_with_letter: bool,
}

/// Call ids toward Chat servers: any characters, 40 of them at most on some models.
pub const CHAT_CALL_ID: Alphabet =
    Alphabet { max: 40, exact: false, extra: " !\"#$%&'()*+,./:;<=>?@[\\]^`{|}~", starts_with_letter: false };
/// Call ids toward Mistral's models, at Mistral and wherever their chat template is used: nine letters and digits.
pub const MISTRAL_CALL_ID: Alphabet = Alphabet { max: 9, exact: true, extra: "", starts_with_letter: false };
/// Call ids on Responses: any characters, at most 64.
pub const RESPONSES_CALL_ID: Alphabet = Alphabet { max: 64, ..CHAT_CALL_ID };
/// `tool_use.id` on Anthropic: no stated length.
pub const ANTHROPIC_CALL_ID: Alphabet =
    Alphabet { max: usize::MAX, exact: false, extra: "", starts_with_letter: false };
/// `functionCall.id` on Gemini: nothing is stated, so only control characters and others beyond ASCII are replaced.
pub const GEMINI_CALL_ID: Alphabet = Alphabet { max: usize::MAX, ..CHAT_CALL_ID };
/// `toolUseId` on Bedrock.
pub const BEDROCK_CALL_ID: Alphabet = Alphabet { max: 64, exact: false, extra: ".:", starts_with_letter: false };
/// Tool names on Chat and Responses, and on Bedrock.
pub const OPENAI_TOOL_NAME: Alphabet = Alphabet { max: 64, exact: false, extra: "", starts_with_letter: false };
/// Tool names on Anthropic.
pub const ANTHROPIC_TOOL_NAME: Alphabet = Alphabet { max: 128, exact: false, extra: "", starts_with_letter: false };
/// Tool names on Gemini.
pub const GEMINI_TOOL_NAME: Alphabet = Alphabet { max: 128, exact: false, extra: ".:", starts_with_letter: true };

/// Hex digits of the hash that keeps rewritten identifiers apart.
const HASH_DIGITS: usize = 8;
/// Hex digits of an invented call id: with its prefix 29 characters, below every known bound.
const INVENTED_DIGITS: usize = 24;
/// Longest id of an answer, in bytes. Vendors' have 60 at most, other gateways' some hundreds.
const MAX_ANSWER_ID: usize = 1024;
/// What another gateway appends to a call id to smuggle reasoning state (docs/protocols/reasoning.md, rule 3).
const SMUGGLED: &str = "__thought__";

/// A call id that the dialect takes: as it is if legal, else with illegal characters replaced, cut to length, and with a
/// hash of the original behind, so that two ids which differ only in illegal characters stay two.
pub fn call_id(id: &str, alphabet: Alphabet) -> Cow<'_, str> {
    let id = id.split_once(SMUGGLED).map_or(id, |(own, _)| own);
    if alphabet.takes(id) { Cow::Borrowed(id) } else { Cow::Owned(alphabet.rewrite(id)) }
}

/// An id for a call that came without one: the same for the same `seed` and `position`, and for nothing else. `seed`
/// tells answers apart (an upstream's response id, or a turn's number in a history).
pub fn invented_call_id(seed: &str, position: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(seed.as_bytes());
    hash.update(b"\0");
    hash.update(position.to_string().as_bytes());
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(INVENTED_DIGITS);
    format!("call_{digits}")
}

/// An upstream's id of its answer, unless it is too long to be repeated in every event.
pub fn of_answer(id: Option<String>) -> Option<String> {
    id.filter(|id| id.len() <= MAX_ANSWER_ID)
}

/// `id` if it has the prefix, else `fallback` with the prefix in front (`msg_` on Anthropic, `chatcmpl-` on Chat).
pub fn prefixed(id: Option<&str>, prefix: &str, fallback: &str) -> String {
    match id {
        Some(id) if id.starts_with(prefix) => id.to_owned(),
        _ => format!("{prefix}{fallback}"),
    }
}

/// The names that have to change for this alphabet: of definitions first, then of `tool_choice` and of history, where
/// tools may stand that are no longer on offer.
pub fn tool_names(request: &Request, alphabet: Alphabet) -> NameMap {
    let mut names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    match &request.tool_choice {
        Some(ToolChoice::Named(name)) => names.push(name),
        Some(ToolChoice::Allowed { names: allowed, .. }) => names.extend(allowed.iter().map(String::as_str)),
        Some(ToolChoice::Auto | ToolChoice::None | ToolChoice::Required) | None => {}
    }
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        if let Block::ToolCall(call) = block {
            names.push(&call.name);
        }
    }
    map_names(&names, alphabet)
}

/// A map for `names`, in order: a legal name keeps its place, an illegal one gets a free one.
fn map_names(names: &[&str], alphabet: Alphabet) -> NameMap {
    let mut map = NameMap::default();
    let own: HashSet<&str> = names.iter().copied().collect();
    let is_free = |map: &NameMap, candidate: &str| !map.is_taken(candidate) && !own.contains(candidate);
    for &name in names {
        if name.is_empty() || alphabet.takes(name) || map.sent(name) != name {
            continue;
        }
        let mut candidate = alphabet.rewrite(name);
        let mut round = 0_u32;
        while !is_free(&map, &candidate) {
            round = round.saturating_add(1);
            candidate = alphabet.rewrite(&format!("{name}\0{round}"));
        }
        map.insert(name, &candidate);
    }
    map
}

// === impl Alphabet ===

impl Alphabet {
    /// Whether the identifier is legal as it is.
    pub fn takes(self, id: &str) -> bool {
        if self.exact {
            return id.len() == self.max && id.bytes().all(|letter| letter.is_ascii_alphanumeric());
        }
        !id.is_empty()
            && id.len() <= self.max
            && id.chars().all(|letter| self.has(letter))
            && (!self.starts_with_letter || id.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'))
    }

    fn has(self, letter: char) -> bool {
        letter.is_ascii_alphanumeric() || letter == '_' || letter == '-' || self.extra.contains(letter)
    }

    fn rewrite(self, id: &str) -> String {
        let mut hash = hex::encode(Sha256::digest(id.as_bytes()));
        if self.exact {
            hash.truncate(self.max);
            return hash;
        }
        hash.truncate(HASH_DIGITS);
        let room = self.max.saturating_sub(HASH_DIGITS + 1);
        let mut legal = String::new();
        if self.starts_with_letter && !id.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            legal.push('_');
        }
        // One character in, one ASCII character out: characters are bytes from here on.
        legal.extend(id.chars().map(|letter| if self.has(letter) { letter } else { '_' }));
        legal.truncate(room);
        format!("{legal}_{hash}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_ids_are_kept() {
        for (id, alphabet) in [
            ("toolu_01AbC-d", ANTHROPIC_CALL_ID),
            ("call_1", CHAT_CALL_ID),
            ("functions.Bash:0", CHAT_CALL_ID),
            ("a.b:c", GEMINI_TOOL_NAME),
        ] {
            let alphabet: Alphabet = alphabet;
            assert!(alphabet.takes(id), "{id}");
            assert_eq!(call_id(id, alphabet), id);
        }
    }

    #[test]
    fn hard_case_116_long_ids_fit_and_stay_apart() {
        let (long, other) = ("x".repeat(90), format!("{}y", "x".repeat(89)));
        let sent = call_id(&long, RESPONSES_CALL_ID);
        assert_eq!(sent.len(), 64);
        assert_eq!(sent, call_id(&long, RESPONSES_CALL_ID));
        assert_ne!(sent, call_id(&other, RESPONSES_CALL_ID));
    }

    #[test]
    fn mistrals_ids_have_nine_letters_and_digits() {
        assert_eq!(call_id("D681PevKs", MISTRAL_CALL_ID), "D681PevKs");
        let (one, other) = (call_id("toolu_01AbC", MISTRAL_CALL_ID), call_id("toolu_01AbD", MISTRAL_CALL_ID));
        assert!(MISTRAL_CALL_ID.takes(&one) && MISTRAL_CALL_ID.takes(&other), "{one} {other}");
        assert_ne!(one, other);
    }

    #[test]
    fn hard_case_278_smuggled_state_is_cut_off() {
        assert_eq!(call_id("call_7__thought__EpoBCp", ANTHROPIC_CALL_ID), "call_7");
    }

    #[test]
    fn illegal_characters_do_not_make_two_ids_one() {
        let (dot, colon) = (call_id("f.Bash", ANTHROPIC_CALL_ID), call_id("f:Bash", ANTHROPIC_CALL_ID));
        assert!(dot.starts_with("f_Bash_") && colon.starts_with("f_Bash_"));
        assert_ne!(dot, colon);
        assert!(ANTHROPIC_CALL_ID.takes(&call_id("größe", ANTHROPIC_CALL_ID)));
        assert!(ANTHROPIC_CALL_ID.takes(&call_id("", ANTHROPIC_CALL_ID)));
    }

    #[test]
    fn hard_case_168_invented_ids_are_deterministic() {
        assert_eq!(invented_call_id("r1", 0), invented_call_id("r1", 0));
        assert_ne!(invented_call_id("r1", 0), invented_call_id("r1", 1));
        assert_ne!(invented_call_id("r1", 0), invented_call_id("r2", 0));
        assert!(CHAT_CALL_ID.takes(&invented_call_id("r1", 12)));
    }

    #[test]
    fn hard_case_173_long_names_come_back() {
        let name = "n".repeat(80);
        let map = map_names(&[&name, "ok"], OPENAI_TOOL_NAME);
        let sent = map.sent(&name);
        assert_eq!(sent.len(), 64);
        assert_eq!(map.original(sent), name);
        assert_eq!(map.sent("ok"), "ok");
    }

    #[test]
    fn a_rewritten_name_never_takes_another_tools_name() {
        let taken = OPENAI_TOOL_NAME.rewrite("a.b");
        let map = map_names(&["a.b", &taken], OPENAI_TOOL_NAME);
        assert_ne!(map.sent("a.b"), taken);
        assert_eq!(map.sent(&taken), taken);
        assert!(OPENAI_TOOL_NAME.takes(map.sent("a.b")));
        assert!(GEMINI_TOOL_NAME.takes(map_names(&["1st tool"], GEMINI_TOOL_NAME).sent("1st tool")));
    }
}
