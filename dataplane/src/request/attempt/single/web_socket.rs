//! One try at one upstream where the client wants a WebSocket: the handshake. Whatever goes wrong in it is judged as any
//! other answer, since nothing has gone to the client.

use std::time::Duration;

use tokio::time::timeout_at;

use super::{AwaitedResponse, SingleAttempt};
use crate::{
    clock,
    request::{
        answer::{Answer, AnswerBody},
        failure::{Cause, Failure},
        memory::MemoryPermit,
        settle::Guard,
    },
    upstream::{Opened, OutboundRequest},
};

/// How long an upstream may take to answer a handshake once it is connected. It has nothing to compute for it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

impl SingleAttempt<'_> {
    /// Opens a WebSocket, on a connection of its own, for which nothing is ever sent twice.
    pub(super) async fn open_web_socket(
        &self,
        outbound: &OutboundRequest,
        awaited: AwaitedResponse,
        guard: &mut Guard,
    ) -> Result<Answer, Box<Failure>> {
        let timeout = self.upstream.timeouts.connect.saturating_add(HANDSHAKE_TIMEOUT);
        let by = clock::mono().checked_add(timeout).unwrap_or(self.deadline).min(self.deadline);
        let opening = Box::pin(self.upstream.client.open_web_socket(outbound));
        let (opened, echo) = match timeout_at(by.into(), opening).await {
            Err(_elapsed) if clock::mono() >= self.deadline => return Err(Failure::request_timeout(self.upstream)),
            Err(_elapsed) => return Err(Failure::first_content_timeout(self.upstream, HANDSHAKE_TIMEOUT)),
            Ok(opened) => opened.map_err(|error| Failure::send_failed(self.upstream, &error))?,
        };
        match opened {
            Opened::Open(io) => {
                let status = http::StatusCode::SWITCHING_PROTOCOLS;
                guard.attempts.set_status(status.as_u16());
                let now = guard.context().now.unix_seconds();
                self.upstream.provider.answered(status.as_u16(), false, now);
                let body = AnswerBody::Session { io: Box::new(io), echo };
                Ok(self.answer(status, http::HeaderMap::new(), true, body, awaited.permits))
            }
            Opened::Wrong(why) => Err(self.unreadable_answer(Cause::UnreadableAnswer, why)),
            Opened::Refused(response) => {
                let status = response.status();
                guard.attempts.set_status(status.as_u16());
                if status.is_success() || status.is_informational() {
                    let why = format!(
                        "answered the WebSocket handshake with status {}; it may not have the Realtime API",
                        status.as_u16()
                    );
                    return Err(self.unreadable_answer(Cause::UnreadableAnswer, &why));
                }
                let memory = MemoryPermit::new(guard.gateway(), self.account);
                Err(self.error_answer(response, &awaited.translation, memory).await)
            }
        }
    }
}
