//! An answer → the client's response. From here on the status stands, so a failure becomes the dialect's own terminal
//! error inside the stream. No prices, no retries.

mod body;
mod content;
mod delivery;
mod end_reason;
mod ready_bytes;
mod stream;
mod waiting;
mod watch;
mod whole;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Response};

pub use body::ResponseBody;
pub use ready_bytes::BodyError;

use self::{content::DeliveryContent, waiting::WaitingBody, watch::Watch};
use super::{
    answer::{Answer, AnswerBody, Source},
    common_headers::CommonHeaders,
    outcome::RequestOutcome,
    response_headers,
    settle::Guard,
    wait::{Attempts, EarlyHead},
    warnings,
};

const WARNINGS: HeaderName = HeaderName::from_static("x-routeapi-warnings");

/// Hands an answer over. The guard goes with an upstream's and settles at its end; the gateway's own counts as delivered.
pub(super) fn relay(answer: Answer, mut guard: Guard) -> Response<ResponseBody> {
    let mut headers = answer_headers(&answer);
    if let Some(value) = warnings::header(guard.attempts.warnings()) {
        headers.insert(WARNINGS, value);
    }
    CommonHeaders::of(&guard).insert_into(&mut headers);
    let status = answer.status;
    guard.facts.set_status(status.as_u16());
    let body = match answer {
        Answer { source: Source::Gateway, body: AnswerBody::Whole { bytes, .. }, .. } => {
            guard.facts.add_sent(bytes.len());
            guard.finish(RequestOutcome::COMPLETED);
            ResponseBody::full(bytes)
        }
        answer => {
            let gateway = Arc::clone(guard.gateway());
            ResponseBody::delivered(DeliveryContent::of(answer, guard), &gateway)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What of the source's headers the client gets, and what says where the answer is from.
fn answer_headers(answer: &Answer) -> HeaderMap {
    let mut headers = match &answer.source {
        Source::Upstream { upstream, same_dialect, .. } => {
            let mut headers = response_headers::passed(&answer.headers, *same_dialect);
            response_headers::name_upstream(&mut headers, &upstream.name);
            headers
        }
        Source::Gateway => answer.headers.clone(),
    };
    match &answer.body {
        AnswerBody::Whole { changed: Some(content_type), .. } => {
            response_headers::rewritten(&mut headers, content_type);
        }
        AnswerBody::Whole { changed: None, .. } | AnswerBody::Session { .. } => {}
        AnswerBody::Stream { content_type, .. } => {
            if let Some(content_type) = content_type {
                response_headers::rewritten(&mut headers, content_type);
            }
            response_headers::unbuffered(&mut headers);
        }
    }
    headers
}

/// Gives a client its head before an upstream has answered; the attempts go on in the body, and the guard with them.
/// What headers say of the upstream and of warnings is not known yet: the record has it.
pub(super) fn wait(attempts: Attempts, early: EarlyHead) -> Response<ResponseBody> {
    let EarlyHead { after, common_headers, pending, caller, deadline } = early;
    let mut headers = HeaderMap::new();
    response_headers::rewritten(&mut headers, pending.content_type());
    response_headers::unbuffered(&mut headers);
    let gateway = Arc::clone(common_headers.gateway());
    common_headers.insert_into(&mut headers);
    gateway.metrics.answered_early();
    let watch = Watch::new(&gateway, Some(after), deadline);
    let body = DeliveryContent::Waiting(Box::new(WaitingBody::new(attempts, pending, watch, caller)));
    let mut response = Response::new(ResponseBody::delivered(body, &gateway));
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod sizes;
