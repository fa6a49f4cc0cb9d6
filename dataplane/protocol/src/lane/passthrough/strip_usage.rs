//! Removes what a Chat stream carries only because the gateway asked for usage (hard case 38).
//!
//! The usage chunk goes, and the `usage` member of the others; every other byte of an event stays.

use bytes::Bytes;

use crate::{
    scan::{Kind, Scan},
    splice::{self, Edit},
};

/// The event as the client gets it; none if it is the usage chunk. `data` is a part of `block`.
pub(super) fn usage(block: &[u8], data: &str) -> Option<Vec<u8>> {
    let as_it_is = || Some(block.to_vec());
    if memchr::memmem::find(data.as_bytes(), b"usage").is_none() {
        return as_it_is();
    }
    let (Ok(scan), Some(start)) = (Scan::read(data.as_bytes()), memchr::memmem::find(block, data.as_bytes())) else {
        return as_it_is();
    };
    let bytes = data.as_bytes();
    let Some(place) = scan.members().iter().position(|member| member.is(bytes, "usage")) else { return as_it_is() };
    let member = scan.members().get(place)?;
    let no_choices = matches!(scan.last(bytes, "choices").map(|list| list.kind), Some(Kind::Array { empty: true }));
    if no_choices && matches!(member.value.kind, Kind::Object { .. }) {
        return None;
    }
    let before = place.checked_sub(1).and_then(|place| scan.members().get(place));
    let after = scan.members().get(place + 1);
    let span = match (before, after) {
        (Some(before), _) => before.value.span.end..member.value.span.end,
        (None, Some(after)) => member.name.start..after.name.start,
        (None, None) => member.name.start..member.value.span.end,
    };
    Some(splice::apply(block, vec![Edit { span: start + span.start..start + span.end, with: Bytes::new() }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(data: &str) -> Option<String> {
        let block = format!(": c\r\ndata: {data}\r\n\r\n");
        usage(block.as_bytes(), data).map(|block| String::from_utf8(block).expect("UTF-8"))
    }

    #[test]
    fn only_usage_goes() {
        let kept = |data: &str| Some(format!(": c\r\ndata: {data}\r\n\r\n"));
        assert_eq!(hidden(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#), None);
        assert_eq!(hidden(r#"{"choices":[{"x":1.0}], "usage": null}"#), kept(r#"{"choices":[{"x":1.0}]}"#));
        assert_eq!(hidden(r#"{"usage":null,"choices":[{}]}"#), kept(r#"{"choices":[{}]}"#));
        assert_eq!(hidden(r#"{"usage":null}"#), kept("{}"));
        assert_eq!(
            hidden(r#"{"choices":[{"usage":1}],"t":"usage"}"#),
            kept(r#"{"choices":[{"usage":1}],"t":"usage"}"#)
        );
        assert_eq!(hidden("[DONE]"), kept("[DONE]"));
    }
}
