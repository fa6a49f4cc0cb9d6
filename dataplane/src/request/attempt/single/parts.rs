//! One try at one upstream that takes less in one call than the client asks for: several calls, and one answer.
//!
//! The calls are made one after the other, in one of the provider's places (`maxConcurrentRequests`), and all of them within
//! the deadline of the request. How many there may be is bounded where the request is prepared; their answers are held in
//! the client's format until the last is there, and are together no longer than one answer may be. A call that fails ends the
//! attempt, and the next upstream is asked for everything again; what the calls before it have used is in the record.

use std::ops::Range;

use http::{Response, response::Parts};
use routeapi_protocol::{
    request::Prepared,
    response_translation::{AnswerPart, ResponseTranslation},
};

use super::{AwaitedResponse, SingleAttempt};
use crate::{
    clock,
    request::{
        answer::{Answer, AnswerBody},
        failure::{Cause, Failure},
        memory::MemoryPermit,
        offload::DeadlinePassed,
        settle::{Guard, InputShare},
    },
    upstream::OutboundRequest,
};

/// The answers to the calls that were made.
struct Answered {
    parts: Vec<AnswerPart>,
    /// Bytes of all of them.
    bytes: usize,
    memory: MemoryPermit,
}

impl SingleAttempt<'_> {
    /// Makes the attempt in the calls that were prepared.
    pub(super) async fn run_parts(&self, mut prepared: Prepared, guard: &mut Guard) -> Result<Answer, Box<Failure>> {
        let calls = std::mem::take(&mut prepared.parts);
        let all_bytes = calls.iter().map(|call| call.text_bytes as u64).sum();
        let (mut outbound, mut awaited) = self.begin(prepared, guard)?;
        let memory = MemoryPermit::new(guard.gateway(), self.account);
        let mut answered = Answered { parts: Vec::with_capacity(calls.len()), bytes: 0, memory };
        let mut head = Response::new(()).into_parts().0;
        for call in calls {
            if !answered.parts.is_empty() {
                // Each call says for itself how soon the upstream answers.
                let now = clock::mono();
                awaited.permits.1.answered(now);
                awaited.permits.1 = self.upstream.load.begin(now);
            }
            outbound.sent = guard.attempts.begin_part(InputShare { part: call.text_bytes as u64, of: all_bytes });
            outbound.body = call.body.into();
            match self.call(&outbound, &awaited.translation, call.texts, &mut answered, guard).await {
                Ok(of_call) => head = of_call,
                Err(mut failure) => {
                    failure.was_answered_in_part = !answered.parts.is_empty();
                    return Err(failure);
                }
            }
        }
        self.join(head, awaited, answered, guard).await
    }

    /// Makes one of the calls, and adds its answer to those before it. Returns its head.
    async fn call(
        &self,
        outbound: &OutboundRequest,
        translation: &ResponseTranslation,
        texts: Range<usize>,
        answered: &mut Answered,
        guard: &mut Guard,
    ) -> Result<Parts, Box<Failure>> {
        if clock::mono() >= self.deadline {
            return Err(self.timed_out());
        }
        let (response, content_by) = self.accepted(outbound, translation, guard).await?;
        let (head, bytes, mut memory) = self.read_whole(response, content_by, guard).await?;
        // While it is translated, the upstream's answer and the client's are held both.
        memory.resize(bytes.len().saturating_mul(2)).map_err(|full| self.buffers_full(full))?;
        let counted = translation.counted_input(|name| head.headers.get(name)?.to_str().ok());
        let (length, translation) = (bytes.len(), translation.clone());
        let translated = guard.gateway().offload.run(self.account, length, self.deadline, move || {
            let part = translation.part(texts, counted, &bytes);
            drop(bytes);
            (part, memory)
        });
        let (part, memory) = translated.await.map_err(|DeadlinePassed| self.timed_out())?;
        let part = part.map_err(|problem| Failure::new(self.upstream, Cause::ErrorAnswer, problem))?;
        guard.attempts.observe(&part.stats);
        answered.bytes = answered.bytes.saturating_add(part.held());
        drop(memory);
        answered.memory.resize(answered.bytes).map_err(|full| self.buffers_full(full))?;
        answered.parts.push(part);
        if answered.bytes > self.settings.max_answer_bytes {
            return Err(self.answer_too_large());
        }
        Ok(head)
    }

    /// The answer for the client, with the head of the last call's.
    async fn join(
        &self,
        head: Parts,
        awaited: AwaitedResponse,
        answered: Answered,
        guard: &mut Guard,
    ) -> Result<Answer, Box<Failure>> {
        let Answered { parts, bytes, mut memory } = answered;
        // While they are joined, the parts and the whole are held both.
        memory.resize(bytes.saturating_mul(2)).map_err(|full| self.buffers_full(full))?;
        let AwaitedResponse { translation, response_context, permits } = awaited;
        let joined = guard
            .gateway()
            .offload
            .run(self.account, bytes, self.deadline, move || (translation.join(&response_context, &parts), memory));
        let (whole, mut memory) = joined.await.map_err(|DeadlinePassed| self.timed_out())?;
        guard.attempts.join_parts(&whole.stats);
        memory.resize(whole.body.len()).map_err(|full| self.buffers_full(full))?;
        let body = AnswerBody::Whole { bytes: whole.body, changed: Some(whole.content_type), memory: Some(memory) };
        Ok(self.answer(head.status, head.headers, false, body, permits))
    }
}
