//! `usage`: OpenAI's counts include one another, ours do not (docs/protocols/usage.md).

use serde_json::value::RawValue;

use crate::{codec::json::write::Members, ir::Usage, usage};

/// Reads the counts. What cannot be read was not said.
pub fn read(raw: &RawValue) -> Option<Usage> {
    usage::read(raw, usage::openai)
}

/// Writes the counts. Clients read the integers without asking, so unknown ones are written as zero.
pub fn encode(counts: &Usage, out: &mut Members<'_>) {
    let (prompt, completion) = (counts.total_input(), counts.total_output());
    out.object("usage", |out| {
        out.put("prompt_tokens", &prompt);
        out.put("completion_tokens", &completion);
        out.put("total_tokens", &prompt.saturating_add(completion));
        out.object("prompt_tokens_details", |out| {
            out.put("cached_tokens", &counts.cache_read.unwrap_or(0));
            out.put_some("cache_write_tokens", counts.cache_write);
        });
        out.object("completion_tokens_details", |out| {
            out.put("reasoning_tokens", &counts.reasoning.unwrap_or(0));
        });
    });
}
