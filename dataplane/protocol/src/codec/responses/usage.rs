//! `usage`: OpenAI's counts include one another, ours do not (docs/protocols/usage.md).

use crate::{codec::json::write::Members, ir::Usage};

/// Writes the counts. Clients read each of the integers without asking, so unknown ones are zero (hard case 16).
pub fn put(counts: Usage, out: &mut Members<'_>) {
    let (input, output) = (counts.total_input(), counts.total_output());
    out.object("usage", |out| {
        out.put("input_tokens", &input);
        out.object("input_tokens_details", |out| {
            out.put("cached_tokens", &counts.cache_read.unwrap_or(0));
            out.put("cache_write_tokens", &counts.cache_write.unwrap_or(0));
        });
        out.put("output_tokens", &output);
        out.object("output_tokens_details", |out| {
            out.put("reasoning_tokens", &counts.reasoning.unwrap_or(0));
        });
        out.put("total_tokens", &input.saturating_add(output));
    });
}
