//! An upstream's answer → the client's response. From here on the status stands, so a failure becomes the dialect's own
//! terminal error inside the stream. No prices, no retries.

mod body;
mod delivery;
pub(super) mod headers;
mod watch;

use http::Response;

pub use body::{BodyError, ResponseBody};
pub use delivery::{Deliveries, end_overdue};

use self::{
    body::{Pieces, Remains, StreamBody, WholeBody},
    watch::Watch,
};
use super::{
    attempt::{Answer, AnswerBody},
    respond,
    settle::{Ending, Guard},
};

/// Hands an answer over. The guard goes with the body and settles at its end.
pub(super) fn relay(answer: Answer, mut guard: Guard) -> Response<ResponseBody> {
    let mut headers = headers::passed(&answer.headers, answer.same_dialect);
    headers::name_upstream(&mut headers, &answer.upstream.name);
    if let Some(value) = respond::warnings_header(guard.warnings()) {
        headers.insert("x-routeapi-warnings", value);
    }
    guard.answered(answer.status.as_u16());
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    let body = match answer.body {
        AnswerBody::Whole { bytes, changed, lease } => {
            if let Some(content_type) = changed {
                headers::rewritten(&mut headers, content_type);
            }
            *response.headers_mut() = headers;
            respond::stamp(&mut response, &guard);
            if bytes.is_empty() {
                guard.settle(Ending::COMPLETED);
            }
            ResponseBody::whole(WholeBody::new(bytes, answer.deadline, guard, lease))
        }
        AnswerBody::Stream { held, stream, rest, content_type } => {
            headers::rewritten(&mut headers, content_type);
            headers::unbuffered(&mut headers);
            *response.headers_mut() = headers;
            respond::stamp(&mut response, &guard);
            let watch = Watch::new(&guard, answer.upstream.timeouts.stream_idle, answer.deadline);
            let remains = Remains::new(held);
            let pieces = Pieces { remains, stream, rest, slot: answer.slot };
            ResponseBody::stream(StreamBody::new(pieces, watch, guard))
        }
    };
    response.map(|()| body)
}
