//! An answer that comes in one piece: read to its end within its bounds, then translated.

use std::time::Instant;

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE, response::Parts};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::{AwaitedResponse, SingleAttempt};
use crate::{
    clock,
    request::{
        answer::{Answer, AnswerBody},
        failure::{Cause, Failure},
        memory::{BufferedBody, MemoryPermit},
        offload::DeadlinePassed,
        settle::Guard,
    },
    upstream::UpstreamBody,
};

impl SingleAttempt<'_> {
    /// Reads all of an answer.
    pub(super) async fn read_whole(
        &self,
        response: Response<UpstreamBody>,
        first_by: Instant,
        guard: &Guard,
    ) -> Result<(Parts, Bytes, MemoryPermit), Box<Failure>> {
        let (head, mut body) = response.into_parts();
        let mut bytes = BufferedBody::new(MemoryPermit::new(guard.gateway(), self.account));
        let mut by = first_by;
        loop {
            match timeout_at(by.into(), body.frame()).await {
                Err(_) => return Err(self.timed_out()),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(self.unreadable_answer(Cause::Truncated, &error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        bytes.push(data).map_err(|full| self.buffers_full(full))?;
                    }
                }
            }
            if bytes.len() > self.settings.max_answer_bytes {
                return Err(self.answer_too_large());
            }
            let now = clock::mono();
            // An upstream that is never silent does not let the timer be looked at.
            if now >= self.deadline {
                return Err(self.timed_out());
            }
            by = now.checked_add(self.upstream.timeouts.stream_idle).unwrap_or(self.deadline).min(self.deadline);
        }
        let (bytes, memory) = bytes.join();
        self.check_page(&head.headers, &bytes)?;
        Ok((head, bytes, memory))
    }

    /// Reads an answer that comes in one piece.
    pub(super) async fn whole(
        &self,
        response: Response<UpstreamBody>,
        awaited: AwaitedResponse,
        first_by: Instant,
        guard: &mut Guard,
    ) -> Result<Answer, Box<Failure>> {
        let (head, bytes, mut memory) = self.read_whole(response, first_by, guard).await?;
        if !awaited.translation.is_passthrough() {
            // While it is translated, the upstream's answer and the client's are held both.
            memory.resize(bytes.len().saturating_mul(2)).map_err(|full| self.buffers_full(full))?;
        }
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let AwaitedResponse { translation, mut response_context, permits } = awaited;
        response_context.input_tokens = translation.counted_input(|name| head.headers.get(name)?.to_str().ok());
        let (status, same_dialect) = (head.status.as_u16(), translation.is_passthrough());
        let (given, response_translation) = (bytes.clone(), translation.clone());
        let translated = guard.gateway().offload.run(self.account, bytes.len(), self.deadline, move || {
            (translation.whole(&response_context, status, content_type.as_deref(), bytes), memory)
        });
        let (whole, mut memory) = translated.await.map_err(|DeadlinePassed| self.timed_out())?;
        match whole {
            Err(problem) => {
                let mut failure = Failure::new(self.upstream, Cause::ErrorAnswer, problem);
                failure.keep_raw(response_translation.stated_error(&given), &head.headers);
                Err(failure)
            }
            Ok(whole) => {
                guard.attempts.observe(&whole.stats);
                self.check_filtered(&whole.stats)?;
                guard.attempts.mark_whole_answer();
                memory.resize(whole.body.len()).map_err(|full| self.buffers_full(full))?;
                let changed = whole.changed.then_some(whole.content_type);
                let body = AnswerBody::Whole { bytes: whole.body, changed, memory: Some(memory) };
                Ok(self.answer(head.status, head.headers, same_dialect, body, permits))
            }
        }
    }
}
