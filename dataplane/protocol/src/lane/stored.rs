//! What an upstream says about a response or a conversation that it keeps. A response that failed is an answer here: the
//! request for it did not fail.

use bytes::Bytes;

use crate::{
    lane::parts::{JSON, Whole, unreadable},
    problem::Problem,
    response_stats::ResponseStats,
    stored::{self, StoredCall, StoredIds},
    wire::sniff,
};

/// The answer for the client.
///
/// # Errors
/// When it is no JSON.
pub(crate) fn answer(call: StoredCall, ids: Option<&StoredIds>, body: Bytes) -> Result<Whole, Problem> {
    if !sniff::is_json(&body) {
        return Err(unreadable("the upstream answered with something that is not JSON"));
    }
    let edited = ids.zip(call.gives()).and_then(|(ids, kind)| stored::in_document(&body, kind, ids));
    let changed = edited.is_some();
    let stats = ResponseStats { content: true, complete: true, ..ResponseStats::default() };
    Ok(Whole { body: edited.unwrap_or(body), content_type: JSON, stats, changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_response_is_an_answer() {
        let body = Bytes::from_static(br#"{"id":"resp_1","status":"failed","error":{"code":"server_error"}}"#);
        let whole = answer(StoredCall::Retrieve, None, body.clone()).unwrap();
        assert_eq!((&whole.body, whole.changed, whole.stats.complete), (&body, false, true));
        let ids = StoredIds::new(|_, id| Some(format!("{id}x")));
        let whole = answer(StoredCall::Retrieve, Some(&ids), body).unwrap();
        assert!(whole.changed && whole.body.starts_with(br#"{"id":"resp_1x","status":"failed""#));
        let item = Bytes::from_static(br#"{"id":"msg_1","type":"message"}"#);
        assert!(!answer(StoredCall::RetrieveConversationItem, Some(&ids), item).unwrap().changed, "the vendor's own");
        assert!(answer(StoredCall::Retrieve, None, Bytes::from_static(b"<html>")).is_err());
    }
}
