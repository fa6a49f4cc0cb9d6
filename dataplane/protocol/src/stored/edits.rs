//! Where ids of responses stand in what an upstream says: a response is an object with `id` and `previous_response_id`; a
//! deletion has its `id`; the events that begin and end a stream hold the whole object in `response`.

use bytes::Bytes;

use super::ResponseIds;
use crate::{
    scan::{Kind, Scan, Value},
    splice::{self, Edit},
};

/// The members of a response that are ids of responses.
const MEMBERS: [&str; 2] = ["id", "previous_response_id"];

/// A whole answer with the client's ids; none if nothing had to change.
pub(crate) fn in_document(body: &[u8], ids: &ResponseIds) -> Option<Bytes> {
    let scan = Scan::read(body).ok()?;
    let found = MEMBERS.into_iter().filter_map(|member| scan.last(body, member).cloned());
    let edits = edits(body, found, ids);
    (!edits.is_empty()).then(|| splice::apply(body, edits).into())
}

/// An event of a stream with the client's ids; none if nothing had to change. `data` is a part of `block`.
pub(crate) fn in_event(block: &[u8], data: &str, ids: &ResponseIds) -> Option<Vec<u8>> {
    // All but the first and last events lack it.
    memchr::memmem::find(data.as_bytes(), b"\"response\"")?;
    let bytes = data.as_bytes();
    let start = memchr::memmem::find(block, bytes)?;
    let scan = Scan::read(bytes).ok()?;
    let response = scan.last(bytes, "response").filter(|value| matches!(value.kind, Kind::Object { .. }))?;
    let found = MEMBERS.into_iter().filter_map(|member| response.member(bytes, member));
    let mut edits = edits(bytes, found, ids);
    if edits.is_empty() {
        return None;
    }
    for edit in &mut edits {
        edit.span = start + edit.span.start..start + edit.span.end;
    }
    Some(splice::apply(block, edits))
}

fn edits(bytes: &[u8], values: impl Iterator<Item = Value>, ids: &ResponseIds) -> Vec<Edit> {
    let edit = |value: Value| Some(Edit::string(value.span.clone(), &ids.issue(&value.text(bytes)?)?));
    values.filter_map(edit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> ResponseIds {
        ResponseIds::new(|id| id.starts_with("resp_").then(|| id.to_uppercase()))
    }

    #[test]
    fn a_documents_own_ids_are_the_clients_and_nothing_else_changes() {
        let body =
            r#"{"id":"resp_a", "x":{"id":"resp_c"},"previous_response_id": "resp_b","output":[{"id":"resp_d"}]}"#;
        let edited = in_document(body.as_bytes(), &ids()).unwrap();
        assert_eq!(edited, body.replace("resp_a", "RESP_A").replace("resp_b", "RESP_B"));
        for same in [r#"{"id":"msg_1","previous_response_id":null}"#, r#"{"object":"list"}"#, "[1]", "{", ""] {
            assert_eq!(in_document(same.as_bytes(), &ids()), None, "{same}");
        }
    }

    #[test]
    fn only_events_with_a_response_are_edited() {
        let data =
            r#"{"type":"response.created","response":{"id":"resp_a","previous_response_id":"resp_b"},"id":"resp_c"}"#;
        let block = format!("event: response.created\r\ndata: {data}\r\n\r\n");
        let edited = String::from_utf8(in_event(block.as_bytes(), data, &ids()).unwrap()).unwrap();
        assert_eq!(edited, block.replace("resp_a", "RESP_A").replace("resp_b", "RESP_B"));
        for data in [
            r#"{"type":"response.output_text.delta","delta":"\"response\":{\"id\":\"resp_a\"}"}"#,
            r#"{"response":"resp_a"}"#,
            r#"{"response":{"id":7}}"#,
            r#"{"response":{"id":"resp_a"}"#,
            "[DONE]",
        ] {
            assert_eq!(in_event(format!("data: {data}\n\n").as_bytes(), data, &ids()), None, "{data}");
        }
    }
}
