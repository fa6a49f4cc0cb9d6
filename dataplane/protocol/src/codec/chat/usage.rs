//! `usage`: OpenAI's counts include one another, ours do not (protocols 2.6).

use crate::{
    codec::{
        Malformed,
        json::{read::Object, write::Members},
    },
    ir::Usage,
};

/// Reads the counts. `prompt_tokens` includes cached and cache-write tokens, `completion_tokens` includes reasoning.
pub fn decode(mut usage: Object<'_>) -> Result<Usage, Malformed> {
    let prompt = usage.take::<u64>("prompt_tokens")?;
    let completion = usage.take::<u64>("completion_tokens")?;
    let (mut cache_read, mut cache_write, mut reasoning) = (None, None, None);
    if let Some(mut details) = usage.object("prompt_tokens_details")? {
        cache_read = details.take::<u64>("cached_tokens")?;
        cache_write = details.take::<u64>("cache_write_tokens")?;
    }
    if let Some(mut details) = usage.object("completion_tokens_details")? {
        reasoning = details.take::<u64>("reasoning_tokens")?;
    }
    let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    Ok(Usage {
        input: prompt.map(|prompt| prompt.saturating_sub(cached)),
        cache_read,
        cache_write,
        output: completion.map(|completion| completion.saturating_sub(reasoning.unwrap_or(0))),
        reasoning,
    })
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
