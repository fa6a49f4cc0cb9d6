//! What a document says failed in spite of its status.

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use crate::{
    dialect::Operation,
    lane::parts::in_clients_words,
    problem::{Problem, understand},
    scan::{Kind, Scan},
    tap,
    wire::sniff,
};

/// What a document says failed, as the vendor wrote it, as the body of an error answer: an object that holds an `error`
/// or is one; none for anything else. Of Responses' last event it is the error alone.
pub(crate) fn document(upstream: Operation, document: &[u8]) -> Option<Bytes> {
    if !document.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let whole = || Some(Bytes::copy_from_slice(document));
    if error(document).is_some_and(|error| understand::is_error(&error)) {
        return whole();
    }
    let scan = Scan::read(document).ok()?;
    let nested = scan.last(document, "response").and_then(|response| response.member(document, "error"));
    if let Some(error) = nested.filter(|error| matches!(error.kind, Kind::Object { .. })) {
        return Some([b"{\"error\":".as_slice(), error.bytes(document), b"}"].concat().into());
    }
    let answers = tap::whole::holds(upstream).iter().any(|name| scan.last(document, name).is_some());
    understand::bare(upstream.family(), document).filter(|_| !answers)?;
    whole()
}

/// Whether a document with status 2xx can be an answer, between these operations (the upstream's, the client's).
///
/// # Errors
/// When it is no JSON, or says what failed.
pub(crate) fn check_document((upstream, client): (Operation, Operation), document: &[u8]) -> Result<(), Problem> {
    let mut problem = match error(document).filter(understand::is_error) {
        Some(error) => understand::event(upstream.family(), &serde_json::json!({ "error": error })),
        None if sniff::is_json(document) => return Ok(()),
        None => understand::no_answer(upstream.family(), document),
    };
    in_clients_words(&mut problem, client);
    Err(problem)
}

/// The `error` of an object, or of the first object in a list.
pub(crate) fn error(body: &[u8]) -> Option<Value> {
    let body = body.trim_ascii_start();
    let object = match body.strip_prefix(b"[") {
        Some(rest) => {
            let mut first = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
            first.next()?.ok()?.get().as_bytes()
        }
        None => body,
    };
    let scan = Scan::read(object).ok()?;
    scan.last(object, "error")?.small(object)
}
