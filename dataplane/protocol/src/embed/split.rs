//! Requests with more texts than an upstream takes in one call: which upstream takes how many, and the calls.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::request::MOST_TEXTS;
use crate::{dialect::Operation, host::Host};

/// Most calls that one request becomes.
pub(super) const MOST_CALLS: usize = 250;

/// Most texts in one call, by the vendors' own limits. Whoever is not listed takes whatever a client may send.
const MOST_IN_CALL: [(Host, Operation, usize); 4] = [
    // "BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch", says the server.
    (Host::Vendor, Operation::BatchEmbedContents, 100),
    // "any array must be 2048 dimensions or less", says the API reference of the texts.
    (Host::Vendor, Operation::Embeddings, MOST_TEXTS),
    (Host::Vertex, Operation::EmbedContent, 1),
    // "The API accepts a maximum of 250 input texts in each request", says the guide to Vertex AI's embeddings.
    (Host::Vertex, Operation::Predict, 250),
];

/// "Each request can only include a single input text", it says of this model.
const ONE_AT_A_TIME: &str = "gemini-embedding-001";

/// A request as it is sent: in one call, or in several, one after the other.
#[derive(Debug)]
pub(crate) struct Calls {
    /// JSON of the only call, or of all of them, one behind the other.
    pub(crate) body: Bytes,
    /// The calls, in the order of their texts; none if there is only one.
    pub(crate) parts: Vec<BatchPart>,
}

/// One of several calls that are one request together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPart {
    /// JSON.
    pub body: Bytes,
    /// The texts in it, by their numbers in the request, from 0.
    pub texts: Range<usize>,
    /// Bytes of these texts.
    pub text_bytes: usize,
}

/// Most texts that an upstream takes in one call of this operation. `model` is its id there or its resource name.
pub(super) fn most_in_call(host: Host, operation: Operation, model: &str) -> usize {
    if host == Host::Vertex && model.rsplit('/').next() == Some(ONE_AT_A_TIME) {
        return 1;
    }
    let listed = MOST_IN_CALL.iter().find(|(at, called, _)| (*at, *called) == (host, operation));
    listed.map_or(usize::MAX, |(_, _, most)| *most)
}

/// The calls for these texts, of which `most` go into one. `write` appends the body of a call.
pub(super) fn calls(texts: &[Cow<'_, str>], most: usize, write: impl Fn(&mut Vec<u8>, &[Cow<'_, str>])) -> Calls {
    let mut written = Vec::new();
    if texts.len() <= most {
        write(&mut written, texts);
        return Calls { body: written.into(), parts: Vec::new() };
    }
    let (mut ends, mut first) = (Vec::new(), 0);
    for texts in texts.chunks(most.max(1)) {
        let start = written.len();
        write(&mut written, texts);
        let numbers = first..first + texts.len();
        first = numbers.end;
        let text_bytes: usize = texts.iter().map(|text| text.len()).sum();
        ends.push((start..written.len(), numbers, text_bytes));
    }
    let body = Bytes::from(written);
    let part = |(span, texts, text_bytes)| BatchPart { body: body.slice(span), texts, text_bytes };
    let parts = ends.into_iter().map(part).collect();
    Calls { body, parts }
}
