//! Token counts between Converse's members and the disjoint ones (docs/protocols/usage.md): `inputTokens` excludes cache
//! reads and writes, `outputTokens` includes reasoning, `totalTokens` is all of them.

use serde_json::value::RawValue;

use crate::{codec::json::write::Members, ir::Usage, usage};

/// Reads the counts. What cannot be read was not said.
pub fn read(raw: &RawValue) -> Option<Usage> {
    usage::read(raw, usage::bedrock)
}

/// Writes `usage` and `metrics`, of which every answer has both. How long an upstream took is not ours to say.
pub fn write(usage: Usage, to: &mut Members<'_>) {
    let (input, output) = (usage.total_input(), usage.total_output());
    to.object("usage", |o| {
        o.put("inputTokens", &usage.input.unwrap_or(0));
        o.put("outputTokens", &output);
        o.put("totalTokens", &input.saturating_add(output));
        o.put_some("cacheReadInputTokens", usage.cache_read);
        o.put_some("cacheWriteInputTokens", usage.cache_write);
    });
    to.object("metrics", |o| o.put("latencyMs", &0));
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{Usage, read, write};
    use crate::codec::json::write::text;

    #[test]
    fn hard_case_222_input_leaves_out_the_cache_and_the_total_does_not() {
        let raw = r#"{"inputTokens":20,"outputTokens":5,"totalTokens":115,"cacheReadInputTokens":80,"cacheWriteInputTokens":10}"#;
        let usage = read(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap();
        assert_eq!((usage.total_input(), usage.cache_read, usage.cache_write), (110, Some(80), Some(10)));
        let written = text(|o| write(usage, o));
        assert_eq!(written, format!("{{\"usage\":{raw},\"metrics\":{{\"latencyMs\":0}}}}"));
        let none = text(|o| write(Usage::default(), o));
        assert!(none.starts_with(r#"{"usage":{"inputTokens":0,"outputTokens":0,"totalTokens":0}"#), "{none}");
    }
}
