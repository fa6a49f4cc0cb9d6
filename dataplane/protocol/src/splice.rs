//! The closed list of edits that a passed-through body may see; every other byte stays (docs/protocols/README.md).
//!
//! Byte ranges come from [`crate::scan`]. Nothing is parsed and written again: key order, number spelling, escapes and
//! white space are the client's, because prompt caches key on the exact prefix and signatures on exact content.

use std::ops::Range;

use bytes::Bytes;

/// One edit: these bytes become those. An empty range inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced, in the original body.
    pub span: Range<usize>,
    /// By what.
    pub with: Bytes,
}

impl Edit {
    /// Puts another string in the place of a value.
    pub fn string(span: Range<usize>, text: &str) -> Self {
        Self { span, with: serde_json::Value::from(text).to_string().into() }
    }

    /// Puts a member in front of the first one of an object that begins at `start`. `empty` says whether the object
    /// has none.
    pub fn first_member(start: usize, empty: bool, member: &str) -> Self {
        let place = start.saturating_add(1);
        let comma = if empty { "" } else { "," };
        Self { span: place..place, with: format!("{member}{comma}").into() }
    }
}

/// The body with the edits made. Edits do not overlap; one that lies outside the body or across an earlier one is left
/// out. What is inserted stands before what begins at the same place.
pub fn apply(body: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let grown: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(body.len().saturating_add(grown));
    let mut at = 0;
    for edit in edits {
        let Some(kept) = body.get(at..edit.span.start) else {
            continue;
        };
        if edit.span.end > body.len() {
            continue;
        }
        out.extend_from_slice(kept);
        out.extend_from_slice(&edit.with);
        at = edit.span.end;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out
}

/// Takes members out of an object, each run of them with the comma behind it, or before it at the end. The members' spans
/// in order, each with whether it goes.
pub fn without(members: &[(Range<usize>, bool)]) -> Vec<Edit> {
    let (mut edits, mut kept_end, mut run) = (Vec::new(), None, None::<Range<usize>>);
    let mut edit = |span| edits.push(Edit { span, with: Bytes::new() });
    for (span, goes) in members {
        if *goes {
            run = Some(run.take().map_or_else(|| span.clone(), |run| run.start..span.end));
            continue;
        }
        if let Some(run) = run.take() {
            edit(run.start..span.start);
        }
        kept_end = Some(span.end);
    }
    if let Some(run) = run {
        edit(kept_end.unwrap_or(run.start)..run.end);
    }
    edits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edits_touch_only_their_range() {
        let body = br#"{"a":1.0,"model":"x","b":"\u00e9"}"#;
        let edited = apply(body, vec![Edit::string(17..20, "new \"m\""), Edit::first_member(0, false, "\"z\":0")]);
        assert_eq!(edited, br#"{"z":0,"a":1.0,"model":"new \"m\"","b":"\u00e9"}"#);
        assert_eq!(apply(b"{}", vec![Edit::first_member(0, true, "\"z\":0")]), br#"{"z":0}"#);
        let cut = Edit { span: 1..7, with: Bytes::new() };
        assert_eq!(apply(br#"{"a":1,"b":2}"#, vec![cut, Edit::first_member(0, false, "\"z\":0")]), br#"{"z":0,"b":2}"#);
    }

    proptest! {
        #[test]
        fn other_bytes_are_identical(body in prop::collection::vec(any::<u8>(), 0..64), cuts in prop::collection::vec(0usize..64, 0..6), with in "[a-z]{0,4}") {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= body.len()).collect();
            cuts.sort_unstable();
            let edits: Vec<Edit> =
                cuts.chunks_exact(2).map(|pair| Edit { span: pair[0]..pair[1], with: with.clone().into() }).collect();
            let mut expected = Vec::new();
            let mut at = 0;
            for edit in &edits {
                expected.extend_from_slice(&body[at..edit.span.start]);
                expected.extend_from_slice(&edit.with);
                at = edit.span.end;
            }
            expected.extend_from_slice(&body[at..]);
            prop_assert_eq!(apply(&body, edits), expected);
        }
    }
}
