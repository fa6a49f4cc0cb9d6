//! An upstream's answer → the client's response. From here on the status stands, so a failure becomes the dialect's own
//! terminal error inside the stream. No prices, no retries.

mod body;
mod delivery;
pub(super) mod headers;
mod waiting;
mod watch;

use std::sync::Arc;

use http::{HeaderMap, Response};

pub use body::{BodyError, ResponseBody};
pub use delivery::{Deliveries, end_overdue};

use self::{
    body::{Pieces, ReadyBytes, StreamBody, WholeBody},
    delivery::DeliveryContent,
    waiting::WaitingBody,
    watch::Watch,
};
use super::{
    attempt::{Answer, AnswerBody},
    respond::{self, CommonHeaders},
    settle::{Guard, RequestOutcome},
    wait::{Attempts, EarlyHead},
};

/// Hands an answer over. The guard goes with the body and settles at its end.
pub(super) fn relay(answer: Answer, mut guard: Guard) -> Response<ResponseBody> {
    let mut headers = headers::passed(&answer.headers, answer.same_dialect);
    headers::name_upstream(&mut headers, &answer.upstream.name);
    if let Some(value) = respond::warnings_header(guard.warnings()) {
        headers.insert("x-routeapi-warnings", value);
    }
    match &answer.body {
        AnswerBody::Whole { changed: Some(content_type), .. } => headers::rewritten(&mut headers, content_type),
        AnswerBody::Whole { changed: None, .. } => {}
        AnswerBody::Stream { content_type, .. } => {
            if let Some(content_type) = content_type {
                headers::rewritten(&mut headers, content_type);
            }
            headers::unbuffered(&mut headers);
        }
    }
    CommonHeaders::of(&guard).insert_into(&mut headers);
    let status = answer.status;
    guard.set_status(status.as_u16());
    let gateway = Arc::clone(guard.gateway());
    let mut response = Response::new(ResponseBody::delivered(delivered(answer, guard), &gateway));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Gives a client its head before an upstream has answered; the attempts go on in the body, and the guard with them.
/// What headers say of the upstream and of warnings is not known yet: the record has it.
pub(super) fn wait(attempts: Attempts, early: EarlyHead) -> Response<ResponseBody> {
    let EarlyHead { after, common_headers, pending, caller, deadline } = early;
    let mut headers = HeaderMap::new();
    headers::rewritten(&mut headers, pending.content_type());
    headers::unbuffered(&mut headers);
    let gateway = Arc::clone(common_headers.gateway());
    common_headers.insert_into(&mut headers);
    gateway.metrics.answered_early();
    let watch = Watch::new(&gateway, Some(after), deadline);
    let body = DeliveryContent::Waiting(Box::new(WaitingBody::new(attempts, pending, watch, caller)));
    let mut response = Response::new(ResponseBody::delivered(body, &gateway));
    *response.headers_mut() = headers;
    response
}

/// What of an answer goes out behind its head.
fn delivered(answer: Answer, mut guard: Guard) -> DeliveryContent {
    match answer.body {
        AnswerBody::Whole { bytes, .. } if bytes.is_empty() => {
            guard.finish(RequestOutcome::COMPLETED);
            DeliveryContent::Done
        }
        AnswerBody::Whole { bytes, memory, .. } => {
            DeliveryContent::Whole(Box::new(WholeBody::new(bytes, answer.deadline, guard, memory)))
        }
        AnswerBody::Stream { held, stream, rest, unfinished, .. } => {
            let idle = answer.upstream.timeouts.stream_idle;
            let watch = Watch::new(guard.gateway(), guard.heartbeat(), answer.deadline).idle_after(idle);
            let pieces = Pieces { ready: ReadyBytes::new(held), stream, rest, unfinished, permits: answer.permits };
            DeliveryContent::Stream(Box::new(StreamBody::new(pieces, watch, guard)))
        }
    }
}
