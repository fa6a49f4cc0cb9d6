//! The calls that are measured: which there are, where a client makes them, and what upstream they are prepared for.

use routeapi_protocol::{
    dialect::Operation,
    host::Host,
    inbound::{Inbound, MatchedPath, route},
    limits::ModelLimits,
    request::Destination,
};

/// Dialects that are translated.
pub const ALL: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::Converse,
];

/// Most bytes of a body, as the gateway's default.
const MAX_BODY: usize = 32 << 20;

/// The path of a call; Gemini's says whether a stream is wanted.
pub fn matched(operation: Operation, streamed: bool) -> MatchedPath {
    let (path, query) = match (operation, streamed) {
        (Operation::ChatCompletions, _) => ("/v1/chat/completions", None),
        (Operation::Responses, _) => ("/v1/responses", None),
        (Operation::Messages, _) => ("/v1/messages", None),
        (Operation::Converse, true) => ("/model/m/converse-stream", None),
        (Operation::Converse, false) => ("/model/m/converse", None),
        (_, true) => ("/v1beta/models/m:streamGenerateContent", Some("alt=sse")),
        (_, false) => ("/v1beta/models/m:generateContent", None),
    };
    match route("POST", path, query) {
        Ok(Inbound::Call(matched)) => matched,
        other => unreachable!("a path of our own leads to a call: {other:?}"),
    }
}

/// An upstream that speaks these dialects.
pub fn destination(operations: &[Operation]) -> Destination<'_> {
    Destination {
        host: Host::Vendor,
        operations,
        model: None,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        base_model: None,
        continued: None,
        max_body: MAX_BODY,
    }
}
