//! Token counts between Anthropic's members and the disjoint ones (docs/protocols/usage.md).
//!
//! `input_tokens` excludes cache reads and writes; `output_tokens` includes thinking, which is told apart only by newer
//! answers. `cache_creation` repeats the write count per time to live and is not added (hard case 223).

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{codec::json::write::Members, ir::Usage, usage};

/// `usage` as it stands on the wire, whole or in a stream event. Unknown members are no concern of ours, and what cannot
/// be read was not said.
#[derive(Clone, Copy, Debug, Default)]
pub struct WireUsage(Usage);

impl<'de> Deserialize<'de> for WireUsage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?;
        Ok(Self(usage::read(raw, usage::anthropic).unwrap_or_default()))
    }
}

/// Writes the members of `usage`. Input and output are demanded by clients, so they are zero where nothing is known.
pub fn write(usage: Usage, to: &mut Members<'_>) {
    to.put("input_tokens", &usage.input.unwrap_or(0));
    to.put_some("cache_creation_input_tokens", usage.cache_write);
    to.put_some("cache_read_input_tokens", usage.cache_read);
    to.put("output_tokens", &usage.total_output());
    if let Some(thinking) = usage.reasoning {
        to.object("output_tokens_details", |details| details.put("thinking_tokens", &thinking));
    }
}

impl From<WireUsage> for Usage {
    fn from(WireUsage(usage): WireUsage) -> Self {
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::{Usage, WireUsage, write};
    use crate::codec::json::write::text;

    #[test]
    fn hard_case_222_and_223_counts_are_disjoint_and_not_doubled() {
        let wire: WireUsage = serde_json::from_str(
            r#"{"input_tokens":20,"cache_read_input_tokens":80,"cache_creation_input_tokens":10,
                "cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":6},
                "output_tokens":9,"output_tokens_details":{"thinking_tokens":4},"service_tier":"standard"}"#,
        )
        .unwrap();
        let usage = Usage::from(wire);
        assert_eq!(usage.total_input(), 110);
        assert_eq!((usage.output, usage.reasoning), (Some(5), Some(4)));
    }

    #[test]
    fn hard_case_221_cached_tokens_are_not_counted_twice() {
        let usage = Usage { input: Some(20), cache_read: Some(80), output: Some(3), ..Usage::default() };
        assert_eq!(text(|o| write(usage, o)), r#"{"input_tokens":20,"cache_read_input_tokens":80,"output_tokens":3}"#);
        assert_eq!(text(|o| write(Usage::default(), o)), r#"{"input_tokens":0,"output_tokens":0}"#);
    }
}
