//! Token counts of each dialect as disjoint counts (docs/protocols/usage.md). Every subtraction stops at zero.

use serde_json::{Value, value::RawValue};

use crate::{codec::json::count::count, ir::Usage, scan::MAX_TREE};

/// Reads counts as they stand in an answer; none where they are no object, or larger than counts are.
pub(crate) fn read(raw: &RawValue, dialect: fn(&Value) -> Usage) -> Option<Usage> {
    let text = Some(raw.get()).filter(|text| text.len() <= MAX_TREE)?;
    let counts: Value = serde_json::from_str(text).ok()?;
    counts.is_object().then(|| dialect(&counts))
}

/// Chat's, Responses' and the embeddings' spelling; input includes cached tokens, output includes reasoning.
pub(crate) fn openai(usage: &Value) -> Usage {
    let either = |names: [&str; 2]| names.iter().find_map(|name| usage.get(*name));
    let inside = |names: [&str; 2], member: &str| count(either(names)?.get(member)?);
    let details = ["prompt_tokens_details", "input_tokens_details"];
    // DeepSeek's and Moonshot's own names, for servers that have no others.
    let cache_read = inside(details, "cached_tokens")
        .or_else(|| either(["prompt_cache_hit_tokens", "cached_tokens"]).and_then(count));
    let cache_write = inside(details, "cache_write_tokens");
    let reasoning = inside(["completion_tokens_details", "output_tokens_details"], "reasoning_tokens");
    let input = either(["prompt_tokens", "input_tokens"]).and_then(count);
    let output = either(["completion_tokens", "output_tokens"]).and_then(count);
    Usage {
        input: input.map(|all| all.saturating_sub(cache_read.unwrap_or(0)).saturating_sub(cache_write.unwrap_or(0))),
        cache_read,
        cache_write,
        output: output.map(|all| visible_output(all, reasoning, input, usage.get("total_tokens").and_then(count))),
        reasoning,
    }
}

/// Output without reasoning. OpenAI counts reasoning in the output; xAI and others count it beside, which the total tells.
fn visible_output(output: u64, reasoning: Option<u64>, input: Option<u64>, total: Option<u64>) -> u64 {
    let Some(reasoning) = reasoning.filter(|reasoning| *reasoning > 0) else { return output };
    let apart = input.unwrap_or(0).saturating_add(output).saturating_add(reasoning);
    if total == Some(apart) { output } else { output.saturating_sub(reasoning) }
}

/// Anthropic's; input excludes the cache, output includes thinking.
pub(crate) fn anthropic(usage: &Value) -> Usage {
    // Compaction and advisors are passes of their own, which the counts beside them leave out.
    let passes = usage.get("iterations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !passes.is_empty() {
        let mut all = Usage::default();
        passes.iter().take(MAX_PASSES).for_each(|pass| all = sum(all, one_pass(pass)));
        let top = one_pass(usage);
        // A server that repeats the sum in both places is not charged twice, nor less than it says.
        return if all.total_input() >= top.total_input() && all.total_output() >= top.total_output() {
            all
        } else {
            top
        };
    }
    one_pass(usage)
}

/// Most passes of one answer that are added up.
const MAX_PASSES: usize = 1_024;

fn sum(one: Usage, other: Usage) -> Usage {
    let add = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    Usage {
        input: add(one.input, other.input),
        cache_read: add(one.cache_read, other.cache_read),
        cache_write: add(one.cache_write, other.cache_write),
        output: add(one.output, other.output),
        reasoning: add(one.reasoning, other.reasoning),
    }
}

fn one_pass(usage: &Value) -> Usage {
    let is_openai = usage.get("input_tokens").is_none() && usage.get("prompt_tokens").is_some();
    if is_openai {
        // Servers that speak this dialect beside OpenAI's count in OpenAI's words.
        return openai(usage);
    }
    let reasoning = usage.pointer("/output_tokens_details/thinking_tokens").and_then(count);
    let count = |name: &str| usage.get(name).and_then(count);
    Usage {
        input: count("input_tokens"),
        cache_read: count("cache_read_input_tokens"),
        cache_write: count("cache_creation_input_tokens"),
        output: count("output_tokens").map(|all| all.saturating_sub(reasoning.unwrap_or(0))),
        reasoning,
    }
}

/// Bedrock's; input excludes the cache, output includes reasoning. An early answer calls the cache's counts otherwise.
pub(crate) fn bedrock(usage: &Value) -> Usage {
    let either = |names: [&str; 2]| names.iter().find_map(|name| usage.get(*name)).and_then(count);
    Usage {
        input: usage.get("inputTokens").and_then(count),
        cache_read: either(["cacheReadInputTokens", "cacheReadInputTokenCount"]),
        cache_write: either(["cacheWriteInputTokens", "cacheWriteInputTokenCount"]),
        output: usage.get("outputTokens").and_then(count),
        reasoning: None,
    }
}

/// Google's, in either of protobuf's spellings; input includes the cache, and thoughts stand beside candidates, but some
/// backends count them in both, which the total tells.
pub(crate) fn gemini(usage: &Value) -> Usage {
    let count = |camel: &str, snake: &str| usage.get(camel).or_else(|| usage.get(snake)).and_then(count);
    let prompt = count("promptTokenCount", "prompt_token_count");
    let tools = count("toolUsePromptTokenCount", "tool_use_prompt_token_count");
    let cache_read = count("cachedContentTokenCount", "cached_content_token_count");
    let thoughts = count("thoughtsTokenCount", "thoughts_token_count");
    let candidates = count("candidatesTokenCount", "candidates_token_count");
    let total = count("totalTokenCount", "total_token_count");
    let thought = thoughts.unwrap_or(0);
    let without_thoughts = [prompt, tools, candidates].into_iter().flatten().fold(0_u64, u64::saturating_add);
    let inclusive = thought > 0 && candidates.is_some_and(|all| all >= thought) && total == Some(without_thoughts);
    Usage {
        input: prompt.map(|all| all.saturating_sub(cache_read.unwrap_or(0)).saturating_add(tools.unwrap_or(0))),
        cache_read,
        cache_write: None,
        output: candidates.map(|all| if inclusive { all.saturating_sub(thought) } else { all }),
        reasoning: thoughts,
    }
}

/// The counts of OpenAI's other endpoints and of servers that rank: `usage`, or what Cohere puts into
/// `meta.tokens`. Counts of something else than tokens (seconds, search units) are none.
pub(crate) fn direct(counts: &Value) -> Option<Usage> {
    let counts = counts.get("tokens").unwrap_or(counts);
    let mut used = openai(counts);
    if used.input.is_none() && used.output.is_none() {
        // Servers that rank say nothing but a total.
        used.input = counts.get("total_tokens").and_then(count);
    }
    (used.input.is_some() || used.output.is_some()).then_some(used)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn counts(input: u64, read: u64, write: u64, output: u64, reasoning: u64) -> Usage {
        Usage {
            input: Some(input),
            cache_read: Some(read),
            cache_write: Some(write),
            output: Some(output),
            reasoning: Some(reasoning),
        }
    }

    #[test]
    fn reasoning_beside_the_output_is_told_by_the_total() {
        let xai = json!({"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 241,
            "completion_tokens_details": {"reasoning_tokens": 228}});
        assert_eq!((openai(&xai).output, openai(&xai).reasoning), (Some(1), Some(228)));
        let inclusive = json!({"prompt_tokens": 12, "completion_tokens": 229, "total_tokens": 241,
            "completion_tokens_details": {"reasoning_tokens": 228}});
        assert_eq!(openai(&inclusive).output, Some(1));
    }

    #[test]
    fn all_billed_passes_are_counted() {
        let usage = json!({"input_tokens": 162, "output_tokens": 11, "iterations": [
            {"type": "compaction", "input_tokens": 99_195, "output_tokens": 81},
            {"type": "message", "input_tokens": 162, "output_tokens": 11}]});
        let all = anthropic(&usage);
        assert_eq!((all.total_input(), all.total_output()), (99_357, 92));
    }

    #[test]
    fn counts_are_disjoint() {
        let chat = json!({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 30}});
        assert_eq!(openai(&chat), counts(20, 70, 10, 20, 30));
        let responses = json!({"input_tokens": 100, "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 120, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 60}});
        assert_eq!(openai(&responses), counts(0, 120, 0, 0, 60));
        assert_eq!(openai(&json!({"input_tokens": 3})), Usage { input: Some(3), ..Usage::default() });
        let messages = json!({"input_tokens": 20, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 10}, "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 30}});
        assert_eq!(anthropic(&messages), counts(20, 70, 10, 20, 30));
    }

    #[test]
    fn servers_that_rank_count_a_total_or_elsewhere() {
        let input = |counts: Value| direct(&counts).and_then(|usage| usage.input);
        assert_eq!(input(json!({"total_tokens": 12})), Some(12));
        assert_eq!(input(json!({"prompt_tokens": 5, "total_tokens": 12})), Some(5));
        assert_eq!(input(json!({"tokens": {"input_tokens": 8}, "billed_units": {"search_units": 1}})), Some(8));
        assert_eq!(input(json!({"type": "duration", "seconds": 9})), None);
        assert_eq!(input(json!([1])), None);
    }

    #[test]
    fn thoughts_are_counted_once() {
        let apart = json!({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 50,
            "thoughtsTokenCount": 30, "totalTokenCount": 90});
        let inclusive = json!({"promptTokenCount": 10, "candidatesTokenCount": 80, "thoughtsTokenCount": 30,
            "totalTokenCount": 90});
        let apart = gemini(&apart);
        assert_eq!(
            (apart.input, apart.cache_read, apart.output, apart.reasoning),
            (Some(6), Some(4), Some(50), Some(30))
        );
        assert_eq!((gemini(&inclusive).output, gemini(&inclusive).reasoning), (Some(50), Some(30)));
    }

    #[test]
    fn counts_that_make_no_sense_were_not_given() {
        for odd in [json!(-1), json!(1.5), json!("many"), json!(true), json!([1]), json!({}), json!(1e300), json!(null)]
        {
            let chat = json!({"prompt_tokens": odd, "completion_tokens": 5, "prompt_tokens_details": odd});
            assert_eq!(openai(&chat), Usage { output: Some(5), ..Usage::default() }, "{odd}");
            let messages = json!({"input_tokens": 3, "output_tokens": odd, "cache_read_input_tokens": odd});
            assert_eq!(anthropic(&messages), Usage { input: Some(3), ..Usage::default() }, "{odd}");
            let google = json!({"promptTokenCount": odd, "candidatesTokenCount": 5, "thoughtsTokenCount": odd});
            assert_eq!(gemini(&google), Usage { output: Some(5), ..Usage::default() }, "{odd}");
        }
        assert_eq!(openai(&json!({"prompt_tokens": 7.0})).input, Some(7));
        assert_eq!(openai(&json!({"prompt_tokens": "7"})).input, Some(7));
        let deepseek = json!({"prompt_tokens": 7, "prompt_cache_hit_tokens": 5, "prompt_cache_miss_tokens": 2});
        assert_eq!((openai(&deepseek).input, openai(&deepseek).cache_read), (Some(2), Some(5)));
        let most = json!({"promptTokenCount": u64::MAX, "toolUsePromptTokenCount": u64::MAX});
        assert_eq!(gemini(&most).total_input(), u64::MAX);
    }
}
