//! `usageMetadata`: prompt counts include the cache, answer counts usually leave out the thoughts
//! (docs/protocols/usage.md).

use serde_json::value::RawValue;

use crate::{
    codec::json::{
        count::Count,
        read::{Object, Spelling},
        write::Members,
    },
    ir::Usage,
};

/// Reads the counts. Some servers count thoughts among the candidates' tokens; the total gives them away.
/// What cannot be read was not said.
pub fn read(raw: &RawValue) -> Option<Usage> {
    let mut counts = Object::from_raw(raw, Spelling::Proto).ok()?;
    let mut count = |name: &str| counts.take::<Count>(name).ok()??.0;
    let prompt = count("promptTokenCount");
    let cached = count("cachedContentTokenCount");
    let tools = count("toolUsePromptTokenCount");
    let candidates = count("candidatesTokenCount");
    let thoughts = count("thoughtsTokenCount");
    let total = count("totalTokenCount");
    let sum = |parts: [Option<u64>; 3]| parts.into_iter().flatten().fold(0_u64, u64::saturating_add);
    let thought = thoughts.unwrap_or(0);
    let inclusive =
        thought > 0 && candidates.is_some_and(|all| all >= thought) && total == Some(sum([prompt, tools, candidates]));
    Some(Usage {
        input: prompt.map(|prompt| sum([Some(prompt.saturating_sub(cached.unwrap_or(0))), tools, None])),
        cache_read: cached,
        cache_write: None,
        output: candidates.map(|all| if inclusive { all.saturating_sub(thought) } else { all }),
        reasoning: thoughts,
    })
}

/// Takes over later counts; a zero never replaces a real one (hard case 225).
pub fn settle(known: &mut Usage, later: Usage) {
    let real = |later: Option<u64>, known: Option<u64>| later.filter(|count| *count > 0 || known.is_none());
    known.merge(Usage {
        input: real(later.input, known.input),
        cache_read: real(later.cache_read, known.cache_read),
        cache_write: real(later.cache_write, known.cache_write),
        output: real(later.output, known.output),
        reasoning: real(later.reasoning, known.reasoning),
    });
}

/// Writes the counts.
pub fn encode(usage: &Usage, out: &mut Members<'_>) {
    let (prompt, answer) = (usage.total_input(), usage.total_output());
    out.object("usageMetadata", |out| {
        out.put("promptTokenCount", &prompt);
        out.put("candidatesTokenCount", &usage.output.unwrap_or(0));
        out.put("totalTokenCount", &prompt.saturating_add(answer));
        out.put_some("cachedContentTokenCount", usage.cache_read);
        out.put_some("thoughtsTokenCount", usage.reasoning);
    });
}
