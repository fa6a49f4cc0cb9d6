//! `usageMetadata`: prompt counts include the cache, answer counts usually leave out the thoughts
//! (docs/protocols/usage.md).

use serde_json::value::RawValue;

use crate::{codec::json::write::Members, ir::Usage, usage};

/// Reads the counts. What cannot be read was not said.
pub fn read(raw: &RawValue) -> Option<Usage> {
    usage::read(raw, usage::gemini)
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
pub fn encode(counts: &Usage, out: &mut Members<'_>) {
    let (prompt, answer) = (counts.total_input(), counts.total_output());
    out.object("usageMetadata", |out| {
        out.put("promptTokenCount", &prompt);
        out.put("candidatesTokenCount", &counts.output.unwrap_or(0));
        out.put("totalTokenCount", &prompt.saturating_add(answer));
        out.put_some("cachedContentTokenCount", counts.cache_read);
        out.put_some("thoughtsTokenCount", counts.reasoning);
    });
}
