//! Reasoning state inside Chat messages (docs/protocols/reasoning.md): `reasoning_details` for every family, and
//! Google's own `extra_content.google.thought_signature` for what hangs on a call.
//!
//! The client is the storage: it sends back what it was given, or nothing. A detail says in `format` whose it is; one of
//! an unknown format cannot be given to anyone and is left to the caller to report.

use super::wire;
use crate::{
    codec::{
        Malformed,
        json::{
            read::{Object, Spelling, elements},
            write::Elements,
        },
        responses::reasoning_state,
    },
    dialect::Family,
    ir::{Block, Opaque, Reasoning},
};

/// The reasoning of one message.
#[derive(Debug, Default)]
pub struct Reasoned {
    /// Blocks of reasoning, in order.
    pub blocks: Vec<Block>,
    /// State that hangs on the visible text.
    pub on_text: Option<Opaque>,
    /// Details whose format nobody knows and that hold no words.
    pub unknown: usize,
}

/// The state of reasoning that came without any: it names a Chat server as the issuer, so that the words go back to it
/// and to nobody else.
pub const ISSUER: Opaque = Opaque { family: Family::OpenAi, value: String::new() };

/// Names the issuer of an upstream's reasoning that came without state.
pub fn name_issuer(block: &mut Block) {
    if let Block::Reasoning(reasoning) = block
        && !reasoning.redacted
    {
        reasoning.state.get_or_insert(ISSUER);
    }
}

/// What one detail says.
#[derive(Debug)]
pub enum Detail {
    /// A block of reasoning.
    Reasoning(Reasoning),
    /// State without words of a family that hangs it on the visible text (Gemini).
    OnText(Opaque),
}

/// How `format` names a family.
const fn format(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "openai-responses-v1",
        Family::Anthropic => "anthropic-claude-v1",
        Family::Gemini => "google-gemini-v1",
        // Issues none: what its models sign is their vendor's.
        Family::Bedrock => "bedrock-converse-v1",
    }
}

fn family(format: &str) -> Option<Family> {
    match format.split('-').next()? {
        "openai" => Some(Family::OpenAi),
        "anthropic" => Some(Family::Anthropic),
        "google" => Some(Family::Gemini),
        _ => None,
    }
}

/// Takes the reasoning off a message: what `reasoning_details` say, and the plain text of one of its two names where
/// the details hold no words of their own (some servers send both, some send only one).
/// What has another type counts among the unknown.
pub fn take(message: &mut Object<'_>) -> Reasoned {
    let (mut reasoned, mut blocks) = (Reasoned::default(), Vec::new());
    let mut word = |name: &str| {
        let raw = message.take_raw(name)?;
        let text = wire::text(raw);
        reasoned.unknown = reasoned.unknown.saturating_add(usize::from(text.is_none()));
        text
    };
    let (plain, alias) = (word("reasoning_content"), word("reasoning"));
    let details = message.take_raw("reasoning_details").map(|raw| elements(raw).unwrap_or_else(|_| vec![raw]));
    for detail in details.unwrap_or_default() {
        match Object::from_raw(detail, Spelling::Exact).and_then(decode) {
            Ok(Some(Detail::Reasoning(reasoning))) => match blocks.last_mut() {
                Some(told) if belongs(&reasoning, told) => told.state = reasoning.state,
                _ => blocks.push(reasoning),
            },
            Ok(Some(Detail::OnText(state))) => reasoned.on_text = Some(state),
            Ok(None) | Err(_) => reasoned.unknown = reasoned.unknown.saturating_add(1),
        }
    }
    let text = [plain, alias].into_iter().flatten().find(|text| !text.is_empty());
    if let Some(text) = text.filter(|_| blocks.iter().all(|block| block.text.is_empty())) {
        match blocks.iter_mut().find(|block| !block.redacted) {
            Some(signed) => signed.text = text,
            None => blocks.insert(0, Reasoning { text, state: None, redacted: false }),
        }
    }
    reasoned.blocks = blocks.into_iter().map(Block::Reasoning).collect();
    reasoned
}

/// Whether a detail without words holds the state of the reasoning before it, as OpenRouter writes OpenAI's: the summary
/// first, the blob behind it.
fn belongs(detail: &Reasoning, told: &Reasoning) -> bool {
    let is_openai = detail.state.as_ref().is_some_and(|state| state.family == Family::OpenAi);
    is_openai && detail.text.is_empty() && told.state.is_none() && !told.redacted
}

/// Reads one element of `reasoning_details`; none if it belongs to nobody we know and holds no words.
pub fn decode(mut detail: Object<'_>) -> Result<Option<Detail>, Malformed> {
    let kind: String = detail.take("type")?.unwrap_or_default();
    let text: Option<String> = match detail.take("text")? {
        Some(text) => Some(text),
        None => detail.take("summary")?,
    };
    let value: Option<String> = match detail.take("signature")? {
        Some(signature) => Some(signature),
        None => detail.take("data")?,
    };
    let family = detail.take::<String>("format")?.as_deref().and_then(family);
    let value = match (family, value) {
        (Some(Family::OpenAi), Some(blob)) => {
            Some(reasoning_state::join(detail.take::<String>("id")?.as_deref(), &blob))
        }
        (_, value) => value,
    };
    let state = family.zip(value).map(|(family, value)| Opaque { family, value });
    // OpenAI hides nothing: its words stand elsewhere.
    let encrypted = kind == "reasoning.encrypted" && family != Some(Family::OpenAi);
    Ok(match (text, state) {
        (None, None) => None,
        (None, Some(state)) if encrypted && state.family == Family::Gemini => Some(Detail::OnText(state)),
        (text, state) => Some(Detail::Reasoning(Reasoning {
            redacted: encrypted && text.is_none(),
            text: text.unwrap_or_default(),
            state,
        })),
    })
}

/// Writes one detail. `index` is mandatory: a client that merges deltas fails without it. OpenAI's is written as OpenRouter
/// does, id and blob apart; its words stand in `reasoning_content`.
pub fn encode(text: Option<&str>, state: &Opaque, redacted: bool, index: usize, out: &mut Elements<'_>) {
    out.object(|out| {
        if state.family == Family::OpenAi {
            let (id, blob) = reasoning_state::split(&state.value);
            out.put("type", "reasoning.encrypted");
            out.put_some("id", id);
            out.put("data", blob);
        } else if redacted || text.is_none() {
            out.put("type", "reasoning.encrypted");
            out.put("data", &state.value);
        } else {
            out.put("type", "reasoning.text");
            out.put_some("text", text);
            out.put("signature", &state.value);
        }
        out.put("format", format(state.family));
        out.put("index", &index);
    });
}

/// Takes Gemini's signature off a call.
pub fn take_call_state(call: &mut Object<'_>) -> Result<Option<Opaque>, Malformed> {
    let Some(raw) = call.take_raw("extra_content") else { return Ok(None) };
    let value = read_signature(raw).map_err(|error| error.within("extra_content"))?;
    Ok(value.map(|value| Opaque { family: Family::Gemini, value }))
}

fn read_signature(raw: &serde_json::value::RawValue) -> Result<Option<String>, Malformed> {
    match Object::from_raw(raw, Spelling::Exact)?.object("google")? {
        Some(mut google) => google.take("thought_signature"),
        None => Ok(None),
    }
}
