//! Sessions of OpenAI's Realtime API: a WebSocket from the client, another one to an upstream, and what is said on both.
//!
//! In the order in which they happen: [`handshake`] reads what the client wants, before anything is known to exist; the
//! attempts find an upstream like those of any other call (`attempt`), with a handshake of their own in the permits of a
//! request; [`relay`] passes messages on until one side has enough, under the eyes of [`watch`]; [`end`] says what each
//! side is told then, and how the request went.
//!
//! Once both are open nothing is tried anew: a conversation is not repeatable. One session is one request with one record.
//! It holds at most a message in each direction, counted like other bodies, and a side that does not read stops the other
//! side's being read.

mod echo;
mod end;
mod handshake;
mod outbox;
mod relay;
mod socket;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};

pub(super) use self::handshake::Handshake;
use self::relay::Session;
use super::{
    answer::{Answer, AnswerBody, Source},
    attempt::PlannedRequest,
    common_headers::CommonHeaders,
    refusal::Refusal,
    relay::ResponseBody,
    response_headers,
    settle::Guard,
    wait::Attempts,
    warnings,
};
use crate::server::Takeover;

/// Opens a session: finds an upstream, and then answers the client's handshake. What follows runs on the connection.
///
/// # Errors
/// Why there is none.
pub(super) async fn open(
    planned: PlannedRequest,
    handshake: Handshake,
    guard: Guard,
) -> Result<Response<ResponseBody>, Box<(Refusal, Guard)>> {
    let (view, asked) = (planned.view.clone(), Arc::<str>::from(planned.read.request.model()));
    let (mut guard, result) = Attempts::begin(planned, guard).result().await;
    let answer = match result {
        Ok(answer) => answer,
        Err(refusal) => return Err(Box::new((refusal, guard))),
    };
    let Answer { source: Source::Upstream { upstream, permits, .. }, body: AnswerBody::Session { io, echo }, .. } =
        answer
    else {
        return Err(Box::new((Refusal::Panicked, guard)));
    };
    let Handshake { upgrade, accept, protocol } = handshake;
    let mut response = accepted(accept, protocol, &guard);
    guard.session_opened(response.status().as_u16());
    response_headers::name_upstream(response.headers_mut(), &upstream.name);
    let session = Session { guard, view, upstream, permits, asked };
    response.extensions_mut().insert(Takeover::new(session.run(upgrade, *io, echo)));
    Ok(response)
}

/// The answer to a client's handshake.
fn accepted(accept: HeaderValue, protocol: Option<HeaderValue>, guard: &Guard) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if let Some(value) = warnings::header(guard.attempts.warnings()) {
        headers.insert("x-routeapi-warnings", value);
    }
    CommonHeaders::of(guard).insert_into(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}
