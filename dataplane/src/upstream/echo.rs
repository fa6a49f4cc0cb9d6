//! The built-in upstream as a body: the protocol crate says what it answers, this hands the pieces over one by one.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use routeapi_protocol::{dialect::Operation, echo, wire::Wire};

use super::{OutboundRequest, UpstreamBody};

/// Answers a request as every upstream at once.
pub fn answer(request: &OutboundRequest, operation: Operation, wire: Wire) -> Response<UpstreamBody> {
    let answer = echo::answer(operation, wire, &request.path, request.body.json());
    let mut response = Response::new(UpstreamBody::Echo(VecDeque::from(answer.chunks)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(answer.content_type));
    response
}

/// The next piece of an echo's body.
pub fn next(chunks: &mut VecDeque<Bytes>) -> Option<Bytes> {
    chunks.pop_front()
}
