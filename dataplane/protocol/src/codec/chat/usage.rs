//! `usage`: OpenAI's counts include one another, ours do not (docs/protocols/usage.md).

use serde_json::value::RawValue;

use crate::{
    codec::json::{
        count::Count,
        read::{Object, Spelling},
        write::Members,
    },
    ir::Usage,
    tap::usage::visible_output,
};

/// Reads the counts. `prompt_tokens` includes cached and cache-write tokens, `completion_tokens` includes reasoning. What
/// cannot be read was not said.
pub fn read(raw: &RawValue) -> Option<Usage> {
    let mut usage = Object::from_raw(raw, Spelling::Exact).ok()?;
    let prompt = count(&mut usage, "prompt_tokens");
    let completion = count(&mut usage, "completion_tokens");
    let (mut cache_read, mut cache_write, mut reasoning) = (None, None, None);
    if let Ok(Some(mut details)) = usage.object("prompt_tokens_details") {
        cache_read = count(&mut details, "cached_tokens");
        cache_write = count(&mut details, "cache_write_tokens");
    }
    // DeepSeek's and Moonshot's own names, for servers that have no others.
    for name in ["prompt_cache_hit_tokens", "cached_tokens"] {
        cache_read = cache_read.or(count(&mut usage, name));
    }
    if let Ok(Some(mut details)) = usage.object("completion_tokens_details") {
        reasoning = count(&mut details, "reasoning_tokens");
    }
    let total = count(&mut usage, "total_tokens");
    let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    Some(Usage {
        input: prompt.map(|prompt| prompt.saturating_sub(cached)),
        cache_read,
        cache_write,
        output: completion.map(|completion| visible_output(completion, reasoning, prompt, total)),
        reasoning,
    })
}

fn count(usage: &mut Object<'_>, name: &str) -> Option<u64> {
    usage.take::<Count>(name).ok()??.0
}

/// Writes the counts. Clients read the integers without asking, so unknown ones are written as zero.
pub fn encode(usage: &Usage, out: &mut Members<'_>) {
    let (prompt, completion) = (usage.total_input(), usage.total_output());
    out.object("usage", |out| {
        out.put("prompt_tokens", &prompt);
        out.put("completion_tokens", &completion);
        out.put("total_tokens", &prompt.saturating_add(completion));
        out.object("prompt_tokens_details", |out| {
            out.put("cached_tokens", &usage.cache_read.unwrap_or(0));
            out.put_some("cache_write_tokens", usage.cache_write);
        });
        out.object("completion_tokens_details", |out| {
            out.put("reasoning_tokens", &usage.reasoning.unwrap_or(0));
        });
    });
}
