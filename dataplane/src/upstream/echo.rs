//! The built-in upstream as a body: the protocol crate says what it answers, this hands the pieces over one by one.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use routeapi_protocol::echo;

use super::outbound::OutboundRequest;

/// Answers a request as every upstream at once.
pub fn answer(request: &OutboundRequest) -> Response<VecDeque<Bytes>> {
    let answer = echo::answer(request.operation, request.wire, &request.path, request.body.json());
    let mut response = Response::new(VecDeque::from(answer.chunks));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(answer.content_type));
    response
}
