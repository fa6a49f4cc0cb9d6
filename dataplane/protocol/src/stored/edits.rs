//! Where ids stand in what an upstream says: a response is an object with `id`, `previous_response_id` and
//! `conversation.id`, a conversation one with `id`; a deletion has the `id` of what is gone; the events that begin and end a
//! stream hold the whole response in `response`.

use bytes::Bytes;

use super::{StoredIds, StoredKind};
use crate::{
    scan::{Kind, Scan, Value},
    splice::{self, Edit},
};

/// A response with the client's ids; none if nothing had to change.
pub(crate) fn in_response(body: &[u8], ids: &StoredIds) -> Option<Bytes> {
    in_document(body, StoredKind::Response, ids)
}

/// A whole answer that is a `kind`, or tells of its deletion, with the client's ids; none if nothing had to change.
pub(crate) fn in_document(body: &[u8], kind: StoredKind, ids: &StoredIds) -> Option<Bytes> {
    let scan = Scan::read(body).ok()?;
    let member = |name: &str| scan.last(body, name).cloned();
    let edits = match kind {
        StoredKind::Response => in_members(body, member, ids),
        StoredKind::Conversation => edit(body, kind, member("id"), ids).into_iter().collect(),
    };
    (!edits.is_empty()).then(|| splice::apply(body, edits).into())
}

/// An event of a stream with the client's ids; none if nothing had to change. `data` is a part of `block`.
pub(crate) fn in_event(block: &[u8], data: &str, ids: &StoredIds) -> Option<Vec<u8>> {
    // All but the first and last events lack it.
    memchr::memmem::find(data.as_bytes(), b"\"response\"")?;
    let bytes = data.as_bytes();
    let start = memchr::memmem::find(block, bytes)?;
    let scan = Scan::read(bytes).ok()?;
    let response = scan.last(bytes, "response").filter(|value| matches!(value.kind, Kind::Object { .. }))?;
    let mut edits = in_members(bytes, |name| response.member(bytes, name), ids);
    if edits.is_empty() {
        return None;
    }
    for edit in &mut edits {
        edit.span = start + edit.span.start..start + edit.span.end;
    }
    Some(splice::apply(block, edits))
}

/// In the members of a response.
fn in_members(bytes: &[u8], member: impl Fn(&str) -> Option<Value>, ids: &StoredIds) -> Vec<Edit> {
    let conversation = member("conversation").and_then(|value| value.member(bytes, "id"));
    let found = [
        (StoredKind::Response, member("id")),
        (StoredKind::Response, member("previous_response_id")),
        (StoredKind::Conversation, conversation),
    ];
    found.into_iter().filter_map(|(kind, value)| edit(bytes, kind, value, ids)).collect()
}

fn edit(bytes: &[u8], kind: StoredKind, value: Option<Value>, ids: &StoredIds) -> Option<Edit> {
    let value = value?;
    Some(Edit::string(value.span.clone(), &ids.issue(kind, &value.text(bytes)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> StoredIds {
        StoredIds::new(|kind, id| id.starts_with(kind.prefix()).then(|| id.to_uppercase()))
    }

    #[test]
    fn a_documents_own_ids_are_the_clients_and_nothing_else_changes() {
        let body = r#"{"id":"resp_a", "x":{"id":"resp_c"},"previous_response_id": "resp_b","output":[{"id":"resp_d"}],
            "conversation":{"id":"conv_e"}}"#;
        let edited = in_response(body.as_bytes(), &ids()).unwrap();
        assert_eq!(edited, body.replace("resp_a", "RESP_A").replace("resp_b", "RESP_B").replace("conv_e", "CONV_E"));
        for same in [
            r#"{"id":"msg_1","previous_response_id":null,"conversation":null}"#,
            r#"{"id":"conv_1","conversation":"conv_1"}"#,
            r#"{"object":"list"}"#,
            "[1]",
            "{",
            "",
        ] {
            assert_eq!(in_response(same.as_bytes(), &ids()), None, "{same}");
        }
        let body =
            r#"{"id":"conv_a","object":"conversation","metadata":{"id":"conv_b"},"previous_response_id":"resp_c"}"#;
        let edited = in_document(body.as_bytes(), StoredKind::Conversation, &ids()).unwrap();
        assert_eq!(edited, body.replace("conv_a", "CONV_A"));
        assert_eq!(in_document(br#"{"id":"resp_a"}"#, StoredKind::Conversation, &ids()), None);
    }

    #[test]
    fn only_events_with_a_response_are_edited() {
        let data = r#"{"type":"response.created","response":{"id":"resp_a","previous_response_id":"resp_b",
            "conversation":{"id":"conv_d"}},"id":"resp_c"}"#
            .replace('\n', "");
        let data = data.as_str();
        let block = format!("event: response.created\r\ndata: {data}\r\n\r\n");
        let edited = String::from_utf8(in_event(block.as_bytes(), data, &ids()).unwrap()).unwrap();
        assert_eq!(edited, block.replace("resp_a", "RESP_A").replace("resp_b", "RESP_B").replace("conv_d", "CONV_D"));
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
